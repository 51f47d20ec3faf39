"""Typed tables that one stage leaves for the next: read whole, every fault in one sentence.

A `TableSchema` names the columns of a Parquet file, what each of them holds and the stage that
writes it. Holds no table of its own; the rooms declare the schemas.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from windhover.errors import FormatError, MissingFileError

Kind = Literal["text", "number", "integer", "flag", "texts", "numbers", "geometry"]
REASON_CHARS = 160  # of a reader's own message
MAX_COORDINATE = 1e12  # m, px or degrees; beyond it no arithmetic of shapes holds
SHOWN_CHARS = 60  # of a wrong value
WORDS: dict[Kind, str] = {
    "text": "text",
    "number": "finite numbers",
    "integer": "whole numbers",
    "flag": "true or false",
    "texts": "lists of texts",
    "numbers": "lists of finite numbers",
    "geometry": "shapes",
}
READER_ERRORS = (
    ValueError,
    OSError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    MemoryError,
    RecursionError,
    pa.ArrowException,
    ShapelyError,
)


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes:
        kind: of its values.
        nullable: whether a value may be missing (None or NaN).
        least: smallest number.
        above: number that all values exceed.
        choices: the texts, or the kinds of shapes, that there are; empty for any.
        length: of each list; None for any but an empty one.
        finite: whether its numbers must be finite.
        check: raises a ValueError for a text that is none of its kind, such as no system.
    """

    kind: Kind
    nullable: bool = False
    least: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    length: int | None = None
    finite: bool = True
    check: Callable[[str], object] | None = None


@dataclass(frozen=True)
class TableSchema:
    """The columns of a file, and the stage that writes it.

    Attributes:
        stage: errors ask the user to run it again.
        columns: by name; a file may hold more.
    """

    stage: str
    columns: Mapping[str, Column]

    def read(self, path: str | Path, renamed: Mapping[str, str] | None = None) -> pd.DataFrame:
        """Read a Parquet file; a GeoDataFrame where a column holds shapes.

        Args:
            path: of the file.
            renamed: columns of earlier versions -> today's; None for none.

        Raises:
            MissingFileError: no such file.
            FormatError: it is no such file, lacks a column, or a value breaks its rule.
        """
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(
                f"{path}: no such file. Run the {self.stage} stage first: dvc repro {self.stage}."
            )
        has_shapes = any(column.kind == "geometry" for column in self.columns.values())
        reader = geopandas.read_parquet if has_shapes else pd.read_parquet
        try:
            table: pd.DataFrame = reader(path)
        except READER_ERRORS as error:
            reason = " ".join(str(error).split())[:REASON_CHARS]
            raise FormatError(f"{path}: cannot be read ({reason}). {self._again()}") from None
        table = table.rename(columns=dict(renamed or {}))
        self.check(table, path)
        return table

    def check(self, table: pd.DataFrame, path: str | Path) -> None:
        """Raise if a table breaks a rule.

        Raises:
            FormatError: it lacks a column, or a value breaks its rule; the first one is named.
        """
        for name, column in self.columns.items():
            if list(table.columns).count(name) != 1:
                raise FormatError(f"{path}: has no column {name!r}. {self._again()}")
            if len(table) == 0:
                continue
            fault = _find_fault(table[name], column)
            if fault is not None:
                raise FormatError(f"{path}: column {name!r} {fault}. {self._again()}")

    def _again(self) -> str:
        return f"Run the {self.stage} stage again: dvc repro -f {self.stage}."


def _find_fault(values: pd.Series[Any], column: Column) -> str | None:
    """Return what is wrong with a column: rule, first value and its row; None for nothing."""
    missing = values.isna().to_numpy(bool)
    if missing.any() and not column.nullable:
        row = int(np.flatnonzero(missing)[0])
        return f"must hold {WORDS[column.kind]}, and row {row} has no value"
    known = values[~missing]
    rows = np.flatnonzero(~missing)
    if column.kind == "geometry":
        return _shape_fault(known, column, rows)
    if column.kind in ("number", "integer"):
        return _number_fault(known, column, rows)
    for row, value in zip(rows.tolist(), known, strict=True):
        rule = _broken_rule(value, column)
        if rule is not None:
            return f"must hold {rule}, got {_shown(value)} in row {row}"
    return None


def _shape_fault(values: pd.Series[Any], column: Column, rows: NDArray[np.int64]) -> str | None:
    """Return what is wrong with a column of shapes, None for nothing."""
    shapes = values.to_numpy(object)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    is_beyond = ~(np.abs(bounds) <= MAX_COORDINATE).all(axis=1) & ~shapely.is_empty(shapes)
    if is_beyond.any():
        return f"must hold shapes with corners on Earth, and row {rows[is_beyond][0]} has others"
    if column.choices:
        kinds = [shape.geom_type if not shape.is_empty else "an empty shape" for shape in shapes]
        for row, kind in zip(rows, kinds, strict=True):
            if kind not in column.choices:
                return f"must hold {' or '.join(column.choices)}, got {kind} in row {row}"
    return None


def _number_fault(values: pd.Series[Any], column: Column, rows: NDArray[np.int64]) -> str | None:
    """Return what is wrong with a column of numbers, None for nothing.

    Args:
        values: that are there.
        column: what they must be.
        rows: of the values in the file.
    """
    dtype = values.dtype
    is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
    if len(values) and (not is_number or pd.api.types.is_bool_dtype(dtype)):
        if pd.api.types.is_object_dtype(dtype) and all(map(_is_real, values)):
            return _number_fault(values.astype(np.float64), column, rows)
        return f"must hold {WORDS[column.kind]}, got {_shown(values.iloc[0])}"
    numbers = values.to_numpy(np.float64)
    bad = np.isnan(numbers)
    if column.finite:
        bad |= np.isinf(numbers)
    rule = WORDS[column.kind]
    if column.kind == "integer":
        bad |= np.abs(numbers) >= 2**53
        bad |= np.where(bad, 0.0, numbers) % 1 != 0
    if column.least is not None:
        bad |= numbers < column.least
        rule += f" of at least {column.least:g}"
    if column.above is not None:
        bad |= numbers <= column.above
        rule += f" above {column.above:g}"
    if not bad.any():
        return None
    first = int(np.flatnonzero(bad)[0])
    return f"must hold {rule}, got {numbers[first]:g} in row {rows[first]}"


def _is_real(value: object) -> bool:
    """Return whether a value is a whole or decimal number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _broken_rule(value: Any, column: Column) -> str | None:
    """Return the rule that a value breaks, None where it breaks none."""
    words = WORDS[column.kind]
    if column.kind == "flag":
        return None if isinstance(value, bool | np.bool_) else words
    if column.kind == "text":
        return _text_rule(value, column)
    if not isinstance(value, list | tuple | np.ndarray):
        return words
    item_type: Any = str if column.kind == "texts" else int | float | np.number
    items = list(value)
    if not all(isinstance(item, item_type) for item in items):
        return words
    if column.kind == "numbers" and not np.isfinite(np.array(items, np.float64)).all():
        return words
    if column.length is not None and len(items) != column.length:
        return f"{words}, {column.length} in each"
    return None if items else f"{words}, none of them empty"


def _text_rule(value: Any, column: Column) -> str | None:
    """Return the rule that a value of a text column breaks, None where it breaks none."""
    if not isinstance(value, str):
        return WORDS["text"]
    if column.choices and value not in column.choices:
        return "one of " + ", ".join(column.choices)
    if column.check is not None:
        try:
            column.check(value)
        except (ValueError, ShapelyError) as error:
            reason = " ".join(str(error).split())[:REASON_CHARS]
            return f"what can be read ({reason})"
    return None


def _shown(value: Any) -> str:
    """Return a wrong value as it is shown, cut to a few letters."""
    if isinstance(value, np.generic):
        value = value.item()
    return json.dumps(value, default=str)[:SHOWN_CHARS]
