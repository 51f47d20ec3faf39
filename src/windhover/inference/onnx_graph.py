"""A graph file run by onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.inference.graph_scorer import RunGraph

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def n_threads() -> int:
    """Return how many threads a search may use: `OMP_NUM_THREADS`, or one for each core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(path: Path) -> InferenceSession:
    """Return a graph loaded by onnxruntime on the CPU.

    Raises:
        FormatError: the file is no graph that onnxruntime reads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.enable_cpu_mem_arena = False  # the arena never returns what a large block took
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001  # the runtime has many errors for a damaged file
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{path}: onnxruntime cannot read it ({reason}). Export the model again."
        ) from None


def load_onnx_graph(path: Path) -> RunGraph:
    """Return a score graph as a function, run by onnxruntime.

    Raises:
        FormatError: the file is no graph that onnxruntime reads.
    """
    session = open_session(path)

    def run(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        return tuple(session.run(None, {"pixels": pixels}))

    return run
