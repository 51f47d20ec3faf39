"""The area to be searched: a vector file of polygons, brought into a scene's coordinate system.

Refuses areas that have no place on Earth for scenes that have one, and the reverse.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, MissingFileError
from windhover.geometry.antimeridian import with_wrapped_copies
from windhover.geometry.georef import extent_in_crs, is_geographic, same_crs, transformer
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.vector_files import read_layer

LAYER = "aoi"
PARTS_PER_SIDE = 100  # an edge that is straight in one coordinate system is a curve in another


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


def area_in(shapes: geopandas.GeoSeries, info: SceneInfo) -> BaseGeometry:
    """Return the area as one geometry in a scene's coordinate system, or its local grid; what is
    far off is cut away.

    Args:
        shapes: from `read_aoi`.
        info: the scene.

    Raises:
        DataError: one of the two has a place on Earth and the other has none.
    """
    area = shapely.make_valid(shapely.union_all(shapes.to_numpy()))
    if (info.crs is None) != (shapes.crs is None):
        which = (
            "the scene has no georeference"
            if info.crs is None
            else "the area has no coordinate system"
        )
        raise DataError(
            f"{info.path}: {which}, so the area cannot be laid on it. Give both in one system."
        )
    if info.crs is None:
        return area
    crs = shapes.crs.to_wkt()
    outline = extent_in_crs(info.transform, info.shape_hw, scene_crs=info.crs, crs=crs)
    if outline is not None:  # a country's corners may have no place in the scene's system
        if is_geographic(crs):
            area = with_wrapped_copies(area)
        area = shapely.intersection(area, outline)
    if same_crs(info.crs, crs):
        return area
    if area.is_empty:
        return area
    left, bottom, right, top = area.bounds
    area = shapely.segmentize(area, max(right - left, top - bottom) / PARTS_PER_SIDE)
    way = transformer(crs, info.crs)
    moved = shapely.make_valid(
        shapely.transform(area, lambda xy: np.stack(way.transform(xy[:, 0], xy[:, 1]), axis=1))
    )
    return with_wrapped_copies(moved) if is_geographic(info.crs) else moved
