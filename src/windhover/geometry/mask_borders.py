"""Borders of the regions of a mask, without the steps of its pixels.

Each border is moved by less than half a pixel: it goes through the middles of the pixels' edges,
and vertices within a tolerance of a straight line are left out (Douglas and Peucker 1973). A border
between two regions is the same line for both, whichever is asked for: it is cut at the nodes, where
three or more regions meet, and the line between two nodes does not depend on its direction.
Coordinates are px of the mask, corner convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.geometry.arrays import Bools, Floats, Ints

# strictly less than half a px: borders that are a px apart do not meet
MAX_SHIFT_PX = 0.499
# Of the second a line of any shape stays within the limit: the middle of an edge is at most
# sqrt(1/8) px from the corner.
TOLERANCES_PX = (0.35, 0.14)
# closed borders of fewer edges keep their corners: a single pixel stays a square
MIN_CLOSED_EDGES = 12
# long borders are simplified in parts, so that one bad spot does not cost the whole
PART_EDGES = 48


def border_nodes(regions: NDArray[Any]) -> Bools:
    """Return at which corners borders are cut: where they meet, and all along the mask's edge.

    Args:
        regions: (rows, cols) a number for each pixel; borders are between unequal ones.

    Returns:
        (rows + 1, cols + 1).
    """
    rows, cols = regions.shape
    nodes = np.ones((rows + 1, cols + 1), bool)
    across = regions[:, 1:] != regions[:, :-1]  # vertical edges, (rows, cols - 1)
    down = regions[1:] != regions[:-1]  # horizontal edges, (rows - 1, cols)
    n_edges = across[1:].astype(np.int8) + across[:-1] + down[:, 1:] + down[:, :-1]
    nodes[1:-1, 1:-1] = n_edges > 2
    return nodes


@dataclass
class BorderLines:
    """Lines between nodes, gathered to be simplified at once.

    Attributes:
        nodes: from `border_nodes`.
        corners: of each part of a line as it was.
        middles: of each part of a line through the middles of the edges.
    """

    nodes: Bools
    corners: list[Floats] = field(default_factory=list)
    middles: list[Floats] = field(default_factory=list)

    def add_ring(self, ring: Ints) -> list[tuple[int, int, bool]]:
        """Cut a ring into lines.

        Args:
            ring: (N, 2) corners (col, row), closed, along the edges of pixels.

        Returns:
            its lines in order: first part, one past the last, and whether it runs backwards.
        """
        points = _unit_steps(ring)
        at_node = np.flatnonzero(self.nodes[points[:, 1], points[:, 0]])
        if not len(at_node):
            return [self._add_closed(points)]
        points = np.roll(points, -at_node[0], axis=0)
        stops = [*(at_node - at_node[0]), len(points)]
        points = np.concatenate([points, points[:1]])
        lines = []
        for start, stop in pairwise(stops):
            lines.append(self._add_open(points[start : stop + 1]))
        return lines

    def _add_closed(self, points: Ints) -> tuple[int, int, bool]:
        """Add a ring that meets no other border."""
        first = int(np.lexsort((points[:, 1], points[:, 0]))[0])
        points = np.roll(points, -first, axis=0)
        is_backwards = tuple(points[-1]) < tuple(points[1])
        if is_backwards:
            points = np.roll(points[::-1], 1, axis=0)
        closed = np.concatenate([points, points[:1]]).astype(np.float64)
        if len(points) < MIN_CLOSED_EDGES:
            return self._add_parts([closed], [closed], is_backwards)
        middles = (closed[1:] + closed[:-1]) / 2
        middles = np.concatenate([middles, middles[:1]])
        corners = np.concatenate([closed[1:], closed[1:2]])
        return self._add_along(middles, corners, is_backwards)

    def _add_open(self, points: Ints) -> tuple[int, int, bool]:
        """Add a line from a node to a node, which may be the same."""
        ends = (tuple(points[0]), tuple(points[1]))
        is_backwards = (tuple(points[-1]), tuple(points[-2])) < ends
        if is_backwards:
            points = points[::-1]
        line = points.astype(np.float64)
        middles = np.concatenate([line[:1], (line[1:] + line[:-1]) / 2, line[-1:]])
        return self._add_along(middles, line, is_backwards)

    def _add_along(
        self, middles: Floats, corners: Floats, is_backwards: bool
    ) -> tuple[int, int, bool]:
        """Add a line in parts: corner k is between the points k and k + 1 of the middles."""
        parts = []
        originals = []
        for start in range(0, len(middles) - 1, PART_EDGES):
            part = middles[start : start + PART_EDGES + 1]
            parts.append(part)
            inner = corners[start : start + len(part) - 1]
            originals.append(np.concatenate([part[:1], inner, part[-1:]]))
        return self._add_parts(parts, originals, is_backwards)

    def _add_parts(
        self, parts: Sequence[Floats], originals: Sequence[Floats], is_backwards: bool
    ) -> tuple[int, int, bool]:
        first = len(self.middles)
        self.middles += parts
        self.corners += originals
        return first, len(self.middles), is_backwards

    def simplified(self) -> list[Floats]:
        """Return each part as a line (M, 2) that is less than half a px from what it was."""
        if not self.middles:
            return []
        middles = _lines(self.middles)
        corners = _lines(self.corners)
        result = middles.copy()
        waiting = np.arange(len(middles))
        for tolerance in TOLERANCES_PX:
            tried = shapely.simplify(middles[waiting], tolerance, preserve_topology=False)
            shift = shapely.hausdorff_distance(tried, corners[waiting])
            is_near = shift <= MAX_SHIFT_PX
            result[waiting[is_near]] = tried[is_near]
            waiting = waiting[~is_near]
        coordinates, index = shapely.get_coordinates(result, return_index=True)
        return np.split(coordinates, np.flatnonzero(np.diff(index)) + 1)


def _lines(parts: Sequence[Floats]) -> Any:
    """Return linestrings (N,) of parts."""
    lengths = [len(part) for part in parts]
    return shapely.linestrings(
        np.concatenate(parts), indices=np.repeat(np.arange(len(parts)), lengths)
    )


def _unit_steps(ring: Ints) -> Ints:
    """Return a closed ring (N, 2) as points one px apart, (M, 2), the first not repeated."""
    steps = np.diff(ring, axis=0)
    lengths = np.abs(steps).sum(axis=1)
    edge = np.repeat(np.arange(len(steps)), lengths)
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    along = np.arange(lengths.sum()) - before[edge]
    return np.asarray(ring[edge] + np.sign(steps)[edge] * along[:, None], np.int64)


def simplify_regions(
    polygons: Sequence[Sequence[Ints]], regions: NDArray[Any]
) -> NDArray[np.object_]:
    """Return polygons of regions with simplified borders, holes kept.

    Args:
        polygons: of each the outer ring and the holes, (N, 2) corners (col, row), closed.
        regions: (rows, cols) the mask that they are regions of.

    Returns:
        (P,) polygons; several parts where a narrow place has closed.
    """
    lines = BorderLines(border_nodes(regions))
    cut = [[lines.add_ring(ring) for ring in rings] for rings in polygons]
    parts = lines.simplified()
    shapes = np.empty(len(cut), object)
    for number, rings in enumerate(cut):
        outer, *holes = (_without_edge_points(_join(parts, ring), regions.shape) for ring in rings)
        shapes[number] = shapely.Polygon(outer, holes)
    invalid = ~shapely.is_valid(shapes)
    if invalid.any():
        shapes[invalid] = [polygons_of(shapely.make_valid(shape)) for shape in shapes[invalid]]
    return shapes


def _join(parts: Sequence[Floats], ring: Sequence[tuple[int, int, bool]]) -> Floats:
    """Return a ring (M, 2) of its simplified lines, closed."""
    points = []
    for first, stop, is_backwards in ring:
        line = np.concatenate([part[:-1] for part in parts[first:stop]] + [parts[stop - 1][-1:]])
        points.append(line[::-1][:-1] if is_backwards else line[:-1])
    joined = np.concatenate(points)
    return np.concatenate([joined, joined[:1]])


def _without_edge_points(ring: Floats, shape_hw: tuple[int, int]) -> Floats:
    """Return a closed ring without the points in the middle of straight runs along the edge."""
    points = ring[:-1]
    on_edge = ((points == 0) | (points == [shape_hw[1], shape_hw[0]])).any(axis=1)
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    is_straight = before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]
    kept = points[~(on_edge & is_straight)]
    return np.concatenate([kept, kept[:1]])


def polygons_of(shape: BaseGeometry) -> BaseGeometry:
    """Return the polygons of a shape, without the lines and points of places that closed."""
    polygons = []
    for part in shapely.get_parts(shape):
        polygons += [one for one in shapely.get_parts(part) if one.geom_type == "Polygon"]
    if len(polygons) == 1:
        only: BaseGeometry = polygons[0]
        return only
    return shapely.MultiPolygon(polygons)
