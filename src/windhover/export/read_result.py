"""The GeoParquet or GeoPackage that `windhover detect` wrote, read again as its search's result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.errors import FormatError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.detections import read_summary
from windhover.export.map_files import LAYER
from windhover.geometry.georef import WGS84, same_crs
from windhover.geometry.move_shapes import reproject
from windhover.inference.detection_columns import COLUMNS, OPTIONAL_COLUMNS, SCENE_CRS

AGAIN = "Search again with `windhover detect`."


def read_result(path: Path) -> tuple[geopandas.GeoDataFrame, DetectionSummary]:
    """Return the detections, each box in its own scene's coordinate system, and their search.

    Raises:
        FormatError: the file is damaged, or was not written by `windhover detect`.
    """
    summary = read_summary(path)
    try:
        if path.suffix == ".gpkg":
            table = geopandas.read_file(path, layer=LAYER)
        else:
            table = geopandas.read_parquet(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FormatError(f"{path}: cannot be read ({reason}). {AGAIN}") from None
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise FormatError(f"{path}: has no column {lacking[0]!r}. {AGAIN}")
    crs_of = {scene.scene: scene.crs for scene in summary.scenes}
    strange = sorted(set(table["scene"]) - set(crs_of))
    if strange:
        raise FormatError(f"{path}: its search knows no scene {strange[0]!r}. {AGAIN}")
    table = table.sort_values(["score", "id"], ascending=[False, True], ignore_index=True)
    scene_crs = table["scene"].map(crs_of)
    shapes = _in_own_systems(table, scene_crs)
    columns = [
        name for name in (*COLUMNS, *OPTIONAL_COLUMNS) if name in table and name != "geometry"
    ]
    native = pd.DataFrame(table[columns])
    native["geometry"] = shapes
    native[SCENE_CRS] = scene_crs
    return geopandas.GeoDataFrame(native, geometry="geometry"), summary


def _in_own_systems(table: geopandas.GeoDataFrame, scene_crs: Any) -> Any:
    """Return the boxes (N,) in their scenes' coordinate systems."""
    shapes = table.geometry.to_numpy().copy()
    if table.crs is None:
        return shapes
    source = WGS84 if table.crs.to_epsg() == 4326 else table.crs.to_wkt()
    for crs in scene_crs.dropna().unique():
        rows = np.flatnonzero((scene_crs == crs).to_numpy(bool))
        if not same_crs(crs, source):
            moved = reproject(shapes[rows], source, crs)
            shapes[rows] = np.where(shapely.get_type_id(moved) == 3, moved, shapely.envelope(moved))
    return shapes
