"""Measuring from the patches as written how far the splits are apart, and whether any two share
ground or pixels.

Reads the index and the scenes' georeference, no image.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from scipy.spatial import cKDTree

from windhover.errors import DataError
from windhover.geometry import georef
from windhover.geometry.windows import WINDOW_PX

NEIGHBORS = 8  # windows of the other split that are tried for each window
PAIRS = 20_000
ECEF = "EPSG:4978"  # metres from the Earth's centre: straight-line distances, good anywhere
Floats = NDArray[np.float64]


def measure_leakage(index: pd.DataFrame, scenes: pd.DataFrame, identical: int) -> dict[str, Any]:
    """Return the smallest distance between two splits and the number of patches that two splits
    share.

    Args:
        index: of the patches.
        scenes: of the catalog.
        identical: patches whose pixels stand in two splits, counted when they were written.

    Returns:
        `smallest_distance_m` (null where fewer than two splits are georeferenced), `between` (the
        two scenes), `overlapping_patches`, `identical_patches`, `scenes_without_georeference`.
    """
    corners = _native_corners(index, scenes)
    overlapping = _overlaps_within_scenes(index, corners)
    placed = _on_earth(index, scenes, corners)
    distance, between, across = _between_splits(placed)
    return {
        "smallest_distance_m": distance,
        "between": between,
        "overlapping_patches": overlapping + across,
        "identical_patches": identical,
        "scenes_without_georeference": int(scenes["crs"].isna().sum()),
    }


def refuse_leakage(leakage: dict[str, Any]) -> None:
    """Raise where two splits share a patch.

    Raises:
        DataError: patches overlap or are identical across splits.
    """
    if leakage["overlapping_patches"]:
        raise DataError(
            f"{leakage['overlapping_patches']} patches overlap a patch of another split "
            f"({' and '.join(leakage['between'] or ['one scene'])}): what is tested "
            "would have been trained on. Give these scenes one place in `scenes.groups`."
        )
    if leakage["identical_patches"]:
        raise DataError(
            f"{leakage['identical_patches']} patches have the same pixels as a patch of another "
            "split: the same picture is in the folder twice. "
            "Give both files one place in `scenes.groups`, or remove one."
        )


def _native_corners(index: pd.DataFrame, scenes: pd.DataFrame) -> Floats:
    """Return (N, 4) boxes of what the patches show in native px, xyxy: windows clipped to their
    scene.
    """
    columns = ["scene", "gsd_x_m", "gsd_y_m", "width_px", "height_px"]
    gsd = index[["scene"]].merge(scenes[columns], on="scene", how="left")
    from windhover.imagery.resample import SNAP

    ratio = index["gsd_m"].to_numpy(np.float64)[:, None] / gsd[["gsd_x_m", "gsd_y_m"]].to_numpy(
        np.float64
    )
    ratio = np.where(np.abs(ratio - 1) < SNAP, 1.0, ratio)
    start = index[["left_px", "top_px"]].to_numpy(np.float64)
    size = gsd[["width_px", "height_px"]].to_numpy(np.float64)
    return np.concatenate(
        [np.maximum(start * ratio, 0), np.minimum((start + WINDOW_PX) * ratio, size)], axis=1
    )


def _overlaps_within_scenes(index: pd.DataFrame, corners: Floats) -> int:
    """Return how many patches overlap one of another split in the same raster."""
    several = index.groupby("scene")["split"].nunique()
    count = 0
    for scene in several[several > 1].index:
        rows = np.flatnonzero((index["scene"] == scene).to_numpy())
        boxes = np.asarray(shapely.box(*corners[rows].T), dtype=object)
        splits = index["split"].to_numpy()[rows]
        left, right = shapely.STRtree(boxes).query(boxes, predicate="intersects")
        differ = splits[left] != splits[right]
        left, right = left[differ], right[differ]
        shared = shapely.area(shapely.intersection(boxes[left], boxes[right])) > 1e-9
        count += len(np.unique(left[shared]))
    return count


def _on_earth(index: pd.DataFrame, scenes: pd.DataFrame, corners: Floats) -> pd.DataFrame:
    """Return the georeferenced patches: split, scene, corners (degrees), centre in ECEF, half
    diagonal (m).
    """
    parts = []
    row: Any
    for row in scenes.itertuples(index=False):
        rows = np.flatnonzero((index["scene"] == row.scene).to_numpy())
        if row.crs is None or pd.isna(row.crs) or not len(rows):
            continue
        box = corners[rows]
        cols, lines = box[:, [0, 2, 2, 0]], box[:, [1, 1, 3, 3]]
        lon, lat = georef.transformer(row.crs, georef.WGS84).transform(
            *georef.pixel_to_world(Affine(*row.transform), cols, lines)
        )
        xyz = np.stack(
            georef.transformer("EPSG:4979", ECEF).transform(lon, lat, np.zeros_like(lon)), axis=-1
        )
        center = xyz.mean(axis=1)
        radius = np.linalg.norm(xyz - center[:, None], axis=-1).max(axis=1)
        part = {
            "split": index["split"].to_numpy()[rows],
            "scene": row.scene,
            "radius": radius,
            "lon": list(lon),
            "lat": list(lat),
            "xyz": list(center),
        }
        parts.append(pd.DataFrame(part))
    return (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"split": [], "scene": []})
    )


def _between_splits(placed: pd.DataFrame) -> tuple[float | None, list[str] | None, int]:
    """Return the smallest distance between windows of two splits, their scenes, and how many
    overlap.

    The distance is that of the outlines, of each window and its nearest neighbours by centre.
    """
    best: tuple[float, list[str]] | None = None
    overlapping = 0
    geod = Geod(ellps="WGS84")
    for one, other in combinations(sorted(placed["split"].unique()), 2):
        first, second = placed[placed["split"] == one], placed[placed["split"] == other]
        points, others = np.stack(first["xyz"].to_list()), np.stack(second["xyz"].to_list())
        reach = float(first["radius"].max() + second["radius"].max())
        tree = cKDTree(others)
        overlapping += _overlapping(first, second, tree, points, reach)
        distance, which = tree.query(points, k=min(NEIGHBORS, len(others)))
        distance, which = distance.reshape(len(points), -1), which.reshape(len(points), -1)
        near = np.argwhere(distance <= distance.min() + 2 * reach)[:PAIRS]
        for number, rank in near[np.argsort(distance[tuple(near.T)], kind="stable")]:
            here, there = first.iloc[number], second.iloc[which[number, rank]]
            if best is not None and distance[number, rank] - reach > best[0]:
                break
            gap = _gap_m(here, there, geod)
            if best is None or gap < best[0]:
                best = (gap, [str(here["scene"]), str(there["scene"])])
    return (round(best[0], 3), best[1], overlapping) if best else (None, None, 0)


def _overlapping(
    first: pd.DataFrame, second: pd.DataFrame, tree: cKDTree, points: Floats, reach: float
) -> int:
    """Return how many windows of the first table share ground with one of the second, of another
    scene.
    """
    count = 0
    geod = Geod(ellps="WGS84")
    for number, near in enumerate(tree.query_ball_point(points, reach)):
        here = first.iloc[number]
        for candidate in near:
            there = second.iloc[candidate]
            if here["scene"] != there["scene"] and _share_ground(here, there, geod):
                count += 1
                break
    return count


def _share_ground(here: Any, there: Any, geod: Geod) -> bool:
    """Tell whether two windows overlap."""
    outlines = _outlines(here, there, geod)
    return bool(outlines[0].intersection(outlines[1]).area > 1e-6)


def _gap_m(here: Any, there: Any, geod: Geod) -> float:
    """Return the distance between two windows' outlines, m."""
    outlines = _outlines(here, there, geod)
    return float(outlines[0].distance(outlines[1]))


def _outlines(here: Any, there: Any, geod: Geod) -> list[shapely.Polygon]:
    """Return two windows in the plane of azimuth and distance about the first one's corner."""
    outlines = []
    for window in (here, there):
        azimuth, _, length = geod.inv(
            np.full(4, here["lon"][0]), np.full(4, here["lat"][0]), window["lon"], window["lat"]
        )
        angle = np.radians(azimuth)
        outlines.append(
            shapely.Polygon(np.stack([length * np.sin(angle), length * np.cos(angle)], axis=1))
        )
    return outlines
