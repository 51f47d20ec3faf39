"""Sliding windows and blocks of a pixel grid, as integers.

Holds the arithmetic of where windows and blocks begin; reads nothing and knows nothing of the
ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.errors import ParameterError

WINDOW_PX = 64  # side of a window and of a patch; the networks are built for it
STRIDE_PX = 8  # of the dense search, at which the prior of windows is counted


class Window(NamedTuple):
    """A pixel rectangle: rows [row, row + height), columns [col, col + width)."""

    row: int
    col: int
    height: int
    width: int


def starts_px(length_px: int, window_px: int, stride_px: int) -> NDArray[np.int64]:
    """Return where windows begin along one axis so that they cover every pixel; the last one is
    drawn back to fit.

    A length shorter than the window gives one window at 0, which reaches outside.

    Raises:
        ParameterError: the stride is not in 1..window.
    """
    if not 1 <= stride_px <= window_px:
        raise ParameterError(
            f"`stride` must be in 1..{window_px} px (the window), got {stride_px} px. Set a smaller stride."
        )
    last = max(length_px - window_px, 0)
    starts = np.arange(0, last + 1, stride_px, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def count_windows(shape_hw: tuple[int, int], window_px: int, stride_px: int) -> int:
    """Return how many windows lie wholly inside a grid at a stride, as a dense pass scores them
    (none drawn back).
    """
    rows, cols = ((length - window_px) // stride_px + 1 for length in shape_hw)
    return max(rows, 0) * max(cols, 0)


def blocks(shape_hw: tuple[int, int], block_hw: tuple[int, int]) -> Iterator[Window]:
    """Yield blocks that tile a grid without overlap, row by row; those at the far edges are
    smaller.

    Raises:
        ParameterError: a side of the block is under 1 px.
    """
    if min(block_hw) < 1:
        raise ParameterError(
            f"A block must be at least 1 px a side, got {block_hw}. Set a larger block."
        )
    for row in range(0, shape_hw[0], block_hw[0]):
        for col in range(0, shape_hw[1], block_hw[1]):
            yield Window(
                row, col, min(block_hw[0], shape_hw[0] - row), min(block_hw[1], shape_hw[1] - col)
            )
