"""Patches of classes without boxes: cut, labeled, counted, with their class maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toy_coverage import BRIGHT, coverage_catalog, write_raster, write_scenes
from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.errors import DataError
from windhover.params.augment import AugmentParams
from windhover.params.patches import PatchesParams
from windhover.patches.augment_patches import augment_training_patches
from windhover.patches.cut_patches import cut_patches, summary_lines
from windhover.patches.patch_store import load_patches
from windhover.patches.patch_summary import PatchSummary

COVERAGE = {"train_patches": 40, "test_patches": 20, "label_px": 32}


def cut(catalog: Catalog, folder: Path, **changes: Any) -> PatchSummary:
    folder.mkdir(exist_ok=True)
    params = PatchesParams.model_validate({"coverage": COVERAGE | changes})
    return cut_patches(catalog, params, folder)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return coverage_catalog(write_scenes(tmp_path / "raw", shape_hw=(190, 310)))


def test_patches_are_the_pixels_of_windows_with_the_share_they_are_labeled_by(
    catalog: Catalog, tmp_path: Path
) -> None:
    summary = cut(catalog, tmp_path / "patches", keep_masks=True)
    rows = {row.scene: row for row in catalog}
    for split in ("train", "val", "test"):
        patches = load_patches(tmp_path / "patches", split, summary)
        masks = np.load(tmp_path / f"patches/{split}_masks.npy")
        assert masks.shape == (len(patches), 64, 64, 1)
        for number, record in enumerate(patches.index.to_dict("records")):
            with open_catalog_scene(rows[record["scene"]], catalog.gsd_m) as scene:
                pixels = scene.read(record["top_px"], record["left_px"], 64, 64).array
            np.testing.assert_array_equal(patches.images[number], pixels.transpose(1, 2, 0))
            share = (masks[number, 16:48, 16:48, 0] == 1).mean()
            assert share >= 0.5 if record["class"] == "cloud" else share <= 0.1


def test_balanced_patches_are_half_and_half(catalog: Catalog, tmp_path: Path) -> None:
    summary = cut(catalog, tmp_path / "patches")
    assert summary.counts["train"]["positive"] == summary.counts["train"]["random"] == 20
    assert summary.coverage is not None
    assert summary.coverage.label_px == 32
    prior = summary.prior["train"]
    assert prior.sampled == 0.5
    assert prior.true is not None
    assert 0 < prior.true < 1
    text = "\n".join(summary_lines(summary))
    assert "at least 50% of their middle 32 px" in text
    assert "left out, windows between the two shares" in text


def test_equal_inputs_give_equal_bytes(catalog: Catalog, tmp_path: Path) -> None:
    cut(catalog, tmp_path / "one")
    cut(catalog, tmp_path / "two")
    for name in ("train.npy", "index.parquet", "summary.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_class_maps_are_turned_with_their_patches(catalog: Catalog, tmp_path: Path) -> None:
    cut(catalog, tmp_path / "patches", keep_masks=True)
    params = AugmentParams(variants=2, transforms=({"name": "D4", "p": 1.0},), sheet_rows=1)
    augment_training_patches(tmp_path / "patches", tmp_path / "augmented", params)
    images = np.load(tmp_path / "augmented/train.npy")
    masks = np.load(tmp_path / "augmented/train_masks.npy")
    assert len(images) == len(masks) == 3 * 40
    is_bright = images.min(axis=-1) >= BRIGHT
    np.testing.assert_array_equal(is_bright, masks[..., 0] == 1)


def test_training_scenes_without_the_class_are_named(tmp_path: Path) -> None:
    raw = write_scenes(tmp_path / "raw")
    for number in range(3):
        path = raw / f"masks/s{number}.tif"
        mask = np.zeros((150, 210), np.uint8)
        write_raster(path, mask, **_profile_of(path))
    catalog = coverage_catalog(raw)
    with pytest.raises(DataError, match="The training scenes hold no patch of a class"):
        cut(catalog, tmp_path / "patches")


def _profile_of(path: Path) -> dict[str, Any]:
    import rasterio

    with rasterio.open(path) as dataset:
        return {"transform": dataset.transform, "crs": dataset.crs}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_px": 20}, "multiple of 8"),
        ({"label_px": 72}, "less than or equal to 64"),
        ({"min_share": 0.3, "max_share": 0.4}, r"max_share must be under min_share \(0.3\)"),
    ],
)
def test_shares_and_sides_that_cannot_be_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PatchesParams.model_validate({"coverage": changes})
