"""A network rewritten to say the same in less time, or for more windows: norms folded, pools
hastened, stride halved.

Knows layers and chains of them; refuses pictures, precision and devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
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


@dataclass(frozen=True)
class Stretch:
    """Layers of a trunk up to a pool: a row of its output needs `field_px` rows of its input,
    `stride_px` apart.
    """

    layers: nn.Sequential
    field_px: int
    stride_px: int
    numbers_per_px: float  # of its input, in the largest of its maps


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Merge every batch norm that directly follows a convolution in a Sequential into it, in place.

    In evaluation a batch norm is a fixed affine map per channel, so nothing but speed changes.

    Returns:
        The same network.
    """
    for layers, name, following in _neighbors(network):
        conv, norm = layers[name], layers[following]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[name], layers[following] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network


def halve_stride(network: nn.Module) -> nn.Module:
    """Make a dense network emit twice as many cells along each side, each exactly what a crop there
    would score.

    The last striding pool is un-strided and every later kernel dilated by two ("filter
    rarefaction", Long 2015, section 3.2).

    Returns:
        The same network.

    Raises:
        ParameterError: the network has no pool of stride 2.
    """
    layers = [
        module
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
    ]
    strided = [index for index, layer in enumerate(layers) if _pair(layer.stride) == (2, 2)]
    if not strided or isinstance(layers[strided[-1]], nn.Conv2d):
        raise ParameterError(
            "this network's last stride is not a pool's, so half its stride cannot be had. Use its own stride."
        )
    layers[strided[-1]].stride = 1
    for layer in layers[strided[-1] + 1 :]:
        if isinstance(layer, nn.AvgPool2d):
            raise ParameterError(
                "this network averages after its last stride, so half its stride cannot be had. Use its own stride."
            )
        if _pair(layer.kernel_size) != (1, 1):
            layer.dilation = (2, 2)
    return network


class PoolOfSlices(nn.MaxPool2d):
    """A square max pool as the largest of shifted slices, rows before columns: less work for a CPU,
    and any numbers.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        side, step = _pair(self.kernel_size)[0], _pair(self.stride)[0]
        height, width = ((length - side) // step * step + 1 for length in inputs.shape[2:])
        rows = inputs[:, :, 0:height:step]
        for shift in range(1, side):
            rows = torch.maximum(rows, inputs[:, :, shift : height + shift : step])
        largest = rows[..., 0:width:step]
        for shift in range(1, side):
            largest = torch.maximum(largest, rows[..., shift : width + shift : step])
        return largest


def hasten_pools(network: nn.Module, slices: bool) -> nn.Module:
    """Pool before a ReLU instead of after it, and take plain pools from `slices`; no score changes,
    in place.

    The largest of some numbers, cut at 0, is the largest of the numbers cut at 0; but there are
    four times as many.

    Returns:
        The same network.
    """
    for layers, name, following in _neighbors(network):
        relu, pool = layers[name], layers[following]
        if not isinstance(pool, nn.MaxPool2d):
            continue
        faster = (
            PoolOfSlices(_pair(pool.kernel_size)[0], _pair(pool.stride)[0])
            if slices and _plain(pool)
            else pool
        )
        layers[following] = faster
        if isinstance(relu, nn.ReLU):
            layers[name], layers[following] = faster, relu
    return network


def _neighbors(network: nn.Module) -> Iterator[tuple[dict[str, nn.Module], str, str]]:
    """Yield every two layers that follow each other in a Sequential, as its layers by name and the
    two names.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            yield from (
                (module._modules, name, following)
                for name, following in pairwise(list(module._modules))
            )


def _plain(pool: nn.MaxPool2d) -> bool:
    (high, wide), (down, along) = _pair(pool.kernel_size), _pair(pool.stride)
    square = high == wide and down == along
    plain = (_pair(pool.padding), _pair(pool.dilation)) == ((0, 0), (1, 1))
    return square and plain and not pool.ceil_mode and not pool.return_indices


def trunk_stretches(network: nn.Module) -> list[Stretch]:
    """Return a network's `trunk` cut after each pool, or nothing where it is not a plain chain of
    unpadded layers.

    Field and stride of a chain: r' = r + (k - 1) d j, j' = j s, layer by layer (Araujo 2019).
    """
    trunk = getattr(network, "trunk", None)
    if not isinstance(trunk, nn.Sequential) or not hasattr(network, "heads"):
        return []
    stretches, layers, field, stride, numbers = [], list[nn.Module](), 1, 1, 1.0
    for layer in trunk:
        layers.append(layer)
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            field += (
                (_pair(layer.kernel_size)[0] - 1) * _pair(getattr(layer, "dilation", 1))[0] * stride
            )
            stride *= _pair(layer.stride)[0]
            numbers = max(numbers, getattr(layer, "out_channels", 1) / stride**2)
        elif not isinstance(layer, POINTWISE):
            return []
        if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
            stretches.append(Stretch(nn.Sequential(*layers), field, stride, numbers))
            layers, field, stride, numbers = [], 1, 1, 1.0
    return (
        [*stretches, Stretch(nn.Sequential(*layers), field, stride, numbers)]
        if layers
        else stretches
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
