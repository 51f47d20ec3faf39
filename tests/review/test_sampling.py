"""Which rows and areas are reviewed: the budget is kept, and probabilities are those of draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.review.order_rows import order_by_grid, order_by_variety
from windhover.review.sampling import sample_areas, sample_rows

SCORES = np.linspace(0.99, 0.01, 50)


@given(count=st.integers(0, 80), budget=st.integers(2, 60), seed=st.integers(0, 9))
def test_the_budget_is_kept_and_no_row_is_asked_twice(count: int, budget: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random(count)
    sample = sample_rows(scores, np.argsort(scores), budget, seed=seed)
    assert len(sample.order) == len(set(sample.order.tolist())) == min(budget, count)
    wanted = min(round(budget / 2), count)
    assert wanted - 2 <= sample.is_random.sum() <= wanted
    assert sample.is_random[sample.order].sum() == sample.is_random.sum()
    assert sample.is_ordered.sum() == (count if count <= budget else budget - round(budget / 2))


def test_each_detection_is_drawn_as_often_as_its_probability() -> None:
    n_draws = 3000
    sampled = np.zeros(len(SCORES))
    for seed in range(n_draws):
        sample = sample_rows(SCORES, np.arange(50), 40, seed=seed)
        sampled += sample.is_random
    np.testing.assert_allclose(sampled / n_draws, sample.prob(), atol=0.03)
    assert sample.prob().sum() == pytest.approx(20)


def test_a_review_that_stops_early_has_some_of_each_kind() -> None:
    sample = sample_rows(SCORES, np.arange(50), 20, seed=3)
    first = sample.order[:6]
    assert 2 <= sample.is_random[first].sum() <= 4


def test_a_budget_below_two_is_one_sentence() -> None:
    with pytest.raises(ParameterError, match="must be 2 rows or more"):
        sample_rows(SCORES, np.arange(50), 1, seed=0)


def test_areas_are_drawn_as_often_as_their_probability_and_empty_ones_too() -> None:
    n_detections = np.array([0.0, 0.0, 1.0, 4.0, 25.0, 2.0, 0.0])
    n_draws = 4000
    sampled = np.zeros(7)
    chance = np.zeros(7)
    for seed in range(n_draws):
        sample = sample_areas(n_detections, 3, seed=seed)
        assert len(sample.selected) == 3
        sampled[sample.selected] += 1
        chance[sample.selected] = sample.prob
    np.testing.assert_allclose(sampled / n_draws, chance, atol=0.03)
    assert chance[4] == 1.0
    assert (chance > 0.05).all()


def test_all_areas_are_certain_where_there_are_no_more() -> None:
    sample = sample_areas(np.array([0.0, 3.0]), 6, seed=0)
    assert sample.selected.tolist() == [0, 1]
    np.testing.assert_allclose(sample.prob, 1.0)
    assert len(sample_areas(np.zeros(0), 6, seed=0).selected) == 0


def test_variety_takes_one_of_each_heap_first() -> None:
    rng = np.random.default_rng(0)
    heaps = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], [40, 3, 2], axis=0)
    order = order_by_variety(heaps + rng.normal(0, 0.1, heaps.shape), 0, 3)
    assert sorted(np.searchsorted([40, 43], order[:3], side="right")) == [0, 1, 2]
    assert sorted(order.tolist()) == list(range(45))


def test_the_walk_over_the_ground_turns_at_the_end_of_a_row() -> None:
    x, y = np.meshgrid([5.0, 15.0, 25.0], [5.0, 15.0])
    centers = np.stack([x.ravel(), y.ravel()], axis=1)
    order = order_by_grid(np.zeros(6, np.int64), centers, np.full(6, 10.0))
    assert order.tolist() == [0, 1, 2, 5, 4, 3]
