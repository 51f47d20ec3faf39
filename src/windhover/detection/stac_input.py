"""STAC items as scenes to search: items, item collections, collections and stac-geoparquet.

The asset is chosen by the model's bands. Catalogues are read from disk alone; a picture is fetched
from a server only where an item names one. Opens no raster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.files import read_json
from windhover.imagery.acquisition_time import parse_time
from windhover.imagery.virtual_rasters import BandOfFile

GEOPARQUET_COLUMNS = ("id", "assets", "datetime", "start_datetime")
SUFFIXES = (".json", ".parquet")
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg", ".img")
NO_DATA_ROLES = {"thumbnail", "overview", "metadata"}
SCHEMES = ("https", "http", "s3")  # of servers from which GDAL reads
NAME_KEYS = ("eo:common_name", "common_name", "name")
UNNAMED = 0  # of a band that has no name
CORRECT = "Correct the file, or name the rasters."


class StacScene(NamedTuple):
    """A raster that an item names, or the rasters of its bands.

    Attributes:
        name: the item's id.
        path: of the raster.
        acquired: time in ISO 8601, None where the item does not hold it.
        bands: numbers from 1 of those that are the model's, in its order; None where the item does
            not name its bands.
        sources: the bands in files of their own that have to be stacked first, in the model's
            order; none where `path` holds all. `bands` counts in the stack then.
        source: file of the item, or of the table or collection that holds it.
        stack: content of the virtual raster of bands in files of their own, once it is made.
    """

    name: str
    path: str
    acquired: str | None
    bands: tuple[str, ...] | None
    sources: tuple[BandOfFile, ...] = ()
    source: str = ""
    stack: bytes = b""


class _Entry(NamedTuple):
    """An item as it is written, and the file that it is in, from which its addresses begin."""

    content: dict[str, Any]
    file: Path

    @property
    def folder(self) -> Path:
        return self.file.parent


def is_stac(path: str) -> bool:
    """Return whether a scene's name is that of a STAC file, and no raster's."""
    return "://" not in path and Path(path).suffix.lower() in SUFFIXES


def read_stac_scenes(
    path: str | Path, model_bands: Sequence[str], dtype: str = "uint8"
) -> list[StacScene]:
    """Return the rasters of the items of a file.

    Args:
        path: an item, an item collection, a collection or catalogue (.json), or stac-geoparquet.
        model_bands: names of the bands that the model takes, in its order.
        dtype: number type that the model takes; of two assets with its bands, one that is known to
            have another type is not taken.

    Raises:
        MissingFileError: no such file.
        FormatError: it is no STAC.
        DataError: an item lacks a band, or names a raster in a way that is not followed.
        ModuleNotFoundError: pystac is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Correct the path.")
    entries = _read_geoparquet(path) if path.suffix.lower() == ".parquet" else _read_items(path)
    scenes = [_scene(entry, path, model_bands, dtype) for entry in entries]
    if not scenes:
        raise DataError(f"{path}: holds no item. Name a file with items, or rasters.")
    return scenes


def _read_items(path: Path) -> list[_Entry]:
    """Return the items of a JSON file, those that it links to included."""
    import pystac  # of an extra

    class LocalFiles(pystac.StacIO):
        """Reads from disk alone."""

        def read_text(self, source: Any, *_: Any, **__: Any) -> str:
            href = _local_path(getattr(source, "href", source))
            if href is None:
                raise DataError(
                    f"{path}: links to {source}, which is not on this disk. Download the items "
                    "and name their file."
                )
            return href.read_text(encoding="utf-8")

        def write_text(self, *_: Any, **__: Any) -> None:
            raise NotImplementedError("items are only read; pystac asks for both")

    content = read_json(path, "Correct the path.", CORRECT)
    kind = content.get("type") if isinstance(content, dict) else None
    try:
        if kind == "FeatureCollection":
            features = content.get("features")
            if not isinstance(features, list):
                raise ValueError("its features are no list")
            return [_Entry(_checked(feature), path) for feature in features]
        if kind == "Feature":
            return [_Entry(_checked(content), path)]
        if kind not in ("Collection", "Catalog"):
            raise ValueError("it is no Feature, FeatureCollection, Collection or Catalog")
        root_type = pystac.Collection if kind == "Collection" else pystac.Catalog
        root = root_type.from_file(str(path.absolute()), stac_io=LocalFiles())
        return [_linked(item, path) for item in root.get_items(recursive=True)]
    except DataError:
        raise
    except (pystac.STACError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error.__cause__, DataError):  # of a link that is not followed
            raise error.__cause__ from None
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise FormatError(f"{path}: is no STAC that can be read ({reason}). {CORRECT}") from None


def _linked(item: Any, collection: Path) -> _Entry:
    """Return an item that a collection links to."""
    href = item.get_self_href()
    file = collection if href is None else Path(href)
    return _Entry(item.to_dict(include_self_link=False, transform_hrefs=False), file)


def _checked(content: Any) -> dict[str, Any]:
    """Return an item's content, if it is one.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(content, dict) or not isinstance(content.get("assets"), dict):
        raise ValueError("a feature has no assets, so it is no STAC item")
    if not isinstance(content.get("id"), str) or not content["id"]:
        raise ValueError("an item has no id")
    return content


def _read_geoparquet(path: Path) -> list[_Entry]:
    """Return the items of a stac-geoparquet file: a row an item, its assets in a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_schema(path).names
        wanted = [name for name in GEOPARQUET_COLUMNS if name in columns]
        if not {"id", "assets"} <= set(wanted):
            raise ValueError("it has no columns `id` and `assets`")
        rows = pq.read_table(path, columns=wanted).to_pylist()
        entries = []
        for row in rows:
            assets = {key: asset for key, asset in row["assets"].items() if asset is not None}
            properties = {key: row.get(key) for key in ("datetime", "start_datetime")}
            content = {"id": row["id"], "assets": assets, "properties": properties}
            entries.append(_Entry(_checked(content), path))
        return entries
    except (pa.ArrowException, ValueError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise FormatError(f"{path}: is no stac-geoparquet ({reason}). {CORRECT}") from None


def _scene(entry: _Entry, source: Path, model_bands: Sequence[str], dtype: str) -> StacScene:
    """Return the raster of an item whose bands are the model's, or the rasters they are in."""
    item = entry.content
    where = f"{source}: the item {item['id']}"
    rasters = {key: asset for key, asset in item["assets"].items() if _is_raster(asset)}
    if not rasters:
        raise DataError(f"{where} has no asset that is a raster. {CORRECT}")
    chosen = _choose_bands(rasters, model_bands, dtype)
    if chosen is None:
        raise DataError(f"{where} {_missing(rasters, model_bands)}")
    properties = item.get("properties") or {}
    time = properties.get("datetime") or properties.get("start_datetime")
    hrefs = [
        _followed(str(rasters[band.key].get("href", "")), entry.folder, where) for band in chosen
    ]
    numbers: tuple[str, ...] | None = tuple(str(band.number) for band in chosen)
    sources: tuple[BandOfFile, ...] = ()
    if len({band.key for band in chosen}) > 1:
        sources = tuple(map(BandOfFile, hrefs, (band.number for band in chosen)))
        numbers = tuple(str(number) for number in range(1, len(chosen) + 1))
    elif chosen[0].number == UNNAMED:
        numbers = None
    return StacScene(
        name=item["id"],
        path=hrefs[0],
        acquired=None if time is None else parse_time(str(time)),
        bands=numbers,
        sources=sources,
        source=str(entry.file),
    )


class _BandOfAsset(NamedTuple):
    """A band of an asset."""

    key: str
    number: int  # from 1


def _choose_bands(
    rasters: Mapping[str, dict[str, Any]], model_bands: Sequence[str], dtype: str
) -> list[_BandOfAsset] | None:
    """Return where each of the model's bands is; None where one is nowhere.

    All are taken from one asset where it has them, unless assets of single bands fit better: as
    data rather than as a picture to be shown, or in the model's number type.
    """
    ranked = sorted(rasters.items(), key=lambda pair: _rank(pair[1], dtype))
    whole: list[_BandOfAsset] | None = None
    for key, asset in ranked:
        numbers = [_band_number(key, asset, band) for band in model_bands]
        if whole is None and all(numbers):
            whole = [_BandOfAsset(key, number) for number in numbers]
    apart: list[_BandOfAsset] = []
    for band in model_bands:
        for key, asset in ranked:
            number = _band_number(key, asset, band)
            if number:
                apart.append(_BandOfAsset(key, number))
                break
    if len(apart) < len(model_bands):
        key, asset = ranked[0]
        is_unnamed = len(rasters) == 1 and not _band_names(asset)
        return [_BandOfAsset(key, UNNAMED)] * len(model_bands) if is_unnamed else None
    if whole is None:
        return apart
    rank_apart = max(_rank(rasters[band.key], dtype) for band in apart)
    return apart if rank_apart < _rank(rasters[whole[0].key], dtype) else whole


def _rank(asset: Mapping[str, Any], dtype: str) -> tuple[bool, bool]:
    """Return how far an asset is from what a model takes; the smaller the better."""
    bands = [band for band in _bands(asset) if isinstance(band, dict)]
    types = {str(band["data_type"]) for band in bands if band.get("data_type")}
    return (bool(types) and types != {dtype}, "data" not in _roles(asset))


def _band_number(key: str, asset: Mapping[str, Any], band: str) -> int:
    """Return the number from 1 of a band in an asset, 0 where it has none of that name.

    An asset that names no band is called by its key: `red` of `{"red": {"href": "B04.tif"}}`.
    """
    names = _band_names(asset) or [{key.lower()}]
    for number, given in enumerate(names, 1):
        if band.lower() in given:
            return number
    return 0


def _is_raster(asset: Any) -> bool:
    """Return whether an asset is a raster of data."""
    if not isinstance(asset, dict) or not asset.get("href"):
        return False
    if _roles(asset) & NO_DATA_ROLES:
        return False
    if str(asset.get("type") or "").startswith("image/"):
        return True
    return Path(urlsplit(str(asset["href"])).path).suffix.lower() in RASTER_SUFFIXES


def _roles(asset: Mapping[str, Any]) -> set[str]:
    return set(asset.get("roles") or ())


def _bands(asset: Mapping[str, Any]) -> list[Any]:
    """Return what an asset writes of its bands; of a list of each key, the parts are joined."""
    lists = [asset.get(key) or [] for key in ("bands", "eo:bands", "raster:bands")]
    joined: list[Any] = []
    for parts in zip_longest(*lists, fillvalue={}):
        described: dict[str, Any] = {}
        for part in parts:
            described |= part if isinstance(part, dict) else {}
        joined.append(described)
    return joined


def _band_names(asset: Mapping[str, Any]) -> list[set[str]]:
    """Return all names of each band of an asset, in lower case; none where it names none."""
    names = [
        {str(band[key]).lower() for key in NAME_KEYS if band.get(key)} for band in _bands(asset)
    ]
    return names if any(names) else []


def _shown_name(band: Mapping[str, Any]) -> str:
    """Return the name of a band that a person knows it by."""
    given = [str(band[key]) for key in NAME_KEYS if band.get(key)]
    return given[0] if given else "?"


def _missing(rasters: Mapping[str, Any], model_bands: Sequence[str]) -> str:
    """Return what an item lacks, and what to do."""
    held = []
    for key, asset in rasters.items():
        shown = "/".join(_shown_name(band) for band in _bands(asset))
        held.append(f"{key}: {shown or 'bands without names'}")
    wanted = ", ".join(model_bands)
    return (
        f"has no asset with the model's bands ({wanted}); it has {'; '.join(held[:8])}. "
        "Search the raster that is meant by its path, with --bands."
    )


def _followed(href: str, folder: Path, where: str) -> str:
    """Return the path or address of a raster that an item names.

    Raises:
        DataError: it is neither a file nor on a server that GDAL reads.
    """
    scheme = urlsplit(href).scheme.lower()
    if scheme in SCHEMES:
        return href
    path = _local_path(href)
    if path is None:
        raise DataError(
            f"{where} names its raster {href[:80]}, which is neither a file nor at "
            f"{', '.join(SCHEMES)}. Correct the item, or download the raster and name it."
        )
    return str(path if path.is_absolute() else folder / path)


def _local_path(href: Any) -> Path | None:
    """Return the path on this disk that an address names, None for any other."""
    text = str(href)
    parts = urlsplit(text)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    is_plain = not parts.scheme and ":" not in text and not text.startswith("/vsi")
    return Path(text) if is_plain and text else None


def common_bands(scenes: Iterable[StacScene], source: str) -> tuple[str, ...] | None:
    """Return the numbers of the model's bands, which all scenes share.

    Raises:
        DataError: they stand in another order in some.
    """
    orders = {scene.bands for scene in scenes}
    if len(orders) > 1:
        raise DataError(
            f"{source}: its items have the model's bands in different orders. Search them apart."
        )
    return next(iter(orders), None)
