"""Radiometric normalization: another sensor's bands brought to the training's mean and spread.

Factor and offset of each band follow from a sample of the whole raster, never from the block being
read, so a window's score does not depend on how a scene is cut. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.imagery.scenes import Scene

SAMPLE_PX = 256  # side of a sampled part
SAMPLES_PER_SIDE = 7  # of a raster: three million pixels at most


def match_band_moments(scene: Scene, mean: Sequence[float], std: Sequence[float]) -> Scene:
    """Return the scene with mean and standard deviation of each band brought to given ones.

    Args:
        scene: as read; it is closed, unless it is returned itself.
        mean: wanted, one for each band.
        std: wanted, one for each band.

    Returns:
        The scene as float32; unchanged when no pixel of the sample is valid. A band of one value
        becomes `mean`.
    """
    pixels = _sample_valid_pixels(scene)
    if not pixels.shape[1]:
        return scene
    scene_mean = pixels.mean(1)
    scene_std = pixels.std(1)
    divisor = np.where(scene_std > 0, scene_std, 1.0)
    gain = np.where(scene_std > 0, np.asarray(std, np.float64) / divisor, 0.0)
    scene.close()
    return scene.with_band_scaling(gain, np.asarray(mean, np.float64) - gain * scene_mean)


def _sample_valid_pixels(scene: Scene) -> NDArray[np.float64]:
    """Return valid pixels (C, N) of parts spread evenly over a scene; damaged parts are left out.

    The search reports the damage.
    """
    scene_height, scene_width = scene.shape_hw
    height = min(scene_height, SAMPLE_PX)
    width = min(scene_width, SAMPLE_PX)
    parts = [np.zeros((scene.n_bands, 0))]
    for row in sample_starts(scene_height):
        for col in sample_starts(scene_width):
            try:
                array, valid = scene.read(row, col, height, width)
            except FormatError:
                continue
            parts.append(array[:, valid].astype(np.float64))
    return np.concatenate(parts, axis=1)


def sample_starts(length: int) -> list[int]:
    """Return the first px of sampled parts along an axis of `length` px."""
    count = min(SAMPLES_PER_SIDE, -(-length // SAMPLE_PX))
    starts = np.linspace(0, max(length - SAMPLE_PX, 0), count)
    return [round(start) for start in starts]
