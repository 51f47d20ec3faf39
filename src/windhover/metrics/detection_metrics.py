"""Metrics of detections on whole scenes at given thresholds, with bootstrap intervals.

Positions are metres in a plane of each scene (col x GSD, row x GSD, or a projected map). Intervals
are over places, and there are none with fewer than `MIN_PLACES`. Knows no model and reads no
raster; the thresholds are given, chosen by `windhover.metrics.choose_threshold` on another split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import (
    BootstrapSample,
    Estimate,
    bootstrap_values,
)
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import counts_by_scene
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.place_intervals import (
    leave_one_out_weights,
    mean_interval,
    rate_interval,
    share_interval,
)
from windhover.metrics.score_curve import (
    MatchCounts,
    ScoreCurve,
    average_precision,
    recall_at_false_alarm_rate,
    score_curve,
)

# false alarms per km2 at which recall is reported
FALSE_ALARM_RATES = (1.0, 5.0)


@dataclass(frozen=True)
class DetectionMetrics:
    """The metrics of one set of scenes at given thresholds.

    Attributes:
        estimates: by name, over all classes: `ap` and the recalls at a rate are means over
            classes, the rest is counted over all classes together.
        per_class: the same for each class.
        per_scene: a row per scene, from `counts_by_scene`.
        pooled_curve: counts of all classes together.
        class_curves: counts of each class.
        sample: what the intervals are resampled over.
        matches: the detections, from `match_detections`.
        ground_truth: what they were matched with.
    """

    estimates: dict[str, Estimate]
    per_class: dict[str, dict[str, Estimate]]
    per_scene: pd.DataFrame
    pooled_curve: MatchCounts
    class_curves: dict[str, MatchCounts]
    sample: BootstrapSample
    matches: pd.DataFrame
    ground_truth: GroundTruth


def measure_detections(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    thresholds: Mapping[str, float],
    *,
    sample: BootstrapSample,
) -> DetectionMetrics:
    """Compute every metric with its interval.

    Args:
        matches: from `match_detections`, with calibrated scores.
        ground_truth: what they were matched with.
        thresholds: by class: what scores this much or more is reported.
        sample: from `resample`.
    """
    per_scene = counts_by_scene(matches, ground_truth, thresholds)
    metrics = weighted_metrics(
        matches, ground_truth, thresholds, sample=sample, per_scene=per_scene
    )
    estimates = _estimates(metrics, sample)
    curves = metrics.curves
    return DetectionMetrics(
        estimates={key: value for key, value in estimates.items() if "/" not in key},
        per_class={name: _of_class(estimates, name) for name in thresholds},
        per_scene=per_scene,
        pooled_curve=class_score_curve(matches, ground_truth, sample).counts(),
        class_curves={name: curve.counts() for name, curve in curves.items()},
        sample=sample,
        matches=matches,
        ground_truth=ground_truth,
    )


def _estimates(metrics: WeightedMetrics, sample: BootstrapSample) -> dict[str, Estimate]:
    """Return every metric with its interval over places; without one where places are few."""
    n_groups = len(sample.names)
    values = metrics(np.ones((n_groups, 1)))
    without_one: dict[str, Floats] = {}
    if sample.has_enough_places:
        without_one = bootstrap_values(metrics, leave_one_out_weights(n_groups), metrics.n_rows)
    counts = metrics.counts_by_group()
    estimates = {}
    for name, value in values.items():
        class_name, _, metric = name.rpartition("/")
        interval = None
        if name in without_one:
            interval = interval_of_metric(
                metric,
                float(value[0]),
                without_one[name],
                counts=counts[class_name],
                n_scenes=metrics.scenes_by_group,
            )
        low, high = interval or (None, None)
        estimates[name] = Estimate(finite_or_none(value[0]), low, high)
    return estimates


def interval_of_metric(
    metric: str,
    value: float,
    without_one: Floats,
    *,
    counts: MatchCounts,
    n_scenes: Floats,
) -> tuple[float, float] | None:
    """Return the interval of a metric on its scale: share, rate, or mean.

    Args:
        metric: name without a class.
        value: of the data.
        without_one: (G,) value without each group.
        counts: of each of the G groups at the thresholds, of the class or of all classes.
        n_scenes: (G,) of each group.
    """
    if metric == "count_bias":
        return mean_interval(value, without_one, sizes=n_scenes)
    if metric == "count_error":
        interval = mean_interval(value, without_one, sizes=n_scenes)
        return None if interval is None else (max(interval[0], 0.0), interval[1])
    tp = counts.tp[0]
    fp = counts.fp[0]
    if metric == "false_alarms_per_km2":
        return rate_interval(
            float(fp.sum()), float(counts.km2.sum()), without_one, sizes=counts.km2
        )
    sizes = counts.n_gt
    trial_share = None
    if metric == "precision":
        sizes = tp + fp
    if metric == "f1":
        sizes = fp + counts.n_gt
        trial_share = float(tp.sum() / max(sizes.sum(), 1))
    return share_interval(
        value, without_one, sizes=sizes, n_trials=float(sizes.sum()), trial_share=trial_share
    )


def _of_class(estimates: Mapping[str, Estimate], class_name: str) -> dict[str, Estimate]:
    """Return the estimates of one class, which are kept as `class/metric`."""
    prefix = f"{class_name}/"
    return {
        key.removeprefix(prefix): estimate
        for key, estimate in estimates.items()
        if key.startswith(prefix)
    }


def class_score_curve(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    sample: BootstrapSample,
    *,
    class_name: str | None = None,
) -> ScoreCurve:
    """Return the score curve of one class, or of all classes together, by group of the sample."""
    group_of = pd.Series(sample.group, index=ground_truth.scenes["scene"])
    counted = matches[~matches["ignored"]]
    objects = ground_truth.objects
    if class_name is not None:
        counted = counted[counted["class"] == class_name]
        objects = objects[objects["class"] == class_name]
    n_groups = len(sample.names)
    return score_curve(
        counted["score"],
        counted["is_tp"],
        group_of[counted["scene"]],
        n_gt=np.bincount(group_of[objects["scene"]], minlength=n_groups),
        km2=np.bincount(sample.group, weights=ground_truth.scenes["km2"], minlength=n_groups),
    )


@dataclass(frozen=True)
class WeightedMetrics:
    """Every metric as a function of the weights of the groups.

    Attributes:
        curves: by class.
        thresholds: by class: of all groups, or (G,) of each.
        count_error: (S,) reported minus true number of objects of each scene.
        group: (S,) group of each scene.
    """

    curves: Mapping[str, ScoreCurve]
    thresholds: Mapping[str, float | Floats]
    count_error: Floats
    group: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Length of the longest table that is made for a resample."""
        return max((len(curve.thresholds) for curve in self.curves.values()), default=1)

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return (D,) values by name under (G, D) weights.

        The names are `class/metric` for each class, and `metric` for all classes.
        """
        values: dict[str, Floats] = {}
        at_threshold = []
        for name, curve in self.curves.items():
            counts = curve.counts_at(self.thresholds[name], weights)
            at_threshold.append(counts)
            of_class = _curve_metrics(curve.counts(weights)) | _threshold_metrics(counts)
            values |= {f"{name}/{key}": value for key, value in of_class.items()}
        for key in ("ap", *map(_recall_key, FALSE_ALARM_RATES)):
            by_class = np.array([values[f"{name}/{key}"] for name in self.curves])
            values[key] = _mean_over_classes(by_class)
        if at_threshold:
            values |= _threshold_metrics(_sum_over_classes(at_threshold))
        return values | self._count_errors(weights)

    @property
    def scenes_by_group(self) -> Floats:
        """(G,) number of scenes of each group."""
        return np.bincount(self.group).astype(np.float64)

    def counts_by_group(self) -> dict[str, MatchCounts]:
        """Return (G,) counts of each class at its threshold by group; their sum under ""."""
        each = np.eye(len(self.scenes_by_group))
        counts = {
            name: curve.counts_at(self.thresholds[name], each)
            for name, curve in self.curves.items()
        }
        if counts:
            counts[""] = _sum_over_classes(list(counts.values()))
        return counts

    def _count_errors(self, weights: Floats) -> dict[str, Floats]:
        """Return the mean error of a scene's count, as a size and with its sign."""
        scene_weights = weights[self.group]  # (S, D)
        total = scene_weights.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return {
                "count_error": (np.abs(self.count_error) @ scene_weights) / total,
                "count_bias": (self.count_error @ scene_weights) / total,
            }


def weighted_metrics(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    thresholds: Mapping[str, float | Floats] | Mapping[str, float] | Mapping[str, Floats],
    *,
    sample: BootstrapSample,
    per_scene: pd.DataFrame,
) -> WeightedMetrics:
    """Return the metrics as a function of the weights of the groups.

    Args:
        matches: from `match_detections`, with calibrated scores.
        ground_truth: what they were matched with.
        thresholds: by class: of all groups, or (G,) of each.
        sample: from `resample`.
        per_scene: from `counts_by_scene`.
    """
    curves = {}
    for name in thresholds:
        curves[name] = class_score_curve(matches, ground_truth, sample, class_name=name)
    return WeightedMetrics(
        curves, dict(thresholds), per_scene["count_error"].to_numpy(np.float64), sample.group
    )


def _recall_key(rate: float) -> str:
    return f"recall_at_{rate:g}_per_km2"


def _curve_metrics(counts: MatchCounts) -> dict[str, Floats]:
    """Return (D,) values of the metrics that need the whole curve."""
    values = {"ap": average_precision(counts)}
    for rate in FALSE_ALARM_RATES:
        values[_recall_key(rate)] = recall_at_false_alarm_rate(counts, rate)
    return values


def _threshold_metrics(counts: MatchCounts) -> dict[str, Floats]:
    """Return (D,) values of the metrics at one threshold."""
    return {
        "precision": counts.precision[0],
        "recall": counts.recall[0],
        "f1": counts.f_beta()[0],
        "false_alarms_per_km2": counts.false_alarms_per_km2[0],
    }


def _sum_over_classes(counts: list[MatchCounts]) -> MatchCounts:
    """Return the sum of counts at one threshold each; the area is that of any class."""
    return MatchCounts(
        thresholds=counts[0].thresholds,
        tp=np.sum([one.tp for one in counts], axis=0),
        fp=np.sum([one.fp for one in counts], axis=0),
        n_gt=np.sum([one.n_gt for one in counts], axis=0),
        km2=counts[0].km2,
    )


def _mean_over_classes(values: Floats) -> Floats:
    """Return the mean over the first axis of the finite values; NaN if there are none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(axis=0)
    mean = np.full(values.shape[1:], np.nan)
    np.divide(total, finite.sum(axis=0), out=mean, where=finite.any(axis=0))
    return mean
