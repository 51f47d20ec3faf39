"""Arithmetic where a value may be undefined: NaN inside arrays, None where JSON is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from windhover.geometry.arrays import Floats


def ratio_or_nan(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, element by element; NaN where `whole` is not above 0."""
    ratio = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=ratio, where=np.asarray(whole) > 0)
    return ratio


def mean_of_finite(values: Iterable[Any]) -> float:
    """Return the mean of the values that are neither NaN nor infinite; NaN if there are none."""
    finite = [float(value) for value in values if np.isfinite(value)]
    if not finite:
        return float("nan")
    return float(np.mean(finite))


def finite_or_none(value: Any) -> float | None:
    """Return a plain float; None for None, NaN and infinity, which JSON does not have."""
    if value is None or not np.isfinite(value):
        return None
    return float(value)


def rounded_or_none(value: Any) -> float | None:
    """Return a plain float of six significant digits; None where it is undefined."""
    finite = finite_or_none(value)
    return None if finite is None else float(f"{finite:.6g}")
