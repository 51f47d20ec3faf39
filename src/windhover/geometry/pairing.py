"""Which detection is which object: pairs that may match, and the one-to-one assignment.

Holds two rules of nearness (centre distance; IoU of polygons or of their bounds) and one assignment
for both. It knows no scores and no classes: callers give detections of one class in falling score,
scene by scene.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.boxes import intersection_area, iou, iou_from_areas

ROUNDING = 1e-9  # relative: coordinates of a map are millions of metres


class Pairs(NamedTuple):
    """Detections and objects near enough to match; one entry a pair, in no particular order."""

    detection: Ints  # (P,) index into the detections
    truth: Ints  # (P,) index into the objects
    cost: Floats  # (P,) >= 0; smaller is better: distance, or 1 - IoU


def pairs_by_center(
    detections_xy: ArrayLike, truth_xy: ArrayLike, max_distance: ArrayLike
) -> Pairs:
    """Pair detections with the objects whose centre is at most `max_distance` away.

    Args:
        detections_xy: (N, 2) centres, metres or px.
        truth_xy: (M, 2) centres, same unit.
        max_distance: (M,) or a number: the largest distance, inclusive, same unit.

    Returns:
        Pairs whose cost is the distance.
    """
    detections = _as_points(detections_xy)
    truth = _as_points(truth_xy)
    if not len(detections) or not len(truth):
        return _no_pairs()
    limit = np.broadcast_to(np.asarray(max_distance, np.float64), (len(truth),))
    tree = cKDTree(detections)
    neighbors = tree.query_ball_point(truth, limit * (1 + ROUNDING), return_sorted=False)
    counts = np.fromiter(map(len, neighbors), np.int64, len(neighbors))
    truth_index = np.repeat(np.arange(len(truth)), counts)
    detection_index = np.concatenate([np.asarray(indices, np.int64) for indices in neighbors])
    distance = np.hypot(*(truth[truth_index] - detections[detection_index]).T)
    keep = distance <= limit[truth_index]
    return Pairs(detection_index[keep], truth_index[keep], distance[keep])


def pairs_by_iou(
    detections: ArrayLike, truth: ArrayLike, min_iou: float, *, axis_aligned: bool = False
) -> Pairs:
    """Pair shapes that overlap by at least an IoU above 0.

    Args:
        detections: (N,) shapely polygons.
        truth: (M,) shapely polygons in the same plane.
        min_iou: smallest IoU, in (0, 1].
        axis_aligned: whether the bounds of the shapes are compared instead of the polygons.

    Returns:
        Pairs whose cost is 1 - IoU.
    """
    found = np.asarray(detections, object)
    objects = np.asarray(truth, object)
    if not len(found) or not len(objects):
        return _no_pairs()
    threshold = min_iou * (1 - ROUNDING)
    truth_index, detection_index = shapely.STRtree(found).query(objects)
    found = found[detection_index]
    objects = objects[truth_index]
    if axis_aligned:
        overlap = iou(shapely.bounds(found), shapely.bounds(objects))
    else:
        overlap = _polygon_iou(found, objects, threshold)
    keep = overlap >= threshold
    return Pairs(
        detection_index[keep].astype(np.int64),
        truth_index[keep].astype(np.int64),
        1.0 - overlap[keep],
    )


def _polygon_iou(
    polygons: NDArray[np.object_], others: NDArray[np.object_], threshold: float
) -> Floats:
    """Return IoU (P,) of polygons one to one; below the threshold only an upper bound of it.

    Two polygons share at most what their bounds share, and at most the smaller of their areas: only
    pairs that may reach the threshold by that are intersected.
    """
    area = shapely.area(polygons)
    other_area = shapely.area(others)
    largest = np.minimum(
        intersection_area(shapely.bounds(polygons), shapely.bounds(others)),
        np.minimum(area, other_area),
    )
    overlap = iou_from_areas(largest, area, other_area)
    may_reach = np.flatnonzero(overlap >= threshold)
    common = shapely.area(shapely.intersection(polygons[may_reach], others[may_reach]))
    overlap[may_reach] = iou_from_areas(common, area[may_reach], other_area[may_reach])
    return overlap


def assign_one_to_one(pairs: Pairs, n_detections: int, n_truth: int) -> Ints:
    """Give each detection, in index order, the nearest object that no earlier one has.

    Detections must be in falling score. The order of choice is the same for all objects, so the one
    stable matching of the pairs is this greedy one (Gale and Shapley 1962), and deferred acceptance
    finds it in a few vectorized rounds.

    Args:
        pairs: what may match; equal costs prefer the object of lower index.
        n_detections: how many detections there are.
        n_truth: how many objects there are.

    Returns:
        (n_detections,) index of the object assigned, or -1.
    """
    order = np.lexsort((pairs.truth, pairs.cost, pairs.detection))
    truth = pairs.truth[order]
    counts = np.bincount(pairs.detection, minlength=n_detections)
    stop = np.cumsum(counts)
    position = stop - counts  # next object to propose to, per detection
    holder = np.full(n_truth, n_detections, np.int64)  # best detection so far, per object
    proposing = np.flatnonzero(counts)
    while len(proposing):
        proposed = truth[position[proposing]]
        objects = np.unique(proposed)
        before = holder[objects]
        np.minimum.at(holder, proposed, proposing)
        rejected = proposing[holder[proposed] != proposing]
        displaced = before[(before != holder[objects]) & (before < n_detections)]
        proposing = np.concatenate([rejected, displaced])
        position[proposing] += 1
        proposing = proposing[position[proposing] < stop[proposing]]
    assigned = np.full(n_detections, -1, np.int64)
    held = np.flatnonzero(holder < n_detections)
    assigned[holder[held]] = held
    return assigned


def inside_any(points_xy: ArrayLike, areas: ArrayLike) -> Bools:
    """Return which points are in (or on the border of) any of the areas.

    Args:
        points_xy: (N, 2) points.
        areas: (A,) shapely polygons in the same plane.

    Returns:
        (N,) booleans.
    """
    coordinates = _as_points(points_xy)
    polygons = np.asarray(areas, object)
    inside = np.zeros(len(coordinates), bool)
    if len(coordinates) and len(polygons):
        points = np.asarray(shapely.points(coordinates), object)
        _, point_index = shapely.STRtree(points).query(polygons, predicate="intersects")
        inside[point_index] = True
    return inside


def _as_points(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float64).reshape(-1, 2)


def _no_pairs() -> Pairs:
    return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
