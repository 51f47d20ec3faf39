"""The map of one scene by a model of coverage, in memory: logits of every cell, and cells as px.

The same search as for objects, of which the logits of the windows are kept and no candidate is. A
cell is the square of one stride in the middle of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Ints
from windhover.geometry.lattice import Lattice
from windhover.imagery.scenes import Scene
from windhover.inference.scene_search import Progress, SceneSearch
from windhover.inference.scorer import Scorer
from windhover.inference.search_results import BlockResult
from windhover.inference.search_settings import SearchSettings

Number = TypeVar("Number", bound=np.generic)
NO_CANDIDATE = float("inf")  # a logit that no window reaches


@dataclass(frozen=True)
class CoverageMap:
    """Logits of the cells of a scene.

    Attributes:
        logits: (K, rows, cols) of the classes, NaN where there is no data.
        lattice: of the windows; its first cell is the map's.
    """

    logits: NDArray[np.float32]
    lattice: Lattice


def coverage_settings(stride_px: int) -> SearchSettings:
    """Return the settings of a search for maps: one pass, and nothing scored twice."""
    return SearchSettings(stride_px=stride_px, peak_tta="none")


def map_scene(
    scorer: Scorer,
    scene: Scene,
    n_classes: int,
    *,
    block_px: int | None = None,
    progress: Progress | None = None,
) -> CoverageMap:
    """Score every cell of a scene.

    Args:
        scorer: of the model's network.
        scene: opened at the training GSD, with the training bands.
        n_classes: of the model.
        block_px: side of the blocks; changes memory and speed alone.
        progress: called with the Mpx just done.

    Raises:
        FormatError: a block cannot be read.
    """
    search = SceneSearch.plan(
        scorer,
        scene,
        coverage_settings(scorer.stride_px),
        min_logit=NO_CANDIDATE,
        block_px=block_px,
        keep_logits=True,
        cells_alone=True,
    )
    lattice = search.nearest_pass.lattice
    kept = _LogitKeeper(search, np.full((n_classes, *lattice.shape_cells), np.nan, np.float32))
    search.run(progress=progress, journal=kept)
    return CoverageMap(kept.logits, lattice)


class _LogitKeeper:
    """A journal that keeps the logits of finished blocks, and resumes nothing."""

    def __init__(self, search: SceneSearch, logits: NDArray[np.float32]) -> None:
        """Take the search and the array that is filled."""
        self.logits = logits
        shown = search.nearest_pass
        self._lattice = shown.lattice
        self._blocks = {block.number: block for block in shown.blocks}

    def load(self, pass_number: int, block_number: int) -> BlockResult | None:
        """Return None: no block is finished before the search."""
        return None

    def save(self, pass_number: int, block_number: int, result: BlockResult) -> None:
        """Put the logits of a block in their place."""
        if result.logits is None:
            return
        block = self._blocks[block_number]
        rows = slice(block.row0 - self._lattice.rows[0], block.row1 - self._lattice.rows[0])
        cols = slice(block.col0 - self._lattice.cols[0], block.col1 - self._lattice.cols[0])
        known = np.isfinite(result.logits)
        self.logits[:, rows, cols] = np.where(known, result.logits, np.nan)


def cells_of_px(lattice: Lattice) -> tuple[Ints, Ints]:
    """Return the row (H,) and the column (W,) of the map's cell that each px of a scene is in."""
    margin = (lattice.window_px - lattice.stride_px) / 2
    rows, cols = (
        np.floor((np.arange(length) - margin) / lattice.stride_px).astype(np.int64) - first
        for length, first in zip(lattice.shape_hw, (lattice.rows[0], lattice.cols[0]), strict=True)
    )
    n_rows, n_cols = lattice.shape_cells
    return rows.clip(0, n_rows - 1), cols.clip(0, n_cols - 1)


def px_of_cells(lattice: Lattice) -> tuple[Ints, Ints]:
    """Return the row (r,) and the column (c,) of the px in the middle of each cell, in the scene.

    Cells at a border have their middle on it: theirs is the nearest px.
    """
    middles = []
    for (first, stop), length in zip((lattice.rows, lattice.cols), lattice.shape_hw, strict=True):
        middle = np.arange(first, stop) * lattice.stride_px + lattice.window_px // 2
        middles.append(middle.clip(0, length - 1))
    return middles[0], middles[1]


def to_px(values: NDArray[Number], lattice: Lattice, rows: slice | None = None) -> NDArray[Number]:
    """Return the value of its cell for each px of a scene.

    Args:
        values: (..., r, c) of the cells.
        lattice: of the map.
        rows: of the scene; all by default.

    Returns:
        (..., H, W).
    """
    row, col = cells_of_px(lattice)
    if rows is not None:
        row = row[rows]
    result: NDArray[Number] = values[..., row[:, None], col]
    return result
