"""Which detection is which object: pairs that may match, and the one-to-one assignment in falling
score.

Holds three rules of nearness (centre distance, IoU of boxes, IoU of polygons) and one assignment
for all of them.
Refuses scores and classes: callers give detections of one class in falling score, scene by scene.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from windhover.geometry.boxes import iou, shared

Floats = NDArray[np.float64]
ROUNDING = 1e-9  # share of an IoU: coordinates of a map are millions of metres
Ints = NDArray[np.int64]


class Pairs(NamedTuple):
    """Detections and objects near enough to match; one entry a pair, in no particular order."""

    detection: Ints  # (P,) index into the detections
    truth: Ints  # (P,) index into the objects
    cost: Floats  # (P,) >= 0; smaller is better: distance, or 1 - IoU


def pairs_by_center(detections_xy: ArrayLike, truth_xy: ArrayLike, reach: ArrayLike) -> Pairs:
    """Pair what lies within `reach` of an object's centre.

    Args:
        detections_xy: (N, 2) centres, in the unit of `reach` (metres or px).
        truth_xy: (M, 2) centres.
        reach: (M,) or a number: the largest distance, inclusive.

    Returns:
        pairs whose cost is the distance.
    """
    found, truth = _points(detections_xy), _points(truth_xy)
    limit = np.broadcast_to(np.asarray(reach, np.float64), (len(truth),))
    if not len(found) or not len(truth):
        return _no_pairs()
    near = cKDTree(found).query_ball_point(truth, limit * (1 + 1e-9), return_sorted=False)
    lengths = np.fromiter(map(len, near), np.int64, len(near))
    which_truth = np.repeat(np.arange(len(truth)), lengths)
    which = np.fromiter(
        (index for indices in near for index in indices), np.int64, int(lengths.sum())
    )
    distance = np.hypot(*(truth[which_truth] - found[which]).T)
    keep = distance <= limit[which_truth]
    return Pairs(which[keep], which_truth[keep], distance[keep])


def pairs_by_iou(
    detections: ArrayLike, truth: ArrayLike, at_least: float, upright: bool = False
) -> Pairs:
    """Pair shapes that overlap by at least an IoU above 0.

    Two polygons share at most what their bounds share, and at most the smaller of their areas: only
    pairs that may reach the IoU by that are intersected.

    Args:
        detections: (N,) shapely polygons.
        truth: (M,) shapely polygons in the same plane.
        at_least: smallest IoU, in (0, 1].
        upright: whether the bounds of the shapes are compared, instead of the polygons as they lie.

    Returns:
        pairs whose cost is 1 - IoU.
    """
    found, objects = np.asarray(detections, object), np.asarray(truth, object)
    if not len(found) or not len(objects):
        return _no_pairs()
    least = at_least * (1 - ROUNDING)
    which_truth, which = shapely.STRtree(found).query(objects)
    bounds = shapely.bounds(found)[which], shapely.bounds(objects)[which_truth]
    if upright:
        overlap = iou(*bounds)
    else:
        areas = shapely.area(found)[which], shapely.area(objects)[which_truth]
        overlap = _iou_of(np.minimum(shared(*bounds), np.minimum(*areas)), *areas)  # at most
        may = np.flatnonzero(overlap >= least)
        both = shapely.area(shapely.intersection(found[which[may]], objects[which_truth[may]]))
        overlap[may] = _iou_of(both, areas[0][may], areas[1][may])
    keep = overlap >= least
    return Pairs(
        which[keep].astype(np.int64), which_truth[keep].astype(np.int64), 1.0 - overlap[keep]
    )


def _iou_of(both: Floats, area: Floats, other: Floats) -> Floats:
    """Return IoU from what two shapes share and their areas; 0 where neither has an area."""
    union = area + other - both
    shares: Floats = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares


def boxes_as_polygons(boxes_xyxy: ArrayLike) -> NDArray[Any]:
    """Return (N,) polygons of (N, 4) boxes, for `pairs_by_iou`."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    return np.asarray(shapely.box(*boxes.T), object)


def assign(pairs: Pairs, n_detections: int, n_truth: int) -> Ints:
    """Give each object to at most one detection: in index order, each detection takes the nearest
    object still free.

    Detections must be in falling score. The order of choice is the same for all objects, so the one
    stable matching of the pairs is this greedy one (Gale and Shapley 1962), and deferred acceptance
    finds it in a few vectorised rounds.

    Args:
        pairs: what may match; equal costs prefer the object of lower index.
        n_detections: how many detections there are.
        n_truth: how many objects there are.

    Returns:
        (n_detections,) index of the object taken, or -1.
    """
    order = np.lexsort((pairs.truth, pairs.cost, pairs.detection))
    truth = pairs.truth[order]
    counts = np.bincount(pairs.detection, minlength=n_detections)
    stop = np.cumsum(counts)
    position = stop - counts  # next object to ask, per detection
    holder = np.full(n_truth, n_detections, np.int64)  # best detection that asked, per object
    asking = np.flatnonzero(counts)
    while len(asking):
        asked = truth[position[asking]]
        objects = np.unique(asked)
        before = holder[objects]
        np.minimum.at(holder, asked, asking)
        lost = asking[holder[asked] != asking]
        displaced = before[(before != holder[objects]) & (before < n_detections)]
        asking = np.concatenate([lost, displaced])
        position[asking] += 1
        asking = asking[position[asking] < stop[asking]]
    taken = np.full(n_detections, -1, np.int64)
    held = np.flatnonzero(holder < n_detections)
    taken[holder[held]] = held
    return taken


def inside_any(detections_xy: ArrayLike, areas: ArrayLike) -> NDArray[np.bool_]:
    """Say which points lie in (or on the border of) any of the areas.

    Args:
        detections_xy: (N, 2) points.
        areas: (A,) shapely polygons in the same plane.

    Returns:
        (N,) booleans.
    """
    points, polygons = _points(detections_xy), np.asarray(areas, object)
    inside = np.zeros(len(points), bool)
    if len(points) and len(polygons):
        spots = np.asarray(shapely.points(points), object)
        inside[shapely.STRtree(spots).query(polygons, predicate="intersects")[1]] = True
    return inside


def _points(values: ArrayLike) -> Floats:
    return np.asarray(values, np.float64).reshape(-1, 2)


def _no_pairs() -> Pairs:
    return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
