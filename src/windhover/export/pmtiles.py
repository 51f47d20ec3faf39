"""Detections as PMTiles: vector tiles of one file, for web maps.

GDAL makes the tiles. Of nothing it makes none, so a file without tiles is written here, after the
specification (PMTiles version 3).
"""

from __future__ import annotations

import gzip
import json
import struct
import warnings
from io import BytesIO
from pathlib import Path

import geopandas
import pyogrio

from windhover.errors import DataError
from windhover.export.geopackage import write_layer
from windhover.export.map_files import LAYER, PMTILES_HEAD
from windhover.inference.detection_columns import COLUMNS

MIN_ZOOM = 4
MAX_ZOOM = 15  # a unit of such a tile is 0.3 m; beyond, readers enlarge
HEADER_BYTES = 127
GZIP = 2  # number of the compression
VECTOR = 1  # number of the type of tiles
E7 = 10_000_000  # longitudes and latitudes are in units of 1e-7 degrees


def write_pmtiles(table: geopandas.GeoDataFrame, path: Path) -> None:
    """Write a georeferenced map table as vector tiles of the layer `detections`.

    Raises:
        DataError: this GDAL has no such driver.
    """
    if "w" not in pyogrio.list_drivers().get("PMTiles", ""):
        raise DataError("This GDAL writes no PMTiles. Write .geojson or .fgb.")
    if not len(table):
        path.write_bytes(_file_without_tiles())
        return
    content = BytesIO()  # on a full disk, GDAL writes a file without tiles and reports nothing
    zooms = {"MINZOOM": str(MIN_ZOOM), "MAXZOOM": str(MAX_ZOOM)}
    with warnings.catch_warnings():
        # a far view of many thousands needs no finer corners
        warnings.filterwarnings("ignore", message=".*encoded at lower resolution")
        write_layer(table.to_crs(3857), content, LAYER, driver="PMTiles", NAME=LAYER, **zooms)
    path.write_bytes(content.getvalue())


def _file_without_tiles() -> bytes:
    """Return a PMTiles file with an empty directory and the layer's name in its metadata."""
    fields = {name: "String" for name in COLUMNS if name != "geometry"}
    layer = {"id": LAYER, "fields": fields, "minzoom": MIN_ZOOM, "maxzoom": MAX_ZOOM}
    metadata = {"name": LAYER, "format": "pbf", "vector_layers": [layer]}
    directory = gzip.compress(b"\x00", mtime=0)  # the number of its entries
    about = gzip.compress(json.dumps(metadata).encode(), mtime=0)
    end = HEADER_BYTES + len(directory) + len(about)
    header = PMTILES_HEAD + struct.pack(
        "<11Q6B4iB2i",
        *(HEADER_BYTES, len(directory)),
        *(HEADER_BYTES + len(directory), len(about)),
        *(end, 0),  # leaf directories
        *(end, 0),  # tiles
        *(0, 0, 0),  # tiles addressed, entries, contents
        *(0, GZIP, GZIP, VECTOR, MIN_ZOOM, MAX_ZOOM),
        *(-180 * E7, -85 * E7, 180 * E7, 85 * E7),
        MIN_ZOOM,
        *(0, 0),  # centre
    )
    return header + directory + about
