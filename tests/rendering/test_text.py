"""Numbers as text: one form for each of value, interval, cell and line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from windhover.rendering.text import (
    count_lines,
    format_cell,
    format_estimate,
    format_interval,
    format_parameter,
    format_value,
    label_line,
)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ((0.83449, 0.7, 0.93), "0.834 [0.700, 0.930]"),
        ((0.83449, None, None), "0.834"),
        ((None, None, None), "undefined"),
    ],
)
def test_an_estimate_carries_its_interval(
    estimate: tuple[float | None, float | None, float | None], text: str
) -> None:
    assert format_estimate(estimate) == text


def test_an_interval_stands_in_words() -> None:
    assert format_interval((0.8, 0.7, 12.345)) == "0.700 to 12.3"
    assert format_interval((0.8, None, None)) == "–"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_value_may_be_undefined(value: float | None) -> None:
    assert format_value(value) == "undefined"
    assert format_cell(value) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.NA, "–"), (7, "7"), (np.int64(12345), "12345"), (0.12345, "0.123"), (51.26, "51.3"),
        ("a <b>", "a <b>"), (True, "True"),
    ],
)  # fmt: skip
def test_a_cell_has_the_digits_that_matter(value: Any, text: str) -> None:
    assert format_cell(value) == text


def test_lists_of_settings_are_separated_by_commas() -> None:
    assert format_parameter((1, 2.5, "a")) == "1, 2.5, a"
    assert format_parameter(None) == "None"


def test_counts_of_0_are_left_out() -> None:
    assert list(count_lines({"outside": 2, "empty": 0}, "label")) == ["outside: 2 labels"]


def test_lines_of_a_table_are_aligned() -> None:
    assert label_line("recall", "0.5").index("0.5") == label_line("AP", "0.5").index("0.5") == 24
    assert label_line("false alarms per hectare", "0.5") == "  false alarms per hectare 0.5"
