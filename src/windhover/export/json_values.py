"""Rows of tables as values of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def to_json_types(record: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row with what is missing or infinite as null and numpy's scalars as Python's."""
    values = {}
    for name, value in record.items():
        if isinstance(value, np.generic):
            value = value.item()
        if value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
            value = None
        values[name] = value
    return values
