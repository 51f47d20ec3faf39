"""The table of a network for the terminal: its layers, its size and the cost of a search.

Reads `params.yaml` where no network is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from windhover.models.model_summary import (
    LayerSummary,
    search_multiply_adds,
    summarize_layers,
)
from windhover.models.network_names import SEGMENTATION_NETWORKS
from windhover.models.networks import architecture_options, build_network
from windhover.params import load_params
from windhover.params.parameter_sets import parse_setting
from windhover.params.train import TrainParams

HEADER = ("layer", "kind", "output", "field px", "stride px", "multiply-adds", "parameters")
TEXT_COLUMNS = 3  # the first ones, aligned left; numbers are aligned right


def describe_network(network: str | None, options: Sequence[str], n_bands: int) -> list[str]:
    """Return the table of a network: one by its name, or that of params.yaml.

    Args:
        network: name; None takes network and options of `train`.
        options: `name=value` each; they replace those of `train` where no network is named.
        n_bands: bands of the input.

    Raises:
        MissingFileError: there is no params.yaml to take the network from.
        ParameterError: an unknown network or option.
    """
    values = dict(parse_setting(option) for option in options)
    if network is None:
        params = load_params("train", TrainParams)
        network = params.network
        values = {**params.options, **values}
    return network_table(network, n_bands, 1, options=values)


def network_table(
    name: str, n_bands: int, n_classes: int, *, options: Mapping[str, Any]
) -> list[str]:
    """Return a network as a table, one line a layer, with the cost of a window and a megapixel.

    Raises:
        ParameterError: an unknown network or option.
    """
    network = build_network(name, n_bands, n_classes, **architecture_options(options))
    layers = summarize_layers(network, n_bands)
    cells = [HEADER, *(_layer_cells(layer) for layer in layers)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    lines = [_align_cells(row, widths) for row in cells]
    return [*lines, "", *_summarize_cost(name, network, layers, n_bands=n_bands)]


def _layer_cells(layer: LayerSummary) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        "x".join(map(str, layer.output_shape)),
        str(layer.receptive_field_px),
        str(layer.stride_px),
        f"{layer.multiply_adds:,}",
        f"{layer.parameters:,}",
    )


def _align_cells(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        if column < TEXT_COLUMNS:
            cells.append(cell.ljust(width))
        else:
            cells.append(cell.rjust(width))
    return "  ".join(cells).rstrip()


def _summarize_cost(
    name: str, network: nn.Module, layers: Sequence[LayerSummary], *, n_bands: int
) -> list[str]:
    """Return the lines below the table: size, window, stride and multiply-adds."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    window_adds = sum(layer.multiply_adds for layer in layers)
    search_adds = search_multiply_adds(network, n_bands)
    method = "densely" if network.dense else "window by window"
    if name in SEGMENTATION_NETWORKS:
        method = "in tiles that overlap"
    size = f"{parameters / 1e6:.3f} M parameters"
    window = f"window {network.window_px} px, stride {network.stride_px} px"
    search = f"{search_adds / 1e9:.2f} G for one Mpx searched {method}"
    lines = [
        f"{name}: {size}, {window}",
        f"multiply-adds: {window_adds / 1e6:.1f} M for one window, {search}",
    ]
    if not network.dense:
        lines.append(
            "the receptive field is that of the longest chain at most: "
            "padded, it never sees beyond its window"
        )
    return lines
