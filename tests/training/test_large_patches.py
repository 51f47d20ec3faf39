"""Large patches: they show what their objects say, leave out what is not labeled, and copy-paste
changes those about objects alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import torch

from one_scene import AREAS, with_area
from windhover.dataset.catalog import Catalog
from windhover.geometry.objects import Objects, Role
from windhover.params.train import LargePatchesParams
from windhover.training.large_patches import LargePatches, cut_large_patches, objects_near
from windhover.training.object_table import CLASS, IGNORED, PAD
from windhover.training.targets import ObjectTensor, Targets, cell_targets


def cut(catalog: Catalog, *, seed: int = 2, **changes: Any) -> LargePatches:
    """Cut large patches of the catalog."""
    params = {
        "per_batch": 2,
        "side_px": 96,
        "count": 30,
        "per_epoch": 9,
        "object_fraction": 0.5,
        "copy_paste_prob": 0.0,
        "negatives_per_positive": 3.0,
        "scales": (1.0,),
    }
    params = LargePatchesParams(**{**params, **changes})
    return cut_large_patches(catalog, ["square"], params, seed=seed)


def targets_of(patches: LargePatches) -> Targets:
    """Return the targets of all cells of patches of 96 px."""
    objects = ObjectTensor(torch.from_numpy(patches.objects)).shifted(48, 48)
    return cell_targets(objects, (96, 96), 1, positive_px=8.0, ignore_px=12.0)


@pytest.mark.parametrize(("role", "shape"), AREAS)
def test_windows_on_ground_that_is_not_labeled_are_ignored(
    catalog: Catalog, role: str, shape: Any
) -> None:
    plain = cut(catalog)
    with_ignored = cut(with_area(catalog, role, shape))
    around = slice(0, 15)
    assert np.array_equal(plain.images[around], with_ignored.images[around])
    without = with_ignored.objects.copy()
    without[without[..., CLASS] == IGNORED] = PAD
    before = targets_of(with_ignored._replace(objects=without))
    after = targets_of(with_ignored)
    assert torch.equal(before.classes, after.classes), "positives stay"
    background = after.weights[(after.classes == 0) & (before.weights > 0)]
    assert set(background.unique().tolist()) == {0.0, 1.0}, "some is ignored, some is not"
    assert (after.weights[after.classes == 1] == 1).all()


@pytest.mark.parametrize(("role", "shape"), AREAS)
def test_each_large_patch_sees_ground_that_is_known(
    catalog: Catalog, role: str, shape: Any
) -> None:
    limited = with_area(catalog, role, shape)
    plain = catalog.scenes.assign(scene="whole")
    both = Catalog(
        pd.concat([limited.scenes, plain], ignore_index=True),
        catalog.labels,
        limited.areas,
        catalog.report,
    )
    patches = cut(both, count=200, object_fraction=0.2)
    weights = targets_of(patches).weights.flatten(1)
    assert (weights.sum(1) > 0).all()
    unknown = cut(with_area(both, "positive_only", shapely.box(0, 0, 420, 300)), count=200)
    assert len(unknown.images) == 200, "the other scene gives what this one cannot"


def test_a_rejected_detection_counts_as_a_large_patch(catalog: Catalog) -> None:
    rejected = with_area(catalog, "complete", shapely.box(250, 150, 322, 222))
    patches = cut(rejected, count=40, object_fraction=0.5)
    assert len(patches.images) == 40
    seen = targets_of(patches).weights[20:].flatten(1).sum(1)
    assert (seen > 0).all()


def test_large_patches_show_what_their_objects_say(catalog: Catalog) -> None:
    patches = cut(catalog, per_epoch=30, scales=(1.0, 1.25))
    assert patches.images.shape == (30, 96, 96, 3)
    seen = 0
    for image, table in zip(patches.images, patches.objects, strict=True):
        for class_index, x, y, width, _ in table.tolist():
            col = int(x + 48)
            row = int(y + 48)
            if class_index == 0 and 4 <= col < 92 and 4 <= row < 92:
                seen += 1
                is_lit = image[row, col].max() > 200
                around = image[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3]
                assert is_lit or around.max() < 50
                assert width == pytest.approx(10, abs=0.1) or width == pytest.approx(8, abs=0.1)
    assert seen >= 15
    assert {PAD, 0.0, IGNORED} >= set(np.unique(patches.objects[..., CLASS]).tolist())
    again = cut(catalog, per_epoch=30, scales=(1.0, 1.25))
    assert np.array_equal(patches.images, again.images)
    other = cut(catalog, per_epoch=30, scales=(1.0, 1.25), seed=3)
    assert not np.array_equal(patches.images, other.images)


def test_copy_paste_adds_to_a_share_of_those_about_objects(catalog: Catalog) -> None:
    def with_prob(copy_paste_prob: float) -> LargePatches:
        return cut(
            catalog, side_px=128, count=60, scales=(1.0, 1.25), copy_paste_prob=copy_paste_prob
        )

    plain, half, every = (with_prob(prob) for prob in (0.0, 0.5, 1.0))
    assert (plain.n_chosen, plain.n_pasted) == (0, 0)
    assert 5 <= half.n_chosen < every.n_chosen == 30, "those that lie anywhere are not chosen"
    n_objects = (plain.objects[..., CLASS] >= 0).sum(1)
    for patches in (half, every):
        has_copies = (patches.objects[..., CLASS] >= 0).sum(1) > n_objects
        assert has_copies.sum() == patches.n_pasted
        is_same = [
            np.array_equal(one, other)
            for one, other in zip(plain.images, patches.images, strict=True)
        ]
        assert np.array(is_same)[~has_copies].all(), "no image changes without its objects"
        for number in np.flatnonzero(has_copies):
            before = plain.objects[number][plain.objects[number, :, CLASS] != PAD]
            after = patches.objects[number, : len(before)]
            assert np.array_equal(after, before), "places do not change"
            assert (plain.images[number] == patches.images[number]).mean() > 0.5
    assert np.array_equal(half.images, with_prob(0.5).images)


def test_objects_far_away_do_not_come_along_and_areas_that_reach_in_do() -> None:
    objects = Objects(
        np.array([[50.0, 50.0], [500.0, 50.0], [300.0, 50.0]]),
        np.array([[9.0, 9.0], [9.0, 9.0], [450.0, 40.0]]),
        np.array([0, 0, 0]),
        np.array([Role.OBJECT, Role.OBJECT, Role.IGNORE], np.int8),
    )
    near = objects_near(objects, left=0, top=0, side_px=96)
    assert near.is_ignored.tolist() == [False, True]
    assert near.centers_xy[0].tolist() == [2, 2]
