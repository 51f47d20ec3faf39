"""The pixels of a raster read at any ground sample distance, with missing pixels known.

Pixels are raw numbers as delivered: scale and offset are recorded, never applied, so that a model
gets what it was trained on. A window is read at the raster's own resolution and averaged here,
never from an overview that was not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats
from windhover.geometry.windows import Bounds
from windhover.imagery.native_resolution_reader import NativeReader
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.imagery.scene_grid import Pixels, SceneGrid, ratio_for_gsd

# Reads of more px of the raster go in strips: memory stays bounded at any ratio, and a strip is
# resampled while the next one is decoded.
STRIP_SOURCE_PX = 2_000_000
MAX_STRIP_SOURCE_PX = 32_000_000


def open_scene(
    path: str | Path,
    target_gsd_m: float | None = None,
    native_gsd_m: float | None = None,
    *,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Open a raster to be read at a ground sample distance.

    Args:
        path: anything GDAL opens.
        target_gsd_m: metres per pixel to read it at; None for its own.
        native_gsd_m: metres per pixel, used only where the raster has no georeference.
        bands: names of the bands to read, in this order; None for all.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
        UnsupportedError: dtype, band count, palette or kind of georeference that is not read.
        DataError: no georeference and no `native_gsd_m`, or a band that is not there.
    """
    return Scene(inspect_scene(path, native_gsd_m), target_gsd_m, bands)


class BandScaling(NamedTuple):
    """What each band's pixels are multiplied by, and what is added then; (C, 1, 1) float32."""

    gain: NDArray[np.float32]
    offset: NDArray[np.float32]

    def apply(self, pixels: Pixels) -> Pixels:
        """Return scaled pixels as float32, 0 where invalid."""
        scaled = pixels.array * self.gain + self.offset
        return Pixels(np.where(pixels.valid, scaled, np.float32(0)), pixels.valid)


class Scene:
    """A raster at a target GSD: its grid, and blocks of pixels that do not depend on their borders.

    Safe to read from several threads: each has its own file handle. Close it, or use it in a `with`
    block.

    Attributes:
        info: the raster.
        bands: names of the bands that are read.
        grid: px of the scene, and which native px they cover.
    """

    def __init__(
        self,
        info: SceneInfo,
        target_gsd_m: float | None = None,
        bands: Sequence[str] | None = None,
        *,
        ratio_xy: tuple[float, float] | None = None,
        overview: int | None = None,
        force_gdal: bool = False,
    ) -> None:
        """Define the grid; the file is opened at the first read.

        Args:
            info: from `inspect_scene`.
            target_gsd_m: metres per px of the grid, None for the raster's own; within 1 % of
                its own it is its own.
            bands: names of the bands to read, in this order; None for all.
            ratio_xy: native px in a px of the grid, exactly; instead of a GSD.
            overview: number of the file's overview to read; None for the raster itself.
            force_gdal: whether JPEG files too are read by GDAL, which warns of more damage than
                their own decoder notices.
        """
        if ratio_xy is None:
            ratio_xy = ratio_for_gsd(info, target_gsd_m)
        self.info = info
        self.bands: tuple[str, ...] = tuple(bands) if bands is not None else info.bands
        self._reader = NativeReader(info, self.bands, overview, force_gdal=force_gdal)
        self.grid = SceneGrid(info, self._reader.source, ratio_xy)
        self._band_scaling: BandScaling | None = None
        self._closed_with_this: list[Scene] = []

    @property
    def crs(self) -> str | None:
        """Coordinate system as text, None for a local grid."""
        return self.info.crs

    @property
    def n_bands(self) -> int:
        """Number of bands that are read."""
        return len(self.bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the pixels as `read` returns them."""
        return np.dtype(self.info.dtype if self._band_scaling is None else np.float32)

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self.grid.shape_hw

    @property
    def transform(self) -> Affine:
        """Px of the grid -> map."""
        return self.grid.transform

    @property
    def gsd_m(self) -> tuple[float, float]:
        """Metres per px of the grid, along a row and down a column."""
        return self.grid.gsd_m

    @property
    def ratio_xy(self) -> tuple[float, float]:
        """Native px in a px of the grid, along a row and down a column."""
        return self.grid.ratio_xy

    @property
    def overview(self) -> int | None:
        """Number of the file's overview that is read, None for the raster itself."""
        return self._reader.overview

    @property
    def source(self) -> SceneInfo:
        """What is read: the raster, or its overview."""
        return self.grid.source

    @property
    def file_block_hw(self) -> tuple[float, float]:
        """Rows and columns of the source's blocks, px of the grid."""
        return self.grid.file_block_hw

    def preload(self) -> None:
        """Hold the native pixels in memory, so that many reads decode the file once.

        Scenes of more than 64 million px are left on disk.
        """
        self._reader.preload()

    def at_gsd(self, target_gsd_m: float | None) -> Scene:
        """Return the same raster and bands on the grid of another GSD, with shared pixels.

        It must be closed before this scene.
        """
        other = Scene(self.info, target_gsd_m, self.bands)
        self._share_with(other, owns_jpeg=False)
        return other

    def with_band_scaling(self, gain: Floats, offset: Floats) -> Scene:
        """Return the same scene with float32 pixels: each band times its gain plus its offset.

        Closing it frees the pixels of this scene too.

        Args:
            gain: (C,).
            offset: (C,).
        """
        other = Scene(self.info, bands=self.bands, ratio_xy=self.ratio_xy, overview=self.overview)
        self._share_with(other, owns_jpeg=True)
        other._band_scaling = BandScaling(
            gain.astype(np.float32)[:, None, None], offset.astype(np.float32)[:, None, None]
        )
        return other

    def on_grid(self, ratio_xy: tuple[float, float], overview: int | None = None) -> Scene:
        """Return the same raster and bands on another grid; it is closed with this scene.

        Args:
            ratio_xy: native px in a px of the grid.
            overview: number of the file's overview to read; None for the raster itself.

        Raises:
            FormatError: the overview cannot be opened.
        """
        other = Scene(self.info, bands=self.bands, ratio_xy=ratio_xy, overview=overview)
        self._share_with(other, owns_jpeg=overview != self.overview)
        self._closed_with_this.append(other)
        return other

    def _share_with(self, other: Scene, *, owns_jpeg: bool) -> None:
        """Give another grid of the same raster the pixels in memory, and their scaling."""
        other._band_scaling = self._band_scaling
        other._reader.share_pixels_of(self._reader)
        other._reader.owns_jpeg = owns_jpeg

    def read(self, row: int, col: int, height: int, width: int) -> Pixels:
        """Read a block of this grid; any part of it may be outside the scene.

        Args:
            row: first row, px of this grid.
            col: first column.
            height: rows.
            width: columns.

        Returns:
            (C, height, width) pixels in the scene's dtype, 0 where invalid; (height, width) True
            where valid.

        Raises:
            FormatError: the file is damaged there.
        """
        bounds = Bounds(row, row + height, left=col, right=col + width)
        pixels = self._read_block(bounds)
        if self._band_scaling is None:
            return pixels
        return self._band_scaling.apply(pixels)

    def _read_block(self, bounds: Bounds) -> Pixels:
        inside = bounds.clipped(self.shape_hw)
        if inside.is_empty:
            return self._empty_block(bounds)
        strip_rows = self._strip_rows(inside.right - inside.left)
        if inside == bounds and bounds.bottom - bounds.top <= strip_rows:
            pixels = self._read_strip(bounds)
            if self._reader.is_preloaded:  # not a view of the pixels in memory
                return Pixels(pixels.array.copy(), pixels.valid.copy())
            return pixels
        block = self._empty_block(bounds)
        for strip, pixels in self._read_strips(inside, strip_rows):
            target = strip.slices(bounds.top, bounds.left)
            block.array[:, *target] = pixels.array
            block.valid[target] = pixels.valid
        return block

    def _empty_block(self, bounds: Bounds) -> Pixels:
        """Return a block without valid pixels."""
        array = np.zeros((self.n_bands, *bounds.shape_hw), self.info.dtype)
        return Pixels(array, np.zeros(bounds.shape_hw, bool))

    def _strip_rows(self, width: int) -> int:
        """Return how many rows of the grid are read at once, at least a row of the file's blocks.

        Fewer where such a row is more than memory should hold.
        """
        if self.grid.source_ratio_xy == (1.0, 1.0):
            return self.shape_hw[0]  # nothing is resampled: no work to overlap, no memory to save
        source_px_per_row = math.prod(self.grid.source_ratio_xy) * width
        file_block_rows = math.ceil(self.file_block_hw[0])
        min_rows = min(file_block_rows, int(MAX_STRIP_SOURCE_PX / source_px_per_row))
        return max(int(STRIP_SOURCE_PX / source_px_per_row), min_rows, 1)

    def _read_strip(self, bounds: Bounds) -> Pixels:
        """Read a block inside the grid at once."""
        return self.grid.resample(bounds, self._reader.read(self.grid.source_bounds(bounds)))

    def _read_strips(self, bounds: Bounds, strip_rows: int) -> Iterator[tuple[Bounds, Pixels]]:
        """Yield a block inside the grid in strips, each resampled while the next is decoded."""
        if bounds.bottom - bounds.top <= strip_rows:
            yield bounds, self._read_strip(bounds)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="windhover-resample") as pool:
            waiting: tuple[Bounds, Future[Pixels]] | None = None
            for top in range(bounds.top, bounds.bottom, strip_rows):
                bottom = min(top + strip_rows, bounds.bottom)
                strip = bounds._replace(top=top, bottom=bottom)
                source = self._reader.read(self.grid.source_bounds(strip))
                if waiting is not None:
                    yield waiting[0], waiting[1].result()
                waiting = strip, pool.submit(self.grid.resample, strip, source)
            if waiting is not None:
                yield waiting[0], waiting[1].result()

    def close(self) -> None:
        """Close every thread's handle, and the grids made of it."""
        for scene in self._closed_with_this:
            scene.close()
        self._reader.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
