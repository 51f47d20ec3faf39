"""The search of blocks by a network that scores pixels, each block with what is around it.

Same interface as `block_search.BlockSearch`, so that passes, journals and maps are those of every
other search; there are no candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.geometry.lattice import Block, ReadBlock
from windhover.inference.block_search import to_failed_block
from windhover.inference.candidates import Candidates
from windhover.inference.multi_scale import ScalePass
from windhover.inference.scorer import RawScores, WindowScores
from windhover.inference.search_results import BlockResult, FailedBlock


class Tiles(Protocol):
    """A network that scores any part of a scene, the same in any part that is asked for."""

    device: str
    inference_precision: str
    runtime: str

    def levels(self, read: ReadBlock, shape_hw: tuple[int, int]) -> Any:
        """Return what the network must know of a whole scene; None for nothing."""

    def score(
        self,
        read: ReadBlock,
        shape_hw: tuple[int, int],
        extent: tuple[int, int, int, int],
        levels: Any = None,
    ) -> NDArray[np.float32]:
        """Return logits (K, rows, cols) of row0, row1, col0, col1; NaN where there is no data."""


class PixelScorer:
    """A network that scores pixels, as a search knows its scorers; a window is one px of a map.

    Attributes:
        tiles: the network.
        window_px: 1.
        stride_px: 1.
        dense: True: all of a block is scored at once.
        device: name of the device.
        inference_precision: number type of the arithmetic.
        runtime: library that computes.
        batch_px: 1: the network itself knows how much it computes at once.
        padding_value: None: what is beyond a scene is its mirror image.
    """

    def __init__(self, tiles: Tiles) -> None:
        """Take a network that scores any part of a scene."""
        self.tiles = tiles
        self.window_px = 1
        self.stride_px = 1
        self.dense = True
        self.device = tiles.device
        self.inference_precision = tiles.inference_precision
        self.runtime = tiles.runtime
        self.batch_px = 1
        self.padding_value: tuple[float, ...] | None = None

    def score(self, block: NDArray[np.generic]) -> RawScores:
        """Score the px of a picture in memory.

        Args:
            block: (C, H, W) pixels as read.

        Returns:
            Logits (K, H, W); offsets and log sizes are 0.
        """
        valid = np.ones(block.shape[1:], bool)

        def read(row: int, col: int, height: int, width: int) -> tuple[Any, Any]:
            part = (slice(row, row + height), slice(col, col + width))
            return block[:, *part], valid[part]

        height, width = block.shape[1:]
        levels = self.tiles.levels(read, (height, width))
        logits = self.tiles.score(read, (height, width), (0, height, 0, width), levels)
        nothing = np.zeros((2, height, width), np.float32)
        return RawScores(logits, nothing, nothing)

    def score_windows(self, windows: NDArray[np.generic]) -> WindowScores:
        """Score the px in the middle of each of N windows (N, C, S, S)."""
        middle = windows.shape[-1] // 2
        logits = [self.score(window).logits[:, middle, middle] for window in windows]
        nothing = np.zeros((len(windows), 2), np.float32)
        return WindowScores(np.stack(logits), nothing, nothing)


@dataclass(frozen=True)
class PixelBlockSearch:
    """How the blocks of a scene are scored px by px.

    Attributes:
        scorer: of the network.
    """

    scorer: PixelScorer

    def run(
        self,
        scale_pass: ScalePass,
        *,
        failed: list[FailedBlock],
        finished: Collection[int] = (),
        keep_logits: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Block, BlockResult]]:
        """Yield each block's result in reading order.

        Args:
            scale_pass: whose blocks.
            failed: blocks that cannot be read are added to it and left out.
            finished: numbers of blocks that are left out.
            keep_logits: whether the results keep the logits.
            progress: called with the Mpx just done.
        """
        lattice = scale_pass.lattice
        read = scale_pass.grid.read
        levels = self.scorer.tiles.levels(read, lattice.shape_hw)
        for block in scale_pass.blocks:
            if block.number in finished:
                continue
            extent = (block.row0, block.row1, block.col0, block.col1)
            try:
                logits = self.scorer.tiles.score(read, lattice.shape_hw, extent, levels)
            except FormatError as error:
                failed.append(to_failed_block(scale_pass, block, error))
                continue
            known = np.isfinite(logits).all(axis=0)
            searched = int(known.sum())
            kept = None
            if keep_logits and searched:
                kept = np.where(known, logits, np.float32(-np.inf))
            yield block, BlockResult(Candidates.empty(), searched, known.size - searched, kept)
            if progress is not None:
                progress(scale_pass.block_area_px(block) / 1e6)
