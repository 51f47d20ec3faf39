"""The blocks of a search: which are read, how they are read ahead, and what of each is kept.

A block is read on a thread of its own while the one before is computed, scored densely, reduced to
its peaks and forgotten, so memory does not grow with the raster. Knows neither duplicates nor
thresholds: `detector` does.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError, ParameterError
from windhover.geometry.georef import world_to_pixel
from windhover.geometry.lattice import Block, Lattice, read_mirrored, seen_windows
from windhover.imagery.overviews import WHOLE, coarser
from windhover.imagery.rasters import CACHE_BYTES
from windhover.imagery.scenes import Scene
from windhover.inference.dense import DenseScorer, RawScores
from windhover.inference.peak_tta import SYMMETRIES, mean_over_symmetries
from windhover.inference.peaks import CANDIDATE, Again, find_peaks, margin_cells

BLOCK_PX = 2048  # its halo of 72 px costs 7 %
LOWEST_BLOCK_PX = 256  # its halo of 72 px costs 28 %
LARGE_BLOCK_PX = 2**21  # from here on what a block leaves behind is worth giving back
FILTER_PX = 2  # px of the grid that resampling looks at beside a pixel's own
AOI_MARGIN_WINDOWS = (
    2  # searched around an area, so that what is found inside does not depend on its outline
)

Progress = Callable[[float], None]


@dataclass(frozen=True)
class SearchSettings:
    """How a scene is searched, as far as it can change what is found."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    stride_px: int = 8
    scales: tuple[float, ...] = (
        1.0,
    )  # GSD of each pass in units of the training GSD; 2.0 for objects larger than a window
    merge_distance: float = 0.5  # in units of the smaller object's size
    merge_iou: float = 0.3
    peak_tta: int = (
        0  # 1: a peak is looked at again with its object in the middle; 8: in all eight symmetries
    )
    rescore_min_logit: float = -1.0  # lowest raw logit of a peak that is looked at again

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ParameterError(
                f"`scales` must hold numbers above 0, got {self.scales}. Set evaluate.scales, such as [1.0]."
            )
        if not 0 <= self.merge_distance < math.inf or not 0 < self.merge_iou <= 1:
            raise ParameterError(
                f"`merge_distance` must be 0 or more and `merge_iou` in (0, 1], "
                f"got {self.merge_distance} and {self.merge_iou}. Set them in the section evaluate."
            )
        if self.peak_tta not in (0, 1, 8):
            raise ParameterError(
                f"`peak_tta` must be 0, 1 or 8, got {self.peak_tta}. Set evaluate.peak_tta."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SearchSettings:
        """Read settings; unknown names and other types are refused.

        Raises:
            FormatError: a name or a value that is not a setting's.
        """
        try:
            return TypeAdapter(cls).validate_json(
                json.dumps(values)
            )  # as JSON, where a tuple is a list
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f" `{part}`:" for part in first["loc"])
            rule = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise FormatError(f"search settings:{place} {rule}. Run evaluate again.") from None


@dataclass(frozen=True)
class FailedBlock:
    """A part of a scene that could not be read, px of its raster."""

    scene: str
    row_px: int
    col_px: int
    height_px: int
    width_px: int
    reason: str


@dataclass
class SearchReport:
    """What was searched, counted while it is; windows and px over all passes, km2 once."""

    windows_searched: int = 0
    windows_skipped: int = 0  # no valid pixel in them
    mpx: float = 0.0
    km2: float = 0.0
    failed: list[FailedBlock] = field(default_factory=list)


@dataclass(frozen=True)
class BlockResult:
    """What one block gave, all that is kept of it."""

    candidates: NDArray[np.void]
    searched: int
    skipped: int
    scores: NDArray[np.float32] | None = (
        None  # (K, rows, cols) logits of the owned cells, for a score map
    )


@dataclass(frozen=True)
class Pass:
    """One search of a scene at one GSD: its grid, lattice and blocks."""

    number: int
    scale_xy: tuple[float, float]  # px of the scene in a px of the grid
    settings: SearchSettings
    grid: Scene
    lattice: Lattice
    blocks: tuple[Block, ...]
    wanted: float = (
        1.0  # share of the blocks' ground that is asked for: around an area more is searched
    )

    def own_px(self, block: Block) -> int:
        """Return the px of the grid that a block stands for."""
        return (block.row1 - block.row0) * (block.col1 - block.col0) * self.lattice.stride_px**2


def plan_passes(
    scorer: DenseScorer,
    scene: Scene,
    settings: SearchSettings,
    aoi: BaseGeometry | None = None,
    block_px: int | None = None,
) -> list[Pass]:
    """Return the passes over a scene, each with the blocks it must read.

    Raises:
        ParameterError: scorer and settings disagree about the stride.
    """
    if settings.stride_px != scorer.stride_px:
        raise ParameterError(
            f"the search is at stride {settings.stride_px} px and the scorer at {scorer.stride_px} px. Make them equal."
        )
    passes = []
    for number, scale in enumerate(settings.scales):
        grid = scene if scale == 1.0 else coarser(scene, scale, _part(aoi, scene))
        lattice = Lattice(grid.shape_hw, scorer.window_px, scorer.stride_px)
        margin, slack = (
            margin_cells(scorer.stride_px),
            0 if grid.ratio_xy == (1.0, 1.0) else FILTER_PX,
        )
        blocks = lattice.blocks(_sides(grid, block_px or BLOCK_PX), grid.block_hw, margin, slack)
        scale_xy = grid.ratio_xy[0] / scene.ratio_xy[0], grid.ratio_xy[1] / scene.ratio_xy[1]
        if aoi is None:
            passes.append(Pass(number, scale_xy, settings, grid, lattice, tuple(blocks)))
            continue
        area = _to_grid(aoi, grid)
        inside = tuple(_blocks_inside(lattice, blocks, area))
        passes.append(
            Pass(number, scale_xy, settings, grid, lattice, inside, _wanted(lattice, inside, area))
        )
    return passes


def _sides(grid: Scene, block_px: int) -> tuple[int, int]:
    """Return height and width of blocks of `block_px` squared; flat ones for strips too long to be
    kept meanwhile.

    A strip is as wide as the raster and decoded whole. The blocks of one row share their strips
    only as long as GDAL's
    cache holds them: else each block would decode them all again.
    """
    source = grid.source
    if not source.striped:
        return block_px, block_px
    a_row = source.width_px * len(source.bands) * grid.dtype.itemsize
    kept = int(CACHE_BYTES / 2 / a_row / grid.source_ratio_xy[1])
    height = min(block_px, max(kept, LOWEST_BLOCK_PX))
    return height, block_px**2 // height


def _part(aoi: BaseGeometry | None, scene: Scene) -> tuple[float, float, float, float]:
    """Return between which shares of a scene's width and height an area lies, left, top, right,
    bottom.
    """
    if aoi is None or aoi.is_empty:
        return WHOLE
    (left, top, right, bottom), (height, width) = _to_grid(aoi, scene).bounds, scene.shape_hw
    return left / width, top / height, right / width, bottom / height


def _to_grid(aoi: BaseGeometry, grid: Scene) -> BaseGeometry:
    """Return a map polygon in the grid's px."""
    return shapely.transform(
        aoi, lambda xy: np.stack(world_to_pixel(grid.transform, xy[:, 0], xy[:, 1]), axis=1)
    )


def _blocks_inside(
    lattice: Lattice, blocks: Iterator[Block], area: BaseGeometry
) -> Iterator[Block]:
    """Yield the parts of blocks that are near an area in px: its bounds within each block, and a
    margin.
    """
    area = area.buffer(AOI_MARGIN_WINDOWS * lattice.window_px)
    shapely.prepare(area)
    for block in blocks:
        row0, row1, col0, col1 = lattice.extent_px(block)
        part = area.intersection(shapely.box(col0, row0, col1, row1))
        narrowed = None if part.is_empty else lattice.narrowed(block, part.bounds)
        if narrowed is not None:
            yield narrowed


def _wanted(lattice: Lattice, blocks: Sequence[Block], area: BaseGeometry) -> float:
    """Return which share of the ground that blocks stand for lies in an area in px."""
    (height, width), (rows, cols) = lattice.shape_hw, lattice.shape_cells
    searched = sum((block.row1 - block.row0) * (block.col1 - block.col0) for block in blocks) / (
        rows * cols
    )
    asked = area.intersection(shapely.box(0, 0, width, height)).area / (height * width)
    return float(min(asked / searched, 1.0)) if searched else 1.0


def search_blocks(
    scorer: DenseScorer,
    search: Pass,
    min_logit: float | Sequence[float],
    report: SearchReport,
    progress: Progress | None = None,
    keep_scores: bool = False,
    skip: frozenset[int] = frozenset(),
    second_stage: DenseScorer | None = None,
) -> Iterator[tuple[Block, BlockResult]]:
    """Yield each block's result in reading order, the next block being read meanwhile.

    A block that cannot be read is noted in the report and left out; `skip` holds numbers of blocks
    already done. Where peaks are looked at again, a `second_stage` scores them too, and the mean of
    both logits is theirs.
    """
    wanted = [block for block in search.blocks if block.number not in skip]
    margin = margin_cells(search.lattice.stride_px)

    def read(block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        wide = search.lattice.widened(block, margin)
        return read_mirrored(
            search.grid.read, search.lattice.shape_hw, search.lattice.extent_px(wide)
        )

    for block, reading in _ahead(read, wanted, readers=1 if scorer.device.type == "cpu" else 8):
        try:
            pixels, valid = reading.result()
        except FormatError as error:
            report.failed.append(_failed(search, block, error))
            continue
        yield (
            block,
            _search_block(
                scorer, second_stage, search, block, pixels, valid, min_logit, keep_scores
            ),
        )
        if pixels[0].size >= LARGE_BLOCK_PX:
            _give_back_memory()
        if progress is not None:
            progress(search.own_px(block) / 1e6)


def _give_back_memory() -> None:
    """Return freed memory to the system, where the C library can: in long runs it would pile up in
    fragments.

    Asking for it anew takes a tenth of the time of a small raster, whose fragments are small.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _ahead(
    read: Callable[[Block], Any], blocks: Sequence[Block], readers: int
) -> Iterator[tuple[Block, Future[Any]]]:
    """Yield blocks with their readings, keeping `readers` of them under way: memory is bounded by
    these alone.

    A single block is read here and now: a thread would open the file again, a tenth of the time of
    a small raster, and nothing could be computed meanwhile.
    """
    if len(blocks) == 1:
        reading: Future[Any] = Future()
        try:
            reading.set_result(read(blocks[0]))
        except FormatError as error:
            reading.set_exception(error)
        yield blocks[0], reading
        return
    with ThreadPoolExecutor(readers, thread_name_prefix="windhover-read") as pool:
        coming = iter(blocks)
        under_way = deque(
            (block, pool.submit(read, block)) for block in itertools.islice(coming, readers)
        )
        try:
            while under_way:
                block, reading = under_way.popleft()
                # wait, so that at most `readers` blocks wait beside the one in hand
                reading.exception()
                under_way.extend(
                    (block, pool.submit(read, block)) for block in itertools.islice(coming, 1)
                )
                yield block, reading
        finally:
            for _, reading in under_way:
                reading.cancel()


def _search_block(
    scorer: DenseScorer,
    second_stage: DenseScorer | None,
    search: Pass,
    block: Block,
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    min_logit: float | Sequence[float],
    keep_scores: bool,
) -> BlockResult:
    lattice = search.lattice
    wide = lattice.widened(block, margin_cells(lattice.stride_px))
    own = (
        slice(block.row0 - wide.row0, block.row1 - wide.row0),
        slice(block.col0 - wide.col0, block.col1 - wide.col0),
    )
    seen = seen_windows(valid, lattice.window_px, lattice.stride_px)
    searched = int(seen[own].sum())
    skipped = seen[own].size - searched
    if searched == 0:
        return BlockResult(np.zeros(0, CANDIDATE), 0, skipped)
    maps = scorer.score(pixels)
    logits = np.where(seen, maps.logits, -np.inf)
    floors = np.broadcast_to(np.asarray(min_logit, np.float64), (len(logits),))
    raw = RawScores(logits, maps.offsets_px, maps.log_sizes)
    if not search.settings.peak_tta:
        candidates = find_peaks(lattice, wide, block, raw, floors)
    else:
        # which windows are looked at again must not depend on the threshold: an object stays what
        # it was in evaluation
        first = search.settings.rescore_min_logit
        symmetries = SYMMETRIES[: search.settings.peak_tta]
        look = partial(
            mean_over_symmetries, scorer, pixels, symmetries=symmetries, second_stage=second_stage
        )
        again = Again(look, first)
        candidates = find_peaks(lattice, wide, block, raw, np.minimum(floors, first), again)
        logit = candidates["logit"]
        candidates = candidates[np.isfinite(logit) & (logit >= floors[candidates["class_index"]])]
    for name, times in zip(("col", "row", "w", "h"), search.scale_xy * 2, strict=True):
        candidates[name] *= times
    return BlockResult(candidates, searched, skipped, logits[:, *own] if keep_scores else None)


def _failed(search: Pass, block: Block, error: FormatError) -> FailedBlock:
    row0, row1, col0, col1 = search.lattice.extent_px(block)
    (x, y), info = search.grid.ratio_xy, search.grid.info
    top, left = int(max(row0, 0) * y), int(max(col0, 0) * x)
    bottom, right = min(int(row1 * y), info.height_px), min(int(col1 * x), info.width_px)
    return FailedBlock(info.name, top, left, bottom - top, right - left, error.sentence())


def note(report: SearchReport, search: Pass, block: Block, result: BlockResult) -> None:
    """Count one block's result."""
    report.windows_searched += result.searched
    report.windows_skipped += result.skipped
    report.mpx += search.own_px(block) / 1e6
    if search.number == 0:
        info = search.grid.info
        area = info.width_px * info.gsd_m[0] * info.height_px * info.gsd_m[1] / 1e6
        rows, cols = search.lattice.shape_cells
        report.km2 += area * result.searched / (rows * cols) * search.wanted
