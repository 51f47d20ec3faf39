"""Choice of windows on one scene: positives about objects, and negatives of three kinds.

Works in px of the scene at one GSD, on tables alone: reads no file. A window is given by its upper
left corner; its center is half a window from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from shapely.geometry.base import BaseGeometry

from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.objects import Objects
from windhover.geometry.random_points import points_in_region
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX

TRIES_PER_WINDOW = 20  # random tries for one wanted window; a shortfall is reported
MAX_TRIES = 200_000  # cells drawn for look-alikes at once
CHUNK = 2_000_000  # pairs of windows and objects compared at a time
ROUNDING_PX = 0.71  # how far rounding a corner to whole px moves it at most, both axes together


@dataclass(frozen=True)
class SceneLabels:
    """What is labeled on one scene, px of the scene at one GSD.

    Attributes:
        objects: that count.
        ignored_xyxy: (N, 4) boxes of ignored labels; no negative is cut near them.
        coverage: where everything is labeled.
        rule: when a window shows an object.
    """

    objects: Objects
    ignored_xyxy: Floats
    coverage: LabelCoverage
    rule: LabelRule


def nearest_object(centers_xy: Floats, objects: Objects, rule: LabelRule) -> tuple[Floats, Ints]:
    """Return the distance, px, from each window's center to the nearest object, and its number.

    Args:
        centers_xy: (K, 2) centers of the windows.
        objects: (N) to choose from; without any, distances are inf and numbers -1.
        rule: measures the distance.
    """
    distance = np.full(len(centers_xy), np.inf)
    number = np.full(len(centers_xy), -1, np.int64)
    if not len(objects):
        return distance, number
    step = max(CHUNK // len(objects), 1)
    for start in range(0, len(centers_xy), step):
        chunk = slice(start, start + step)
        offset = objects.centers_xy[None] - centers_xy[chunk, None]  # (k, N, 2)
        distances = rule.distance(offset[..., 0], offset[..., 1])
        number[chunk] = distances.argmin(axis=1)
        distance[chunk] = distances.min(axis=1)
    return distance, number


def is_negative(centers_xy: Floats, labels: SceneLabels) -> Bools:
    """Return which windows are background.

    Their centers (K, 2) are beyond the ignore radius of every object and of every ignored box, and
    the whole window is where everything is labeled.
    """
    rule = labels.rule
    negative = nearest_object(centers_xy, labels.objects, rule)[0] > rule.ignore_px
    x, y = centers_xy.T
    for left, top, right, bottom in labels.ignored_xyxy:
        dx = np.maximum(np.maximum(left - x, x - right), 0)
        dy = np.maximum(np.maximum(top - y, y - bottom), 0)
        negative &= rule.distance(dx, dy) > rule.ignore_px
    negative &= labels.coverage.is_window_known(centers_xy, HALF_WINDOW_PX)
    return np.asarray(negative)


def positive_windows(labels: SceneLabels, repeats: Ints, rng: np.random.Generator) -> Ints:
    """Return (K, 2) left, top of windows about objects, shifted within the positive radius.

    Args:
        labels: of the scene.
        repeats: (N,) windows wanted for each object.
        rng: of the shifts.
    """
    rule = labels.rule
    # a little less than the radius, because corners are rounded to whole px
    radius = max(rule.positive_px - ROUNDING_PX, 0.0)
    offsets = rule.sample_offsets(rng, int(repeats.sum()), low_px=0.0, high_px=radius)
    centers = np.repeat(labels.objects.centers_xy, repeats, axis=0) + offsets
    corners = np.rint(centers - HALF_WINDOW_PX).astype(np.int64)
    distance, _ = nearest_object(_centers_of(corners), labels.objects, rule)
    return corners[distance <= rule.positive_px]


def offcenter_windows(
    shape_hw: tuple[int, int], labels: SceneLabels, count: int, *, rng: np.random.Generator
) -> Ints:
    """Return up to `count` (K, 2) left, top of windows that show an object away from their center.

    They are beyond the object's ignore radius: a detector must not fire on them. Their centers are
    on the scene: beyond its border a window shows the object's mirror image.

    Args:
        shape_hw: height and width of the scene, px.
        labels: of the scene.
        count: wanted.
        rng: of the draws.
    """
    n_objects = len(labels.objects)
    if not n_objects:
        return np.zeros((0, 2), np.int64)
    rule = labels.rule
    tries = count * TRIES_PER_WINDOW
    about = labels.objects.centers_xy[rng.integers(0, n_objects, tries)]
    farthest = max(HALF_WINDOW_PX, rule.ignore_px + 1.0)
    offsets = rule.sample_offsets(rng, tries, low_px=rule.ignore_px, high_px=farthest)
    corners = np.rint(about + offsets - HALF_WINDOW_PX).astype(np.int64)
    centers = _centers_of(corners)
    height, width = shape_hw
    is_on_scene = ((centers >= 0) & (centers <= (width, height))).all(axis=1)
    return corners[is_on_scene & is_negative(centers, labels)][:count]


def random_windows(
    shape_hw: tuple[int, int], labels: SceneLabels, count: int, *, rng: np.random.Generator
) -> Ints:
    """Return up to `count` (K, 2) left, top of background windows anywhere on a scene.

    Args:
        shape_hw: height and width of the scene, px.
        labels: of the scene.
        count: wanted.
        rng: of the draws.
    """
    tries = count * TRIES_PER_WINDOW
    height, width = shape_hw
    if labels.coverage.is_whole_scene:
        x = rng.integers(0, width, tries)
        y = rng.integers(0, height, tries)
        centers = np.stack([x, y], axis=1)
    else:
        region = _window_region(shape_hw, labels.coverage)
        centers = np.floor(points_in_region(region, tries, rng)).astype(np.int64)
    negative = is_negative(centers.astype(np.float64), labels)
    return centers[negative][:count] - HALF_WINDOW_PX


def _window_region(shape_hw: tuple[int, int], coverage: LabelCoverage) -> BaseGeometry:
    """Return where the centers of windows can be of which all ground is known, to a px."""
    height, width = shape_hw
    return coverage.known_region(shapely.box(0, 0, width, height), HALF_WINDOW_PX - 1.0)


def lookalike_windows(
    structure: NDArray[np.float32], labels: SceneLabels, count: int, *, rng: np.random.Generator
) -> Ints:
    """Return up to `count` (K, 2) left, top of background windows, more where there is structure.

    Args:
        structure: (h, w) as `structure_map` gives it; windows are drawn in proportion.
        labels: of the scene.
        count: wanted.
        rng: of the draws.
    """
    weight = structure.astype(np.float64).ravel()
    n_rows, n_cols = structure.shape
    if not labels.coverage.is_whole_scene:
        middle_y, middle_x = (np.indices(structure.shape).reshape(2, -1) + 0.5) * STRIDE_PX
        scene_hw = (n_rows * STRIDE_PX, n_cols * STRIDE_PX)
        region = _window_region(scene_hw, labels.coverage)
        weight[~shapely.contains_xy(region, middle_x, middle_y)] = 0.0
    if not count or weight.sum() <= 0:
        return np.zeros((0, 2), np.int64)
    tries = min(count * TRIES_PER_WINDOW, MAX_TRIES)
    cells = rng.choice(len(weight), size=tries, p=weight / weight.sum())
    row, col = np.divmod(cells, n_cols)
    within_cell = rng.integers(0, STRIDE_PX, (len(cells), 2))
    centers = np.unique(np.stack([col, row], axis=1) * STRIDE_PX + within_cell, axis=0)
    centers = centers[rng.permutation(len(centers))]
    negative = is_negative(centers.astype(np.float64), labels)
    return centers[negative][:count] - HALF_WINDOW_PX


def structure_map(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the structure of each cell of `STRIDE_PX`: its mean gradient over 3 cells, squared.

    Args:
        image: (C, H, W) pixels of any type.

    Returns:
        (H // STRIDE_PX, W // STRIDE_PX), 0 or more.
    """
    gray = image.astype(np.float32).mean(axis=0)
    gradient = np.zeros_like(gray)
    gradient[:-1] += np.abs(np.diff(gray, axis=0))
    gradient[:, :-1] += np.abs(np.diff(gray, axis=1))
    n_rows, n_cols = (length // STRIDE_PX for length in gray.shape)
    whole_cells = gradient[: n_rows * STRIDE_PX, : n_cols * STRIDE_PX]
    cells = whole_cells.reshape(n_rows, STRIDE_PX, n_cols, STRIDE_PX).mean(axis=(1, 3))
    smooth: NDArray[np.float32] = uniform_filter(cells, size=3, mode="constant") ** 2
    return smooth


def _centers_of(corners: Ints) -> Floats:
    """Return the centers (K, 2) of windows from their upper left corners."""
    return corners + np.float64(HALF_WINDOW_PX)
