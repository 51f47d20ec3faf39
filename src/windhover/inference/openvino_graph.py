"""A graph file run by OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.inference.graph_scorer import RunGraph
from windhover.inference.onnx_graph import n_threads


def load_openvino_graph(path: Path) -> RunGraph:
    """Return a graph as a function, compiled by OpenVINO for the CPU.

    Raises:
        FormatError: the file is no graph that OpenVINO reads.
    """
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # bf16 where the processor has it would change scores
        "INFERENCE_NUM_THREADS": n_threads(),
    }
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    except Exception as error:  # noqa: BLE001  # the runtime has many errors for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{path}: OpenVINO cannot read it ({reason}). Export the model again."
        ) from None
    request = compiled.create_infer_request()

    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        outputs = request.infer([pixels])
        return tuple(np.array(outputs[port]) for port in compiled.outputs)

    return run
