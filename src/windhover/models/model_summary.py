"""What a network is made of: each layer's output, receptive field, stride, multiply-adds and
parameters.

Counts what convolutions, linear layers and pools do; the products inside an attention are not
counted. Trains nothing and reads no file but params.yaml.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from windhover.models.networks import architecture_options, build_network
from windhover.params import load_params
from windhover.params.parameter_sets import parse_setting
from windhover.params.train import TrainParams

SCENE_PX = 1024  # side of the picture by which the cost of a dense search is told


class Shape(NamedTuple):
    """One layer of a network as `layer_shapes` sees it."""

    name: str
    kind: str
    out: tuple[int, ...]  # (C, h, w)
    receptive_field_px: int
    stride_px: int
    macs: int  # multiply-adds for one window
    parameters: int


def layer_shapes(network: nn.Module, n_bands: int, side_px: int | None = None) -> list[Shape]:
    """Return each layer's output, receptive field, stride and multiply-adds for one picture.

    The receptive field follows r' = r + (k - 1) * d * j, j' = j * s over the layers in the order in
    which they run, which is exact for a chain; for a branching backbone it is that of its longest
    chain at most.

    Args:
        network: of `build_network`; on the meta device nothing is computed.
        n_bands: bands of the input.
        side_px: side of the picture; one window by default.
    """
    rows: list[Shape] = []
    kinds = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
    hooks = [
        module.register_forward_hook(_note(name, rows))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    was_training = network.training
    side = side_px or int(network.window_px)  # type: ignore[arg-type]
    try:
        with torch.inference_mode():
            network.eval()(
                torch.zeros(1, n_bands, side, side, device=next(network.parameters()).device)
            )
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return rows


def _note(name: str, rows: list[Shape]) -> Callable[[nn.Module, Any, Any], None]:
    """Return a hook that appends a layer's row; what came before is told by the last row."""

    def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
        field, jump = (rows[-1].receptive_field_px, rows[-1].stride_px) if rows else (1, 1)
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        out = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        macs = 0
        if isinstance(module, nn.Conv2d):
            macs = module.weight[0].numel() * int(output.numel())
        elif isinstance(module, nn.Linear):
            macs = module.in_features * int(output.numel())
        beside = (
            name.startswith("heads.") or "downsample" in name
        )  # a residual's short cut is no link of the chain
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)) and not beside:
            kernel, stride, dilation = (
                _first(getattr(module, key, 1)) for key in ("kernel_size", "stride", "dilation")
            )
            field += (kernel - 1) * dilation * jump
            jump *= stride
        rows.append(Shape(name, type(module).__name__, out, field, jump, macs, own))

    return hook


def _first(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else int(value[0])


def describe_network(network: str | None, options: Sequence[str], n_bands: int) -> list[str]:
    """Return a network's table: one by its name, or that of params.yaml.

    Args:
        network: name; None takes network and options of `train`.
        options: `name=value` each; laid over those of `train` where no network is named.
        n_bands: bands of the input.

    Raises:
        MissingFileError: there is no params.yaml to take the network from.
        ParameterError: an unknown network or option.
    """
    given = dict(parse_setting(option) for option in options)
    if network is None:
        params = load_params("train", TrainParams)
        network, given = params.network, {**params.options, **given}
    return shape_lines(network, n_bands, 1, given)


def shape_lines(name: str, n_bands: int, n_classes: int, options: Mapping[str, Any]) -> list[str]:
    """Return a network as a table for the terminal, one line a layer, and what a window and a
    megapixel cost.

    Raises:
        ParameterError: an unknown network or option.
    """
    network = build_network(name, n_bands, n_classes, **architecture_options(options))
    rows = layer_shapes(network, n_bands)
    words = [
        (row.name, row.kind, "x".join(map(str, row.out)), f"{row.receptive_field_px}", f"{row.stride_px}",
         f"{row.macs:,}", f"{row.parameters:,}")
        for row in rows
    ]  # fmt: skip
    head = ("layer", "kind", "output", "field px", "stride px", "multiply-adds", "parameters")
    widths = [max(len(line[column]) for line in (head, *words)) for column in range(len(head))]
    lines = [_justified(line, widths) for line in (head, *words)]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    macs = sum(row.macs for row in rows)
    window, stride = int(network.window_px), int(network.stride_px)  # type: ignore[arg-type]
    lines += [
        "",
        f"{name}: {parameters / 1e6:.3f} M parameters, window {window} px, stride {stride} px",
    ]
    searched = f"{_search_macs(network, n_bands, macs) / 1e9:.2f} G for one Mpx searched"
    way = "densely" if network.dense else "window by window"
    lines.append(f"multiply-adds: {macs / 1e6:.1f} M for one window, {searched} {way}")
    if not network.dense:
        lines += [
            "the receptive field is that of the longest chain at most: padded, it never sees beyond its window"
        ]
    return lines


def _justified(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        word.ljust(width) if column < 3 else word.rjust(width)
        for column, (word, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()


def _search_macs(network: nn.Module, n_bands: int, window_macs: int) -> float:
    """Return the multiply-adds of searching one megapixel."""
    if not network.dense:
        stride = int(network.stride_px)  # type: ignore[arg-type]
        return window_macs * 1e6 / stride**2
    on_paper = copy.deepcopy(network).to("meta")
    return sum(row.macs for row in layer_shapes(on_paper, n_bands, SCENE_PX)) * 1e6 / SCENE_PX**2
