"""Numbers as text, for terminals, pictures and pages.

Works on plain values. Holds no metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from windhover.progress import counted

# value, low and high of the 95 % interval; None where one is undefined
ValueAndInterval: TypeAlias = tuple[float | None, float | None, float | None]

LABEL_WIDTH = 22


def format_value(value: float | None, digits: int = 3) -> str:
    """Return a number with so many decimals, or `undefined`."""
    if value is None or not np.isfinite(value):
        return "undefined"
    return f"{value:.{digits}f}"


def format_estimate(estimate: ValueAndInterval, digits: int = 3) -> str:
    """Return `value [low, high]`; the value alone where there is no interval."""
    value, low, high = estimate
    text = format_value(value, digits)
    if low is None or high is None:
        return text
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def format_interval(estimate: ValueAndInterval) -> str:
    """Return `low to high`, or a dash where there is no interval."""
    _, low, high = estimate
    if low is None or high is None:
        return "–"
    return f"{format_cell(low)} to {format_cell(high)}"


def format_cell(value: Any) -> str:
    """Return a table's value as text: three decimals, one from 10 on, a dash where undefined."""
    if value is None or value is pd.NA:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return str(value)
    if not np.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def format_parameter(value: Any) -> str:
    """Return the value of a parameter as text, lists separated by commas."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def capitalized(sentence: str) -> str:
    """Return a sentence with a capital at its beginning, unless it begins with a file or a key."""
    first = sentence.split(" ", 1)[0].rstrip(":,")
    if "." in first or "`" in first:
        return sentence
    return sentence[:1].upper() + sentence[1:]


def count_lines(counts: Mapping[str, int], unit: str) -> Iterable[str]:
    """Yield `reason: N things` for each count that is not 0.

    Args:
        counts: by reason.
        unit: what is counted, one of it.
    """
    for reason, count in counts.items():
        if count:
            yield f"{reason}: {counted(count, unit)}"


def label_line(label: str, text: str, width: int = LABEL_WIDTH) -> str:
    """Return a line of a terminal table: an indented label and its text."""
    return f"  {label:{width - 1}s} {text}"  # a long label keeps a space
