"""A score graph in 8-bit integers, made by NNCF from training pictures.

Ranges of feature maps are their lowest and highest numbers: clipping the tails, as the library does
by default, triples the error of logits. The heads stay in floats. Pixels of 8 bits enter exactly;
wider ones meet a first layer in floats, so that no contrast is lost to a byte.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_HEADS = 3  # the last convolutions of a graph: logits, offsets, log sizes


def quantize_graph(graph: bytes, pictures: Sequence[NDArray[Any]]) -> bytes:
    """Return a score graph whose trunk computes in 8-bit integers.

    Args:
        graph: ONNX, in fp32.
        pictures: (B, C, H, W) each, as read; representative of what will be searched.
    """
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    model = onnx.load_model_from_string(graph)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    in_floats = convolutions[-N_HEADS:]
    is_uint8 = pictures[0].dtype == np.uint8
    if not is_uint8:
        in_floats.insert(0, convolutions[0])
    samples = [picture.astype(np.float32) for picture in pictures]
    if is_uint8:
        samples[0] = _with_full_range(samples[0])
    # its own `set_log_level` would change the handlers of whoever calls
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(io.StringIO()):  # bars of its progress, of a second each
        quantized = nncf.quantize(
            model,
            nncf.Dataset(samples, lambda sample: {"pixels": sample}),
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(names=in_floats),
            advanced_parameters=AdvancedQuantizationParameters(
                # int8 is taken on processors alone whose sums of bytes cannot overflow
                overflow_fix=OverflowFix.DISABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )
    content: bytes = quantized.SerializeToString(deterministic=True)
    return content


def _with_full_range(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pictures in which each band has a px of 0 and one of 255.

    The step between two bytes is then exactly one, and no pixel is rounded.
    """
    pictures = pictures.copy()
    pictures[0, :, 0, 0] = 0
    pictures[0, :, 0, 1] = 255
    return pictures
