"""Every rule against a search through all thresholds by counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.metrics.operating_point import RULES, Choice, Rule, choose, explain_unmet
from windhover.metrics.score_curve import tally


def every_threshold(scores: np.ndarray, hit: np.ndarray) -> list[tuple[float, int, int]]:
    return [
        (t, int((hit & (scores >= t)).sum()), int((~hit & (scores >= t)).sum()))
        for t in sorted(set(scores), reverse=True)
    ]


def worth(rule: Rule, hits: int, alarms: int, n: int, km2: float) -> float:
    """How good a threshold is by the rule; minus infinity where the rule forbids it."""
    precision, recall = hits / (hits + alarms), hits / n
    if rule.name == "max_fbeta":
        square = rule.value**2
        return (1 + square) * precision * recall / max(square * precision + recall, 1e-12)
    if rule.name == "least_cost":
        return -(alarms + rule.value * (n - hits))
    allowed = {
        "recall_at_least": recall >= rule.value,
        "precision_at_least": precision >= rule.value,
        "false_alarms_per_km2_at_most": alarms / km2 <= rule.value,
    }[rule.name]
    return (precision if rule.name == "recall_at_least" else recall) if allowed else -np.inf


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    name=st.sampled_from(sorted(RULES)),
    value=st.floats(0.05, 1),
    n=st.integers(1, 50),
)
def test_each_rule_is_as_good_as_a_search_through_all(
    seed: int, name: str, value: float, n: int
) -> None:
    rng = np.random.default_rng(seed)
    scores, hit = rng.integers(0, 20, n) / 20, rng.random(n) < 0.5
    truth, km2 = int(hit.sum() + rng.integers(1, 5)), 2.0
    rule = Rule(name, value)
    counts = tally(scores, hit, np.zeros(n), [truth], [km2]).curve()
    chosen = choose(counts, rule)
    index = int(chosen.level[0])
    points = every_threshold(scores, hit)
    finding = [point for point in points if point[1]] or points[-1:]
    best = max(worth(rule, h, a, truth, km2) for _, h, a in finding)
    assert bool(chosen.met[0]) == np.isfinite(best)
    threshold = counts.scores[index]
    at = next((h, a) for t, h, a in points if t == threshold)
    assert (counts.hits[index, 0], counts.alarms[index, 0]) == at
    if np.isfinite(best):
        assert worth(rule, *at, truth, km2) == pytest.approx(best)
    else:
        assert "cannot be met on validation" in explain_unmet(counts, rule, index)


def test_a_rule_that_cannot_be_met_takes_the_nearest_and_says_so() -> None:
    counts = tally(
        [0.9, 0.8, 0.7, 0.6], [False, True, False, True], np.zeros(4), [4], [1.0]
    ).curve()
    recall = choose(counts, Rule("recall_at_least", 0.9))
    assert (counts.scores[recall.level[0]], bool(recall.met[0])) == (0.6, False)
    sentence = explain_unmet(counts, Rule("recall_at_least", 0.9), int(recall.level[0]))
    assert "the nearest is recall 0.5 at precision 0.5" in sentence
    precise = choose(counts, Rule("precision_at_least", 0.9))
    assert (counts.scores[precise.level[0]], bool(precise.met[0])) == (0.8, False)
    quiet = choose(counts, Rule("false_alarms_per_km2_at_most", 0.5))
    assert (counts.scores[quiet.level[0]], bool(quiet.met[0])) == (0.8, False)


def test_costs_decide_how_much_is_reported() -> None:
    counts = tally(
        [0.9, 0.8, 0.7, 0.6], [True, False, False, True], np.zeros(4), [2], [1.0]
    ).curve()
    assert counts.scores[choose(counts, Rule("least_cost", 1.0)).level[0]] == 0.9
    assert counts.scores[choose(counts, Rule("least_cost", 3.0)).level[0]] == 0.6


def test_draws_are_chosen_each_by_its_own() -> None:
    made = tally([0.9, 0.8, 0.7, 0.6], [True, True, False, True], [0, 1, 1, 0], [2, 1], [1.0, 1.0])
    both: Choice = choose(made.curve([[2.0, 0.0], [0.0, 2.0]]), Rule("max_fbeta", 1.0))
    assert made.curve().scores[both.level].tolist() == [0.6, 0.8]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recall_at_least", 1.2),
        ("precision_at_least", 0.0),
        ("max_fbeta", -1.0),
        ("least_cost", 0.0),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"`{name}` needs a .* got {value}"):
        Rule(name, value)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"must be one of max_fbeta, .* got 'best'"):
        Rule("best", 1.0)
