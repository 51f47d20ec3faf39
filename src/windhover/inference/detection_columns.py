"""The detections of one scene as plain columns, from which the table of results is made.

A table costs more than the search of a small scene: columns of all scenes become one table when all
are searched (`result_table`). Needs neither pandas nor geopandas.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.georef import (
    WGS84,
    box_polygons,
    box_sides_m,
    pixel_to_world,
    transformer,
)
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates

# docs/open-the-result.md says what each of them means
COLUMNS = (
    "id",
    "scene",
    "class",
    "score",
    "lon",
    "lat",
    "x",
    "y",
    "col",
    "row",
    "length_m",
    "width_m",
    "area_m2",
    "edge",
    "acquired",
    "model",
    "threshold",
    "run",
    "geometry",
)
TEXTS = ("id", "scene", "class", "acquired", "model", "run")
NUMBERS = (
    "score", "lon", "lat", "x", "y", "col", "row", "length_m", "width_m", "area_m2", "threshold",
)  # fmt: skip
RUN_NAME_BYTES = 6
ID_BYTES = 8  # of a million detections, two have one id by chance once in 37 000 maps
SPLIT = "split"  # a column of scenes of a catalog alone
CLEAR_SHARE = "clear"  # a column of searches with a mask alone: clear share of a box, 0..1
OPTIONAL_COLUMNS = (SPLIT, CLEAR_SHARE)
SCENE_CRS = "scene_crs"

DetectionColumns: TypeAlias = dict[str, NDArray[Any]]


def scene_columns(
    candidates: Candidates,
    scores: NDArray[np.float64],
    scene: Scene,
    *,
    classes: Sequence[str],
    model: str,
    thresholds: Sequence[float] = (),
    run: str = "",
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
        thresholds: score that each class had to reach; none where that is not known.
        run: name of the search.
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
    cols = objects.centers_xy[:, 0] + info.origin_px[0]
    rows = objects.centers_xy[:, 1] + info.origin_px[1]
    class_names = np.asarray(classes, object)[objects.class_index]
    threshold_of_class = np.full(len(classes), np.nan)
    if thresholds:
        threshold_of_class[:] = thresholds
    lon, lat, x, y = _centers_on_earth(objects.centers_xy, scene)
    columns = {
        "id": detection_ids(model, info.name, class_names, cols=cols, rows=rows),
        "scene": np.full(count, info.name, object),
        "class": class_names,
        "score": np.asarray(scores, np.float64),
        "lon": lon,
        "lat": lat,
        "x": x,
        "y": y,
        "col": cols,
        "row": rows,
        "length_m": sides.max(axis=1, initial=-np.inf),
        "width_m": sides.min(axis=1, initial=np.inf),
        "area_m2": sides.prod(axis=1),
        "edge": candidates.touches_edge,
        "acquired": np.full(count, info.acquired, object),
        "model": np.full(count, model, object),
        "threshold": threshold_of_class[objects.class_index],
        "run": np.full(count, run, object),
        "geometry": polygons,
    }
    if split is not None:
        columns[SPLIT] = np.full(count, split, object)
    columns[SCENE_CRS] = np.full(count, info.crs, object)
    return columns


def run_name(
    *,
    program: str,
    model: str,
    calibration: Mapping[str, Any],
    search: Mapping[str, Any],
    thresholds: Mapping[str, float],
    bands: Sequence[str] | None = None,
    match_radiometry: bool = False,
) -> str:
    """Return the name of a search: equal for equal model, thresholds, settings and program.

    Args:
        program: version of windhover.
        model: the model's name.
        calibration: of the model, in JSON types.
        search: settings of the search, in JSON types.
        thresholds: score to reach, by class.
        bands: that were stated for every raster; None where they were found by name.
        match_radiometry: whether rasters were brought to the training's radiometry.
    """
    values = {
        "program": program,
        "model": model,
        "calibration": dict(calibration),
        "search": dict(search),
        "thresholds": dict(thresholds),
        "bands": None if bands is None else list(bands),
        "match_radiometry": match_radiometry,
    }
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=RUN_NAME_BYTES).hexdigest()


def detection_ids(
    model: str,
    scene: str,
    class_names: NDArray[np.object_],
    *,
    cols: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> NDArray[np.object_]:
    """Return an id (N,) for each detection, the same whenever a model finds the same object again.

    A hash of model, scene, class and the px that holds the centre; where that is the same of two,
    the second is numbered.

    Args:
        model: the model's name.
        scene: the scene's name.
        class_names: (N,) of the detections.
        cols: (N,) of their centres, px of the raster as delivered.
        rows: (N,) of their centres.
    """
    ids = np.empty(len(cols), object)
    n_before: dict[str, int] = {}
    for index, place in enumerate(zip(class_names, np.floor(cols), np.floor(rows), strict=True)):
        text = "\n".join([model, scene, *map(str, place)])
        name = hashlib.blake2b(text.encode(), digest_size=ID_BYTES).hexdigest()
        n_same = n_before.get(name, 0)
        n_before[name] = n_same + 1
        ids[index] = f"{name}-{n_same + 1}" if n_same else name
    return ids


def _centers_on_earth(centers_px: NDArray[np.float64], scene: Scene) -> tuple[Any, Any, Any, Any]:
    """Return longitude, latitude, x and y (N,) of centres (N, 2) in px of a scene's raster.

    Longitude and latitude are NaN in a local grid, and where the system has none.
    """
    info = scene.info
    x, y = pixel_to_world(info.transform, centers_px[:, 0], centers_px[:, 1])
    unknown = np.full(len(x), np.nan)
    if info.crs is None or not len(x):
        return unknown, unknown, x, y
    lon, lat = transformer(info.crs, WGS84).transform(x, y)
    known = np.isfinite(lon) & np.isfinite(lat)
    # 181 degrees east is 179 degrees west
    lon = np.where(known, (np.where(known, lon, 0.0) + 180.0) % 360.0 - 180.0, np.nan)
    return lon, np.where(known, lat, np.nan), x, y
