"""Parameters of the `detect` stage: where and how it runs. What it finds is decided by the model
bundle alone.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windhover.params import StageParams


class DetectParams(StageParams):
    """Where the search runs, and in what pieces."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        ..., description="auto takes the GPU where there is one"
    )
    inference_precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = Field(
        ...,
        description="of the arithmetic; auto: fp16 on a GPU, int8 on bytes on a CPU made for it, else fp32",
    )
    block_px: int = Field(
        ..., ge=256, le=16384, description="side of the blocks read at once, px at the training GSD"
    )
