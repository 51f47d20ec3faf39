"""Ignored labels that are points or small boxes: no window near them is taught as background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
import torch

from windhover.dataset.label_rule import LabelRule
from windhover.geometry.objects import Objects, Role
from windhover.training.large_patches import grow_ignored, objects_near
from windhover.training.mined_patches import LabeledGround, select_windows
from windhover.training.object_table import pad_tables, table_of_objects
from windhover.training.targets import ObjectTensor, cell_targets

SIZES = [(np.nan, np.nan), (1.0, 1.0), (10.0, 4.0), (60.0, 30.0)]


def ignored_at(x: float, y: float, size_wh: tuple[float, float]) -> Objects:
    role = np.array([Role.IGNORE], np.int8)
    return Objects(np.array([[x, y]]), np.array([size_wh]), np.array([-1]), role)


def distance_beside(xy: np.ndarray, size_wh: tuple[float, float], rule: LabelRule) -> np.ndarray:
    """Return the distance of offsets (N, 2) from the center to the box, spelled out."""
    half = np.nan_to_num(np.array(size_wh)) / 2
    dx, dy = np.maximum(np.abs(xy) - half, 0).T
    return np.maximum(dx, dy) if rule.shape == "square" else np.hypot(dx, dy)


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("shape", ["square", "circle"])
def test_nothing_is_mined_within_the_ignore_radius_of_an_ignored_label(
    size_wh: tuple[float, float], shape: Any
) -> None:
    rule = LabelRule(8.0, 15.0, shape)
    grid = np.stack(np.meshgrid(np.arange(50.0, 251, 5), np.arange(50.0, 251, 5)), -1)
    candidates = grid.reshape(-1, 2)
    ground = LabeledGround(ignored_at(150, 140, size_wh), shapely.Polygon(), (300, 320), rule)
    windows = select_windows(
        candidates,
        ground,
        max_false_positives=5000,
        patches_per_miss=0,
        random=np.random.default_rng(0),
    )
    centers = np.array([(row["left_px"] + 32, row["top_px"] + 32) for row in windows], float)
    apart = distance_beside(centers - (150, 140), size_wh, rule)
    assert apart.min() > 15
    assert apart.min() < 22, "and no farther"
    is_clear = distance_beside(candidates - (150, 140), size_wh, rule) > 15 + 4 * np.sqrt(2)
    assert len(windows) >= is_clear.sum()


@pytest.mark.parametrize("size_wh", SIZES)
def test_large_patches_teach_no_background_near_an_ignored_label(
    size_wh: tuple[float, float],
) -> None:
    rule = LabelRule(8.0, 15.0, "square")
    for left, top in ((203, 181), (236, 250), (120, 190)):
        objects = grow_ignored(ignored_at(300, 250, size_wh), 15.0)
        rows = objects_near(objects, left=left, top=top, side_px=128)
        table = pad_tables([table_of_objects(rows)])
        near = ObjectTensor(torch.from_numpy(table)).shifted(64, 64)
        targets = cell_targets(near, (128, 128), 1, positive_px=8.0, ignore_px=15.0)
        steps = np.arange(9) * 8.0 + 32
        x, y = np.meshgrid(steps + left, steps + top)
        offsets = np.stack([x, y], -1).reshape(-1, 2) - (300, 250)
        expected = distance_beside(offsets, size_wh, rule) > 15
        assert (targets.weights[0, 0].numpy().ravel() > 0).tolist() == expected.tolist()


def test_objects_that_count_keep_their_size() -> None:
    known = Objects.from_xyxy(np.array([[10.0, 10, 30, 20]]), np.array([0]))
    assert np.array_equal(grow_ignored(known, 15.0).sizes_wh, known.sizes_wh)
