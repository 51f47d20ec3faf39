"""A trained chain of layers in 8-bit integers, for CPUs that multiply those faster than floats.

Every feature map is uint8 in equal steps from 0 to the largest number that training pictures gave
it; every kernel is int8, with a step of its own for each output channel; products are summed
exactly in 32 bits (Jacob 2018; per channel after Krishnamoorthi 2018). Pixels of 8 bits enter
unchanged: the bands' standard deviation goes into the first kernel and their mean into its bias,
which is exact in every cell, since no layer pads. The steps are fixed when training ends, so that a
window's score depends on its pixels alone. For CPUs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.errors import FormatError
from windhover.models.cpu_features import INT8_INSTRUCTIONS
from windhover.models.input_normalization import Normalizer
from windhover.models.layer_fusion import TrunkSegment
from windhover.models.quantization_ranges import MAX_UINT8, QuantizationRanges

MAX_INT8 = 127  # largest magnitude of a kernel's value
# share of the pixels that may be clipped at either end, where pixels are wider than a byte
CLIPPED_SHARE = 1e-4
# largest step between two bytes, in standard deviations of a band: a larger one loses contrast
MAX_STEP_PER_STD = 1 / 8
MIN_ACTIVATION = 1e-6  # largest number of a feature map that is 0 everywhere
SUPPORTED_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d)


def cpu_supports(*features: str) -> bool:
    """Return whether the CPU has any of some instruction sets, by torch's names for them."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in features)


def has_int8_instructions() -> bool:
    """Return whether torch and the CPU can sum int8 products exactly."""
    operators = ("qconv_prepack", "qconv2d_pointwise")
    has_operators = all(hasattr(torch.ops.onednn, name) for name in operators)
    return has_operators and cpu_supports(*INT8_INSTRUCTIONS)


@torch.inference_mode()
def measure_ranges(
    network: nn.Module, normalizer: Normalizer, pictures: Sequence[Tensor]
) -> QuantizationRanges | None:
    """Return the ranges of a network's pixels and feature maps on some pictures.

    Args:
        network: trained, in evaluation mode, on the CPU.
        normalizer: maps pixels as read to its input.
        pictures: (B, C, H, W) each, pixels as read, at least one window high and wide.

    Returns:
        The ranges, or None where the network cannot be quantized: its trunk is not a chain of
        convolutions with a ReLU after each, or rare pixels are so far out that the steps of a byte
        would be large against a band's standard deviation.
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential):
        return None
    if not all(isinstance(layer, SUPPORTED_LAYERS) for layer in trunk):
        return None
    relus = [layer for layer in trunk if isinstance(layer, nn.ReLU)]
    bands = _measure_bands(pictures, normalizer.std.flatten().tolist())
    if bands is None or len(relus) != sum(isinstance(layer, nn.Conv2d) for layer in trunk):
        return None
    highest = [0.0] * len(relus)
    hooks = [
        layer.register_forward_hook(_record_maximum(highest, number))
        for number, layer in enumerate(relus)
    ]
    for pixels in pictures:
        trunk(normalizer(pixels))
    for hook in hooks:
        hook.remove()
    maps = tuple(max(value, MIN_ACTIVATION) for value in highest)
    return QuantizationRanges(bands, maps)


def _record_maximum(highest: list[float], number: int) -> Callable[[nn.Module, Any, Tensor], None]:
    """Return a forward hook that keeps the largest output of a layer in `highest[number]`."""

    def hook(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        highest[number] = max(highest[number], float(output.max()))

    return hook


def _measure_bands(
    pictures: Sequence[Tensor], std: Sequence[float]
) -> tuple[tuple[float, float], ...] | None:
    """Return the pixel values that stand for 0 and 255 in each band.

    Pixels that are 0 in every band are missing, and do not count. None where a step between two
    bytes would be large against a band's standard deviation.
    """
    if pictures[0].dtype == torch.uint8:
        return ((0.0, float(MAX_UINT8)),) * pictures[0].shape[1]
    pixels = np.concatenate(
        [np.moveaxis(part.numpy(), 1, -1).reshape(-1, part.shape[1]) for part in pictures]
    )
    pixels = pixels[pixels.any(axis=1)]  # (N, C)
    ranges = [_clipped_range(values) for values in pixels.T]
    for (low, high), spread in zip(ranges, std, strict=True):
        if (high - low) / MAX_UINT8 > MAX_STEP_PER_STD * spread:
            return None
    return tuple(ranges)


def _clipped_range(values: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and highest value of one band, rare ones at both ends left out."""
    low = 0.0
    high = 0.0
    if len(values):
        n_rare = int(CLIPPED_SHARE * len(values))
        low = float(np.partition(values, n_rare)[n_rare])
        high = float(np.partition(values, -1 - n_rare)[-1 - n_rare])
    if high <= low:
        high = low + 1.0
    return low, high


class PixelQuantizer(nn.Module):
    """Pixels as read to uint8: equal steps between a band's two ends, values beyond clipped."""

    low: Tensor
    step: Tensor

    def __init__(self, ranges: QuantizationRanges) -> None:
        """Keep the ends of each band."""
        super().__init__()
        ends = torch.tensor(ranges.bands, dtype=torch.float32)  # (C, 2)
        step = (ends[:, 1] - ends[:, 0]) / MAX_UINT8
        self.register_buffer("low", ends[:, 0].view(1, -1, 1, 1))
        self.register_buffer("step", step.view(1, -1, 1, 1))
        self.unchanged = ranges.is_uint8

    def forward(self, pixels: Tensor) -> Tensor:
        """Return uint8 (B, C, H, W)."""
        if self.unchanged and pixels.dtype == torch.uint8:
            return pixels
        steps = (pixels.to(torch.float32) - self.low) / self.step
        return steps.round_().clamp_(0, MAX_UINT8).to(torch.uint8)


@dataclass(frozen=True)
class PixelSteps:
    """How the bytes that enter the first layer stand for normalized pixels, (1, C, 1, 1) each."""

    zero_point: Tensor  # byte that stands for a normalized pixel of 0
    step: Tensor  # normalized pixel per byte


class Int8Conv2d(nn.Module):
    """A convolution and its ReLU from uint8 to uint8 or, for a trunk's last, float32; by oneDNN."""

    def __init__(
        self,
        layer: nn.Conv2d,
        step_in: float,
        step_out: float | None,
        *,
        pixels: PixelSteps | None = None,
    ) -> None:
        """Round the kernels.

        Args:
            layer: a trained convolution without padding.
            step_in: of the input's feature map.
            step_out: of the output's feature map; None for float32.
            pixels: of the input, for the first layer of a trunk.
        """
        super().__init__()
        weight = layer.weight.float()  # (N, C, k, k)
        if pixels is not None:
            weight = weight * pixels.step
        bias = torch.zeros(len(weight)) if layer.bias is None else layer.bias.float()
        self._steps = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / MAX_INT8  # (N,)
        rounded = torch.round(weight / self._steps[:, None, None, None])
        if pixels is not None:
            # of the rounded kernel: so its rounding errors too multiply differences from 0 alone
            bias = bias - (rounded * pixels.zero_point).sum((1, 2, 3)) * self._steps
        self._bias = bias
        self._zero_points = torch.zeros(len(bias), dtype=torch.int32)
        self._step_in = step_in
        self._step_out = step_out
        # stride, padding, dilation
        self._geometry = [list(layer.stride), [0, 0], list(layer.dilation)]
        self._kernels = torch.ops.onednn.qconv_prepack(
            rounded.to(torch.int8), self._steps, step_in, 0, *self._geometry, 1, None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Take uint8 (B, C, H, W), channels last."""
        step_out = 1.0
        dtype = torch.float32
        if self._step_out is not None:
            step_out = self._step_out
            dtype = torch.uint8
        outputs: Tensor = torch.ops.onednn.qconv2d_pointwise(
            inputs, self._step_in, 0, self._kernels, self._steps, self._zero_points, self._bias,
            *self._geometry, 1, step_out, 0, dtype, "relu", [], "",
        )  # fmt: skip
        return outputs


@torch.no_grad()
def quantize_int8(
    segments: Iterable[TrunkSegment], normalizer: Normalizer, ranges: QuantizationRanges
) -> list[TrunkSegment]:
    """Return the segments of a trunk in integers: from uint8 of `PixelQuantizer` to float32.

    Args:
        segments: of a trained network whose batch norms are folded and whose pools are of slices.
        normalizer: of its pixels.
        ranges: measured on that network.

    Raises:
        FormatError: the ranges are another network's.
    """
    segments = list(segments)
    convolutions = [
        layer for segment in segments for layer in segment.layers if isinstance(layer, nn.Conv2d)
    ]
    n_bands = convolutions[0].in_channels
    if (len(ranges.maps), len(ranges.bands)) != (len(convolutions), n_bands):
        raise FormatError(
            f"the card's `ranges` are for {len(ranges.maps)} feature maps and "
            f"{len(ranges.bands)} bands, and the network has {len(convolutions)} and {n_bands}. "
            "Take card and weights from one training."
        )
    quantized = iter(_quantize_convolutions(convolutions, normalizer, ranges))
    return [
        replace(segment, layers=nn.Sequential(*_replace_convolutions(segment.layers, quantized)))
        for segment in segments
    ]


def _quantize_convolutions(
    convolutions: Sequence[nn.Conv2d], normalizer: Normalizer, ranges: QuantizationRanges
) -> list[Int8Conv2d]:
    """Return the convolutions of a trunk in integers, in order."""
    quantizer = PixelQuantizer(ranges)
    # (low + step byte - mean) / std = (step / std) (byte - (mean - low) / step)
    pixels = PixelSteps(
        zero_point=(normalizer.mean - quantizer.low) / quantizer.step,
        step=quantizer.step / normalizer.std,
    )
    inner_steps = [highest / MAX_UINT8 for highest in ranges.maps[:-1]]
    steps_in = [1.0, *inner_steps]
    steps_out = [*inner_steps, None]
    quantized = []
    for number, layer in enumerate(convolutions):
        first_pixels = pixels if number == 0 else None
        quantized.append(
            Int8Conv2d(layer, steps_in[number], steps_out[number], pixels=first_pixels)
        )
    return quantized


def _replace_convolutions(
    layers: nn.Sequential, quantized: Iterator[nn.Module]
) -> Iterator[nn.Module]:
    """Yield layers with the next quantized convolutions in place of their own.

    ReLUs are part of the quantized convolutions, and batch norms are folded: both are left out.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            yield next(quantized)
        elif isinstance(layer, nn.MaxPool2d):
            yield layer
