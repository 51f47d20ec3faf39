"""The one table that every label reader returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

CLASS_COLUMNS = ("class", "label", "category", "class_name", "name", "type")
NO_CLASS = "object"  # the class of labels whose file has no class


@dataclass(frozen=True)
class RawLabels:
    """Labels as one file states them.

    Attributes:
        source: name of the file.
        image: (N,) name of the image a label is on, as the file has it; "" where only the map position tells.
        klass: (N,) class names as the file has them.
        geometry: (N,) points and polygons: native px of the image (`on_map` false), or in `crs` (`on_map` true).
        on_map: whether the geometry is in map coordinates.
        crs: coordinate system of map coordinates, None where the file states none (a local grid).
        images: images the file speaks of, also those without a label: they are known to hold none.
        dropped: reason -> number of labels that could not be taken.
    """

    source: str
    image: NDArray[np.object_]
    klass: NDArray[np.object_]
    geometry: NDArray[np.object_]
    on_map: bool
    crs: str | None = None
    images: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.geometry)


def without_empty(labels: RawLabels) -> RawLabels:
    """Return the labels that have a geometry with finite coordinates; the others are counted."""
    bounds = shapely.bounds(labels.geometry)
    sound = np.isfinite(bounds).all(axis=1) & ~shapely.is_missing(labels.geometry)
    if sound.all():
        return labels
    dropped = {**labels.dropped, "empty geometry": labels.dropped.get("empty geometry", 0) + int((~sound).sum())}
    return RawLabels(
        labels.source,
        labels.image[sound],
        labels.klass[sound],
        labels.geometry[sound],
        labels.on_map,
        labels.crs,
        labels.images,
        dropped,
    )


def class_column(columns: list[str], wanted: str | None, source: str) -> str | None:
    """Return the column that holds the class: the wanted one, else the first of the usual names, else None.

    Raises:
        FormatError: the wanted column is not there.
    """
    from windhover.errors import FormatError

    if wanted is None:
        return next((name for name in CLASS_COLUMNS if name in columns), None)
    if wanted in columns:
        return wanted
    raise FormatError(
        f"{source}: has no column {wanted!r} for the class; its columns are "
        f"{', '.join(map(str, columns))}. Set `scenes.class_column`."
    )


def class_names(values: pd.Series | None, count: int) -> NDArray[np.object_]:
    """Return class names as text; a file without classes has one class."""
    if values is None:
        return np.full(count, NO_CLASS, dtype=object)
    return values.astype("string").fillna("").to_numpy(dtype=object)


def boxes_geometry(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return (N,) box polygons of (N, 4) boxes; a box without area in both directions becomes a point."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    geometry: NDArray[np.object_] = shapely.box(boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3])
    return geometry
