"""Pixels as read to the floats that a network is trained on: the one place that scales radiometry.

Part of the model bundle, as mean and standard deviation per band. Statistics of the picture itself
are not used: with a stretch of each picture, a window's score would depend on the picture's extent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError


class Normalizer(nn.Module):
    """Subtract the mean and divide by the standard deviation of each band."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep one mean and one standard deviation per band, in the units of the pixels as read.

        Raises:
            ParameterError: the two differ in number, or a standard deviation is not above 0.
        """
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ParameterError(
                f"mean and std must have one number per band, got {len(mean)} and {len(std)}. "
                "Give both."
            )
        if min(std) <= 0:
            raise ParameterError(
                f"every std must be above 0, got {min(std)}. Leave out the band that never changes."
            )
        # not in the state dict: the card holds them once
        for name, values in (("mean", mean), ("std", std)):
            per_band = torch.tensor(list(values), dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, per_band, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 (B, C, H, W), mean about 0 and standard deviation about 1 per band.

        Args:
            pixels: (B, C, H, W) as read, uint8, uint16, int16 or float.
        """
        return (pixels.to(torch.float32) - self.mean) / self.std  # (B, C, H, W)
