"""The searched ground divided into cells, of which some are drawn to be reviewed as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.areas import polygonal_parts
from windhover.geometry.arrays import Floats, Ints
from windhover.review.review_record import ReviewScene


@dataclass(frozen=True)
class GroundGrid:
    """Cells of all scenes; no two overlap, and together they are the searched ground.

    Attributes:
        scene: (C,) number of the scene.
        shape: (C,) polygons, px of the raster.
    """

    scene: Ints
    shape: NDArray[np.object_]

    def cell_of(self, scenes: Ints, centers: Floats) -> Ints:
        """Return the cell (N,) that holds each point, -1 for none.

        Args:
            scenes: (N,) numbers of the points' scenes.
            centers: (N, 2) x, y, px of the raster.
        """
        found = np.full(len(centers), -1, np.int64)
        for number in np.unique(scenes):
            cells = np.flatnonzero(self.scene == number)
            rows = np.flatnonzero(scenes == number)
            points = shapely.points(centers[rows])
            inside, which = shapely.STRtree(self.shape[cells]).query(points, predicate="intersects")
            found[rows[inside]] = cells[which]
        return found


def cut_grid(
    scenes: Sequence[ReviewScene], searched: Mapping[str, BaseGeometry], side_m: float
) -> GroundGrid:
    """Cut the searched ground of scenes into cells of about a side.

    Args:
        scenes: rasters.
        searched: name of a raster -> polygon of it that was searched, px.
        side_m: of a cell; a scene is divided evenly into cells of about this side.
    """
    numbers: list[int] = []
    shapes: list[object] = []
    for number, scene in enumerate(scenes):
        n_columns = max(round(scene.width_px * scene.gsd_m[0] / side_m), 1)
        n_rows = max(round(scene.height_px * scene.gsd_m[1] / side_m), 1)
        width = ceil(scene.width_px / n_columns)
        height = ceil(scene.height_px / n_rows)
        left, top = np.meshgrid(
            np.arange(0, scene.width_px, width), np.arange(0, scene.height_px, height)
        )
        cells = shapely.box(
            left.ravel(),
            top.ravel(),
            np.minimum(left.ravel() + width, scene.width_px),
            np.minimum(top.ravel() + height, scene.height_px),
        )
        parts = polygonal_parts(shapely.intersection(cells, searched[scene.scene]))
        kept = parts[shapely.area(parts) > 0]
        numbers += [number] * len(kept)
        shapes += list(kept)
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return GroundGrid(np.array(numbers, np.int64), array)
