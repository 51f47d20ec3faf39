"""A class's threshold: its interval, its note, and what is reached there."""

from __future__ import annotations

import numpy as np
import pytest

from windhover.metrics.bootstrap import BootstrapSample, bootstrap_weights
from windhover.metrics.choose_threshold import choose_threshold
from windhover.metrics.score_curve import ScoreCurve, score_curve
from windhover.metrics.threshold_rule import ThresholdRule

N_PLACES = 8


def sample_of(n_places: int, weights: np.ndarray | None = None) -> BootstrapSample:
    names = tuple(f"p{k}" for k in range(n_places))
    if weights is None:
        weights = bootstrap_weights(n_places, 200, seed=0)
    return BootstrapSample("places", np.arange(n_places), names, weights)


def random_curve(seed: int) -> ScoreCurve:
    rng = np.random.default_rng(seed)
    is_tp = rng.random(120) < 0.5
    scores = np.where(is_tp, rng.beta(5, 2, 120), rng.beta(2, 4, 120))
    group = rng.integers(0, N_PLACES, 120)
    n_gt = np.bincount(group[is_tp], minlength=N_PLACES) + 1
    return score_curve(scores, is_tp, group, n_gt=n_gt, km2=np.full(N_PLACES, 1.5))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_has_two_ends_about_the_threshold(seed: int) -> None:
    chosen = choose_threshold(
        random_curve(seed), sample_of(N_PLACES), ThresholdRule("max_fbeta", 1)
    )
    assert chosen.low is not None
    assert chosen.high is not None
    assert chosen.low < chosen.high
    assert chosen.low <= chosen.threshold <= chosen.high
    assert chosen.met
    assert chosen.note == ""


def test_what_is_reached_is_counted_at_the_threshold() -> None:
    curve = random_curve(3)
    chosen = choose_threshold(curve, sample_of(N_PLACES), ThresholdRule("least_cost", 3.0))
    reported = curve.scores >= chosen.threshold
    tp = (reported & curve.is_tp).sum()
    fp = (reported & ~curve.is_tp).sum()
    n_gt = curve.n_gt.sum()
    assert chosen.precision == pytest.approx(tp / (tp + fp))
    assert chosen.recall == pytest.approx(tp / n_gt)
    assert chosen.f1 == pytest.approx(2 * tp / (tp + fp + n_gt))
    assert chosen.false_alarms_per_km2 == pytest.approx(fp / (1.5 * N_PLACES))


def test_a_rule_that_is_not_met_is_noted() -> None:
    rule = ThresholdRule("recall_at_least", 0.999)
    chosen = choose_threshold(random_curve(4), sample_of(N_PLACES), rule)
    assert not chosen.met
    assert "cannot be met on validation: the nearest is recall" in chosen.note


def test_resamples_that_find_nothing_say_nothing_of_the_threshold() -> None:
    """In one place nothing is found at all: a resample of it alone has no threshold."""
    curve = score_curve(
        [0.9, 0.8, 0.2], [True, True, False], [0, 0, 1], n_gt=[2, 1], km2=[1.0, 1.0]
    )
    weights = np.array([[1.0, 2.0, 0.0, 0.0], [1.0, 0.0, 2.0, 2.0]])
    rule = ThresholdRule("recall_at_least", 1.0)
    chosen = choose_threshold(curve, sample_of(2, weights), rule)
    assert chosen.threshold == pytest.approx(0.5)
    assert (chosen.low, chosen.high) == (pytest.approx(0.5), pytest.approx(0.5))
