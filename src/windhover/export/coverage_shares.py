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


def pixel_km2_by_row(transform: Affine, crs: str | None, shape_hw: tuple[int, int]) -> Floats:
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


def area_weights(
    area: BaseGeometry | None, transform: Affine, row_weights: Floats, n_cols: int
) -> Floats:
    """Return the area (rows, cols) of each pixel of a window; 0 outside an area of interest.

    Args:
        area: polygon in the map's system; a pixel is in it with its centre. None for all pixels.
        transform: px of the window -> world.
        row_weights: (rows,) area of a pixel in each row.
        n_cols: columns of the window.
    """
    weights = np.repeat(row_weights[:, None], n_cols, axis=1)
    if area is not None:
        weights[geometry_mask([area], weights.shape, transform)] = 0.0
    return weights


def coverage_rows(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with `COLUMNS`."""
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name not in ("name", "area", "class")]
    return table.astype(dict.fromkeys(numbers, float))
