"""Scenes of a search as layers: their footprints with counts, and the area that was searched.

Takes what the summary of the search holds; opens no raster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.geometry.antimeridian import split_small_polygon
from windhover.geometry.georef import (
    WGS84,
    box_polygons,
    footprint_4326,
    same_crs,
)
from windhover.geometry.move_shapes import reproject

CLEAR_KM2 = "km2_clear"  # only of a search with a mask
COUNT_COLUMNS = ("scene", "acquired", "split", "objects", "expected", "km2", "gsd_m", "model")


def scenes_layer(summary: DetectionSummary, crs: Any) -> geopandas.GeoDataFrame:
    """Return the scenes' footprints with what was found in each.

    Args:
        summary: of the search.
        crs: of the layer; None takes the scenes of local grids, and otherwise those on Earth.
    """
    scenes = scenes_in(summary, crs)
    rows = []
    for scene in scenes:
        gsd_m = np.nan
        if scene.gsd_m is not None:
            gsd_m = max(scene.gsd_m)
        rows.append(
            {
                "scene": scene.scene,
                "acquired": scene.acquired,
                "split": scene.split,
                "objects": scene.objects,
                "expected": scene.expected_objects,
                "km2": np.nan if scene.km2 is None else scene.km2,
                "gsd_m": gsd_m,
                "model": summary.model,
            }
        )
        if scene.clear is not None:
            km2_clear = scene.clear.km2
            rows[-1][CLEAR_KM2] = np.nan if km2_clear is None else km2_clear
    columns: tuple[str, ...] = COUNT_COLUMNS
    if any(CLEAR_KM2 in row for row in rows):
        columns = (*COUNT_COLUMNS, CLEAR_KM2)
    return _layer(rows, columns, [footprint_in(scene, crs) for scene in scenes], crs)


def searched_layer(summary: DetectionSummary, crs: Any) -> geopandas.GeoDataFrame:
    """Return the area that was searched of each scene: all of it, or the area of interest."""
    scenes = scenes_in(summary, crs)
    rows = []
    for scene in scenes:
        km2 = np.nan if scene.km2 is None else scene.km2
        rows.append({"scene": scene.scene, "km2": km2})
    return _layer(rows, ("scene", "km2"), [searched_in(scene, crs) for scene in scenes], crs)


def scenes_in(summary: DetectionSummary, crs: Any) -> list[SceneSummary]:
    """Return the scenes that are on Earth, or those of local grids where there is no system."""
    return [scene for scene in summary.scenes if (scene.crs is None) == (crs is None)]


def footprint_in(scene: SceneSummary, crs: Any) -> BaseGeometry:
    """Return a scene's outline in a coordinate system; None takes its local grid."""
    if crs is not None and scene.crs is not None and crs.to_epsg() == 4326:
        shape_hw = (scene.height_px, scene.width_px)
        outline = footprint_4326(scene.affine, scene.crs, shape_hw)
        assert outline is not None  # its system is known
        return outline
    box = box_polygons([0, 0, scene.width_px, scene.height_px], scene.affine)[0]
    return _in_system(box, scene.crs, crs)


def searched_in(scene: SceneSummary, crs: Any) -> BaseGeometry:
    """Return the part of a scene that was searched, in a coordinate system."""
    if scene.area_wkt is None:
        return footprint_in(scene, crs)
    box = box_polygons([0, 0, scene.width_px, scene.height_px], scene.affine)[0]
    return _in_system(box & shapely.from_wkt(scene.area_wkt), scene.crs, crs)


def _in_system(shape: BaseGeometry, scene_crs: str | None, crs: Any) -> BaseGeometry:
    """Return a shape of a scene's system in another, cut at the antimeridian where it has one."""
    if scene_crs is None or crs is None or same_crs(scene_crs, crs.to_wkt()):
        return shape
    target = WGS84 if crs.to_epsg() == 4326 else crs.to_wkt()
    moved: BaseGeometry = reproject(shape, scene_crs, target)
    return split_small_polygon(moved) if target == WGS84 else moved


def _layer(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], shapes: Sequence[Any], crs: Any
) -> geopandas.GeoDataFrame:
    """Return rows and their shapes as a layer of polygons."""
    table = pd.DataFrame(list(rows), columns=list(columns))
    for name in ("acquired", "split"):
        if name in table:
            table[name] = table[name].astype("str").where(table[name].notna(), None)
    return geopandas.GeoDataFrame(table, geometry=list(shapes), crs=crs)
