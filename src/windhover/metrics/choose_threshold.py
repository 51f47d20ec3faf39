"""The threshold of one class, chosen by a rule on the validation split, with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import BootstrapSample, bootstrap_values, percentile_interval
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.score_curve import MatchCounts, ScoreCurve
from windhover.metrics.threshold_rule import ThresholdRule, choose_level, explain_unmet

# of a class of which the validation split finds no object
DEFAULT_THRESHOLD = 0.5


class ChosenThreshold(NamedTuple):
    """The threshold of one class, and its metrics on the validation split.

    Attributes:
        threshold: calibrated score from which a detection is reported.
        low: lower end of its 95 % interval; None if there is none.
        high: upper end.
        met: whether the rule is met there.
        note: a sentence if the rule could not be applied or met, else empty.
        precision: at the threshold, None where undefined; the others likewise.
    """

    threshold: float
    low: float | None
    high: float | None
    met: bool
    note: str
    precision: float | None
    recall: float | None
    f1: float | None
    false_alarms_per_km2: float | None

    def without_figures(self) -> ChosenThreshold:
        """Return the threshold alone, where its figures would flatter."""
        return self._replace(
            low=None,
            high=None,
            precision=None,
            recall=None,
            f1=None,
            false_alarms_per_km2=None,
        )


def choose_threshold(
    curve: ScoreCurve, sample: BootstrapSample, rule: ThresholdRule
) -> ChosenThreshold:
    """Choose the threshold of a class by the rule, with its interval over the resamples.

    The threshold stands midway between the lowest score that the rule keeps and the next score
    below: on validation the two are equally good, and on new scenes an object that scores slightly
    less is still found. If validation holds no object that is found, the threshold is 0.5, with a
    note.
    """
    counts = curve.counts()
    if not len(counts.thresholds) or not counts.tp[-1, 0]:
        return _default_threshold(curve, n_objects=float(counts.n_gt[0]))
    chosen = choose_level(counts, rule)
    threshold = float(_midpoint_below(curve, counts.thresholds[chosen.level[:1]])[0])
    met = bool(chosen.is_met[0])
    note = ""
    if not met:
        note = explain_unmet(counts, rule, int(chosen.level[0]))
    low, high = _threshold_interval(curve, sample, rule)
    values = _metric_values(curve.counts_at(threshold))
    return ChosenThreshold(threshold, low, high, met, note, **values)


def _default_threshold(curve: ScoreCurve, n_objects: float) -> ChosenThreshold:
    reason = "holds none"
    if n_objects:
        reason = f"holds {n_objects:.0f}, and none is found"
    note = f"validation {reason}: no rule can be applied, so the threshold is {DEFAULT_THRESHOLD}."
    values = _metric_values(curve.counts_at(DEFAULT_THRESHOLD))
    return ChosenThreshold(DEFAULT_THRESHOLD, None, None, False, note, **values)


def _threshold_interval(
    curve: ScoreCurve, sample: BootstrapSample, rule: ThresholdRule
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the threshold that the rule chooses in each resample."""

    def thresholds(weights: Floats) -> dict[str, Floats]:
        counts = curve.counts(weights)
        value = _midpoint_below(curve, counts.thresholds[choose_level(counts, rule).level])
        return {"threshold": np.where(counts.tp[-1] > 0, value, np.nan)}

    resampled = bootstrap_values(thresholds, sample.weights, len(curve.thresholds))
    return percentile_interval(resampled.get("threshold", [])) or (None, None)


def _midpoint_below(curve: ScoreCurve, scores: Floats) -> Floats:
    """Return the middle between each score and the next lower one; 0 is below the lowest."""
    rising = np.concatenate([[0.0], np.unique(curve.scores)])
    below = rising[np.maximum(np.searchsorted(rising, scores) - 1, 0)]
    return np.asarray((scores + below) / 2, np.float64)


def _metric_values(counts: MatchCounts) -> dict[str, float | None]:
    """Return the metrics of counts at one threshold and one weight; None where undefined."""
    return {
        "precision": finite_or_none(counts.precision[0, 0]),
        "recall": finite_or_none(counts.recall[0, 0]),
        "f1": finite_or_none(counts.f_beta()[0, 0]),
        "false_alarms_per_km2": finite_or_none(counts.false_alarms_per_km2[0, 0]),
    }
