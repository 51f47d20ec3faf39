"""The pixels of a raster seen at any ground sample distance, with what is missing told apart.

Pixels are raw numbers as delivered: scale and offset are recorded, never applied, so that a model
sees what it was trained on. A window is read at the raster's own resolution and averaged here,
never from an overview that was not asked for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from windhover.errors import DataError, FormatError, ParameterError
from windhover.imagery.jpeg import WholeJpeg
from windhover.imagery.rasters import (
    GDAL_OPTIONS,
    SceneInfo,
    gdal_reason,
    inspect_scene,
    names_of_bands,
    open_dataset,
    overview_info,
)
from windhover.imagery.resample import (
    axis_weights,
    exact_ratio,
    resample_block,
    snap_ratio,
    source_span,
    target_length,
)

PRELOAD_PX = 64_000_000
# Reads of more px of the raster go in pieces: memory stays bounded at any ratio, and a piece is
# brought to the grid
# while the next one is decoded.
SOURCE_PX_A_PIECE, MOST_SOURCE_PX_A_PIECE = 2_000_000, 32_000_000


def open_scene(
    path: str | Path,
    target_gsd_m: float | None = None,
    gsd_m: float | None = None,
    bands: Sequence[str] | None = None,
) -> Scene:
    """Open a raster to be read at a ground sample distance.

    Args:
        path: anything GDAL opens.
        target_gsd_m: metres per pixel to see it at; None for its own.
        gsd_m: stated metres per pixel, used only where the raster has no georeference.
        bands: names of the bands to read, in this order; None for all.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
        UnsupportedError: dtype, band count, palette or kind of georeference that is not taken.
        DataError: no georeference and no stated GSD, or a band that is not there.
    """
    info = inspect_scene(path, gsd_m)
    return Scene(info, target_gsd_m, bands)


class Scene:
    """A raster seen at a target GSD: its grid, and blocks of its pixels that do not depend on how
    they are cut.

    Safe to read from several threads: each has its own file handle. Close it, or use it in a `with`
    block.
    """

    def __init__(
        self,
        info: SceneInfo,
        target_gsd_m: float | None = None,
        bands: Sequence[str] | None = None,
        ratio_xy: tuple[float, float] | None = None,
        overview: int | None = None,
        by_gdal: bool = False,
    ) -> None:
        """Lay the grid.

        Args:
            info: from `inspect_scene`.
            target_gsd_m: metres per px of the grid, None for the raster's own; within 1 % of
                its own it is its own.
            bands: names of the bands to read, in this order; None for all.
            ratio_xy: native px in a px of the grid, exactly; instead of a GSD.
            overview: number of the file's overview to read; None for the raster itself.
            by_gdal: whether JPEG files too are read by GDAL, which warns of more damage than
                their own decoder refuses.
        """
        if target_gsd_m is not None and not (math.isfinite(target_gsd_m) and target_gsd_m > 0):
            raise ParameterError(
                f"`target_gsd_m` must be positive, got {target_gsd_m} m. Give metres per pixel."
            )
        self.info = info
        self.bands: tuple[str, ...] = tuple(bands) if bands is not None else info.bands
        self._indexes = [_band_index(info, name) for name in self.bands]
        wanted = info.gsd_m if target_gsd_m is None else (target_gsd_m, target_gsd_m)
        x, y = ratio_xy or tuple(
            snap_ratio(gsd / own) for gsd, own in zip(wanted, info.gsd_m, strict=True)
        )
        self.ratio_xy = x, y
        self.shape_hw = (target_length(info.height_px, y), target_length(info.width_px, x))
        t = info.transform
        self.transform = Affine(t.a * x, t.b * y, t.c, t.d * x, t.e * y, t.f)
        self.overview, self.source = (
            overview,
            info if overview is None else overview_info(info, overview),
        )
        width, height = self.source.width_px / info.width_px, self.source.height_px / info.height_px
        self.source_ratio_xy = (
            exact_ratio(x * width),
            exact_ratio(y * height),
        )  # px of what is read in a px of the grid
        self._others: list[Scene] = []
        self._pixels: tuple[NDArray[Any], NDArray[np.bool_]] | None = None
        self._scaling: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._whole, self._by_gdal = WholeJpeg(), by_gdal
        self._borrows = False  # the pixels of another scene, which outlives this grid
        self._local = threading.local()
        self._handles: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

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
        return np.dtype(self.info.dtype if self._scaling is None else np.float32)

    @property
    def gsd_m(self) -> tuple[float, float]:
        """Metres per px of this grid, along a row and down a column."""
        return self.info.gsd_m[0] * self.ratio_xy[0], self.info.gsd_m[1] * self.ratio_xy[1]

    @property
    def block_hw(self) -> tuple[float, float]:
        """The block of what is read, the raster or its overview, in px of this grid."""
        (x, y), (height, width) = self.source_ratio_xy, self.source.block_hw
        return height / y, width / x

    def preload(self) -> None:
        """Hold the native pixels in memory, so that many reads decode the file once; a large scene
        is left on disk.
        """
        if self._pixels is None and self.info.width_px * self.info.height_px <= PRELOAD_PX:
            self._pixels = self._read_native((0, self.info.height_px), (0, self.info.width_px))
            self._whole.forget()

    def seen_at(self, target_gsd_m: float | None) -> Scene:
        """Return the same raster and bands on the grid of another GSD; preloaded pixels are shared."""
        other = self._lend_pixels(Scene(self.info, target_gsd_m, self.bands))
        other._borrows = True
        return other

    def rescaled(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Scene:
        """Return the same scene with each band's pixels times its gain (C,) plus its offset (C,),
        as float32.
        """
        other = self._lend_pixels(Scene(self.info, None, self.bands, self.ratio_xy, self.overview))
        other._scaling = (
            gain.astype(np.float32)[:, None, None],
            offset.astype(np.float32)[:, None, None],
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
        other = self._lend_pixels(Scene(self.info, None, self.bands, ratio_xy, overview))
        other._borrows = overview == self.overview
        self._others.append(other)
        return other

    def _lend_pixels(self, other: Scene) -> Scene:
        """Give another grid of the same raster the pixels that are in memory, and their scaling."""
        other._scaling = self._scaling
        if other.overview == self.overview:
            other._pixels, other._whole = self._pixels, self._whole
        return other

    def read(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a block of this grid; any part of it may lie outside the scene.

        Args:
            row: first row, px of this grid.
            col: first column.
            height: rows.
            width: columns.

        Returns:
            (C, height, width) pixels in the raster's dtype, 0 where invalid; (height, width) True
            where valid.

        Raises:
            FormatError: the file is damaged there.
        """
        array, valid = self._read_block(row, col, height, width)
        if self._scaling is None:
            return array, valid
        gain, offset = self._scaling
        return np.where(valid, array * gain + offset, np.float32(0)), valid

    def _read_block(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        top, bottom = max(row, 0), min(row + height, self.shape_hw[0])
        left, right = max(col, 0), min(col + width, self.shape_hw[1])
        if top >= bottom or left >= right:
            return np.zeros((self.n_bands, height, width), self.info.dtype), np.zeros(
                (height, width), bool
            )
        step = self._rows_of_a_piece(right - left)
        if (top, bottom, left, right) == (row, row + height, col, col + width) and height <= step:
            array, valid = self._to_grid(
                top, bottom, left, right, *self._read_source(top, bottom, left, right)
            )
            return (array, valid) if self._pixels is None else (array.copy(), valid.copy())
        array = np.zeros((self.n_bands, height, width), self.info.dtype)
        valid = np.zeros((height, width), bool)
        for start, stop, (values, seen) in self._pieces(top, bottom, left, right, step):
            inside = (slice(start - row, stop - row), slice(left - col, right - col))
            array[:, *inside], valid[inside] = values, seen
        return array, valid

    def _rows_of_a_piece(self, width: int) -> int:
        """Return how many rows of the grid are read at once: a row of the file's blocks where
        memory allows.
        """
        if self.source_ratio_xy == (1.0, 1.0):
            return self.shape_hw[
                0
            ]  # what is read is what is asked for: nothing to be done meanwhile, none to be saved
        a_row = math.prod(self.source_ratio_xy) * width
        least = min(math.ceil(self.block_hw[0]), int(MOST_SOURCE_PX_A_PIECE / a_row))
        return max(int(SOURCE_PX_A_PIECE / a_row), least, 1)

    def _pieces(
        self, top: int, bottom: int, left: int, right: int, step: int
    ) -> Iterator[tuple[int, int, tuple[NDArray[Any], NDArray[np.bool_]]]]:
        """Yield a block of the grid in pieces of `step` rows: each comes to the grid while the next
        is decoded.
        """
        if bottom - top <= step:
            yield (
                top,
                bottom,
                self._to_grid(
                    top, bottom, left, right, *self._read_source(top, bottom, left, right)
                ),
            )
            return
        with ThreadPoolExecutor(1, thread_name_prefix="windhover-resample") as pool:
            waiting = None
            for start in range(top, bottom, step):
                stop = min(start + step, bottom)
                source = self._read_source(start, stop, left, right)
                if waiting is not None:
                    yield *waiting[:2], waiting[2].result()
                waiting = start, stop, pool.submit(self._to_grid, start, stop, left, right, *source)
            if waiting is not None:
                yield *waiting[:2], waiting[2].result()

    def _read_source(
        self, top: int, bottom: int, left: int, right: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read what a block inside the grid looks at, in px of the source."""
        ratio_x, ratio_y = self.source_ratio_xy
        return self._read_native(
            source_span(top, bottom, ratio_y), source_span(left, right, ratio_x)
        )

    def _to_grid(
        self,
        top: int,
        bottom: int,
        left: int,
        right: int,
        array: NDArray[Any],
        valid: NDArray[np.bool_],
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Bring to the grid what was read of the source."""
        ratio_x, ratio_y = self.source_ratio_xy
        if ratio_x == 1.0 and ratio_y == 1.0:
            return array, valid
        down = None if ratio_y == 1.0 else axis_weights(top, bottom, ratio_y, self.source.height_px)
        along = None if ratio_x == 1.0 else axis_weights(left, right, ratio_x, self.source.width_px)
        return resample_block(array, valid, down, along)

    def _read_native(
        self, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read the source's pixels; what lies outside the raster is 0 and invalid."""
        top, bottom = max(rows[0], 0), min(rows[1], self.source.height_px)
        left, right = max(cols[0], 0), min(cols[1], self.source.width_px)
        if self._pixels is not None:
            array, valid = (
                self._pixels[0][:, top:bottom, left:right],
                self._pixels[1][top:bottom, left:right],
            )
        else:
            array, valid = self._read_file(top, bottom, left, right)
        if (top, bottom) == rows and (left, right) == cols:
            return array, valid
        pad = ((top - rows[0], rows[1] - bottom), (left - cols[0], cols[1] - right))
        return np.pad(array, ((0, 0), *pad)), np.pad(valid, pad)

    def _read_file(
        self, top: int, bottom: int, left: int, right: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        window = RasterWindow(left, top, right - left, bottom - top)
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                dataset = self._handle()
                array = None
                if not self._by_gdal:
                    array = self._whole.read(dataset, self._indexes, top, bottom, left, right)
                if array is None:
                    array = dataset.read(self._indexes, window=window)
                return array, _valid(dataset, self._indexes, array, window)
        except (RasterioError, OSError) as error:
            raise FormatError(
                f"{self.info.path}: cannot read rows {top} to {bottom} and columns {left} to {right}"
                f"{'' if self.overview is None else ' of an overview'} ({gdal_reason(error)}). "
                "The file is damaged there: fetch it again, or take it out."
            ) from None

    def _handle(self) -> Any:
        if self._closed:
            raise ValueError(f"{self.info.path}: the scene is closed.")
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            dataset = open_dataset(self.info.path, self.overview)
            self._local.dataset = dataset
            with self._lock:
                self._handles.append(dataset)
        return dataset

    def close(self) -> None:
        """Close every thread's handle, and the grids made of it."""
        for other in self._others:
            other.close()
        with self._lock:
            self._closed = True
            for dataset in self._handles:
                dataset.close()
            self._handles.clear()
        if not self._borrows:
            self._whole.forget()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _band_index(info: SceneInfo, name: str) -> int:
    names = names_of_bands(info)
    if name.lower() not in names:
        raise DataError(
            f"{info.path}: has no band {name!r}; its bands are {', '.join(info.bands)}. Name one of these in `bands`."
        )
    return info.bands.index(names[name.lower()]) + 1


def _valid(
    dataset: Any, indexes: list[int], array: NDArray[Any], window: RasterWindow
) -> NDArray[np.bool_]:
    """Return where pixels are data, and set missing pixels to 0 in place.

    A brightness that equals nodata is common in pictures of unsigned integers, so there a pixel is
    missing only where every band is; of other dtypes it is missing where any band is.
    """
    nodata = [_nodata(dataset.nodatavals[index - 1], array.dtype) for index in indexes]
    if array.dtype.kind != "f" and not any(value is not None for value in nodata):
        valid: NDArray[np.bool_] = np.ones(array.shape[1:], bool)
    else:
        missing = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
        for plane, hole, value in zip(array, missing, nodata, strict=True):
            if value is not None:
                hole |= plane == value
        lost = np.logical_and if array.dtype.kind == "u" else np.logical_or
        valid = ~lost.reduce(missing, axis=0)
    flags = [dataset.mask_flag_enums[index - 1] for index in indexes]
    if any(MaskFlags.per_dataset in flag for flag in flags):
        valid &= dataset.read_masks(indexes[0], window=window) > 0
    if not valid.all():
        array[:, ~valid] = 0
    return valid


def _nodata(nodata: float | None, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return nodata as a value of a dtype, None where it cannot occur: -9999 in uint8 must not wrap
    round to 241.
    """
    if nodata is None or math.isnan(nodata):
        return None
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not (float(nodata).is_integer() and limits.min <= nodata <= limits.max):
            return None
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, as GDAL writes it there
        return np.asarray(nodata).astype(dtype)
