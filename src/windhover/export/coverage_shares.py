"""The covered share and area of a raster and of areas of interest, with 95 % intervals.

What a mask covers is counted. The interval holds two kinds of error, and is as wide as both:

* the scores' own: a pixel of score p is of the class with the probability p. Neighbours are right
  or wrong together, so all pixels of a square of `correlation_px` are taken as wholly dependent,
  and squares as independent: the variance of the sum of a square is (sum of sqrt(p (1 - p)))^2.
  The centre is the mean score, which is the expected share;
* the model's, on scenes: the errors of the share that it made on validation scenes, which also show
  what the scores do not know. The centre is the share less their mean, the width Student's.

It holds the share itself too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from windhover.geometry.arrays import Floats
from windhover.geometry.georef import box_sides_m
from windhover.metrics.coverage_curves import MAX_VALUE, UNKNOWN
from windhover.metrics.place_intervals import NORMAL_95, student_quantile

CORRELATION_PX = 64
# with fewer errors of validation scenes their spread is not known
MIN_ERRORS = 3
COLUMNS = (
    "name", "area", "class", "share", "share_low", "share_high", "km2", "km2_known",
)  # fmt: skip


class NamedArea(NamedTuple):
    """A polygon of interest in the map's coordinate system; None for the whole raster."""

    name: str
    shape: BaseGeometry | None


class PixelAreas(NamedTuple):
    """The area of each pixel of a map, as the product of two numbers.

    Attributes:
        rows: (rows,) area of a whole pixel, or 1, times the part of the row that counts.
        cols: (cols,) part of the column that counts, 0..1.
    """

    rows: Floats
    cols: Floats

    @classmethod
    def of_map(
        cls,
        transform: Affine,
        crs: str | None,
        shape_hw: tuple[int, int],
        *,
        is_km2: bool,
        extent_px: tuple[float, float, float, float] | None = None,
    ) -> PixelAreas:
        """Return the areas of a map's pixels, km2 by the middle of their row, or 1 each.

        Args:
            transform: px of the map -> world.
            crs: coordinate system, None for a local grid in metres.
            shape_hw: rows and columns.
            is_km2: whether areas are known.
            extent_px: left, top, right, bottom of what counts, px of the map; None for all.
        """
        left, top, right, bottom = extent_px or (0.0, 0.0, shape_hw[1], shape_hw[0])
        rows = _parts_inside(shape_hw[0], top, bottom)
        if is_km2:
            rows = rows * _pixel_km2_by_row(transform, crs, shape_hw)
        return cls(rows, _parts_inside(shape_hw[1], left, right))

    def of_window(self, window: Any) -> Floats:
        """Return the area of each pixel of a window of rasterio, (rows, cols)."""
        rows = self.rows[window.row_off : window.row_off + window.height]
        cols = self.cols[window.col_off : window.col_off + window.width]
        return np.asarray(rows[:, None] * cols, np.float64)


def _parts_inside(length: int, start: float, stop: float) -> Floats:
    """Return which part of each px (length,) is in [start, stop)."""
    first = np.arange(length, dtype=np.float64)
    inside = np.minimum(first + 1, stop) - np.maximum(first, start)
    parts: Floats = np.clip(inside, 0.0, 1.0)
    return parts


def _pixel_km2_by_row(transform: Affine, crs: str | None, shape_hw: tuple[int, int]) -> Floats:
    """Return the area of a pixel of each row (rows,), km2, in the middle of the row."""
    rows = np.arange(shape_hw[0], dtype=np.float64)
    col = np.full(shape_hw[0], shape_hw[1] / 2)
    boxes = np.stack([col - 0.5, rows, col + 0.5, rows + 1], axis=1)
    return np.asarray(box_sides_m(boxes, transform, crs).prod(axis=1) / 1e6, np.float64)


@dataclass
class CoverageTally:
    """What is counted in one area, over K classes.

    Attributes:
        n_classes: K.
        known: area known, km2 or px.
        covered: (K,) area of each class.
        score_sum: (K,) area times score.
        variance: (K,) of the sum of what is of the class, by its scores.
    """

    n_classes: int
    known: float = 0.0
    covered: Floats = field(default_factory=lambda: np.zeros(0))
    score_sum: Floats = field(default_factory=lambda: np.zeros(0))
    variance: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.covered = np.zeros(self.n_classes)
        self.score_sum = np.zeros(self.n_classes)
        self.variance = np.zeros(self.n_classes)

    def add(
        self,
        values: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        weights: Floats,
        *,
        square_px: int,
    ) -> None:
        """Count a window that begins at a corner of the squares.

        Args:
            values: (K, rows, cols) of a probability map.
            classes: (rows, cols) class map.
            weights: (rows, cols) area of each pixel in the area of interest, else 0.
            square_px: side of the squares.
        """
        weight = np.where(classes == UNKNOWN, 0.0, weights)
        self.known += float(weight.sum())
        rows = np.arange(0, classes.shape[0], square_px)
        cols = np.arange(0, classes.shape[1], square_px)
        for index, plane in enumerate(values):
            score = np.where(plane == UNKNOWN, 0.0, plane / MAX_VALUE)
            self.covered[index] += float(weight[classes == index + 1].sum())
            self.score_sum[index] += float((weight * score).sum())
            deviation = weight * np.sqrt(score * (1 - score))
            sums = np.add.reduceat(np.add.reduceat(deviation, rows, axis=0), cols, axis=1)
            self.variance[index] += float((sums**2).sum())

    def rows(
        self,
        classes: Sequence[str],
        share_errors: Mapping[str, Sequence[float]],
        *,
        is_km2: bool,
    ) -> list[dict[str, Any]]:
        """Return a row for each class; empty cells where nothing is known."""
        rows = []
        for index, name in enumerate(classes):
            row: dict[str, Any] = {"class": name, "share": None, "share_low": None}
            row |= {"share_high": None, "km2": None, "km2_known": None}
            if is_km2:
                row |= {"km2": float(self.covered[index]), "km2_known": self.known}
            if self.known:
                share = min(float(self.covered[index]) / self.known, 1.0)
                low, high = share_interval(
                    share,
                    float(self.score_sum[index]) / self.known,
                    float(np.sqrt(self.variance[index])) / self.known,
                    errors=share_errors.get(name, ()),
                )
                row |= {"share": share, "share_low": low, "share_high": high}
            rows.append(row)
        return rows


def share_interval(
    share: float, expected: float, deviation: float, *, errors: Sequence[float] = ()
) -> tuple[float, float]:
    """Return the 95 % interval of a true share, in 0..1.

    Args:
        share: that the mask covers.
        expected: mean score.
        deviation: standard deviation of the true share by the scores.
        errors: found less true share of validation scenes.
    """
    ends = [share, expected - NORMAL_95 * deviation, expected + NORMAL_95 * deviation]
    known = np.asarray(errors, np.float64)
    known = known[np.isfinite(known)]
    if len(known) >= MIN_ERRORS:
        # of one more scene: its own spread and that of the mean
        spread = float(known.std(ddof=1)) * float(np.sqrt(1 + 1 / len(known)))
        half_width = student_quantile(len(known)) * spread
        ends += [share - known.mean() - half_width, share - known.mean() + half_width]
    low, high = np.clip([min(ends), max(ends)], 0.0, 1.0)
    return float(low), float(high)


def inside_area(area: BaseGeometry, transform: Affine, weights: Floats) -> Floats:
    """Return the area (rows, cols) of each pixel of a window; 0 outside an area of interest.

    Args:
        area: polygon in the map's system; a pixel is in it with its centre.
        transform: px of the window -> world.
        weights: (rows, cols) area of each pixel.
    """
    return np.where(geometry_mask([area], weights.shape, transform), 0.0, weights)


def coverage_rows(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with `COLUMNS`."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name not in ("name", "area", "class")]
    return table.astype(dict.fromkeys(numbers, float))
