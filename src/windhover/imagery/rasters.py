"""What a raster is, before any of its pixels is read: its grid, place, bands and number type.

Rasters that could only be read wrongly (palettes, ground control points, 64-bit and complex
numbers) raise an error of one sentence that ends with what to do.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from windhover.errors import (
    FormatError,
    MissingFileError,
    UnsupportedError,
    WindhoverError,
)
from windhover.imagery.acquisition_time import acquisition_time
from windhover.imagery.band_names import band_names
from windhover.imagery.gdal_messages import (
    archive_advice,
    gdal_reason,
    opening_advice,
    undecodable_messages_raised,
)
from windhover.imagery.missing_sources import missing_sources, partial_raster
from windhover.imagery.raster_georeference import check_gsd, read_georeference
from windhover.imagery.remote_reads import http_options

DTYPES = ("uint8", "uint16", "int16", "float32")
MAX_BANDS = 16
# how numbers of bands are written: band3, Layer 3, ...
NUMBER_PREFIXES = [word + gap for word in ("band", "layer") for gap in ("", " ", "_", "-")]
# a raster inside an archive, as GDAL names it; the group is the archive
ARCHIVE_MEMBER = re.compile(r"/vsi(?:zip|tar|gzip)/(.+?\.(?:zip|tar|tgz|tar\.gz|gz))(?:/|$)", re.I)
CACHE_BYTES = 256 * 2**20  # rasterio hands the number to GDALSetCacheMax64
GDAL_OPTIONS = {
    "GDAL_CACHEMAX": CACHE_BYTES,
    "GDAL_PAM_ENABLED": True,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": False,  # that way of reading takes half a file for a whole one
}


@dataclass(frozen=True)
class SceneInfo:
    """What is known of a raster without reading its pixels.

    Attributes:
        name: of the scene, the file's without its suffix.
        path: anything GDAL opens.
        width_px: columns, native px.
        height_px: rows, native px.
        bands: names of the bands that hold data.
        dtype: number type of the pixels.
        nodata: value of missing pixels, None for none.
        crs: coordinate system, None for a local grid in metres.
        transform: native px -> map.
        gsd_m: metres per native px, along a row and down a column.
        file_block_hw: rows and columns of the file's blocks, native px.
        scales: of the bands, recorded and never applied.
        offsets: of the bands, recorded and never applied.
        notes: sentences for the user.
        origin_px: column and row, in the raster as delivered, of the first px of a spatial block
            cut from it.
        acquired: time of the picture in ISO 8601, None where the raster has none.
        is_gsd_known: where not, `gsd_m` is only what the search assumes, and metres mean nothing.
        stac_item: file of the STAC item that names the raster, None where none does.
        files: that GDAL reads the raster from, itself and its sidecars; empty where it was not
            opened.
    """

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
    file_block_hw: tuple[int, int] = (1, 1)
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    is_gsd_known: bool = True
    origin_px: tuple[int, int] = (0, 0)
    acquired: str | None = None
    stac_item: str | None = None
    files: tuple[str, ...] = field(default=(), compare=False)

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.height_px, self.width_px

    @property
    def is_striped(self) -> bool:
        """Whether the file is in strips as wide as the raster: windows are slow to read."""
        block_height, block_width = self.file_block_hw
        return block_width >= self.width_px > 1024 and block_height < self.height_px


def inspect_scene(path: str | Path, native_gsd_m: float | None = None) -> SceneInfo:
    """Return the description of a raster.

    Args:
        path: anything GDAL opens: a file, a VRT, `/vsicurl/...`, `https://...`, `s3://...`.
        native_gsd_m: metres per pixel, used only where the raster has no georeference.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
        UnsupportedError: dtype, band count, palette or kind of georeference that is not read.
        DataError: no georeference and no `native_gsd_m`, or a georeference without size.
    """
    with open_raster(path) as dataset:
        return _scene_info(dataset, str(path), native_gsd_m)


def files_read(path: str | Path, known_files: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the files that a raster is read from, itself first: sidecars and sources included.

    Of a virtual raster, also those of its sources, and sources that are missing. What cannot be
    opened is returned as it is.

    Args:
        path: of the raster.
        known_files: `SceneInfo.files`, where it has been opened; it is not opened again then.
    """
    names: dict[str, None] = {}
    waiting = [str(path)]
    while waiting:
        name = waiting.pop(0)
        if name in names:
            continue
        names[name] = None
        if name == str(path) or name.lower().endswith(".vrt"):
            try:
                waiting += [source.path for source in missing_sources(name)]
                waiting += _files_of_dataset(name, known_files if name == str(path) else ())
            except WindhoverError:
                continue
    for name in list(names):
        for suffix in (".aux.xml", ".msk", ".ovr"):  # of the sources too
            if Path(name + suffix).is_file():
                names[name + suffix] = None
    archives = {found.group(1) for name in names if (found := ARCHIVE_MEMBER.match(name))}
    return (*names, *sorted(archives))


def _files_of_dataset(path: str, known_files: Sequence[str]) -> Sequence[str]:
    """Return the files that GDAL names for a raster, from what is known or from the raster."""
    if known_files:
        return known_files
    with open_raster(path) as dataset:
        return tuple(dataset.files)


def overview_info(info: SceneInfo, overview: int) -> SceneInfo:
    """Return a raster's description with the size and the blocks of one of its overviews.

    Px k of an overview of w px covers [k W/w, (k + 1) W/w) of the raster's W px, W/w not always
    whole.
    """
    with open_raster(info.path, overview) as dataset:
        return replace(
            info,
            width_px=dataset.width,
            height_px=dataset.height,
            file_block_hw=tuple(dataset.block_shapes[0]),
        )


def open_dataset(path: str, overview: int | None) -> Any:
    """Open a raster, or one of its overviews, as rasterio does; GDAL's errors are the caller's."""
    if path.startswith("s3://"):
        # GDAL's own reader, configured by AWS_* and needing no other library
        path = f"/vsis3/{path.removeprefix('s3://')}"
    options: dict[str, Any] = {}
    if overview is not None:
        options["overview_level"] = overview
    part = partial_raster(path)
    if part is not None:
        path = part.xml
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, **options)


@contextmanager
def gdal_options() -> Iterator[None]:
    """Set GDAL's options in this thread; nothing is done where a caller has set them.

    To set them takes as long as to open a small raster: whoever opens many sets them once.
    """
    options = GDAL_OPTIONS | http_options()
    if rasterio.env.hasenv() and rasterio.env.getenv().items() >= options.items():
        yield
        return
    with rasterio.Env(**options):
        yield


@contextmanager
def open_raster(path: str | Path, overview: int | None = None) -> Iterator[Any]:
    """Open a raster, or one of its overviews, in rasterio; errors are this program's.

    Raises:
        MissingFileError: no such file.
        FormatError: GDAL cannot open it.
    """
    text = str(path)
    is_file_path = not re.match(r"[A-Za-z0-9_]+:|/vsi", text)  # no NETCDF:file:variable, https://
    if is_file_path and not Path(text).exists():
        advice = archive_advice(text) or "Correct the path."
        raise MissingFileError(f"{text}: no such file. {advice}")
    try:
        with (
            undecodable_messages_raised(),
            gdal_options(),
            open_dataset(text, overview) as dataset,
        ):
            yield dataset
    except (RasterioError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, MissingFileError):
            raise
        if Path(text).is_dir():
            raise FormatError(
                f"{text}: is a folder. Name the rasters in it, such as {text}/*.tif."
            ) from None
        raise FormatError(
            f"{text}: GDAL cannot open it ({gdal_reason(error)}). {opening_advice(text, error)}"
        ) from None


def scene_name(path: str) -> str:
    """Return the name of the scene of a raster: the file's without suffix, of addresses too."""
    address = re.search(r"(?:https?|ftp|s3|gs)(?:://|%3A%2F%2F)[^&]*", path, re.IGNORECASE)
    if address is None:
        return Path(path).stem
    return PurePosixPath(urlsplit(unquote(address.group())).path).stem or "scene"


def _scene_info(dataset: Any, path: str, native_gsd_m: float | None) -> SceneInfo:
    indexes = _data_bands(dataset)
    _check_bands(dataset, path, indexes)
    _check_orientation(dataset, path)
    _check_palette(dataset, path, indexes)
    georeference = read_georeference(dataset, path, native_gsd_m)
    gsd_m = check_gsd(path, georeference, (dataset.height, dataset.width))
    return SceneInfo(
        name=scene_name(path),
        path=path,
        width_px=dataset.width,
        height_px=dataset.height,
        bands=band_names(dataset, indexes),
        dtype=dataset.dtypes[indexes[0] - 1],
        nodata=dataset.nodatavals[indexes[0] - 1],
        crs=georeference.crs,
        transform=georeference.transform,
        gsd_m=gsd_m,
        file_block_hw=tuple(dataset.block_shapes[0]),
        scales=tuple(dataset.scales[index - 1] for index in indexes),
        offsets=tuple(dataset.offsets[index - 1] for index in indexes),
        notes=(*georeference.notes, *_missing_notes(path), *_value_notes(dataset, indexes)),
        acquired=acquisition_time(dataset),
        files=tuple(dataset.files),
    )


def _missing_notes(path: str) -> tuple[str, ...]:
    """Return a sentence on the missing sources of a virtual raster, if there are any."""
    missing = missing_sources(path)
    if not missing:
        return ()
    names = ", ".join(source.path for source in missing[:3])
    more = ", ..." if len(missing) > 3 else ""
    return (f"{len(missing)} of its sources are missing or damaged ({names}{more}): no data there",)


def _value_notes(dataset: Any, indexes: list[int]) -> tuple[str, ...]:
    """Return a sentence on a scale or an offset, and one on a nodata value that cannot occur."""
    notes = []
    scaling = {(dataset.scales[index - 1], dataset.offsets[index - 1]) for index in indexes}
    if scaling != {(1.0, 0.0)}:
        notes.append("has a scale or an offset, which is not applied: pixels are read as stored")
    dtype = np.dtype(dataset.dtypes[indexes[0] - 1])
    stated = {dataset.nodatavals[index - 1] for index in indexes} - {None}
    lost = [value for value in stated if dtype.kind != "f" and not holds_value(dtype, value)]
    if lost:
        notes.append(
            f"its nodata value {lost[0]:g} cannot be in {dtype}, so no pixel is missing by it"
        )
    return tuple(notes)


def holds_value(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether an integer dtype can hold a value."""
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _data_bands(dataset: Any) -> list[int]:
    """Return the bands that hold data, from 1: all but alpha bands, which are masks."""
    indexes = []
    for index, color in enumerate(dataset.colorinterp, 1):
        if color != ColorInterp.alpha:
            indexes.append(index)
    return indexes or list(dataset.indexes)


def _check_bands(dataset: Any, path: str, indexes: list[int]) -> None:
    if not indexes:
        raise UnsupportedError(
            f"{path}: holds no band of its own (a container of several rasters). "
            "Name one of the rasters inside it."
        )
    if indexes[-1] > len(indexes):
        raise UnsupportedError(
            f"{path}: its alpha band stands before others, and must be the last. "
            "Put it there with gdal_translate -b."
        )
    if len(indexes) > MAX_BANDS:
        raise UnsupportedError(
            f"{path}: has {len(indexes)} bands, at most {MAX_BANDS} are taken. "
            "Extract those you need with gdal_translate -b."
        )
    dtypes = sorted({dataset.dtypes[index - 1] for index in indexes})
    if len(dtypes) > 1:
        raise UnsupportedError(
            f"{path}: its bands have different dtypes ({', '.join(dtypes)}). "
            "Write them in one, with gdal_translate -ot."
        )
    if dtypes[0] not in DTYPES:
        raise UnsupportedError(
            f"{path}: dtype {dtypes[0]} is not taken, only {', '.join(DTYPES)}. "
            "Convert it with gdal_translate -ot."
        )


def _check_orientation(dataset: Any, path: str) -> None:
    orientation = dataset.tags().get("EXIF_Orientation", "1")
    if orientation not in ("", "0", "1"):
        raise UnsupportedError(
            f"{path}: its EXIF marks it to be turned before it is shown (orientation "
            f"{orientation}), so it is not known which way round its labels are. "
            "Turn the pixels for good: magick IN -auto-orient OUT."
        )


def _check_palette(dataset: Any, path: str, indexes: list[int]) -> None:
    if len(indexes) == 1 and dataset.colorinterp[indexes[0] - 1] == ColorInterp.palette:
        raise UnsupportedError(
            f"{path}: holds colour numbers of a palette, which cannot be averaged. "
            "Convert it with gdal_translate -expand rgb."
        )


def band_aliases(info: SceneInfo) -> dict[str, str]:
    """Return alias in lower case -> band: each band's own name, and its number as in `band3`."""
    aliases = {}
    for number, name in enumerate(info.bands, 1):
        for prefix in NUMBER_PREFIXES:
            aliases[f"{prefix}{number}"] = name
    for name in info.bands:
        aliases[name.lower()] = name
    return aliases
