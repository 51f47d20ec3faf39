"""Random fields and the patterns of farmland, woods and water that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from windhover.simulate.shapes import FloatImage, Points, Shape

NoiseOfWidth = Callable[[float], FloatImage]  # width of the blobs (m) -> noise (H, W)


def smooth_noise(
    rng: np.random.Generator, shape_hw: tuple[int, int], width_px: float
) -> FloatImage:
    """Return smooth noise (H, W) of about unit variance whose blobs are `width_px` wide."""
    height, width = shape_hw
    if width_px > 16:  # smooth enough to be made at an eighth of the size
        small = smooth_noise(rng, (height // 8 + 2, width // 8 + 2), width_px / 8)
        large = cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[:height, :width])
    small_hw = (math.ceil(height / width_px) + 3, math.ceil(width / width_px) + 3)
    noise = rng.standard_normal(small_hw, dtype=np.float32)
    if width_px > 1:
        size_wh = (math.ceil(noise.shape[1] * width_px), math.ceil(noise.shape[0] * width_px))
        resized = cv2.resize(noise * 1.25, size_wh, interpolation=cv2.INTER_CUBIC)
        noise = np.asarray(resized, np.float32)
    return noise[:height, :width]


def pattern_brightness(
    shape: Shape,
    shape_hw: tuple[int, int],
    step_m: float,
    *,
    shadow_en: Points,
    rng: np.random.Generator,
) -> FloatImage:
    """Return the brightness (H, W), about 1, of a shape's pattern.

    Args:
        shape: with a pattern other than `crown`.
        shape_hw: rows and columns of the result.
        step_m: metres per pixel of the result.
        shadow_en: metres of shadow per metre of height, which light the crowns of a wood.
        rng: of the noise.
    """

    def noise(width_m: float) -> FloatImage:
        return smooth_noise(rng, shape_hw, width_m / step_m)

    variation = noise(40)
    if shape.pattern == "furrow":
        across, _ = _axes(shape, shape_hw, step_m)
        brightness = _furrows(shape, across, variation, noise=noise)
    elif shape.pattern == "rows":
        across, along = _axes(shape, shape_hw, step_m)
        brightness = _plant_rows(shape, across, along, variation=variation)
    elif shape.pattern == "wood":
        step_px = max(1, round(1.2 / step_m))
        offset_px = np.where(shadow_en[::-1] < 0, (step_px, -step_px), (-step_px, step_px))
        brightness = _crowns(shape, offset_px, variation, noise=noise)
    else:
        fine_m, coarse_m = (2.0, 5.0) if shape.pattern == "water" else (12.0, 130.0)
        brightness = 1 + 0.05 * variation + 0.04 * noise(fine_m) + 0.05 * noise(coarse_m)
    return np.asarray(brightness, np.float32)


def _axes(shape: Shape, shape_hw: tuple[int, int], step_m: float) -> tuple[FloatImage, FloatImage]:
    """Return positions (H, W) across and along a shape's pattern, metres."""
    height, width = shape_hw
    east = step_m * np.arange(width, dtype=np.float32)
    south = (step_m * np.arange(height, dtype=np.float32))[:, None]
    cos = math.cos(shape.angle)
    sin = math.sin(shape.angle)
    return east * cos - south * sin, east * sin + south * cos


def _furrows(
    shape: Shape, across: FloatImage, variation: FloatImage, *, noise: NoiseOfWidth
) -> FloatImage:
    """Return furrows with a tractor lane every 24 m."""
    frequency = 2 * math.pi / shape.period_m
    lanes = np.abs(np.mod(across, 24) - 12) < 0.7
    furrows = 0.05 * np.sin(across * frequency + variation * 0.6)
    brightness = 1 + furrows - 0.10 * lanes + 0.07 * variation + 0.03 * noise(6)
    return np.asarray(brightness, np.float32)


def _plant_rows(
    shape: Shape, across: FloatImage, along: FloatImage, *, variation: FloatImage
) -> FloatImage:
    frequency = 2 * math.pi / shape.period_m
    plants = 0.6 + 0.4 * np.sin(along * frequency)
    brightness = 0.95 + 0.22 * np.sin(across * frequency) * plants + 0.06 * variation
    return np.asarray(brightness, np.float32)


def _crowns(
    shape: Shape, offset_px: Points, variation: FloatImage, *, noise: NoiseOfWidth
) -> FloatImage:
    """Return crowns of trees, each bright on the side of the sun.

    Args:
        shape: with the width of the crowns as period.
        offset_px: rows and columns away from the sun.
        variation: of the brightness over the wood.
        noise: to make crowns of.
    """
    crowns = noise(shape.period_m) + 0.6 * noise(0.45 * shape.period_m)
    light = crowns - np.roll(crowns, offset_px, (0, 1))
    return np.clip(0.95 + 0.30 * light + 0.12 * crowns + 0.10 * variation, 0.35, 1.9)
