"""Objects measured on the ground: sizes, neighbours, what merging would take for one, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from windhover.dataset.catalog_tables import BOX_COLUMNS
from windhover.geometry import georef
from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.boxes import iou, merge_duplicates
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.project.measurements import ColorMeasure, Quantiles

# merge distance and IoU that a proposal chooses among, from the default to those for crowds
MERGE_SETTINGS = ((0.5, 0.3), (0.45, 0.4), (0.4, 0.5), (0.35, 0.6), (0.3, 0.7), (0.25, 0.8))
TWICE_IOU = 0.6  # two labels of one class that overlap more are one object marked twice ...
NEAR_TWICE_IOU = 0.4  # ... where hardly any overlap by less than that, but more than this
TWICE_RATIO = 3.0
MAX_COLORED = 300  # objects whose pixels are looked at
RING = 2.0  # side of the surroundings in sides of the object
MIN_SIDE_PX = 2.0  # smaller objects have no colour of their own
MIN_COLORED = 5


@dataclass(frozen=True)
class ObjectsOnGround:
    """Labelled objects that count, in metres of the plane of their scenes.

    Attributes:
        scene: (N,) number of the scene among the infos.
        class_index: (N,) number of the class.
        boxes_m: (N, 4) xyxy from the upper left corner of the scene; points have no extent.
        length_m: (N,) longer side; NaN for points.
        width_m: (N,) shorter side; NaN for points.
    """

    scene: NDArray[np.int64]
    class_index: NDArray[np.int64]
    boxes_m: Floats
    length_m: Floats
    width_m: Floats

    @property
    def centers_m(self) -> Floats:
        """(N, 2) centres."""
        return (self.boxes_m[:, :2] + self.boxes_m[:, 2:]) / 2


def objects_on_ground(
    labels: geopandas.GeoDataFrame, infos: Sequence[SceneInfo]
) -> ObjectsOnGround:
    """Return the labels that are not ignored, in metres of their scenes."""
    counted = labels[~labels["ignored"]]
    numbers = {info.name: number for number, info in enumerate(infos)}
    scene = counted["scene"].map(numbers).to_numpy(np.int64)
    boxes = counted[list(BOX_COLUMNS)].to_numpy(np.float64).reshape(-1, 4)
    boxes_m = np.zeros_like(boxes)
    sides = np.full((len(boxes), 2), np.nan)
    for number, info in enumerate(infos):
        rows = scene == number
        gsd_x, gsd_y = info.gsd_m
        boxes_m[rows] = boxes[rows] * (gsd_x, gsd_y, gsd_x, gsd_y)
        sides[rows] = georef.box_sides_m(boxes[rows], info.transform, info.crs)
    is_point = (boxes[:, 2:] <= boxes[:, :2]).all(axis=1)
    sides[is_point] = np.nan
    class_index = pd.factorize(counted["class"], sort=True)[0].astype(np.int64)
    return ObjectsOnGround(
        scene, class_index, boxes_m, length_m=sides.max(axis=1), width_m=sides.min(axis=1)
    )


def measure_crowding(objects: ObjectsOnGround) -> dict[str, Any]:
    """Return nearest neighbours, shares that merging would take, and labels marked twice."""
    distance = np.full(len(objects.scene), np.nan)
    in_sizes = np.full(len(objects.scene), np.nan)
    n_twice = n_near = 0
    kept = np.ones(len(objects.scene), bool)
    for rows in _rows_by_scene(objects):
        twice, near = _marked_twice(objects, rows)
        kept[rows[twice]] = False
        n_twice += len(twice)
        n_near += near
    if n_twice < TWICE_RATIO * n_near:
        kept[:] = True
        n_twice = 0
    for rows in _rows_by_scene(objects):
        rows = rows[kept[rows]]
        distance[rows], in_sizes[rows] = _nearest(objects, rows)
    return {
        "nearest_m": Quantiles.of(distance),
        "nearest_sizes": Quantiles.of(in_sizes),
        "merged": _merged_shares(objects, kept),
        "marked_twice": round(n_twice / max(len(kept), 1), 4),
    }


def _rows_by_scene(objects: ObjectsOnGround) -> list[NDArray[np.intp]]:
    return [np.flatnonzero(objects.scene == number) for number in np.unique(objects.scene)]


def _nearest(objects: ObjectsOnGround, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the distance of each object's centre to the next one's: m, and smaller sizes."""
    if len(rows) < 2:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    distances, neighbors = KDTree(objects.centers_m[rows]).query(objects.centers_m[rows], k=2)
    sides = objects.boxes_m[rows, 2:] - objects.boxes_m[rows, :2]
    size = np.sqrt(sides.prod(axis=1))
    smaller = np.minimum(size, size[neighbors[:, 1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        in_sizes = np.where(smaller > 0, distances[:, 1] / smaller, np.nan)
    return distances[:, 1], in_sizes


def _marked_twice(objects: ObjectsOnGround, rows: NDArray[np.intp]) -> tuple[Any, int]:
    """Return which labels of a scene mark an object again, and how many pairs overlap by less."""
    if len(rows) < 2:
        return np.zeros(0, np.intp), 0
    boxes = objects.boxes_m[rows]
    reach = np.nanmax(objects.length_m[rows], initial=0.0)
    pairs = KDTree(objects.centers_m[rows]).query_pairs(reach, output_type="ndarray")
    same = objects.class_index[rows[pairs[:, 0]]] == objects.class_index[rows[pairs[:, 1]]]
    pairs = pairs[same]
    overlap = iou(boxes[pairs[:, 0]], boxes[pairs[:, 1]])
    near = int(((overlap > NEAR_TWICE_IOU) & (overlap <= TWICE_IOU)).sum())
    return np.unique(pairs[overlap > TWICE_IOU, 1]), near


def _merged_shares(objects: ObjectsOnGround, kept: Bools) -> dict[str, float]:
    """Return setting -> share of the objects that merging takes for duplicates of others."""
    shares = {}
    has_size = np.isfinite(objects.length_m) & kept
    for distance, overlap in MERGE_SETTINGS:
        n_kept = 0
        for rows in _rows_by_scene(objects):
            rows = rows[has_size[rows]]
            stay = merge_duplicates(
                objects.boxes_m[rows],
                np.zeros(len(rows)),
                objects.class_index[rows],
                center_distance=distance,
                iou_threshold=overlap,
            )
            n_kept += len(stay)
        n_all = int(has_size.sum())
        merged = 1 - n_kept / n_all if n_all else 0.0
        shares[merge_key(distance, overlap)] = round(merged, 4)
    return shares


def merge_key(distance: float, overlap: float) -> str:
    """Return the name of a merge setting in the measurements."""
    return f"{distance:g}/{overlap:g}"


def measure_color(
    labels: geopandas.GeoDataFrame, infos: Sequence[SceneInfo], temporary: Path
) -> ColorMeasure | None:
    """Return how objects differ from their surroundings; None where too few can be measured.

    Args:
        labels: in native px.
        infos: the scenes.
        temporary: where virtual rasters of stacked bands are for now.
    """
    counted = labels[~labels["ignored"]]
    step = max(len(counted) // MAX_COLORED, 1)
    chosen = counted.iloc[::step]
    shared = min((info.bands for info in infos), key=len)  # others may have an alpha band too
    hues = []
    lights = []
    for info in infos:
        rows = chosen[chosen["scene"] == info.name]
        if rows.empty:
            continue
        stacked = temporary / f"{info.name}.vrt"
        with Scene(_at(info, stacked)) as scene:
            numbers = [scene.bands.index(band) for band in shared]
            for box in rows[list(BOX_COLUMNS)].to_numpy(np.float64):
                difference = _difference(scene, box, numbers)
                if difference is not None:
                    hues.append(difference[0])
                    lights.append(difference[1])
    if len(hues) < MIN_COLORED:
        return None
    hue = 0.0
    if len(hues[0]) >= 3:
        hue = float(np.abs(_in_spreads(np.array(hues))).max())
    light = float(_in_spreads(np.array(lights)[:, None])[0])
    return ColorMeasure(hue=round(hue, 3), brightness=round(light, 3), objects=len(hues))


def _at(info: SceneInfo, stacked: Path) -> SceneInfo:
    from dataclasses import replace

    return replace(info, path=str(stacked)) if stacked.is_file() else info


def _in_spreads(values: Floats) -> Floats:
    """Return the means of columns (N, C) in their standard deviations."""
    spread = np.maximum(values.std(axis=0), 1e-9)
    return np.asarray(values.mean(axis=0) / spread)


def _difference(scene: Scene, box: Floats, bands: Sequence[int]) -> tuple[Floats, float] | None:
    """Return how an object differs from its surroundings: shares of bands (C,), and brightness."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if min(width, height) < MIN_SIDE_PX:
        return None
    row = int(top - height * (RING - 1) / 2)
    col = int(left - width * (RING - 1) / 2)
    rows = int(np.ceil(height * RING))
    cols = int(np.ceil(width * RING))
    pixels, valid = scene.read(row, col, rows, cols)
    pixels = pixels[list(bands)]
    inside = np.zeros(valid.shape, bool)
    # the inner part: corners of a box are mostly background
    inset_y, inset_x = height / 6, width / 6
    inside[
        round(top + inset_y - row) : max(round(bottom - inset_y - row), round(top - row) + 1),
        round(left + inset_x - col) : max(round(right - inset_x - col), round(left - col) + 1),
    ] = True
    around = np.ones(valid.shape, bool)
    around[round(top - row) : round(bottom - row), round(left - col) : round(right - col)] = False
    if not (inside & valid).any() or not (around & valid).any():
        return None
    object_mean = pixels[:, inside & valid].mean(axis=1, dtype=np.float64)
    around_mean = pixels[:, around & valid].mean(axis=1, dtype=np.float64)
    hue = _shares(object_mean) - _shares(around_mean)
    level = max(float(around_mean.mean()), 1e-6)
    return hue, float((object_mean.mean() - around_mean.mean()) / level)


def _shares(bands: Floats) -> Floats:
    return np.asarray(bands / max(float(np.abs(bands).sum()), 1e-9))
