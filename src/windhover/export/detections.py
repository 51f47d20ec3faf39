"""Files of detections: the stage's own table, and a map as GeoPackage, GeoParquet, GeoJSON or CSV.

The columns are those of `windhover.inference.result_table`, in every format. Equal tables give
equal bytes. Finds nothing.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import geopandas
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from windhover.errors import DataError
from windhover.export.geojson import write_geojson
from windhover.export.map_files import LAYER, check_suffix
from windhover.export.qgis_style import add_style
from windhover.files import atomic_file, check_space
from windhover.inference.detection_columns import COLUMNS, SCENE_CRS, SPLIT
from windhover.inference.result_table import RESULTS

EMPTY_MAP_BYTES = 200_000  # a GeoPackage with its style and no row has 110 kB
ROW_BYTES = 600  # of a detection in the largest format, GeoJSON, about twice over
# GDAL writes the time into a GeoPackage; a fixed one makes equal tables equal files
STAMP = "2000-01-01T00:00:00Z"
# newer versions make older readers warn, and add nothing used here
GEOPACKAGE_VERSION = "1.2"
WKT_DECIMALS = 9


def save_table(table: geopandas.GeoDataFrame, path: str | Path) -> None:
    """Write a table of several coordinate systems as GeoParquet without one, atomically.

    Each row's system is in the column `scene_crs`.
    """
    with atomic_file(path) as temporary:
        columns = [name for name in (*COLUMNS, SPLIT, SCENE_CRS) if name in table]
        table[columns].to_parquet(temporary, index=False)


def load_table(path: str | Path) -> geopandas.GeoDataFrame:
    """Read what `save_table` wrote.

    Raises:
        MissingFileError: no such file.
        FormatError: not such a table.
    """
    return geopandas.GeoDataFrame(RESULTS.read(path))


def write_map(table: geopandas.GeoDataFrame, path: str | Path, description: str = "") -> None:
    """Write a map table in the format of the path's suffix, atomically.

    Args:
        table: from `to_map_table`: one coordinate system, or none for a local grid.
        path: `.gpkg`, `.parquet`, `.geojson` or `.csv`.
        description: of the layer, which a GIS shows; kept by GeoPackage alone.

    Raises:
        ParameterError: another suffix.
        DataError: a local grid as GeoJSON, which knows longitude and latitude only.
        FullDiskError: the disk has no room for it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check_suffix(path, georeferenced=True)
    if path.suffix == ".geojson" and table.crs is None and len(table):
        raise DataError(
            f"{path}: boxes in a local grid have no longitude and latitude for GeoJSON. "
            "Write .gpkg, .parquet or .csv."
        )
    writers: dict[str, Callable[[geopandas.GeoDataFrame, Path], None]] = {
        ".gpkg": partial(_write_gpkg, description=description),
        ".parquet": _write_parquet,
        ".geojson": write_geojson,
        ".csv": _write_csv,
    }
    check_space(path, EMPTY_MAP_BYTES + ROW_BYTES * len(table))
    with atomic_file(path) as temporary:
        try:
            writers[path.suffix](table, temporary)
        except (DataSourceError, DataLayerError, sqlite3.Error, pa.ArrowException) as error:
            reason = " ".join(str(error).split())  # a file system without locks
            raise OSError(f"{path}: {reason}") from None


def _write_parquet(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write GeoParquet."""
    table.to_parquet(path, index=False)


def _write_csv(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write CSV, the polygons as WKT."""
    flat = pd.DataFrame(table.drop(columns="geometry"))
    polygons = table.geometry.to_numpy()
    flat["geometry"] = shapely.to_wkt(polygons, rounding_precision=WKT_DECIMALS)
    flat.to_csv(path, index=False, lineterminator="\n")


def _write_gpkg(table: geopandas.GeoDataFrame, path: Path, description: str = "") -> None:
    """Write a GeoPackage with its QGIS style."""
    options = {"DESCRIPTION": description} if description else {}
    types = set(table.geom_type)
    with _fixed_gdal_time(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a local grid has none
        pyogrio.write_dataframe(
            table,
            path,
            layer=LAYER,
            driver="GPKG",
            geometry_type="Polygon" if types <= {"Polygon"} else "MultiPolygon",
            promote_to_multi="MultiPolygon" in types,
            dataset_options={"VERSION": GEOPACKAGE_VERSION},
            layer_options=options,
        )
    # In the temporary file too: a killed run's SQLite journal must not be left next to the
    # finished one.
    add_style(path, LAYER)


@contextmanager
def _fixed_gdal_time() -> Iterator[None]:
    """Make GDAL write `STAMP` for the time of the run."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": STAMP})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
