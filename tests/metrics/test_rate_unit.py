"""Rates in the unit of area that suits them; files keep square kilometres."""

from __future__ import annotations

import pytest

from windhover.metrics.bootstrap import Estimate
from windhover.metrics.rate_unit import labeled_estimate, rate_unit


@pytest.mark.parametrize(
    ("per_km2", "unit"),
    [
        (None, "km2"),
        (0.0, "km2"),
        (0.4, "km2"),
        (99.9, "km2"),
        (100.0, "hectare"),
        (4e4, "hectare"),
    ],
)
def test_many_false_alarms_are_told_per_hectare(per_km2: float | None, unit: str) -> None:
    assert rate_unit(per_km2).name == unit


def test_value_interval_and_label_change_together() -> None:
    name = "false_alarms_per_km2"
    many = Estimate(3210.0, 2500.0, None)
    label, estimate = labeled_estimate(name, "false alarms per km2", many)
    assert (label, estimate) == ("false alarms per hectare", Estimate(32.1, 25.0, None))
    assert labeled_estimate(name, "false alarms per km²", many)[0] == "false alarms per ha"
    few = Estimate(3.2, 2.5, 4.0)
    assert labeled_estimate(name, "false alarms per km2", few) == ("false alarms per km2", few)
    assert labeled_estimate("count_error", "count error", many) == ("count error", many)
