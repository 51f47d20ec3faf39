"""Reading one layer of points or polygons from a vector file of any format.

Shapes that cannot be read are returned as missing, for the caller to count. It does not guess among
layers, and reads no tables without shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import shapely
from shapely.errors import ShapelyError

from windhover.errors import FormatError

TILED_SUFFIXES = (".pmtiles", ".mbtiles", ".mvt", ".pbf")
PARQUET_SUFFIXES = (".parquet", ".geoparquet")
SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", *PARQUET_SUFFIXES)

# of a GeoPackage that `detect` writes, and the one of them that holds objects
RESULT_LAYERS = {"detections", "scenes", "searched"}
RESULT_LAYER = "detections"

# Beyond it are no degrees. Longitudes may be counted a turn or two from where a scene begins.
MAX_LONGITUDE = 720.0
MAX_LATITUDE = 100.1


def read_layer(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """Read the layer of a name, or the only one with shapes; tables without shapes do not count.

    Of a GeoPackage that `windhover detect` wrote, it is that of the detections.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoParquet, or what else GDAL reads.
        layer: the one that is wanted where there are several.

    Raises:
        FormatError: the file is broken or of map tiles, has several layers and none of that name,
            or holds no shapes.
    """
    if path.suffix.lower() in TILED_SUFFIXES:
        raise FormatError(
            f"{path}: is cut into map tiles, with shapes on their borders in several. Give the "
            "layer that it was made of, such as a .gpkg."
        )
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            _check_geo_metadata(path)
            return _check_degrees(path, geopandas.read_parquet(path))
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        chosen = _choose_layer(layers, layer)
        if chosen is not None:
            return _check_degrees(path, _read_gdal_layer(path, chosen))
    except FormatError:
        raise
    except (NotImplementedError, pyogrio.errors.GeometryError):  # not linear
        raise _curve_error(path, layer) from None
    except (ValueError, OSError, RuntimeError, KeyError, TypeError, ShapelyError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise FormatError(
            f"{path}: cannot be read as a layer of points or polygons ({reason}). "
            "The file is damaged or of another format."
        ) from None
    if not layers:
        raise FormatError(
            f"{path}: holds no layer of points or polygons, only a table. Export the shapes too."
        )
    raise FormatError(
        f"{path}: has the layers {', '.join(layers)} and none called {layer!r}. "
        "Rename the one that is meant."
    )


def _check_geo_metadata(path: Path) -> None:
    """Check that a Parquet file says which column holds shapes.

    Raises:
        FormatError: it is a table without shapes.
    """
    schema = pq.read_schema(path)
    if b"geo" not in (schema.metadata or {}):
        raise FormatError(
            f"{path}: is a table without the metadata of GeoParquet (its columns are "
            f"{', '.join(schema.names)[:200]}), so which column holds shapes, and in which system, "
            "is not known. Write it with geopandas' to_parquet; boxes in px are read as CSV."
        )


def _choose_layer(layers: Sequence[str], wanted: str) -> str | None:
    """Return the wanted layer, the only one, or that of a result's detections; else None."""
    if wanted in layers:
        return wanted
    if len(layers) == 1:
        return layers[0]
    return RESULT_LAYER if set(layers) == RESULT_LAYERS else None


def shape_layers(path: Path) -> list[str]:
    """Return the layers of a file that has several with shapes.

    Empty for a file of one layer and for one that cannot be opened, of which reading tells.
    """
    if path.suffix.lower() in PARQUET_SUFFIXES:
        return []
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except (ValueError, OSError, RuntimeError):
        return []
    return layers if len(layers) > 1 else []


def _read_gdal_layer(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """Return one layer; without Arrow where its texts are not UTF-8, which GDAL then decodes."""
    try:
        frame = pyogrio.read_dataframe(path, layer=layer, use_arrow=True, on_invalid="ignore")
        for column in frame.select_dtypes(["object", "string"]).columns:
            frame[column].to_numpy(object)  # texts are decoded when they are used
    except (pa.ArrowException, UnicodeDecodeError):
        frame = pyogrio.read_dataframe(path, layer=layer, use_arrow=False, on_invalid="ignore")
    return geopandas.GeoDataFrame(frame)


def _curve_error(path: Path, layer: str) -> FormatError:
    return FormatError(
        f"{path}: holds curves, which are not read. Write them as straight lines: ogr2ogr -nlt "
        f"CONVERT_TO_LINEAR -nln {layer} straight.gpkg {path.name}."
    )


def _check_degrees(path: Path, frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Return the layer if its coordinates can be what its system is.

    Raises:
        FormatError: the system is longitude and latitude, and most shapes are beyond them.
    """
    if frame.crs is None or not frame.crs.is_geographic or frame.empty:
        return frame
    bounds = shapely.bounds(np.asarray(frame.geometry.array, dtype=object)).reshape(-1, 4)
    known = bounds[np.isfinite(bounds).all(axis=1)]
    is_beyond = (np.abs(known[:, ::2]) > MAX_LONGITUDE).any(axis=1)
    is_beyond |= (np.abs(known[:, 1::2]) > MAX_LATITUDE).any(axis=1)
    if not len(known) or is_beyond.mean() <= 0.5:
        return frame
    left, bottom, _, _ = known[np.argmax(is_beyond)]
    hint = (
        "Name the file's coordinate system, or reproject it: ogr2ogr -s_srs EPSG:... -t_srs "
        "EPSG:4326."
    )
    if abs(left) <= MAX_LATITUDE and MAX_LATITUDE < abs(bottom) <= MAX_LONGITUDE:
        hint = "x and y may be swapped: write the longitude before the latitude."
    raise FormatError(
        f"{path}: coordinates like {left:.9g}, {bottom:.9g} are no longitude and latitude, which "
        f"is its system ({frame.crs.name}; GeoJSON without another has it). {hint}"
    )


def crs_text(frame: geopandas.GeoDataFrame) -> str | None:
    """Return the layer's coordinate system as text, None where it has none."""
    if frame.crs is None:
        return None
    authority = frame.crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority is not None else str(frame.crs.to_wkt())
