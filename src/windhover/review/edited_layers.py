"""The layers of a review file as they are now, row by row; judges no edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError
from windhover.imagery.vector_files import crs_text
from windhover.labels.table import is_true
from windhover.review.forms import AREAS_LAYER, LABELS_LAYER, REVIEW_LAYER
from windhover.review.placing import to_raster_px
from windhover.review.review_record import LOCKED, ReviewRecord, ReviewScene, locked_error

NEEDED_COLUMNS = {
    REVIEW_LAYER: ("row_id", "verdict"),
    LABELS_LAYER: ("label_id",),
    AREAS_LAYER: ("number", "state"),
}


@dataclass(frozen=True)
class LayerRow:
    """A row of a layer.

    Attributes:
        values: by column.
        shape: in the layer's coordinates; None where it has none.
        crs: of the layer; None for local grids.
        path: of the file.
        where: file, row and layer, as messages name them.
    """

    values: Mapping[Any, Any]
    shape: BaseGeometry | None
    crs: str | None
    path: Path
    where: str

    def text(self, name: str) -> str:
        """Return a text, "" where the column or the value is missing."""
        value = self.values.get(name)
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return ""
        return str(value).strip()

    def flag(self, name: str) -> bool:
        """Return a flag, False where the column or the value is missing.

        Raises:
            FormatError: it is no flag.
        """
        return is_true(self.values.get(name), self.where)

    def number(self, name: str) -> int:
        """Return a number, 0 where there is none."""
        value: Any = self.values.get(name)
        try:
            return int(value)
        except (TypeError, ValueError, OverflowError):
            return 0

    def to_px(self, shape: BaseGeometry, scene: ReviewScene) -> BaseGeometry:
        """Return the shape, or a part of it, in px of a raster.

        A shape of one part is no multi-part, and an outline that crosses itself becomes its hull.

        Raises:
            DataError: the layer has lost its coordinate system, or has one where it had none.
        """
        parts = shapely.get_parts(shape)
        single = parts[0] if len(parts) == 1 else shape
        array = np.array([single], object)
        moved: BaseGeometry = to_raster_px(array, self.crs, scene, source=str(self.path))[0]
        return moved if moved.is_valid else moved.convex_hull


def read_layer(path: Path, layer: str, record: ReviewRecord) -> list[LayerRow]:
    """Return the rows of a layer.

    Args:
        path: of the review file.
        layer: its name.
        record: what was asked.

    Raises:
        FormatError: the layer is gone or renamed, cannot be read, lacks a needed column, or has a
            coordinate system where it was made without one, or the other way round.
    """
    table = _read_table(path, layer)
    asked = {REVIEW_LAYER: record.rows, LABELS_LAYER: record.labels, AREAS_LAYER: record.areas}
    lacking = [name for name in NEEDED_COLUMNS[layer] if name not in table.columns]
    if lacking and asked[layer]:
        raise FormatError(
            f"{path}: the layer {layer!r} has no column {lacking[0]!r}, so its rows cannot be "
            "told apart. Take it over from a copy of the file from before."
        )
    if (table.crs is None) != (record.crs is None) and len(table):
        raise FormatError(
            f"{path}: the layer {layer!r} has {'no' if table.crs is None else 'a'} coordinate "
            f"system, and was made with {record.crs or 'none'}. Give it that one again."
        )
    crs = crs_text(table)
    rows = []
    for number, values in enumerate(table.to_dict("records"), 1):
        shape = values[table.geometry.name]
        if shape is not None and shape.is_empty:
            shape = None
        where = f"{path}: row {number} of the layer {layer!r}"
        rows.append(LayerRow(values, shape, crs, path, where))
    return rows


def _read_table(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """Return a layer as a table."""
    try:
        names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer not in names:
            raise FormatError(
                f"{path}: has no layer {layer!r}, only {', '.join(names)}. Give the layer its name "
                "back; a deleted one is in a copy from before."
            )
        return geopandas.GeoDataFrame(pyogrio.read_dataframe(path, layer=layer))
    except (DataSourceError, DataLayerError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        reason = " ".join(str(error).split())[:160]
        if LOCKED in reason:
            raise locked_error(path) from None
        raise FormatError(f"{path}: its layer {layer!r} cannot be read ({reason}).") from None
