"""Which of a file's overviews a coarser pass may be read from: one that holds the means of the
raster's own pixels.

Overviews are made by whoever made the file, by averaging or by picking pixels, sometimes from other
data, and few files say how. So an overview is judged by its pixels, at places all over what is
searched, and not by what is said of it. Knows neither passes nor networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from windhover.errors import FormatError
from windhover.imagery.jpeg import read_whole
from windhover.imagery.rasters import SceneInfo, opened, overview_info
from windhover.imagery.resample import snap_ratio
from windhover.imagery.scenes import Scene

LEAST_SCALE = 2.0  # passes at finer scales are always read from the raster itself
PLACE_PX, PLACES = (
    32,
    (0.125, 0.375, 0.625, 0.875),
)  # side of a place, and where they lie along each axis
TOLERANCE = (
    0.1  # rms difference in units of the contrast; what it means for scores stands in decision 0011
)
WHOLE = (0.0, 0.0, 1.0, 1.0)
ROUNDING = 1.0  # two roundings to whole numbers lie at most this far apart


def coarser(
    scene: Scene, scale: float, part_xyxy: tuple[float, float, float, float] = WHOLE
) -> Scene:
    """Return a scene on a grid `scale` times as coarse, read from the coarsest overview that shows
    the raster's means.

    Where none does, or the scale is below 2, it is read from the raster itself. Where a whole
    number of an overview's px is within 1 % of the wanted px, that is the grid's px: no px of the
    overview is then divided.

    Args:
        scene: at the training GSD.
        scale: in units of its px.
        part_xyxy: shares of its width and height within which the overviews are judged.
    """
    wanted = scene.ratio_xy[0] * scale, scene.ratio_xy[1] * scale
    for number, own in _ratios(scene.info) if scale >= LEAST_SCALE else ():
        ratio_xy = _whole(wanted[0], own[0]), _whole(wanted[1], own[1])
        if ratio_xy[0] < own[0] or ratio_xy[1] < own[1]:
            continue
        try:
            with scene.on_grid(ratio_xy) as plain, scene.on_grid(ratio_xy, number) as seen:
                same = same_pixels(plain, seen, part_xyxy)
        except (
            FormatError
        ):  # a damaged overview, or raster: the search will say where it cannot be read
            continue
        if same:
            return scene.on_grid(ratio_xy, number)
    return scene.on_grid(wanted)


def _whole(wanted: float, own: float) -> float:
    """Return the whole multiple of an overview's px that is within 1 % of the wanted px, else the
    wanted px.
    """
    whole = own * max(round(wanted / own), 1)
    return whole * snap_ratio(wanted / whole)


def _ratios(info: SceneInfo) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield each overview's number and how many px of the raster one of its px covers, coarsest
    first.
    """
    with opened(info.path) as dataset:
        factors = [] if read_whole(dataset) else dataset.overviews(1)
    for number in sorted(range(len(factors)), key=factors.__getitem__, reverse=True):
        own = overview_info(info, number)
        yield number, (info.width_px / own.width_px, info.height_px / own.height_px)


def same_pixels(
    one: Scene, other: Scene, part_xyxy: tuple[float, float, float, float] = WHOLE
) -> bool:
    """Tell whether two scenes of one grid show the same picture, as far as places all over a part
    of it can tell.

    Raises:
        FormatError: a place cannot be read.
    """
    difference = contrast = 0.0
    lost = looked_at = 0
    (height, width), rounding = one.shape_hw, 0.0 if one.dtype.kind == "f" else ROUNDING
    left, top, right, bottom = np.clip(part_xyxy, 0, 1) * (width, height, width, height)
    for down, along in itertools.product(PLACES, PLACES):
        row = max(int(top + down * (bottom - top)) - PLACE_PX // 2, 0)
        col = max(int(left + along * (right - left)) - PLACE_PX // 2, 0)
        place = row, col, min(PLACE_PX, height - row), min(PLACE_PX, width - col)
        (a, seen), (b, seen_too) = one.read(*place), other.read(*place)
        both = seen & seen_too
        lost, looked_at = lost + int((seen != seen_too).sum()), looked_at + seen.size
        if both.any():
            first, second = a[:, both].astype(np.float64), b[:, both].astype(np.float64)
            apart = np.maximum(np.abs(first - second) - rounding, 0)
            difference += float((apart**2).sum())
            contrast += float(((first - first.mean(axis=1, keepdims=True)) ** 2).sum())
    return contrast > 0 and difference <= TOLERANCE**2 * contrast and lost <= TOLERANCE * looked_at
