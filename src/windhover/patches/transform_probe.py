"""Trial of an augmentation on ramps of coordinates: does it keep size, type and place of labels?

Each transform is tried alone, always applied, before any patch is changed. Pixels 0..1 rise along x
or y, so that the pixels at a label show where they came from. Knows no transform by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.windows import WINDOW_PX

N_TRIALS = 12  # seeds 0, 1, ...: random sizes and shifts differ
EDGE_PX = 6  # labels nearer to the border than this are not compared
POINT_STEP_PX = 4  # between the labels that are followed
MIN_POINTS = 9  # labels that a trial needs to be judged
NEAR_FRACTION = 0.75  # of the labels that must be near their pixels: others may be masked
MAX_DISTANCE_PX = 0.75  # between a label and its pixels
MIN_SLOPE = 0.2  # of the ramp where pixels are not masked, px per px
LOWEST, HIGHEST = -0.05, 1.05  # of the middle half of the pixels
MIN_CONTRAST = 0.02  # of the middle half of the pixels, in at least one trial
REASON_CHARS = 160  # of the error of a transform that is quoted
MAX_PX = WINDOW_PX - 1

# image (S, S, C) float32 0..1, (N, 2) points from pixel centers, seed -> the two after it
Trial = Callable[[NDArray[np.float32], Floats, int], tuple[Any, Any]]


def find_fault(trial: Trial, n_bands: int, *, moves_labels: bool) -> str | None:
    """Return why a transform does not fit, with what to do; None if it does.

    Args:
        trial: applies the transform.
        n_bands: of the patches.
        moves_labels: whether it is one that moves pixels and labels.
    """
    x: NDArray[np.float32] = np.tile(
        np.arange(WINDOW_PX, dtype=np.float32) / np.float32(MAX_PX), (WINDOW_PX, 1)
    )
    planes = (x, 1 - x, x.T, 1 - x.T)
    ramps: list[NDArray[np.float32]] = [
        np.repeat(plane[..., None], n_bands, axis=2) for plane in planes
    ]
    steps = np.arange(2.0 * EDGE_PX, WINDOW_PX - 2 * EDGE_PX, POINT_STEP_PX)
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    highest_contrast = 0.0
    for seed in range(N_TRIALS):
        outputs = []
        for ramp in ramps:
            try:
                image, moved = trial(ramp.copy(), points, seed)
            except Exception as error:  # noqa: BLE001  (any transform of albumentations)
                reason = " ".join(str(error).split())[:REASON_CHARS]
                return f"fails on a patch ({type(error).__name__}: {reason}). Remove it."
            fault = _image_fault(image, ramp)
            if fault is not None:
                return fault
            outputs.append(image.reshape(ramp.shape).mean(axis=-1, dtype=np.float64))
        low, high = np.quantile(outputs[0], [0.25, 0.75])
        highest_contrast = max(highest_contrast, float(high - low))
        moved = np.asarray(moved, np.float64).reshape(-1, 2)
        if len(moved) != len(points):
            return (
                f"returns {len(moved)} labels for {len(points)}, so that an object is lost or "
                "doubled. Remove it."
            )
        distance = _distance_from_pixels(outputs, points, moved)
        if moves_labels and distance is not None and distance > MAX_DISTANCE_PX:
            return (
                f"moves labels {distance:.1f} px beside their pixels, which is more than "
                f"{MAX_DISTANCE_PX} px. Remove it; D4 and Affine move both alike."
            )
    if highest_contrast < MIN_CONTRAST:
        return (
            "makes patches of nearly one value. Remove it, or correct its arguments; pixels come "
            "as 0 to 1, and training normalizes them itself."
        )
    return None


def _image_fault(image: Any, ramp: NDArray[np.float32]) -> str | None:
    """Return what a transform did to the size, type or values of a picture; None for nothing."""
    if not isinstance(image, np.ndarray):
        return f"returns a {type(image).__name__}, not an array. Remove it."
    shape = image.shape
    # one band may come back without its axis
    if shape[:2] != ramp.shape[:2] or image.size != ramp.size:
        sides = " x ".join(str(side) for side in shape)
        side = WINDOW_PX
        return (
            f"returns a picture of {sides}; a patch must stay {side} x {side} x {ramp.shape[2]}. "
            "Remove it, or give it that size."
        )
    if image.dtype != ramp.dtype:
        return (
            f"changes the number type from {ramp.dtype} to {image.dtype}. Remove it; training "
            "normalizes pixels itself."
        )
    low, high = np.quantile(image, [0.25, 0.75])
    if not np.isfinite(image).all() or low < LOWEST or high > HIGHEST:
        return (
            f"changes the range of the pixels from 0..1 to {image.min():.3g}..{image.max():.3g}. "
            "Remove it; training normalizes pixels itself."
        )
    return None


def _distance_from_pixels(outputs: list[Floats], points: Floats, moved: Floats) -> float | None:
    """Return how far labels are from their pixels, px; None where too few can be compared.

    Args:
        outputs: ramps rising and falling along x, then along y, after the transform.
        points: (N, 2) labels before it.
        moved: (N, 2) labels after it.
    """
    # half the difference of a rising and a falling ramp: what brightens both cancels out
    sources = []
    slopes = []
    for rising, falling in (outputs[:2], outputs[2:]):
        source = (rising - falling + 1) / 2 * MAX_PX
        sources.append(source)
        slopes.append(np.hypot(*np.gradient(source)))
    inside: Bools = np.all((moved >= EDGE_PX) & (moved <= MAX_PX - EDGE_PX), axis=1)
    at = moved[inside].T[::-1]
    read = [map_coordinates(plane, at, order=1) for plane in (*sources, *slopes)]
    is_shown: Bools = np.asarray((read[2] > MIN_SLOPE) & (read[3] > MIN_SLOPE))
    if is_shown.sum() < MIN_POINTS:
        return None
    offset = np.stack(read[:2], axis=1) - points[inside]
    return float(np.quantile(np.hypot(*offset[is_shown].T), NEAR_FRACTION))
