"""Opening rasters: what they are, and their pixels seen at any ground sample distance, with what is missing told apart.

Pixels are raw numbers as delivered: scale and offset are recorded, never applied, so that a model sees what it was
trained on. A window is read at the raster's own resolution and averaged here, never from an overview that was not
asked for. Refuses what it could only read wrongly (palettes, ground control points, 64-bit and complex numbers) with
one sentence that says what to do.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from windhover import georef
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError, UnsupportedError
from windhover.resample import axis_weights, exact_ratio, resample_block, snap_ratio, source_span, target_length

DTYPES = ("uint8", "uint16", "int16", "float32")
MAX_BANDS = 16
PRELOAD_PX = 64_000_000
SOURCE_PX_A_READ = 32_000_000  # larger reads go in pieces, so that memory stays bounded at any ratio
CACHE_BYTES = 256 * 2**20  # rasterio hands the number to GDALSetCacheMax64
GDAL_OPTIONS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,
    "GDAL_PAM_ENABLED": True,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,  # that way of reading takes half a file for a whole one
}


@dataclass(frozen=True)
class SceneInfo:
    """What is known of a raster without reading its pixels; sizes and positions in native px."""

    name: str
    path: str
    width_px: int
    height_px: int
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    crs: str | None
    transform: Affine
    gsd_m: tuple[float, float]
    block_hw: tuple[int, int] = (1, 1)
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    gsd_known: bool = True  # where it is not, `gsd_m` is only what the search takes it for, and metres mean nothing

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.height_px, self.width_px

    @property
    def striped(self) -> bool:
        """Whether the file is in strips (or lines) as wide as the raster, which makes windows slow to read."""
        return self.block_hw[1] >= self.width_px > 1024 and self.block_hw[0] < self.height_px


def inspect_scene(path: str | Path, gsd_m: float | None = None) -> SceneInfo:
    """Return what a raster is.

    Args:
        path: anything GDAL opens: a file, a VRT, `/vsicurl/...`, `https://...`, `s3://...`.
        gsd_m: stated metres per pixel, used only where the raster has no georeference.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
        UnsupportedError: dtype, band count, palette or kind of georeference that is not taken.
        DataError: no georeference and no stated GSD, or a georeference without size.
    """
    with opened(path) as dataset:
        return _describe(dataset, str(path), gsd_m)


def open_scene(
    path: str | Path, target_gsd_m: float | None = None, gsd_m: float | None = None, bands: Sequence[str] | None = None
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
    """A raster seen at a target GSD: its grid, and blocks of its pixels that do not depend on how they are cut.

    Safe to read from several threads: each has its own file handle. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        info: SceneInfo,
        target_gsd_m: float | None = None,
        bands: Sequence[str] | None = None,
        ratio_xy: tuple[float, float] | None = None,
        overview: int | None = None,
    ) -> None:
        """Lay the grid.

        Args:
            info: from `inspect_scene`.
            target_gsd_m: metres per px of the grid, None for the raster's own; within 1 % of its own it is its own.
            bands: names of the bands to read, in this order; None for all.
            ratio_xy: native px in a px of the grid, exactly; instead of a GSD.
            overview: number of the file's overview to read; None for the raster itself.
        """
        if target_gsd_m is not None and not (math.isfinite(target_gsd_m) and target_gsd_m > 0):
            raise ParameterError(f"`target_gsd_m` must be positive, got {target_gsd_m} m. Give metres per pixel.")
        self.info = info
        self.bands: tuple[str, ...] = tuple(bands) if bands is not None else info.bands
        self._indexes = [_band_index(info, name) for name in self.bands]
        wanted = info.gsd_m if target_gsd_m is None else (target_gsd_m, target_gsd_m)
        x, y = ratio_xy or tuple(snap_ratio(gsd / own) for gsd, own in zip(wanted, info.gsd_m, strict=True))
        self.ratio_xy = x, y
        self.shape_hw = (target_length(info.height_px, y), target_length(info.width_px, x))
        t = info.transform
        self.transform = Affine(t.a * x, t.b * y, t.c, t.d * x, t.e * y, t.f)
        self.overview, self.source = overview, info if overview is None else overview_info(info, overview)
        width, height = self.source.width_px / info.width_px, self.source.height_px / info.height_px
        self.source_ratio_xy = exact_ratio(x * width), exact_ratio(y * height)  # px of what is read in a px of the grid
        self._others: list[Scene] = []
        self._pixels: tuple[NDArray[Any], NDArray[np.bool_]] | None = None
        self._scaling: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
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
        """Hold the native pixels in memory, so that many reads decode the file once; a large scene is left on disk."""
        if self._pixels is None and self.info.width_px * self.info.height_px <= PRELOAD_PX:
            self._pixels = self._read_native((0, self.info.height_px), (0, self.info.width_px))

    def seen_at(self, target_gsd_m: float | None) -> Scene:
        """Return the same raster and bands on the grid of another GSD; preloaded pixels are shared."""
        other = Scene(self.info, target_gsd_m, self.bands)
        other._pixels, other._scaling = self._pixels, self._scaling
        return other

    def rescaled(self, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Scene:
        """Return the same scene with each band's pixels times its gain (C,) plus its offset (C,), as float32."""
        other = Scene(self.info, None, self.bands, self.ratio_xy, self.overview)
        other._pixels = self._pixels
        other._scaling = (gain.astype(np.float32)[:, None, None], offset.astype(np.float32)[:, None, None])
        return other

    def on_grid(self, ratio_xy: tuple[float, float], overview: int | None = None) -> Scene:
        """Return the same raster and bands on another grid; it is closed with this scene.

        Args:
            ratio_xy: native px in a px of the grid.
            overview: number of the file's overview to read; None for the raster itself.

        Raises:
            FormatError: the overview cannot be opened.
        """
        other = Scene(self.info, None, self.bands, ratio_xy, overview)
        other._pixels, other._scaling = self._pixels if overview is None else None, self._scaling
        self._others.append(other)
        return other

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a block of this grid; any part of it may lie outside the scene.

        Args:
            row: first row, px of this grid.
            col: first column.
            height: rows.
            width: columns.

        Returns:
            (C, height, width) pixels in the raster's dtype, 0 where invalid; (height, width) True where valid.

        Raises:
            FormatError: the file is damaged there.
        """
        array, valid = self._read_block(row, col, height, width)
        if self._scaling is None:
            return array, valid
        gain, offset = self._scaling
        return np.where(valid, array * gain + offset, np.float32(0)), valid

    def _read_block(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        top, bottom = max(row, 0), min(row + height, self.shape_hw[0])
        left, right = max(col, 0), min(col + width, self.shape_hw[1])
        step = max(int(SOURCE_PX_A_READ / (math.prod(self.source_ratio_xy) * max(right - left, 1))), 1)
        if (top, bottom, left, right) == (row, row + height, col, col + width) and 0 < height <= step and width > 0:
            array, valid = self._read_inside(top, bottom, left, right)
            return (array, valid) if self._pixels is None else (array.copy(), valid.copy())
        array = np.zeros((self.n_bands, height, width), self.info.dtype)
        valid = np.zeros((height, width), bool)
        for start in range(top, bottom if left < right else top, step):
            stop = min(start + step, bottom)
            inside = (slice(start - row, stop - row), slice(left - col, right - col))
            array[:, *inside], valid[inside] = self._read_inside(start, stop, left, right)
        return array, valid

    def _read_inside(self, top: int, bottom: int, left: int, right: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        ratio_x, ratio_y = self.source_ratio_xy
        rows = source_span(top, bottom, ratio_y)
        cols = source_span(left, right, ratio_x)
        array, valid = self._read_native(rows, cols)
        if ratio_x == 1.0 and ratio_y == 1.0:
            return array, valid
        down = None if ratio_y == 1.0 else axis_weights(top, bottom, ratio_y, self.source.height_px)
        along = None if ratio_x == 1.0 else axis_weights(left, right, ratio_x, self.source.width_px)
        return resample_block(array, valid, down, along)

    def _read_native(self, rows: tuple[int, int], cols: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read the source's pixels; what lies outside the raster is 0 and invalid."""
        top, bottom = max(rows[0], 0), min(rows[1], self.source.height_px)
        left, right = max(cols[0], 0), min(cols[1], self.source.width_px)
        if self._pixels is not None:
            array, valid = self._pixels[0][:, top:bottom, left:right], self._pixels[1][top:bottom, left:right]
        else:
            array, valid = self._read_file(top, bottom, left, right)
        if (top, bottom) == rows and (left, right) == cols:
            return array, valid
        pad = ((top - rows[0], rows[1] - bottom), (left - cols[0], cols[1] - right))
        return np.pad(array, ((0, 0), *pad)), np.pad(valid, pad)

    def _read_file(self, top: int, bottom: int, left: int, right: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        window = RasterWindow(left, top, right - left, bottom - top)
        try:
            with rasterio.Env(**GDAL_OPTIONS):
                dataset = self._handle()
                array = dataset.read(self._indexes, window=window)
                return array, _valid(dataset, self._indexes, array, window)
        except (RasterioError, OSError) as error:
            raise FormatError(
                f"{self.info.path}: cannot read rows {top} to {bottom} and columns {left} to {right}"
                f"{'' if self.overview is None else ' of an overview'} ({_reason(error)}). "
                "The file is damaged there: fetch it again, or take it out."
            ) from None

    def _handle(self) -> Any:
        if self._closed:
            raise ValueError(f"{self.info.path}: the scene is closed.")
        dataset = getattr(self._local, "dataset", None)
        if dataset is None:
            dataset = _open_dataset(self.info.path, self.overview)
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

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _band_index(info: SceneInfo, name: str) -> int:
    if name not in info.bands:
        raise DataError(
            f"{info.path}: has no band {name!r}; its bands are {', '.join(info.bands)}. Name one of these in `bands`."
        )
    return info.bands.index(name) + 1


def overview_info(info: SceneInfo, overview: int) -> SceneInfo:
    """Return a raster's description with the size and the blocks of one of its overviews.

    Px k of an overview of w px covers [k W/w, (k + 1) W/w) of the raster's W px, W/w not always whole.
    """
    with opened(info.path, overview) as dataset:
        return replace(info, width_px=dataset.width, height_px=dataset.height, block_hw=tuple(dataset.block_shapes[0]))


def _open_dataset(path: str, overview: int | None = None) -> Any:
    if path.startswith("s3://"):  # GDAL's own reader, configured by AWS_* and needing no other library
        path = f"/vsis3/{path.removeprefix('s3://')}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **({} if overview is None else {"overview_level": overview}))


@contextmanager
def opened(path: str | Path, overview: int | None = None) -> Iterator[Any]:
    """Open a raster, or one of its overviews, as rasterio does, with this program's sentences for what goes wrong.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
    """
    text = str(path)
    if "://" not in text and not text.startswith("/vsi") and not Path(text).exists():
        raise MissingFileError(f"{text}: no such file. Mend the path.")
    try:
        with rasterio.Env(**GDAL_OPTIONS), _open_dataset(text, overview) as dataset:
            yield dataset
    except (RasterioError, OSError) as error:
        if isinstance(error, MissingFileError):
            raise
        raise FormatError(
            f"{text}: GDAL cannot open it ({_reason(error)}). The file is damaged or no raster: fetch "
            "it again, or take it out."
        ) from None


def _reason(error: BaseException) -> str:
    """Return GDAL's own words, which rasterio keeps one level down."""
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:200].rstrip(". ")


def _describe(dataset: Any, path: str, stated_gsd_m: float | None) -> SceneInfo:
    indexes = _data_bands(dataset)
    _refuse(dataset, path, indexes)
    crs, transform, notes = _placement(dataset, path, stated_gsd_m)
    gsd = _ground_size(path, transform, crs, (dataset.height, dataset.width))
    return SceneInfo(
        name=Path(path).stem,
        path=path,
        width_px=dataset.width,
        height_px=dataset.height,
        bands=_band_names(dataset, indexes),
        dtype=dataset.dtypes[indexes[0] - 1],
        nodata=dataset.nodatavals[indexes[0] - 1],
        crs=crs,
        transform=transform,
        gsd_m=gsd,
        block_hw=tuple(dataset.block_shapes[0]),
        scales=tuple(dataset.scales[index - 1] for index in indexes),
        offsets=tuple(dataset.offsets[index - 1] for index in indexes),
        notes=notes,
    )


def _data_bands(dataset: Any) -> list[int]:
    """Return the bands that hold data: those before an alpha band, which is a mask."""
    alphas = [index for index, kind in enumerate(dataset.colorinterp, 1) if kind == ColorInterp.alpha]
    return [index for index in dataset.indexes if index not in alphas] or list(dataset.indexes)


def _refuse(dataset: Any, path: str, indexes: list[int]) -> None:
    if not indexes:
        raise UnsupportedError(
            f"{path}: holds no band of its own (a container of several rasters). Name one of the rasters inside it."
        )
    if indexes[-1] > len(indexes):
        raise UnsupportedError(
            f"{path}: its alpha band stands before others, and must be the last. Put it there with gdal_translate -b."
        )
    if len(indexes) > MAX_BANDS:
        raise UnsupportedError(
            f"{path}: has {len(indexes)} bands, at most {MAX_BANDS} are taken. Extract those you need "
            "with gdal_translate -b."
        )
    dtypes = sorted({dataset.dtypes[index - 1] for index in indexes})
    if len(dtypes) > 1:
        raise UnsupportedError(
            f"{path}: its bands have different dtypes ({', '.join(dtypes)}). Write them in one, with "
            "gdal_translate -ot."
        )
    if dtypes[0] not in DTYPES:
        raise UnsupportedError(
            f"{path}: dtype {dtypes[0]} is not taken, only {', '.join(DTYPES)}. Convert it with gdal_translate -ot."
        )
    turned = dataset.tags().get("EXIF_Orientation", "1")
    if turned not in ("", "0", "1"):
        raise UnsupportedError(
            f"{path}: its EXIF says that it must be turned to be seen upright (orientation {turned}), so nobody knows "
            "which way round its labels are. Turn the pixels for good: magick IN -auto-orient OUT."
        )
    if len(indexes) == 1 and dataset.colorinterp[indexes[0] - 1] == ColorInterp.palette:
        raise UnsupportedError(
            f"{path}: holds colour numbers of a palette, which cannot be averaged. Convert it with "
            "gdal_translate -expand rgb."
        )


def _placement(dataset: Any, path: str, stated_gsd_m: float | None) -> tuple[str | None, Affine, tuple[str, ...]]:
    """Return coordinate system, transform and notes."""
    placed = dataset.crs is not None and dataset.transform != Affine.identity()
    if not placed and dataset.gcps[0]:
        raise UnsupportedError(
            f"{path}: is placed by {len(dataset.gcps[0])} ground control points, not by an affine. "
            "Warp it first: gdalwarp -r bilinear IN OUT.tif."
        )
    if not placed and dataset.rpcs is not None:
        raise UnsupportedError(
            f"{path}: is placed by an RPC model, not by an affine. Orthorectify it first: gdalwarp "
            "-rpc -r bilinear IN OUT.tif."
        )
    if placed:
        notes = ("the stated GSD is not used: the raster has a georeference",) if stated_gsd_m is not None else ()
        return _crs_text(dataset), dataset.transform, notes
    if stated_gsd_m is None:
        raise DataError(
            f"{path}: has no georeference and no GSD is stated. State its metres per pixel "
            "(`scenes.native_gsd_m`, or --gsd)."
        )
    if not (math.isfinite(stated_gsd_m) and stated_gsd_m > 0):
        raise ParameterError(f"The stated GSD must be positive, got {stated_gsd_m} m. Give metres per pixel.")
    notes = (
        ()
        if dataset.transform == Affine.identity()
        else ("it has a transform but no coordinate system: a local grid is used",)
    )
    return None, georef.local_transform(stated_gsd_m), notes


def _ground_size(path: str, transform: Affine, crs: str | None, shape_hw: tuple[int, int]) -> tuple[float, float]:
    """Return metres per px where the raster lies on Earth or in a local grid.

    Raises:
        DataError: it lies nowhere: beyond a pole, not finite, or in a system without longitude and latitude.
        FormatError: PROJ does not know its system.
    """
    try:
        gsd = georef.gsd_m(transform, crs, shape_hw)
        georef.footprint_4326(transform, crs, shape_hw)
    except (DataError, FormatError) as error:
        raise type(error)(f"{path}: {error}") from None
    return gsd


def _crs_text(dataset: Any) -> str:
    """Return `EPSG:code` where the raster's system is exactly that one, WKT otherwise."""
    authority = dataset.crs.to_authority(confidence_threshold=100)
    return ":".join(authority) if authority is not None else str(dataset.crs.to_wkt())


def _band_names(dataset: Any, indexes: list[int]) -> tuple[str, ...]:
    """Return the bands' descriptions where all have one, else their colours where these differ, else band1, ..."""
    described = [(dataset.descriptions[index - 1] or "").strip() for index in indexes]
    if all(described) and len(set(described)) == len(described):
        return tuple(described)
    colours = [dataset.colorinterp[index - 1].name for index in indexes]
    if len(set(colours)) == len(colours) and not {"undefined", "gray"} & set(colours):
        return tuple(colours)
    return tuple(f"band{index}" for index in indexes)


def _valid(dataset: Any, indexes: list[int], array: NDArray[Any], window: RasterWindow) -> NDArray[np.bool_]:
    """Return where pixels are data, and set missing pixels to 0 in place.

    A brightness that equals nodata is common in pictures of unsigned integers, so there a pixel is missing only where
    every band is; of other dtypes it is missing where any band is.
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
    """Return nodata as a value of a dtype, None where it cannot occur: -9999 in uint8 must not wrap round to 241."""
    if nodata is None or math.isnan(nodata):
        return None
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        if not (float(nodata).is_integer() and limits.min <= nodata <= limits.max):
            return None
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, as GDAL writes it there
        return np.asarray(nodata).astype(dtype)
