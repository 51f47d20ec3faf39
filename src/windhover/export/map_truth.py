"""Detections and the labels of their scenes, for the map: which are correct, what is missed.

Matched by the default rule of `evaluate`: the centre within half of the object's longer side; of
an object labelled by a point, within so many px of the training GSD.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog
from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.geometry.move_shapes import apply_affine
from windhover.metrics.ground_truth import ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.params.evaluate import EvaluateParams

NOT_KNOWN, CORRECT, FALSE_ALARM, NOT_COUNTED = range(4)
NEVER = -1.0  # score of the detection that finds an object which none finds
POINT_SIDE_PX = 8.0  # at the training GSD, of the box that shows an object labelled by a point


class MapTruth(NamedTuple):
    """What is known from labels.

    Attributes:
        outcome: (N,) of each detection, such as `CORRECT`.
        objects: `scene`, `class`, `geometry` in the scene's coordinate system, and `found_score`.
    """

    outcome: NDArray[np.uint8]
    objects: pd.DataFrame


def no_truth(n_detections: int) -> MapTruth:
    """Return what is known where there are no labels."""
    objects = pd.DataFrame({"scene": [], "class": [], "geometry": [], "found_score": []})
    return MapTruth(np.full(n_detections, NOT_KNOWN, np.uint8), objects)


def match_with_labels(
    table: geopandas.GeoDataFrame, summary: DetectionSummary, catalog: Catalog
) -> MapTruth:
    """Return the outcome of each detection, and the labelled objects.

    Args:
        table: of detections, each box in its own scene's coordinate system.
        summary: of the search.
        catalog: of the scenes; its labels are the truth of those that are labelled.
    """
    truth = ground_truth_of(catalog)
    places = {scene.scene: scene for scene in summary.scenes if scene.gsd_m is not None}
    labeled = set(truth.scenes["scene"]) & set(places)
    is_judged = table["scene"].isin(sorted(labeled)).to_numpy(bool)
    outcome = np.full(len(table), NOT_KNOWN, np.uint8)
    all_objects = truth.objects.reset_index(drop=True)
    objects = all_objects[all_objects["scene"].isin(sorted(labeled))]
    found_score = pd.Series(NEVER, index=objects.index)
    if is_judged.any():
        detections = _in_meters(table[is_judged], places)
        matches = match_detections(detections, truth, _default_rule(catalog.gsd_m))
        is_tp = matches["is_tp"].to_numpy(bool)
        kinds = np.where(matches["ignored"].to_numpy(bool), NOT_COUNTED, FALSE_ALARM)
        rows = np.flatnonzero(is_judged)[matches["row"].to_numpy(int)]
        outcome[rows] = np.where(is_tp, CORRECT, kinds)
        taken = matches.loc[is_tp, "object_index"].to_numpy(int)
        found_score.loc[taken] = matches.loc[is_tp, "score"].to_numpy()
    shapes = _in_scene_system(objects, places, point_side_m=POINT_SIDE_PX * catalog.gsd_m)
    return MapTruth(
        outcome,
        objects[["scene", "class"]].assign(geometry=shapes, found_score=found_score),
    )


def _default_rule(gsd_m: float) -> MatchRule:
    """Return the match rule of `evaluate` as it is where nothing is set."""
    params = EvaluateParams()
    return MatchRule(params.match_by, params.match_value, params.point_radius_m(gsd_m))


def _in_meters(table: geopandas.GeoDataFrame, places: dict[str, SceneSummary]) -> pd.DataFrame:
    """Return detections as the matching takes them: metres from each scene's upper left corner."""
    parts = []
    geometries = table.geometry.to_numpy()
    for name, rows in table.groupby("scene", sort=False).indices.items():
        scene = places[str(name)]
        to_meters = Affine.scale(*_gsd(scene)) @ ~scene.affine
        shapes = apply_affine(geometries[rows], to_meters)
        centers = shapely.get_coordinates(shapely.centroid(shapes))
        part = pd.DataFrame(
            {
                "scene": str(name),
                "class": table["class"].to_numpy(object)[rows],
                "x_m": centers[:, 0],
                "y_m": centers[:, 1],
                "longer_m": table["length_m"].to_numpy()[rows],
                "geometry": pd.Series(shapes, dtype=object),
                "score": table["score"].to_numpy()[rows],
                "row": rows,
            }
        )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _in_scene_system(
    objects: pd.DataFrame, places: dict[str, SceneSummary], *, point_side_m: float
) -> NDArray[Any]:
    """Return labelled objects' boxes in their scenes' coordinate systems; points get a side."""
    shapes = np.empty(len(objects), object)
    labels = objects["geometry"].to_numpy(object)
    for name, rows in objects.groupby("scene", sort=False).indices.items():
        scene = places[str(name)]
        boxes = shapely.envelope(labels[rows])
        is_point = shapely.area(boxes) == 0
        middle = shapely.centroid(labels[rows])
        boxes = np.where(
            is_point, shapely.envelope(shapely.buffer(middle, point_side_m / 2)), boxes
        )
        x, y = _gsd(scene)
        shapes[rows] = apply_affine(boxes, scene.affine @ Affine.scale(1 / x, 1 / y))
    return shapes


def _gsd(scene: SceneSummary) -> tuple[float, float]:
    assert scene.gsd_m is not None  # others are left out
    return scene.gsd_m
