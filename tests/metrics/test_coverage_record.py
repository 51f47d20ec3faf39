"""Metrics of coverage with intervals over places, and their record in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from windhover.errors import FormatError
from windhover.metrics.binary_counts import counts_by_class
from windhover.metrics.coverage_curves import ScoreHistogram, coverage_curve
from windhover.metrics.coverage_estimates import confusion_estimates
from windhover.metrics.coverage_metrics import confusion_matrix
from windhover.metrics.coverage_record import (
    CoverageMetricsRecord,
    CoverageThresholdRecord,
    coverage_split_record,
)
from windhover.metrics.coverage_threshold import choose_coverage_threshold

CLASSES = ["cloud", "shadow"]


def scenes_of(n_scenes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted class maps, (S, 11, 19)."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (n_scenes, 11, 19)).astype(np.uint8)
    wrong = rng.integers(0, 3, truth.shape).astype(np.uint8)
    right = rng.random(truth.shape) < rng.uniform(0.5, 0.95, (n_scenes, 1, 1))
    return truth, np.where(right, truth, wrong).astype(np.uint8)


def matrices_of(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.array(
        [confusion_matrix(p, t, len(CLASSES)) for p, t in zip(predicted, truth, strict=True)]
    )


def test_estimates_are_the_accuracies_of_all_scenes_within_their_intervals() -> None:
    matrices = matrices_of(*scenes_of(9))
    places = [f"p{k % 7}" for k in range(9)]
    accuracies = counts_by_class(matrices.sum(axis=0)).accuracies()
    estimates = confusion_estimates(matrices, places, CLASSES)
    for row, name in enumerate(("background", *CLASSES)):
        for accuracy, estimate in estimates[name].items():
            assert estimate.value == pytest.approx(accuracies[accuracy][row])
            assert estimate.low is not None
            assert estimate.low < estimate.value < estimate.high
    assert estimates[""]["balanced_accuracy"].value == pytest.approx(
        accuracies["producers_accuracy"].mean()
    )


def test_scenes_of_few_places_have_no_intervals() -> None:
    matrices = matrices_of(*scenes_of(9))
    estimates = confusion_estimates(matrices, ["a", "b", "c"] * 3, CLASSES)
    assert all(e.low is None and e.high is None for of in estimates.values() for e in of.values())


def make_record() -> CoverageMetricsRecord:
    truth, predicted = scenes_of(8, seed=1)
    rng = np.random.default_rng(1)
    histograms = {}
    rows = []
    for number, name in enumerate(CLASSES, 1):
        values = np.clip(150 * (predicted == number) + rng.integers(0, 100, truth.shape), 0, 254)
        histograms[name] = ScoreHistogram.of(values.astype(np.uint8), truth == number)
        for k in range(8):
            shares = [(truth[k] == number).mean(), (predicted[k] == number).mean()]
            rows.append([f"s{k}", f"p{k}", name, 209, *shares])
    columns = ["scene", "place", "class", "cells", "true_share", "predicted_share"]
    split = coverage_split_record(
        matrices_of(truth, predicted),
        [f"p{k}" for k in range(8)],
        histograms,
        shares=pd.DataFrame(rows, columns=columns),
    )
    choice = choose_coverage_threshold(coverage_curve(histograms["cloud"]), "max_iou", 1.0)
    return CoverageMetricsRecord(
        model="sky",
        rule="max_iou",
        thresholds={"cloud": CoverageThresholdRecord.of(choice)},
        scenes={"test": split},
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record()
    record.save(tmp_path / "metrics.json")
    assert CoverageMetricsRecord.load(tmp_path / "metrics.json") == record
    cloud = record.scenes["test"].classes["cloud"]
    assert cloud.share is not None
    assert cloud.share.worst_scene is not None
    assert 0 < cloud.ap <= 1
    assert record.scenes["test"].px == 8 * 11 * 19
    assert record.scenes["test"].classes["background"].ap is None


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text('{"task": "coverage"}')
    with pytest.raises(FormatError, match=r"metrics.json: `model` is missing.*dvc repro"):
        CoverageMetricsRecord.load(path)
