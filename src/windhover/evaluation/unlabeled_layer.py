"""The layer of detections that resemble labelled objects, for a GIS.

Equal tables give equal bytes.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely
from affine import Affine

from windhover.dataset.catalog import Catalog, SceneRow
from windhover.export.geopackage import GEOPACKAGE_VERSION, fixed_gdal_time, write_layer
from windhover.files import atomic_file
from windhover.geometry.georef import WGS84, box_polygons, same_crs
from windhover.metrics.evaluation_result import UnlabeledObjects

LAYER_FILE = "unlabeled_objects.gpkg"
LAYER = "unlabeled_objects"
NOT_SEARCHED = "Training ground was not searched."


def write_unlabeled_layer(found: UnlabeledObjects | None, catalog: Catalog, folder: Path) -> None:
    """Write the detections as a GeoPackage, one without rows where there are none.

    They are in the scenes' own system where they share one, else in longitude and latitude. Scenes
    without georeference are in their local grid, and left out where others have one.

    Args:
        found: None where training ground was not searched.
        catalog: of its scenes.
        folder: of the report.
    """
    table = _table(found, catalog)
    about = NOT_SEARCHED if found is None else found.sentence.replace("`", "")
    with atomic_file(folder / LAYER_FILE) as temporary, fixed_gdal_time():
        write_layer(
            table,
            temporary,
            LAYER,
            driver="GPKG",
            dataset_options={"VERSION": GEOPACKAGE_VERSION},
            layer_options={"DESCRIPTION": about},
        )


def _table(found: UnlabeledObjects | None, catalog: Catalog) -> geopandas.GeoDataFrame:
    rows = {row.scene: row for row in catalog}
    parts = []
    if found is not None:
        for scene, group in found.detections.groupby("scene", sort=False):
            parts.append(_part(group, rows[str(scene)]))
    georeferenced = [part for part in parts if part.crs is not None]
    parts = georeferenced or parts
    if not parts:
        columns = {"scene": pd.Series(dtype=str), "class": pd.Series(dtype=str)}
        columns["score"] = pd.Series(dtype="float64")
        return geopandas.GeoDataFrame(columns, geometry=geopandas.GeoSeries([]))
    systems = [None if part.crs is None else part.crs.to_wkt() for part in parts]
    if not all(same_crs(systems[0], crs) for crs in systems):
        parts = [part.to_crs(WGS84) for part in parts]
    parts = [part.set_crs(parts[0].crs, allow_override=True) for part in parts]
    return geopandas.GeoDataFrame(pd.concat(parts, ignore_index=True))


def _part(group: pd.DataFrame, row: SceneRow) -> geopandas.GeoDataFrame:
    """Return detections of one scene (metres of its plane) in the scene's own system."""
    bounds = shapely.bounds(group["geometry"].to_numpy(object))
    boxes = bounds / np.array([*row.gsd_m, *row.gsd_m])
    return geopandas.GeoDataFrame(
        group[["scene", "class", "score"]].reset_index(drop=True),
        geometry=box_polygons(boxes, Affine(*row.transform)),
        crs=row.crs,
    )
