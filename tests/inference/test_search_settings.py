"""The settings of a search: which values are none, whichever of several it is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from windhover.errors import FormatError, ParameterError
from windhover.inference.search_settings import SearchSettings


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, 0.0), (1.0, math.inf), (math.nan, 1.0)])
def test_every_scale_is_above_zero_and_finite(scales: tuple[float, ...]) -> None:
    with pytest.raises(ParameterError, match="`scales` must hold numbers above 0"):
        SearchSettings(scales=scales)


@pytest.mark.parametrize(
    "values",
    [
        {"merge_distance": -0.1},
        {"merge_distance": math.inf},
        {"merge_iou": 0.0},
        {"merge_iou": 1.01},
    ],
)
def test_both_limits_of_merging_are_checked(values: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match="`merge_distance` must be 0 or more and"):
        SearchSettings(**values)
    SearchSettings(merge_distance=0.0, merge_iou=1.0)


def test_settings_are_the_same_after_writing_and_reading() -> None:
    settings = SearchSettings(4, (1.0, 2.5), 0.4, 0.2, "d4", -2.0)
    assert SearchSettings.from_json(settings.to_json()) == settings
    with pytest.raises(FormatError, match="search settings: `scales`"):
        SearchSettings.from_json({"scales": "1"})


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "recenter"), (8, "d4")])
def test_earlier_names_and_numbers_are_read(
    number: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    old: dict[str, Any] = {"peak_looks": number, "peak_looks_from": -3.0}
    settings = SearchSettings.from_json(old)
    assert (settings.peak_tta, settings.rescore_min_logit) == (name, -3.0)
    assert "peak_looks, peak_looks_from" in caplog.text
