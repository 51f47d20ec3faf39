"""Where to cut: the rules that choose a threshold from a curve, and what each says when it cannot
be met.

Works on validation counts only; refuses to look at a test split, and to make scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.metrics.score_curve import Counts, Floats

RULES = {
    "max_fbeta": "beta",
    "recall_at_least": "recall",
    "precision_at_least": "precision",
    "false_alarms_per_km2_at_most": "false alarms per km2",
    "least_cost": "cost of a miss, in false alarms",
}


@dataclass(frozen=True)
class Rule:
    """A rule and its number: beta, recall, precision, false alarms per km2, or what a miss costs in
    false alarms.
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise ParameterError(
                f"the rule must be one of {', '.join(RULES)}, got {self.name!r}. Choose one of them."
            )
        share = self.name in ("recall_at_least", "precision_at_least")
        if not (0 < self.value <= 1 if share else 0 < self.value < np.inf):
            bounds = "in (0, 1]" if share else "above 0"
            raise ParameterError(
                f"`{self.name}` needs a {RULES[self.name]} {bounds}, got {self.value}. Change its value."
            )

    def __str__(self) -> str:
        return f"{self.name} {self.value:g}"


class Choice(NamedTuple):
    """The level chosen in each of D weightings."""

    level: NDArray[np.int64]  # (D,) into the counts' levels
    met: NDArray[
        np.bool_
    ]  # (D,) whether the rule holds there; where not, the nearest to it is chosen


def choose(counts: Counts, rule: Rule) -> Choice:
    """Choose one level by the rule among those that find something; of equally good ones the
    highest threshold.

    `recall_at_least` takes the best precision among levels with that recall; `precision_at_least`
    and `false_alarms_per_km2_at_most` take the best recall among theirs. A rule that no level meets
    takes the level that
    comes nearest: most recall, most precision, fewest alarms.

    Args:
        counts: at least one level.
        rule: the rule.
    """
    precision, recall = np.nan_to_num(counts.precision), np.nan_to_num(counts.recall)
    if rule.name == "max_fbeta":
        return _best(np.nan_to_num(counts.f_beta(rule.value)))
    if rule.name == "least_cost":
        misses = counts.n_truth - counts.hits
        return _best(-(counts.alarms + rule.value * misses))
    if rule.name == "recall_at_least":
        return _constrained(precision, recall >= rule.value - 1e-12, recall)
    if rule.name == "precision_at_least":
        return _constrained(recall, precision >= rule.value - 1e-12, precision)
    return _constrained(recall, counts.alarms <= rule.value * counts.km2, -counts.alarms)


def explain_unmet(counts: Counts, rule: Rule, level: int) -> str:
    """Say in one sentence that a rule is not met at the chosen level, and what is had instead."""
    had = {
        "recall_at_least": ("recall", counts.recall),
        "precision_at_least": ("precision", counts.precision),
        "false_alarms_per_km2_at_most": ("false alarms per km2", counts.alarms_per_km2),
    }[rule.name]
    value = had[1][level, 0]
    there = f"precision {counts.precision[level, 0]:.3g}, recall {counts.recall[level, 0]:.3g}"
    return f"rule `{rule}` cannot be met on validation: the nearest is {had[0]} {value:.3g} at {there}, which is taken."


def _best(value: Floats) -> Choice:
    level = np.asarray(np.argmax(value, axis=0), np.int64)
    return Choice(level, np.ones(len(level), bool))


def _constrained(value: Floats, allowed: NDArray[np.bool_], otherwise: Floats) -> Choice:
    met = np.asarray(allowed.any(axis=0), bool)
    level = np.where(
        met, np.argmax(np.where(allowed, value, -1.0), axis=0), np.argmax(otherwise, axis=0)
    )
    return Choice(level.astype(np.int64), met)
