"""Pixels as read to the floats that a network is trained on: the one place that scales radiometry.

Part of the model bundle, as mean and standard deviation per band. Statistics of the picture itself
are not used, since a window's score would then depend on the picture's extent; but for the second
view of a segmentation network, whose levels are those of the whole scene, whatever part is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError

LOG_FLOOR = 0.1  # of a band's mean, added before the logarithm: dark px stay apart from noise
LOG_SPREAD = 0.7  # what logarithms are divided by
MAX_RATIO = 20.0  # to a band's mean, beyond which a px is not brighter


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

    def forward(self, pixels: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return float32 (B, C, H, W), mean about 0 and standard deviation about 1 per band.

        Args:
            pixels: (B, C, H, W) as read, uint8, uint16, int16 or float.
            levels: of the scenes, which change nothing here.
        """
        return (pixels.to(torch.float32) - self.mean) / self.std  # (B, C, H, W)


class SceneLogNormalizer(Normalizer):
    """Show the bands twice: as `Normalizer` does, and as logarithms less their mean in the scene.

    The first view keeps the levels of the sensor, the second is the same for another gain of it
    and nearly so for other light.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep one mean and one standard deviation per band.

        Raises:
            ParameterError: a mean is not above 0, so that there are no logarithms.
        """
        super().__init__(mean, std)
        if min(mean) <= 0:
            raise ParameterError(
                f"scene_log needs bands whose mean is above 0, got {min(mean):g}. Set it to false "
                "in `train.options`, or shift the band."
            )

    def logarithms(self, pixels: Tensor) -> Tensor:
        """Return the logarithm of pixels (B, C, H, W) as read, relative to the training's mean."""
        ratio = (pixels.to(torch.float32) / self.mean).clamp(0, MAX_RATIO)
        return (ratio + LOG_FLOOR).log()

    def forward(self, pixels: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return float32 (B, 2 C, H, W).

        Args:
            pixels: (B, C, H, W) as read.
            levels: (B, C) or (1, C) means of the logarithms in the scene of each; None takes the
                pixels themselves for the scene.
        """
        logs = self.logarithms(pixels)
        if levels is None:
            levels = logs.mean(dim=(2, 3))
        relative = (logs - levels[:, :, None, None]) / LOG_SPREAD
        return torch.cat([super().forward(pixels), relative], dim=1)


def build_normalizer(
    mean: Sequence[float], std: Sequence[float], options: Mapping[str, object]
) -> Normalizer:
    """Return the normalizer of a network with these options.

    Raises:
        ParameterError: of `Normalizer` or `SceneLogNormalizer`.
    """
    if options.get("scene_log"):
        return SceneLogNormalizer(mean, std)
    return Normalizer(mean, std)
