"""The detections of one scene as plain columns, from which the table of results is made.

A table costs more than the search of a small scene: columns of all scenes become one table when all
are searched (`result_table`). Needs neither pandas nor geopandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.georef import box_polygons, box_sides_m
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates

COLUMNS = (
    "scene",
    "class",
    "score",
    "col",
    "row",
    "length_m",
    "width_m",
    "edge",
    "model",
    "geometry",
)
SPLIT = "split"  # a column of scenes of a catalog alone
SCENE_CRS = "scene_crs"

DetectionColumns: TypeAlias = dict[str, NDArray[Any]]


def scene_columns(
    candidates: Candidates,
    scores: NDArray[np.float64],
    scene: Scene,
    *,
    classes: Sequence[str],
    model: str,
    has_sizes: bool = True,
    split: str | None = None,
) -> DetectionColumns:
    """Return a scene's detections in its own coordinate system, or its local grid in metres.

    Args:
        candidates: in px of `scene`'s grid.
        scores: (N,) calibrated probabilities.
        scene: the grid that the candidates are in.
        classes: names, in the model's order.
        model: the model's name.
        has_sizes: whether the model knows sizes; if not, boxes are windows and the lengths of their
            sides are unknown.
        split: of a scene of a catalog.

    Returns:
        Arrays (N,) by name, `COLUMNS`, `split` where it is given, and `scene_crs`, in the order of
        the candidates.
    """
    info = scene.info
    objects = candidates.objects.scaled(scene.ratio_xy)
    boxes = objects.to_xyxy()
    count = len(candidates)
    sides = np.zeros((0, 2))
    polygons = np.empty(0, object)
    if count:
        sides = box_sides_m(boxes, info.transform, info.crs)
        sides[~np.isfinite(sides) | (not has_sizes) | (not info.is_gsd_known)] = np.nan
        polygons = box_polygons(boxes, info.transform)
    columns = {
        "scene": np.full(count, info.name, object),
        "class": np.asarray(classes, object)[objects.class_index],
        "score": np.asarray(scores, np.float64),
        "col": objects.centers_xy[:, 0] + info.origin_px[0],
        "row": objects.centers_xy[:, 1] + info.origin_px[1],
        "length_m": sides.max(axis=1, initial=-np.inf),
        "width_m": sides.min(axis=1, initial=np.inf),
        "edge": candidates.touches_edge,
        "model": np.full(count, model, object),
        "geometry": polygons,
    }
    if split is not None:
        columns[SPLIT] = np.full(count, split, object)
    columns[SCENE_CRS] = np.full(count, info.crs, object)
    return columns
