"""Smoothed counts: against each detection's own kernel, and the thresholds that they choose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from windhover.metrics.bootstrap import BootstrapSample
from windhover.metrics.choose_threshold import choose_threshold
from windhover.metrics.score_curve import ScoreCurve, score_curve
from windhover.metrics.smoothed_counts import BANDWIDTH, STEP, SmoothedCurve
from windhover.metrics.threshold_rule import ThresholdRule, choose_level

N_PLACES = 3
MAX_F1 = ThresholdRule("max_fbeta", 1.0)


def draw(rng: np.random.Generator, n_objects: int, n_alarms: int) -> ScoreCurve:
    """Objects about logit 2 and false alarms about logit -2, each of some place."""
    logits = np.concatenate([rng.normal(2.0, 1.3, n_objects), rng.normal(-2.0, 1.3, n_alarms)])
    is_tp = np.arange(len(logits)) < n_objects
    place = rng.integers(0, N_PLACES, len(logits))
    n_gt = np.bincount(place[is_tp], minlength=N_PLACES)
    return score_curve(expit(logits), is_tp, place, n_gt=n_gt, km2=np.ones(N_PLACES))


def threshold_of(curve: ScoreCurve, rule: ThresholdRule = MAX_F1) -> float:
    sample = BootstrapSample("places", np.arange(N_PLACES), ["a", "b", "c"], np.zeros((3, 0)))
    return choose_threshold(curve, sample, rule).threshold


@pytest.mark.parametrize("seed", [0, 1])
def test_every_detection_counts_by_its_kernel(seed: int) -> None:
    curve = draw(np.random.default_rng(seed), n_objects=25, n_alarms=60)
    weights = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 1.0]])
    counts = SmoothedCurve(curve).counts(weights)
    bandwidth = BANDWIDTH * 25**-0.2
    levels = logit(counts.thresholds)[:, None]
    share = norm.cdf((logit(curve.scores) - levels) / bandwidth)
    # scores are rounded to the steps first
    slack = 60 * STEP / 2 / bandwidth
    for column in range(2):
        weight = weights[curve.group, column]
        assert counts.tp[:, column] == pytest.approx(share @ (weight * curve.is_tp), abs=slack)
        assert counts.fp[:, column] == pytest.approx(share @ (weight * ~curve.is_tp), abs=slack)


def test_the_threshold_does_not_depend_on_scores_far_below() -> None:
    curve = draw(np.random.default_rng(2), n_objects=40, n_alarms=30)
    scores = np.concatenate([curve.scores, np.full(500, 1e-9)])
    is_tp = np.concatenate([curve.is_tp, np.zeros(500, bool)])
    group = np.concatenate([curve.group, np.zeros(500, np.int64)])
    longer = score_curve(scores, is_tp, group, n_gt=curve.n_gt, km2=curve.km2)
    assert threshold_of(longer) == threshold_of(curve)


def test_without_a_false_alarm_the_threshold_stays_near_the_objects() -> None:
    curve = score_curve([0.9, 0.8, 0.7], [True] * 3, [0, 1, 2], n_gt=[1] * 3, km2=[1.0] * 3)
    assert logit(0.7) - 2.1 * BANDWIDTH * 3**-0.2 < logit(threshold_of(curve)) < logit(0.7)


def test_scores_of_0_and_1_are_taken() -> None:
    curve = score_curve(
        [1.0, 1.0, 0.0], [True, True, False], [0, 1, 2], n_gt=[1, 1, 0], km2=[1.0] * 3
    )
    assert 0 < threshold_of(curve) < 1


@pytest.mark.parametrize("rule", [MAX_F1, ThresholdRule("max_fbeta", 2.0)])
def test_a_smoothed_threshold_loses_less_on_new_ground(rule: ThresholdRule) -> None:
    """The best of the raw counts of 30 objects follows chance: its loss is half as large again."""
    world = draw(np.random.default_rng(5), n_objects=20_000, n_alarms=20_000)
    best = np.nanmax(world.counts().f_beta(rule.value))
    lost = {"smoothed": 0.0, "raw": 0.0}
    for seed in range(40):
        curve = draw(np.random.default_rng([6, seed]), n_objects=30, n_alarms=30)
        counts = curve.counts()
        raw = counts.thresholds[choose_level(counts, rule).level[0]]
        for name, threshold in (("smoothed", threshold_of(curve, rule)), ("raw", raw)):
            lost[name] += best - float(world.counts_at(threshold).f_beta(rule.value).mean())
    assert 1.5 * lost["smoothed"] < lost["raw"]


def test_a_rule_that_keeps_a_bound_keeps_it_exactly() -> None:
    curve = draw(np.random.default_rng(7), n_objects=50, n_alarms=80)
    rule = ThresholdRule("precision_at_least", 0.95)
    assert curve.counts_at(threshold_of(curve, rule)).precision[0].mean() >= 0.95
