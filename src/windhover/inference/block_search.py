"""Searching the blocks of a pass: read ahead, scored, and reduced to their candidates.

A block is read on a thread of its own while the one before is scored, reduced to its peaks and
forgotten, so memory does not grow with the raster. Knows neither duplicates nor thresholds.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.geometry.lattice import (
    Block,
    cells_with_data,
    outside_scene,
    pad_outside,
    read_mirrored,
    windows_with_data,
)
from windhover.geometry.windows import Bounds
from windhover.inference.border_views import BorderViews, score_windows_at
from windhover.inference.candidates import Candidates
from windhover.inference.multi_scale import ScalePass
from windhover.inference.peak_tta import SYMMETRIES, d4_test_time_augmentation
from windhover.inference.peaks import Rescorer, find_peaks, margin_cells
from windhover.inference.scorer import RawScores, Scorer
from windhover.inference.search_results import BlockResult, FailedBlock

RETURN_PX = 2**21  # of blocks, after which the memory that they leave behind is worth returning
GPU_READERS = 8  # blocks read ahead for a GPU, which is faster than one reader
CPU_READERS = 1
# An object whose centre is seen farther outside than this belongs to what lies beyond the scene;
# chosen on validation. Where borders are mirrored, a centre outside cannot be told.
PADDED_OUTSIDE_PX = 2.0


class BlockPixels(NamedTuple):
    """Pixels of a block with its margin, as read."""

    views: BorderViews
    valid: NDArray[np.bool_]  # (H, W)


@dataclass(frozen=True)
class BlockSearch:
    """How the blocks of a scene are searched.

    Attributes:
        scorer: of the network.
        min_logits: (K,) lowest raw logit of interest for each class, or one for all.
        second_stage: of another network, for the peaks that are scored again; the mean of both
            logits counts.
        cells_alone: whether kept logits are those of windows with data in their middle, the square
            of a stride that a score map shows of them; else of windows with data anywhere.
    """

    scorer: Scorer
    min_logits: float | Sequence[float]
    second_stage: Scorer | None = None
    cells_alone: bool = False

    def run(
        self,
        scale_pass: ScalePass,
        *,
        failed: list[FailedBlock],
        finished: Collection[int] = (),
        keep_logits: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[Block, BlockResult]]:
        """Yield each block's result in reading order, the next block being read meanwhile.

        Args:
            scale_pass: whose blocks.
            failed: blocks that cannot be read are added to it and left out.
            finished: numbers of blocks that are left out.
            keep_logits: whether the results keep the logits of all windows.
            progress: called with the Mpx just done.
        """
        remaining = [block for block in scale_pass.blocks if block.number not in finished]
        n_readers = CPU_READERS
        if self.scorer.device != "cpu":
            n_readers = GPU_READERS
        read = partial(_read_block, scale_pass, self.scorer.padding_value)
        for block, reading in _read_ahead(read, remaining, n_readers):
            try:
                block_pixels = reading.result()
            except FormatError as error:
                failed.append(to_failed_block(scale_pass, block, error))
                continue
            yield block, self._search(scale_pass, block, block_pixels, keep_logits=keep_logits)
            _freed_memory.add(block_pixels.valid.size)
            if progress is not None:
                progress(scale_pass.block_area_px(block) / 1e6)

    def _search(
        self,
        scale_pass: ScalePass,
        block: Block,
        block_pixels: BlockPixels,
        *,
        keep_logits: bool,
    ) -> BlockResult:
        """Return what one block holds."""
        lattice = scale_pass.lattice
        scored = lattice.expand_block(block, margin_cells(lattice.stride_px))
        owned_rows = slice(block.row0 - scored.row0, block.row1 - scored.row0)
        owned_cols = slice(block.col0 - scored.col0, block.col1 - scored.col0)
        has_valid_px = windows_with_data(block_pixels.valid, lattice.window_px, lattice.stride_px)
        owned_cells = has_valid_px[owned_rows, owned_cols]
        searched = int(owned_cells.sum())
        skipped = owned_cells.size - searched
        if searched == 0:
            return BlockResult(Candidates.empty(), 0, skipped)
        views = block_pixels.views
        maps = self.scorer.score(views.pixels)
        logits = np.where(has_valid_px, maps.logits, -np.inf)
        peak_logits = logits
        if views.mirrored is not None:
            peak_logits = np.where(lattice.is_centered_inside(scored), logits, -np.inf)
        scores = RawScores(peak_logits, maps.offsets_px, maps.log_sizes)
        candidates = self._find_candidates(scale_pass, block, scores, views)
        kept_logits = None
        if keep_logits and self.cells_alone:
            has_data = cells_with_data(block_pixels.valid, lattice)
            kept_logits = np.where(has_data, logits, -np.inf)[:, owned_rows, owned_cols]
        elif keep_logits:
            kept_logits = logits[:, owned_rows, owned_cols]
        candidates = candidates.scaled(scale_pass.scale_xy)
        return BlockResult(candidates, searched, skipped, kept_logits)

    @property
    def _outside_px(self) -> float | None:
        """How far outside the scene a centre may be, px; None for what a mirror image needs."""
        return None if self.scorer.padding_value is None else PADDED_OUTSIDE_PX

    def _find_candidates(
        self, scale_pass: ScalePass, block: Block, scores: RawScores, views: BorderViews
    ) -> Candidates:
        """Return the candidates of a block, px of the pass's grid."""
        lattice = scale_pass.lattice
        settings = scale_pass.settings
        min_logits = np.broadcast_to(np.asarray(self.min_logits, np.float64), (len(scores.logits),))
        find = partial(
            find_peaks,
            scores,
            lattice=lattice,
            scored=lattice.expand_block(block, margin_cells(lattice.stride_px)),
            owned=block,
            outside_px=self._outside_px,
        )
        if settings.peak_tta == "none":
            return find(min_logits=min_logits)
        score_windows = partial(
            d4_test_time_augmentation,
            self.scorer,
            symmetries=SYMMETRIES[settings.peak_tta],
            second_stage=self.second_stage,
        )
        score_at = partial(score_windows_at, score_windows, views, self.scorer.window_px)
        # Which windows are scored again must not depend on the threshold: an object stays what it
        # was in evaluation.
        rescorer = Rescorer(score_at, settings.rescore_min_logit)
        lowest = np.minimum(min_logits, settings.rescore_min_logit)
        candidates = find(min_logits=lowest, rescorer=rescorer)
        logits = candidates.logits
        is_high = np.isfinite(logits) & (logits >= min_logits[candidates.class_index])
        return candidates.select(is_high)


def _read_block(
    scale_pass: ScalePass, padding_value: Sequence[float] | None, block: Block
) -> BlockPixels:
    """Return the pixels of a block and its margin, padded beyond the borders of the scene."""
    lattice = scale_pass.lattice
    scored = lattice.expand_block(block, margin_cells(lattice.stride_px))
    extent = lattice.extent_px(scored)
    pixels, valid = read_mirrored(scale_pass.grid.read, lattice.shape_hw, extent)
    if padding_value is None:
        return BlockPixels(BorderViews(pixels), valid)
    outside = outside_scene(lattice.shape_hw, extent)
    if not outside.any():
        return BlockPixels(BorderViews(pixels), valid)
    padded = pad_outside(pixels, outside, padding_value)
    return BlockPixels(BorderViews(padded, pixels, outside), valid & ~outside)


class _FreedMemory:
    """Memory that searched blocks left behind, of one large raster or of many small ones."""

    def __init__(self) -> None:
        """Begin with none."""
        self._px = 0

    def add(self, px: int) -> None:
        """Count a block, and return freed memory to the system where it has become much.

        In long runs it would pile up in fragments: 3 MiB a raster of 200 px. Allocating it anew
        takes a tenth of the time of a small raster, so it is not returned for each.
        """
        self._px += px
        if self._px < RETURN_PX:
            return
        self._px = 0
        if sys.platform != "linux":
            return
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)


_freed_memory = _FreedMemory()


def _read_ahead(
    read: Callable[[Block], BlockPixels], blocks: Sequence[Block], n_readers: int
) -> Iterator[tuple[Block, Future[BlockPixels]]]:
    """Yield blocks with their readings, `n_readers` of them under way: this bounds memory.

    A single block is read at once: a thread would open the file again, a tenth of the time of a
    small raster, and nothing could be computed meanwhile.
    """
    if len(blocks) == 1:
        yield blocks[0], _read_now(read, blocks[0])
        return
    with ThreadPoolExecutor(n_readers, thread_name_prefix="windhover-read") as pool:
        upcoming = iter(blocks)
        under_way = deque(
            (block, pool.submit(read, block)) for block in itertools.islice(upcoming, n_readers)
        )
        try:
            while under_way:
                block, reading = under_way.popleft()
                # wait, so that at most `n_readers` blocks are in memory besides the current one
                reading.exception()
                for following in itertools.islice(upcoming, 1):
                    under_way.append((following, pool.submit(read, following)))
                yield block, reading
        finally:
            for _, reading in under_way:
                reading.cancel()


def _read_now(read: Callable[[Block], BlockPixels], block: Block) -> Future[BlockPixels]:
    """Return a finished reading of a block."""
    reading: Future[BlockPixels] = Future()
    try:
        reading.set_result(read(block))
    except FormatError as error:
        reading.set_exception(error)
    return reading


def to_failed_block(scale_pass: ScalePass, block: Block, error: FormatError) -> FailedBlock:
    """Return which px of the raster could not be read, and why."""
    bounds = block_bounds(scale_pass, block)
    return FailedBlock(
        scale_pass.grid.info.name,
        row_px=bounds.top,
        col_px=bounds.left,
        height_px=bounds.bottom - bounds.top,
        width_px=bounds.right - bounds.left,
        reason=error.sentence(),
    )


def block_bounds(scale_pass: ScalePass, block: Block) -> Bounds:
    """Return which px of the raster the windows of a block cover."""
    row0, row1, col0, col1 = scale_pass.lattice.extent_px(block)
    ratio_x, ratio_y = scale_pass.grid.ratio_xy
    info = scale_pass.grid.info
    return Bounds(
        int(max(row0, 0) * ratio_y),
        min(int(row1 * ratio_y), info.height_px),
        left=int(max(col0, 0) * ratio_x),
        right=min(int(col1 * ratio_x), info.width_px),
    )
