"""What stands on one scene, which windows show it, and how rare those are among all windows: the
true prior.

Works in px of the scene seen at one GSD, on the catalog's tables alone: reads no file, chooses no
window. A window's centre is its top-left corner + 32 px.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.geometry.windows import STRIDE_PX, WINDOW_PX

HALF = WINDOW_PX // 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """What stands on one scene, px of the scene at one GSD.

    Attributes:
        centres: (N, 2) x, y of objects.
        sizes: (N, 2) w, h of their boxes; NaN for points.
        classes: (N,) names.
        ignored: (M, 4) boxes that cost nothing, xyxy.
        allowed: where everything is labelled, negatives come from there alone; None for the
            whole scene.
        barred: where no negative may come from; None for nowhere.
    """

    centers: Floats
    sizes: Floats
    classes: NDArray[np.object_]
    ignored: Floats
    allowed: BaseGeometry | None = None
    barred: BaseGeometry | None = None

    def of_class(self, name: str) -> Objects:
        """Return the objects of one class alone; what costs nothing, and where, stays."""
        own = self.classes == name
        return replace(
            self, centers=self.centers[own], sizes=self.sizes[own], classes=self.classes[own]
        )


@dataclass(frozen=True)
class Rule:
    """When a window shows an object: its centre within `positive_px` of the window's; negative
    beyond `ignore_px`.
    """

    positive_px: float
    ignore_px: float
    shape: str

    def measure(self, dx: Floats, dy: Floats) -> Floats:
        """Return the distance that counts."""
        return np.maximum(np.abs(dx), np.abs(dy)) if self.shape == "square" else np.hypot(dx, dy)

    def draw(self, rng: np.random.Generator, count: int, low_px: float, high_px: float) -> Floats:
        """Return (count, 2) shifts, uniform over the ring between two radii."""
        if self.shape == "circle":
            radius = np.sqrt(rng.uniform(low_px**2, high_px**2, count))
            angle = rng.uniform(0, 2 * np.pi, count)
            return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        shifts: Floats = rng.uniform(-high_px, high_px, (count, 2))
        inside = np.abs(shifts).max(axis=1) < low_px
        while inside.any():
            shifts[inside] = rng.uniform(-high_px, high_px, (int(inside.sum()), 2))
            inside = np.abs(shifts).max(axis=1) < low_px
        return shifts


CENTRAL = Rule(
    16.0, 16.0, "square"
)  # an object's centre in the window's central 32 x 32 px, a common older rule


def objects_of(labels: pd.DataFrame, areas: pd.DataFrame, ratio_xy: tuple[float, float]) -> Objects:
    """Return one scene's labels and areas, of the catalog, in px of its grid at another GSD.

    Args:
        labels: of that scene, native px.
        areas: of that scene, native px.
        ratio_xy: native px per px of the grid.
    """
    scale = np.array([*ratio_xy, *ratio_xy])
    boxes = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64).reshape(-1, 4) / scale
    kept = (labels["role"] == "object").to_numpy()
    sizes = boxes[kept, 2:] - boxes[kept, :2]
    sizes[(sizes <= 0).all(axis=1)] = np.nan
    centers = labels[["col", "row"]].to_numpy(np.float64).reshape(-1, 2)[kept] / scale[:2]
    allowed, barred = (
        _area(areas, roles, scale[:2]) for roles in (("complete",), ("positive_only", "ignore"))
    )
    return Objects(
        centers, sizes, labels["class"].to_numpy(object)[kept], boxes[~kept], allowed, barred
    )


def _area(areas: pd.DataFrame, roles: tuple[str, ...], scale_xy: Floats) -> BaseGeometry | None:
    """Return the union of the areas of some roles in px of a grid, None where there is none."""
    shapes = areas.loc[areas["role"].isin(roles), "geometry"].to_numpy()
    if not len(shapes):
        return None
    return shapely.transform(shapely.union_all(shapes), lambda points: points / scale_xy)


def count_positive_windows(
    shape_hw: tuple[int, int], objects: Objects, rule: Rule
) -> tuple[int, int]:
    """Return how many windows at stride 8 show an object, and how many there are: the true prior.

    Only windows whose centre lies where everything is labelled are counted.

    Args:
        shape_hw: of the scene at the training GSD.
        objects: on the scene.
        rule: its positive radius says which windows show an object.
    """
    rows, cols = (max((length - WINDOW_PX) // STRIDE_PX + 1, 0) for length in shape_hw)
    if not (rows and cols):
        return 0, 0
    if not len(objects.centers):
        return 0, int(_judged_windows(rows, cols, objects).sum())
    reach = int(np.ceil(rule.positive_px / STRIDE_PX)) + 1
    near = np.floor((objects.centers - HALF) / STRIDE_PX).astype(np.int64)
    steps = np.stack(
        np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1)), axis=-1
    ).reshape(-1, 2)
    cells = near[:, None] + steps[None]
    offset = objects.centers[:, None] - (cells * STRIDE_PX + HALF)
    hit = (
        (rule.measure(offset[..., 0], offset[..., 1]) <= rule.positive_px)
        & (cells >= 0).all(-1)
        & (cells < [cols, rows]).all(-1)
    )
    shown = np.unique(cells[hit] @ np.array([1, cols]))
    if objects.allowed is None and objects.barred is None:
        return len(shown), rows * cols
    judged = _judged_windows(rows, cols, objects)
    return int(judged[shown].sum()), int(judged.sum())


def _judged_windows(rows: int, cols: int, objects: Objects) -> NDArray[np.bool_]:
    """Tell which windows at stride 8, in reading order, have their centre where everything is
    labelled.
    """
    judged = np.ones((rows, cols), bool)
    x = np.arange(cols) * STRIDE_PX + HALF
    for row in range(rows):
        y = np.full(cols, row * STRIDE_PX + HALF)
        if objects.allowed is not None:
            judged[row] &= shapely.contains_xy(objects.allowed, x, y)
        if objects.barred is not None:
            judged[row] &= ~shapely.contains_xy(objects.barred, x, y)
    return judged.ravel()
