"""Which detections count neither way: those in ignore regions, and those on ignored labels.

What is centred in an ignore region or an ignored box is ignored, however often, as COCO does with
crowds. An ignored box smaller than the reach of a point is a marker: its outline holds nothing of
the object's size. As VOC and DOTA do with `difficult` objects, what would match it by the rule is
ignored, with the size of the detection where that is the larger one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import shapely

from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.pairing import inside_any
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_rule import MatchRule


def in_ignore_region(detections: pd.DataFrame, ground_truth: GroundTruth, rule: MatchRule) -> Bools:
    """Return (N,) whether each detection is in an ignore region, or on an ignored label.

    Args:
        detections: `scene`, `x_m`, `y_m`, and `geometry` where sizes are known.
        ground_truth: its ignore regions; `longer_m` of ignored labels, NaN of areas.
        rule: gives markers their reach: by size with the longer side of the larger of the two, by
            distance, or by the share that marker and detection have of the smaller one.
    """
    inside = np.zeros(len(detections), bool)
    ignored = ground_truth.ignored
    regions = np.array(ignored["geometry"].to_numpy(object), object)
    is_point = shapely.area(regions) == 0
    radius_m = rule.point_match_radius_m
    regions[is_point] = shapely.buffer(shapely.centroid(regions[is_point]), radius_m)
    is_marker = ~is_point & _is_marker(ignored, radius_m)
    detections_of: Any = detections.groupby("scene").indices
    regions_of: Any = ignored.groupby("scene").indices
    for scene, region_rows in regions_of.items():
        rows = detections_of.get(scene)
        if rows is None:
            continue
        inside[rows] = inside_any(detections.iloc[rows][["x_m", "y_m"]], regions[region_rows])
        markers = regions[region_rows[is_marker[region_rows]]]
        others = rows[~inside[rows]]
        if len(markers) and len(others):
            inside[others] = _on_markers(detections.iloc[others], markers, rule)
    return inside


def _is_marker(ignored: pd.DataFrame, radius_m: float) -> Bools:
    """Return which ignore regions are labels with a longer side below a radius."""
    if "longer_m" not in ignored:
        return np.zeros(len(ignored), bool)
    return np.asarray(ignored["longer_m"].to_numpy(np.float64) < radius_m)


def _on_markers(detections: pd.DataFrame, labels: Any, rule: MatchRule) -> Bools:
    """Return which detections would match a label by the rule, as if it were an object."""
    shapes = np.full(len(detections), None, object)
    if "geometry" in detections:
        shapes = detections["geometry"].to_numpy(object)
    if rule.is_by_iou:
        return _overlaps(shapes, labels, rule)
    xy_m = detections[["x_m", "y_m"]].to_numpy(np.float64)
    points = np.asarray(shapely.points(xy_m), object)
    reach_m = np.full((len(labels), 1), rule.value)
    if rule.by == "size":
        reach_m = rule.value * np.maximum(_longer_sides(labels)[:, None], _longer_sides(shapes))
    tree = shapely.STRtree(shapely.buffer(shapely.centroid(labels), reach_m.max(axis=1)))
    point_index, label_index = tree.query(points, predicate="intersects")
    centers = shapely.centroid(labels)
    distance = shapely.distance(points[point_index], centers[label_index])
    reach_m = np.broadcast_to(reach_m, (len(labels), len(points)))
    near = np.zeros(len(points), bool)
    near[point_index[distance <= reach_m[label_index, point_index]]] = True
    return near


def _overlaps(shapes: Any, labels: Any, rule: MatchRule) -> Bools:
    """Return which shapes share at least the rule's value of the smaller one with a label."""
    if rule.by == "iou":
        shapes, labels = shapely.envelope(shapes), shapely.envelope(labels)
    shape_index, label_index = shapely.STRtree(labels).query(shapes, predicate="intersects")
    first, second = shapes[shape_index], labels[label_index]
    shared = shapely.area(shapely.intersection(first, second))
    smaller = np.minimum(shapely.area(first), shapely.area(second))
    near = np.zeros(len(shapes), bool)
    near[shape_index[shared >= rule.value * smaller]] = True
    return near


def _longer_sides(shapes: Any) -> Floats:
    """Return (N,) longer sides of the bounds of shapes; 0 of those that are missing."""
    bounds = shapely.bounds(shapes)
    sides = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    return np.asarray(np.nan_to_num(sides), np.float64)
