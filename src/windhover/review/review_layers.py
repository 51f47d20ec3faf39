"""The layers of a review file: what is asked as rows, labels, areas and scenes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.export.geopackage import GEOPACKAGE_VERSION, fixed_gdal_time
from windhover.progress import counted
from windhover.review.chips import draw_chips
from windhover.review.forms import (
    AREAS_LAYER,
    LABELS_LAYER,
    REVIEW_LAYER,
    SCENES_LAYER,
    STATES,
)
from windhover.review.placing import to_map
from windhover.review.review_record import (
    ReviewArea,
    ReviewRecord,
    ReviewRow,
    ReviewScene,
)

POINT_SHARE = 0.1  # side of the square by which a point is shown, in windows
SCORE_DECIMALS = 3
NOTHING = {"reviewer": "", "comment": ""}  # columns that a person may fill


def write_layers(layers: Mapping[str, geopandas.GeoDataFrame], path: Path) -> None:
    """Write layers into a new GeoPackage; equal layers give equal bytes."""
    with fixed_gdal_time(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # a local grid has none
        for number, (name, table) in enumerate(layers.items()):
            geometry_type = _geometry_type(table)
            pyogrio.write_dataframe(
                table,
                path,
                layer=name,
                driver="GPKG",
                append=number > 0,
                use_arrow=True,  # pictures are bytes
                geometry_type=geometry_type,
                promote_to_multi=geometry_type == "MultiPolygon",
                dataset_options={"VERSION": GEOPACKAGE_VERSION},
            )


def _geometry_type(table: geopandas.GeoDataFrame) -> str:
    """Return the type of a layer: simple polygons unless a shape crosses the antimeridian."""
    return "Polygon" if set(table.geom_type) <= {"Polygon"} else "MultiPolygon"


def shown_shape(shape: BaseGeometry, scene: ReviewScene, window_m: float) -> BaseGeometry:
    """Return the polygon by which a label is shown: its own, or a small square around a point."""
    if shape.area > 0:
        return shape
    center = shape.envelope.centroid
    half_x, half_y = (POINT_SHARE * window_m / 2 / gsd for gsd in scene.gsd_m)
    square: BaseGeometry = shapely.box(
        center.x - half_x, center.y - half_y, center.x + half_x, center.y + half_y
    )
    return square


def layers_of(record: ReviewRecord) -> dict[str, geopandas.GeoDataFrame]:
    """Return name -> layer, in the order in which QGIS lists them."""
    scenes = record.scenes_by_name
    paths = {
        "scene": [scene.scene for scene in record.scenes],
        "path": [scene.path for scene in record.scenes],
    }
    content: dict[str, tuple[dict[str, Any], Sequence[BaseGeometry]]] = {
        REVIEW_LAYER: (_row_columns(record), [row.shape for row in record.rows]),
        LABELS_LAYER: (_label_columns(record), [label.shape for label in record.labels]),
        AREAS_LAYER: (_area_columns(record), [area.shape for area in record.areas]),
        SCENES_LAYER: (paths, [scene.extent for scene in record.scenes]),
    }
    layers = {}
    for name, (columns, shapes) in content.items():
        geometry = [
            to_map(np.array([shape], object), scenes[scene], record.crs)[0]
            for shape, scene in zip(shapes, columns["scene"], strict=True)
        ]
        typed = {column: _typed(values) for column, values in columns.items()}
        layers[name] = geopandas.GeoDataFrame(typed, geometry=geometry, crs=record.crs)
    return layers


def _typed(values: Any) -> Any:
    """Return a column with its type: a list is of texts, also where it has no row."""
    if not isinstance(values, list):
        return values
    return pd.Series(values, dtype=pd.ArrowDtype(pa.string()))


def _row_columns(record: ReviewRecord) -> dict[str, Any]:
    """Return the columns of the detections, in the order of review."""
    rows = record.rows
    return {
        "rank": np.arange(1, len(rows) + 1),
        "row_id": [row.id for row in rows],
        "question": [_question(row) for row in rows],
        "verdict": [""] * len(rows),
        "other_class": [""] * len(rows),
        **{name: [value] * len(rows) for name, value in NOTHING.items()},
        "class": [row.class_name for row in rows],
        "scene": [row.scene for row in rows],
        "score": np.array([row.score for row in rows], np.float64).round(SCORE_DECIMALS),
        "selected_by": [_selected_by(row) for row in rows],
        "chip": pd.Series(draw_chips(rows, record.scenes), dtype=pd.ArrowDtype(pa.binary())),
    }


def _selected_by(row: ReviewRow) -> str:
    """Return why a detection is reviewed."""
    if row.is_random:
        return "random"
    return "order" if row.is_selected else "area"


def _label_columns(record: ReviewRecord) -> dict[str, Any]:
    """Return the columns of the labels."""
    labels = record.labels
    return {
        "label_id": [label.id for label in labels],
        "class": [label.class_name for label in labels],
        "ignored": np.array([label.is_ignored for label in labels], bool),
        **{name: [value] * len(labels) for name, value in NOTHING.items()},
        "scene": [label.scene for label in labels],
    }


def _area_columns(record: ReviewRecord) -> dict[str, Any]:
    """Return the columns of the areas."""
    areas = record.areas
    return {
        "number": np.array([area.number for area in areas], np.int64),
        "question": [_area_question(area, record.rows) for area in areas],
        "state": [""] * len(areas),
        **{name: [value] * len(areas) for name, value in NOTHING.items()},
        "scene": [area.scene for area in areas],
    }


def _question(row: ReviewRow) -> str:
    """Return what is asked of a row, in words."""
    return f"Is this {_with_article(row.class_name)}? (score {row.score:.2f})"


def _area_question(area: ReviewArea, rows: Sequence[ReviewRow]) -> str:
    """Return what is asked of an area, in words."""
    n_inside = sum(row.area == area.number for row in rows)
    return (
        f"Give every object in this area a shape ({counted(n_inside, 'detection')} so far), reject "
        f"what is none, then declare it {next(iter(STATES.values()))}."
    )


def _with_article(name: str) -> str:
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name}"
