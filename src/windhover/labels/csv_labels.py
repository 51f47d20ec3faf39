"""Labels from CSV: one row a box (four columns) or a polygon (text), in pixels of the named image."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.labels.table import (
    RawLabels,
    boxes_geometry,
    class_column,
    class_names,
    objects_array,
    without_empty,
)

SUFFIXES = (".csv", ".tsv")
IMAGE_COLUMNS = ("image_id", "image_path", "image", "filename", "file_name", "file", "scene")
POLYGON_COLUMNS = ("geometry", "polygon", "wkt")
CORNER_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
    ("x1", "y1", "x2", "y2"),
)
SIZE_COLUMNS = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
MAX_TEXT = 100_000  # characters of one polygon; longer ones are no outline of an object
SEPARATORS = (
    ",",
    ";",
    "\t",
)  # of columns; the one that stands most often in the line of their names
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
PAIR = rf"[(\[]\s*{NUMBER}\s*,\s*{NUMBER}\s*[)\]]"
PAIRS = re.compile(rf"\s*[(\[]\s*{PAIR}(?:\s*,\s*{PAIR})*\s*,?\s*[)\]]\s*")
NUMBERS = re.compile(NUMBER)


def read_csv(path: Path, class_from: str | None = None) -> RawLabels:
    """Read boxes or polygons in pixels.

    Polygons are text: a list of (x, y) pairs, or WKT. Boxes are xmin, ymin, xmax, ymax (any order
    of columns) or x, y, w, h.

    Args:
        path: the file.
        class_from: column of the class, None to look for one.

    Raises:
        FormatError: no column for the image, for the geometry or for the class, or a polygon
            that is none.
    """
    frame, mark = _read(path)
    columns = [str(name) for name in frame.columns]
    image = _column(columns, IMAGE_COLUMNS)
    column = class_column(columns, class_from, str(path))
    images = (
        np.full(len(frame), path.stem, object)
        if image is None
        else frame[image].str.strip().to_numpy(object)
    )
    return without_empty(
        RawLabels(
            source=path.name,
            image=images,
            klass=class_names(frame[column] if column else None, len(frame)),
            geometry=_geometry(frame, path, decimal="," if mark == ";" else "."),
            space="px",
            images=tuple(dict.fromkeys(images)),
        )
    )


def _column(columns: list[str], names: tuple[str, ...]) -> str | None:
    """Return the first column that has one of the names, whatever its capitals."""
    return next((column for name in names for column in columns if column.lower() == name), None)


def _read(path: Path) -> tuple[pd.DataFrame, str]:
    """Return the table as text, `007` and `NA` as they stand, indexed by line; and the mark between
    its columns.

    Raises:
        FormatError: not UTF-8 text, or a line with more columns than have a name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text or not text.strip():
            raise ValueError("it holds bytes that no text has" if "\0" in text else "it is empty")
        mark = max(SEPARATORS, key=text.lstrip().splitlines()[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
        if not rows:
            raise ValueError("all its columns are empty")
    except (ValueError, OSError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise FormatError(
            f"{path}: cannot be read as CSV ({reason}). Save it as comma-separated UTF-8 text with a "
            "line of column names."
        ) from None
    names = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if any(map(str.strip, row[len(names) :])):
            raise FormatError(
                f"{path}, line {line}: has {len(row)} columns, but only {len(names)} are named. Mend the line: text "
                f"that holds {mark!r} must stand in quotes."
            )
    table = [[*row[: len(names)], *[""] * (len(names) - len(row))] for _, row in rows[1:]]
    frame = pd.DataFrame(table, index=[line for line, _ in rows[1:]], columns=names, dtype=object)
    return frame.loc[:, ~frame.columns.duplicated()], mark


def _geometry(frame: pd.DataFrame, path: Path, decimal: str) -> NDArray[np.object_]:
    frame = frame.rename(columns=str.lower)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    columns = set(frame.columns)
    polygon = next((name for name in POLYGON_COLUMNS if name in columns), None)
    if polygon is not None:
        return objects_array(
            [parse_polygon(text, f"{path}, line {line}") for line, text in frame[polygon].items()]
        )
    corners = next((names for names in CORNER_COLUMNS if columns.issuperset(names)), None)
    sizes = next((names for names in SIZE_COLUMNS if columns.issuperset(names)), None)
    if corners is None and sizes is None:
        wanted = " or ".join(
            ", ".join(names)
            for names in ((POLYGON_COLUMNS[0],), CORNER_COLUMNS[0], SIZE_COLUMNS[0])
        )
        raise FormatError(
            f"{path}: has no columns for boxes or polygons; its columns are "
            f"{', '.join(frame.columns)}. Name them {wanted}."
        )
    texts = frame[list(corners or sizes or ())].apply(
        lambda column: column.str.replace(decimal, ".", regex=False)
    )
    numbers = texts.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, copy=True)
    if corners is None:
        numbers[:, 2:] += numbers[:, :2]
    return boxes_geometry(numbers)


def parse_polygon(text: str, where: str) -> shapely.geometry.base.BaseGeometry | None:
    """Return the polygon that a text writes as (x, y) pairs or as WKT; None for an empty text.

    Nothing is evaluated: pairs are matched by a pattern, and the length is limited.

    Raises:
        FormatError: the text is neither.
    """
    if not text.strip():
        return None
    if len(text) > MAX_TEXT:
        raise FormatError(
            f"{where}: a polygon of {len(text)} characters, at most {MAX_TEXT} are taken. Simplify it."
        )
    if text.lstrip()[:1].isalpha():
        shape: shapely.geometry.base.BaseGeometry | None = shapely.from_wkt(
            text, on_invalid="ignore"
        )
        if shape is not None:
            return shape
    elif PAIRS.fullmatch(text):
        points = np.array(NUMBERS.findall(text), np.float64).reshape(-1, 2)
        return _ring(points)
    raise FormatError(
        f"{where}: {text[:60]!r} is neither a list of (x, y) pairs nor WKT. Write it as [(x, y), ...]."
    )


def _ring(points: NDArray[np.float64]) -> shapely.geometry.base.BaseGeometry:
    """Return the polygon of corner points; two points are the opposite corners of a box, one is a
    point.
    """
    if len(points) == 1:
        return shapely.Point(points[0])
    if len(points) == 2:
        (x0, y0), (x1, y1) = points
        return shapely.Polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return shapely.Polygon(points)
