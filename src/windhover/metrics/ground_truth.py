"""The ground truth of whole scenes in metres: objects, and ignore regions.

The plane of a scene is (col x GSD, row x GSD), metres on the ground from its upper left corner.
Detections are matched with it by `windhover.metrics.match_detections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog
from windhover.dataset.label_coverage import LabelCoverage

OBJECT_COLUMNS = ("scene", "class", "x_m", "y_m", "longer_m", "geometry")
NUMERIC_COLUMNS = ("x_m", "y_m", "longer_m")
# shapely's type ids of Polygon and MultiPolygon
POLYGON_TYPES = (3, 6)


@dataclass(frozen=True)
class GroundTruth:
    """What is known of the scenes that were searched.

    Attributes:
        scenes: `scene`, `place`, `km2` (area in which all objects are labelled); one row per scene,
            sorted.
        objects: `scene`, `class`, `x_m`, `y_m`, `longer_m` (NaN where unknown), `geometry`
            (shapely, metres).
        ignored: `scene`, `geometry`: ignore regions, where a detection without an object is no
            false positive.
    """

    scenes: pd.DataFrame
    objects: pd.DataFrame
    ignored: pd.DataFrame


def ground_truth_of(catalog: Catalog) -> GroundTruth:
    """Return the ground truth of the labelled scenes of a catalog.

    Ignore regions are objects labelled so, areas with the role `ignore` or `positive_only`, and, in
    a scene that has areas with the role `complete`, all that is outside them. Objects centred in a
    region where labels are not known are left out.
    """
    scenes = []
    objects = [_no_objects()]
    ignored = [pd.DataFrame({"scene": [], "geometry": []}, dtype=object)]
    for row in catalog:
        if not row.labeled:
            continue
        gsd_xy = row.gsd_m
        extent = shapely.box(0, 0, row.width_px * gsd_xy[0], row.height_px * gsd_xy[1])
        areas = catalog.areas[catalog.areas["scene"] == row.scene]
        coverage = LabelCoverage.in_meters(areas, gsd_xy)
        unlabeled = coverage.unlabeled_region(extent)
        region = unlabeled.union(coverage.positive_only)
        labels = _labels_in_meters(catalog.labels_of(row.scene), gsd_xy)
        objects.append(_objects_outside(unlabeled, labels))
        ignored.append(_ignored_of_scene(row.scene, labels, region))
        km2 = (extent.area - extent.intersection(region).area) / 1e6
        scenes.append({"scene": row.scene, "place": row.place, "km2": km2})
    table = pd.DataFrame(scenes, columns=["scene", "place", "km2"])
    return GroundTruth(
        scenes=table.sort_values("scene", ignore_index=True),
        objects=pd.concat(objects, ignore_index=True),
        ignored=pd.concat(ignored, ignore_index=True),
    )


def _objects_outside(region: BaseGeometry, labels: pd.DataFrame) -> pd.DataFrame:
    """Return the labels that are objects and not centred in the region."""
    is_object = (labels["role"] == "object").to_numpy()
    if not region.is_empty:
        x, y = labels[["x_m", "y_m"]].to_numpy(np.float64).T
        is_object = is_object & ~shapely.intersects_xy(region, x, y)
    return labels.loc[is_object, list(OBJECT_COLUMNS)]


def _ignored_of_scene(scene: str, labels: pd.DataFrame, region: BaseGeometry) -> pd.DataFrame:
    """Return the ignored labels of a scene and its ignored region, a row each."""
    geometry = labels.loc[labels["role"] == "ignore", "geometry"].to_list()
    if not region.is_empty:
        geometry.append(region)
    return pd.DataFrame({"scene": scene, "geometry": pd.Series(geometry, dtype=object)})


def _labels_in_meters(labels: pd.DataFrame, gsd_xy: tuple[float, float]) -> pd.DataFrame:
    """Return a scene's labels with centres, longer sides (of the box) and shapes in metres."""
    boxes_xyxy = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * gsd_xy
    longer = sides.max(axis=1, initial=0)
    return pd.DataFrame(
        {
            "scene": labels["scene"].to_numpy(object),
            "class": labels["class"].to_numpy(object),
            "role": labels["role"].to_numpy(object),
            "x_m": labels["col"].to_numpy(np.float64) * gsd_xy[0],
            "y_m": labels["row"].to_numpy(np.float64) * gsd_xy[1],
            "longer_m": np.where(longer > 0, longer, np.nan),
            "geometry": shapely.transform(_shapes_px(labels), lambda xy: xy * gsd_xy),
        }
    )


def _shapes_px(labels: pd.DataFrame) -> Any:
    """Return (N,) shapes in px: the polygon of an object that has one, else the box."""
    boxes_xyxy = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    boxes = np.asarray(shapely.box(*boxes_xyxy.T), object)
    shapes = labels["geometry"].to_numpy(object)
    is_polygon = np.isin(shapely.get_type_id(shapes), POLYGON_TYPES)
    is_object = (labels["role"] == "object").to_numpy()
    return np.where(is_polygon & is_object, shapes, boxes)


def _no_objects() -> pd.DataFrame:
    dtypes = dict.fromkeys(OBJECT_COLUMNS, "object") | dict.fromkeys(NUMERIC_COLUMNS, "float64")
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in dtypes.items()})
