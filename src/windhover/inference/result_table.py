"""The table of detections: one schema for all scenes, and one coordinate system for a map.

Columns: those of `detection_columns`, the box as a polygon through the full affine. A scene without
georeference stays in its local grid in metres: it is given no place on Earth. Writes no file
(`windhover.export` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.errors import DataError
from windhover.geometry.antimeridian import HALF_TURN_DEG, split_small_polygon
from windhover.geometry.georef import WGS84, parse_crs, same_crs
from windhover.geometry.move_shapes import reproject
from windhover.inference.detection_columns import (
    COLUMNS,
    NUMBERS,
    OPTIONAL_COLUMNS,
    SCENE_CRS,
    SPLIT,
    TEXTS,
    DetectionColumns,
)
from windhover.table_record import Column, TableSchema

RESULTS = TableSchema(
    "detect",
    {
        "id": Column("text"),
        "scene": Column("text"),
        "class": Column("text"),
        "score": Column("number", least=0),
        "lon": Column("number", nullable=True),
        "lat": Column("number", nullable=True),
        "x": Column("number"),
        "y": Column("number"),
        "col": Column("number"),
        "row": Column("number"),
        "length_m": Column("number", nullable=True, least=0),
        "width_m": Column("number", nullable=True, least=0),
        "area_m2": Column("number", nullable=True, least=0),
        "edge": Column("flag"),
        "acquired": Column("text", nullable=True),
        "model": Column("text"),
        "threshold": Column("number", nullable=True, least=0),
        "run": Column("text"),
        "geometry": Column("geometry", choices=("Polygon",)),
        SCENE_CRS: Column("text", nullable=True, check=parse_crs),
    },
)
TEXT_COLUMNS = (*TEXTS, SPLIT, SCENE_CRS)


def empty_result_table() -> geopandas.GeoDataFrame:
    """Return a table without rows, each column of its type, `scene_crs` last."""
    columns: dict[str, Any] = {}
    for name in (*COLUMNS, SCENE_CRS):
        if name in NUMBERS:
            columns[name] = pd.Series([], dtype="float64")
        elif name == "edge":
            columns[name] = pd.Series([], dtype="bool")
        elif name == "geometry":
            columns[name] = geopandas.GeoSeries([])
        else:
            columns[name] = pd.Series([], dtype="str")
    return geopandas.GeoDataFrame(columns, geometry="geometry")


def table_of_columns(parts: Sequence[DetectionColumns]) -> geopandas.GeoDataFrame:
    """Return the detections of several scenes as one table, each box in its own scene's system."""
    filled = [part for part in parts if len(part["score"])]
    if not filled:
        return empty_result_table()
    columns: dict[str, Any] = {}
    for name in filled[0]:
        values = np.concatenate([part[name] for part in filled])
        columns[name] = pd.Series(values, dtype="str") if name in TEXT_COLUMNS else values
    return geopandas.GeoDataFrame(columns, geometry="geometry")


def is_local(table: geopandas.GeoDataFrame) -> NDArray[np.bool_]:
    """Return which detections (N,) are in a local grid, without a place on Earth."""
    return np.asarray(table[SCENE_CRS].isna(), bool)


def to_map_table(
    table: geopandas.GeoDataFrame, all_crs: Sequence[str | None] = ()
) -> geopandas.GeoDataFrame:
    """Return the detections in one coordinate system.

    Args:
        table: from `table_of_columns`; either all georeferenced or all local.
        all_crs: of every scene searched, so that scenes without detections count too.

    Returns:
        `COLUMNS`, and those of `OPTIONAL_COLUMNS` that are there, in the scenes' own system where
        they share one; else in EPSG:4326 with `scene_crs` as last column.

    Raises:
        DataError: local and georeferenced detections in one table.
    """
    systems = _distinct_systems(table, all_crs)
    if None in systems and len(systems) > 1:
        raise DataError(
            "scenes with and without georeference cannot share one map. Export them apart."
        )
    columns = [name for name in (*COLUMNS, *OPTIONAL_COLUMNS) if name in table]
    if not systems or systems == [None]:
        return geopandas.GeoDataFrame(table[columns], geometry="geometry")
    if all(same_crs(systems[0], crs) for crs in systems):
        return geopandas.GeoDataFrame(table[columns], geometry="geometry", crs=systems[0])
    lonlat = geopandas.GeoDataFrame(table[[*columns, SCENE_CRS]], geometry="geometry")
    polygons = geopandas.GeoSeries(to_lonlat(table), index=table.index, crs=WGS84)
    return lonlat.set_geometry(polygons)


def _distinct_systems(
    table: geopandas.GeoDataFrame, all_crs: Sequence[str | None]
) -> list[str | None]:
    """Return the coordinate systems of scenes and detections, each once; None for a local grid."""
    systems = dict.fromkeys(all_crs)
    for crs in table[SCENE_CRS]:
        systems[None if pd.isna(crs) else crs] = None
    return list(systems)


def to_lonlat(table: geopandas.GeoDataFrame) -> NDArray[np.object_]:
    """Return every box in longitude and latitude, as RFC 7946 has it.

    Boxes are cut at the antimeridian, and their rings are counter-clockwise.

    Args:
        table: with the boxes' coordinate systems in `scene_crs`.
    """
    geometries = table.geometry.to_numpy()
    lonlat = np.empty(len(table), object)
    for crs, rows in table.groupby(SCENE_CRS, sort=False).indices.items():
        moved = reproject(geometries[rows], str(crs), WGS84)
        left, _, right, _ = shapely.bounds(moved).T
        crosses = (left < -HALF_TURN_DEG) | (right > HALF_TURN_DEG) | (right - left > HALF_TURN_DEG)
        for number in np.flatnonzero(crosses):
            moved[number] = split_small_polygon(moved[number])
        lonlat[rows] = shapely.orient_polygons(moved)
    return lonlat
