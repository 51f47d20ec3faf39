"""What a raster is, before any of its pixels is read: its grid, place, bands and number type.

Refuses what could only be read wrongly (palettes, ground control points, 64-bit and complex
numbers) with one sentence that says what to do. Knows no GSD but the raster's own.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from windhover.errors import (
    DataError,
    FormatError,
    MissingFileError,
    ParameterError,
    UnsupportedError,
)
from windhover.geometry import georef

DTYPES = ("uint8", "uint16", "int16", "float32")
MAX_BANDS = 16
NUMBERED = [(word, gap) for word in ("band", "layer") for gap in ("", " ", "_", "-")]
NAME_ITS_SYSTEM = (
    "name the system of its transform: gdal_translate -of VRT -a_srs EPSG:... IN OUT.vrt"
)
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
    # where it is not, `gsd_m` is only what the search takes it for, and metres mean nothing
    gsd_known: bool = True

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.height_px, self.width_px

    @property
    def striped(self) -> bool:
        """Whether the file is in strips (or lines) as wide as the raster, which makes windows slow
        to read.
        """
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


def overview_info(info: SceneInfo, overview: int) -> SceneInfo:
    """Return a raster's description with the size and the blocks of one of its overviews.

    Px k of an overview of w px covers [k W/w, (k + 1) W/w) of the raster's W px, W/w not always
    whole.
    """
    with opened(info.path, overview) as dataset:
        return replace(
            info,
            width_px=dataset.width,
            height_px=dataset.height,
            block_hw=tuple(dataset.block_shapes[0]),
        )


def open_dataset(path: str, overview: int | None = None) -> Any:
    """Open a raster, or one of its overviews, as rasterio does; GDAL's errors are the caller's."""
    if path.startswith(
        "s3://"
    ):  # GDAL's own reader, configured by AWS_* and needing no other library
        path = f"/vsis3/{path.removeprefix('s3://')}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **({} if overview is None else {"overview_level": overview}))


@contextmanager
def opened(path: str | Path, overview: int | None = None) -> Iterator[Any]:
    """Open a raster, or one of its overviews, as rasterio does, with this program's sentences for
    what goes wrong.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
    """
    text = str(path)
    if (
        not re.match(r"[A-Za-z0-9_]+:|/vsi", text) and not Path(text).exists()
    ):  # NETCDF:file:variable, https://...
        raise MissingFileError(f"{text}: no such file. Mend the path.")
    try:
        with rasterio.Env(**GDAL_OPTIONS), open_dataset(text, overview) as dataset:
            yield dataset
    except (RasterioError, OSError) as error:
        if isinstance(error, MissingFileError):
            raise
        if Path(text).is_dir():
            raise FormatError(
                f"{text}: is a folder. Name the rasters in it, such as {text}/*.tif."
            ) from None
        raise FormatError(
            f"{text}: GDAL cannot open it ({gdal_reason(error)}). The file is damaged or no raster: fetch "
            "it again, or take it out."
        ) from None


def gdal_reason(error: BaseException) -> str:
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
    alphas = [
        index for index, kind in enumerate(dataset.colorinterp, 1) if kind == ColorInterp.alpha
    ]
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


def _placement(
    dataset: Any, path: str, stated_gsd_m: float | None
) -> tuple[str | None, Affine, tuple[str, ...]]:
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
        notes = (
            ("the stated GSD is not used: the raster has a georeference",)
            if stated_gsd_m is not None
            else ()
        )
        return _crs_text(dataset), dataset.transform, notes
    half = dataset.transform != Affine.identity()
    if stated_gsd_m is None:
        raise DataError(
            f"{path}: has no georeference and no GSD is stated. State its metres per pixel "
            f"(`scenes.native_gsd_m`, or --gsd).{f' Or {NAME_ITS_SYSTEM}.' if half else ''}"
        )
    if not (math.isfinite(stated_gsd_m) and stated_gsd_m > 0):
        raise ParameterError(
            f"The stated GSD must be positive, got {stated_gsd_m} m. Give metres per pixel."
        )
    notes = (
        f"a transform without coordinate system: a local grid is used. To keep its place, {NAME_ITS_SYSTEM}",
    )
    notes = notes if half else ()
    return None, georef.local_transform(stated_gsd_m), notes


def _ground_size(
    path: str, transform: Affine, crs: str | None, shape_hw: tuple[int, int]
) -> tuple[float, float]:
    """Return metres per px where the raster lies on Earth or in a local grid.

    Raises:
        DataError: it lies nowhere: beyond a pole, not finite, or in a system without longitude
            and latitude.
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
    """Return the bands' descriptions where all have one that says something, else the colours that
    are known.
    """
    described = [(dataset.descriptions[index - 1] or "").strip() for index in indexes]
    if (
        all(described)
        and len(set(described)) == len(described)
        and not all(map(says_nothing, described))
    ):
        return tuple(described)
    colors = [dataset.colorinterp[index - 1].name for index in indexes]
    known = [color for color in colors if color not in ("undefined", "gray")]
    if not known or len(set(known)) < len(known):
        return tuple(f"band{index}" for index in indexes)
    return tuple(
        f"band{i}" if color not in known else color
        for i, color in zip(indexes, colors, strict=True)
    )


def names_of_bands(info: SceneInfo) -> dict[str, str]:
    """Return every name by which a band may be asked for, in small letters: its own, or its number
    as in `band3`.
    """
    numbers = {
        f"{word}{gap}{number}": name
        for number, name in enumerate(info.bands, 1)
        for word, gap in NUMBERED
    }
    return numbers | {name.lower(): name for name in info.bands}


def says_nothing(name: str) -> bool:
    """Tell whether the name of a band is a number alone, such as `band3`, `Band_3` or `Layer 3`."""
    return re.fullmatch(r"(band|layer)[ _-]?\d+", name, re.IGNORECASE) is not None
