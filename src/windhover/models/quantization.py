"""A trained chain of layers in 8-bit integers, for processors that multiply those faster than any
float.

Every map is uint8 in equal steps from 0 to the largest number that training pictures gave it; every
kernel is int8, in steps of its own for each output channel; products are summed exactly in 32 bits
(Jacob 2018; per channel after Krishnamoorthi 2018). Pixels of 8 bits enter as they are: the bands'
spread goes into the first kernel and their mean into its bias, which holds in every cell, since no
layer pads. The steps are fixed when training ends, so that a window's score depends on its pixels
alone. Refuses devices, and to look at the pictures that are searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from windhover.errors import FormatError
from windhover.models.fusion import Stretch
from windhover.models.normalize import Normalizer

LEVELS, STEEPEST = 255, 127  # of a map from 0, and of a kernel to either side
# share of the pixels beyond either end of what a byte holds, where pixels are wider than that
RARE = 1e-4
COARSEST = (
    1 / 8
)  # step of a byte in units of a band's spread: with coarser ones little would be left to see
CHAIN = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d)
WITH_INTEGER_DOT = (
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
)  # without these, oneDNN's sums of int8 may overflow


@dataclass(frozen=True)
class Ranges:
    """How far the numbers of a network go on its training pictures; what lies beyond is cut off."""

    bands: tuple[tuple[float, float], ...]  # lowest and highest pixel of each band, as read
    maps: tuple[float, ...]  # highest number after each ReLU of the trunk, in order

    @property
    def of_bytes(self) -> bool:
        """Whether pixels are bytes already, so that none is rounded or cut off."""
        return all(tuple(pair) == (0.0, float(LEVELS)) for pair in self.bands)


def processor_offers(*features: str) -> bool:
    """Return whether the processor has any of some instructions, by torch's names for them."""
    offered: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(offered.get(name) for name in features)


def can_multiply_integers() -> bool:
    """Return whether this processor has instructions for sums of int8 products, which are then
    exact.
    """
    has_ops = all(
        hasattr(torch.ops.onednn, name) for name in ("qconv_prepack", "qconv2d_pointwise")
    )
    return has_ops and processor_offers(*WITH_INTEGER_DOT)


@torch.inference_mode()
def measure_ranges(
    network: nn.Module, normalizer: Normalizer, pictures: Sequence[Tensor]
) -> Ranges | None:
    """Return how far a network's numbers go, or None where it cannot be put in 8-bit integers.

    That is where its trunk is not a chain of convolutions with a ReLU after each, or where a byte
    is too short for the
    pixels: what is rare lies so far out that its steps would be coarse beside a band's spread.

    Args:
        network: trained, in evaluation mode, on the CPU.
        normalizer: maps pixels as read to its input.
        pictures: (B, C, H, W) each, pixels as read, at least one window high and wide.
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential) or not all(isinstance(layer, CHAIN) for layer in trunk):
        return None
    relus = [layer for layer in trunk if isinstance(layer, nn.ReLU)]
    bands = _band_ranges(pictures, normalizer.std.flatten().tolist())
    if bands is None or len(relus) != sum(isinstance(layer, nn.Conv2d) for layer in trunk):
        return None
    highest = [0.0] * len(relus)

    def watch(number: int) -> Any:
        def hook(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            highest[number] = max(highest[number], float(output.max()))

        return hook

    hooks = [layer.register_forward_hook(watch(number)) for number, layer in enumerate(relus)]
    for pixels in pictures:
        trunk(normalizer(pixels))
    for hook in hooks:
        hook.remove()
    return Ranges(bands, tuple(max(value, 1e-6) for value in highest))


def _band_ranges(
    pictures: Sequence[Tensor], std: Sequence[float]
) -> tuple[tuple[float, float], ...] | None:
    """Return what a byte's ends stand for in each band, or None where its steps would be coarse
    beside the spread.

    Pixels that are 0 in every band are missing, and do not count.
    """
    if pictures[0].dtype == torch.uint8:
        return ((0.0, float(LEVELS)),) * pictures[0].shape[1]
    pixels = np.concatenate(
        [np.moveaxis(part.numpy(), 1, -1).reshape(-1, part.shape[1]) for part in pictures]
    )
    pixels = pixels[pixels.any(axis=1)]  # (N, C)
    rare, ranges = int(RARE * len(pixels)), []
    for values in pixels.T:
        low, high = (
            float(np.partition(values, place)[place]) if len(values) else 0.0
            for place in (rare, -1 - rare)
        )
        ranges.append((low, high if high > low else low + 1.0))
    coarse = any(
        (high - low) / LEVELS > COARSEST * spread
        for (low, high), spread in zip(ranges, std, strict=True)
    )
    return None if coarse else tuple(ranges)


class ToBytes(nn.Module):
    """Pixels as read to uint8: between a band's two ends in equal steps, what lies beyond cut off."""

    low: Tensor
    step: Tensor

    def __init__(self, ranges: Ranges) -> None:
        """Keep the ends of each band."""
        super().__init__()
        ends = torch.tensor(ranges.bands, dtype=torch.float32)  # (C, 2)
        self.register_buffer("low", ends[:, 0].view(1, -1, 1, 1))
        self.register_buffer("step", ((ends[:, 1] - ends[:, 0]) / LEVELS).view(1, -1, 1, 1))
        self.unchanged = ranges.of_bytes

    def forward(self, pixels: Tensor) -> Tensor:
        """Return uint8 (B, C, H, W)."""
        if self.unchanged and pixels.dtype == torch.uint8:
            return pixels
        return (
            ((pixels.to(torch.float32) - self.low) / self.step)
            .round_()
            .clamp_(0, LEVELS)
            .to(torch.uint8)
        )


class IntegerConvolution(nn.Module):
    """A convolution and its ReLU from uint8 to uint8, by oneDNN; the last of a trunk gives float32."""

    def __init__(
        self,
        layer: nn.Conv2d,
        step_in: float,
        step_out: float | None,
        pixels: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Round the kernels.

        Args:
            layer: a trained convolution without padding.
            step_in: of the input's map.
            step_out: of the output's map; None for float32.
            pixels: for the first layer, which byte stands for 0 in each band, and what a step
                is there, (1, C, 1, 1).
        """
        super().__init__()
        weight = (
            layer.weight.float() if pixels is None else layer.weight.float() * pixels[1]
        )  # (N, C, k, k)
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.float()
        self._steps = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / STEEPEST  # (N,)
        rounded = torch.round(weight / self._steps[:, None, None, None])
        if (
            pixels is not None
        ):  # of the rounded kernel: its errors too are then multiplied by what differs from 0 alone
            bias = bias - (rounded * pixels[0]).sum((1, 2, 3)) * self._steps
        self._bias, self._zeros = bias, torch.zeros(len(bias), dtype=torch.int32)
        self._step_in, self._step_out = step_in, step_out
        self._places = [list(layer.stride), [0, 0], list(layer.dilation)]
        integers = rounded.to(torch.int8)
        self._kernels = torch.ops.onednn.qconv_prepack(
            integers, self._steps, step_in, 0, *self._places, 1, None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Take uint8 (B, C, H, W), channels last."""
        step, kind = (
            (1.0, torch.float32) if self._step_out is None else (self._step_out, torch.uint8)
        )
        outputs: Tensor = torch.ops.onednn.qconv2d_pointwise(
            inputs, self._step_in, 0, self._kernels, self._steps, self._zeros, self._bias, *self._places, 1,
            step, 0, kind, "relu", [], "",
        )  # fmt: skip
        return outputs


@torch.no_grad()
def in_integers(
    stretches: Iterable[Stretch], normalizer: Normalizer, ranges: Ranges
) -> list[Stretch]:
    """Return the stretches of a trunk in integers: from uint8, as `ToBytes` gives it, to float32.

    Args:
        stretches: of a trained network whose batch norms are folded and whose pools are of slices.
        normalizer: of its pixels.
        ranges: measured on that network.

    Raises:
        FormatError: the ranges are another network's.
    """
    stretches = list(stretches)
    convolutions = [
        layer for stretch in stretches for layer in stretch.layers if isinstance(layer, nn.Conv2d)
    ]
    n_bands = convolutions[0].in_channels
    if (len(ranges.maps), len(ranges.bands)) != (len(convolutions), n_bands):
        raise FormatError(
            f"the card's `ranges` tell of {len(ranges.maps)} maps and {len(ranges.bands)} bands, and the network has "
            f"{len(convolutions)} and {n_bands}. Take card and weights from one training."
        )
    to_bytes = ToBytes(ranges)
    # (low + step byte - mean) / std = (step / std) (byte - (mean - low) / step)
    pixels = (normalizer.mean - to_bytes.low) / to_bytes.step, to_bytes.step / normalizer.std
    inner = [highest / LEVELS for highest in ranges.maps[:-1]]
    coming = iter(
        IntegerConvolution(layer, step_in, step_out, pixels if layer is convolutions[0] else None)
        for layer, step_in, step_out in zip(
            convolutions, [1.0, *inner], [*inner, None], strict=True
        )
    )
    return [
        replace(stretch, layers=nn.Sequential(*_replaced(stretch.layers, coming)))
        for stretch in stretches
    ]


def _replaced(layers: nn.Sequential, coming: Iterator[nn.Module]) -> list[nn.Module]:
    """Return layers with the coming convolutions in their places; their ReLUs are part of those,
    norms are folded.
    """
    return [
        next(coming) if isinstance(layer, nn.Conv2d) else layer
        for layer in layers
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d))
    ]
