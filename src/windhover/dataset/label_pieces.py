"""Map layers laid on scenes: shapes in native px, and which labels of a layer are on which scene.

Changes no shape but its coordinates. Labels in pixels are `align_labels`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.errors import DataError
from windhover.geometry import antimeridian, georef
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.imagery.rasters import SceneInfo
from windhover.labels.table import RawLabels


class LabelPiece(NamedTuple):
    """Labels of one file on one scene."""

    scene: str
    labels: RawLabels
    rows: Ints  # of the file
    geometry: NDArray[np.object_]  # native px of the scene


def to_pixels(
    geometry: NDArray[np.object_],
    crs: str | None,
    info: SceneInfo,
    *,
    source: str = "the label file",
) -> NDArray[np.object_]:
    """Return map geometries in native px of a scene, vertex by vertex.

    A shape with a corner that has no place in the scene's system becomes empty.

    Args:
        geometry: (N,) shapes.
        crs: their coordinate system.
        info: the scene.
        source: file of the shapes, for the message.

    Raises:
        DataError: exactly one of the two has a coordinate system.
    """
    _check_both_georeferenced(crs, info, source)
    to_scene = None
    if not georef.same_crs(crs, info.crs):
        to_scene = georef.transformer(str(crs), str(info.crs))
    middle = georef.pixel_to_world(info.transform, info.width_px / 2, info.height_px / 2)[0]
    in_degrees = georef.is_geographic(info.crs)

    def to_native_px(points: Floats) -> Floats:
        x, y = points[:, 0], points[:, 1]
        if to_scene is not None:
            x, y = to_scene.transform(x, y)
        if in_degrees:  # 181 is -179
            x = antimeridian.nearest_longitudes(x, middle)
        with np.errstate(invalid="ignore"):  # infinite ones are left out by the caller
            return np.stack(georef.world_to_pixel(info.transform, x, y), axis=1)

    return _transform_finite(shapely.force_2d(geometry), to_native_px)


def _transform_finite(
    geometry: NDArray[np.object_], transform: Callable[[Floats], Floats]
) -> NDArray[np.object_]:
    """Return transformed shapes (N,); empty where a corner becomes infinite."""
    points, shape_numbers = shapely.get_coordinates(geometry, return_index=True)
    moved_points = transform(points)
    is_finite = np.isfinite(moved_points).all(axis=1)
    moved_points[~is_finite] = 0.0
    moved: NDArray[np.object_] = geometry.copy()
    shapely.set_coordinates(moved, moved_points)
    moved[np.unique(shape_numbers[~is_finite])] = shapely.Point()
    return moved


def _check_both_georeferenced(crs: str | None, info: SceneInfo, source: str) -> None:
    """Check that labels and raster both have a coordinate system, or neither.

    Raises:
        DataError: exactly one of the two has one.
    """
    if (crs is None) == (info.crs is None):
        return
    without, other = source, info.path
    if crs is not None:
        without, other = info.path, source
    raise DataError(
        f"{without} has no coordinate system but {other} has one, so they cannot be laid over "
        "each other. Give it its coordinate system."
    )


def pieces_on_map(
    labels: RawLabels, infos: list[SceneInfo], dropped: Counter[str]
) -> list[LabelPiece]:
    """Return the pieces of a map layer on each scene; a layer for one scene is taken whole."""
    if len(infos) == 1:
        geometry = to_pixels(labels.geometry, labels.crs, infos[0], source=labels.source)
        return [LabelPiece(infos[0].name, labels, np.arange(len(labels)), geometry)]
    candidates = _CandidateSearch(labels)
    is_used = np.zeros(len(labels), bool)
    pieces = []
    for info in infos:
        if (labels.crs is None) != (info.crs is None):
            continue
        rows = candidates.rows_near(info)
        if not len(rows):
            continue
        geometry = to_pixels(labels.geometry[rows], labels.crs, info, source=labels.source)
        left, top, right, bottom = shapely.bounds(geometry).T
        is_on = is_on_raster((left + right) / 2, (top + bottom) / 2, info.width_px, info.height_px)
        is_used[rows[is_on]] = True
        if is_on.any():
            pieces.append(LabelPiece(info.name, labels, rows[is_on], geometry[is_on]))
    dropped["on no scene"] += int((~is_used).sum())
    return pieces


class _CandidateSearch:
    """Finds the labels of a map layer that may be on a scene, by their centers."""

    def __init__(self, labels: RawLabels) -> None:
        self._n_labels = len(labels)
        self._crs = labels.crs
        self._in_degrees = georef.is_geographic(labels.crs)
        self._tree = shapely.STRtree(shapely.centroid(labels.geometry))
        # a shape from 179.9 to -179.9 has its center nowhere near
        self._always = np.zeros(0, np.int64)
        if self._in_degrees:
            self._always = np.flatnonzero(antimeridian.spans_half_globe(labels.geometry))

    def rows_near(self, info: SceneInfo) -> Ints:
        """Return the rows of the labels that may be on a scene."""
        extent = georef.extent_in_crs(
            info.transform, info.shape_hw, scene_crs=info.crs, crs=self._crs
        )
        if extent is None:
            return np.arange(self._n_labels)
        if self._in_degrees:
            extent = antimeridian.with_wrapped_copies(extent)
        return np.union1d(self._tree.query(extent), self._always)


def is_on_raster(col: Floats, row: Floats, width: Any, height: Any) -> Bools:
    """Return which positions (N,), px, are on a raster of a width and a height, px."""
    return np.asarray((col >= 0) & (col < width) & (row >= 0) & (row < height))
