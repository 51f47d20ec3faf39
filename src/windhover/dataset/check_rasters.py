"""Check of the rasters before anything is built on them: readable pixels, common bands and type."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.catalog_report import PixelShares
from windhover.dataset.discover import rename_in_errors
from windhover.errors import DataError
from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.integrity import check_deflate_checksums, gdal_warnings_as_errors
from windhover.imagery.rasters import SceneInfo, band_aliases
from windhover.imagery.scene_grid import Pixels
from windhover.imagery.scenes import Scene
from windhover.progress import track

# rasters up to this are read whole once, larger ones in small windows on a grid
MAX_WHOLE_PX = 32_000_000
SAMPLE_PX = WINDOW_PX  # side of such a window
N_SAMPLES = 12  # of them along each side of the raster
SHARE_DIGITS = 4
MAX_RANKED_PX = 4_000_000  # of a part, whose values are compared; of more, every second, third, ...
FILL_SHARE = 0.01  # of a part's pixels that have a value, from which it may mean missing ones


class _Shares(NamedTuple):
    """Shares of the pixels of one reading."""

    valid: float
    black: float  # valid and 0 in every band


class _Extremes(NamedTuple):
    """The valid values of a raster that are farthest out, and how its pixels reach them.

    Attributes:
        low: (C,) lowest value.
        high: (C,) highest value.
        fill: value that many pixels have in every band, far from all others; None for none.
    """

    low: Floats
    high: Floats
    fill: float | None


def check_pixels(
    infos: Iterable[SceneInfo], current_paths: Mapping[str, Path] | None = None
) -> dict[str, PixelShares]:
    """Read every raster once, so that a damaged one is known now and not in training.

    Large ones are read at their corners and in small windows on a regular grid; the shares are
    those of the grid.

    Args:
        infos: the scenes.
        current_paths: scene -> where its file is for now, where that is not its path.

    Returns:
        By scene, the shares of the pixels read that are valid, and that are black in every band,
        and a note on values that are no picture.

    Raises:
        FormatError: a raster cannot be read; names the file and where.
    """
    infos = list(infos)
    current_paths = current_paths or {}
    shares = {}
    for info in track(infos, "checking rasters", len(infos)):
        path = str(current_paths.get(info.name, info.path))
        shown = info.path
        if info.name in current_paths:
            shown = f"scene {info.name}"
        with rename_in_errors(path, shown):
            shares[info.name] = _check_raster(replace(info, path=path), shown)
    return shares


def _check_raster(info: SceneInfo, shown: str) -> PixelShares:
    """Read one raster; return the shares of its pixels.

    Args:
        info: of the raster.
        shown: name of the raster in errors.
    """
    is_sampled = info.width_px * info.height_px > MAX_WHOLE_PX
    with Scene(info, force_gdal=True) as scene:
        with gdal_warnings_as_errors(shown):
            if is_sampled:
                readings = _read_samples(scene)
            else:
                readings = [scene.read(0, 0, *scene.shape_hw)]
        if not is_sampled:
            check_deflate_checksums(info.path)
    shares = [_shares_of(pixels.array, pixels.valid) for pixels in readings]
    mean_valid, mean_black = np.mean(shares, axis=0).tolist()
    valid = round(mean_valid, SHARE_DIGITS)
    if mean_valid < 1:  # 1 is "all of them"
        valid = min(valid, round(1 - 10**-SHARE_DIGITS, SHARE_DIGITS))
    black = round(mean_black, SHARE_DIGITS)
    note = _note_on_values(readings, info.bands)
    return PixelShares(valid=valid, black=black, sampled=is_sampled, note=note)


def _note_on_values(readings: list[Pixels], bands: tuple[str, ...]) -> str | None:
    """Return a sentence on bands of one value, or on a value that may mean missing pixels.

    Args:
        readings: parts of a raster.
        bands: names of its bands.
    """
    found = [one for one in map(_extremes, readings) if one is not None]
    if not found:
        return None
    low = np.min([one.low for one in found], axis=0)
    high = np.max([one.high for one in found], axis=0)
    constant = [f"{name} ({value:g})" for name, value in zip(bands, low, strict=True)]
    constant = [text for text, same in zip(constant, low == high, strict=True) if same]
    if constant:
        whole = len(constant) == len(bands)
        return (
            f"{'every band has' if whole else 'has bands of'} one value everywhere: "
            f"{', '.join(constant)}. Is it the right file?"
        )
    fills = {one.fill for one in found} - {None}
    if len(fills) != 1:
        return None
    return (
        f"many pixels are {fills.pop():g} in every band, far from all other values: if they are "
        "missing, say so with gdal_edit.py -a_nodata"
    )


def _extremes(pixels: Pixels) -> _Extremes | None:
    """Return the extremes of a part of a raster, None where it has no valid pixels."""
    array, valid = pixels
    step = -(-valid.size // MAX_RANKED_PX)
    is_valid = valid.ravel()[::step]
    values = array.reshape(len(array), -1)[:, ::step]
    if not is_valid.all():
        values = values[:, is_valid]
    if not values.size:
        return None
    low = values.min(axis=1)
    high = values.max(axis=1)
    fill = None
    for extremes in (low, high):
        value = extremes[0]
        if value == 0 or not (extremes == value).all():  # black is told by its share
            continue
        is_fill = (values == value).all(axis=0)
        if not FILL_SHARE <= is_fill.mean() < 1:
            continue
        rest = values[:, ~is_fill].astype(np.float64)  # a copy, made where something is odd alone
        gap = min(abs(rest.min() - float(value)), abs(rest.max() - float(value)))
        if 0 < np.ptp(rest) < gap:
            fill = float(value)
    return _Extremes(low.astype(np.float64), high.astype(np.float64), fill)


def _read_samples(scene: Scene) -> list[Pixels]:
    """Return the pixels of each window of the grid; reads the corners too.

    A file that was cut short lacks the last corner.
    """
    height, width = (min(length, SAMPLE_PX) for length in scene.shape_hw)
    for row in (0, scene.shape_hw[0] - height):
        for col in (0, scene.shape_hw[1] - width):
            scene.read(row, col, height, width)
    rows, cols = (_sample_starts(length) for length in scene.shape_hw)
    corners = itertools.product(rows, cols)
    return [scene.read(row, col, height, width) for row, col in corners]


def _sample_starts(length: int) -> list[int]:
    """Return where windows begin that are in the middle of equal parts of a length, px."""
    count = min(N_SAMPLES, -(-length // SAMPLE_PX))
    middles = (np.arange(count) + 0.5) * length / count
    starts: list[int] = (middles - min(length, SAMPLE_PX) / 2).round().astype(int).tolist()
    return starts


def _shares_of(pixels: NDArray[Any], valid: Bools) -> _Shares:
    """Return the shares of pixels (C, H, W) that are valid, and that are valid and black."""
    is_black = (pixels == 0).all(axis=0) & valid
    return _Shares(float(valid.mean()), float(is_black.mean()))


def common_bands(infos: list[SceneInfo], wanted: list[str] | None) -> list[str]:
    """Return the bands that are read from every raster.

    Args:
        infos: the scenes.
        wanted: names of bands; None for those that all rasters have alike.

    Raises:
        DataError: a raster lacks a wanted band, or the rasters differ in bands or dtype and
            none are named.
    """
    first = infos[0]
    bands = wanted or list(first.bands)
    whose = "wanted" if wanted else f"those of {first.path}"
    for info in infos:
        missing = [name for name in bands if name.lower() not in band_aliases(info)]
        if missing or (wanted is None and list(info.bands) != bands):
            raise DataError(
                f"{info.path}: has the bands {', '.join(info.bands)}, but {', '.join(bands)} are "
                f"{whose}. Name bands that all rasters have in `scenes.bands`, or take this raster "
                "out."
            )
        if info.dtype != first.dtype:
            raise DataError(
                f"{info.path}: dtype {info.dtype}, but {first.path} has {first.dtype}: one model "
                "reads one dtype. Convert one of them with gdal_translate -ot."
            )
    return bands
