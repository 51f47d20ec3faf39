"""Metrics of coverage against counting pixel by pixel, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score, recall_score

from windhover.errors import ParameterError
from windhover.metrics.binary_counts import (
    counts_by_class,
    mean_producers_accuracy,
    overall_accuracy,
)
from windhover.metrics.coverage_curves import (
    ScoreHistogram,
    average_precision,
    coverage_curve,
    reliability_table,
    roc_auc,
)
from windhover.metrics.coverage_metrics import (
    classes_at,
    confusion_matrix,
    share_error_table,
)
from windhover.metrics.coverage_threshold import COVERAGE_RULES, choose_coverage_threshold

SEEDS = st.integers(0, 10**6)


def random_pixels(seed: int, shape: tuple[int, int] = (17, 23)) -> tuple[np.ndarray, np.ndarray]:
    """Return values of a probability map, some unknown, and which pixels are of the class."""
    rng = np.random.default_rng(seed)
    is_class = rng.random(shape) < rng.uniform(0.1, 0.9)
    scores = np.where(is_class, rng.beta(4, 2, shape), rng.beta(2, 4, shape))
    values = np.rint(scores * 254).astype(np.uint8)
    values[rng.random(shape) < 0.05] = 255
    return values, is_class


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_curve_counts_what_a_mask_at_its_threshold_holds(seed: int) -> None:
    values, is_class = random_pixels(seed)
    known = values != 255
    curve = coverage_curve(ScoreHistogram.of(values, is_class))
    for row in curve.iloc[::23].to_dict("records"):
        mask = classes_at(values[None], [row["threshold"]])
        assert ((mask == 1) & is_class & known).sum() == row["tp"]
        assert ((mask == 1) & ~is_class & known).sum() == row["fp"]
        assert ((mask == 0) & is_class & known).sum() == row["fn"]
        assert ((mask == 0) & ~is_class & known).sum() == row["tn"]
    assert (curve["tp"] + curve["fp"] + curve["fn"] + curve["tn"] == known.sum()).all()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_areas_under_curves_are_those_of_all_pairs_and_of_every_point(seed: int) -> None:
    values, is_class = random_pixels(seed)
    known = values != 255
    curve = coverage_curve(ScoreHistogram.of(values, is_class))
    positive = values[known & is_class].astype(int)
    negative = values[known & ~is_class].astype(int)
    pairs = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    assert roc_auc(curve) == pytest.approx(pairs)
    precision = {}
    for value in range(255):
        found = known & (values >= value)
        precision[value] = (found & is_class).sum() / max(found.sum(), 1)
    best_from = [max(precision[lower] for lower in range(value + 1)) for value in positive]
    assert average_precision(curve) == pytest.approx(np.mean(best_from))


def test_histograms_add_up_and_weights_count() -> None:
    values, is_class = random_pixels(3)
    weights = np.random.default_rng(3).integers(0, 4, values.shape)
    parts = ScoreHistogram.empty()
    for rows in (slice(0, 5), slice(5, 17)):
        parts += ScoreHistogram.of(values[rows], is_class[rows])
    whole = ScoreHistogram.of(values, is_class)
    assert (parts.positive == whole.positive).all()
    assert (parts.negative == whole.negative).all()
    weighted = ScoreHistogram.of(values, is_class, weights)
    repeated = ScoreHistogram.of(
        np.repeat(values.ravel(), weights.ravel()), np.repeat(is_class.ravel(), weights.ravel())
    )
    assert (weighted.positive == repeated.positive).all()
    assert (weighted.negative == repeated.negative).all()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, n_classes=st.integers(1, 4))
def test_accuracies_of_several_classes_are_those_of_scikit_learn(seed: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes + 1, (13, 31)).astype(np.uint8)
    wrong = rng.integers(0, n_classes + 1, truth.shape).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.7, truth, wrong)
    truth[0] = 255
    predicted[-1] = 255
    matrix = confusion_matrix(predicted, truth, n_classes)
    accuracies = counts_by_class(matrix).accuracies()
    true, found = truth[1:-1].ravel(), predicted[1:-1].ravel()
    labels = list(range(n_classes + 1))
    assert matrix.sum() == len(true)
    expected = {
        "producers_accuracy": recall_score(true, found, labels=labels, average=None),
        "f1": f1_score(true, found, labels=labels, average=None),
        "iou": jaccard_score(true, found, labels=labels, average=None),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(accuracies[name], values)
    for label in labels:
        rate = ((found == label) & (true != label)).sum() / (true != label).sum()
        assert accuracies["false_positive_rate"][label] == pytest.approx(rate)
        assert accuracies["users_accuracy"][label] == pytest.approx(
            (true == label)[found == label].mean()
        )
        one = balanced_accuracy_score(true == label, found == label)
        assert accuracies["balanced_accuracy"][label] == pytest.approx(one)
    assert overall_accuracy(matrix) == pytest.approx((true == found).mean())
    assert mean_producers_accuracy(matrix) == pytest.approx(balanced_accuracy_score(true, found))


def test_a_class_that_does_not_occur_has_no_accuracy() -> None:
    matrix = confusion_matrix(np.full((3, 5), 1, np.uint8), np.zeros((3, 5), np.uint8), 2)
    accuracies = counts_by_class(matrix).accuracies()
    assert np.isnan(accuracies["producers_accuracy"]).tolist() == [False, True, True]
    for name in ("f1", "iou"):
        assert np.isnan(accuracies[name]).tolist() == [False, True, True]
    assert mean_producers_accuracy(matrix) == 0
    curve = coverage_curve(ScoreHistogram.of(np.full(7, 9, np.uint8), np.zeros(7, bool)))
    assert np.isnan(roc_auc(curve))
    assert np.isnan(average_precision(curve))


def test_the_class_of_a_pixel_is_the_one_furthest_above_its_threshold() -> None:
    scores = np.array([[0.9, 0.1, 0.6, 0.4], [0.5, 0.19, 0.59, 0.9]])
    values = np.rint(scores[:, None] * 254).astype(np.uint8)
    assert classes_at(values, [0.8, 0.2]).tolist() == [[2, 0, 2, 2]]
    assert classes_at(values, [0.3, 0.6]).tolist() == [[1, 0, 1, 2]]
    values[1, 0, 0] = 255
    assert classes_at(values, [0.8, 0.2])[0, 0] == 255


def test_a_threshold_of_every_step_is_reached_by_the_value_that_stands_for_it() -> None:
    values = np.arange(255, dtype=np.uint8)[None, None]
    for step in range(1, 255):
        assert (classes_at(values, [step / 254]) == 1).sum() == 255 - step


def rule_value(rule: str, value: float, tp: int, fp: int, fn: int, tn: int) -> float:
    """Return what a rule has largest; minus infinity where a threshold does not meet it."""
    recall = tp / (tp + fn)
    precision = tp / max(tp + fp, 1)
    rate = fp / (fp + tn)
    values = {
        "max_fbeta": (1 + value**2) * tp / ((1 + value**2) * tp + value**2 * fn + fp),
        "max_iou": tp / (tp + fp + fn),
        "max_balanced_accuracy": (recall + 1 - rate) / 2,
        "recall_at_least": precision if recall >= value else -np.inf,
        "precision_at_least": recall if tp + fp and precision >= value else -np.inf,
        "false_positive_rate_at_most": recall if rate <= value else -np.inf,
        "unbiased_share": -abs(fp - fn),
    }
    return values[rule]


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, rule=st.sampled_from(COVERAGE_RULES), value=st.floats(0.01, 1))
def test_each_rule_is_as_good_as_a_search_through_all(seed: int, rule: str, value: float) -> None:
    values, is_class = random_pixels(seed, (5, 9))
    is_class[0, :2] = [True, False]
    values[0, :2] = [100, 90]
    known = values != 255
    curve = coverage_curve(ScoreHistogram.of(values, is_class))
    chosen = choose_coverage_threshold(curve, rule, value)

    def worth(threshold: float) -> float:
        found = classes_at(values[None], [threshold])[0:][known] == 1
        true = is_class[known]
        counts = [(found & true), (found & ~true), (~found & true), (~found & ~true)]
        return rule_value(rule, value, *(int(count.sum()) for count in counts))

    best = max(worth(step / 254) for step in range(255))
    assert chosen.met == np.isfinite(best)
    if chosen.met:
        assert worth(chosen.threshold) == pytest.approx(best)
        assert chosen.note == ""
    else:
        assert "cannot be met on validation: the nearest is" in chosen.note
    assert chosen.row["threshold"] == chosen.threshold


def test_the_threshold_is_in_the_middle_of_those_that_find_the_same() -> None:
    values = np.array([20, 40, 200, 220], np.uint8)
    curve = coverage_curve(ScoreHistogram.of(values, values > 100))
    for rule in ("max_iou", "false_positive_rate_at_most", "unbiased_share"):
        assert choose_coverage_threshold(curve, rule, 0.1).threshold == pytest.approx(120 / 254)


@pytest.mark.parametrize(
    ("is_class", "reason"), [(False, "the class does not occur"), (True, "nothing but the class")]
)
def test_without_the_class_or_all_else_no_rule_is_applied(is_class: bool, reason: str) -> None:
    curve = coverage_curve(ScoreHistogram.of(np.full(9, 99, np.uint8), np.full(9, is_class)))
    chosen = choose_coverage_threshold(curve, "max_iou", 1.0)
    assert (chosen.threshold, chosen.met) == (0.5, False)
    assert reason in chosen.note


@pytest.mark.parametrize(
    ("rule", "value", "sentence"),
    [
        ("best", 1.0, r"must be one of max_fbeta, .* got 'best'"),
        ("recall_at_least", 1.2, r"needs a recall in \(0, 1\], got 1.2"),
        ("false_positive_rate_at_most", 0.0, r"needs a false-positive rate in \(0, 1\], got 0"),
        ("max_fbeta", -1.0, "needs a beta above 0, got -1"),
    ],
)
def test_rules_and_values_that_do_not_exist_are_named(
    rule: str, value: float, sentence: str
) -> None:
    curve = coverage_curve(ScoreHistogram.of(*random_pixels(0)))
    with pytest.raises(ParameterError, match=sentence):
        choose_coverage_threshold(curve, rule, value)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, n_bins=st.integers(1, 20))
def test_reliability_compares_scores_with_truth_bin_by_bin(seed: int, n_bins: int) -> None:
    values, is_class = random_pixels(seed)
    known = values != 255
    table = reliability_table(ScoreHistogram.of(values, is_class), n_bins)
    scores, true = values[known] / 254, is_class[known]
    bin_of = np.minimum((scores * n_bins).astype(int), n_bins - 1)
    frame = pd.DataFrame({"bin": bin_of, "score": scores, "true": true})
    expected = frame.groupby("bin").agg(score=("score", "mean"), true=("true", "mean"))
    np.testing.assert_allclose(table["score_mean"], expected["score"])
    np.testing.assert_allclose(table["true_share"], expected["true"])
    assert table["n"].sum() == known.sum()
    assert table.attrs["brier"] == pytest.approx(((scores - true) ** 2).mean())


def share_rows(errors: dict[str, list[float]]) -> pd.DataFrame:
    """Return shares of scenes whose errors are given by place, of one class."""
    rows = []
    for place, values in errors.items():
        for number, error in enumerate(values):
            rows.append([f"{place}{number}", place, "cloud", 64, 0.5, 0.5 + error])
    columns = ["scene", "place", "class", "cells", "true_share", "predicted_share"]
    return pd.DataFrame(rows, columns=columns)


def test_errors_of_shares_are_means_over_scenes_with_the_worst_named() -> None:
    rng = np.random.default_rng(5)
    errors = {f"p{k}": rng.normal(0.01, 0.05, k % 3 + 1).tolist() for k in range(9)}
    table = share_error_table(share_rows(errors)).set_index("class").loc["cloud"]
    every = np.concatenate(list(errors.values()))
    assert table["mean_abs_error"] == pytest.approx(np.abs(every).mean())
    assert table["bias"] == pytest.approx(every.mean())
    assert table["worst"] == pytest.approx(every[np.abs(every).argmax()])
    assert (table["scenes"], table["places"]) == (len(every), 9)
    assert table["mean_abs_error_low"] < table["mean_abs_error"] < table["mean_abs_error_high"]
    assert table["bias_low"] < table["bias"] < table["bias_high"]


def test_few_places_have_no_interval_and_unknown_scenes_do_not_count() -> None:
    shares = share_rows({"a": [0.1, -0.1], "b": [0.2]})
    shares.loc[2, "predicted_share"] = np.nan
    table = share_error_table(shares).iloc[0]
    assert (table["bias_low"], table["bias_high"]) == (None, None)
    assert (table["scenes"], table["places"]) == (2, 1)
    assert table["mean_abs_error"] == pytest.approx(0.1)


@pytest.mark.slow
def test_intervals_of_shares_hold_the_truth_of_new_places() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        errors = {
            f"p{k}": (0.02 + rng.normal(0, 0.05) + rng.normal(0, 0.03, 4)).tolist()
            for k in range(12)
        }
        table = share_error_table(share_rows(errors)).iloc[0]
        held += table["bias_low"] <= 0.02 <= table["bias_high"]
    assert 0.92 <= held / 300 <= 0.99
