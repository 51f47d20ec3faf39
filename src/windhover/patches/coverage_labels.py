"""Which windows of a class map are patches of a class, and how many of each scene are cut.

Works on class maps and counts alone: reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX
from windhover.params.patches import LABEL_STEP_PX

CELL_PX = LABEL_STEP_PX // 2  # side of the cells in which class maps are counted
UNUSED = -1
MIN_KNOWN_SHARE = 0.5  # of the square that labels a window; below it the window is not used


@dataclass(frozen=True)
class WindowLabels:
    """The labels of the windows inside a scene, at the stride of a search.

    Attributes:
        label: (h, w) 0 for background, k + 1 for class k, `UNUSED` for none of them.
        known: (h, w) whether enough px of the window's square are known.
    """

    label: NDArray[np.int16]
    known: Bools

    def counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return how many windows are background and of each class, (n_classes + 1,)."""
        used = self.label[self.label >= 0]
        return np.bincount(used, minlength=n_classes + 1)


class Shares(Protocol):
    """The square that labels a window, and the shares that decide."""

    @property
    def label_px(self) -> int:
        """Side of the square in the middle of a window, px."""

    @property
    def min_share(self) -> float:
        """Share from which a window shows a class."""

    @property
    def max_share(self) -> float:
        """Share of all classes up to which a window is background."""


def label_windows(cell_counts: NDArray[np.uint16], params: Shares) -> WindowLabels:
    """Label the windows inside a scene by the shares of the classes in their middle.

    Args:
        cell_counts: (K + 1, r, c) px of background and of each class in cells of `CELL_PX`.
        params: side of the middle, and the shares.

    Returns:
        of (h, w) windows, window (i, j) at px (stride * i, stride * j); none where the scene is
        smaller than one.
    """
    sums = _sums_of_squares(cell_counts, params.label_px)
    known_px = sums.sum(axis=0)
    known = known_px >= MIN_KNOWN_SHARE * params.label_px**2
    shares = sums[1:] / np.maximum(known_px, 1)
    best = shares.argmax(axis=0)
    label = np.full(known.shape, UNUSED, np.int16)
    label[shares.sum(axis=0) <= params.max_share] = 0
    shows_class = shares.max(axis=0) >= params.min_share
    label[shows_class] = best[shows_class] + 1
    label[~known] = UNUSED
    return WindowLabels(label, known)


def _sums_of_squares(cell_counts: NDArray[np.uint16], label_px: int) -> NDArray[np.int64]:
    """Return the px of background and of each class in the middle of each window, (K + 1, h, w)."""
    n_planes, rows, cols = cell_counts.shape
    cells_per_window = WINDOW_PX // CELL_PX
    step = STRIDE_PX // CELL_PX
    h, w = (max((length - cells_per_window) // step + 1, 0) for length in (rows, cols))
    if not h or not w:
        return np.zeros((n_planes, h, w), np.int64)
    total = np.zeros((n_planes, rows + 1, cols + 1), np.int64)
    np.cumsum(np.cumsum(cell_counts, axis=1, dtype=np.int64), axis=2, out=total[:, 1:, 1:])
    first = (HALF_WINDOW_PX - label_px // 2) // CELL_PX
    side = label_px // CELL_PX
    top = np.arange(h) * step + first
    left = np.arange(w) * step + first
    lower = total[:, top + side]
    upper = total[:, top]
    sums = lower[:, :, left + side] - lower[:, :, left]
    return np.asarray(sums - upper[:, :, left + side] + upper[:, :, left])


def wanted_by_label(
    available: NDArray[np.int64], n_patches: int, *, balance: bool
) -> NDArray[np.int64]:
    """Return how many patches of background and of each class are wanted of a split.

    Args:
        available: (K + 1,) windows of each label, over all scenes of the split.
        n_patches: that are wanted in all.
        balance: whether each label that there is gets the same number; else as they come.
    """
    weights = available.astype(np.float64)
    if balance:
        weights = (available > 0).astype(np.float64)
    if not weights.sum():
        return np.zeros(len(available), np.int64)
    wanted = np.floor(weights / weights.sum() * n_patches).astype(np.int64)
    rest = n_patches - int(wanted.sum())
    order = np.argsort(-weights, kind="stable")
    wanted[order[:rest]] += 1
    return np.asarray(np.minimum(wanted, available), np.int64)


def divide_among_scenes(wanted: int, available: Sequence[int]) -> list[int]:
    """Return how many patches each scene gives: as equal numbers as its windows allow.

    Args:
        wanted: in all.
        available: windows of each scene.
    """
    given = [0] * len(available)
    rest = min(wanted, sum(available))
    order = sorted(range(len(available)), key=lambda number: (available[number], number))
    for position, number in enumerate(order):
        n_left = len(order) - position
        given[number] = min(available[number], -(-rest // n_left))
        rest -= given[number]
    return given


def draw_windows(
    labels: WindowLabels, wanted: Mapping[int, int], rng: np.random.Generator
) -> dict[int, NDArray[np.int64]]:
    """Return label -> (n, 2) left, top px of windows that are drawn at random, none twice.

    Args:
        labels: of the scene's windows.
        wanted: label -> number; at most as many as there are.
        rng: of the draws.
    """
    drawn = {}
    for label, count in sorted(wanted.items()):
        cells = np.flatnonzero(labels.label.ravel() == label)
        chosen = np.sort(rng.permutation(cells)[:count])
        row, col = np.divmod(chosen, labels.label.shape[1])
        drawn[label] = np.stack([col, row], axis=1).astype(np.int64) * STRIDE_PX
    return drawn
