"""Precision and recall from a review: right on average over the draws, exact where all is seen."""

from __future__ import annotations

import numpy as np
import pytest

from windhover.review.estimates import (
    Estimate,
    SampledAreas,
    SampledRows,
    estimate_precision,
    estimate_recall,
    wilson_interval,
)
from windhover.review.sampling import sample_areas, sample_rows

RNG = np.random.default_rng(1)
SCORES = RNG.random(300)
IS_TRUE = RNG.random(300) < SCORES  # low scores are mostly false


def precision_of(budget: int, seed: int, n_answered: int | None = None) -> Estimate:
    """Return the estimate of a review by the order of false alarms, which would mislead alone."""
    sample = sample_rows(SCORES, np.argsort(SCORES), budget, seed=seed)
    seen = sample.order[:n_answered]
    return estimate_precision(
        SampledRows(
            is_true=IS_TRUE[seen],
            is_random=sample.is_random[seen],
            is_ordered=sample.is_ordered[seen],
            stratum=sample.stratum[seen],
            stratum_sizes=np.bincount(sample.stratum),
        )
    )


@pytest.mark.parametrize("n_answered", [None, 20])
def test_precision_is_right_on_average_also_of_a_review_that_stopped(
    n_answered: int | None,
) -> None:
    values = [precision_of(40, seed, n_answered).value for seed in range(800)]
    assert np.mean(values) == pytest.approx(IS_TRUE.mean(), abs=0.012)


def test_the_interval_of_precision_holds_the_truth_nine_times_in_ten() -> None:
    held = 0
    for seed in range(200):
        estimate = precision_of(40, seed)
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= IS_TRUE.mean() <= estimate.high
    assert held >= 180


def test_where_every_detection_was_seen_precision_is_exact() -> None:
    estimate = precision_of(600, 0)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx([IS_TRUE.mean()] * 3)


def test_where_all_were_to_be_seen_and_one_was_not_the_others_stand_for_it() -> None:
    sample = sample_rows(SCORES[:20], np.arange(20), 40, seed=0)
    seen = np.flatnonzero(sample.is_random)[1:]
    estimate = estimate_precision(
        SampledRows(
            is_true=np.ones(len(seen), bool),
            is_random=sample.is_random[seen],
            is_ordered=sample.is_ordered[seen],
            stratum=sample.stratum[seen],
            stratum_sizes=np.bincount(sample.stratum),
        )
    )
    assert estimate.value == pytest.approx(1.0)
    assert estimate.low is not None
    assert 0.8 < estimate.low < 1.0


def test_nothing_reviewed_is_unknown_and_one_kind_alone_too() -> None:
    nothing = np.zeros(0, bool)
    rows = SampledRows(nothing, nothing, nothing, np.zeros(0, np.int64), np.array([5]))
    assert estimate_precision(rows).describe("precision") == "precision unknown"
    ordered = SampledRows(
        np.array([True]), np.array([False]), np.array([True]), np.array([0]), np.array([5])
    )
    assert estimate_precision(ordered).value is None


N_FOUND = RNG.poisson(RNG.lognormal(0, 1, 60) * 4).astype(float)
N_MISSED = RNG.poisson(0.15 * N_FOUND + 0.1).astype(float)
PRECISION = Estimate(1.0, 0.99, 1.0, 30)


def recall_of(count: int, seed: int) -> Estimate:
    sample = sample_areas(N_FOUND, count, seed=seed)
    areas = SampledAreas(N_FOUND[sample.selected], N_MISSED[sample.selected], sample.prob)
    return estimate_recall(areas, PRECISION, int(N_FOUND.sum()))


def test_missed_objects_are_right_on_average_and_their_interval_holds() -> None:
    n_found = N_FOUND.sum()
    truth = n_found / (n_found + N_MISSED.sum())
    estimates = [recall_of(6, seed) for seed in range(400)]
    missed = [n_found / estimate.value - n_found for estimate in estimates if estimate.value]
    assert np.mean(missed) == pytest.approx(N_MISSED.sum(), rel=0.1)
    held = [
        estimate.low <= truth <= estimate.high
        for estimate in estimates
        if estimate.low is not None and estimate.high is not None
    ]
    assert len(held) == 400
    assert np.mean(held) >= 0.9


def test_more_areas_give_a_shorter_interval_and_one_gives_none() -> None:
    def length(count: int) -> float:
        found = [recall_of(count, seed) for seed in range(30)]
        return float(np.mean([one.high - one.low for one in found]))  # type: ignore[operator]

    assert length(30) < length(6)
    assert recall_of(1, 0).low is None


def test_areas_without_an_object_tell_no_recall() -> None:
    areas = SampledAreas(np.zeros(3), np.zeros(3), np.full(3, 0.1))
    assert estimate_recall(areas, PRECISION, 40).describe("recall") == "recall unknown"


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [(0.5, 10.0, (0.2366, 0.7634)), (0.0, 10.0, (0.0, 0.2775)), (0.9, 50.0, (0.7864, 0.9565))],
)
def test_wilsons_interval_is_the_published_one(
    share: float, n: float, expected: tuple[float, float]
) -> None:
    assert wilson_interval(share, n) == pytest.approx(expected, abs=2e-4)
