"""Showing a model the pixels of another sensor in the light it was trained in: a factor and a shift
for each band.

Both follow from a sample of the whole raster, never from the block being read, so a window's score
does not depend on how a scene is cut. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.imagery.scenes import Scene

SAMPLE_PX = 256  # side of a sampled part
SAMPLES = 7  # along each side of a raster: three million pixels at most


def matched(scene: Scene, mean: Sequence[float], std: Sequence[float]) -> Scene:
    """Return the scene with the mean and the standard deviation of each of its bands brought to
    given ones.

    Args:
        scene: as read; it is closed, unless it is returned itself.
        mean: wanted, one for each band.
        std: wanted.

    Returns:
        The scene as float32; as it was when no pixel of the sample is valid. A band that never
        changes becomes `mean`.
    """
    pixels = _sample(scene)
    if not pixels.shape[1]:
        return scene
    found, spread = pixels.mean(1), pixels.std(1)
    gain = np.where(
        spread > 0, np.asarray(std, np.float64) / np.where(spread > 0, spread, 1.0), 0.0
    )
    scene.close()
    return scene.rescaled(gain, np.asarray(mean, np.float64) - gain * found)


def _sample(scene: Scene) -> NDArray[np.float64]:
    """Return valid pixels (C, N) of parts spread evenly over a scene; a damaged one is for the
    search to report.
    """
    rows, cols = (_starts(length) for length in scene.shape_hw)
    height, width = (min(length, SAMPLE_PX) for length in scene.shape_hw)
    parts = [np.zeros((scene.n_bands, 0))]
    for row in rows:
        for col in cols:
            try:
                array, valid = scene.read(row, col, height, width)
            except FormatError:
                continue
            parts.append(array[:, valid].astype(np.float64))
    return np.concatenate(parts, axis=1)


def _starts(length: int) -> list[int]:
    count = min(SAMPLES, -(-length // SAMPLE_PX))
    return [round(start) for start in np.linspace(0, max(length - SAMPLE_PX, 0), count)]
