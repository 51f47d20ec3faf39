"""Figures on windows: by counting, by a sample that really is as rare, and where one outcome is
absent.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from windhover.metrics.window_metrics import best_threshold, weigh_to_prior, window_figures


def sample(positives: int, negatives: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = np.r_[np.ones(positives, bool), np.zeros(negatives, bool)]
    return true, np.r_[rng.beta(5, 2, positives), rng.beta(2, 5, negatives)]


def test_the_confusion_is_counted() -> None:
    true, score = sample(200, 600)
    made = window_figures(true, score, 0.01, 0.5)
    tp, fp, fn, tn = made.confusion
    assert (tp + fn, fp + tn) == (200, 600) == (made.positives, made.negatives)
    assert tp == (score[:200] >= 0.5).sum()
    assert made.precision == pytest.approx(tp / (tp + fp))
    assert made.recall == pytest.approx(tp / 200)
    pairs = score[:200, None] > score[None, 200:]
    assert made.auc == pytest.approx(pairs.mean())


def test_weighing_foresees_a_sample_that_is_as_rare() -> None:
    prior = 0.005
    made = window_figures(*sample(4_000, 8_000, seed=1), prior, 0.6)
    rare_true, rare_score = sample(4_000, 796_000, seed=2)  # one in two hundred
    assert made.ap_true == pytest.approx(average_precision_score(rare_true, rare_score), abs=0.03)
    hits, alarms = (rare_score[:4_000] >= 0.6).sum(), (rare_score[4_000:] >= 0.6).sum()
    assert made.precision_true == pytest.approx(hits / (hits + alarms), abs=0.01)
    assert made.ap_sampled is not None
    assert made.ap_true is not None
    assert made.ap_sampled > made.ap_true + 0.3


def test_the_weights_give_the_prior() -> None:
    true, _ = sample(30, 100)
    weight = weigh_to_prior(true, 0.002)
    assert weight[true].sum() / weight.sum() == pytest.approx(0.002)
    assert (weigh_to_prior(np.ones(5, bool), 0.1) == 1).all()


def test_the_best_threshold_is_the_best_of_all() -> None:
    true, score = sample(60, 200, seed=3)
    prior = 0.05
    weight = weigh_to_prior(true, prior)

    def f1(threshold: float) -> float:
        reported = score >= threshold
        hits = weight[true & reported].sum()
        return float(2 * hits / (weight[true].sum() + weight[reported].sum()))

    best = best_threshold(true, score, prior)
    assert f1(best) == pytest.approx(max(f1(value) for value in score))


@pytest.mark.parametrize("true", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_where_one_outcome_is_absent_nothing_is_invented(true: np.ndarray) -> None:
    made = window_figures(
        true,
        np.linspace(0, 1, len(true)),
        0.01,
        best_threshold(true, np.linspace(0, 1, len(true)), 0.01),
    )
    assert (made.auc, made.ap_sampled, made.ap_true) == (None, None, None)
    assert list(made.pr.columns) == ["threshold", "recall", "precision", "precision_true"]
    assert len(made.pr) == len(made.roc) == 0


def test_curves_are_short_and_run_one_way() -> None:
    made = window_figures(*sample(3_000, 9_000, seed=4), 0.01, 0.5)
    assert len(made.pr) <= 500
    assert made.pr["recall"].is_monotonic_increasing
    assert made.roc["false_alarm_rate"].is_monotonic_increasing
    assert np.isfinite(made.roc.to_numpy()).all()
