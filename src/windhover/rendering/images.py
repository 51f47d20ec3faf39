"""Pictures for people: three bands as RGB bytes, boxes and crosses, thumbnails of scenes.

One stretch serves every picture. Nothing here is learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from windhover.imagery.rasters import SceneInfo, open_raster
from windhover.imagery.scenes import Scene

Color: TypeAlias = tuple[int, int, int]
Corners: TypeAlias = tuple[float, float, float, float]

RGB_NAMES = (("red", "green", "blue"), ("B04", "B03", "B02"))
# Small bright objects matter most: a narrower range would saturate them.
STRETCH_PERCENTILES = (1.0, 99.0)
NODATA_GRAY = 40
SMALLEST_BOX_PX = 3.0
CROSS_ARM_PX = 3


def rgb_bands(n_bands: int, names: Sequence[str]) -> list[int]:
    """Return the indices of the three bands to show as red, green and blue.

    Args:
        n_bands: number of bands of the picture.
        names: names of its bands, where they are known.

    Returns:
        the bands named red, green and blue; else the first three; else the first one three times.
    """
    for wanted in RGB_NAMES:
        if set(wanted) <= set(names):
            return [list(names).index(name) for name in wanted]
    return [0, 1, 2] if n_bands >= 3 else [0, 0, 0]


def stretch_range(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Return the values to show as black and white: 0 and 255 for bytes, else two percentiles.

    All bands share one range, which keeps their balance of color. Pixels without data are not
    counted: a black border would otherwise wash out the rest.

    Args:
        pixels: (..., C) of any type.
        valid: (...) where there is data; by default where a band is not 0 and all are finite.
    """
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    finite = np.isfinite(pixels).all(axis=-1)
    if valid is None:
        valid = (pixels != 0).any(axis=-1)
    values = pixels[finite & valid].astype(np.float64)
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, STRETCH_PERCENTILES)
    return float(low), float(high)


def to_bytes(pixels: NDArray[Any], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Return pixels as bytes of the same shape: a range of values stretched to 0..255, clipped."""
    low, high = value_range
    shares = (np.nan_to_num(pixels.astype(np.float64)) - low) / max(high - low, 1e-12)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def to_rgb(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None, band_names: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Return (H, W, 3) bytes of a picture: bytes as they are, other types stretched.

    Args:
        pixels: (C, H, W) of any type.
        valid: (H, W) where there is data; the rest becomes dark gray.
        band_names: C names, where they are known.
    """
    bands = rgb_bands(len(pixels), band_names)
    picture = pixels[bands].transpose(1, 2, 0)  # (H, W, 3)
    rgb = to_bytes(picture, stretch_range(picture, valid))
    if valid is not None:
        rgb[~valid] = NODATA_GRAY
    return np.ascontiguousarray(rgb)


def evenly_chosen(length: int, count: int) -> NDArray[np.int64]:
    """Return the indices of at most `count` of `length` rows, evenly spaced, rising."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)


def draw_box(
    draw: ImageDraw.ImageDraw,
    box_xyxy: Sequence[float],
    color: Color,
    *,
    within: Corners | None = None,
) -> None:
    """Draw the outline of a box; a small one is grown to 3 px to be seen, NaN draws nothing.

    Args:
        draw: of the picture.
        box_xyxy: left, top, right, bottom, px of the picture.
        color: RGB.
        within: left, top, right, bottom, px: what reaches farther is clipped.
    """
    low, high = np.asarray(box_xyxy, np.float64).reshape(2, 2)
    growth = max(float(SMALLEST_BOX_PX - (high - low).min()), 0.0) / 2
    low = low - growth
    high = high + growth
    if within is not None:
        low = np.maximum(low, within[:2])
        high = np.minimum(high, within[2:])
    if (low < high).all():
        draw.rectangle((*low, *high), outline=color)


def draw_cross(draw: ImageDraw.ImageDraw, x: float, y: float, *, color: Color) -> None:
    """Draw a small upright cross around a point, px of the picture."""
    draw.line((x - CROSS_ARM_PX, y, x + CROSS_ARM_PX, y), fill=color)
    draw.line((x, y - CROSS_ARM_PX, x, y + CROSS_ARM_PX), fill=color)


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a part of a scene.

    Attributes:
        image: (S, S, 3).
        left: of its first column, scene px.
        top: of its first row, scene px.
    """

    image: NDArray[np.uint8]
    left: int
    top: int


def thumbnail_around(scene: Scene, center_xy: tuple[float, float], side_px: int) -> Thumbnail:
    """Return a square part of a scene as a picture.

    Args:
        scene: to read from.
        center_xy: x, y of the middle, scene px. Near a border the square is moved into the scene,
            because surroundings are worth more than missing pixels.
        side_px: of the square.
    """
    height, width = scene.shape_hw
    left = _first_px(center_xy[0], side_px, width)
    top = _first_px(center_xy[1], side_px, height)
    pixels, valid = scene.read(top, left, side_px, side_px)
    return Thumbnail(to_rgb(pixels, valid, scene.bands), left, top)


def _first_px(center: float, side_px: int, length_px: int) -> int:
    return int(np.clip(center - side_px / 2, 0, max(length_px - side_px, 0)))


def scene_overview(info: SceneInfo, longest_px: int) -> tuple[Image.Image, float]:
    """Return the whole scene as a small picture, and its px per native px.

    Args:
        info: of the scene; its overviews are used where it has any.
        longest_px: the longer side of the picture; a smaller scene keeps its size.
    """
    scale = min(longest_px / max(info.width_px, info.height_px), 1.0)
    height = max(round(info.height_px * scale), 1)
    width = max(round(info.width_px * scale), 1)
    bands = rgb_bands(len(info.bands), info.bands)
    with open_raster(info.path) as dataset:
        indexes = [band + 1 for band in bands]  # GDAL counts from 1
        pixels = dataset.read(indexes, out_shape=(len(indexes), height, width))
    return Image.fromarray(to_rgb(pixels)), scale
