"""The area of interest: polygons of a vector file, brought into a scene's coordinate system.

An area with a place on Earth does not fit a scene without one, nor the reverse: both are errors.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, MissingFileError
from windhover.geometry.antimeridian import with_wrapped_copies
from windhover.geometry.georef import extent_in_crs, is_geographic, same_crs, transformer
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.vector_files import read_layer

LAYER = "aoi"
SEGMENTS_PER_SIDE = 100  # an edge that is straight in one coordinate system is a curve in another


def read_aoi(path: str | Path) -> geopandas.GeoSeries:
    """Read the polygons of a vector file.

    Raises:
        MissingFileError: no such file.
        FormatError: not a vector file, or one of several layers and none called `aoi`.
        DataError: it holds no polygon.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(
            f"{path}: no such file. Give a GeoJSON, GeoPackage or shapefile of polygons."
        )
    shapes = read_layer(path, LAYER).geometry
    shapes = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"]) & ~shapes.is_empty]
    if shapes.empty:
        raise DataError(f"{path}: holds no polygon. Draw the area to be searched as polygons.")
    return shapes


def area_in_scene(shapes: geopandas.GeoSeries, info: SceneInfo) -> BaseGeometry:
    """Return the area as one geometry in a scene's coordinate system, or its local grid.

    Parts far from the scene are cut off.

    Args:
        shapes: from `read_aoi`.
        info: the scene.

    Raises:
        DataError: one of the two has a place on Earth and the other has none.
    """
    _check_same_kind(shapes, info)
    area = shapely.make_valid(shapely.union_all(shapes.to_numpy()))
    if info.crs is None:
        return area
    crs = shapes.crs.to_wkt()
    extent = extent_in_crs(info.transform, info.shape_hw, scene_crs=info.crs, crs=crs)
    if extent is not None:  # a country's corners may have no place in the scene's system
        if is_geographic(crs):
            area = with_wrapped_copies(area)
        area = shapely.intersection(area, extent)
    if same_crs(info.crs, crs) or area.is_empty:
        return area
    projected = _reproject(area, crs, info.crs)
    if is_geographic(info.crs):
        return with_wrapped_copies(projected)
    return projected


def _check_same_kind(shapes: geopandas.GeoSeries, info: SceneInfo) -> None:
    """Check that scene and area are both georeferenced, or both not."""
    if (info.crs is None) == (shapes.crs is None):
        return
    fault = "the area has no coordinate system"
    if info.crs is None:
        fault = "the scene has no georeference"
    raise DataError(
        f"{info.path}: {fault}, so the area cannot be laid on it. Give both in one system."
    )


def _reproject(area: BaseGeometry, crs: str, scene_crs: str) -> BaseGeometry:
    """Return an area in a scene's coordinate system, its long edges as curves."""
    left, bottom, right, top = area.bounds
    area = shapely.segmentize(area, max(right - left, top - bottom) / SEGMENTS_PER_SIDE)
    projection = transformer(crs, scene_crs)

    def project(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(projection.transform(xy[:, 0], xy[:, 1]), axis=1)

    return shapely.make_valid(shapely.transform(area, project))
