"""Files of detections before they are written: their suffixes, and which may be replaced.

Asked before the work, so it needs none of the libraries that write them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from windhover.errors import DataError, ParameterError
from windhover.files import is_csv_with_columns

SUFFIXES = (".gpkg", ".parquet", ".geojson", ".fgb", ".csv", ".json", ".pmtiles", ".html")
LONLAT_SUFFIXES = {".geojson": "GeoJSON", ".pmtiles": "PMTiles"}  # know no other coordinates
# of every version, so that an older map is known as one
OWN_COLUMNS = (
    "scene", "class", "score", "col", "row", "length_m", "width_m", "edge", "model", "geometry",
)  # fmt: skip
LAYER = "detections"
SCENES_LAYER = "scenes"
SEARCHED_LAYER = "searched"
OWN_LAYERS = {LAYER, SCENES_LAYER, SEARCHED_LAYER}
STYLE_TABLE = "layer_styles"
COCO_HEAD = '{"info": {"description": "detections of windhover"'
PAGE_HEAD = "<!DOCTYPE html>\n<!-- map of windhover -->\n"
PMTILES_HEAD = b"PMTiles\x03"
GEOJSON_HEAD = '{"type": "FeatureCollection", "features": ['  # first line of every file
# beginnings of the names of a GeoPackage's own tables, and of SQLite's
OWN_TABLES = ("gpkg_", "rtree_", "sqlite_")


def check_suffix(path: Path, georeferenced: bool) -> None:
    """Check, before the work, that detections can be written to a path.

    Raises:
        ParameterError: an unknown suffix.
        DataError: GeoJSON or PMTiles for a scene without georeference.
    """
    if path.suffix not in SUFFIXES:
        raise ParameterError(f"{path}: must end in one of {', '.join(SUFFIXES)}. Rename it.")
    if path.suffix in LONLAT_SUFFIXES and not georeferenced:
        raise DataError(
            f"{path}: a scene without georeference has no longitude and latitude for "
            f"{LONLAT_SUFFIXES[path.suffix]}. Write .gpkg or .parquet."
        )


def is_own_map(path: Path) -> bool:
    """Return whether a file that is there is one of detections that was written here.

    A GeoPackage with layers of others is not, whatever its layer of detections.
    """
    tests = {
        ".gpkg": _is_own_geopackage,
        ".parquet": lambda path: set(OWN_COLUMNS) <= _parquet_columns(path),
        ".fgb": _is_own_flatgeobuf,
        ".csv": lambda path: is_csv_with_columns(path, OWN_COLUMNS),
        ".json": lambda path: _begins_with(path, COCO_HEAD.encode()),
        ".pmtiles": lambda path: _begins_with(path, PMTILES_HEAD) and _has_layer(path),
        ".html": lambda path: _begins_with(path, PAGE_HEAD.encode()),
        ".geojson": _is_own_geojson,
    }
    return tests[path.suffix](path)


def _begins_with(path: Path, head: bytes) -> bool:
    """Return whether a file begins with some bytes."""
    with path.open("rb") as stream:
        return stream.read(len(head)) == head


def _is_own_flatgeobuf(path: Path) -> bool:
    """Return whether a FlatGeobuf has the columns of detections."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        return set(OWN_COLUMNS) - {"geometry"} <= set(pyogrio.read_info(path)["fields"])
    except (DataSourceError, DataLayerError):
        return False


def _has_layer(path: Path) -> bool:
    """Return whether a file that GDAL opens holds the layer of detections alone."""
    import pyogrio
    from pyogrio.errors import DataSourceError

    try:
        return [name for name, _ in pyogrio.list_layers(path)] == [LAYER]
    except DataSourceError:
        return False


def _is_own_geopackage(path: Path) -> bool:
    """Return whether a GeoPackage holds the layers of detections and their styles alone."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            )
            tables = {name for (name,) in names if not name.startswith(OWN_TABLES)}
            if not {LAYER} <= tables <= {*OWN_LAYERS, STYLE_TABLE}:
                return False
            fields = {row[1] for row in database.execute(f"PRAGMA table_info({LAYER})")}
    except sqlite3.Error:
        return False
    return set(OWN_COLUMNS) - {"geometry"} <= fields


def _parquet_columns(path: Path) -> set[str]:
    """Return the names of a Parquet file's columns; none of what is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, ValueError, OSError):
        return set()


def _is_own_geojson(path: Path) -> bool:
    """Return whether a file begins as `write_geojson` begins it."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        is_collection = stream.readline().startswith(GEOJSON_HEAD)
        first = stream.readline()
    has_columns = all(f'"{name}"' in first for name in OWN_COLUMNS)
    return is_collection and (has_columns or first.strip() == "]}")
