"""Radiometric normalization: another sensor's bands brought to the training's mean and spread.

Factor and offset of each band follow from a sample of the whole raster, never from the block being
read, so a window's score does not depend on how a scene is cut. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windhover.imagery.scenes import Scene
from windhover.inference.sampled_parts import sampled_parts


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
    """Return valid pixels (C, N) of parts spread evenly over a scene."""
    parts = [np.zeros((scene.n_bands, 0))]
    for pixels, valid in sampled_parts(scene.read, scene.shape_hw):
        parts.append(pixels[:, valid].astype(np.float64))
    return np.concatenate(parts, axis=1)
