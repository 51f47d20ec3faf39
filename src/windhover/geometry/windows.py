"""Sliding windows of a pixel grid: their size, their stride, and grids cut into blocks.

Holds integer arithmetic only; it reads nothing and knows nothing of the ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from windhover.errors import ParameterError

WINDOW_PX = 64  # side of a window and of a patch; the networks are built for it
STRIDE_PX = 8  # of the dense search; the class prior is counted at it too
HALF_WINDOW_PX = WINDOW_PX // 2  # from a window's corner to its center


class Window(NamedTuple):
    """A pixel rectangle: rows [row, row + height), columns [col, col + width)."""

    row: int
    col: int
    height: int
    width: int


class Bounds(NamedTuple):
    """A pixel rectangle by its borders: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Rows and columns, px."""
        return self.bottom - self.top, self.right - self.left

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.top >= self.bottom or self.left >= self.right

    def clipped(self, shape_hw: tuple[int, int]) -> Bounds:
        """Return the part inside a grid of rows and columns."""
        height, width = shape_hw
        return Bounds(
            top=max(self.top, 0),
            bottom=min(self.bottom, height),
            left=max(self.left, 0),
            right=min(self.right, width),
        )

    def slices(self, row: int = 0, col: int = 0) -> tuple[slice, slice]:
        """Return the index of these pixels in an array whose first pixel is (row, col)."""
        return slice(self.top - row, self.bottom - row), slice(self.left - col, self.right - col)


def block_windows(shape_hw: tuple[int, int], block_hw: tuple[int, int]) -> Iterator[Window]:
    """Yield the blocks that tile a grid without overlap, row by row.

    Blocks at the lower and the right border are smaller where the sides do not divide.

    Args:
        shape_hw: height and width of the grid, px.
        block_hw: height and width of a block, px.

    Raises:
        ParameterError: a side of the block is under 1 px.
    """
    if min(block_hw) < 1:
        raise ParameterError(
            f"A block must be at least 1 px a side, got {block_hw}. Set a larger block."
        )
    height, width = shape_hw
    block_height, block_width = block_hw
    for row in range(0, height, block_height):
        for col in range(0, width, block_width):
            yield Window(row, col, min(block_height, height - row), min(block_width, width - col))
