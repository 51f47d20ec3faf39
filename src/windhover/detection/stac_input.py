"""STAC items as scenes to search: items, item collections, collections and stac-geoparquet.

The asset is chosen by the model's bands. Catalogues are read from disk alone; a picture is fetched
from a server only where an item names one. Opens no raster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.files import read_json
from windhover.imagery.acquisition_time import parse_time

SUFFIXES = (".json", ".parquet")
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg", ".img")
NO_DATA_ROLES = {"thumbnail", "overview", "metadata"}
SCHEMES = ("https", "http", "s3")  # of servers from which GDAL reads
NAME_KEYS = ("eo:common_name", "common_name", "name")
ITEM_COLUMNS = ("id", "assets", "datetime", "start_datetime")  # of stac-geoparquet
CORRECT = "Correct the file, or name the rasters."


class StacScene(NamedTuple):
    """A raster that an item names.

    Attributes:
        name: the item's id.
        path: of the raster.
        acquired: time in ISO 8601, None where the item does not tell.
        bands: numbers from 1 of those that are the model's, in its order; None where the item does
            not name its bands.
    """

    name: str
    path: str
    acquired: str | None
    bands: tuple[str, ...] | None


class _Entry(NamedTuple):
    """An item as it is written, and the folder that its addresses begin from."""

    content: dict[str, Any]
    folder: Path


def is_stac(path: str) -> bool:
    """Return whether a scene's name is that of a STAC file, and no raster's."""
    return "://" not in path and Path(path).suffix.lower() in SUFFIXES


def read_stac_scenes(path: str | Path, model_bands: Sequence[str]) -> list[StacScene]:
    """Return the rasters of the items of a file.

    Args:
        path: an item, an item collection, a collection or catalogue (.json), or stac-geoparquet.
        model_bands: names of the bands that the model takes, in its order.

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
    scenes = [_scene(entry, path, model_bands) for entry in entries]
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
            return [_Entry(_checked(feature), path.parent) for feature in features]
        if kind == "Feature":
            return [_Entry(_checked(content), path.parent)]
        if kind not in ("Collection", "Catalog"):
            raise ValueError("it is no Feature, FeatureCollection, Collection or Catalog")
        root_type = pystac.Collection if kind == "Collection" else pystac.Catalog
        root = root_type.from_file(str(path.absolute()), stac_io=LocalFiles())
        return [_linked(item, path.parent) for item in root.get_items(recursive=True)]
    except DataError:
        raise
    except (pystac.STACError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error.__cause__, DataError):  # of a link that is not followed
            raise error.__cause__ from None
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise FormatError(f"{path}: is no STAC that can be read ({reason}). {CORRECT}") from None


def _linked(item: Any, folder: Path) -> _Entry:
    """Return an item that a collection links to."""
    href = item.get_self_href()
    if href is not None:
        folder = Path(href).parent
    return _Entry(item.to_dict(include_self_link=False, transform_hrefs=False), folder)


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
        wanted = [
            name for name in ("id", "assets", "datetime", "start_datetime") if name in columns
        ]
        if not {"id", "assets"} <= set(wanted):
            raise ValueError("it has no columns `id` and `assets`")
        rows = pq.read_table(path, columns=wanted).to_pylist()
        entries = []
        for row in rows:
            assets = {key: asset for key, asset in row["assets"].items() if asset is not None}
            properties = {key: row.get(key) for key in ("datetime", "start_datetime")}
            content = {"id": row["id"], "assets": assets, "properties": properties}
            entries.append(_Entry(_checked(content), path.parent))
        return entries
    except (pa.ArrowException, ValueError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise FormatError(f"{path}: is no stac-geoparquet ({reason}). {CORRECT}") from None


def _scene(entry: _Entry, source: Path, model_bands: Sequence[str]) -> StacScene:
    """Return the raster of an item whose bands are the model's."""
    item = entry.content
    where = f"{source}: the item {item['id']}"
    rasters = {key: asset for key, asset in item["assets"].items() if _is_raster(asset)}
    if not rasters:
        raise DataError(f"{where} has no asset that is a raster. {CORRECT}")
    properties = item.get("properties") or {}
    chosen = None
    for asset in sorted(rasters.values(), key=lambda asset: "data" not in _roles(asset)):
        bands = _find_bands(_band_names(asset), model_bands)
        if bands is not None:
            chosen = asset
            break
    else:
        bands = None
        if len(rasters) == 1 and not _band_names(*rasters.values()):
            chosen = next(iter(rasters.values()))
    if chosen is None:
        raise DataError(f"{where} {_missing(rasters, model_bands)}")
    time = properties.get("datetime") or properties.get("start_datetime")
    acquired = None if time is None else parse_time(str(time))
    href = _followed(str(chosen.get("href", "")), entry.folder, where)
    return StacScene(item["id"], href, acquired, bands)


def _is_raster(asset: Any) -> bool:
    """Return whether an asset is a raster of data."""
    if not isinstance(asset, dict) or not asset.get("href"):
        return False
    if _roles(asset) & NO_DATA_ROLES:
        return False
    if str(asset.get("type") or "").startswith("image/"):
        return True
    return Path(urlsplit(str(asset["href"])).path).suffix.lower() in RASTER_SUFFIXES


def _roles(asset: dict[str, Any]) -> set[str]:
    return set(asset.get("roles") or ())


def _band_names(asset: dict[str, Any]) -> list[set[str]]:
    """Return all names of each band of an asset, in lower case; none where it names none."""
    bands = asset.get("bands") or asset.get("eo:bands") or []
    names = []
    for band in bands:
        given = [band.get(key) for key in NAME_KEYS] if isinstance(band, dict) else []
        names.append({str(name).lower() for name in given if name})
    return names if any(names) else []


def _find_bands(names: list[set[str]], model_bands: Sequence[str]) -> tuple[str, ...] | None:
    """Return the numbers from 1 of the model's bands, None where one is missing."""
    numbers = []
    for wanted in model_bands:
        found = [number for number, band in enumerate(names, 1) if wanted.lower() in band]
        if not found:
            return None
        numbers.append(str(found[0]))
    return tuple(numbers)


def _missing(rasters: dict[str, Any], model_bands: Sequence[str]) -> str:
    """Return what an item lacks, and what to do."""
    held = []
    apart = set()
    for key, asset in rasters.items():
        names = _band_names(asset)
        apart |= {name for band in names for name in band}
        shown = "/".join(sorted(min(band, key=len) if band else "?" for band in names))
        held.append(f"{key}: {shown or 'bands without names'}")
    wanted = ", ".join(model_bands)
    text = f"has no asset with the model's bands ({wanted}); it has {'; '.join(held[:8])}. "
    if {name.lower() for name in model_bands} <= apart:
        return text + "Stack them: gdalbuildvrt -separate ID.vrt FILES, and search that."
    return text + "Search the raster that is meant by its path, with --bands."


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
