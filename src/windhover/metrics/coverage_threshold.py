"""Rules that choose the threshold of a class without boxes from its curve on validation."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd

from windhover.errors import ParameterError
from windhover.metrics.binary_counts import BinaryCounts
from windhover.metrics.nan_safe import finite_or_none

CoverageRule: TypeAlias = Literal[
    "max_fbeta",
    "max_iou",
    "max_balanced_accuracy",
    "recall_at_least",
    "precision_at_least",
    "false_positive_rate_at_most",
    "unbiased_share",
]
COVERAGE_RULES: tuple[str, ...] = get_args(CoverageRule)
# rules whose value is a share; the other rules but `max_fbeta` have no value
SHARE_RULES = {
    "recall_at_least": "recall",
    "precision_at_least": "precision",
    "false_positive_rate_at_most": "false-positive rate",
}
# where validation does not hold the class, or nothing else
DEFAULT_THRESHOLD = 0.5
# slack for shares that are equal to the wanted one but for rounding
ROUNDING = 1e-12


class CoverageChoice(NamedTuple):
    """The threshold of one class.

    Attributes:
        threshold: score from which a pixel is taken for the class.
        met: whether the rule is met there.
        note: a sentence if the rule could not be applied or met, else empty.
        row: the curve there, None where a figure is undefined.
    """

    threshold: float
    met: bool
    note: str
    row: dict[str, float | None]


def choose_coverage_threshold(curve: pd.DataFrame, rule: str, value: float) -> CoverageChoice:
    """Choose a threshold by a rule.

    `recall_at_least` takes the best precision among thresholds with that recall;
    `precision_at_least` and `false_positive_rate_at_most` take the best recall among theirs;
    `unbiased_share` takes the share that is found closest to the true one. A rule that no threshold
    meets takes the nearest. Of thresholds with no pixel of the curve between them it is the middle
    one: on new scenes scores differ a little.

    Args:
        curve: from `coverage_curve`.
        rule: one of `COVERAGE_RULES`.
        value: beta, recall, precision or false-positive rate; other rules have none.

    Raises:
        ParameterError: an unknown rule, or a value out of range.
    """
    check_coverage_rule(rule, value)
    last = curve.iloc[-1]
    if not (last["tp"] > 0 and last["fp"] > 0):
        missing = "the class does not occur" if not last["tp"] > 0 else "nothing but the class"
        note = (
            f"on validation {missing}: no rule can be applied, so the threshold is "
            f"{DEFAULT_THRESHOLD}."
        )
        middle = int(np.argmin(np.abs(curve["threshold"].to_numpy() - DEFAULT_THRESHOLD)))
        return CoverageChoice(DEFAULT_THRESHOLD, False, note, _row(curve, middle))
    allowed = _allowed(curve, rule, value)
    worth = _worth(curve, rule, value)
    if allowed.any():
        best = int(np.argmax(np.where(allowed, worth, -np.inf)))
        note = ""
    else:
        best = int(np.argmax(_nearness(curve, rule)))
        column = rule.replace("_at_least", "").replace("_at_most", "")
        note = (
            f"rule `{rule} {value:g}` cannot be met on validation: the nearest is "
            f"{SHARE_RULES[rule]} {curve[column].iloc[best]:.3g}, which is taken."
        )
    best = _middle_of_equal(curve, best)
    return CoverageChoice(float(curve["threshold"].iloc[best]), not note, note, _row(curve, best))


def check_coverage_rule(rule: str, value: float) -> None:
    """Check a rule and its value.

    Raises:
        ParameterError: an unknown rule, or a value out of range.
    """
    if rule not in COVERAGE_RULES:
        raise ParameterError(
            f"the rule must be one of {', '.join(COVERAGE_RULES)}, got {rule!r}. Choose one of "
            "them."
        )
    if rule in SHARE_RULES and not 0 < value <= 1:
        raise ParameterError(
            f"`{rule}` needs a {SHARE_RULES[rule]} in (0, 1], got {value}. Change its value."
        )
    if rule == "max_fbeta" and not (value > 0 and np.isfinite(value)):
        raise ParameterError(f"`{rule}` needs a beta above 0, got {value}. Change its value.")


def _allowed(curve: pd.DataFrame, rule: str, value: float) -> Any:
    """Return which thresholds (255,) meet a rule."""
    if rule == "recall_at_least":
        return (curve["recall"] >= value - ROUNDING).to_numpy()
    if rule == "precision_at_least":
        return (curve["precision"] >= value - ROUNDING).to_numpy()
    if rule == "false_positive_rate_at_most":
        return (curve["false_positive_rate"] <= value + ROUNDING).to_numpy()
    return np.ones(len(curve), bool)


def _worth(curve: pd.DataFrame, rule: str, value: float) -> Any:
    """Return what a rule has largest (255,) among the thresholds that meet it."""
    if rule == "max_fbeta":
        counts = BinaryCounts(*(curve[name].to_numpy() for name in BinaryCounts._fields))
        return np.nan_to_num(counts.f_beta(value))
    if rule == "unbiased_share":
        return -(curve["fp"] - curve["fn"]).abs().to_numpy()
    column = {
        "max_iou": "iou",
        "max_balanced_accuracy": "balanced_accuracy",
        "recall_at_least": "precision",
    }
    return curve[column.get(rule, "recall")].fillna(0.0).to_numpy()


def _nearness(curve: pd.DataFrame, rule: str) -> Any:
    """Return what is largest (255,) at the threshold that comes nearest to a rule of shares."""
    if rule == "false_positive_rate_at_most":
        return -curve["false_positive_rate"].to_numpy()
    return curve[rule.removesuffix("_at_least")].fillna(0.0).to_numpy()


def _middle_of_equal(curve: pd.DataFrame, row: int) -> int:
    """Return the middle of the rows at which the same is found."""
    same = (curve["tp"] == curve["tp"].iloc[row]) & (curve["fp"] == curve["fp"].iloc[row])
    rows = np.flatnonzero(same)
    return int(rows[len(rows) // 2])


def _row(curve: pd.DataFrame, row: int) -> dict[str, float | None]:
    return {str(name): finite_or_none(value) for name, value in curve.iloc[row].items()}
