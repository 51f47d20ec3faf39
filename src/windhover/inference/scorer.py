"""What a search needs of a runtime: the `Scorer` protocol and the scores that it returns.

A scorer answers for windows of pixels in memory; it knows no file, no scene and no object. Torch is
one implementation (`torch_scorer`); the search imports this module alone.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


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
