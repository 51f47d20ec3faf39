"""The class prior: how many of the windows that are searched show an object.

Counted over the lattice of a search: it reaches beyond the borders of a scene, leaves out windows
without a valid pixel, and here also those of which it is not known whether they show an object.
Works in px of the scene at one GSD: opens no file and chooses no window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.lattice import (
    Block,
    Lattice,
    ReadBlock,
    read_mirrored,
    windows_with_data,
)
from windhover.geometry.objects import Objects
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX

# rows of windows whose pixels are read at once
ROWS_AT_ONCE = 64


class WindowCount(NamedTuple):
    """Windows of a search at `STRIDE_PX` of which it is known whether they show an object."""

    positive: int  # of them, those that show an object
    total: int


def count_positive_windows(
    shape_hw: tuple[int, int],
    objects: Objects,
    coverage: LabelCoverage,
    rule: LabelRule,
    *,
    ignored_xyxy: Floats | None = None,
    has_data: Bools | None = None,
) -> WindowCount:
    """Return how many searched windows of a scene show an object, and how many there are.

    Windows count that have their center where everything is labeled. Of the others than positive
    ones, those with their center on an ignored label, or within the positive radius of one, are
    left out.

    Args:
        shape_hw: height and width of the scene, px.
        objects: on the scene, same px; ignored ones are left out.
        coverage: of the scene, same px.
        rule: its positive radius decides which windows show an object.
        ignored_xyxy: (N, 4) boxes of ignored labels, same px.
        has_data: (h, w) from `searched_windows`; all windows have by default.
    """
    lattice = Lattice(shape_hw, WINDOW_PX, STRIDE_PX)
    is_positive = np.zeros(lattice.shape_cells, bool)
    is_positive.flat[_positive_windows(lattice, objects.select(~objects.is_ignored), rule)] = True
    is_counted = is_positive | ~_near_ignored(lattice, ignored_xyxy, rule)
    if has_data is not None:
        is_counted &= has_data
    if not coverage.is_whole_scene:
        is_counted &= _windows_with_known_background(lattice, coverage)
    return WindowCount(int((is_positive & is_counted).sum()), int(is_counted.sum()))


def searched_windows(read: ReadBlock, shape_hw: tuple[int, int]) -> Bools:
    """Return (h, w) which windows of a scene's lattice are searched: those with a valid pixel.

    Args:
        read: (row, col, height, width) -> pixels (C, h, w) and valid (h, w).
        shape_hw: height and width of the scene, px.
    """
    lattice = Lattice(shape_hw, WINDOW_PX, STRIDE_PX)
    first_row, end_row = lattice.rows
    parts = []
    for row in range(first_row, end_row, ROWS_AT_ONCE):
        rows = Block(0, row, min(row + ROWS_AT_ONCE, end_row), *lattice.cols)
        _, valid = read_mirrored(read, shape_hw, lattice.extent_px(rows))
        parts.append(windows_with_data(valid, WINDOW_PX, STRIDE_PX))
    return np.concatenate(parts)


def _centers(lattice: Lattice) -> tuple[Floats, Floats]:
    """Return (w,) x and (h,) y of the centers of the windows of a lattice."""
    x = np.arange(*lattice.cols, dtype=np.float64) * STRIDE_PX + HALF_WINDOW_PX
    y = np.arange(*lattice.rows, dtype=np.float64) * STRIDE_PX + HALF_WINDOW_PX
    return x, y


def _positive_windows(lattice: Lattice, objects: Objects, rule: LabelRule) -> Ints:
    """Return the numbers, in reading order, of the windows of a lattice that show an object."""
    n_rows, n_cols = lattice.shape_cells
    first_xy = np.array([lattice.cols[0], lattice.rows[0]])
    reach = int(np.ceil(rule.positive_px / STRIDE_PX)) + 1
    steps = np.arange(-reach, reach + 1)
    neighbors = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    nearest = np.floor((objects.centers_xy - HALF_WINDOW_PX) / STRIDE_PX).astype(np.int64)
    cells = nearest[:, None] + neighbors[None]  # (N, K, 2) column, row
    offset = objects.centers_xy[:, None] - (cells * STRIDE_PX + HALF_WINDOW_PX)
    is_positive = rule.distance(offset[..., 0], offset[..., 1]) <= rule.positive_px
    cells -= first_xy
    is_positive &= (cells >= 0).all(-1) & (cells < [n_cols, n_rows]).all(-1)
    return np.unique(cells[is_positive] @ np.array([1, n_cols]))


def _near_ignored(lattice: Lattice, boxes_xyxy: Floats | None, rule: LabelRule) -> Bools:
    """Return (h, w) which windows have their center within the positive radius of a box."""
    is_near = np.zeros(lattice.shape_cells, bool)
    x, y = _centers(lattice)
    for left, top, right, bottom in np.zeros((0, 4)) if boxes_xyxy is None else boxes_xyxy:
        dx = np.maximum(np.maximum(left - x, x - right), 0)
        dy = np.maximum(np.maximum(top - y, y - bottom), 0)
        cols = np.flatnonzero(dx <= rule.positive_px)
        rows = np.flatnonzero(dy <= rule.positive_px)
        distance = rule.distance(*np.broadcast_arrays(dx[cols], dy[rows, None]))
        is_near[np.ix_(rows, cols)] |= distance <= rule.positive_px
    return is_near


def _windows_with_known_background(lattice: Lattice, coverage: LabelCoverage) -> NDArray[np.bool_]:
    """Return (h, w) whether the center of a window is where everything is labeled."""
    x, y = _centers(lattice)
    known = np.empty((len(y), len(x)), bool)
    for row, row_y in enumerate(y):
        known[row] = coverage.is_background_known(np.stack([x, np.full(len(x), row_y)], axis=1))
    return known
