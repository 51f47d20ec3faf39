"""Large patches of coverage: each window has the label that it would have as a patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toy_coverage import GSD_M, coverage_catalog, write_scenes
from windhover.dataset.catalog import Catalog, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import class_counts
from windhover.geometry.lattice import read_mirrored
from windhover.params.train import LargePatchesParams
from windhover.patches.coverage_labels import CELL_PX, UNUSED, label_windows
from windhover.patches.cut_patches import WINDOW_ALONE
from windhover.patches.patch_summary import ShareRule
from windhover.training.coverage_crops import cut_coverage_crops, table_of_labels
from windhover.training.targets import ObjectTensor, cell_targets

RULE = ShareRule(label_px=16, min_share=0.5, max_share=0.1)
PARAMS = LargePatchesParams(count=12, side_px=128, scales=(1.0,), object_fraction=0.5)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    raw = write_scenes(tmp_path_factory.mktemp("crops") / "raw", shape_hw=(190, 310))
    return coverage_catalog(raw).split("train")


def test_targets_of_a_table_are_its_labels() -> None:
    labels = np.random.default_rng(0).integers(-1, 3, (9, 9)).astype(np.int16)
    table = torch.from_numpy(table_of_labels(labels, 128))[None]
    targets = cell_targets(
        ObjectTensor(table).shifted(64, 64),
        (128, 128),
        2,
        positive_px=WINDOW_ALONE.positive_px,
        ignore_px=WINDOW_ALONE.ignore_px,
    )
    for number in (1, 2):
        np.testing.assert_array_equal(targets.classes[0, number - 1].numpy(), labels == number)
    np.testing.assert_array_equal(targets.weights[0, 0].numpy(), labels != UNUSED)


def test_crops_are_pixels_of_scenes_with_the_labels_of_their_windows(catalog: Catalog) -> None:
    cut = cut_coverage_crops(catalog, PARAMS, RULE, seed=5)
    assert cut.images.shape[:3] == (12, 128, 128)
    row = next(iter(catalog))
    found = 0
    with (
        open_catalog_scene(row, GSD_M) as scene,
        open_class_map(row, scene) as class_map,
    ):
        height, width = scene.shape_hw
        around = (-32, height + 32, -32, width + 32)
        mirrored = read_mirrored(scene.read, scene.shape_hw, around)[0].transpose(1, 2, 0)
        for number, image in enumerate(cut.images):
            is_corner = (mirrored[:-127, :-127] == image[0, 0]).all(-1)
            for y, x in zip(*np.nonzero(is_corner), strict=True):
                if not np.array_equal(mirrored[y : y + 128, x : x + 128], image):
                    continue
                classes = class_map.read(int(y) - 32, int(x) - 32, 128, 128)
                labels = label_windows(class_counts(classes, CELL_PX, 1), RULE).label
                expected = table_of_labels(labels, 128)
                table = cut.objects[number]
                np.testing.assert_array_equal(table[: len(expected)], expected)
                assert (table[len(expected) :, 0] == -1).all()
                found += 1
    assert found == 12


def test_a_seed_decides_the_crops(catalog: Catalog) -> None:
    first = cut_coverage_crops(catalog, PARAMS, RULE, seed=1)
    again = cut_coverage_crops(catalog, PARAMS, RULE, seed=1)
    other = cut_coverage_crops(catalog, PARAMS, RULE, seed=2)
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
