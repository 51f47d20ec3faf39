"""The area of interest: polygons of a vector file, brought into a scene's coordinate system.

An area with a place on Earth does not fit a scene without one, nor the reverse: both are errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, MissingFileError
from windhover.geometry.antimeridian import with_wrapped_copies
from windhover.geometry.georef import (
    WGS84,
    degrees_per_unit,
    extent_in_crs,
    footprint_4326,
    is_geographic,
    same_crs,
)
from windhover.geometry.move_shapes import reproject, swap_axes
from windhover.imagery.rasters import SceneInfo

if TYPE_CHECKING:
    import geopandas

LAYER = "aoi"
MAX_LONGITUDE = 360.0
MAX_LATITUDE = 90.0
SEGMENTS_PER_SIDE = 100  # an edge that is straight in one coordinate system is a curve in another


def read_aoi(path: str | Path) -> geopandas.GeoSeries:
    """Read the polygons of a vector file; the series is called as the file.

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
    from windhover.imagery.vector_files import read_layer  # loads slowly

    shapes = read_layer(path, LAYER).geometry
    shapes = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"]) & ~shapes.is_empty]
    if shapes.empty:
        raise DataError(f"{path}: holds no polygon. Draw the area to be searched as polygons.")
    named: geopandas.GeoSeries = shapes.rename(str(path))
    return named


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
    if shapes.crs is not None and degrees_per_unit(shapes.crs.to_wkt()) != 1:
        shapes = shapes.to_crs(WGS84)
    area = union_of_valid(shapes)
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
    if is_geographic(info.crs) and degrees_per_unit(info.crs) == 1:
        return with_wrapped_copies(projected)
    return projected


def union_of_valid(shapes: geopandas.GeoSeries) -> BaseGeometry:
    """Return the union of shapes, each made valid by itself: a union of crossed ones fails."""
    union: BaseGeometry = shapely.union_all(shapely.make_valid(shapes.to_numpy()))
    return shapely.make_valid(union)


def describe_misplacement(shapes: geopandas.GeoSeries, infos: Sequence[SceneInfo]) -> str:
    """Return a sentence on why an area may have no part of any scene; empty where none is seen.

    Args:
        shapes: from `read_aoi`.
        infos: of the scenes.
    """
    if shapes.crs is None:
        return ""
    if not shapes.crs.is_geographic:
        return _two_places(shapes, infos)
    left, bottom, right, top = shapes.total_bounds
    if max(abs(left), abs(right)) > MAX_LONGITUDE or max(abs(bottom), abs(top)) > MAX_LATITUDE:
        is_swapped = max(abs(left), abs(right)) <= 90 and max(abs(bottom), abs(top)) <= 180
        if not is_swapped:
            return (
                "Its numbers look like metres, and its system is longitude and latitude: write "
                "its true system into it (a GeoJSON without one is longitude and latitude)."
            )
    swapped = union_of_valid(shapes.map(swap_axes))
    for info in infos:
        outline = footprint_4326(info.transform, info.crs, info.shape_hw)
        if outline is not None and swapped.intersects(outline):
            return "With x and y swapped it would: longitude comes before latitude."
    return _two_places(shapes, infos)


def _two_places(shapes: geopandas.GeoSeries, infos: Sequence[SceneInfo]) -> str:
    """Return a sentence that says where on Earth an area and the first scene are."""
    area = shapes.to_crs(WGS84).union_all().centroid
    outline = footprint_4326(infos[0].transform, infos[0].crs, infos[0].shape_hw)
    if outline is None or area.is_empty or not np.isfinite([area.x, area.y]).all():
        return ""
    scene = outline.centroid
    return (
        f"The area is at longitude {area.x:.4f}, latitude {area.y:.4f}, and the raster at "
        f"{scene.x:.4f}, {scene.y:.4f}: they are of two places, or the coordinate system of one "
        "is wrong."
    )


def _check_same_kind(shapes: geopandas.GeoSeries, info: SceneInfo) -> None:
    """Check that scene and area are both georeferenced, or both not."""
    if (info.crs is None) == (shapes.crs is None):
        return
    area = shapes.name or "the area"
    if info.crs is None:
        raise DataError(
            f"{info.path}: has no georeference, so {area}, which has a coordinate system, cannot "
            "be laid on it. Give both in one system."
        )
    raise DataError(
        f"{area}: has no coordinate system, so it cannot be laid on {info.path}. Write its system "
        "into it, such as ogr2ogr -a_srs EPSG:... OUT.gpkg IN."
    )


def _reproject(area: BaseGeometry, crs: str, scene_crs: str) -> BaseGeometry:
    """Return an area in a scene's coordinate system, its long edges as curves."""
    left, bottom, right, top = area.bounds
    area = shapely.segmentize(area, max(right - left, top - bottom) / SEGMENTS_PER_SIDE)
    projected: BaseGeometry = shapely.make_valid(reproject(area, crs, scene_crs))
    return projected
