"""The class prior: how many of a scene's windows show an object, among all that are labeled.

Works in px of the scene at one GSD, on tables alone: reads no file and chooses no window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.arrays import Ints
from windhover.geometry.objects import Objects
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX


class WindowCount(NamedTuple):
    """Windows at `STRIDE_PX` with their center where everything is labeled."""

    positive: int  # of them, those that show an object
    total: int


def count_positive_windows(
    shape_hw: tuple[int, int], objects: Objects, coverage: LabelCoverage, rule: LabelRule
) -> WindowCount:
    """Return how many windows of a scene show an object, and how many there are.

    Args:
        shape_hw: height and width of the scene, px.
        objects: on the scene, same px; ignored ones are left out.
        coverage: of the scene, same px.
        rule: its positive radius decides which windows show an object.
    """
    n_rows, n_cols = (max((length - WINDOW_PX) // STRIDE_PX + 1, 0) for length in shape_hw)
    if not (n_rows and n_cols):
        return WindowCount(0, 0)
    positive = _positive_windows((n_rows, n_cols), objects.select(~objects.is_ignored), rule)
    if coverage.is_whole_scene:
        return WindowCount(len(positive), n_rows * n_cols)
    known = _windows_with_known_background((n_rows, n_cols), coverage)
    return WindowCount(int(known[positive].sum()), int(known.sum()))


def _positive_windows(grid_hw: tuple[int, int], objects: Objects, rule: LabelRule) -> Ints:
    """Return the numbers, in reading order, of the windows of a grid that show an object."""
    n_rows, n_cols = grid_hw
    reach = int(np.ceil(rule.positive_px / STRIDE_PX)) + 1
    steps = np.arange(-reach, reach + 1)
    neighbors = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    nearest = np.floor((objects.centers_xy - HALF_WINDOW_PX) / STRIDE_PX).astype(np.int64)
    cells = nearest[:, None] + neighbors[None]  # (N, K, 2) column, row
    offset = objects.centers_xy[:, None] - (cells * STRIDE_PX + HALF_WINDOW_PX)
    is_positive = rule.distance(offset[..., 0], offset[..., 1]) <= rule.positive_px
    is_positive &= (cells >= 0).all(-1) & (cells < [n_cols, n_rows]).all(-1)
    return np.unique(cells[is_positive] @ np.array([1, n_cols]))


def _windows_with_known_background(
    grid_hw: tuple[int, int], coverage: LabelCoverage
) -> NDArray[np.bool_]:
    """Return for the windows of a grid, in reading order, whether their center is fully labeled."""
    n_rows, n_cols = grid_hw
    known = np.empty((n_rows, n_cols), bool)
    x = np.arange(n_cols) * STRIDE_PX + HALF_WINDOW_PX
    for row in range(n_rows):
        y = np.full(n_cols, row * STRIDE_PX + HALF_WINDOW_PX)
        known[row] = coverage.is_background_known(np.stack([x, y], axis=1))
    return known.ravel()
