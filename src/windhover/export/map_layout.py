"""Positions of scenes and detections on the map page: Web Mercator, or local grids side by side.

Corners are in centimetres, as whole numbers: a page of a hundred thousand boxes stays small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.export.detection_summary import SceneSummary
from windhover.geometry.georef import box_polygons, pixel_to_world, transformer

WEB_MERCATOR = "EPSG:3857"
HALF_TURN = 20037508.342789244  # metres of Web Mercator
CM_PER_M = 100
GAP = 0.06  # between local grids, of the largest
POINTS_PER_SIDE = 8  # of an outline, whose sides are curves on the map
POINTS_INSIDE = 33  # along each side of a grid over a scene whose sides are not on Earth
Grid = Literal["earth", "plane"]


class Placement(NamedTuple):
    """Where a scene is on the map.

    Attributes:
        scene: what is known of it.
        shift: x and y added to its local grid; zeros for a scene on Earth.
    """

    scene: SceneSummary
    shift: tuple[float, float]

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (N, 2) of the scene's system on the map, metres.

        Where the scene crosses the antimeridian, x goes on beyond it from the scene's middle.
        """
        if self.scene.crs is None:
            return xy + self.shift
        middle = self.scene.affine @ (self.scene.width_px / 2, self.scene.height_px / 2)
        x, y = transformer(self.scene.crs, WEB_MERCATOR).transform(*np.vstack([middle, xy]).T)
        return _unwrapped(np.stack([x[1:], y[1:]], axis=1), x[0])

    @property
    def outline(self) -> NDArray[np.float64]:
        """Points (N, 2) around the scene on the map, metres; around what of it is on Earth."""
        points = self.to_map(self._points_around())
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            return points
        return self._outline_on_earth()

    def _points_around(self) -> NDArray[np.float64]:
        """Return points (N, 2) along the sides of the scene, in its system."""
        box = box_polygons([0, 0, self.scene.width_px, self.scene.height_px], self.scene.affine)[0]
        longest = max(box.length / 4 / POINTS_PER_SIDE, 1e-9)
        dense = shapely.segmentize(box, longest)
        return shapely.get_coordinates(dense)

    def _outline_on_earth(self) -> NDArray[np.float64]:
        """Return points (N, 2) around those of the scene that have a place on the map, metres."""
        steps = np.linspace(0, 1, POINTS_INSIDE)
        cols, rows = np.meshgrid(steps * self.scene.width_px, steps * self.scene.height_px)
        xy = pixel_to_world(self.scene.affine, cols.ravel(), rows.ravel())
        points = self.to_map(np.stack(xy, axis=1))
        hull = shapely.MultiPoint(points[np.isfinite(points).all(axis=1)]).convex_hull
        return shapely.get_coordinates(hull)

    @property
    def bounds(self) -> list[float]:
        """Left, bottom, right, top on the map, metres."""
        outline = self.outline
        return [*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist()]


def _unwrapped(points: NDArray[np.float64], reference_x: float) -> NDArray[np.float64]:
    """Return points (N, 2) of Web Mercator, shifted by whole turns to be nearest to an x."""
    turns = np.round((reference_x - points[:, 0]) / (2 * HALF_TURN))
    points[:, 0] += np.where(np.isfinite(turns), turns, 0) * 2 * HALF_TURN
    return points


def place_scenes(scenes: Sequence[SceneSummary], grid: Grid) -> dict[str, Placement]:
    """Return the place of each scene by its name; local grids side by side in rows.

    Args:
        scenes: all on Earth, or all in local grids.
        grid: `earth` or `plane`.
    """
    if grid == "earth":
        return {scene.scene: Placement(scene, (0.0, 0.0)) for scene in scenes}
    sizes = []
    for scene in scenes:
        x, y = abs(scene.affine.a), abs(scene.affine.e)
        sizes.append((scene.width_px * x, scene.height_px * y))
    cell_x = max((size[0] for size in sizes), default=1.0) * (1 + GAP)
    cell_y = max((size[1] for size in sizes), default=1.0) * (1 + GAP)
    per_row = max(1, math.ceil(math.sqrt(len(sizes) * cell_y / cell_x)))
    places = {}
    for number, scene in enumerate(scenes):
        row, column = divmod(number, per_row)
        shift = (column * cell_x - scene.affine.c, -row * cell_y - scene.affine.f)
        places[scene.scene] = Placement(scene, shift)
    return places


def corners_cm(shapes: NDArray[Any], place: Placement) -> NDArray[np.int32]:
    """Return the four corners (N, 8) of boxes on the map: x, y, x, y, ... in centimetres.

    A shape that is no quadrilateral is shown as its bounds. What has no place on the map, such as a
    pole, is at its edge.

    Args:
        shapes: (N,) polygons in the scene's coordinate system.
        place: of the scene.
    """
    is_quad = (shapely.get_type_id(shapes) == 3) & (shapely.get_num_coordinates(shapes) == 5)
    quads = np.where(is_quad, shapes, shapely.envelope(shapes))
    points = np.zeros((len(shapes), 4, 2))
    for index, quad in enumerate(quads):
        ring = shapely.get_coordinates(quad)
        points[index, : min(4, len(ring))] = ring[:4]
        points[index, len(ring) :] = ring[-1]
    on_map = place.to_map(points.reshape(-1, 2)) * CM_PER_M
    limit = float(np.iinfo(np.int32).max)
    safe = np.nan_to_num(on_map, nan=limit, posinf=limit, neginf=-limit)
    return np.clip(np.rint(safe), -limit, limit).astype(np.int32).reshape(-1, 8)
