"""Ground of which nobody said all that is there: no negative comes from it, and no find on it is a false alarm.

One rule for mining, crops and evaluation, on shapes in any plane; cutting asks more: that a negative's whole window
lies on known ground. Reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry


def unjudged(areas: Mapping[str, BaseGeometry], extent: BaseGeometry) -> tuple[BaseGeometry, BaseGeometry]:
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
    areas: pd.DataFrame, ratio_xy: tuple[float, float], shape_hw: tuple[int, int], margin_px: float = 0.0
) -> BaseGeometry:
    """Return the ground of a scene on which a find proves nothing, in px of a grid; empty where all is known.

    Args:
        areas: the scene's areas, in native px.
        ratio_xy: native px in a px of the grid.
        shape_hw: of the scene in px of the grid.
        margin_px: an object this far inside unknown ground would still matter.
    """
    by_role = {
        str(role): shapely.union_all(shapely.transform(part["geometry"].to_numpy(object), lambda xy: xy / ratio_xy))
        for role, part in areas.groupby("role")
    }
    free = unjudged(by_role, shapely.box(0, 0, shape_hw[1], shape_hw[0]))[1]
    return free if free.is_empty else free.buffer(margin_px, join_style="mitre")


def silent_cells(silent: BaseGeometry, left: int, top: int, side_px: int, stride_px: int) -> NDArray[np.float64]:
    """Return the centres of a square's windows of 64 px that lie on silent ground, relative to its centre; (n, 2) px.

    Args:
        silent: from `silent_ground`.
        left: of the square, px of the grid.
        top: of the square.
        side_px: of the square.
        stride_px: between windows.
    """
    steps = np.arange(32.0, side_px - 31.0, stride_px)
    x, y = (part.ravel() for part in np.meshgrid(steps, steps))
    inside = shapely.contains_xy(silent, x + left, y + top)
    spots: NDArray[np.float64] = np.stack([x, y], axis=1)[inside] - side_px / 2
    return spots
