"""The truth of whole scenes in metres: where objects are, and where a detection costs nothing
because nobody knows.

The plane of a scene is (col x GSD, row x GSD), metres on the ground from its upper left corner.
Refuses to judge: `windhover.metrics.detection_metrics` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog
from windhover.dataset.ignore_regions import unjudged

OBJECT_COLUMNS = ("scene", "class", "x_m", "y_m", "longer_m", "geometry")


@dataclass(frozen=True)
class Ground:
    """What is known to be on the ground of the scenes that were searched.

    Attributes:
        scenes: `scene`, `place`, `km2` (area in which the truth is complete); one row a scene,
            sorted.
        objects: `scene`, `class`, `x_m`, `y_m`, `longer_m` (NaN where unknown), `geometry`
            (shapely, metres).
        ignored: `scene`, `geometry`: where a detection that finds no object is free of charge.
    """

    scenes: pd.DataFrame
    objects: pd.DataFrame
    ignored: pd.DataFrame


def ground_of(catalog: Catalog) -> Ground:
    """Return the truth of a catalog's labelled scenes.

    Ignored are objects labelled so, areas with the role `ignore` or `positive_only`, and, in a
    scene that has areas with the role `complete`, all that lies outside them. Objects centred where
    nobody looked for them are no truth.
    """
    scenes, objects, ignored = [], [], []
    for row in catalog:
        if not row.labeled:
            continue
        scale = (float(row.gsd_x_m), float(row.gsd_y_m))
        extent = shapely.box(0, 0, row.width_px * scale[0], row.height_px * scale[1])
        areas = catalog.areas[catalog.areas["scene"] == row.scene]
        unknown, free = unjudged(
            {str(role): _union(part, scale) for role, part in areas.groupby("role")}, extent
        )
        labels = _in_meters(catalog.labels_of(row.scene), scale)
        is_object = (labels["role"] == "object").to_numpy()
        if not unknown.is_empty:
            xy = labels[["x_m", "y_m"]].to_numpy(np.float64)
            is_object = is_object & ~shapely.intersects_xy(unknown, xy[:, 0], xy[:, 1])
        objects.append(labels.loc[is_object, list(OBJECT_COLUMNS)])
        pieces = [
            *labels.loc[labels["role"] == "ignore", "geometry"],
            *([] if free.is_empty else [free]),
        ]
        ignored.append(
            pd.DataFrame({"scene": row.scene, "geometry": pd.Series(pieces, dtype=object)})
        )
        km2 = (extent.area - extent.intersection(free).area) / 1e6
        scenes.append({"scene": row.scene, "place": row.place, "km2": km2})
    return Ground(
        scenes=pd.DataFrame(scenes, columns=["scene", "place", "km2"]).sort_values(
            "scene", ignore_index=True
        ),
        objects=pd.concat([_no_objects(), *objects], ignore_index=True),
        ignored=pd.concat(
            [pd.DataFrame({"scene": [], "geometry": []}, dtype=object), *ignored], ignore_index=True
        ),
    )


def _union(areas: pd.DataFrame, scale: tuple[float, float]) -> BaseGeometry:
    polygons = shapely.transform(areas["geometry"].to_numpy(object), lambda xy: xy * scale)
    return shapely.union_all(polygons)


def _in_meters(labels: pd.DataFrame, scale: tuple[float, float]) -> pd.DataFrame:
    """Return a scene's labels with their centres, longer sides (of the box) and shapes in metres."""
    sides = (
        labels[["right", "bottom"]].to_numpy(np.float64)
        - labels[["left", "top"]].to_numpy(np.float64)
    ) * scale
    longer = sides.max(axis=1, initial=0)
    shapes = labels["geometry"].to_numpy(object)
    boxes = np.asarray(
        shapely.box(*labels[["left", "top", "right", "bottom"]].to_numpy(np.float64).T), object
    )
    polygonal = (
        np.isin(shapely.get_type_id(shapes), (3, 6)) & (labels["role"] == "object").to_numpy()
    )
    return pd.DataFrame(
        {
            "scene": labels["scene"].to_numpy(object),
            "class": labels["class"].to_numpy(object),
            "role": labels["role"].to_numpy(object),
            "x_m": labels["col"].to_numpy(np.float64) * scale[0],
            "y_m": labels["row"].to_numpy(np.float64) * scale[1],
            "longer_m": np.where(longer > 0, longer, np.nan),
            "geometry": shapely.transform(
                np.where(polygonal, shapes, boxes), lambda xy: xy * scale
            ),
        }
    )


def _no_objects() -> pd.DataFrame:
    kinds = dict.fromkeys(("x_m", "y_m", "longer_m"), "float64")
    return pd.DataFrame(
        {name: pd.Series([], dtype=kinds.get(name, "object")) for name in OBJECT_COLUMNS}
    )
