"""Fits that find known numbers, stay finite on hardly any data, and make promises that are kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from windhover.metrics.calibration import fit_scaling, prior_shift, reliability


def sample_logits(
    temperature: float, bias: float, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, n)
    return logits, rng.random(n) < expit(logits / temperature + bias)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, -3.0), (0.4, 1.0)])
def test_known_numbers_are_found(temperature: float, bias: float) -> None:
    fit = fit_scaling(*sample_logits(temperature, bias, 60_000, 1))
    assert fit is not None
    assert fit.temperature == pytest.approx(temperature, rel=0.06)
    assert fit.bias == pytest.approx(bias, abs=0.12)


def test_it_is_logistic_regression_of_the_logit() -> None:
    logits, true = sample_logits(1.7, -1.0, 5_000, 2)
    theirs = LogisticRegression(C=np.inf).fit(logits[:, None], true)
    fit = fit_scaling(logits, true)
    assert fit is not None
    assert (1 / fit.temperature, fit.bias) == pytest.approx(
        (theirs.coef_[0, 0], theirs.intercept_[0]), rel=0.01
    )


@settings(max_examples=40, deadline=None)
@given(
    logits=st.lists(st.floats(-60, 60), min_size=0, max_size=12),
    seed=st.integers(0, 1000),
)
def test_few_or_separable_data_never_explode(logits: list[float], seed: int) -> None:
    true = np.random.default_rng(seed).random(len(logits)) < 0.5
    for truth in (true, np.asarray(logits) > 0):
        fit = fit_scaling(logits, truth)
        assert (fit is None) == (len(logits) == 0 or truth.all() or not truth.any())
        if fit is not None:
            assert 0.049 < fit.temperature < 50.1
            assert abs(fit.bias) <= 30


def test_three_separable_detections_do_not_become_certain() -> None:
    fit = fit_scaling([5.0, 4.0, -2.0], [True, True, False])
    assert fit is not None
    assert 0.5 < expit(5 / fit.temperature + fit.bias) < 0.9  # Platt's target for two hits is 3 / 4


def test_a_shift_of_the_prior_makes_promises_true_at_the_new_prior() -> None:
    rng = np.random.default_rng(4)
    z = np.r_[
        rng.normal(1, 1, 40_000), rng.normal(-1, 1, 40_000)
    ]  # logit of the true posterior at prior 1/2 is 2 z
    true = np.r_[np.ones(40_000, bool), np.zeros(40_000, bool)]
    keep = ~true | (rng.random(80_000) < 0.05)
    prior = true[keep].mean()
    shifted = expit(2 * z[keep] + prior_shift(0.5, float(prior)))
    assert reliability(shifted, true[keep]).ece < 0.006
    assert reliability(expit(2 * z[keep]), true[keep]).ece > 0.05


def test_a_prior_of_nothing_shifts_nothing() -> None:
    assert prior_shift(0.0, 0.1) == prior_shift(0.3, 1.0) == 0.0
    assert prior_shift(0.25, 0.25) == 0.0


def test_reliability_counts_promises_and_what_became_of_them() -> None:
    table = reliability([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0], n_bins=2)
    assert (table.confidence.tolist(), table.accuracy.tolist(), table.n_scores.tolist()) == (
        [0.1, 0.9],
        [0.0, 0.5],
        [2, 2],
    )
    assert table.ece == pytest.approx((0.1 + 0.4) / 2)
    assert table.brier == pytest.approx((0.01 + 0.01 + 0.01 + 0.81) / 4)
    assert np.isnan(reliability([], []).ece)


@pytest.mark.parametrize(("n_true", "n_false"), [(1, 3), (5, 2), (30, 90)])
def test_logits_that_tell_nothing_get_the_mean_of_platts_targets(n_true: int, n_false: int) -> None:
    scaling = fit_scaling(np.zeros(n_true + n_false), np.arange(n_true + n_false) < n_true)
    assert scaling is not None
    wanted = n_true * (n_true + 1) / (n_true + 2) + n_false / (n_false + 2)
    assert expit(scaling.bias) == pytest.approx(wanted / (n_true + n_false), abs=1e-4)
