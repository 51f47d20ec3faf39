"""Labels from vector files in map coordinates.

GeoPackage, GeoJSON, Shapefile, FlatGeobuf and GeoParquet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from windhover.imagery.vector_files import crs_text, read_layer
from windhover.labels.table import (
    NO_GEOMETRY,
    RawLabels,
    class_names_of,
    explode_parts,
    find_class_column,
    is_ignore_role,
    notes_on_class_column,
    without_empty,
)
from windhover.labels.text_files import read_json

LAYER = "labels"
GEOJSON_TYPES = (
    "FeatureCollection",
    "Feature",
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
)


def is_geojson(path: Path) -> bool:
    """Return whether a .json file is GeoJSON: a collection, a single feature, or a shape alone.

    Raises:
        FormatError: it is not JSON.
    """
    document = read_json(path)
    return isinstance(document, dict) and document.get("type") in GEOJSON_TYPES


def read_vector(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one layer of points or polygons; multi-part geometries are split into their parts.

    A column `role` with the value `ignore` marks ignored labels.

    Args:
        path: the file; of several layers the one called `labels` is read.
        class_column: column of the class, None to search for one.

    Raises:
        FormatError: the file is broken, has several layers and none called `labels`, or lacks
            the class column.
    """
    frame = read_layer(path, LAYER)
    is_empty = frame.geometry.is_empty | frame.geometry.isna()
    if len(frame):
        frame = frame[~is_empty].explode(index_parts=False, ignore_index=True)
    ignored = None
    if "role" in frame.columns:
        ignored = is_ignore_role(frame["role"])
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    labels = RawLabels(
        source=path.name,
        image=np.full(len(frame), "", dtype=object),
        class_name=class_names_of(frame, find_class_column(columns, class_column, str(path))),
        geometry=np.asarray(frame.geometry.array, dtype=object),
        space="map",
        crs=crs_text(frame),
        ignored=ignored,
        dropped={NO_GEOMETRY: int(is_empty.sum())} if is_empty.any() else {},
        notes=notes_on_class_column(columns, class_column),
    )
    return without_empty(explode_parts(labels))
