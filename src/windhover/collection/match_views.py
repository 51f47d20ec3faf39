"""Which two views may be of one object: near enough for their sizes, of one class, of two rasters.

The rule is that of the search in one raster (`inference.search_settings`): centres nearer than some
share of the smaller size, or boxes that overlap by enough. A view at its raster's edge may be of a
part of an object, so there it is enough that the part is in the whole. Groups nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from windhover.collection.views import Views, directions
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.inference.search_settings import SearchSettings

MIN_PART = 0.5  # share of a cut box that is in the whole one
# Two boxes with anything in common are nearer than this in units of the longer side of the larger
# box: its diagonal.
OVERLAP_REACH = 2**0.5
# half a diagonal for a part in a whole; less for an IoU of `SMALL_REACH_IOU`
SMALL_REACH = 0.75
SMALL_REACH_IOU = 0.3
LEVELS_PER_OCTAVE = 2  # sizes that are searched with one radius
CHUNK = 20_000  # views whose neighbours are held at once


class MergeLimits(NamedTuple):
    """When a search takes two candidates for one object.

    Attributes:
        distance: of the centres, in units of the smaller size.
        iou: overlap of the boxes.
    """

    distance: float = SearchSettings.merge_distance
    iou: float = SearchSettings.merge_iou

    @classmethod
    def of_search(cls, settings: Mapping[str, Any]) -> MergeLimits:
        """Return the limits of a search, by the names of its settings."""
        return cls(
            float(settings.get("merge_distance", cls().distance)),
            float(settings.get("merge_iou", cls().iou)),
        )

    @property
    def reach(self) -> float:
        """Distance of any two boxes that match, in units of the larger one's longer side."""
        of_boxes = SMALL_REACH if self.iou >= SMALL_REACH_IOU else OVERLAP_REACH
        return max(of_boxes, self.distance)


class ViewPairs(NamedTuple):
    """Views that may be of one object; one entry a pair, `first` < `second`.

    Attributes:
        first: (P,) number of a view.
        second: (P,) number of the other.
        cost: (P,) distance of their centres in units of the smaller size.
    """

    first: Ints
    second: Ints
    cost: Floats

    def select(self, rows: Ints | Bools) -> ViewPairs:
        """Return the pairs of `rows`, a mask (P,) or indices, in that order."""
        return ViewPairs(self.first[rows], self.second[rows], self.cost[rows])


def matching_pairs(views: Views, limits: MergeLimits) -> ViewPairs:
    """Return all pairs of views that may be of one object, in no particular order.

    Args:
        views: of any rasters.
        limits: of the search.
    """
    found = [_no_pairs()]
    spaces = np.stack([views.frame, views.class_index], axis=1)
    for space in np.unique(spaces, axis=0):
        rows = np.flatnonzero((spaces == space).all(axis=1))
        for one, other in _near_pairs(views, rows, limits.reach):
            found.append(_matching(views, one, other, limits))
    return ViewPairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _near_pairs(views: Views, rows: Ints, reach: float) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs of views of one space and class that are near for the larger one's sides.

    Each level of sizes is searched against itself and all smaller ones, so that one large object
    does not make every neighbourhood large.
    """
    longer = views.sides_m[rows].max(axis=1)
    level = np.floor(np.log2(longer) * LEVELS_PER_OCTAVE).astype(np.int64)
    for number in np.unique(level):
        large = rows[level == number]
        others = rows[level <= number]
        reach_m = reach * 2.0 ** ((number + 1) / LEVELS_PER_OCTAVE)
        tree = cKDTree(views.xyz[others])
        for start in range(0, len(large), CHUNK):
            chunk = large[start : start + CHUNK]
            near = cKDTree(views.xyz[chunk]).sparse_distance_matrix(
                tree, reach_m, output_type="ndarray"
            )
            one = chunk[near["i"]]
            other = others[near["j"]]
            is_once = (views.scene[one] != views.scene[other]) & (
                (views.sides_m[other].max(axis=1) < views.sides_m[one].max(axis=1)) | (one < other)
            )
            yield one[is_once], other[is_once]


def _matching(views: Views, one: Ints, other: Ints, limits: MergeLimits) -> ViewPairs:
    """Return those of some pairs that may be of one object."""
    if not len(one):
        return _no_pairs()
    first = np.minimum(one, other)
    second = np.maximum(one, other)
    pairs = np.unique(np.stack([first, second], axis=1), axis=0)
    first, second = pairs.T
    offset = _offsets_m(views, first, second)
    distance = np.hypot(*offset.T)
    smaller = np.minimum(views.size_m[first], views.size_m[second])
    cost = distance / smaller
    matches = may_match(
        views.sides_m[first],
        views.sides_m[second],
        offset,
        limits,
        cost=cost,
        edge=views.edge[first] | views.edge[second],
    )
    return ViewPairs(first[matches], second[matches], cost[matches])


def may_match(
    sides: Floats,
    other_sides: Floats,
    offset: Floats,
    limits: MergeLimits,
    *,
    cost: Floats,
    edge: Bools,
) -> Bools:
    """Return which pairs (P,) of boxes may be of one object.

    Args:
        sides: (P, 2) of one box, m.
        other_sides: (P, 2) of the other.
        offset: (P, 2) from centre to centre, along the same axes, m.
        limits: of the search.
        cost: (P,) distance of the centres in units of the smaller size.
        edge: (P,) whether one of them is at the edge of its raster.
    """
    overlap = np.minimum((sides + other_sides) / 2 - np.abs(offset), np.minimum(sides, other_sides))
    common = np.maximum(overlap, 0.0).prod(axis=1)
    area = sides.prod(axis=1)
    other_area = other_sides.prod(axis=1)
    iou = common / (area + other_area - common)
    part = common / np.minimum(area, other_area)
    matches: Bools = (cost < limits.distance) | (iou > limits.iou) | (edge & (part >= MIN_PART))
    return matches


def _offsets_m(views: Views, first: Ints, second: Ints) -> NDArray[np.float64]:
    """Return how far second views are to the east and to the north (P, 2) of first ones, m."""
    offset = views.xyz[second] - views.xyz[first]
    flat = np.array(offset[:, :2])
    on_earth = views.frame[first] == 0
    if on_earth.any():
        for axis, direction in enumerate(directions(views.lonlat[first[on_earth]])):
            flat[on_earth, axis] = (offset[on_earth] * direction).sum(axis=1)
    return flat


def _no_pairs() -> ViewPairs:
    return ViewPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
