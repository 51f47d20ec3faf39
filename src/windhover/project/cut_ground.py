"""Guarded cuts through the ground of a place, where they lose fewest objects.

Works on rectangles and points in metres. A cut is a straight strip, a guard wide, along an axis of
the scenes; objects with their centre in it are lost. Every position along both axes is tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from windhover.geometry.arrays import Bools, Floats

N_POSITIONS = 400  # tried along each axis
IMBALANCE_WEIGHT = 0.1  # lost share of objects that a wholly one-sided cut is as bad as


class Rectangle(NamedTuple):
    """Part of the ground, m."""

    left: float
    top: float
    right: float
    bottom: float

    def contains(self, points: Floats) -> Bools:
        """Return which points (N, 2) are inside, right and bottom border excluded."""
        x, y = points.T
        inside: Bools = (x >= self.left) & (x < self.right) & (y >= self.top) & (y < self.bottom)
        return inside


@dataclass(frozen=True)
class Cut:
    """Two parts of a rectangle with a strip between them, and what that costs.

    Attributes:
        parts: the two.
        lost: objects with their centre in the strip.
        cost: lost share of the rectangle's objects, and how uneven the parts are.
    """

    parts: tuple[Rectangle, Rectangle]
    lost: int
    cost: float


def best_cut(area: Rectangle, points: Floats, *, guard_m: float, min_side_m: float) -> Cut | None:
    """Return the cut of a rectangle that loses fewest objects and leaves some on both sides.

    Args:
        area: what is cut.
        points: (N, 2) centres of the objects inside it.
        guard_m: width of the strip.
        min_side_m: least side of a part across the strip.

    Returns:
        The cut; None where no position leaves objects on both sides.
    """
    cuts = []
    for axis in (0, 1):
        cut = _best_along(area, points, axis, guard_m=guard_m, min_side_m=min_side_m)
        if cut is not None:
            cuts.append(cut)
    return min(cuts, key=lambda cut: cut.cost, default=None)


def _best_along(
    area: Rectangle, points: Floats, axis: int, *, guard_m: float, min_side_m: float
) -> Cut | None:
    low = area[axis] + min_side_m
    high = area[axis + 2] - min_side_m - guard_m
    if high < low or len(points) < 2:
        return None
    starts = np.linspace(low, high, N_POSITIONS)
    along = np.sort(points[:, axis])
    before = np.searchsorted(along, starts, side="left")
    upto = np.searchsorted(along, starts + guard_m, side="left")
    after = len(along) - upto
    lost = upto - before
    fraction = before / np.maximum(before + after, 1)
    cost = lost / len(along) + IMBALANCE_WEIGHT * np.abs(2 * fraction - 1)
    # in the middle of a gap: the strip keeps away from objects on both sides
    cost = np.where((before > 0) & (after > 0), cost, np.inf)
    least = float(cost.min())
    if not np.isfinite(least):
        return None
    best = np.flatnonzero(cost <= least + 1e-9)
    start = float(starts[best[len(best) // 2]])
    first = list(area)
    second = list(area)
    first[axis + 2] = start
    second[axis] = start + guard_m
    parts = (Rectangle(*first), Rectangle(*second))
    return Cut(parts, int(lost[best[len(best) // 2]]), least)
