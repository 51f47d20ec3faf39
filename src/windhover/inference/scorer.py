"""What a search needs of a runtime: the `Scorer` protocol and the scores that it returns.

A scorer answers for windows of pixels in memory; it knows no file, no scene and no object. Torch is
one implementation (`torch_scorer`); the search imports this module alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from windhover.errors import ParameterError


class RawScores(NamedTuple):
    """Network outputs for every window of a block; all float32, of one spatial shape (h, w)."""

    logits: NDArray[np.float32]  # (K, h, w)
    offsets_px: NDArray[np.float32]  # (2, h, w): dx, dy from the window's centre to the object's
    log_sizes: NDArray[np.float32]  # (2, h, w): log of width and height in px


class WindowScores(NamedTuple):
    """Network outputs for N separate windows."""

    logits: NDArray[np.float32]  # (N, K)
    offsets_px: NDArray[np.float32]  # (N, 2): dx, dy from the window's centre to the object's
    log_sizes: NDArray[np.float32]  # (N, 2): log of width and height in px


def score_in_bands(
    block: NDArray[np.generic],
    score_band: Callable[[NDArray[np.generic]], RawScores],
    *,
    window_px: int,
    stride_px: int,
    batch_px: int | None,
) -> RawScores:
    """Score a block in bands of rows, one after the other; bands change no score's meaning.

    Args:
        block: (C, H, W) pixels as read.
        score_band: scores every window of (C, h, w) pixels.
        window_px: side of a window.
        stride_px: distance between windows.
        batch_px: input px of a band, of one row of windows at least; None for the whole block.

    Returns:
        Maps with (H - window) // stride + 1 rows, and columns likewise.

    Raises:
        ParameterError: the block is smaller than a window.
    """
    height, width = block.shape[-2:]
    rows = max((height - window_px) // stride_px + 1, 0)
    cols = max((width - window_px) // stride_px + 1, 0)
    if rows < 1 or cols < 1:
        raise ParameterError(
            f"a block must hold one window of {window_px} px, got {height}x{width} px. Pad it."
        )
    used_width = (cols - 1) * stride_px + window_px
    rows_per_band = rows
    if batch_px is not None:
        rows_per_band = max((batch_px // used_width - window_px) // stride_px + 1, 1)
    parts = []
    for first in range(0, rows, rows_per_band):
        count = min(rows_per_band, rows - first)
        top = first * stride_px
        bottom = top + (count - 1) * stride_px + window_px
        parts.append(score_band(block[:, top:bottom, :used_width]))
    if len(parts) == 1:
        return parts[0]
    return RawScores(*(np.concatenate(planes, axis=1) for planes in zip(*parts, strict=True)))


class Scorer(Protocol):
    """A network on a device, ready to score pixels as read from a scene."""

    @property
    def window_px(self) -> int:
        """Side of a window, px."""

    @property
    def stride_px(self) -> int:
        """Distance between neighbouring windows, px."""

    @property
    def dense(self) -> bool:
        """Whether all windows of a block are scored in one pass (the network is unpadded)."""

    @property
    def device(self) -> str:
        """Name of the device, such as `cpu` or `cuda`."""

    @property
    def inference_precision(self) -> str:
        """Number type of the arithmetic: `fp32`, `fp16`, `bf16` or `int8`."""

    @property
    def runtime(self) -> str:
        """Library that computes: `torch`, `onnx` or `openvino`."""

    @property
    def padding_value(self) -> tuple[float, ...] | None:
        """What each band holds beyond a scene's border; None where it is mirrored."""

    def score(self, block: NDArray[np.generic]) -> RawScores:
        """Score every window of a block.

        Args:
            block: (C, H, W) pixels as read; H and W at least one window.

        Returns:
            Maps with h = (H - window) // stride + 1 rows, and w columns likewise.
        """

    def score_windows(self, windows: NDArray[np.generic]) -> WindowScores:
        """Score windows that are cut already.

        Args:
            windows: (N, C, window, window) pixels as read.
        """
