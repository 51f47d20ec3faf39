"""Intervals over few places: they hold the truth, the value, and what a bootstrap cannot see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student_t

from windhover.metrics.bootstrap import (
    bootstrap_weights,
    resample,
    standard_error,
)
from windhover.metrics.curve_points import precision_band
from windhover.metrics.detection_metrics import class_score_curve, measure_detections
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.place_intervals import jackknife_error, student_quantile


def test_the_standard_error_is_wider_than_the_bootstraps_by_the_number_of_places() -> None:
    values = np.random.default_rng(0).normal(size=500)
    assert standard_error(values, 6) == pytest.approx(values.std(ddof=1) * np.sqrt(6 / 5))
    assert standard_error([1.0, np.nan, np.nan, np.nan, 2.0], 6) is None
    assert standard_error(values, 1) is None


def test_the_interval_of_a_difference_is_students() -> None:
    places = np.random.default_rng(1).normal(3, 2, 8)
    weights = bootstrap_weights(8, 20_000, 0)
    half_width = student_quantile(8) * (standard_error(places @ weights / 8, 8) or 0)
    expected = student_t.ppf(0.975, 7) * places.std(ddof=1) / np.sqrt(8)
    assert half_width == pytest.approx(expected, rel=0.02)


def test_the_jackknifes_error_of_a_mean_is_the_usual_one() -> None:
    folds = np.random.default_rng(2).normal(3, 2, 5)
    without_one = (folds.sum() - folds) / 4
    assert jackknife_error(without_one) == pytest.approx(folds.std(ddof=1) / np.sqrt(5))
    assert jackknife_error(np.array([1.0, np.nan, 2.0])) is None


def world(rng: np.random.Generator, n_places: int) -> tuple[pd.DataFrame, GroundTruth]:
    """Places that differ in their number of objects, quality and false alarms; 3 scenes each."""
    scenes, rows, objects = [], [], []
    for place in range(n_places):
        quality = rng.normal(1.5, 0.5)
        rate = rng.gamma(2.0, 0.5)
        for number in range(3):
            name = f"p{place}-{number}"
            scenes.append((name, f"p{place}", 1.0))
            count = int(rng.poisson(6))
            objects += [(name, "jet")] * count
            found = rng.random(count) < 1 / (1 + np.exp(-quality))
            rows += [(name, "jet", 0.9, True)] * int(found.sum())
            rows += [(name, "jet", 0.8, False)] * int(rng.poisson(rate))
    matches = pd.DataFrame(rows, columns=["scene", "class", "score", "is_tp"])
    ground_truth = GroundTruth(
        pd.DataFrame(scenes, columns=["scene", "place", "km2"]),
        pd.DataFrame(objects, columns=["scene", "class"]),
        pd.DataFrame({"scene": [], "geometry": []}),
    )
    return matches.assign(ignored=False), ground_truth


@pytest.mark.parametrize("n_places", [6, 12])
def test_intervals_over_few_places_hold_the_truth(n_places: int) -> None:
    rng = np.random.default_rng(n_places)
    names = ("recall", "precision", "f1", "false_alarms_per_km2")
    many = world(np.random.default_rng(99), 1500)
    everywhere = measure_detections(
        *many, {"jet": 0.5}, sample=resample(many[1].scenes, 0, 0)
    ).estimates
    held = dict.fromkeys(names, 0)
    n_trials = 60
    for seed in range(n_trials):
        matches, truth = world(rng, n_places)
        sample = resample(truth.scenes, 20, seed)  # intervals leave out places, and draw none
        estimates = measure_detections(matches, truth, {"jet": 0.5}, sample=sample).estimates
        for name in names:
            low, high = estimates[name].low, estimates[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= (everywhere[name].value or 0) <= high
    assert min(held.values()) >= 0.9 * n_trials


def test_fewer_than_six_places_have_no_interval_however_many_scenes() -> None:
    matches, truth = world(np.random.default_rng(0), 5)
    sample = resample(truth.scenes, 100, 0)
    assert (sample.unit, len(sample.names), sample.has_enough_places) == ("scenes", 15, False)
    metrics = measure_detections(matches, truth, {"jet": 0.5}, sample=sample)
    assert all(estimate.low is None for estimate in metrics.estimates.values())
    assert metrics.estimates["recall"].value is not None
    curve = class_score_curve(matches, truth, sample)
    assert precision_band(curve, sample).empty
    matches, truth = world(np.random.default_rng(0), 6)
    sample = resample(truth.scenes, 100, 0)
    metrics = measure_detections(matches, truth, {"jet": 0.5}, sample=sample)
    assert all(estimate.low is not None for estimate in metrics.estimates.values())
    assert not precision_band(class_score_curve(matches, truth, sample), sample).empty
