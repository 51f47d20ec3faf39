"""Equivalent networks that run faster or more densely: batch norms folded, stride halved, the trunk
cut into segments.

Works on layers and chains of layers alone; pictures, precision and devices are the callers' affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from windhover.errors import ParameterError

POINTWISE = (
    nn.ReLU,
    nn.BatchNorm2d,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
)
SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class TrunkSegment:
    """Layers of a trunk up to and including a pool, with their geometry.

    Attributes:
        layers: the layers.
        receptive_field_px: rows of the input that one row of the output depends on.
        stride_px: input rows between neighboring output rows.
        values_per_input_px: numbers per input px in the largest feature map of the segment.
    """

    layers: nn.Sequential
    receptive_field_px: int
    stride_px: int
    values_per_input_px: float


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Merge every batch norm that directly follows a convolution in a Sequential into it, in place.

    In evaluation a batch norm is a fixed affine map per channel, so outputs stay the same up to
    rounding.

    Returns:
        The same network.
    """
    for layers, name, next_name in _adjacent_layers(network):
        conv = layers[name]
        norm = layers[next_name]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[name] = fuse_conv_bn_eval(conv, norm)
            layers[next_name] = nn.Identity()
    return network


def halve_stride(network: nn.Module) -> nn.Module:
    """Make a dense network emit twice as many cells along each side, exact for each window.

    The last striding pool is un-strided and every later kernel dilated by two ("filter
    rarefaction", Long 2015, section 3.2).

    Returns:
        The same network.

    Raises:
        ParameterError: the network's last stride is not a pool's, or it averages after it.
    """
    layers = [module for module in network.modules() if isinstance(module, SPATIAL)]
    strided = [index for index, layer in enumerate(layers) if _to_pair(layer.stride) == (2, 2)]
    if not strided or isinstance(layers[strided[-1]], nn.Conv2d):
        raise ParameterError(
            "this network's last stride is not a pool's, so half its stride cannot be had. "
            "Use its own stride."
        )
    layers[strided[-1]].stride = 1
    for layer in layers[strided[-1] + 1 :]:
        if isinstance(layer, nn.AvgPool2d):
            raise ParameterError(
                "this network averages after its last stride, so half its stride cannot be had. "
                "Use its own stride."
            )
        if _to_pair(layer.kernel_size) != (1, 1):
            layer.dilation = (2, 2)
    return network


def _adjacent_layers(network: nn.Module) -> Iterator[tuple[dict[str, nn.Module], str, str]]:
    """Yield every two neighboring layers of a Sequential: its layers by name, and both names."""
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for name, next_name in pairwise(list(module._modules)):
            yield module._modules, name, next_name


def trunk_segments(network: nn.Module) -> list[TrunkSegment]:
    """Return a network's `trunk` cut after each pool, in order.

    Returns:
        The segments; none where the trunk is not a plain chain of unpadded layers.
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential) or not hasattr(network, "heads"):
        return []
    if not all(isinstance(layer, (*SPATIAL, *POINTWISE)) for layer in trunk):
        return []
    segments = []
    layers: list[nn.Module] = []
    for layer in trunk:
        layers.append(layer)
        if isinstance(layer, POOLS):
            segments.append(_make_segment(layers))
            layers = []
    if layers:
        segments.append(_make_segment(layers))
    return segments


def _make_segment(layers: list[nn.Module]) -> TrunkSegment:
    """Return a chain of layers with its receptive field and stride.

    Layer by layer, r' = r + (k - 1) d j and j' = j s (Araujo 2019).
    """
    field = 1
    stride = 1
    values_per_px = 1.0
    for layer in layers:
        if isinstance(layer, SPATIAL):
            kernel = _to_pair(layer.kernel_size)[0]
            dilation = _to_pair(getattr(layer, "dilation", 1))[0]
            field += (kernel - 1) * dilation * stride
            stride *= _to_pair(layer.stride)[0]
            channels = getattr(layer, "out_channels", 1)
            values_per_px = max(values_per_px, channels / stride**2)
    return TrunkSegment(nn.Sequential(*layers), field, stride, values_per_px)


def _to_pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return a setting of a layer as (rows, columns)."""
    if isinstance(value, int):
        return (value, value)
    return tuple(value)
