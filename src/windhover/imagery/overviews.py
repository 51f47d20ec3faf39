"""Which of a file's overviews a coarser pass may be read from: one of means of the raster's pixels.

Overviews are made by whoever made the file, by averaging or by picking pixels, sometimes from other
data, and few files record how. So an overview is judged by its pixels, at samples all over the area
that is searched. It knows neither passes nor networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from windhover.errors import FormatError
from windhover.geometry.windows import Window
from windhover.imagery.jpeg import can_decode_whole
from windhover.imagery.rasters import SceneInfo, open_raster, overview_info
from windhover.imagery.resample import snap_ratio
from windhover.imagery.scenes import Scene

MIN_OVERVIEW_SCALE = 2.0  # passes at finer scales are always read from the raster itself
SAMPLE_PX = 32  # side of a sample
SAMPLE_POSITIONS = (0.125, 0.375, 0.625, 0.875)  # of the samples along each axis of the area
# rms difference in units of the contrast; docs/decisions/0011 has what it means for scores
TOLERANCE = 0.1
FULL_EXTENT = (0.0, 0.0, 1.0, 1.0)
ROUNDING = 1.0  # two values rounded to whole numbers differ by at most this


def downsampled_scene(
    scene: Scene, scale: float, extent_xyxy: tuple[float, float, float, float] = FULL_EXTENT
) -> Scene:
    """Return a scene on a grid `scale` times as coarse, from an overview where one may be used.

    That is the coarsest overview that shows the raster's means; without one, or at scales below 2,
    the raster itself is read. Where a whole number of an overview's px is within 1 % of the wanted
    px, that is the grid's px: no px of the overview is then divided.

    Args:
        scene: at the training GSD.
        scale: in units of its px.
        extent_xyxy: left, top, right, bottom as fractions of its width and height, within which
            the overviews are judged.
    """
    wanted_xy = (scene.ratio_xy[0] * scale, scene.ratio_xy[1] * scale)
    if scale < MIN_OVERVIEW_SCALE:
        return scene.on_grid(wanted_xy)
    for overview, factor_xy in _overview_factors(scene.info):
        ratio_xy = (
            _snap_to_multiple(wanted_xy[0], factor_xy[0]),
            _snap_to_multiple(wanted_xy[1], factor_xy[1]),
        )
        if ratio_xy[0] < factor_xy[0] or ratio_xy[1] < factor_xy[1]:
            continue
        if _overview_shows_means(scene, overview, ratio_xy, extent_xyxy=extent_xyxy):
            return scene.on_grid(ratio_xy, overview)
    return scene.on_grid(wanted_xy)


def _overview_shows_means(
    scene: Scene,
    overview: int,
    ratio_xy: tuple[float, float],
    *,
    extent_xyxy: tuple[float, float, float, float],
) -> bool:
    """Return whether an overview shows the raster's means; a damaged one, or raster, does not."""
    try:
        with scene.on_grid(ratio_xy) as plain, scene.on_grid(ratio_xy, overview) as reduced:
            return have_same_pixels(plain, reduced, extent_xyxy)
    except FormatError:  # the search will report where the raster cannot be read
        return False


def _snap_to_multiple(wanted: float, factor: float) -> float:
    """Return the multiple of an overview's px within 1 % of the wanted px, else the wanted px."""
    multiple = factor * max(round(wanted / factor), 1)
    return multiple * snap_ratio(wanted / multiple)


def _overview_factors(info: SceneInfo) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield each overview's number and the raster's px in one of its px, coarsest first."""
    with open_raster(info.path) as dataset:
        factors = [] if can_decode_whole(dataset) else dataset.overviews(1)
    for number in sorted(range(len(factors)), key=factors.__getitem__, reverse=True):
        overview = overview_info(info, number)
        yield number, (info.width_px / overview.width_px, info.height_px / overview.height_px)


def have_same_pixels(
    scene: Scene, other: Scene, extent_xyxy: tuple[float, float, float, float] = FULL_EXTENT
) -> bool:
    """Return whether samples of two scenes of one grid show the same within the tolerance.

    Args:
        scene: the one that the contrast is measured on.
        other: the other.
        extent_xyxy: left, top, right, bottom as fractions of width and height, to be sampled.

    Raises:
        FormatError: a sample cannot be read.
    """
    difference = 0.0
    contrast = 0.0
    n_valid_in_one = 0
    n_px = 0
    rounding = 0.0 if scene.dtype.kind == "f" else ROUNDING
    for window in _sample_windows(scene.shape_hw, extent_xyxy):
        pixels, valid = scene.read(*window)
        other_pixels, other_valid = other.read(*window)
        n_valid_in_one += int((valid != other_valid).sum())
        n_px += valid.size
        both = valid & other_valid
        if both.any():
            values = pixels[:, both].astype(np.float64)
            other_values = other_pixels[:, both].astype(np.float64)
            error = np.maximum(np.abs(values - other_values) - rounding, 0)
            difference += float((error**2).sum())
            contrast += float(((values - values.mean(axis=1, keepdims=True)) ** 2).sum())
    is_close = difference <= TOLERANCE**2 * contrast
    return contrast > 0 and is_close and n_valid_in_one <= TOLERANCE * n_px


def _sample_windows(
    shape_hw: tuple[int, int], extent_xyxy: tuple[float, float, float, float]
) -> Iterator[Window]:
    """Yield small windows all over an extent."""
    height, width = shape_hw
    left, top, right, bottom = np.clip(extent_xyxy, 0, 1) * (width, height, width, height)
    for down, along in itertools.product(SAMPLE_POSITIONS, SAMPLE_POSITIONS):
        row = max(int(top + down * (bottom - top)) - SAMPLE_PX // 2, 0)
        col = max(int(left + along * (right - left)) - SAMPLE_PX // 2, 0)
        yield Window(row, col, min(SAMPLE_PX, height - row), min(SAMPLE_PX, width - col))
