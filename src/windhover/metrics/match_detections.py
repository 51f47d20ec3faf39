"""Which detection is which object on whole scenes, matched scene by scene and class by class.

Makes the frame of matches that every metric is counted from: `is_tp` and `ignored` of each
detection. Positions are metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.geometry.pairing import (
    ROUNDING,
    Pairs,
    assign_one_to_one,
    pairs_by_center,
    pairs_by_iou,
)
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.ignore_regions import in_ignore_region
from windhover.metrics.match_rule import MatchRule


def match_detections(
    detections: pd.DataFrame, ground_truth: GroundTruth, rule: MatchRule
) -> pd.DataFrame:
    """Assign detections to objects: in falling score, each object once, classes apart.

    Args:
        detections: from `matching_table`, with scores; any order.
        ground_truth: the objects and the ignore regions.
        rule: when a detection is an object.

    Returns:
        the detections in falling score with `object_index` (row of `ground_truth.objects`, -1 for
        none), `is_tp`, and `ignored`: no object, but in an ignore region, or on an ignored label.
    """
    return match_detections_by_rules(detections, ground_truth, [rule])[0]


def match_detections_by_rules(
    detections: pd.DataFrame, ground_truth: GroundTruth, rules: Sequence[MatchRule]
) -> list[pd.DataFrame]:
    """Match the same detections by several values of one kind of rule; pairs are searched once.

    Args:
        detections: as `match_detections` takes them.
        ground_truth: the objects and the ignore regions.
        rules: of one kind (`by`), at least one.
    """
    detections = detections.sort_values(
        ["score", "scene", "x_m", "y_m"], ascending=[False, True, True, True], kind="stable"
    )
    detections = detections.reset_index(drop=True)
    objects = ground_truth.objects
    pairs = _candidate_pairs(detections, objects, _least_strict(rules))
    matches = []
    for rule in rules:
        in_ignored = in_ignore_region(detections, ground_truth, rule)
        near = _pairs_within(pairs, objects, rule)
        object_index = assign_one_to_one(near, len(detections), len(objects))
        is_tp = object_index >= 0
        matches.append(
            detections.assign(object_index=object_index, is_tp=is_tp, ignored=in_ignored & ~is_tp)
        )
    return matches


def _least_strict(rules: Sequence[MatchRule]) -> MatchRule:
    """Return the rule whose pairs contain those of all others."""
    if rules[0].is_by_iou:
        return min(rules, key=lambda rule: rule.value)
    return max(rules, key=lambda rule: rule.value)


def _pairs_within(pairs: Pairs, objects: pd.DataFrame, rule: MatchRule) -> Pairs:
    """Return the pairs that match by a rule."""
    limit: Any = 1.0 - rule.value * (1 - ROUNDING)
    if not rule.is_by_iou:
        limit = rule.max_distance_m(objects)[pairs.truth]
    keep = pairs.cost <= limit
    return Pairs(pairs.detection[keep], pairs.truth[keep], pairs.cost[keep])


def _candidate_pairs(detections: pd.DataFrame, objects: pd.DataFrame, rule: MatchRule) -> Pairs:
    """Return what may match by this rule, as rows of the two tables."""
    objects_of: Any = objects.groupby(["scene", "class"]).indices
    detections_of: Any = detections.groupby(["scene", "class"], sort=False).indices
    detected = _match_geometry(detections, rule)
    true = _match_geometry(objects, rule)
    max_distance_m = rule.max_distance_m(objects)
    parts = []
    for key, rows in detections_of.items():
        object_rows = objects_of.get(key)
        if object_rows is None:
            continue
        if rule.is_by_iou:
            near = pairs_by_iou(
                detected[rows], true[object_rows], rule.value, axis_aligned=rule.by == "iou"
            )
        else:
            near = pairs_by_center(detected[rows], true[object_rows], max_distance_m[object_rows])
        parts.append(Pairs(rows[near.detection], object_rows[near.truth], near.cost))
    if not parts:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _match_geometry(table: pd.DataFrame, rule: MatchRule) -> NDArray[Any]:
    """Return what a rule compares: (N,) polygons for an IoU, else (N, 2) centres in metres."""
    if rule.is_by_iou:
        return table["geometry"].to_numpy(object)
    return table[["x_m", "y_m"]].to_numpy(np.float64)
