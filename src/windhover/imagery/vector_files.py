"""Reading one layer of points or polygons from a vector file of any format.

Shapes that cannot be read are returned as missing, for the caller to count. It does not guess among
layers, and reads no tables without shapes.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import pyogrio
from shapely.errors import ShapelyError

from windhover.errors import FormatError

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", *PARQUET_SUFFIXES)


def read_layer(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """Read the layer of a name, or the only one with shapes; tables without shapes do not count.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoParquet, or what else GDAL reads.
        layer: the one that is wanted where there are several.

    Raises:
        FormatError: the file is broken, has several layers and none of that name, or holds no
            shapes.
    """
    try:
        if path.suffix.lower() in PARQUET_SUFFIXES:
            return geopandas.read_parquet(path)
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer in layers:
            return _read_gdal_layer(path, layer)
        if len(layers) == 1:
            return _read_gdal_layer(path, layers[0])
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


def _read_gdal_layer(path: Path, layer: str) -> geopandas.GeoDataFrame:
    frame = pyogrio.read_dataframe(path, layer=layer, use_arrow=True, on_invalid="ignore")
    return geopandas.GeoDataFrame(frame)


def crs_text(frame: geopandas.GeoDataFrame) -> str | None:
    """Return the layer's coordinate system as text, None where it has none."""
    if frame.crs is None:
        return None
    authority = frame.crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority is not None else str(frame.crs.to_wkt())
