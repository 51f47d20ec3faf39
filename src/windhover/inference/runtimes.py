"""Which runtime scores a model: torch, onnxruntime or OpenVINO; each is imported when it is chosen.

`auto` takes OpenVINO on a CPU where it is installed and the model holds its graphs, since it is the
fastest there (docs/decisions/0030), and torch otherwise.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from windhover.errors import MissingFileError, ParameterError
from windhover.inference.graph_scorer import BAND_PX, GraphScorer, RunGraph
from windhover.inference.pixel_search import PixelScorer
from windhover.inference.scorer import Scorer
from windhover.models.bundle import Bundle
from windhover.models.cpu_features import sums_bytes_exactly
from windhover.models.network_names import SEGMENTATION_NETWORKS
from windhover.optional_dependencies import explain_missing_extras
from windhover.params.allowed_values import Runtime

logger = logging.getLogger(__name__)

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, a GPU within WSL
RUNTIMES: tuple[str, ...] = get_args(Runtime)
GRAPH_PRECISIONS = ("fp32", "int8")


@explain_missing_extras()
def make_scorers(
    bundle: Bundle,
    *,
    runtime: str = "auto",
    device: str = "auto",
    inference_precision: str = "auto",
    allow_int8: bool = True,
    stride_px: int | None = None,
    batch_px: int | None = None,
) -> tuple[Scorer, Scorer | None]:
    """Return the scorer of a bundle's network, and of its second stage where it has one.

    Args:
        bundle: the model.
        runtime: `auto`, `torch`, `onnx` or `openvino`.
        device: `auto`, `cpu`, or a torch device's name.
        inference_precision: `fp32`, `fp16` or `bf16` by torch, `fp32` or `int8` by graphs; `auto`
            takes `fp16` on a GPU, on a CPU `int8` where model and processor are made for it.
        allow_int8: whether `auto` may take `int8` on a CPU.
        stride_px: distance between windows; the model's own by default.
        batch_px: px scored at once.

    Raises:
        ParameterError: runtime, device, precision or stride is not available.
        MissingFileError: the model has no graph for the runtime.
        FormatError: a file of the model is damaged.
        MissingExtraError: the runtime is not installed.
    """
    if stride_px is None:
        stride_px = bundle.card.stride_px
    if runtime not in RUNTIMES:
        raise ParameterError(f"runtime must be {', '.join(RUNTIMES)}, got {runtime!r}.")
    if bundle.card.network.name in SEGMENTATION_NETWORKS:
        return _pixel_scorer(
            bundle,
            runtime,
            device=device,
            inference_precision=inference_precision,
            batch_px=batch_px,
        ), None
    if runtime == "auto":
        runtime = _choose_runtime(
            bundle, device=device, inference_precision=inference_precision, stride_px=stride_px
        )
    if runtime == "torch":
        from windhover.inference import torch_scorer

        device = torch_scorer.choose_device(device)
        return torch_scorer.make_scorers(
            bundle,
            device=device,
            inference_precision=inference_precision,
            stride_px=stride_px,
            batch_px=batch_px,
        )
    if device not in ("auto", "cpu"):
        raise ParameterError(
            f"runtime {runtime} computes on the CPU, and device {device!r} was asked for. "
            "Take runtime torch for a GPU."
        )
    if inference_precision == "auto" and not allow_int8:
        inference_precision = "fp32"
    scorer = _graph_scorer(bundle, runtime, inference_precision, stride_px, batch_px=batch_px)
    second = bundle.second_stage
    if second is None:
        return scorer, None
    second_stride_px = second.card.stride_px
    return scorer, _graph_scorer(
        second, runtime, inference_precision, second_stride_px, batch_px=batch_px
    )


def _pixel_scorer(
    bundle: Bundle,
    runtime: str,
    *,
    device: str,
    inference_precision: str,
    batch_px: int | None,
) -> Scorer:
    """Return the scorer of a network that scores pixels, which torch alone computes.

    Raises:
        ParameterError: another runtime is asked for.
    """
    from windhover.inference.blended_tiles import BlendedTiles
    from windhover.inference.torch_scorer import choose_device

    if runtime not in ("auto", "torch"):
        raise ParameterError(
            f"runtime {runtime} has no graph of a {bundle.card.network.name}. Take torch."
        )
    tiles = BlendedTiles(
        bundle.network(),
        bundle.normalizer(),
        device=choose_device(device),
        inference_precision=inference_precision,
        batch_px=batch_px,
    )
    return PixelScorer(tiles)


def _choose_runtime(
    bundle: Bundle, *, device: str, inference_precision: str, stride_px: int
) -> str:
    """Return OpenVINO for a model with graphs on a CPU, torch for everything else."""
    if device not in ("auto", "cpu") or inference_precision not in ("auto", *GRAPH_PRECISIONS):
        return "torch"
    models = [bundle]
    if bundle.second_stage is not None:
        models.append(bundle.second_stage)
    for model in models:
        stride = stride_px if model is bundle else model.card.stride_px
        if model.graphs is None and model.card.ranges is not None and model.card.ranges.maps:
            logger.info(
                "model %s is of an earlier version: it holds no graphs, and its search in 8-bit "
                "integers has given way to OpenVINO's. It is searched in floats; train it again "
                "for the faster search.",
                model.card.name,
            )
        if model.graphs is None or not model.graphs.has(stride, "fp32"):
            return "torch"
    if importlib.util.find_spec("openvino") is None:
        return "torch"
    if device == "auto" and _may_have_gpu():
        return "torch"
    return "openvino"


def _may_have_gpu() -> bool:
    """Return whether torch would find a GPU; torch is imported only where a driver is there."""
    if importlib.util.find_spec("torch") is None:
        return False
    if not any(Path(driver).exists() for driver in GPU_DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def _graph_scorer(
    bundle: Bundle,
    runtime: str,
    inference_precision: str,
    stride_px: int,
    *,
    batch_px: int | None,
) -> GraphScorer:
    """Return the scorer of one model's graph."""
    graphs = bundle.graphs
    if graphs is None:
        raise MissingFileError(
            f"model {bundle.card.name} has no graphs for runtime {runtime}: it was trained by an "
            "earlier version, or its network is padded. Run "
            "`windhover export-model MODEL --onnx`, train again, or take runtime torch."
        )
    precision = _graph_precision(bundle, inference_precision, stride_px)
    if not graphs.has(stride_px, precision):
        raise ParameterError(
            f"model {bundle.card.name} has no graph of stride {stride_px} px in {precision}. "
            f"It has {', '.join(sorted(graphs.digests))}. Choose one of these."
        )
    path = graphs.path(stride_px, precision)
    return GraphScorer(
        _loader(runtime)(path),
        window_px=bundle.card.window_px,
        stride_px=stride_px,
        inference_precision=precision,
        runtime=runtime,
        band_px=batch_px or BAND_PX,
        padding_value=bundle.card.padding_value,
    )


def _graph_precision(bundle: Bundle, inference_precision: str, stride_px: int) -> str:
    """Return the number type of the graph to take."""
    if inference_precision == "auto":
        has_int8 = bundle.graphs is not None and bundle.graphs.has(stride_px, "int8")
        if has_int8 and sums_bytes_exactly():
            return "int8"
        return "fp32"
    if inference_precision not in GRAPH_PRECISIONS:
        raise ParameterError(
            f"graphs compute in {' or '.join(GRAPH_PRECISIONS)}, and {inference_precision} was "
            "asked for. Take one of these, or runtime torch."
        )
    if inference_precision == "int8" and not sums_bytes_exactly():
        raise ParameterError(
            "inference_precision int8 needs a processor that sums products of bytes (VNNI or "
            "AMX), and this one is not known to. Take fp32."
        )
    return inference_precision


def _loader(runtime: str) -> Callable[[Path], RunGraph]:
    """Return the function that loads a graph by a runtime."""
    if runtime == "onnx":
        from windhover.inference.onnx_graph import load_onnx_graph

        return load_onnx_graph
    from windhover.inference.openvino_graph import load_openvino_graph

    return load_openvino_graph
