"""Fractal random fields: the shapes of clouds, coasts, woods and hills."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from windhover.simulate.shapes import FloatImage


def fractal_noise(
    rng: np.random.Generator,
    shape_hw: tuple[int, int],
    largest_px: float,
    *,
    roughness: float = 1.6,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> FloatImage:
    """Return a periodic fractal field (H, W) of mean 0 and variance 1.

    Args:
        rng: of its phases.
        shape_hw: rows and columns.
        largest_px: width of the largest structures; wider ones are as weak as these.
        roughness: exponent by which amplitude falls with frequency: 2.5 is smooth, 1 is rough.
        stretch: length of the structures along `angle`, as a multiple of their width.
        angle: direction of the stretch, radians from the columns' axis.
    """
    frequency = _frequency(shape_hw, stretch, angle) * np.float32(largest_px)
    amplitude = (1 + frequency * frequency) ** np.float32(-0.5 * roughness)
    amplitude[0, 0] = 0
    noise = rng.standard_normal(shape_hw, dtype=np.float32)
    field: FloatImage = fft.irfft2(fft.rfft2(noise) * amplitude, s=shape_hw)
    return np.asarray(field / max(float(field.std()), 1e-9), np.float32)


def _frequency(shape_hw: tuple[int, int], stretch: float, angle: float) -> NDArray[np.float32]:
    """Return the spatial frequency (cycles per px) of each term of a real 2-D transform."""
    row = fft.fftfreq(shape_hw[0]).astype(np.float32)[:, None]
    col = fft.rfftfreq(shape_hw[1]).astype(np.float32)[None]
    along = col * math.cos(angle) + row * math.sin(angle)
    across = row * math.cos(angle) - col * math.sin(angle)
    return np.asarray(np.hypot(along * stretch, across), np.float32)


def smooth_step(field: FloatImage, low: float, high: float) -> FloatImage:
    """Return 0 below `low`, 1 above `high`, and a smooth rise between."""
    rise = np.clip((field - low) / max(high - low, 1e-6), 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float32)


def level_above(field: FloatImage, fraction: float) -> float:
    """Return the level that this fraction of the field exceeds."""
    return float(np.quantile(field[::2, ::2], 1 - min(max(fraction, 0.0), 1.0)))
