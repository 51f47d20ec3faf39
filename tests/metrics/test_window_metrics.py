"""Figures on windows: by counting, by a sample that really is as rare, and where one outcome is
absent.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from windhover.metrics.window_metrics import best_threshold, measure_windows, prior_weights


def sample(positives: int, negatives: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = np.r_[np.ones(positives, bool), np.zeros(negatives, bool)]
    return true, np.r_[rng.beta(5, 2, positives), rng.beta(2, 5, negatives)]


def test_the_confusion_is_counted() -> None:
    true, score = sample(200, 600)
    metrics = measure_windows(true, score, 0.01, threshold=0.5)
    tp, fp, fn, tn = metrics.confusion
    assert (tp + fn, fp + tn) == (200, 600) == (metrics.positives, metrics.negatives)
    assert tp == (score[:200] >= 0.5).sum()
    assert metrics.precision == pytest.approx(tp / (tp + fp))
    assert metrics.recall == pytest.approx(tp / 200)
    pairs = score[:200, None] > score[None, 200:]
    assert metrics.auc == pytest.approx(pairs.mean())


def test_weighing_foresees_a_sample_that_is_as_rare() -> None:
    prior = 0.005
    metrics = measure_windows(*sample(4_000, 8_000, seed=1), prior, threshold=0.6)
    rare_true, rare_score = sample(4_000, 796_000, seed=2)  # one in two hundred
    assert metrics.ap_true == pytest.approx(
        average_precision_score(rare_true, rare_score), abs=0.03
    )
    tp, fp = (rare_score[:4_000] >= 0.6).sum(), (rare_score[4_000:] >= 0.6).sum()
    assert metrics.precision_true == pytest.approx(tp / (tp + fp), abs=0.01)
    assert metrics.ap_sampled is not None
    assert metrics.ap_true is not None
    assert metrics.ap_sampled > metrics.ap_true + 0.3


def test_the_weights_give_the_prior() -> None:
    true, _ = sample(30, 100)
    weight = prior_weights(true, 0.002)
    assert weight[true].sum() / weight.sum() == pytest.approx(0.002)
    assert (prior_weights(np.ones(5, bool), 0.1) == 1).all()


@pytest.mark.parametrize("prior", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_best_threshold_is_the_best_of_all(seed: int, prior: float) -> None:
    true, score = sample(60, 200, seed=seed)
    weight = prior_weights(true, prior)

    def f1(threshold: float) -> float:
        reported = score >= threshold
        tp = weight[true & reported].sum()
        return float(2 * tp / (weight[true].sum() + weight[reported].sum()))

    best = best_threshold(true, score, prior)
    assert f1(best) == pytest.approx(max(f1(value) for value in score))


@pytest.mark.parametrize("true", [np.zeros(5, bool), np.ones(5, bool), np.zeros(0, bool)])
def test_where_one_outcome_is_absent_nothing_is_invented(true: np.ndarray) -> None:
    metrics = measure_windows(
        true,
        np.linspace(0, 1, len(true)),
        0.01,
        threshold=best_threshold(true, np.linspace(0, 1, len(true)), 0.01),
    )
    assert (metrics.auc, metrics.ap_sampled, metrics.ap_true) == (None, None, None)
    assert list(metrics.pr.columns) == ["threshold", "recall", "precision", "precision_true"]
    assert len(metrics.pr) == len(metrics.roc) == 0


def test_curves_are_short_and_run_one_way() -> None:
    metrics = measure_windows(*sample(3_000, 9_000, seed=4), 0.01, threshold=0.5)
    assert len(metrics.pr) <= 500
    assert metrics.pr["recall"].is_monotonic_increasing
    assert metrics.roc["false_alarm_rate"].is_monotonic_increasing
    assert np.isfinite(metrics.roc.to_numpy()).all()
