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

from windhover.inference.scorer import RawScores, WindowScores, score_in_bands

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
        return score_in_bands(
            block,
            self._score_band,
            window_px=self.window_px,
            stride_px=self.stride_px,
            batch_px=self.band_px,
        )

    def _score_band(self, band: NDArray[np.generic]) -> RawScores:
        """Return the scores of a band of rows (C, H, W)."""
        pixels = np.ascontiguousarray(band[None], np.float32)
        return RawScores(*(plane[0] for plane in self.run_graph(pixels)))

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
