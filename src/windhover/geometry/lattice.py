"""The lattice of windows over a scene, its blocks, and the mirror at its borders; integers only, no
file, no network.

One lattice per scene and stride, anchored at scene px 0: cell (i, j) is the window whose top-left
px is (stride*i, stride*j). It reaches half a window beyond each border, so that every point of the
scene, to its last pixel, is near some window's centre; what lies outside is the scene mirrored.
Blocks are rectangles of cells: each cell belongs to one block, whatever their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int, int, int], tuple[NDArray[Any], NDArray[np.bool_]]]


class Block(NamedTuple):
    """A rectangle of cells: rows [row0, row1), columns [col0, col1) of the lattice; numbered in
    reading order.
    """

    number: int
    row0: int
    row1: int
    col0: int
    col1: int


@dataclass(frozen=True)
class Lattice:
    """All windows of a scene of `shape_hw` px."""

    shape_hw: tuple[int, int]
    window_px: int
    stride_px: int

    def span(self, length_px: int) -> tuple[int, int]:
        """Return the first cell along an axis and one past the last: centres from border to border."""
        half = self.window_px / 2
        first = -round(half / self.stride_px)
        return first, max(round((length_px - half) / self.stride_px), first) + 1

    @property
    def rows(self) -> tuple[int, int]:
        """First row of cells and one past the last."""
        return self.span(self.shape_hw[0])

    @property
    def cols(self) -> tuple[int, int]:
        """First column of cells and one past the last."""
        return self.span(self.shape_hw[1])

    @property
    def shape_cells(self) -> tuple[int, int]:
        """How many cells down and across."""
        return self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]

    def blocks(
        self,
        block_hw: tuple[int, int],
        file_block_hw: tuple[float, float] = (1.0, 1.0),
        margin: int = 0,
        slack: int = 0,
    ) -> Iterator[Block]:
        """Yield blocks of at most about `block_hw` px, row by row, laid along the file's own
        blocks.

        Two neighbours read a strip of px in common. The seams lie so that this strip ends where a
        block of the file
        ends: one row of the file's blocks is then decoded twice, where a seam anywhere else would
        cost two.

        Args:
            block_hw: wanted height and width.
            file_block_hw: the file's block in px of the scene.
            margin: cells read beyond a block's own.
            slack: further px that reading looks at, such as a filter's.
        """
        number = 0
        reach = (margin - 1) * self.stride_px + self.window_px + slack
        rows, cols = (
            seams(span, wanted, side, reach, self.stride_px)
            for span, wanted, side in zip(
                (self.rows, self.cols), block_hw, file_block_hw, strict=True
            )
        )
        for row, below in pairwise(rows):
            for col, right in pairwise(cols):
                yield Block(number, row, below, col, right)
                number += 1

    def widened(self, block: Block, margin: int) -> Block:
        """Return the block with `margin` more cells on each side, as far as the lattice goes."""
        return block._replace(
            row0=max(block.row0 - margin, self.rows[0]),
            row1=min(block.row1 + margin, self.rows[1]),
            col0=max(block.col0 - margin, self.cols[0]),
            col1=min(block.col1 + margin, self.cols[1]),
        )

    def narrowed(
        self, block: Block, bounds_xyxy: tuple[float, float, float, float]
    ) -> Block | None:
        """Return the part of the block whose windows' centres lie within bounds (px), or None."""
        stride, half = self.stride_px, self.window_px / 2
        left, top, right, bottom = bounds_xyxy
        part = block._replace(
            row0=max(block.row0, int(np.ceil((top - half) / stride))),
            row1=min(block.row1, int(np.floor((bottom - half) / stride)) + 1),
            col0=max(block.col0, int(np.ceil((left - half) / stride))),
            col1=min(block.col1, int(np.floor((right - half) / stride)) + 1),
        )
        return part if part.row0 < part.row1 and part.col0 < part.col1 else None

    def extent_px(self, block: Block) -> tuple[int, int, int, int]:
        """Return rows and columns of px, [row0, row1) and [col0, col1), that the block's windows
        cover.
        """
        stride, more = self.stride_px, self.window_px - self.stride_px
        return (
            block.row0 * stride,
            block.row1 * stride + more,
            block.col0 * stride,
            block.col1 * stride + more,
        )


def seams(
    span: tuple[int, int], block_px: int, file_block_px: float, reach_px: int, stride_px: int
) -> list[int]:
    """Return the first cell of each block along an axis, and one past the last.

    Args:
        span: first cell and one past the last.
        block_px: wanted length of a block; blocks are whole numbers of file blocks, or even
            parts of one.
        file_block_px: length of the file's blocks, px of the scene.
        reach_px: how far a block's px reach beyond the first px of the cell that follows it.
        stride_px: px between cells.
    """
    pieces = block_px / file_block_px
    step = file_block_px * int(pieces) if pieces >= 1 else file_block_px / math.ceil(1 / pieces)
    step = max(step, stride_px)
    least = max(
        min(reach_px, block_px) // stride_px, 1
    )  # no sliver at the far end, which would be read for itself
    ends = (math.floor((number * step - reach_px) / stride_px) for number in itertools.count(1))
    inner = itertools.takewhile(lambda cell: cell + least < span[1], ends)
    return [span[0], *(cell for cell in inner if cell > span[0]), span[1]]


def mirrored(length_px: int, start: int, stop: int) -> NDArray[np.int64]:
    """Return which px of a line stand at [start, stop): themselves inside, mirrored at the borders
    outside.
    """
    index = np.arange(start, stop, dtype=np.int64) % (2 * length_px)
    return np.where(index < length_px, index, 2 * length_px - 1 - index)


def read_mirrored(
    read: Read, shape_hw: tuple[int, int], extent: tuple[int, int, int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read px rows and columns of a scene, its borders mirrored.

    Args:
        read: (row, col, height, width) -> pixels (C, h, w) and valid (h, w).
        shape_hw: px of the scene.
        extent: row0, row1, col0, col1; may reach outside.

    Returns:
        Pixels (C, row1 - row0, col1 - col0) and where they are valid.
    """
    rows, cols = mirrored(shape_hw[0], *extent[:2]), mirrored(shape_hw[1], *extent[2:])
    top, left = int(rows.min()), int(cols.min())
    pixels, valid = read(top, left, int(rows.max()) + 1 - top, int(cols.max()) + 1 - left)
    if extent[0] >= 0 and extent[2] >= 0 and extent[1] <= shape_hw[0] and extent[3] <= shape_hw[1]:
        return pixels, valid
    first = min(max(-extent[2], 0), len(cols))
    inside = slice(first, max(min(shape_hw[1], extent[3]) - extent[2], first))
    rows, cols = rows - top, cols - left
    return _columns(pixels.take(rows, 1), cols, inside), _columns(valid.take(rows, 0), cols, inside)


def _columns(array: NDArray[Any], cols: NDArray[np.int64], inside: slice) -> NDArray[Any]:
    """Return `array[..., cols]`; `cols[inside]` rise by one and are copied at once, a fifth of the
    time of taking.
    """
    result = np.empty((*array.shape[:-1], len(cols)), array.dtype)
    for part in (slice(0, inside.start), slice(inside.stop, len(cols))):
        result[..., part] = array.take(cols[part], -1)
    if inside.start < inside.stop:
        result[..., inside] = array[..., cols[inside.start] : cols[inside.stop - 1] + 1]
    return result


def seen_windows(valid: NDArray[np.bool_], window_px: int, stride_px: int) -> NDArray[np.bool_]:
    """Return which windows hold at least one valid px.

    Args:
        valid: (H, W).
        window_px: side of the windows.
        stride_px: distance between them.

    Returns:
        (h, w), h = (H - window) // stride + 1.
    """
    rows, cols = ((side - window_px) // stride_px + 1 for side in valid.shape)
    if valid.all():
        return np.ones((rows, cols), bool)
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(valid, axis=0, dtype=np.int32), axis=1, out=total[1:, 1:])
    top, left = np.arange(rows) * stride_px, np.arange(cols) * stride_px
    bottom, right = top + window_px, left + window_px
    lower = total[np.ix_(bottom, right)] - total[np.ix_(bottom, left)]
    upper = total[np.ix_(top, right)] - total[np.ix_(top, left)]
    return np.asarray(lower > upper)
