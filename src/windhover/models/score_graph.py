"""The network as one ONNX graph from pixels as read to the scores of every window.

The normalization of pixels is folded into the first convolution, which is exact in every cell since
no layer pads. Height, width and batch are free. Written by torch's older exporter: the newer one
cannot write operator set 17 (docs/decisions/0030).
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.models.card import Card
from windhover.models.graph_files import graph_name
from windhover.models.layer_fusion import fold_batch_norms
from windhover.models.quantize_graph import quantize_graph

OPSET = 17  # the newest that the QGIS plugin Deepness and its kin read
SCORE_OUTPUTS = ("logits", "offsets_px", "log_sizes")
FREE_AXES = {0: "batch", 2: "height", 3: "width"}


class ScoreGraph(nn.Module):
    """A network that takes pixels as read."""

    def __init__(self, network: nn.Module, card: Card) -> None:
        """Copy an unpadded network and fold the card's normalization into its first layer."""
        super().__init__()
        self.network = fold_batch_norms(copy.deepcopy(network).eval())
        fold_normalization(self.network, card.mean, card.std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, K, h, w), offsets (B, 2, h, w) px and log sizes (B, 2, h, w)."""
        logits, offsets_px, log_sizes = self.network(pixels)
        return logits, offsets_px, log_sizes


def fold_normalization(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Fold `(pixels - mean) / std` into the first convolution of a network, in place."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        weight = first.weight.double() / torch.tensor(std).double().view(1, -1, 1, 1)
        shift = (weight * torch.tensor(mean).double().view(1, -1, 1, 1)).sum(dim=(1, 2, 3))
        if first.bias is None:
            first.bias = nn.Parameter(torch.zeros(first.out_channels))
        first.bias.copy_((first.bias.double() - shift).float())
        first.weight.copy_(weight.float())


def make_score_graph(network: nn.Module, card: Card) -> bytes:
    """Return the graph of an unpadded network, at its own stride, as ONNX in fp32.

    Its input is (batch, bands, height, width) of float32, in the units of the pixels as read; its
    outputs are logits, offsets in px and log sizes.
    """
    side = 2 * card.window_px
    example = torch.zeros((1, len(card.bands), side, side))
    return to_onnx(ScoreGraph(network, card), example, SCORE_OUTPUTS, FREE_AXES)


def make_graphs(
    network: nn.Module, card: Card, pictures: Sequence[NDArray[Any]] = ()
) -> dict[str, bytes]:
    """Return the graphs of a network by file name: at its stride and at half of it.

    Args:
        network: of `card`.
        card: of the model.
        pictures: (B, C, H, W) each, as read, by which 8-bit graphs are made; none without them.

    Returns:
        Contents of ONNX files; empty for a padded network, which has no dense form.
    """
    if not network.dense:
        return {}
    by_precision = {"fp32": make_score_graph(network, card)}
    if pictures:
        by_precision["int8"] = quantize_graph(by_precision["fp32"], pictures)
    graphs = {}
    for precision, graph in by_precision.items():
        graphs[graph_name(card.stride_px, precision)] = graph
        halved = halve_graph_stride(graph)
        if halved is not None:
            graphs[graph_name(card.stride_px // 2, precision)] = halved
    return graphs


def halve_graph_stride(graph: bytes) -> bytes | None:
    """Return a score graph with windows at half its stride, exact for each window.

    The last pool of stride 2 is un-strided and every later kernel dilated by two ("filter
    rarefaction", Long 2015, section 3.2), as `layer_fusion.halve_stride` does.

    Returns:
        The graph, in the same number type; None where the last stride is not a pool's.
    """
    import onnx

    model = onnx.load_model_from_string(graph)
    spatial = [node for node in model.graph.node if node.op_type in ("Conv", "MaxPool")]
    strided = [i for i, node in enumerate(spatial) if _ints(node, "strides") == [2, 2]]
    if not strided or spatial[strided[-1]].op_type != "MaxPool":
        return None
    _set_ints(spatial[strided[-1]], "strides", [1, 1])
    for node in spatial[strided[-1] + 1 :]:
        if _ints(node, "kernel_shape") != [1, 1]:
            _set_ints(node, "dilations", [2, 2])
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _ints(node: Any, name: str) -> list[int]:
    """Return an attribute of a node, a list of numbers; empty where it has none."""
    for attribute in node.attribute:
        if attribute.name == name:
            return list(attribute.ints)
    return []


def _set_ints(node: Any, name: str, values: list[int]) -> None:
    """Set an attribute of a node, a list of numbers."""
    import onnx

    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, values)])


def to_onnx(
    graph: nn.Module, example: Tensor, outputs: Sequence[str], axes: dict[int, str]
) -> bytes:
    """Return a module of one input as ONNX.

    Args:
        graph: takes one tensor.
        example: that it may be given.
        outputs: names of its outputs.
        axes: free axes of the input and their names.
    """
    stream = io.BytesIO()
    free = {"pixels": axes} if axes else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's age, and of constants it traces
        torch.onnx.export(
            graph.eval(),
            (example,),
            stream,  # type: ignore[arg-type]  # the older exporter takes a stream
            input_names=["pixels"],
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=OPSET,
            dynamo=False,
        )
    return stream.getvalue()
