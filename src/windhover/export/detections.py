"""Files of detections: the stage's own table, and a map of one coordinate system in any format.

The columns are those of `windhover.inference.detection_columns`, in every format. Equal tables give
equal bytes. Finds nothing.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from windhover.disk_space import check_space
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.geojson import write_geojson
from windhover.export.geopackage import (
    read_geopackage_summary,
    write_geopackage,
    write_layer,
)
from windhover.export.map_files import LAYER, LONLAT_SUFFIXES, check_suffix
from windhover.export.pmtiles import write_pmtiles
from windhover.files import atomic_file
from windhover.inference.detection_columns import COLUMNS, OPTIONAL_COLUMNS, SCENE_CRS, SPLIT, TEXTS
from windhover.inference.result_table import RESULTS

EMPTY_MAP_BYTES = 300_000  # a GeoPackage with its styles and no row has 250 kB
ROW_BYTES = 900  # of a detection in the largest format, GeoJSON, about twice over
WKT_DECIMALS = 9
SUMMARY_KEY = b"windhover"  # of the summary in a GeoParquet file's metadata
GEOPARQUET_VERSION = "1.1.0"
ROW_GROUP_ROWS = 20_000  # each with its own bounds, so that a reader skips those elsewhere
# a spreadsheet computes a cell that begins so; the sign before it makes it a text (OWASP)
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
TEXT_SIGN = "'"


def save_table(table: geopandas.GeoDataFrame, path: str | Path) -> None:
    """Write a table of several coordinate systems as GeoParquet without one, atomically.

    Each row's system is in the column `scene_crs`.
    """
    with atomic_file(path) as temporary:
        columns = [name for name in (*COLUMNS, *OPTIONAL_COLUMNS, SCENE_CRS) if name in table]
        table[columns].to_parquet(temporary, index=False)


def load_table(path: str | Path) -> geopandas.GeoDataFrame:
    """Read what `save_table` wrote.

    Raises:
        MissingFileError: no such file.
        FormatError: not such a table.
    """
    return geopandas.GeoDataFrame(RESULTS.read(path))


def write_map(
    table: geopandas.GeoDataFrame, path: str | Path, summary: DetectionSummary | None = None
) -> None:
    """Write a map table in the format of the path's suffix, atomically.

    Args:
        table: from `to_map_table`: one coordinate system, or none for a local grid.
        path: `.gpkg`, `.parquet`, `.geojson`, `.fgb`, `.csv` or `.pmtiles`.
        summary: of the search: a GeoPackage gets layers of its scenes, GeoParquet all of it in its
            metadata.

    Raises:
        ParameterError: another suffix.
        DataError: a local grid in a format that knows longitude and latitude only.
        FullDiskError: the disk has no room for it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check_suffix(path, georeferenced=True)
    if path.suffix in LONLAT_SUFFIXES and table.crs is None and len(table):
        raise DataError(
            f"{path}: boxes in a local grid have no longitude and latitude for "
            f"{LONLAT_SUFFIXES[path.suffix]}. "
            "Write .gpkg, .parquet or .csv."
        )
    check_space(path, EMPTY_MAP_BYTES + ROW_BYTES * len(table))
    with atomic_file(path) as temporary:
        _write(table, temporary, summary)


def _write(table: geopandas.GeoDataFrame, path: Path, summary: DetectionSummary | None) -> None:
    """Write a map table in the format of the path's suffix."""
    if path.suffix == ".gpkg":
        write_geopackage(table, path, summary)
    elif path.suffix == ".parquet":
        _write_parquet(table, path, summary)
    elif path.suffix == ".geojson":
        write_geojson(table, path)
    elif path.suffix == ".csv":
        _write_csv(table, path)
    elif path.suffix == ".fgb":
        # without rows there is nothing to index, and GDAL would write no file
        index = "YES" if len(table) else "NO"
        write_layer(table, path, LAYER, driver="FlatGeobuf", SPATIAL_INDEX=index)
    else:
        write_pmtiles(table, path)


def _write_parquet(
    table: geopandas.GeoDataFrame, path: Path, summary: DetectionSummary | None
) -> None:
    """Write GeoParquet 1.1 with bounds of each row, rows along a Hilbert curve.

    Readers that know the bounds fetch only the groups of rows that they need.
    """
    if len(table) > 1:
        distance = table.hilbert_distance().to_numpy()
        table = table.iloc[np.lexsort((table["id"].to_numpy(str), distance))]
    table.to_parquet(
        path,
        index=False,
        write_covering_bbox=True,
        schema_version=GEOPARQUET_VERSION,
    )
    written = pq.read_table(path)
    metadata = dict(written.schema.metadata)
    if summary is not None:
        metadata[SUMMARY_KEY] = summary.model_dump_json().encode()
    pq.write_table(
        written.replace_schema_metadata(metadata),
        path,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
    )


def read_summary(path: Path) -> DetectionSummary:
    """Return the summary of the search that a GeoParquet file or a GeoPackage holds.

    Raises:
        MissingFileError: no such file.
        FormatError: it holds none.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Name a result of `windhover detect`.")
    if path.suffix == ".gpkg":
        return read_geopackage_summary(path)
    try:
        metadata = pq.read_schema(path).metadata or {}
        return DetectionSummary.model_validate_json(metadata[SUMMARY_KEY])
    except (KeyError, ValueError, OSError, pa.ArrowException):
        raise FormatError(
            f"{path}: holds no summary of a search. Give a .parquet that `windhover detect` wrote."
        ) from None


def _write_csv(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write CSV, the polygons as WKT; texts that a spreadsheet would compute get a sign before."""
    flat = pd.DataFrame(table.drop(columns="geometry"))
    for name in (*TEXTS, SPLIT, SCENE_CRS):
        if name in flat:
            is_formula = flat[name].str.startswith(FORMULA_SIGNS).fillna(False).astype(bool)
            flat[name] = flat[name].where(~is_formula, TEXT_SIGN + flat[name])
    polygons = table.geometry.to_numpy()
    flat["geometry"] = shapely.to_wkt(polygons, rounding_precision=WKT_DECIMALS)
    columns = [*(name for name in flat if name != "geometry"), "geometry"]
    flat[columns].to_csv(path, index=False, lineterminator="\n")
