"""Every rule against a search through all thresholds by counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.metrics.score_curve import score_curve
from windhover.metrics.threshold_rule import (
    RULE_VALUES,
    LevelChoice,
    ThresholdRule,
    choose_level,
    explain_unmet,
)


def every_threshold(scores: np.ndarray, is_tp: np.ndarray) -> list[tuple[float, int, int]]:
    return [
        (t, int((is_tp & (scores >= t)).sum()), int((~is_tp & (scores >= t)).sum()))
        for t in sorted(set(scores), reverse=True)
    ]


def rule_value(rule: ThresholdRule, tp: int, fp: int, n: int, km2: float) -> float:
    """How good a threshold is by the rule; minus infinity where the rule forbids it."""
    precision = tp / (tp + fp)
    recall = tp / n
    if rule.name == "max_fbeta":
        square = rule.value**2
        return (1 + square) * precision * recall / max(square * precision + recall, 1e-12)
    if rule.name == "least_cost":
        return -(fp + rule.value * (n - tp))
    allowed = {
        "recall_at_least": recall >= rule.value,
        "precision_at_least": precision >= rule.value,
        "false_alarms_per_km2_at_most": fp / km2 <= rule.value,
    }[rule.name]
    return (precision if rule.name == "recall_at_least" else recall) if allowed else -np.inf


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(sorted(RULE_VALUES)),
    value=st.floats(0.05, 1),
    n=st.integers(1, 50),
)
def test_each_rule_is_as_good_as_a_search_through_all(
    seed: int, name: str, value: float, n: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 20, n) / 20
    is_tp = rng.random(n) < 0.5
    n_gt = int(is_tp.sum() + rng.integers(1, 5))
    km2 = 2.0
    rule = ThresholdRule(name, value)
    counts = score_curve(scores, is_tp, np.zeros(n), n_gt=[n_gt], km2=[km2]).counts()
    chosen = choose_level(counts, rule)
    index = int(chosen.level[0])
    points = every_threshold(scores, is_tp)
    finding = [point for point in points if point[1]] or points[-1:]
    best = max(rule_value(rule, h, a, n_gt, km2) for _, h, a in finding)
    assert bool(chosen.is_met[0]) == np.isfinite(best)
    threshold = counts.thresholds[index]
    at = next((h, a) for t, h, a in points if t == threshold)
    assert (counts.tp[index, 0], counts.fp[index, 0]) == at
    if np.isfinite(best):
        assert rule_value(rule, *at, n_gt, km2) == pytest.approx(best)
    else:
        assert "cannot be met on validation" in explain_unmet(counts, rule, index)


def test_a_rule_that_cannot_be_met_takes_the_nearest_with_a_note() -> None:
    counts = score_curve(
        [0.9, 0.8, 0.7, 0.6], [False, True, False, True], np.zeros(4), n_gt=[4], km2=[1.0]
    ).counts()
    recall = choose_level(counts, ThresholdRule("recall_at_least", 0.9))
    assert (counts.thresholds[recall.level[0]], bool(recall.is_met[0])) == (0.6, False)
    sentence = explain_unmet(counts, ThresholdRule("recall_at_least", 0.9), int(recall.level[0]))
    assert "the nearest is recall 0.5 at precision 0.5" in sentence
    precise = choose_level(counts, ThresholdRule("precision_at_least", 0.9))
    assert (counts.thresholds[precise.level[0]], bool(precise.is_met[0])) == (0.8, False)
    quiet = choose_level(counts, ThresholdRule("false_alarms_per_km2_at_most", 0.5))
    assert (counts.thresholds[quiet.level[0]], bool(quiet.is_met[0])) == (0.8, False)


def test_costs_decide_how_much_is_reported() -> None:
    counts = score_curve(
        [0.9, 0.8, 0.7, 0.6], [True, False, False, True], np.zeros(4), n_gt=[2], km2=[1.0]
    ).counts()
    assert counts.thresholds[choose_level(counts, ThresholdRule("least_cost", 1.0)).level[0]] == 0.9
    assert counts.thresholds[choose_level(counts, ThresholdRule("least_cost", 3.0)).level[0]] == 0.6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_fbeta", 1.0),
        ("least_cost", 1.0),
        ("recall_at_least", 1.0),
        ("precision_at_least", 0.9),
        ("false_alarms_per_km2_at_most", 0.5),
    ],
)
def test_each_resample_has_its_own_threshold(name: str, value: float) -> None:
    curve = score_curve(
        [0.9, 0.8, 0.7, 0.6],
        [True, True, False, True],
        [0, 1, 1, 0],
        n_gt=[2, 1],
        km2=[1.0, 1.0],
    )
    weights = [[2.0, 0.0], [0.0, 2.0]]
    both: LevelChoice = choose_level(curve.counts(weights), ThresholdRule(name, value))
    assert curve.counts().thresholds[both.level].tolist() == [0.6, 0.8]
    assert both.is_met.tolist() == [True, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recall_at_least", 1.2),
        ("precision_at_least", 0.0),
        ("max_fbeta", -1.0),
        ("least_cost", 0.0),
    ],
)
def test_values_out_of_range_are_errors(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"`{name}` needs a .* got {value}"):
        ThresholdRule(name, value)


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(ParameterError, match=r"must be one of max_fbeta, .* got 'best'"):
        ThresholdRule("best", 1.0)
