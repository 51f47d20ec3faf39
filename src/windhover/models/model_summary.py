"""Summary of a network by layers: output, receptive field, stride, multiply-adds, parameters.

Counts what convolutions, linear layers and pools do; products inside an attention are not counted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from windhover.models.segmentation import tile_overlap

SCENE_PX = 1024  # side of the picture by which the cost of a dense search is measured
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
LISTED_LAYERS = (nn.Conv2d, nn.Linear, nn.AdaptiveAvgPool2d, *POOLS)


class LayerSummary(NamedTuple):
    """One layer of a network."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # (C, h, w)
    receptive_field_px: int
    stride_px: int
    parameters: int
    multiply_adds: int = 0  # for one picture


def summarize_layers(
    network: nn.Module, n_bands: int, side_px: int | None = None
) -> list[LayerSummary]:
    """Return each layer's output, receptive field, stride and multiply-adds for one picture.

    The receptive field follows r' = r + (k - 1) * d * j, j' = j * s over the layers in the order in
    which they run (Araujo 2019), which is exact for a chain; for a branching backbone it is an
    upper bound.

    Args:
        network: of `build_network`; on the meta device nothing is computed.
        n_bands: bands of the input.
        side_px: side of the picture; one window by default.
    """
    rows: list[LayerSummary] = []
    hooks = [
        module.register_forward_hook(_append_layer(rows, name))
        for name, module in network.named_modules()
        if isinstance(module, LISTED_LAYERS)
    ]
    was_training = network.training
    side = side_px or int(network.window_px)  # type: ignore[arg-type]
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    try:
        with torch.inference_mode(), counter:
            network.eval()(torch.zeros(1, n_bands, side, side, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return _with_multiply_adds(rows, counter, type(network).__name__)


def _append_layer(rows: list[LayerSummary], name: str) -> Callable[[nn.Module, Any, Any], None]:
    """Return a forward hook that appends a layer's row, continuing the last row's field."""

    def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
        field = rows[-1].receptive_field_px if rows else 1
        stride = rows[-1].stride_px if rows else 1
        # heads and the short cut of a residual block are no links of the chain
        in_chain = not name.startswith("heads.") and "downsample" not in name
        if isinstance(module, (nn.Conv2d, *POOLS)) and in_chain:
            kernel = _first_number(module.kernel_size)
            dilation = _first_number(getattr(module, "dilation", 1))
            field += (kernel - 1) * dilation * stride
            stride *= _first_number(module.stride)
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        rows.append(LayerSummary(name, type(module).__name__, shape, field, stride, parameters))

    return hook


def _with_multiply_adds(
    rows: Sequence[LayerSummary], counter: FlopCounterMode, network_name: str
) -> list[LayerSummary]:
    """Return the rows with torch's counts, two operations for each multiply-add."""
    counts = counter.get_flop_counts()
    summary = []
    for row in rows:
        operations = sum(counts.get(f"{network_name}.{row.name}", {}).values())
        summary.append(row._replace(multiply_adds=operations // 2))
    return summary


def _first_number(value: int | Sequence[int]) -> int:
    if isinstance(value, int):
        return value
    return int(value[0])


def search_multiply_adds(network: nn.Module, n_bands: int) -> float:
    """Return the multiply-adds of searching one megapixel, densely where the network can."""
    if not network.dense:
        stride = int(network.stride_px)  # type: ignore[arg-type]
        if getattr(network, "segments", False):  # tiles that overlap
            tile_px = int(network.window_px)  # type: ignore[arg-type]
            stride = tile_px - tile_overlap(tile_px)
        window = summarize_layers(network, n_bands)
        return sum(row.multiply_adds for row in window) * 1e6 / stride**2
    on_meta = copy.deepcopy(network).to("meta")
    scene = summarize_layers(on_meta, n_bands, SCENE_PX)
    return sum(row.multiply_adds for row in scene) * 1e6 / SCENE_PX**2
