"""What a search returns: results of blocks, the report of what was searched, results of scenes.

Plain records; computes nothing but their sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from windhover.inference.candidates import Candidates


@dataclass(frozen=True)
class BlockResult:
    """All that is kept of one block.

    Attributes:
        candidates: in px of the scene.
        windows_searched: windows with at least one valid px.
        windows_skipped: windows without one.
        logits: (K, rows, cols) raw logits of the block's own cells, -inf where nothing was
            searched; None where no score map is wanted.
    """

    candidates: Candidates
    windows_searched: int
    windows_skipped: int
    logits: NDArray[np.float32] | None = None


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
    """What was searched, counted while it is; windows and Mpx over all passes, km2 once."""

    windows_searched: int = 0
    windows_skipped: int = 0  # without a valid pixel
    mpx: float = 0.0
    km2: float = 0.0
    failed: list[FailedBlock] = field(default_factory=list)


@dataclass(frozen=True)
class SceneResult:
    """What the search of one scene gave.

    Attributes:
        candidates: duplicates removed, best first, in px of the scene's grid.
        report: what was searched.
    """

    candidates: Candidates
    report: SearchReport
