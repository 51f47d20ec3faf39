"""Ground of which nobody said all that is there: no negative comes from it, and no find on it is a
false alarm.

One rule for mining, crops and evaluation, on shapes in any plane; cutting asks more: that a
negative's whole window lies on known ground. Reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry


def unjudged(
    areas: Mapping[str, BaseGeometry], extent: BaseGeometry
) -> tuple[BaseGeometry, BaseGeometry]:
    """Return where objects are no truth, and where a find that meets no object is free of charge.

    Args:
        areas: role -> union of the scene's areas of that role.
        extent: of the scene, in the same plane.
    """
    nowhere = shapely.Polygon()
    complete, positive = areas.get("complete", nowhere), areas.get("positive_only", nowhere)
    unknown = areas.get("ignore", nowhere)
    if not complete.is_empty:
        unknown = unknown.union(extent.difference(complete.union(positive)))
    return unknown, unknown.union(positive)


def silent_ground(
    areas: pd.DataFrame,
    ratio_xy: tuple[float, float],
    shape_hw: tuple[int, int],
    margin_px: float = 0.0,
) -> BaseGeometry:
    """Return the ground of a scene on which a find proves nothing, in px of a grid; empty where all
    is known.

    Args:
        areas: the scene's areas, in native px.
        ratio_xy: native px in a px of the grid.
        shape_hw: of the scene in px of the grid.
        margin_px: an object this far inside unknown ground would still matter.
    """
    by_role = {
        str(role): shapely.union_all(
            shapely.transform(part["geometry"].to_numpy(object), lambda xy: xy / ratio_xy)
        )
        for role, part in areas.groupby("role")
    }
    free = unjudged(by_role, shapely.box(0, 0, shape_hw[1], shape_hw[0]))[1]
    return free if free.is_empty else free.buffer(margin_px, join_style="mitre")


def silent_boxes(
    silent: BaseGeometry, left: int, top: int, side_px: int, stride_px: int
) -> NDArray[np.float64]:
    """Return boxes that hold the centres of a square's windows of 64 px on silent ground, and of no
    other window.

    Args:
        silent: from `silent_ground`.
        left: of the square, px of the grid.
        top: of the square.
        side_px: of the square.
        stride_px: between windows.

    Returns:
        (n, 4) centre x, y relative to the square's centre, width and height; px.
    """
    steps = np.arange(32.0, side_px - 31.0, stride_px)
    x, y = np.meshgrid(steps, steps)
    inside = shapely.contains_xy(silent, x + left, y + top)
    spans = [
        (
            steps[first] - side_px / 2,
            steps[above] - side_px / 2,
            (last - first) * stride_px,
            (below - above) * stride_px,
        )
        for first, last, above, below in _rectangles(inside)
    ]
    across, down, width, height = np.array(spans, float).reshape(-1, 4).T
    return np.stack([across + width / 2, down + height / 2, width + 1.0, height + 1.0], axis=1)


def _rectangles(cells: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Yield rectangles that together are the cells which are True: first and last column, first and
    last row.
    """
    begun: dict[tuple[int, int], int] = {}  # a run of the row before -> the row it began in
    for number, row in enumerate([*cells, np.zeros(cells.shape[1], bool)]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.view(np.int8), [0]])))
        runs = {
            (int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)
        }
        for run in sorted(begun.keys() - runs):
            yield *run, begun.pop(run), number - 1
        begun |= dict.fromkeys(sorted(runs - begun.keys()), number)
