"""Reading native pixels of a raster in any thread, and finding the missing ones among them."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from windhover.errors import DataError, FormatError
from windhover.geometry.windows import Bounds
from windhover.imagery.gdal_messages import (
    gdal_reason,
    reading_advice,
    undecodable_messages_raised,
)
from windhover.imagery.jpeg import JpegCache
from windhover.imagery.missing_sources import missing_sources
from windhover.imagery.rasters import (
    SceneInfo,
    band_aliases,
    gdal_options,
    holds_value,
    open_dataset,
    open_raster,
    overview_info,
)
from windhover.imagery.remote_reads import read_with_retry
from windhover.imagery.scene_grid import Pixels

# GDAL's words for a source that it cannot open; from then on a virtual raster gives zeros
CANNOT_OPEN = re.compile(
    r"not recognized|no such file|response code|does not exist|recursion", re.IGNORECASE
)
# bands with one of these flags have no mask of their own; nodata is compared here
NO_OWN_MASK = {MaskFlags.all_valid, MaskFlags.per_dataset, MaskFlags.nodata}
PRELOAD_PX = 64_000_000  # larger scenes are left on disk


class ThreadHandles:
    """One open file handle per thread, all closed together."""

    def __init__(self, path: str, overview: int | None) -> None:
        """Open nothing yet."""
        self._path = path
        self._overview = overview
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[Any] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def get(self) -> Any:
        """Return this thread's dataset of rasterio.

        Raises:
            ValueError: the handles are closed.
        """
        if self._is_closed:
            raise ValueError(f"{self._path}: the scene is closed.")
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            dataset = open_dataset(self._path, self._overview)
            self._local.dataset = dataset
            with self._lock:
                self._open.append(dataset)
        return dataset

    def drop(self) -> None:
        """Close this thread's handle: the next read opens the file anew."""
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            return
        self._local.dataset = None
        with self._lock:
            self._open.remove(dataset)
        dataset.close()

    def close(self) -> None:
        """Close every thread's handle."""
        with self._lock:
            self._is_closed = True
            for dataset in self._open:
                dataset.close()
            self._open.clear()


class NativeReader:
    """Native pixels of a raster, or of one of its overviews, that any thread may read.

    Attributes:
        source: what is read: the raster, or its overview.
        overview: number of the file's overview, None for the raster itself.
        jpeg: the decoded file where it is a JPEG; may be shared with other readers.
        handles: the open file.
        owns_jpeg: whether closing this reader frees the decoded file.
    """

    def __init__(
        self,
        info: SceneInfo,
        bands: Sequence[str],
        overview: int | None = None,
        *,
        force_gdal: bool = False,
    ) -> None:
        """Open nothing but the overview's description.

        Args:
            info: from `inspect_scene`.
            bands: names of the bands to read, in this order.
            overview: number of the file's overview to read; None for the raster itself.
            force_gdal: whether JPEG files too are read by GDAL.

        Raises:
            DataError: a band is not there.
            FormatError: the overview cannot be opened.
        """
        self.info = info
        self.overview = overview
        self.owns_jpeg = True
        self._indexes = [band_index(info, name) for name in bands]
        self.source = info if overview is None else overview_info(info, overview)
        self.jpeg = JpegCache()
        self.handles = ThreadHandles(info.path, overview)
        self._force_gdal = force_gdal
        self._missing = missing_sources(info.path)
        self._preloaded: Pixels | None = None
        self._failure: str | None = None

    @property
    def is_preloaded(self) -> bool:
        """Whether the pixels are in memory."""
        return self._preloaded is not None

    def share_pixels_of(self, other: NativeReader) -> None:
        """Use the pixels that another reader of the same raster has in memory."""
        if self.overview == other.overview:
            self._preloaded = other._preloaded
            self.jpeg = other.jpeg

    def preload(self) -> None:
        """Hold all pixels in memory, so that many reads decode the file once; small scenes only."""
        height, width = self.info.shape_hw
        if self._preloaded is None and width * height <= PRELOAD_PX:
            self._preloaded = self.read(Bounds(0, height, left=0, right=width))
            self.jpeg.clear()

    def read(self, bounds: Bounds) -> Pixels:
        """Return a part of the source; outside the source it is 0 and invalid.

        Args:
            bounds: in px of the source; the pixels may be a view of those in memory.

        Raises:
            FormatError: the file is damaged there.
        """
        inside = bounds.clipped(self.source.shape_hw)
        if self._preloaded is not None:
            part = inside.slices()
            pixels = Pixels(self._preloaded.array[:, *part], self._preloaded.valid[part])
        else:
            pixels = self.read_file(inside)
        if inside == bounds:
            return pixels
        pad = (
            (inside.top - bounds.top, bounds.bottom - inside.bottom),
            (inside.left - bounds.left, bounds.right - inside.right),
        )
        return Pixels(np.pad(pixels.array, ((0, 0), *pad)), np.pad(pixels.valid, pad))

    def read_file(self, bounds: Bounds) -> Pixels:
        """Return a part of the source from the file.

        Raises:
            FormatError: the file is damaged there.
        """
        top, bottom, left, right = bounds
        if self._failure is not None:
            raise FormatError(self._failure)
        try:
            with undecodable_messages_raised(), gdal_options():
                return read_with_retry(
                    self.info.path,
                    lambda: self._read_dataset(self.handles.get(), bounds),
                    self.handles.drop,
                )
        except (RasterioError, OSError, UnicodeDecodeError) as error:
            part = "" if self.overview is None else " of an overview"
            sentence = (
                f"{self.info.path}: cannot read rows {top} to {bottom} and columns {left} to "
                f"{right}{part} ({gdal_reason(error)}). {reading_advice(self.info.path, error)}"
            )
            is_virtual = self.info.path.lower().endswith(".vrt")
            if is_virtual and CANNOT_OPEN.search(gdal_reason(error)):
                self._failure = sentence
            raise FormatError(sentence) from None

    def _read_dataset(self, dataset: Any, bounds: Bounds) -> Pixels:
        height, width = bounds.shape_hw
        window = RasterWindow(bounds.left, bounds.top, width, height)
        array: NDArray[Any] | None = None
        if not self._force_gdal:
            array = self.jpeg.read(dataset, self._indexes, bounds)
        if array is None:
            array = dataset.read(self._indexes, window=window)
        valid = _find_valid(dataset, self._indexes, array, window=window)
        self._clear_missing(valid, bounds)
        if not valid.all():
            array[:, ~valid] = 0
        return Pixels(array, valid)

    def _clear_missing(self, valid: NDArray[np.bool_], bounds: Bounds) -> None:
        """Mark as invalid, in place, what missing sources of a virtual raster should have given."""
        scale_x = self.source.width_px / self.info.width_px
        scale_y = self.source.height_px / self.info.height_px
        for source in self._missing:
            rows = slice(
                max(math.floor(source.row * scale_y) - bounds.top, 0),
                max(math.ceil((source.row + source.height) * scale_y) - bounds.top, 0),
            )
            cols = slice(
                max(math.floor(source.col * scale_x) - bounds.left, 0),
                max(math.ceil((source.col + source.width) * scale_x) - bounds.left, 0),
            )
            valid[rows, cols] = False

    def close(self) -> None:
        """Close the file, and free its decoded pixels where they are this reader's own."""
        self.handles.close()
        if self.owns_jpeg:
            self.jpeg.clear()


def band_index(info: SceneInfo, name: str) -> int:
    """Return the number of a band, from 1.

    Args:
        info: the raster.
        name: the band's name or its number as in `band3`, in any case.

    Raises:
        DataError: it is not there.
    """
    aliases = band_aliases(info)
    if name.lower() not in aliases:
        raise DataError(
            f"{info.path}: has no band {name!r}; its bands are {', '.join(info.bands)}. "
            "Name one of these in `bands`."
        )
    return info.bands.index(aliases[name.lower()]) + 1


def may_lack_pixels(info: SceneInfo, bands: Sequence[str]) -> bool:
    """Return whether a raster may have invalid pixels in these bands; reads none.

    Raises:
        DataError: a band is not there.
        FormatError: the raster cannot be opened.
    """
    if missing_sources(info.path) or info.dtype.startswith("float"):
        return True
    indexes = [band_index(info, name) for name in bands]
    with open_raster(info.path) as dataset:
        if ColorInterp.alpha in dataset.colorinterp:
            return True
        flags = [set(dataset.mask_flag_enums[index - 1]) for index in indexes]
        has_nodata = any(dataset.nodatavals[index - 1] is not None for index in indexes)
        return has_nodata or any(flag != {MaskFlags.all_valid} for flag in flags)


def _find_valid(
    dataset: Any, indexes: list[int], array: NDArray[Any], *, window: RasterWindow
) -> NDArray[np.bool_]:
    """Return where pixels (C, H, W) are data.

    A brightness that equals nodata is common in images of unsigned integers, so there a pixel is
    missing only where every band is; of other dtypes it is missing where any band is.
    """
    valid = _differs_from_nodata(dataset, indexes, array)
    flags = [dataset.mask_flag_enums[index - 1] for index in indexes]
    if any(MaskFlags.per_dataset in flag for flag in flags):
        valid &= dataset.read_masks(indexes[0], window=window) > 0
    elif ColorInterp.alpha in dataset.colorinterp:
        # GDAL makes a mask of an alpha band only in files of two or four bands
        alpha = dataset.colorinterp.index(ColorInterp.alpha) + 1
        valid &= dataset.read(alpha, window=window) > 0
    for index, flag in zip(indexes, flags, strict=True):
        if not set(flag) & NO_OWN_MASK:  # a mask of this band alone
            valid &= dataset.read_masks(index, window=window) > 0
    return valid


def _differs_from_nodata(
    dataset: Any, indexes: list[int], array: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return (H, W) where pixels are neither NaN, nor infinite, nor nodata."""
    is_float = array.dtype.kind == "f"
    nodata = [_nodata_of_dtype(dataset.nodatavals[index - 1], array.dtype) for index in indexes]
    if not is_float and all(value is None for value in nodata):
        return np.ones(array.shape[1:], bool)
    missing = ~np.isfinite(array) if is_float else np.zeros(array.shape, bool)
    for plane, plane_missing, value in zip(array, missing, nodata, strict=True):
        if value is not None:
            plane_missing |= plane == value
    combine = np.logical_and if array.dtype.kind == "u" else np.logical_or
    return np.asarray(~combine.reduce(missing, axis=0))


def _nodata_of_dtype(nodata: float | None, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return nodata as a value of a dtype; None where it cannot occur, as -9999 in uint8."""
    if nodata is None or math.isnan(nodata):
        return None
    if dtype.kind != "f" and not holds_value(dtype, nodata):
        return None
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, as GDAL writes it there
        return np.asarray(nodata).astype(dtype)
