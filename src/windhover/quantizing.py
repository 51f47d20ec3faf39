"""A trained chain of layers in 8-bit integers, for processors that multiply those faster than any float.

Every map is uint8 in equal steps from 0 to the largest number that training pictures gave it; every kernel is int8, in
steps of its own for each output channel; products are summed exactly in 32 bits (Jacob 2018; per channel after
Krishnamoorthi 2018). Pixels of 8 bits enter as they are: mean and spread of the bands go into the first kernel, which
is exact, since no layer pads. The steps are fixed when training ends, so that a window's score depends on its pixels
alone. Refuses devices, and to look at the pictures that are searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from windhover.errors import FormatError
from windhover.normalize import Normalizer
from windhover.rewriting import PoolOfSlices, Stretch

LEVELS, STEEPEST = 255, 127  # of a map from 0, and of a kernel to either side
RARE = 1e-4  # share of the pixels beyond either end of what a byte holds, where pixels are wider than that
WITH_INTEGER_DOT = ("avx512_vnni", "avx_vnni", "amx_int8")  # without these, oneDNN's sums of int8 may overflow


@dataclass(frozen=True)
class Ranges:
    """How far the numbers of a network go on its training pictures; what lies beyond is cut off."""

    bands: tuple[tuple[float, float], ...]  # lowest and highest pixel of each band, as read
    maps: tuple[float, ...]  # highest number after each ReLU of the trunk, in order


def can_multiply_integers() -> bool:
    """Return whether this processor has instructions for sums of int8 products, which are then exact."""
    offered: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_ops = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return has_ops and any(offered.get(name) for name in WITH_INTEGER_DOT)


@torch.inference_mode()
def measure_ranges(network: nn.Module, normalizer: nn.Module, pictures: Sequence[Tensor]) -> Ranges | None:
    """Return how far a network's numbers go, or None where its trunk is not convolutions with a ReLU after each.

    Args:
        network: trained, in evaluation mode, on the CPU.
        normalizer: maps pixels as read to its input.
        pictures: (B, C, H, W) each, pixels as read, at least one window high and wide.
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential):
        return None
    relus = [layer for layer in trunk if isinstance(layer, nn.ReLU)]
    if not relus or len(relus) != sum(isinstance(layer, nn.Conv2d) for layer in trunk):
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
    return Ranges(_band_ranges(pictures), tuple(max(value, 1e-6) for value in highest))


def _band_ranges(pictures: Sequence[Tensor]) -> tuple[tuple[float, float], ...]:
    if pictures[0].dtype == torch.uint8:
        return ((0.0, float(LEVELS)),) * pictures[0].shape[1]
    ranges = []
    for band in range(pictures[0].shape[1]):
        values = torch.cat([pixels[:, band].to(torch.float32).flatten() for pixels in pictures]).sort().values
        rare = int(RARE * len(values))
        low, high = float(values[rare]), float(values[-1 - rare])
        ranges.append((low, high if high > low else low + 1.0))
    return tuple(ranges)


class ToBytes(nn.Module):
    """Pixels as read to uint8: between a band's two ends in equal steps, what lies beyond cut off."""

    low: Tensor
    step: Tensor

    def __init__(self, bands: Sequence[tuple[float, float]]) -> None:
        """Keep the ends of each band."""
        super().__init__()
        ends = torch.tensor(bands, dtype=torch.float32)  # (C, 2)
        self.register_buffer("low", ends[:, 0].view(1, -1, 1, 1))
        self.register_buffer("step", ((ends[:, 1] - ends[:, 0]) / LEVELS).view(1, -1, 1, 1))
        self.unchanged = all(tuple(pair) == (0.0, float(LEVELS)) for pair in bands)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return uint8 (B, C, H, W)."""
        if self.unchanged and pixels.dtype == torch.uint8:
            return pixels
        return ((pixels.to(torch.float32) - self.low) / self.step).round_().clamp_(0, LEVELS).to(torch.uint8)


class IntegerConvolution(nn.Module):
    """A convolution and its ReLU from uint8 to uint8, by oneDNN; the last of a trunk gives float32."""

    def __init__(self, weight: Tensor, bias: Tensor, like: nn.Conv2d, step_in: float, step_out: float | None) -> None:
        """Round the kernels.

        Args:
            weight: (N, C, k, k), of what the uint8 stand for in units of `step_in`.
            bias: (N,).
            like: the layer whose stride and dilation are taken.
            step_in: of the input's map.
            step_out: of the output's map; None for float32.
        """
        super().__init__()
        self._steps = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / STEEPEST  # (N,)
        rounded = torch.round(weight / self._steps[:, None, None, None]).to(torch.int8)
        self._bias, self._zeros = bias, torch.zeros(len(bias), dtype=torch.int32)
        self._step_in, self._step_out = step_in, step_out
        self._places = [list(like.stride), [0, 0], list(like.dilation)]
        self._kernels = torch.ops.onednn.qconv_prepack(rounded, self._steps, step_in, 0, *self._places, 1, None)

    def forward(self, inputs: Tensor) -> Tensor:
        """Take uint8 (B, C, H, W), channels last."""
        step, kind = (1.0, torch.float32) if self._step_out is None else (self._step_out, torch.uint8)
        outputs: Tensor = torch.ops.onednn.qconv2d_pointwise(
            inputs, self._step_in, 0, self._kernels, self._steps, self._zeros, self._bias, *self._places, 1,
            step, 0, kind, "relu", [], "",
        )  # fmt: skip
        return outputs


@torch.no_grad()
def quantized(stretches: Iterable[Stretch], normalizer: Normalizer, ranges: Ranges) -> list[Stretch]:
    """Return the stretches of a trunk in integers: from uint8, as `ToBytes` gives it, to float32.

    Args:
        stretches: of a trained network whose batch norms are folded and whose pools are of slices.
        normalizer: of its pixels.
        ranges: measured on that network.

    Raises:
        FormatError: the ranges are another network's.
    """
    stretches = list(stretches)
    convolutions = [layer for stretch in stretches for layer in stretch.layers if isinstance(layer, nn.Conv2d)]
    n_bands = convolutions[0].in_channels
    if (len(ranges.maps), len(ranges.bands)) != (len(convolutions), n_bands):
        raise FormatError(
            f"the card's `ranges` tell of {len(ranges.maps)} maps and {len(ranges.bands)} bands, and the network has "
            f"{len(convolutions)} and {n_bands}. Take card and weights from one training."
        )
    steps = [1.0, *(highest / LEVELS for highest in ranges.maps)]
    to_bytes, made = ToBytes(ranges.bands), list[nn.Module]()
    for number, layer in enumerate(convolutions):
        weight, bias = layer.weight.float(), torch.zeros(layer.out_channels) if layer.bias is None else layer.bias
        if number == 0:  # w (low + step b - mean) / std = (w step / std) b + w (low - mean) / std
            bias = bias + (weight * ((to_bytes.low - normalizer.mean) / normalizer.std)).sum((1, 2, 3))
            weight = weight * to_bytes.step / normalizer.std
        last = number == len(convolutions) - 1
        made.append(IntegerConvolution(weight, bias.float(), layer, steps[number], None if last else steps[number + 1]))
    coming = iter(made)
    return [replace(stretch, layers=nn.Sequential(*_in_integers(stretch.layers, coming))) for stretch in stretches]


def _in_integers(layers: nn.Sequential, coming: Iterator[nn.Module]) -> list[nn.Module]:
    """Return layers with the coming convolutions in their places; their ReLUs are part of those, norms are folded."""
    return [
        next(coming) if isinstance(layer, nn.Conv2d) else layer
        for layer in layers
        if isinstance(layer, (nn.Conv2d, PoolOfSlices))
    ]
