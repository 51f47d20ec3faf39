"""The threshold of one class, chosen by a rule on the validation split, with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import BootstrapSample, bootstrap_values, percentile_interval
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.score_curve import MatchCounts, ScoreCurve
from windhover.metrics.smoothed_counts import SmoothedCurve
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

    A rule that seeks the best of a figure (F-beta, cost) takes the best of the smoothed counts, see
    `windhover.metrics.smoothed_counts`. One that keeps a bound keeps it on validation as it is, and
    its threshold stands midway between the lowest score that it keeps and the next score below: on
    validation the two are equally good, and on new scenes an object that scores slightly less is
    still found. If validation holds no object that is found, the threshold is 0.5, with a note.
    """
    if not curve.is_tp.any():
        return _default_threshold(curve, n_objects=float(curve.n_gt.sum()))
    candidates: ScoreCurve | SmoothedCurve = curve
    if rule.seeks_the_best:
        candidates = SmoothedCurve(curve)
    counts = candidates.counts(np.ones((curve.n_groups, 1)))
    chosen = choose_level(counts, rule)
    threshold = float(_between_scores(curve, counts.thresholds[chosen.level[:1]], rule)[0])
    met = bool(chosen.is_met[0])
    note = ""
    if not met:
        note = explain_unmet(counts, rule, int(chosen.level[0]))

    def thresholds(weights: Floats) -> dict[str, Floats]:
        resampled = candidates.counts(weights)
        value = resampled.thresholds[choose_level(resampled, rule).level]
        found = resampled.tp[-1] > 0
        return {"threshold": np.where(found, _between_scores(curve, value, rule), np.nan)}

    values = bootstrap_values(thresholds, sample.weights, len(candidates.thresholds))
    low, high = percentile_interval(values.get("threshold", [])) or (None, None)
    figures = _metric_values(curve.counts_at(threshold))
    return ChosenThreshold(threshold, low, high, met, note, **figures)


def _default_threshold(curve: ScoreCurve, n_objects: float) -> ChosenThreshold:
    reason = "holds none"
    if n_objects:
        reason = f"holds {n_objects:.0f}, and none is found"
    note = f"validation {reason}: no rule can be applied, so the threshold is {DEFAULT_THRESHOLD}."
    values = _metric_values(curve.counts_at(DEFAULT_THRESHOLD))
    return ChosenThreshold(DEFAULT_THRESHOLD, None, None, False, note, **values)


def _between_scores(curve: ScoreCurve, scores: Floats, rule: ThresholdRule) -> Floats:
    """Return the middle between each score and the next lower one; 0 is below the lowest.

    Smoothed thresholds are between scores already.
    """
    if rule.seeks_the_best:
        return scores
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
