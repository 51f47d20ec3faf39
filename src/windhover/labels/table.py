"""The one table that every label reader returns, and what readers share to fill it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import shapely
import shapely.affinity
from numpy.typing import NDArray

from windhover.errors import FormatError

CLASS_COLUMNS = ("class", "label", "category", "class_name", "name", "type")
NO_CLASS = "object"  # the class of labels whose file has no class
NO_GEOMETRY = "empty or reversed geometry"
WHOLE_NUMBER = r"[-+]?\d+\.0+"
TRUE_TEXTS = ("true", "yes", "y", "t", "on")
MOST_CLASSES = 30  # different values of a column that may be the class
N_CLASSES_SHOWN = 3  # in a note
FALSE_TEXTS = ("", "false", "no", "n", "f", "off", "none", "null", "nan", "unspecified")
IGNORE_ROLES = ("ignore", "ignored")
MULTI_TYPE = 4  # shapely's number of the first type with parts
Space = Literal["map", "px", "fraction"]


@dataclass(frozen=True)
class RawLabels:
    """Labels of one file, in the coordinates of the file.

    Attributes:
        source: name of the file.
        image: (N,) name of the image that holds a label, as in the file; "" where only the map
            position is known.
        class_name: (N,) class names as in the file.
        geometry: (N,) points and polygons, in `space`.
        space: `map` = in `crs`; `px` = native px of the image, corners; `fraction` = of the
            image's width and height.
        crs: coordinate system of map coordinates, None where the file has none (a local grid).
        images: images that the file covers, also those without a label: they are known to hold
            none.
        ignored: (N,) labels that the file itself marks as not to be counted, None for none.
        dropped: reason -> number of labels that could not be read.
        image_sizes_wh: image -> width and height in px, where the file has them.
        notes: a sentence on each choice that the reader made, without the file's name.
    """

    source: str
    image: NDArray[np.object_]
    class_name: NDArray[np.object_]
    geometry: NDArray[np.object_]
    space: Space
    crs: str | None = None
    images: tuple[str, ...] = ()
    ignored: NDArray[np.bool_] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    image_sizes_wh: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.geometry)

    def select(self, rows: NDArray[np.bool_]) -> RawLabels:
        """Return the labels of a mask (N,)."""
        ignored = None if self.ignored is None else self.ignored[rows]
        return replace(
            self,
            image=self.image[rows],
            class_name=self.class_name[rows],
            geometry=self.geometry[rows],
            ignored=ignored,
        )


class LabelRow(NamedTuple):
    """One label as the readers of image formats collect them."""

    image: str
    class_name: str
    geometry: Any  # a shapely shape, or None for a box that ends before it begins
    ignored: bool = False


def labels_from_rows(
    path: Path,
    rows: list[LabelRow],
    space: Space,
    *,
    images: tuple[str, ...],
    image_sizes_wh: dict[str, tuple[int, int]] | None = None,
) -> RawLabels:
    """Return the table of a list of labels.

    Args:
        path: the file that they are from.
        rows: the labels.
        space: of their coordinates.
        images: images that the file covers.
        image_sizes_wh: their widths and heights in px, where the file has them.
    """
    labels = RawLabels(
        source=path.name,
        image=objects_array([row.image for row in rows]),
        class_name=objects_array([row.class_name for row in rows]),
        geometry=objects_array([row.geometry for row in rows]),
        space=space,
        images=images,
        ignored=np.array([row.ignored for row in rows], bool),
        image_sizes_wh=image_sizes_wh or {},
    )
    return without_empty(labels)


def without_empty(labels: RawLabels) -> RawLabels:
    """Return the labels that have a geometry with finite coordinates; the others are counted.

    A label whose class is left empty is of the class `NO_CLASS`: an empty name would be read as
    background. Line breaks and repeated blanks in a name are one blank. Boxes of four zeros have
    no geometry.
    """
    if not len(labels):
        return labels
    class_names = [" ".join(str(name).split()) or NO_CLASS for name in labels.class_name]
    labels = replace(labels, class_name=objects_array(class_names))
    bounds = shapely.bounds(labels.geometry)
    is_sound = np.isfinite(bounds).all(axis=1) & ~shapely.is_missing(labels.geometry)
    if labels.space != "map":  # rows of zeros fill up tables of a fixed length
        is_sound &= (bounds != 0).any(axis=1)
    if is_sound.all():
        return labels
    dropped = dict(labels.dropped)
    dropped[NO_GEOMETRY] = labels.dropped.get(NO_GEOMETRY, 0) + int((~is_sound).sum())
    return replace(labels.select(is_sound), dropped=dropped)


def objects_array(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return a one-dimensional array of objects, also of those that are like sequences."""
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column that has the first possible of some names, in any case; None for none."""
    for name in names:
        for column in columns:
            if column.lower() == name:
                return column
    return None


def find_class_column(columns: list[str], wanted: str | None, source: str) -> str | None:
    """Return the column that holds the class: the wanted one, else one of the usual names.

    Args:
        columns: columns of the table.
        wanted: None to search for `CLASS_COLUMNS`.
        source: name of the file, for the message.

    Returns:
        None where no column is wanted and none has a usual name.

    Raises:
        FormatError: the wanted column is not there.
    """
    if wanted is None:
        return find_column(columns, CLASS_COLUMNS)
    if wanted in columns:
        return wanted
    raise FormatError(
        f"{source}: has no column {wanted!r} for the class; its columns are "
        f"{', '.join(map(str, columns))}. Set `scenes.class_column`."
    )


def notes_on_class_column(frame: pd.DataFrame, wanted: str | None) -> tuple[str, ...]:
    """Return a sentence where no column is known as the class, or several are.

    Args:
        frame: the columns that may hold the class.
        wanted: column that is named as the class.
    """
    if wanted is not None:
        return ()
    columns = [str(name) for name in frame.columns]
    known = [column for name in CLASS_COLUMNS for column in columns if column.lower() == name]
    if not known:
        note = (
            f"no column is known as the class ({', '.join(CLASS_COLUMNS)}), so all labels are of "
            f"the class {NO_CLASS!r}; `scenes.class_column` names another column"
        )
        examples = _columns_of_names(frame)
        if examples:
            note += f", such as {' or '.join(examples)}"
        return (note,)
    if len(known) > 1:
        note = (
            f"the columns {', '.join(known)} may all hold the class; {known[0]!r} is taken, "
            "`scenes.class_column` names another"
        )
        return (note,)
    return ()


def _columns_of_names(frame: pd.DataFrame) -> list[str]:
    """Return columns of a few names that repeat, each with some of them: one may be the class."""
    found = []
    for column in frame.columns:
        values = frame[column].dropna()
        if pd.api.types.is_numeric_dtype(values) or not len(values):
            continue
        texts = values.astype("string").str.strip()
        names = texts[texts != ""].value_counts().index.tolist()
        is_number = pd.to_numeric(pd.Series(names, dtype="object"), errors="coerce").notna()
        if 1 < len(names) <= min(MOST_CLASSES, len(values) // 2) and not is_number.any():
            shown = ", ".join(names[:N_CLASSES_SHOWN]) + ", ..." * (len(names) > N_CLASSES_SHOWN)
            found.append(f"{column} ({shown})")
    return found


def class_names_of(frame: pd.DataFrame, column: str | None) -> NDArray[np.object_]:
    """Return the class names (N,) of a column as text; `NO_CLASS` for all without a column.

    Whole numbers have no decimals: a column of them becomes 1.0, 2.0 where a value is missing.
    """
    if column is None:
        return np.full(len(frame), NO_CLASS, dtype=object)
    texts = frame[column].astype("string").fillna("")
    texts = (
        texts.where(texts.str.lower() != "nan", "") if frame[column].dtype.kind == "f" else texts
    )
    is_whole = texts.str.fullmatch(WHOLE_NUMBER) | (texts == "")
    if is_whole.all():
        texts = texts.str.replace(r"\.0+$", "", regex=True)
    return np.asarray(texts.to_numpy(dtype=object))


def is_true(value: Any, where: str) -> bool:
    """Return the truth of a flag: a boolean, a number, or a text such as `false`, `no` or `0`.

    Raises:
        FormatError: the text is none of these.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return bool(value) and value == value
    text = str(value).strip().lower()
    if text in TRUE_TEXTS or text in FALSE_TEXTS:
        return text in TRUE_TEXTS
    try:
        return float(text) != 0
    except ValueError:
        raise FormatError(f"{where}: {str(value)[:40]!r} is no flag. Write 0 or 1.") from None


def is_ignore_role(roles: pd.Series) -> NDArray[np.bool_]:
    """Return which values of a column `role` (N,) mark ignored labels, in any case."""
    texts = roles.astype("string").fillna("").str.strip().str.lower()
    return texts.isin(IGNORE_ROLES).to_numpy(bool)


def explode_parts(labels: RawLabels) -> RawLabels:
    """Return the labels with each part of a multi-part shape or collection as one of its own."""
    geometry = labels.geometry
    rows = np.arange(len(geometry))
    while (shapely.get_type_id(geometry) >= MULTI_TYPE).any():
        is_missing = shapely.is_missing(geometry)
        whole = geometry.copy()
        whole[is_missing] = shapely.Point()
        parts, part_rows = shapely.get_parts(whole, return_index=True)
        kept = objects_array(
            [None if is_missing[row] else part for part, row in zip(parts, part_rows, strict=True)]
        )
        empty = np.setdiff1d(np.arange(len(geometry)), part_rows)  # collections without parts
        order = np.argsort(np.concatenate([part_rows, empty]), kind="stable")
        geometry = np.concatenate([kept, np.full(len(empty), None, object)])[order]
        rows = rows[np.concatenate([part_rows, empty])[order]]
    ignored = None if labels.ignored is None else labels.ignored[rows]
    return replace(
        labels,
        image=labels.image[rows],
        class_name=labels.class_name[rows],
        geometry=geometry,
        ignored=ignored,
    )


def boxes_geometry(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return polygons (N,) of boxes (N, 4); None for a box that ends before it begins."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    left, top, right, bottom = boxes.T
    shapes = np.asarray(shapely.box(left, top, right, bottom), dtype=object)
    shapes[(right < left) | (bottom < top)] = None
    return shapes


def box_geometry(left: float, top: float, right: float, bottom: float) -> Any:
    """Return the polygon of one box; None for a box that ends before it begins."""
    return boxes_geometry(np.array([[left, top, right, bottom]]))[0]


def turned_box(box: Any, angle_deg: float) -> Any:
    """Return a box turned clockwise about its center, in px whose rows go down; None stays None."""
    if box is None or not angle_deg:
        return box
    return shapely.affinity.rotate(box, angle_deg, origin="center")
