"""What is labeled of a scene: where background is known, and what neither counts as find nor miss.

One class holds the areas of one scene in one plane (px of a grid, or meters). Two questions are
asked of them, and their answers differ on purpose:

* Cutting of patches and the class prior ask where background is **known**. They work with complete
  areas alone where a scene has any, and never with `positive_only` or `ignore` areas, even where
  these overlap a complete one.
* Evaluation, hard-negative mining and large patches ask what is **ignored**: ground where a
  detection without an object is no false positive. That is `ignore` and `positive_only` areas and,
  where a scene has complete areas, everything that is neither in them nor in `positive_only`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.windows import HALF_WINDOW_PX

GRID = 1e-6  # of coordinates: edges that areas share stay shared after a change of plane
ROLES = ("complete", "positive_only", "ignore")


@dataclass(frozen=True)
class LabelCoverage:
    """The areas of one scene by role, in one plane.

    Attributes:
        complete: everything inside is labeled; empty means that the whole scene is, except for
            the other two.
        positive_only: what is labeled is right, but not everything is labeled.
        ignore: neither a find nor a miss inside counts, and objects inside are no ground truth.
    """

    complete: BaseGeometry = field(default_factory=shapely.Polygon)
    positive_only: BaseGeometry = field(default_factory=shapely.Polygon)
    ignore: BaseGeometry = field(default_factory=shapely.Polygon)

    @classmethod
    def from_areas(
        cls, areas: pd.DataFrame, to_plane: Callable[[Floats], Floats] | None = None
    ) -> LabelCoverage:
        """Return the coverage of one scene from its rows of the catalog's table of areas.

        Args:
            areas: `role` and `geometry` (polygons in native px).
            to_plane: maps (N, 2) native px to the plane; None stays in native px.
        """
        by_role = {}
        for role, rows in areas.groupby("role"):
            polygons = rows["geometry"].to_numpy(object)
            if to_plane is not None:
                polygons = shapely.transform(polygons, to_plane)
            by_role[str(role)] = shapely.union_all(polygons, grid_size=GRID)
        return cls(**by_role)

    @classmethod
    def in_grid(cls, areas: pd.DataFrame, ratio_xy: tuple[float, float]) -> LabelCoverage:
        """Return the coverage in px of a grid with `ratio_xy` native px per px of the grid."""
        return cls.from_areas(areas, lambda xy: xy / ratio_xy)

    @classmethod
    def in_meters(cls, areas: pd.DataFrame, gsd_xy: tuple[float, float]) -> LabelCoverage:
        """Return the coverage in meters from the upper left corner of a scene of a native GSD."""
        return cls.from_areas(areas, lambda xy: xy * gsd_xy)

    @property
    def is_whole_scene(self) -> bool:
        """Whether the scene has no areas, so that all of it is labeled."""
        return self.complete.is_empty and self._without_background.is_empty

    @cached_property
    def _without_background(self) -> BaseGeometry:
        return self.positive_only.union(self.ignore)

    def known_region(self, extent: BaseGeometry, margin: float = 0.0) -> BaseGeometry:
        """Return where background is known.

        Args:
            extent: of the scene, in the same plane.
            margin: by which the areas are shrunk; the border of the scene stays where it is.
        """
        if self.is_whole_scene:
            return extent
        unknown = self._without_background
        if not self.complete.is_empty:
            unknown = unknown.union(extent.difference(self.complete))
        return extent.difference(unknown.buffer(margin, join_style="mitre"))

    def is_background_known(self, xy: Floats) -> Bools:
        """Return at which points (N, 2) all is labeled; the border of a complete area is not."""
        x, y = np.asarray(xy, np.float64).T
        known = np.ones(len(x), bool)
        if not self.complete.is_empty:
            known &= shapely.contains_xy(self.complete, x, y)
        if not self._without_background.is_empty:
            known &= ~shapely.contains_xy(self._without_background, x, y)
        return known

    def is_window_known(self, centers_xy: Floats, half_px: float) -> Bools:
        """Return which whole windows are where all objects are labeled.

        Stricter than `is_background_known` of the center: the cut patch is background as a whole.

        Args:
            centers_xy: (N, 2) centers of the windows.
            half_px: half the side of a window.
        """
        known = np.ones(len(centers_xy), bool)
        if self.is_whole_scene:
            return known
        x, y = centers_xy.T
        windows = shapely.box(x - half_px, y - half_px, x + half_px, y + half_px)
        if not self.complete.is_empty:
            shapely.prepare(self.complete)
            known &= shapely.covers(self.complete, windows)
        excluded = self._without_background
        if not excluded.is_empty:
            shapely.prepare(excluded)
            known &= ~shapely.intersects(excluded, windows)
        return known

    def is_ignored(self, xy: Floats) -> Bools:
        """Return which points (N, 2) are in an `ignore` area, borders included."""
        x, y = np.asarray(xy, np.float64).T
        inside: Bools = shapely.intersects_xy(self.ignore, x, y)
        return inside

    def unlabeled_region(self, extent: BaseGeometry) -> BaseGeometry:
        """Return where objects are no ground truth: `ignore`, and what no area of a kind covers.

        Args:
            extent: of the scene, in the same plane.
        """
        if self.complete.is_empty:
            return self.ignore
        labeled = self.complete.union(self.positive_only)
        return self.ignore.union(extent.difference(labeled))

    def ignored_region(self, extent: BaseGeometry, margin: float = 0.0) -> BaseGeometry:
        """Return where a detection without an object is no false positive; empty for nowhere.

        Args:
            extent: of the scene, in the same plane.
            margin: by which the region is grown: an object this far inside it would still matter
                to a window next to it.
        """
        region = self.unlabeled_region(extent).union(self.positive_only)
        if region.is_empty or margin == 0:
            return region
        return region.buffer(margin, join_style="mitre")

    def ignored_region_of_grid(
        self, shape_hw: tuple[int, int], margin_px: float = 0.0
    ) -> BaseGeometry:
        """Return `ignored_region` of a scene of (height, width) px."""
        height, width = shape_hw
        return self.ignored_region(shapely.box(0, 0, width, height), margin_px)


def ignored_window_boxes(
    region: BaseGeometry, *, left: int, top: int, side_px: int, stride_px: int
) -> Floats:
    """Return boxes that hold the centers of a square's windows in a region, and of no other window.

    Args:
        region: from `LabelCoverage.ignored_region`, px of the grid.
        left: of the square, px of the grid.
        top: of the square.
        side_px: of the square.
        stride_px: between windows.

    Returns:
        (N, 4) center x, y relative to the center of the square, width, height; px.
    """
    # the centers of the windows that lie wholly inside the square
    steps = np.arange(float(HALF_WINDOW_PX), side_px - HALF_WINDOW_PX + 1.0, stride_px)
    x, y = np.meshgrid(steps, steps)
    inside = shapely.contains_xy(region, x + left, y + top)
    boxes = []
    for first_col, last_col, first_row, last_row in _rectangles_of_cells(inside):
        width = (last_col - first_col) * stride_px
        height = (last_row - first_row) * stride_px
        center_x = steps[first_col] - side_px / 2 + width / 2
        center_y = steps[first_row] - side_px / 2 + height / 2
        boxes.append((center_x, center_y, width + 1.0, height + 1.0))
    return np.array(boxes, float).reshape(-1, 4)


def _rectangles_of_cells(cells: Bools) -> Iterator[tuple[int, int, int, int]]:
    """Yield rectangles that cover the True cells: first and last column, first and last row."""
    open_runs: dict[tuple[int, int], int] = {}  # columns of a run -> the row it began in
    below_last = np.zeros(cells.shape[1], bool)
    for number, row in enumerate([*cells, below_last]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.view(np.int8), [0]])))
        runs = set()
        for first, end in zip(edges[::2], edges[1::2], strict=True):
            runs.add((int(first), int(end) - 1))
        for run in sorted(open_runs.keys() - runs):
            yield *run, open_runs.pop(run), number - 1
        open_runs |= dict.fromkeys(sorted(runs - open_runs.keys()), number)
