"""AP at many match thresholds: from loose to strict localization, and the mean over them.

One rule favours a detector that finds objects but places them badly, another one that places well
what it finds; AP at each threshold shows both. Values only, without intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from windhover.metrics.bootstrap import BootstrapSample, resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections_by_rules
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.nan_safe import mean_of_finite
from windhover.metrics.score_curve import average_precision
from windhover.params.allowed_values import MatchBy

# IoU 0.5, 0.55, ... 0.95, as COCO (Lin 2014)
COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MATCH_THRESHOLDS: dict[MatchBy, tuple[float, ...]] = {
    "size": (0.1, 0.2, 0.3, 0.4, 0.5),
    "iou": COCO_IOUS,
    "oriented_iou": COCO_IOUS,
}
# of a distance, times that of the rule
DISTANCE_FACTORS = (0.25, 0.5, 1.0, 2.0)
# of a report, px at the training GSD: 2 to 16 m at 1.25 m
DISTANCES_PX = (1.6, 3.2, 6.4, 12.8)
# kinds of rule that every report has: all but the IoU of polygons, which are not always there
REPORTED_RULES: tuple[MatchBy, ...] = ("size", "distance", "iou")
MEAN = "mean"


def swept_rules(rule: MatchRule) -> list[MatchRule]:
    """Return a rule at many thresholds: those of its kind; a distance shorter and longer."""
    values = MATCH_THRESHOLDS.get(rule.by)
    if values is None:
        values = tuple(rule.value * factor for factor in DISTANCE_FACTORS)
    return [replace(rule, value=value) for value in values]


def ap_by_threshold(
    detections: pd.DataFrame,
    ground_truth: GroundTruth,
    classes: Sequence[str],
    rules: Sequence[MatchRule],
) -> pd.DataFrame:
    """Return the AP, mean over classes, by each match rule, and a last row with their mean.

    Args:
        detections: as `windhover.metrics.match_detections` takes them.
        ground_truth: the objects and the ignore regions.
        classes: whose APs are averaged.
        rules: of one kind, one at least.

    Returns:
        `by`, `value` (NaN in the row of the mean), `ap` (NaN without objects).
    """
    sample = resample(ground_truth.scenes, n_bootstrap=0, seed=0)
    aps = [
        _mean_ap(matches, ground_truth, classes, sample=sample)
        for matches in match_detections_by_rules(detections, ground_truth, rules)
    ]
    values = [rule.value for rule in rules]
    return pd.DataFrame(
        {"by": rules[0].by, "value": [*values, np.nan], "ap": [*aps, mean_of_finite(aps)]}
    )


def _mean_ap(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    classes: Sequence[str],
    *,
    sample: BootstrapSample,
) -> float:
    """Return the mean of the classes' APs; NaN if no class has objects."""
    aps = []
    for name in classes:
        curve = class_score_curve(matches, ground_truth, sample, class_name=name)
        aps.append(average_precision(curve.counts())[0])
    return mean_of_finite(aps)


def report_ap_table(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    classes: Sequence[str],
    *,
    gsd_m: float,
    point_match_radius_m: float,
) -> pd.DataFrame:
    """Return the APs of a report: `match_by`, `threshold` (text, `mean` for the mean), `ap`.

    Args:
        matches: from `match_detections`.
        ground_truth: what they were matched with.
        classes: whose APs are averaged.
        gsd_m: of the training; distances are px of it.
        point_match_radius_m: distance for objects without a size.
    """
    tables = []
    for by in REPORTED_RULES:
        thresholds = MATCH_THRESHOLDS.get(by, tuple(px * gsd_m for px in DISTANCES_PX))
        rules = [MatchRule(by, value, point_match_radius_m) for value in thresholds]
        table = ap_by_threshold(matches, ground_truth, classes, rules)
        names = [MEAN if np.isnan(value) else f"{value:g}" for value in table["value"]]
        tables.append(pd.DataFrame({"match_by": by, "threshold": names, "ap": table["ap"]}))
    return pd.concat(tables, ignore_index=True)
