"""The grid at which a raster is read: its px, and which native px each of them covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.geometry.windows import Bounds
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.resample import (
    axis_weights,
    exact_ratio,
    resample_block,
    snap_ratio,
    source_span,
    target_length,
)


class Pixels(NamedTuple):
    """A block of pixels.

    Attributes:
        array: (C, H, W), 0 where invalid.
        valid: (H, W) True where valid.
    """

    array: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class SceneGrid:
    """A grid that begins at the raster's corner.

    Attributes:
        info: the raster.
        source: what is read: the raster, or one of its overviews.
        ratio_xy: native px in a px of the grid, along a row and down a column.
    """

    info: SceneInfo
    source: SceneInfo
    ratio_xy: tuple[float, float]

    @cached_property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        ratio_x, ratio_y = self.ratio_xy
        height = target_length(self.info.height_px, ratio_y)
        return height, target_length(self.info.width_px, ratio_x)

    @property
    def transform(self) -> Affine:
        """Px of the grid -> map."""
        native = self.info.transform
        x, y = self.ratio_xy
        return Affine(native.a * x, native.b * y, native.c, native.d * x, native.e * y, native.f)

    @property
    def gsd_m(self) -> tuple[float, float]:
        """Metres per px of the grid, along a row and down a column."""
        ratio_x, ratio_y = self.ratio_xy
        return self.info.gsd_m[0] * ratio_x, self.info.gsd_m[1] * ratio_y

    @cached_property
    def source_ratio_xy(self) -> tuple[float, float]:
        """Px of the source in a px of the grid, along a row and down a column."""
        ratio_x, ratio_y = self.ratio_xy
        reduction_x = self.source.width_px / self.info.width_px
        reduction_y = self.source.height_px / self.info.height_px
        return exact_ratio(ratio_x * reduction_x), exact_ratio(ratio_y * reduction_y)

    @property
    def file_block_hw(self) -> tuple[float, float]:
        """Rows and columns of the source's blocks, px of the grid."""
        ratio_x, ratio_y = self.source_ratio_xy
        height, width = self.source.file_block_hw
        return height / ratio_y, width / ratio_x

    def source_bounds(self, bounds: Bounds) -> Bounds:
        """Return the px of the source that a block of the grid depends on; may leave the source."""
        ratio_x, ratio_y = self.source_ratio_xy
        top, bottom = source_span(bounds.top, bounds.bottom, ratio_y)
        left, right = source_span(bounds.left, bounds.right, ratio_x)
        return Bounds(top=top, bottom=bottom, left=left, right=right)

    def resample(self, bounds: Bounds, source: Pixels) -> Pixels:
        """Return a block of the grid from the source's px of `source_bounds`."""
        ratio_x, ratio_y = self.source_ratio_xy
        if ratio_x == 1.0 and ratio_y == 1.0:
            return source
        rows = None
        cols = None
        if ratio_y != 1.0:
            rows = axis_weights(bounds.top, bounds.bottom, ratio_y, self.source.height_px)
        if ratio_x != 1.0:
            cols = axis_weights(bounds.left, bounds.right, ratio_x, self.source.width_px)
        return Pixels(*resample_block(source.array, source.valid, rows, cols=cols))


def ratio_for_gsd(info: SceneInfo, target_gsd_m: float | None) -> tuple[float, float]:
    """Return native px in a px of a GSD, along a row and down a column; 1 within 1 % of the own.

    Args:
        info: the raster.
        target_gsd_m: metres per px, None for the raster's own.

    Raises:
        ParameterError: it is not positive.
    """
    if target_gsd_m is None:
        return 1.0, 1.0
    if not (math.isfinite(target_gsd_m) and target_gsd_m > 0):
        raise ParameterError(
            f"`target_gsd_m` must be positive, got {target_gsd_m} m. Give metres per pixel."
        )
    gsd_x_m, gsd_y_m = info.gsd_m
    return snap_ratio(target_gsd_m / gsd_x_m), snap_ratio(target_gsd_m / gsd_y_m)
