"""Choosing windows on one scene: positives about objects, and negatives of three kinds.

Works in px of the scene seen at one GSD, on tables alone: reads no file.
A window's centre is its top-left corner + 32 px.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from windhover.dataset.label_rule import HALF, Floats, Objects, Rule
from windhover.geometry.windows import STRIDE_PX

DRAWS = 20  # tries for one wanted window before it is given up; the shortfall is reported
CHUNK = 2_000_000  # pairs of windows and objects compared at a time


def nearest(centers: Floats, objects: Objects, rule: Rule) -> tuple[Floats, NDArray[np.int64]]:
    """Return for (K, 2) window centres the distance to the nearest object and its number; inf and
    -1 without one.
    """
    distance, which = np.full(len(centers), np.inf), np.full(len(centers), -1, np.int64)
    count = len(objects.centers)
    if not count:
        return distance, which
    step = max(CHUNK // count, 1)
    for start in range(0, len(centers), step):
        offset = objects.centers[None] - centers[start : start + step, None]
        all_distances = rule.measure(offset[..., 0], offset[..., 1])
        which[start : start + step] = all_distances.argmin(axis=1)
        distance[start : start + step] = all_distances.min(axis=1)
    return distance, which


def is_negative(centers: Floats, objects: Objects, rule: Rule) -> NDArray[np.bool_]:
    """Tell which (K, 2) window centres are beyond the ignore radius of every object and of every
    ignored box.
    """
    clear = nearest(centers, objects, rule)[0] > rule.ignore_px
    for left, top, right, bottom in objects.ignored:
        dx = np.maximum(np.maximum(left - centers[:, 0], centers[:, 0] - right), 0)
        dy = np.maximum(np.maximum(top - centers[:, 1], centers[:, 1] - bottom), 0)
        clear &= rule.measure(dx, dy) > rule.ignore_px
    if objects.allowed is not None or objects.barred is not None:
        x, y = centers.T
        windows = shapely.box(x - HALF, y - HALF, x + HALF, y + HALF)
        if objects.allowed is not None:
            shapely.prepare(objects.allowed)
            clear &= shapely.covers(objects.allowed, windows)
        if objects.barred is not None:
            shapely.prepare(objects.barred)
            clear &= ~shapely.intersects(objects.barred, windows)
    return clear


def positive_windows(
    objects: Objects, rule: Rule, repeats: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return (K, 2) left, top of windows about objects, (N,) repeats of each, shifted within the
    positive radius.
    """
    # a little less than the radius, because corners are rounded to whole px
    shifts = rule.draw(rng, int(repeats.sum()), 0.0, max(rule.positive_px - 0.71, 0.0))
    wanted = np.repeat(objects.centers, repeats, axis=0) + shifts
    corners = np.rint(wanted - HALF).astype(np.int64)
    return corners[nearest(corners + np.float64(HALF), objects, rule)[0] <= rule.positive_px]


def offcenter_windows(
    objects: Objects, rule: Rule, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return up to `count` windows about an object beyond its ignore radius, on which a detector
    must not fire.
    """
    if not len(objects.centers):
        return np.zeros((0, 2), np.int64)
    tries = count * DRAWS
    chosen = objects.centers[rng.integers(0, len(objects.centers), tries)]
    corners = np.rint(
        chosen + rule.draw(rng, tries, rule.ignore_px, max(HALF, rule.ignore_px + 1.0)) - HALF
    ).astype(np.int64)
    return corners[is_negative(corners + np.float64(HALF), objects, rule)][:count]


def random_windows(
    shape_hw: tuple[int, int], objects: Objects, rule: Rule, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return up to `count` windows whose centres are uniform over the scene and beyond every ignore
    radius.
    """
    tries = count * DRAWS
    left, top, right, bottom = (0, 0, shape_hw[1], shape_hw[0])
    if objects.allowed is not None:
        left, top, right, bottom = (round(value) for value in objects.allowed.bounds)
    centers = np.stack([rng.integers(left, right, tries), rng.integers(top, bottom, tries)], axis=1)
    return centers[is_negative(centers.astype(np.float64), objects, rule)][:count] - HALF


def lookalike_windows(
    structure: NDArray[np.float32],
    objects: Objects,
    rule: Rule,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Return up to `count` windows drawn in proportion to their structure, beyond every ignore
    radius.

    Args:
        structure: (h, w) how much there is to see about (8 j + 4, 8 i + 4), as `structure_map`
            gives it.
        objects: on the scene.
        rule: of the ignore radius.
        count: wanted.
        rng: of the draws.
    """
    weight = structure.astype(np.float64).ravel()
    if not count or weight.sum() <= 0:
        return np.zeros((0, 2), np.int64)
    cells = rng.choice(len(weight), size=min(count * DRAWS, 200_000), p=weight / weight.sum())
    row, col = np.divmod(cells, structure.shape[1])
    centers = np.stack([col, row], axis=1) * STRIDE_PX + rng.integers(0, STRIDE_PX, (len(cells), 2))
    centers = np.unique(centers, axis=0)[rng.permutation(len(np.unique(centers, axis=0)))]
    return centers[is_negative(centers.astype(np.float64), objects, rule)][:count] - HALF


def structure_map(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return how much structure there is about each 8 px cell: the square of the mean gradient over
    24 px.

    Args:
        image: (C, H, W).

    Returns:
        (H // 8, W // 8), 0 or more.
    """
    grey = image.astype(np.float32).mean(axis=0)
    gradient = np.zeros_like(grey)
    gradient[:-1] += np.abs(np.diff(grey, axis=0))
    gradient[:, :-1] += np.abs(np.diff(grey, axis=1))
    rows, cols = (length // STRIDE_PX for length in grey.shape)
    cells = (
        gradient[: rows * STRIDE_PX, : cols * STRIDE_PX]
        .reshape(rows, STRIDE_PX, cols, STRIDE_PX)
        .mean(axis=(1, 3))
    )
    smooth: NDArray[np.float32] = uniform_filter(cells, size=3, mode="constant") ** 2
    return smooth
