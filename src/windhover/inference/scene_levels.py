"""The level of a scene: the mean of each band's logarithm, from px spread evenly over it.

It follows from the whole scene, never from the block being read, so that no block changes a logit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from windhover.errors import FormatError
from windhover.geometry.lattice import ReadBlock
from windhover.inference.radiometric_normalization import SAMPLE_PX, sample_starts
from windhover.models.input_normalization import SceneLogNormalizer

STEP_PX = 4  # between the px of a sampled part that are used


def scene_levels(
    read: ReadBlock, shape_hw: tuple[int, int], normalizer: SceneLogNormalizer
) -> Tensor | None:
    """Return the means (1, C) of a scene's logarithms; None where no px of the sample is valid.

    Args:
        read: (row, col, height, width) -> pixels (C, h, w) as read and valid (h, w).
        shape_hw: rows and columns of the scene, px.
        normalizer: whose logarithms.
    """
    height, width = (min(length, SAMPLE_PX) for length in shape_hw)
    total: Tensor | None = None
    n_px = 0
    for row in sample_starts(shape_hw[0]):
        for col in sample_starts(shape_hw[1]):
            try:
                pixels, valid = read(row, col, height, width)
            except FormatError:  # the search reports the damage
                continue
            known = np.asarray(valid)[::STEP_PX, ::STEP_PX]
            chosen = np.ascontiguousarray(pixels[:, ::STEP_PX, ::STEP_PX][:, known])
            logs = normalizer.logarithms(torch.from_numpy(chosen)[None, :, :, None])
            of_part = logs.double().sum(dim=(2, 3))
            total = of_part if total is None else total + of_part
            n_px += int(known.sum())
    return (total / n_px).float() if total is not None and n_px else None
