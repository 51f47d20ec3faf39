"""The passes of a search: a scene at each GSD, its lattice of windows, and the blocks to be read.

Plans only: reads no pixel of the passes and scores nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.errors import ParameterError
from windhover.geometry.georef import world_to_pixel
from windhover.geometry.lattice import Block, Lattice
from windhover.imagery.overviews import FULL_EXTENT, downsampled_scene
from windhover.imagery.rasters import CACHE_BYTES
from windhover.imagery.scenes import Scene
from windhover.inference.peaks import margin_cells
from windhover.inference.scorer import Scorer
from windhover.inference.search_settings import SearchSettings

BLOCK_PX = 2048  # its halo of 72 px is 7 % more to score
MIN_BLOCK_HEIGHT_PX = 256  # its halo of 72 px is 28 % more to score
FILTER_PX = 2  # px of the grid that resampling reads around a pixel's own
# searched around an area, so that what is found inside does not depend on its outline
AOI_MARGIN_WINDOWS = 2


@dataclass(frozen=True)
class ScalePass:
    """One search of a scene at one GSD: its grid, lattice and blocks.

    Attributes:
        number: place in `SearchSettings.scales`.
        scale_xy: px of the scene in a px of the grid.
        settings: of the search.
        grid: the scene at the pass's GSD.
        lattice: of the grid's windows.
        blocks: to be searched, in reading order.
        aoi_fraction: share of the blocks' ground that is in the area of interest; around an area
            more is searched.
    """

    number: int
    scale_xy: tuple[float, float]
    settings: SearchSettings
    grid: Scene
    lattice: Lattice
    blocks: tuple[Block, ...]
    aoi_fraction: float = 1.0

    @property
    def mpx(self) -> float:
        """Px of the grid that all blocks stand for, in millions."""
        return sum(self.block_area_px(block) for block in self.blocks) / 1e6

    def block_area_px(self, block: Block) -> int:
        """Return the px of the grid that a block stands for, halo excluded."""
        cells = (block.row1 - block.row0) * (block.col1 - block.col0)
        return cells * self.lattice.stride_px**2


def plan_passes(
    scorer: Scorer,
    scene: Scene,
    settings: SearchSettings,
    *,
    aoi: BaseGeometry | None = None,
    block_px: int | None = None,
) -> list[ScalePass]:
    """Return the passes over a scene, each with the blocks it must read.

    Args:
        scorer: network at the settings' stride.
        scene: at the training GSD.
        settings: stride and scales.
        aoi: polygon in the scene's coordinate system; all of the scene without one.
        block_px: side of the blocks.

    Raises:
        ParameterError: scorer and settings disagree about the stride.
    """
    if settings.stride_px != scorer.stride_px:
        raise ParameterError(
            f"the search is at stride {settings.stride_px} px and the scorer at "
            f"{scorer.stride_px} px. Make them equal."
        )
    passes = []
    for number, scale in enumerate(settings.scales):
        grid = scene
        if scale != 1.0:
            grid = downsampled_scene(scene, scale, _relative_bounds(aoi, scene))
        lattice = Lattice(grid.shape_hw, scorer.window_px, scorer.stride_px)
        blocks = _plan_blocks(lattice, grid, block_px or BLOCK_PX)
        aoi_fraction = 1.0
        if aoi is not None:
            area = _to_grid_px(aoi, grid)
            blocks = tuple(_blocks_in_area(lattice, blocks, area))
            aoi_fraction = _fraction_in_area(lattice, blocks, area)
        scale_xy = (
            grid.ratio_xy[0] / scene.ratio_xy[0],
            grid.ratio_xy[1] / scene.ratio_xy[1],
        )
        passes.append(ScalePass(number, scale_xy, settings, grid, lattice, blocks, aoi_fraction))
    return passes


def _plan_blocks(lattice: Lattice, grid: Scene, block_px: int) -> tuple[Block, ...]:
    """Return the blocks of a whole grid."""
    filter_px = FILTER_PX
    if grid.ratio_xy == (1.0, 1.0):
        filter_px = 0
    block_hw = _block_shape(grid, block_px)
    margin = margin_cells(lattice.stride_px)
    return tuple(lattice.blocks(block_hw, grid.file_block_hw, margin=margin, filter_px=filter_px))


def _block_shape(grid: Scene, block_px: int) -> tuple[int, int]:
    """Return height and width of blocks of `block_px` squared; flat ones for very long strips.

    A strip is as wide as the raster and decoded whole. The blocks of one row share their strips
    only as long as GDAL's cache holds them: else each block would decode them all again.
    """
    source = grid.source
    if not source.is_striped:
        return block_px, block_px
    row_bytes = source.width_px * len(source.bands) * grid.dtype.itemsize
    cached_rows = int(CACHE_BYTES / 2 / row_bytes / grid.grid.source_ratio_xy[1])
    height = min(block_px, max(cached_rows, MIN_BLOCK_HEIGHT_PX))
    return height, block_px**2 // height


def _relative_bounds(aoi: BaseGeometry | None, scene: Scene) -> tuple[float, float, float, float]:
    """Return the bounds of an area in shares of a scene's width and height, xyxy."""
    if aoi is None or aoi.is_empty:
        return FULL_EXTENT
    left, top, right, bottom = _to_grid_px(aoi, scene).bounds
    height, width = scene.shape_hw
    return left / width, top / height, right / width, bottom / height


def _to_grid_px(aoi: BaseGeometry, grid: Scene) -> BaseGeometry:
    """Return a map polygon in the grid's px."""

    def to_px(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(world_to_pixel(grid.transform, xy[:, 0], xy[:, 1]), axis=1)

    return shapely.transform(aoi, to_px)


def _blocks_in_area(
    lattice: Lattice, blocks: Sequence[Block], area: BaseGeometry
) -> Iterator[Block]:
    """Yield the parts of blocks that are near an area in px: its bounds in each, and a margin."""
    area = area.buffer(AOI_MARGIN_WINDOWS * lattice.window_px)
    shapely.prepare(area)
    for block in blocks:
        row0, row1, col0, col1 = lattice.extent_px(block)
        part = area.intersection(shapely.box(col0, row0, col1, row1))
        if part.is_empty:
            continue
        narrowed = lattice.clip_block(block, part.bounds)
        if narrowed is not None:
            yield narrowed


def _fraction_in_area(lattice: Lattice, blocks: Sequence[Block], area: BaseGeometry) -> float:
    """Return which share of the ground that blocks stand for is in an area in px."""
    height, width = lattice.shape_hw
    rows, cols = lattice.shape_cells
    cells = 0
    for block in blocks:
        cells += (block.row1 - block.row0) * (block.col1 - block.col0)
    searched = cells / (rows * cols)
    if not searched:
        return 1.0
    in_area = area.intersection(shapely.box(0, 0, width, height)).area / (height * width)
    return float(min(in_area / searched, 1.0))
