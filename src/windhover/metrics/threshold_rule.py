"""Rules that choose a threshold from a score curve, and the note where a rule cannot be met.

Works on counts of the validation split; `windhover.metrics.choose_threshold` applies a rule to one
class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.geometry.arrays import Floats
from windhover.metrics.score_curve import MatchCounts
from windhover.params.allowed_values import ThresholdRuleName

# what the value of each rule is
RULE_VALUES: dict[ThresholdRuleName, str] = {
    "max_fbeta": "beta",
    "recall_at_least": "recall",
    "precision_at_least": "precision",
    "false_alarms_per_km2_at_most": "false alarms per km2",
    "least_cost": "cost of a miss, in false alarms",
}
# slack for shares that are equal to the wanted one but for rounding
ROUNDING = 1e-12


@dataclass(frozen=True)
class ThresholdRule:
    """A rule by name, and its value: beta, recall, precision, false alarms per km2, or a cost.

    Raises:
        ParameterError: the name is unknown, or the value out of range.
    """

    name: ThresholdRuleName
    value: float

    def __post_init__(self) -> None:
        if self.name not in RULE_VALUES:
            raise ParameterError(
                f"the rule must be one of {', '.join(RULE_VALUES)}, got {self.name!r}. "
                "Choose one of them."
            )
        highest = np.inf
        bounds = "above 0"
        if self.name in ("recall_at_least", "precision_at_least"):
            highest = 1.0
            bounds = "in (0, 1]"
        if not 0 < self.value <= highest or np.isinf(self.value):
            raise ParameterError(
                f"`{self.name}` needs a {RULE_VALUES[self.name]} {bounds}, got {self.value}. "
                "Change its value."
            )

    @property
    def seeks_the_best(self) -> bool:
        """Whether the rule seeks the best of a figure, and keeps no bound."""
        return self.name in ("max_fbeta", "least_cost")

    def __str__(self) -> str:
        return f"{self.name} {self.value:g}"


class LevelChoice(NamedTuple):
    """The threshold chosen under each of D weights.

    Attributes:
        level: (D,) row of the threshold in the counts.
        is_met: (D,) whether the rule is met there; if not, the nearest threshold is chosen.
    """

    level: NDArray[np.int64]
    is_met: NDArray[np.bool_]


def choose_level(counts: MatchCounts, rule: ThresholdRule) -> LevelChoice:
    """Choose one threshold by the rule; of equally good ones the highest.

    `recall_at_least` takes the best precision among thresholds with that recall;
    `precision_at_least` and `false_alarms_per_km2_at_most` take the best recall among theirs. A
    rule that no threshold meets takes the one that comes nearest: highest recall, highest
    precision, fewest false positives.

    Args:
        counts: at least one threshold.
        rule: the rule.
    """
    precision = np.nan_to_num(counts.precision)
    recall = np.nan_to_num(counts.recall)
    if rule.name == "max_fbeta":
        return _argmax(np.nan_to_num(counts.f_beta(rule.value)))
    if rule.name == "least_cost":
        misses = counts.n_gt - counts.tp
        return _argmax(-(counts.fp + rule.value * misses))
    if rule.name == "recall_at_least":
        return _argmax_where(precision, recall >= rule.value - ROUNDING, recall)
    if rule.name == "precision_at_least":
        return _argmax_where(recall, precision >= rule.value - ROUNDING, precision)
    return _argmax_where(recall, counts.fp <= rule.value * counts.km2, -counts.fp)


def explain_unmet(counts: MatchCounts, rule: ThresholdRule, level: int) -> str:
    """Return a sentence: the rule is not met, and what is reached at the chosen threshold."""
    reached = {
        "recall_at_least": ("recall", counts.recall),
        "precision_at_least": ("precision", counts.precision),
        "false_alarms_per_km2_at_most": ("false alarms per km2", counts.false_alarms_per_km2),
    }
    label, values = reached[rule.name]
    precision = counts.precision[level, 0]
    recall = counts.recall[level, 0]
    return (
        f"rule `{rule}` cannot be met on validation: the nearest is {label} {values[level, 0]:.3g} "
        f"at precision {precision:.3g}, recall {recall:.3g}, which is taken."
    )


def _argmax(value: Floats) -> LevelChoice:
    index = np.asarray(np.argmax(value, axis=0), np.int64)
    return LevelChoice(index, np.ones(len(index), bool))


def _argmax_where(value: Floats, allowed: NDArray[np.bool_], fallback: Floats) -> LevelChoice:
    """Return the largest `value` among the allowed thresholds; of `fallback` if none is allowed."""
    is_met = np.asarray(allowed.any(axis=0), bool)
    best_allowed = np.argmax(np.where(allowed, value, -1.0), axis=0)
    index = np.where(is_met, best_allowed, np.argmax(fallback, axis=0))
    return LevelChoice(index.astype(np.int64), is_met)
