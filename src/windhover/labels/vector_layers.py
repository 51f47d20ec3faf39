"""Labels from vector files in map coordinates: GeoPackage, GeoJSON, Shapefile, FlatGeobuf,
GeoParquet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from windhover.imagery.vector_files import crs_text, read_layer
from windhover.labels.table import NO_GEOMETRY, RawLabels, class_column, class_names, without_empty

LAYER = "labels"


def read_vector(path: Path, class_from: str | None = None) -> RawLabels:
    """Read one layer of points or polygons; multi-part geometries are taken apart.

    Args:
        path: the file; of several layers the one called `labels` is read.
        class_from: column of the class, None to look for one.

    Raises:
        FormatError: the file is broken, has several layers and none called `labels`, or lacks
            the class column.
    """
    frame = read_layer(path, LAYER)
    empty = frame.geometry.is_empty | frame.geometry.isna()
    frame = frame[~empty].explode(index_parts=False, ignore_index=True) if len(frame) else frame
    role = frame["role"].astype("string").fillna("") if "role" in frame.columns else None
    column = class_column(
        [str(name) for name in frame.columns if name != frame.geometry.name], class_from, str(path)
    )
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
