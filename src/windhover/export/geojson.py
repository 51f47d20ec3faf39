"""Detections as GeoJSON (RFC 7946): longitude and latitude, cut at the antimeridian.

One feature a line, so that two files can be compared by line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import shapely

from windhover.export.json_values import to_json_types
from windhover.export.map_files import GEOJSON_HEAD
from windhover.geometry.georef import WGS84
from windhover.inference.detection_columns import SCENE_CRS
from windhover.inference.result_table import to_lonlat

LONLAT_DECIMALS = 8  # 1 mm


def write_geojson(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write a georeferenced map table, rings counter-clockwise.

    Args:
        table: from `to_map_table`; in one coordinate system, unless it is empty.
        path: of the file.
    """
    polygons = table.geometry.to_numpy()
    if len(table):
        crs = WGS84 if table.crs.to_epsg() == 4326 else table.crs.to_wkt()
        polygons = to_lonlat(table.assign(**{SCENE_CRS: crs}))
    records = pd.DataFrame(table.drop(columns="geometry")).to_dict("records")
    lines = []
    for polygon, record in zip(polygons, records, strict=True):
        feature = {
            "type": "Feature",
            "properties": to_json_types(record),
            "geometry": _round_coordinates(shapely.geometry.mapping(polygon)),
        }
        lines.append(json.dumps(feature, allow_nan=False, ensure_ascii=False))
    with path.open("w", encoding="utf-8") as stream:
        stream.write(GEOJSON_HEAD)
        if lines:
            stream.write("\n" + ",\n".join(lines))
        stream.write("\n]}\n")


def _round_coordinates(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a GeoJSON geometry with coordinates of `LONLAT_DECIMALS`."""
    return {"type": geometry["type"], "coordinates": _round_nested(geometry["coordinates"])}


def _round_nested(coordinates: Any) -> Any:
    """Return numbers in nested sequences rounded, the sequences as lists."""
    if isinstance(coordinates, float):
        return round(coordinates, LONLAT_DECIMALS)
    return [_round_nested(part) for part in coordinates]
