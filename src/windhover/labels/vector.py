"""Labels from vector files in map coordinates: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoParquet."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pyogrio

from windhover.errors import FormatError
from windhover.labels.table import NO_GEOMETRY, RawLabels, class_column, class_names, without_empty

SUFFIXES = (".gpkg", ".geojson", ".shp", ".fgb", ".parquet")
LAYER = "labels"


def read_vector(path: Path, class_from: str | None = None) -> RawLabels:
    """Read one layer of points or polygons; multi-part geometries are taken apart.

    Args:
        path: the file; of several layers the one called `labels` is read.
        class_from: column of the class, None to look for one.

    Raises:
        FormatError: the file is broken, has several layers and none called `labels`, or lacks the class column.
    """
    frame = read_layer(path)
    empty = frame.geometry.is_empty | frame.geometry.isna()
    frame = frame[~empty].explode(index_parts=False, ignore_index=True) if len(frame) else frame
    role = frame["role"].astype("string").fillna("") if "role" in frame.columns else None
    column = class_column([str(name) for name in frame.columns if name != frame.geometry.name], class_from, str(path))
    return without_empty(
        RawLabels(
            source=path.name,
            image=np.full(len(frame), "", dtype=object),
            klass=class_names(frame[column] if column else None, len(frame)),
            geometry=np.asarray(frame.geometry.array, dtype=object),
            space="map",
            crs=crs_text(frame),
            ignored=None if role is None else (role == "ignore").to_numpy(bool),
            dropped={NO_GEOMETRY: int(empty.sum())} if empty.any() else {},
        )
    )


def read_layer(path: Path) -> geopandas.GeoDataFrame:
    """Read the layer `labels`, or the only one.

    Raises:
        FormatError: the file is broken, or has several layers and none called `labels`.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path)
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) > 1 and LAYER not in layers:
            raise FormatError(
                f"{path}: has the layers {', '.join(layers)} and none called {LAYER!r}. Rename the "
                "one that holds the labels."
            )
        layer = LAYER if LAYER in layers else (layers[0] if layers else None)
        return geopandas.read_file(path, layer=layer)
    except FormatError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(". ")
        raise FormatError(
            f"{path}: cannot be read as a layer of points or polygons ({reason}). The file is damaged "
            "or of another format."
        ) from None


def crs_text(frame: geopandas.GeoDataFrame) -> str | None:
    """Return the layer's coordinate system as text, None where it has none."""
    if frame.crs is None:
        return None
    authority = frame.crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority is not None else str(frame.crs.to_wkt())
