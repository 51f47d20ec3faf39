"""The one table that every label reader returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.errors import FormatError

CLASS_COLUMNS = ("class", "label", "category", "class_name", "name", "type")
NO_CLASS = "object"  # the class of labels whose file has no class
NO_GEOMETRY = "empty or reversed geometry"
Space = Literal["map", "px", "fraction"]


@dataclass(frozen=True)
class RawLabels:
    """Labels as one file states them.

    Attributes:
        source: name of the file.
        image: (N,) name of the image a label is on, as the file has it; "" where only the map
            position tells.
        klass: (N,) class names as the file has them.
        geometry: (N,) points and polygons, in `space`.
        space: `map` = in `crs`; `px` = native px of the image, corners; `fraction` = of the
            image's width and height.
        crs: coordinate system of map coordinates, None where the file states none (a local grid).
        images: images the file speaks of, also those without a label: they are known to hold none.
        ignored: (N,) labels that the file itself marks as not to be counted, None for none.
        dropped: reason -> number of labels that could not be taken.
        sizes: image -> width and height in px, where the file says them.
    """

    source: str
    image: NDArray[np.object_]
    klass: NDArray[np.object_]
    geometry: NDArray[np.object_]
    space: Space
    crs: str | None = None
    images: tuple[str, ...] = ()
    ignored: NDArray[np.bool_] | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.geometry)

    def taken(self, rows: NDArray[np.bool_]) -> RawLabels:
        """Return the labels of some rows."""
        ignored = None if self.ignored is None else self.ignored[rows]
        return replace(
            self,
            image=self.image[rows],
            klass=self.klass[rows],
            geometry=self.geometry[rows],
            ignored=ignored,
        )


def without_empty(labels: RawLabels) -> RawLabels:
    """Return the labels that have a geometry with finite coordinates; the others are counted.

    A label whose class is left empty is of the class `NO_CLASS`: an empty name would be taken for
    background.
    """
    if not len(labels):
        return labels
    named = [str(name).strip() or NO_CLASS for name in labels.klass]
    labels = replace(labels, klass=objects_array(named))
    sound = np.isfinite(shapely.bounds(labels.geometry)).all(axis=1) & ~shapely.is_missing(
        labels.geometry
    )
    if sound.all():
        return labels
    dropped = {
        **labels.dropped,
        NO_GEOMETRY: labels.dropped.get(NO_GEOMETRY, 0) + int((~sound).sum()),
    }
    return replace(labels.taken(sound), dropped=dropped)


def objects_array(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return a one-dimensional array of objects, also of those that look like sequences."""
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def class_column(columns: list[str], wanted: str | None, source: str) -> str | None:
    """Return the column that holds the class: the wanted one, else the first of the usual names,
    else None.

    Raises:
        FormatError: the wanted column is not there.
    """
    if wanted is None:
        return next(
            (column for name in CLASS_COLUMNS for column in columns if column.lower() == name), None
        )
    if wanted in columns:
        return wanted
    raise FormatError(
        f"{source}: has no column {wanted!r} for the class; its columns are {', '.join(map(str, columns))}. "
        "Set `scenes.class_column`."
    )


def class_names(values: pd.Series | None, count: int) -> NDArray[np.object_]:
    """Return class names as text; a file without classes has one class."""
    if values is None:
        return np.full(count, NO_CLASS, dtype=object)
    return values.astype("string").fillna("").to_numpy(dtype=object)


def boxes_geometry(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return (N,) box polygons of (N, 4) boxes; None for one that ends before it begins, which is
    no box.
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    shapes = np.asarray(
        shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]), dtype=object
    )
    shapes[(boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])] = None
    return shapes
