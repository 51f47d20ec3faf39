"""The unit of area of a rate for people: square kilometres, or hectares where objects are small.

Files keep false alarms per square kilometre; only texts and axes change their unit.
"""

from __future__ import annotations

from typing import NamedTuple

from windhover.metrics.bootstrap import Estimate

# from this many per square kilometre on, a rate is told per hectare
MIN_PER_KM2_FOR_HECTARES = 100.0
HECTARES_PER_KM2 = 100.0


class RateUnit(NamedTuple):
    """A unit of area of rates.

    Attributes:
        name: for tables, such as `km2`.
        symbol: for pages, such as `km²`.
        in_words: with its article.
        per_km2: how many are in a square kilometre.
    """

    name: str
    symbol: str
    in_words: str
    per_km2: float


SQUARE_KILOMETER = RateUnit("km2", "km²", "a square kilometre", 1.0)
HECTARE = RateUnit("hectare", "ha", "a hectare", HECTARES_PER_KM2)


RATE = "false_alarms_per_km2"


def rate_unit(per_km2: float | None) -> RateUnit:
    """Return the unit in which a rate has few digits; square kilometres if it is not known."""
    if per_km2 is not None and per_km2 >= MIN_PER_KM2_FOR_HECTARES:
        return HECTARE
    return SQUARE_KILOMETER


def labeled_estimate(metric: str, label: str, estimate: Estimate) -> tuple[str, Estimate]:
    """Return label and estimate for people: false alarms in the unit that suits them.

    Args:
        metric: name of the metric; all but false alarms per km2 stay as they are.
        label: for tables, which ends in `km2` or `km²`.
        estimate: per square kilometre.
    """
    unit = rate_unit(estimate[0])
    if metric != RATE or unit is SQUARE_KILOMETER:
        return label, estimate
    label = label.replace("km2", unit.name).replace("km²", unit.symbol)
    values = [None if value is None else value / unit.per_km2 for value in estimate]
    return label, Estimate(*values)
