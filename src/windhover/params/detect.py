"""Parameters of the `detect` stage: where and how it runs. What it finds is decided by the model
bundle alone.
"""

from __future__ import annotations

from pydantic import Field

from windhover.params import StageParams
from windhover.params.allowed_values import Device, InferencePrecision, Runtime


class DetectParams(StageParams):
    """Where the search runs; what it finds is decided by the model bundle."""

    device: Device = Field(
        default="auto", description="auto, cpu or cuda; auto uses a GPU if there is one"
    )
    runtime: Runtime = Field(
        default="auto",
        description="library that computes: torch, onnx (onnxruntime) or openvino; auto: openvino "
        "on a CPU where it is installed, else torch",
    )
    inference_precision: InferencePrecision = Field(
        default="auto",
        description="number format of inference: fp32, fp16, bf16 or int8; auto: fp16 "
        "on a GPU, int8 by openvino on a CPU with the instructions for it, else fp32",
    )
    block_px: int = Field(
        default=2048,
        ge=256,
        le=16384,
        description="side of the blocks read at once, px at the training GSD; affects "
        "memory and speed only",
    )
    plan: str | None = Field(
        default=None,
        description="folder that windhover plan wrote: its scenes are searched in place of the "
        "catalog's, tasks that have run elsewhere are taken as they are; null: the catalog",
    )
