"""The scorer of an exported graph: the network as one ONNX file, run by another runtime than torch.

The graph is the same network with the pixels' normalization folded into its first layer, so it
takes pixels as read. Knows neither files nor scenes; the runtime is a function that is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.inference.scorer import RawScores, WindowScores

# float32 pixels (B, C, H, W) in the units as read ->
# logits (B, K, h, w), offsets (B, 2, h, w), log sizes (B, 2, h, w)
RunGraph: TypeAlias = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], ...]]

BAND_PX = 1 << 21  # input px computed at once; smaller bands are slower (docs/decisions/0030)
WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class GraphScorer:
    """A graph ready to score blocks.

    Attributes:
        run_graph: the loaded graph.
        window_px: side of a window.
        stride_px: distance between neighbouring windows.
        inference_precision: number type of the arithmetic, `fp32` or `int8`.
        runtime: name of the runtime, `onnx` or `openvino`.
        device: name of the device.
        band_px: input px computed at once; bounds memory, never changes a score's meaning.
        padding_value: what each band holds beyond a scene's border; None where it is mirrored.
    """

    run_graph: RunGraph
    window_px: int
    stride_px: int
    inference_precision: str
    runtime: str
    device: str = "cpu"
    band_px: int = BAND_PX
    dense: bool = True
    padding_value: tuple[float, ...] | None = None

    def score(self, block: NDArray[np.generic]) -> RawScores:
        """Score every window of a block.

        Args:
            block: (C, H, W) pixels as read; H and W at least one window.

        Returns:
            Maps (K, h, w), (2, h, w), (2, h, w) with h = (H - window) // stride + 1.

        Raises:
            ParameterError: the block is smaller than a window.
        """
        height, width = block.shape[-2:]
        rows = max((height - self.window_px) // self.stride_px + 1, 0)
        cols = max((width - self.window_px) // self.stride_px + 1, 0)
        if rows < 1 or cols < 1:
            raise ParameterError(
                f"a block must hold one window of {self.window_px} px, "
                f"got {height}x{width} px. Pad it."
            )
        used_width = (cols - 1) * self.stride_px + self.window_px
        rows_per_band = max((self.band_px // used_width - self.window_px) // self.stride_px + 1, 1)
        parts = []
        for first in range(0, rows, rows_per_band):
            count = min(rows_per_band, rows - first)
            top = first * self.stride_px
            bottom = top + (count - 1) * self.stride_px + self.window_px
            band = np.ascontiguousarray(block[None, :, top:bottom, :used_width], np.float32)
            parts.append([plane[0] for plane in self.run_graph(band)])
        if len(parts) == 1:
            return RawScores(*parts[0])
        return RawScores(*(np.concatenate(planes, axis=1) for planes in zip(*parts, strict=True)))

    def score_windows(self, windows: NDArray[np.generic]) -> WindowScores:
        """Score windows that are cut already, in batches.

        Args:
            windows: (N, C, window, window) pixels as read.

        Returns:
            Logits (N, K), offsets dx, dy (N, 2) px and log sizes (N, 2).
        """
        parts = []
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            batch = np.ascontiguousarray(windows[first : first + WINDOWS_AT_ONCE], np.float32)
            parts.append([plane[:, :, 0, 0] for plane in self.run_graph(batch)])
        return WindowScores(*(np.concatenate(planes) for planes in zip(*parts, strict=True)))
