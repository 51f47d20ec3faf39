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
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog
from windhover.dataset.label_coverage import LabelCoverage
from windhover.geometry.arrays import Bools
from windhover.geometry.objects import Objects
from windhover.metrics.matching_table import empty_matching_table, matching_table

# shapely's type ids of Polygon and MultiPolygon
POLYGON_TYPES = (3, 6)


@dataclass(frozen=True)
class GroundTruth:
    """What is known of the scenes that were searched.

    Attributes:
        scenes: `scene`, `place`, `km2` (area in which all objects are labelled); one row per scene,
            sorted.
        objects: from `matching_table`.
        ignored: `scene`, `geometry`, `longer_m` (of ignored labels; NaN of areas): ignore regions,
            where a detection without an object is no false positive.
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
    objects = [empty_matching_table()]
    ignored = [_ignored_of_scene("", np.zeros(0, object), shapely.Polygon())]
    for row in catalog:
        if not row.labeled:
            continue
        gsd_xy = row.gsd_m
        extent = shapely.box(0, 0, row.width_px * gsd_xy[0], row.height_px * gsd_xy[1])
        areas = catalog.areas[catalog.areas["scene"] == row.scene]
        coverage = LabelCoverage.in_meters(areas, gsd_xy)
        unlabeled = coverage.unlabeled_region(extent)
        region = unlabeled.union(coverage.positive_only)
        labels = catalog.labels_of(row.scene)
        class_name = labels["class"].to_numpy(object)
        classes = list(dict.fromkeys(class_name))
        labeled = catalog.objects_of(row.scene, (1.0, 1.0), classes).scaled(gsd_xy)
        shapes = _shapes_in_meters(labels, ~labeled.is_ignored, gsd_xy)
        counts = ~labeled.is_ignored & ~_is_centered_in(unlabeled, labeled)
        objects.append(
            matching_table(
                labeled.select(counts),
                scene=row.scene,
                class_name=class_name[counts],
                shapes=shapes[counts],
            )
        )
        ignored.append(_ignored_of_scene(row.scene, shapes[labeled.is_ignored], region))
        km2 = (extent.area - extent.intersection(region).area) / 1e6
        scenes.append({"scene": row.scene, "place": row.place, "km2": km2})
    table = pd.DataFrame(scenes, columns=["scene", "place", "km2"])
    return GroundTruth(
        scenes=table.sort_values("scene", ignore_index=True),
        objects=pd.concat(objects, ignore_index=True),
        ignored=pd.concat(ignored, ignore_index=True),
    )


def _is_centered_in(region: BaseGeometry, objects: Objects) -> Bools:
    """Return (N,) which objects have their centre in a region, borders included."""
    if region.is_empty:
        return np.zeros(len(objects), bool)
    x, y = objects.centers_xy.T
    return np.asarray(shapely.intersects_xy(region, x, y))


def _ignored_of_scene(scene: str, shapes: NDArray[Any], region: BaseGeometry) -> pd.DataFrame:
    """Return the shapes of a scene's ignored labels and its ignored region, a row each."""
    geometry = list(shapes)
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    longer_m = np.maximum(right - left, bottom - top).tolist()
    if not region.is_empty:
        geometry.append(region)
        longer_m.append(np.nan)
    return pd.DataFrame(
        {
            "scene": pd.Series([scene] * len(geometry), dtype=object),
            "geometry": pd.Series(geometry, dtype=object),
            "longer_m": pd.Series(longer_m, dtype="float64"),
        }
    )


def _shapes_in_meters(
    labels: pd.DataFrame, is_object: Bools, gsd_xy: tuple[float, float]
) -> NDArray[Any]:
    """Return (N,) shapes in metres: the polygon of an object that has one, else the box."""
    boxes_xyxy = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    boxes = np.asarray(shapely.box(*boxes_xyxy.T), object)
    shapes = labels["geometry"].to_numpy(object)
    is_polygon = np.isin(shapely.get_type_id(shapes), POLYGON_TYPES)
    shapes_px = np.where(is_polygon & is_object, shapes, boxes)
    return np.asarray(shapely.transform(shapes_px, lambda xy: xy * gsd_xy), object)
