"""Files of detections before they are written: their suffixes, and which may be replaced.

Asked before the work, so it needs none of the libraries that write them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from windhover.errors import DataError, ParameterError
from windhover.files import is_csv_with_columns
from windhover.inference.detection_columns import COLUMNS

SUFFIXES = (".gpkg", ".parquet", ".geojson", ".csv")
LAYER = "detections"
STYLE_TABLE = "layer_styles"
GEOJSON_HEAD = '{"type": "FeatureCollection", "features": ['  # first line of every file
# beginnings of the names of a GeoPackage's own tables, and of SQLite's
OWN_TABLES = ("gpkg_", "rtree_", "sqlite_")
NAMES_OF_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"


def check_suffix(path: Path, georeferenced: bool) -> None:
    """Check, before the work, that detections can be written to a path.

    Raises:
        ParameterError: an unknown suffix.
        DataError: GeoJSON for a scene without georeference.
    """
    if path.suffix not in SUFFIXES:
        raise ParameterError(f"{path}: must end in one of {', '.join(SUFFIXES)}. Rename it.")
    if path.suffix == ".geojson" and not georeferenced:
        raise DataError(
            f"{path}: a scene without georeference has no longitude and latitude for GeoJSON. "
            "Write .gpkg or .parquet."
        )


def is_own_map(path: Path) -> bool:
    """Return whether a file that is there is a map that `write_map` wrote, and nothing more.

    A GeoPackage with other layers is not, whatever its layer of detections.
    """
    if path.suffix == ".gpkg":
        return _is_own_geopackage(path)
    if path.suffix == ".parquet":
        return set(COLUMNS) <= _parquet_columns(path)
    if path.suffix == ".csv":
        return is_csv_with_columns(path, COLUMNS)
    return _is_own_geojson(path)


def _is_own_geopackage(path: Path) -> bool:
    """Return whether a GeoPackage holds a layer of detections and its style alone."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            names = database.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            )
            tables = {name for (name,) in names if not name.startswith(OWN_TABLES)}
            if not {LAYER} <= tables <= {LAYER, STYLE_TABLE}:
                return False
            fields = {row[1] for row in database.execute(f"PRAGMA table_info({LAYER})")}
    except sqlite3.Error:
        return False
    return set(COLUMNS) - {"geometry"} <= fields


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
    has_columns = all(f'"{name}"' in first for name in COLUMNS)
    return is_collection and (has_columns or first.strip() == "]}")
