"""The level of a scene: the mean of each band's logarithm, from px spread evenly over it.

It follows from the whole scene, never from the block being read, so that no block changes a logit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from windhover.geometry.lattice import ReadBlock
from windhover.inference.sampled_parts import sampled_parts
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
    mean = normalizer.mean
    total = torch.zeros(1, mean.shape[1], dtype=torch.float64, device=mean.device)
    n_px = 0
    for pixels, valid in sampled_parts(read, shape_hw):
        known = np.asarray(valid)[::STEP_PX, ::STEP_PX]
        chosen = torch.from_numpy(pixels[:, ::STEP_PX, ::STEP_PX][:, known])
        logs = normalizer.logarithms(chosen.to(mean.device)[None, :, :, None])
        total += logs.double().sum(dim=(2, 3))
        n_px += int(known.sum())
    return (total / n_px).float() if n_px else None
