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
from windhover.geometry.arrays import Bools
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.integrity import check_deflate_checksums, gdal_warnings_as_errors
from windhover.imagery.rasters import SceneInfo, band_aliases
from windhover.imagery.scenes import Scene
from windhover.progress import track

# rasters up to this are read whole once, larger ones in small windows on a grid
MAX_WHOLE_PX = 32_000_000
SAMPLE_PX = WINDOW_PX  # side of such a window
N_SAMPLES = 12  # of them along each side of the raster
SHARE_DIGITS = 4


class _Shares(NamedTuple):
    """Shares of the pixels of one reading."""

    valid: float
    black: float  # valid and 0 in every band


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
        By scene, the shares of the pixels read that are valid, and that are black in every band.

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
                readings = [_shares_of(*scene.read(0, 0, *scene.shape_hw))]
        if not is_sampled:
            check_deflate_checksums(info.path)
    mean_valid, mean_black = np.mean(readings, axis=0).tolist()
    valid = round(mean_valid, SHARE_DIGITS)
    if mean_valid < 1:  # 1 is "all of them"
        valid = min(valid, round(1 - 10**-SHARE_DIGITS, SHARE_DIGITS))
    black = round(mean_black, SHARE_DIGITS)
    return PixelShares(valid=valid, black=black, sampled=is_sampled)


def _read_samples(scene: Scene) -> list[_Shares]:
    """Return the shares in each window of the grid; reads the corners too.

    A file that was cut short lacks the last corner.
    """
    height, width = (min(length, SAMPLE_PX) for length in scene.shape_hw)
    for row in (0, scene.shape_hw[0] - height):
        for col in (0, scene.shape_hw[1] - width):
            scene.read(row, col, height, width)
    rows, cols = (_sample_starts(length) for length in scene.shape_hw)
    corners = itertools.product(rows, cols)
    return [_shares_of(*scene.read(row, col, height, width)) for row, col in corners]


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
