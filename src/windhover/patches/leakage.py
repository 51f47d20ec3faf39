"""Leakage between splits: how far the patches of two splits are apart, and what they share.

Measured from the patches as written, on the ground. Reads the index and the scenes' georeference,
no image.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import shapely
from affine import Affine
from pyproj import Geod
from scipy.spatial import cKDTree

from windhover.errors import DataError
from windhover.geometry import georef
from windhover.geometry.arrays import Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.resample import SNAP
from windhover.patches.patch_summary import Leakage

N_NEIGHBORS = 8  # windows of the other split that are tried for each window
MAX_PAIRS = 20_000  # of windows whose outlines are measured for two splits
ECEF = "EPSG:4978"  # metres from the Earth's centre: straight-line distances, good anywhere
LON_LAT_HEIGHT = "EPSG:4979"
MIN_OVERLAP_PX2 = 1e-9
MIN_OVERLAP_M2 = 1e-6
GEOD = Geod(ellps="WGS84")


def measure_leakage(index: pd.DataFrame, scenes: pd.DataFrame, identical: int) -> Leakage:
    """Return the smallest distance between two splits, and how many patches two splits share.

    Args:
        index: of the patches.
        scenes: of the catalog.
        identical: patches whose pixels are in two splits, counted when they were written.
    """
    boxes = _native_boxes(index, scenes)
    overlapping = _count_overlaps_within_scenes(index, boxes)
    windows = _windows_on_earth(index, scenes, boxes)
    smallest: float | None = None
    between: tuple[str, str] | None = None
    for one, other in combinations(sorted(windows["split"].unique()), 2):
        pair = _SplitPair(windows[windows["split"] == one], windows[windows["split"] == other])
        overlapping += pair.count_overlaps()
        closest = pair.find_closest(smallest)
        if closest is not None:
            smallest, between = closest
    return Leakage(
        smallest_distance_m=None if smallest is None else round(smallest, 3),
        between=between,
        overlapping_patches=overlapping,
        identical_patches=identical,
        scenes_without_georeference=int(scenes["crs"].isna().sum()),
    )


def check_leakage(leakage: Leakage) -> None:
    """Check that no two splits share a patch.

    Raises:
        DataError: patches overlap or are identical across splits.
    """
    if leakage.overlapping_patches:
        where = " and ".join(leakage.between or ["one scene"])
        raise DataError(
            f"{leakage.overlapping_patches} patches overlap a patch of another split ({where}): "
            "what is tested would have been trained on. Give these scenes one place in "
            "`scenes.groups`."
        )
    if leakage.identical_patches:
        raise DataError(
            f"{leakage.identical_patches} patches have the same pixels as a patch of another "
            "split: the same picture is in the folder twice. "
            "Give both files one place in `scenes.groups`, or remove one."
        )


def _native_boxes(index: pd.DataFrame, scenes: pd.DataFrame) -> Floats:
    """Return boxes (N, 4) of what the patches show, xyxy in native px, clipped to their scene."""
    columns = ["scene", "gsd_x_m", "gsd_y_m", "width_px", "height_px"]
    scene_of = index[["scene"]].merge(scenes[columns], on="scene", how="left")
    gsd = index["gsd_m"].to_numpy(np.float64)[:, None]
    ratio = gsd / scene_of[["gsd_x_m", "gsd_y_m"]].to_numpy(np.float64)
    ratio = np.where(np.abs(ratio - 1) < SNAP, 1.0, ratio)
    corner = index[["left_px", "top_px"]].to_numpy(np.float64)
    size = scene_of[["width_px", "height_px"]].to_numpy(np.float64)
    low = np.maximum(corner * ratio, 0)
    high = np.minimum((corner + WINDOW_PX) * ratio, size)
    return np.concatenate([low, high], axis=1)


def _count_overlaps_within_scenes(index: pd.DataFrame, boxes: Floats) -> int:
    """Return how many patches overlap one of another split in the same raster."""
    n_splits = index.groupby("scene")["split"].nunique()
    count = 0
    for scene in n_splits[n_splits > 1].index:
        rows = np.flatnonzero((index["scene"] == scene).to_numpy())
        shapes = np.asarray(shapely.box(*boxes[rows].T), dtype=object)
        splits = index["split"].to_numpy()[rows]
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        differ = splits[one] != splits[other]
        one = one[differ]
        shared = shapely.area(shapely.intersection(shapes[one], shapes[other[differ]]))
        count += len(np.unique(one[shared > MIN_OVERLAP_PX2]))
    return count


def _windows_on_earth(index: pd.DataFrame, scenes: pd.DataFrame, boxes: Floats) -> pd.DataFrame:
    """Return the georeferenced patches.

    Columns: split, scene, radius (half diagonal, m), lon and lat of the four corners (degrees), xyz
    (center, ECEF, m).
    """
    parts = []
    row: Any
    for row in scenes.itertuples(index=False):
        rows = np.flatnonzero((index["scene"] == row.scene).to_numpy())
        if pd.isna(row.crs) or not len(rows):
            continue
        cols = boxes[rows][:, [0, 2, 2, 0]]
        lines = boxes[rows][:, [1, 1, 3, 3]]
        world = georef.pixel_to_world(Affine(*row.transform), cols, lines)
        lon, lat = georef.transformer(row.crs, georef.WGS84).transform(*world)
        to_ecef = georef.transformer(LON_LAT_HEIGHT, ECEF)
        corners = np.stack(to_ecef.transform(lon, lat, np.zeros_like(lon)), axis=-1)  # (n, 4, 3)
        center = corners.mean(axis=1)
        radius = np.linalg.norm(corners - center[:, None], axis=-1).max(axis=1)
        part = {
            "split": index["split"].to_numpy()[rows],
            "scene": row.scene,
            "radius": radius,
            "lon": list(lon),
            "lat": list(lat),
            "xyz": list(center),
        }
        parts.append(pd.DataFrame(part))
    if not parts:
        return pd.DataFrame({"split": [], "scene": []})
    return pd.concat(parts, ignore_index=True)


class _SplitPair:
    """The windows of two splits on Earth, and a search tree of the second one's centers."""

    def __init__(self, first: pd.DataFrame, second: pd.DataFrame) -> None:
        self._first = first
        self._second = second
        self._centers = np.stack(first["xyz"].to_list())
        self._tree = cKDTree(np.stack(second["xyz"].to_list()))
        # windows whose centers are farther apart than this share nothing
        self._reach_m = float(first["radius"].max() + second["radius"].max())

    def count_overlaps(self) -> int:
        """Return how many windows of the first overlap one of the second, of another scene."""
        count = 0
        candidates = self._tree.query_ball_point(self._centers, self._reach_m)
        for number, numbers_of_second in enumerate(candidates):
            window = self._first.iloc[number]
            for number_of_second in numbers_of_second:
                other = self._second.iloc[number_of_second]
                if window["scene"] != other["scene"] and _do_overlap(window, other):
                    count += 1
                    break
        return count

    def find_closest(self, below_m: float | None) -> tuple[float, tuple[str, str]] | None:
        """Return the smallest distance between outlines, m, and its scenes; None if not below.

        Args:
            below_m: a distance that is known already; None for none.
        """
        best_m = below_m
        scenes: tuple[str, str] | None = None
        n_neighbors = min(N_NEIGHBORS, len(self._second))
        distance, number = self._tree.query(self._centers, k=n_neighbors)
        distance = distance.reshape(len(self._centers), -1)
        number = number.reshape(len(self._centers), -1)
        is_near = distance <= distance.min() + 2 * self._reach_m
        pairs = np.argwhere(is_near)
        # the nearest centers, whichever order the patches stand in
        nearest_first = np.argsort(distance[tuple(pairs.T)], kind="stable")
        for row, rank in pairs[nearest_first[:MAX_PAIRS]]:
            if best_m is not None and distance[row, rank] - self._reach_m > best_m:
                break
            window = self._first.iloc[row]
            other = self._second.iloc[number[row, rank]]
            gap_m = _gap_m(window, other)
            if best_m is None or gap_m < best_m:
                best_m = gap_m
                scenes = (str(window["scene"]), str(other["scene"]))
        if best_m is None or scenes is None:
            return None
        return best_m, scenes


def _do_overlap(window: pd.Series, other: pd.Series) -> bool:
    """Return whether two windows share ground."""
    one, two = _outlines(window, other)
    return bool(one.intersection(two).area > MIN_OVERLAP_M2)


def _gap_m(window: pd.Series, other: pd.Series) -> float:
    """Return the distance between the outlines of two windows, m."""
    one, two = _outlines(window, other)
    return float(one.distance(two))


def _outlines(window: pd.Series, other: pd.Series) -> tuple[shapely.Polygon, shapely.Polygon]:
    """Return two windows in the plane of azimuth and distance about the first one's corner, m."""
    outlines = []
    for each in (window, other):
        lon = np.full(4, window["lon"][0])
        lat = np.full(4, window["lat"][0])
        azimuth, _, length = GEOD.inv(lon, lat, each["lon"], each["lat"])
        angle = np.radians(azimuth)
        points = np.stack([length * np.sin(angle), length * np.cos(angle)], axis=1)
        outlines.append(shapely.Polygon(points))
    return outlines[0], outlines[1]
