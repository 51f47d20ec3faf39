"""Labels from CSV: one row a box (four columns) or a polygon (text), in px of the named image."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.errors import ShapelyError

from windhover.errors import FormatError
from windhover.labels.table import (
    RawLabels,
    boxes_geometry,
    class_names_of,
    explode_parts,
    find_class_column,
    find_column,
    is_ignore_role,
    notes_on_class_column,
    objects_array,
    without_empty,
)
from windhover.labels.text_files import read_text

SUFFIXES = (".csv", ".tsv")
IMAGE_COLUMNS = ("image_id", "image_path", "image", "filename", "file_name", "file", "scene")
POLYGON_COLUMNS = ("geometry", "polygon", "wkt")
CORNER_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
    ("x1", "y1", "x2", "y2"),
)
SIZE_COLUMNS = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
ANGLE_COLUMNS = ("angle", "rotation", "theta", "rotation_deg", "angle_deg")
KNOWN_COLUMNS = {
    *IMAGE_COLUMNS,
    *POLYGON_COLUMNS,
    *(name for four in CORNER_COLUMNS for name in four),
}
COMMENTS = ("#", "//", "%")
# the words of WKT for shapes that are not straight lines
CURVES = re.compile(r"\s*(?:SRID=\d+;)?\s*\w*(?:CURVE|CIRCULARSTRING|MULTISURFACE)", re.IGNORECASE)
SEPARATOR_LINE = re.compile(r"sep=[,;\t|]?", re.IGNORECASE)
THOUSANDS = re.compile(r"[-+]?\d{1,3},\d{3}(?:\.0*)?")  # 1,234 may be either
MAX_POLYGON_CHARS = 100_000  # longer texts are no outline of an object
SEPARATORS = (",", ";", "\t")  # of columns; the most frequent one of the header line
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
PAIR = rf"[(\[]\s*{NUMBER}\s*,\s*{NUMBER}\s*[)\]]"
PAIRS = re.compile(rf"\s*[(\[]\s*{PAIR}(?:\s*,\s*{PAIR})*\s*,?\s*[)\]]\s*")
NUMBERS = re.compile(NUMBER)


class CsvTable(NamedTuple):
    """A CSV file as text.

    Attributes:
        frame: all values as text, `007` and `NA` unchanged; indexed by line of the file.
        separator: between its columns.
    """

    frame: pd.DataFrame
    separator: str


def read_csv(path: Path, class_column: str | None = None) -> RawLabels:
    """Read boxes or polygons in pixels.

    Polygons are text: a list of (x, y) pairs, or WKT. Boxes are xmin, ymin, xmax, ymax (any order
    of columns) or x, y, w, h. Without a column for the image, the image has the file's name.

    Args:
        path: the file.
        class_column: column of the class, None to search for one.

    Raises:
        FormatError: no column for the geometry or for the class, or a polygon that cannot be read.
    """
    frame = read_text_table(path).frame
    columns = [str(name) for name in frame.columns]
    image_column = find_column(columns, IMAGE_COLUMNS)
    column = find_class_column(columns, class_column, str(path))
    if image_column is None:
        images = np.full(len(frame), path.stem, object)
    else:
        images = frame[image_column].str.strip().to_numpy(object)
    role_column = find_column(columns, ["role"])
    labels = RawLabels(
        source=path.name,
        image=images,
        class_name=class_names_of(frame, column),
        geometry=_read_geometry(frame, path),
        space="px",
        images=tuple(dict.fromkeys(images)),
        ignored=None if role_column is None else is_ignore_role(frame[role_column]),
        notes=notes_on_class_column(frame.drop(columns=image_column or []), class_column),
    )
    return without_empty(explode_parts(labels))


def read_text_table(path: Path) -> CsvTable:
    """Return the table of a CSV file as text.

    Raises:
        FormatError: not UTF-8 text, or a line with more columns than have a name.
    """
    try:
        separator, rows = _read_rows(path)
    except (ValueError, OSError, csv.Error) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise FormatError(
            f"{path}: cannot be read as CSV ({reason}). Save it as comma-separated UTF-8 text with "
            "a line of column names."
        ) from None
    _, header = rows[0]
    names = [name.strip() for name in header]
    lines = []
    table = []
    for line, row in rows[1:]:
        if any(map(str.strip, row[len(names) :])):
            raise FormatError(
                f"{path}, line {line}: has {len(row)} columns, but only {len(names)} are named. "
                f"Correct the line: text that holds {separator!r} must stand in quotes."
            )
        missing = [""] * (len(names) - len(row))
        lines.append(line)
        table.append([*row[: len(names)], *missing])
    frame = pd.DataFrame(table, index=lines, columns=names, dtype=object)
    return CsvTable(frame.loc[:, ~frame.columns.duplicated()], separator)


def _read_rows(path: Path) -> tuple[str, list[tuple[int, list[str]]]]:
    """Return the separator, and the line number and values of each row that has any.

    Raises:
        ValueError: there are none, or the file is not text.
    """
    text = read_text(path)
    if "\0" in text:
        raise ValueError("it holds bytes that no text has")
    n_skipped, text, separator = _skip_head(text)
    if not text.strip():
        raise ValueError("it is empty")
    if separator is None:
        separator = max(SEPARATORS, key=text.lstrip().splitlines()[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows = [(n_skipped + reader.line_num, row) for row in reader if any(map(str.strip, row))]
    if not rows:
        raise ValueError("all its columns are empty")
    return separator, rows


def _skip_head(text: str) -> tuple[int, str, str | None]:
    """Return how many lines before the column names are none of the table, the rest, the separator.

    These are comments and the line `sep=;` by which spreadsheets name the separator; a comment that
    holds the names of the columns is taken for them.
    """
    lines = text.splitlines(keepends=True)
    separator = None
    count = 0
    for line in lines:
        content = line.strip().strip('"')
        names = set(re.split(r"[,;\t]", content.lstrip("#/% ").lower().replace(" ", "")))
        if content.startswith(COMMENTS) and names & KNOWN_COLUMNS:
            lines[count] = line.lstrip("#/% ")
            break
        if SEPARATOR_LINE.fullmatch(content):
            separator = content[4:] or "\t"
        elif content and not content.startswith(COMMENTS):
            break
        count += 1
    return count, "".join(lines[count:]), separator


def _read_geometry(frame: pd.DataFrame, path: Path) -> NDArray[np.object_]:
    """Return the shapes (N,) of a table; None where a box has no number or a polygon no text.

    A row without a polygon has the box of its other columns, where the table has these too.

    Raises:
        FormatError: the table has no columns for shapes, or a shape cannot be read.
    """
    frame = frame.rename(columns=str.lower)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    polygon_column = find_column(list(frame.columns), POLYGON_COLUMNS)
    boxes = _read_boxes(frame, path)
    if polygon_column is None and boxes is None:
        possible = ((POLYGON_COLUMNS[0],), CORNER_COLUMNS[0], SIZE_COLUMNS[0])
        raise FormatError(
            f"{path}: has no columns for boxes or polygons; its columns are "
            f"{', '.join(frame.columns)}. Name them {' or '.join(map(', '.join, possible))}."
        )
    if polygon_column is None:
        return boxes if boxes is not None else objects_array([])
    texts = frame[polygon_column].items()
    shapes = objects_array([parse_polygon(text, f"{path}, line {line}") for line, text in texts])
    if boxes is None:
        return shapes
    return np.where(shapely.is_missing(shapes), boxes, shapes)


def _read_boxes(frame: pd.DataFrame, path: Path) -> NDArray[np.object_] | None:
    """Return the boxes (N,) of a table, None where it has no columns for them.

    Raises:
        FormatError: the boxes are turned by an angle, or a number may be read in two ways.
    """
    corner_columns = _first_complete(frame, CORNER_COLUMNS)
    size_columns = _first_complete(frame, SIZE_COLUMNS)
    if corner_columns is None and size_columns is None:
        return None
    _check_not_turned(frame, path)
    if corner_columns is not None:
        return boxes_geometry(_numbers(frame, corner_columns, path))
    boxes = _numbers(frame, size_columns or (), path)
    boxes[:, 2:] += boxes[:, :2]
    return boxes_geometry(boxes)


def _check_not_turned(frame: pd.DataFrame, path: Path) -> None:
    """Check that no column turns the boxes.

    Raises:
        FormatError: one does.
    """
    column = find_column(list(frame.columns), ANGLE_COLUMNS)
    if column is None or find_column(list(frame.columns), POLYGON_COLUMNS) is not None:
        return
    angles = _numbers(frame, (column,), path)[:, 0]
    turned = np.flatnonzero(np.nan_to_num(angles) != 0)
    if len(turned):
        raise FormatError(
            f"{path}, line {frame.index[turned[0]]}: the box is turned by the column {column!r} "
            f"({angles[turned[0]]:g}), which is not read. Write the corners as a column `polygon`: "
            "[(x, y), ...]."
        )


def _first_complete(
    frame: pd.DataFrame, choices: tuple[tuple[str, ...], ...]
) -> tuple[str, ...] | None:
    """Return the first set of column names that a table has all of, None for none."""
    columns = set(frame.columns)
    for names in choices:
        if columns.issuperset(names):
            return names
    return None


def _numbers(frame: pd.DataFrame, columns: tuple[str, ...], path: Path) -> NDArray[np.float64]:
    """Return the numbers (N, C) of text columns; NaN where a text is none.

    Raises:
        FormatError: a comma may part thousands or decimals.
    """
    texts = frame[list(columns)].apply(lambda column: column.str.strip())
    numbers = texts.apply(pd.to_numeric, errors="coerce")
    result = np.array(numbers.to_numpy(np.float64, copy=True))
    with_comma = np.argwhere(texts.apply(lambda column: column.str.contains(",")).to_numpy(bool))
    are_decimals = False
    for row, col in with_comma:
        text = str(texts.iat[row, col])
        result[row, col] = _number_with_comma(text)
        are_decimals |= not THOUSANDS.fullmatch(text)
    if len(with_comma) and not are_decimals and np.isfinite(result[tuple(with_comma[0])]):
        row, col = with_comma[0]
        raise FormatError(
            f"{path}, line {frame.index[row]}: {texts.iat[row, col]!r} in the column "
            f"{columns[col]!r} may be thousands or decimals. Write a decimal point, and no "
            "separators of thousands."
        )
    return result


def _number_with_comma(text: str) -> float:
    """Return a number with a decimal comma, or with commas between thousands; NaN for no number."""
    comma = text.rfind(",")
    if "." in text and text.rfind(".") > comma:
        plain = text.replace(",", "")
    else:
        plain = text[:comma].replace(".", "") + "." + text[comma + 1 :]
    try:
        return float(plain)
    except ValueError:
        return float("nan")


def parse_polygon(text: str, where: str) -> shapely.geometry.base.BaseGeometry | None:
    """Return the polygon of a text of (x, y) pairs or WKT; None for an empty text.

    Nothing is evaluated: pairs are matched by a pattern, and the length is limited.

    Raises:
        FormatError: the text is neither.
    """
    if not text.strip():
        return None
    if len(text) > MAX_POLYGON_CHARS:
        raise FormatError(
            f"{where}: a polygon of {len(text)} characters, at most {MAX_POLYGON_CHARS} are read. "
            "Simplify it."
        )
    if text.lstrip()[:1].isalpha():
        shape = _parse_wkt(text, where)
        if shape is not None:
            return shape
    elif PAIRS.fullmatch(text):
        points = np.array(NUMBERS.findall(text), np.float64).reshape(-1, 2)
        return _shape_of_corners(points)
    raise FormatError(
        f"{where}: {text[:60]!r} is neither a list of (x, y) pairs nor WKT. "
        "Write it as [(x, y), ...]."
    )


def _parse_wkt(text: str, where: str) -> shapely.geometry.base.BaseGeometry | None:
    """Return the shape of a WKT, None for another text.

    Raises:
        FormatError: it is a curve.
    """
    try:
        shape: shapely.geometry.base.BaseGeometry | None = shapely.from_wkt(
            text, on_invalid="ignore"
        )
    except (NotImplementedError, ValueError, TypeError, ShapelyError):
        shape = None
    if shape is None and CURVES.match(text):
        raise FormatError(
            f"{where}: {text[:60]!r} is a curve, which is not read. Write it as straight lines: "
            "ogr2ogr -nlt CONVERT_TO_LINEAR."
        )
    return shape


def _shape_of_corners(points: NDArray[np.float64]) -> shapely.geometry.base.BaseGeometry:
    """Return the polygon of corners (N, 2); two are opposite corners of a box, one is a point."""
    if len(points) == 1:
        return shapely.Point(points[0])
    if len(points) == 2:
        (x0, y0), (x1, y1) = points
        return shapely.Polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    return shapely.Polygon(points)
