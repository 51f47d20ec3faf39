"""Pictures for the map page: one overlay a scene, and chips of detections, as data URIs.

Their number and size are bounded, so that a page opens. Rasters on servers are not read.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import calculate_default_transform, reproject
from rasterio.windows import Window

from windhover.errors import DataError
from windhover.export.detection_summary import SceneSummary
from windhover.export.map_layout import HALF_TURN, WEB_MERCATOR, Placement
from windhover.geometry.georef import same_crs
from windhover.imagery.band_names import band_names
from windhover.imagery.rasters import open_raster
from windhover.rendering.images import rgb_bands, stretch_range, to_bytes

# Web Mercator whose middle is the antimeridian
MERCATOR_FROM_180 = "+proj=merc +a=6378137 +b=6378137 +lon_0=180 +units=m +nadgrids=@null +no_defs"
OVERLAY_PX = 24_000_000  # of all overlays together
MAX_SIDE_PX = 2048
MIN_SIDE_PX = 256
OVERLAY_QUALITY = 62
CHIP_PX = 112
CHIP_SIDES = 2.5  # longer sides of the object that a chip shows
MIN_CHIP_SOURCE_PX = 40
CHIP_QUALITY = 78
OPAQUE = 255


class Overlay(NamedTuple):
    """A scene's picture on the map.

    Attributes:
        data_uri: of the file.
        bounds: left, bottom, right, top on the map, metres.
        value_range: shown as black and white.
    """

    data_uri: str
    bounds: list[float]
    value_range: tuple[float, float]


def side_of_overlays(n_scenes: int) -> int:
    """Return the longest side in px that each of some overlays may have."""
    return int(np.clip((OVERLAY_PX / max(n_scenes, 1)) ** 0.5, MIN_SIDE_PX, MAX_SIDE_PX))


@contextmanager
def _opened(scene: SceneSummary) -> Iterator[Any]:
    """Yield a scene's raster.

    Raises:
        DataError: it is on a server, or is not the one that was searched.
        MissingFileError, FormatError: it cannot be read.
    """
    is_in_memory = scene.path.startswith("/vsimem/")
    if "://" in scene.path or (scene.path.startswith("/vsi") and not is_in_memory):
        raise DataError(f"{scene.path}: is on a server. Copy it here.")
    with open_raster(scene.path) as dataset:
        if (dataset.width, dataset.height) != (scene.width_px, scene.height_px):
            raise DataError(
                f"{scene.path}: has {dataset.width} x {dataset.height} px, and had "
                f"{scene.width_px} x {scene.height_px} when it was searched. Search it again."
            )
        yield dataset


def read_overlay(place: Placement, side_px: int) -> Overlay:
    """Return a scene's picture, its longest side `side_px` at most.

    Raises:
        WindhoverError: the raster is not there, or cannot be read.
    """
    scene = place.scene
    shrink = min(1.0, side_px / max(scene.width_px, scene.height_px))
    height = max(1, round(scene.height_px * shrink))
    width = max(1, round(scene.width_px * shrink))
    with _opened(scene) as dataset:
        bands = _shown_bands(dataset)
        shape = (height, width)
        pixels = dataset.read(bands, out_shape=(3, *shape), resampling=Resampling.average)
        mask = dataset.dataset_mask(out_shape=shape)
    valid = (mask > 0) & np.isfinite(pixels).all(axis=0)
    picture = pixels.transpose(1, 2, 0)  # (H, W, 3)
    value_range = stretch_range(picture, valid)
    rgba = np.dstack([to_bytes(picture, value_range), np.where(valid, OPAQUE, 0).astype(np.uint8)])
    if scene.crs is None:
        return Overlay(_webp(rgba), place.bounds, value_range)
    px_scale = Affine.scale(scene.width_px / width, scene.height_px / height)
    warped, bounds = _on_web_mercator(rgba, scene.affine @ px_scale, place)
    return Overlay(_webp(warped), bounds, value_range)


def _shown_bands(dataset: Any) -> list[int]:
    """Return the numbers of the three bands shown as red, green and blue."""
    indexes = [
        index
        for index, color in enumerate(dataset.colorinterp, 1)
        if color != ColorInterp.alpha or dataset.count == 1
    ]
    return [indexes[band] for band in rgb_bands(len(indexes), band_names(dataset, indexes))]


def _on_web_mercator(
    rgba: NDArray[np.uint8], transform: Affine, place: Placement
) -> tuple[NDArray[np.uint8], list[float]]:
    """Return a picture (H, W, 4) in Web Mercator, and its bounds there.

    Where the scene crosses the antimeridian, x goes on beyond it, as `Placement.to_map` has it.

    Raises:
        DataError: GDAL finds no place of the scene there.
    """
    height, width = rgba.shape[:2]
    system, shift_x = _system_around(place)
    try:
        target, out_width, out_height = calculate_default_transform(
            place.scene.crs, system, width, height, *array_bounds(height, width, transform)
        )
        warped = np.zeros((4, out_height, out_width), np.uint8)
        reproject(
            np.ascontiguousarray(rgba.transpose(2, 0, 1)),
            warped,
            src_transform=transform,
            src_crs=place.scene.crs,
            dst_transform=target,
            dst_crs=system,
            resampling=Resampling.bilinear,
        )
    except RasterioError as error:
        raise DataError(
            f"{place.scene.path}: cannot be drawn on a map in Web Mercator ({error}). "
            "Open the result in a GIS."
        ) from None
    left, bottom, right, top = array_bounds(out_height, out_width, target)
    return warped.transpose(1, 2, 0), [left + shift_x, bottom, right + shift_x, top]


def _system_around(place: Placement) -> tuple[str, float]:
    """Return Web Mercator in which a scene is whole, and what to add to its x.

    The usual one ends at the antimeridian: a scene across it would be as wide as the Earth.
    """
    left, _, right, _ = place.bounds
    if same_crs(str(place.scene.crs), WEB_MERCATOR):
        return WEB_MERCATOR, 0.0
    if right > HALF_TURN:
        return MERCATOR_FROM_180, HALF_TURN
    if left < -HALF_TURN:
        return MERCATOR_FROM_180, -HALF_TURN
    return WEB_MERCATOR, 0.0


def read_chips(
    scene: SceneSummary,
    centers_px: Sequence[tuple[float, float]],
    sides_px: Sequence[float],
    value_range: tuple[float, float],
) -> list[str]:
    """Return pictures about detections, each a square with the object in the middle.

    Args:
        scene: that they are in.
        centers_px: columns and rows in the raster as delivered.
        sides_px: longer sides of the objects.
        value_range: shown as black and white.

    Raises:
        WindhoverError: the raster is not there, or cannot be read.
    """
    chips = []
    # the file of a spatial block holds the block alone
    first_col, first_row = scene.origin_px
    with _opened(scene) as dataset:
        bands = _shown_bands(dataset)
        for (col, row), side in zip(centers_px, sides_px, strict=True):
            size = max(MIN_CHIP_SOURCE_PX, round(CHIP_SIDES * side))
            left = round(col - first_col - size / 2)
            top = round(row - first_row - size / 2)
            window = Window(left, top, size, size).intersection(
                Window(0, 0, dataset.width, dataset.height)
            )
            out_shape = (3, min(int(window.height), CHIP_PX), min(int(window.width), CHIP_PX))
            pixels = dataset.read(
                bands, window=window, out_shape=out_shape, resampling=Resampling.average
            )
            share = CHIP_PX / size
            picture = Image.fromarray(to_bytes(pixels.transpose(1, 2, 0), value_range))
            shown = (max(1, round(window.width * share)), max(1, round(window.height * share)))
            chip = Image.new("RGB", (CHIP_PX, CHIP_PX), (40, 40, 40))
            offset = (
                round((window.col_off - left) * share),
                round((window.row_off - top) * share),
            )
            chip.paste(picture.resize(shown, Image.Resampling.BICUBIC), offset)
            chips.append(_data_uri(chip, "jpeg", quality=CHIP_QUALITY))
    return chips


def _webp(rgba: NDArray[np.uint8]) -> str:
    return _data_uri(Image.fromarray(rgba, "RGBA"), "webp", quality=OVERLAY_QUALITY, method=4)


def _data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """Return a picture as the address that a page shows it by."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
