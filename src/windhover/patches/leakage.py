"""Leakage between splits: how far the patches of two splits are apart, and what they share.

Measured from the patches as written, on the ground. Reads the index and the scenes' georeference,
no image.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod
from scipy.spatial import cKDTree

from windhover.errors import DataError
from windhover.geometry import georef
from windhover.geometry.arrays import Bools, Floats
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
    for one, other in combinations(sorted(set(windows.split)), 2):
        pair = _SplitPair(
            windows.select(windows.split == one), windows.select(windows.split == other)
        )
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
    rows_of_scene = index.groupby("scene").indices
    for scene in n_splits[n_splits > 1].index:
        rows = rows_of_scene[scene]
        shapes = np.asarray(shapely.box(*boxes[rows].T), dtype=object)
        splits = index["split"].to_numpy()[rows]
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        differ = splits[one] != splits[other]
        one = one[differ]
        shared = shapely.area(shapely.intersection(shapes[one], shapes[other[differ]]))
        count += len(np.unique(one[shared > MIN_OVERLAP_PX2]))
    return count


class _Windows(NamedTuple):
    """Georeferenced patches.

    Attributes:
        split: (N,) name of the split.
        scene: (N,) name of the scene.
        radius: (N,) half diagonal, m.
        lon: (N, 4) of the corners, degrees.
        lat: (N, 4) of the corners, degrees.
        xyz: (N, 3) centers, ECEF, m.
    """

    split: NDArray[np.object_]
    scene: NDArray[np.object_]
    radius: Floats
    lon: Floats
    lat: Floats
    xyz: Floats

    def select(self, rows: Bools) -> _Windows:
        """Return the windows of a mask (N,)."""
        return _Windows(
            self.split[rows],
            self.scene[rows],
            self.radius[rows],
            self.lon[rows],
            self.lat[rows],
            self.xyz[rows],
        )


def _windows_on_earth(index: pd.DataFrame, scenes: pd.DataFrame, boxes: Floats) -> _Windows:
    """Return the georeferenced patches, by scene."""
    no_name = np.zeros(0, object)
    no_corner = np.zeros((0, 4))
    parts = [_Windows(no_name, no_name, np.zeros(0), no_corner, no_corner, np.zeros((0, 3)))]
    to_ecef = georef.transformer(LON_LAT_HEIGHT, ECEF)
    splits = index["split"].to_numpy(object)
    rows_of_scene = index.groupby("scene").indices
    row: Any
    for row in scenes.itertuples(index=False):
        rows = rows_of_scene.get(row.scene)
        if pd.isna(row.crs) or rows is None:
            continue
        cols = boxes[rows][:, [0, 2, 2, 0]]
        lines = boxes[rows][:, [1, 1, 3, 3]]
        world = georef.pixel_to_world(Affine(*row.transform), cols, lines)
        lon, lat = georef.transformer(row.crs, georef.WGS84).transform(*world)
        corners = np.stack(to_ecef.transform(lon, lat, np.zeros_like(lon)), axis=-1)  # (n, 4, 3)
        center = corners.mean(axis=1)
        radius = np.linalg.norm(corners - center[:, None], axis=-1).max(axis=1)
        names = np.full(len(rows), row.scene, object)
        parts.append(_Windows(splits[rows], names, radius, lon, lat, center))
    return _Windows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class _SplitPair:
    """The windows of two splits on Earth, and a search tree of the second one's centers."""

    def __init__(self, first: _Windows, second: _Windows) -> None:
        self._first = first
        self._second = second
        self._tree = cKDTree(second.xyz)
        # windows whose centers are farther apart than this share nothing
        self._reach_m = float(first.radius.max() + second.radius.max())

    def count_overlaps(self) -> int:
        """Return how many windows of the first overlap one of the second, of another scene."""
        count = 0
        candidates = self._tree.query_ball_point(self._first.xyz, self._reach_m)
        for row, rows_of_second in enumerate(candidates):
            for other in rows_of_second:
                is_same = self._first.scene[row] == self._second.scene[other]
                if not is_same and self._shared_m2(row, other) > MIN_OVERLAP_M2:
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
        n_first = len(self._first.radius)
        n_neighbors = min(N_NEIGHBORS, len(self._second.radius))
        distance, number = self._tree.query(self._first.xyz, k=n_neighbors)
        distance = distance.reshape(n_first, -1)
        number = number.reshape(n_first, -1)
        is_near = distance <= distance.min() + 2 * self._reach_m
        pairs = np.argwhere(is_near)
        # the nearest centers, whichever order the patches stand in
        nearest_first = np.argsort(distance[tuple(pairs.T)], kind="stable")
        for row, rank in pairs[nearest_first[:MAX_PAIRS]]:
            if best_m is not None and distance[row, rank] - self._reach_m > best_m:
                break
            other = number[row, rank]
            one, two = self._outlines(row, other)
            gap_m = float(one.distance(two))
            if best_m is None or gap_m < best_m:
                best_m = gap_m
                scenes = (str(self._first.scene[row]), str(self._second.scene[other]))
        if best_m is None or scenes is None:
            return None
        return best_m, scenes

    def _shared_m2(self, row: int, other: int) -> float:
        """Return the ground that a window of the first and one of the second share, m2."""
        one, two = self._outlines(row, other)
        return float(one.intersection(two).area)

    def _outlines(self, row: int, other: int) -> tuple[shapely.Polygon, shapely.Polygon]:
        """Return two windows in the plane of azimuth and distance about the first one's corner."""
        outlines = []
        corner = (self._first.lon[row, 0], self._first.lat[row, 0])
        for windows, number in ((self._first, row), (self._second, other)):
            lon, lat = (np.full(4, value) for value in corner)
            azimuth, _, length = GEOD.inv(lon, lat, windows.lon[number], windows.lat[number])
            angle = np.radians(azimuth)
            points = np.stack([length * np.sin(angle), length * np.cos(angle)], axis=1)
            outlines.append(shapely.Polygon(points))
        return outlines[0], outlines[1]
