"""Labels from vector files in map coordinates.

GeoPackage, GeoJSON, Shapefile, FlatGeobuf and GeoParquet.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.errors import FormatError
from windhover.imagery.vector_files import crs_text, read_layer, shape_layers
from windhover.labels.table import (
    CLASS_COLUMNS,
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
KINDS = ("points", "lines", "polygons")  # by their dimension
SHAPES_PER_OUTLINE = 3  # from which a polygon around shapes is an area, not an object
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
    """Read points or polygons; multi-part geometries are split into their parts.

    A column `role` with the value `ignore` marks ignored labels. Of several layers the one called
    `labels` is read; without one, all are, where their shapes are of one kind.

    Args:
        path: the file.
        class_column: column of the class, None to search for one.

    Raises:
        FormatError: the file is broken, has several layers of unlike shapes and none called
            `labels`, or lacks the class column.
    """
    layers = shape_layers(path)
    if not layers or LAYER in layers:
        return _labels_of(read_layer(path, LAYER), path, class_column)
    frames = {layer: read_layer(path, layer) for layer in layers}
    return _of_all_layers(path, frames, class_column)


def _of_all_layers(
    path: Path, frames: dict[str, geopandas.GeoDataFrame], class_column: str | None
) -> RawLabels:
    """Return the labels of all layers in the coordinate system of the first one.

    A layer without a column of the class names the class of its labels. A layer whose outlines
    hold the shapes of another one is of areas, not of objects, and left out.

    Raises:
        FormatError: the layers are of unlike shapes, or some have no coordinate system.
    """
    frames = {layer: frame for layer, frame in frames.items() if len(frame)} or frames
    kinds = {layer: _kind_of_shapes(frame) for layer, frame in frames.items()}
    described = ", ".join(f"{layer} ({len(frames[layer])} {kinds[layer]})" for layer in frames)
    first = next(iter(frames))
    if len({frame.crs is None for frame in frames.values()}) > 1:
        raise FormatError(
            f"{path}: of its layers {', '.join(frames)} some have a coordinate system and some "
            "none. Give all of them one."
        )
    moved = {
        layer: frame if frame.crs is None else frame.to_crs(frames[first].crs)
        for layer, frame in frames.items()
    }
    areas = [layer for layer in moved if _holds_another(layer, moved)]
    objects = [layer for layer in moved if layer not in areas]
    if len({kinds[layer] for layer in objects}) > 1:
        raise FormatError(
            f"{path}: has the layers {described} and none called {LAYER!r}, and labels are one "
            "kind of shape. Export the layer that is meant into a file of its own: ogr2ogr "
            f"{first}.gpkg {path.name} {first}."
        )
    parts = [_with_class(path, layer, moved[layer], class_column) for layer in objects]
    together = geopandas.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=parts[0].crs)
    note = f"has the layers {described}; read as labels: {', '.join(objects)}"
    if areas:
        note += f"; outlines around those, so left out: {', '.join(areas)}"
    note += f". Where another one is meant, call it {LAYER!r}"
    return replace(_labels_of(together, path, None), notes=(note,))


def _with_class(
    path: Path, layer: str, frame: geopandas.GeoDataFrame, class_column: str | None
) -> geopandas.GeoDataFrame:
    """Return the shapes of a layer with their class, and with their role where they have one."""
    columns = [str(name) for name in frame.columns if name != frame.geometry.name]
    column = find_class_column(columns, class_column, f"{path}: the layer {layer}")
    names = class_names_of(frame, column)
    if column is None:
        names[:] = layer
    kept = {CLASS_COLUMNS[0]: names, "geometry": frame.geometry.array}
    if "role" in frame.columns:
        kept["role"] = frame["role"].to_numpy(object)
    return geopandas.GeoDataFrame(kept, geometry="geometry", crs=frame.crs)


def _kind_of_shapes(frame: geopandas.GeoDataFrame) -> str:
    """Return what most shapes of a layer are: points, lines or polygons."""
    dimensions = shapely.get_dimensions(np.asarray(frame.geometry.array, dtype=object))
    counts = np.bincount(dimensions[dimensions >= 0], minlength=len(KINDS))
    return KINDS[int(counts.argmax())]


def _holds_another(layer: str, frames: dict[str, geopandas.GeoDataFrame]) -> bool:
    """Return whether a layer's outlines hold most shapes of another one, several each."""
    outlines = frames[layer]
    if _kind_of_shapes(outlines) != KINDS[-1]:
        return False
    ground = shapely.union_all(shapely.make_valid(np.asarray(outlines.geometry.array, object)))
    for other, frame in frames.items():
        if other == layer or len(frame) < SHAPES_PER_OUTLINE * len(outlines):
            continue
        centers = shapely.centroid(np.asarray(frame.geometry.array, dtype=object))
        if shapely.contains(ground, centers).mean() > 0.5:
            return True
    return False


def _labels_of(frame: geopandas.GeoDataFrame, path: Path, class_column: str | None) -> RawLabels:
    """Return the labels of a table of shapes."""
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
        notes=notes_on_class_column(pd.DataFrame(frame[columns]), class_column),
    )
    return without_empty(explode_parts(labels))
