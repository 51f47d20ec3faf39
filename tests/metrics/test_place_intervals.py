"""Intervals for new places: what they hold, and how unequal and few bad places lengthen them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from windhover.metrics.place_intervals import (
    effective_groups,
    jackknife_spread,
    leave_one_out_weights,
    mean_interval,
    rate_interval,
    share_interval,
)


def without_one(found: list[float], objects: list[float]) -> np.ndarray:
    """Return the share found without each place."""
    return (sum(found) - np.array(found)) / (sum(objects) - np.array(objects))


def test_the_interval_of_a_mean_over_equal_places_is_students() -> None:
    places = np.random.default_rng(1).normal(3, 2, 8)
    weights = leave_one_out_weights(8)
    low, high = mean_interval(places.mean(), places @ weights / 7, sizes=np.ones(8)) or (0, 0)
    half_width = student_t.ppf(0.975, 7) * places.std(ddof=1) / np.sqrt(8)
    assert (low, high) == pytest.approx((places.mean() - half_width, places.mean() + half_width))


def test_unequal_places_are_worth_fewer_equal_ones() -> None:
    assert effective_groups([5, 5, 5, 5]) == pytest.approx(4)
    assert effective_groups([100, 1, 1, 1]) < 1.1
    assert effective_groups([0, 0]) == 0
    values = np.array([0.2, 0.4, 0.1, 0.5, 0.3, 0.6])
    equal = mean_interval(0.35, values, sizes=np.ones(6)) or (0, 0)
    unequal = mean_interval(0.35, values, sizes=[20, 20, 1, 1, 1, 1]) or (0, 0)
    assert unequal[1] - unequal[0] > 1.2 * (equal[1] - equal[0])


def test_a_perfect_share_has_an_interval_that_ends_at_one() -> None:
    low, high = share_interval(1.0, np.ones(6), sizes=[4, 4, 4, 4, 2, 2], n_trials=20) or (0, 0)
    assert high == 1.0
    assert 0.4 < low < 0.97
    more = share_interval(1.0, np.ones(6), sizes=np.full(6, 333), n_trials=2000) or (0, 0)
    assert more[0] > low
    low, high = share_interval(0.0, np.zeros(6), sizes=np.ones(6), n_trials=20) or (1, 1)
    assert low == 0.0
    assert 0.03 < high < 0.6


def test_no_false_alarm_has_the_interval_from_zero_to_an_upper_end() -> None:
    sizes = np.ones(10)
    low, high = rate_interval(0, 10.0, np.zeros(10), sizes=sizes) or (1, 1)
    assert low == 0.0
    assert 0.3 < high < 3.0
    low, high = rate_interval(40, 10.0, np.full(10, 4.0), sizes=sizes) or (1, 1)
    assert 2 < low < 4.0 < high < 7
    assert rate_interval(4, float("nan"), np.ones(10), sizes=sizes) is None


def test_one_bad_place_lengthens_the_side_where_others_like_it_would_be() -> None:
    objects = [40.0] * 8
    usual = [38.0, 37, 39, 38, 36, 39, 38, 37]
    bad = [*usual[:7], 12.0]
    for found, is_longer in ((usual, False), (bad, True)):
        value = sum(found) / sum(objects)
        shares = without_one(found, objects)
        interval = share_interval(value, shares, sizes=objects, n_trials=320) or (0, 0)
        centered = np.log(np.array([interval[0], value, interval[1]]))
        centered -= np.log1p(-np.array([interval[0], value, interval[1]]))
        below, above = np.diff(centered)
        assert (below > 1.2 * above) == is_longer


def test_the_interval_always_holds_the_value() -> None:
    rng = np.random.default_rng(3)
    for value in (0.001, 0.5, 0.999):
        shares = np.clip(rng.normal(value, 0.01, 7), 0, 1)
        sizes = rng.integers(1, 30, 7)
        low, high = share_interval(value, shares, sizes=sizes, n_trials=5) or (1, 0)
        assert 0 <= low <= value <= high <= 1


def test_a_metric_that_rests_on_one_place_has_no_interval() -> None:
    assert jackknife_spread(np.array([0.4, np.nan, 0.4]), [0, 9, 0]) is None
    assert share_interval(0.4, [0.4, np.nan, 0.4], sizes=[0, 9, 0], n_trials=9) is None
