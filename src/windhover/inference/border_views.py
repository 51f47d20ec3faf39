"""Windows that see beyond a scene's border, scored in two views: padded, and mirrored.

Half an object and its mirror image resemble a whole one, and a constant leaves half of the window
empty: each view errs in its own way, and the mean of their logits is surer than either. Centres and
sizes are those of the padded view, as in training. Scores nothing that is wholly on the scene
twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
# pixels, top and left (N,) px of windows -> logits (K, N), offsets (2, N) px, log sizes (2, N)
ScoreWindows = Callable[[NDArray[Any], Indices, Indices], tuple[Floats, Floats, Floats]]


@dataclass(frozen=True)
class BorderViews:
    """The pixels of a block, beyond the scene's border in one view or in two.

    Attributes:
        pixels: (C, H, W) that all windows are scored from.
        mirrored: (C, H, W) the same with the mirror image beyond the border; None where `pixels`
            hold it, or where the block is wholly on the scene.
        outside: (H, W) beyond the border; None without `mirrored`.
    """

    pixels: NDArray[Any]
    mirrored: NDArray[Any] | None = None
    outside: NDArray[np.bool_] | None = None

    def sees_beyond(self, rows: Indices, cols: Indices, window_px: int) -> NDArray[np.bool_]:
        """Return which windows, by their first rows and columns (N,), reach beyond the border."""
        if self.outside is None:
            return np.zeros(len(rows), bool)
        last = window_px - 1
        corners = [self.outside[rows + dy, cols + dx] for dy in (0, last) for dx in (0, last)]
        return np.asarray(np.any(corners, axis=0))


def score_windows_at(
    score: ScoreWindows, views: BorderViews, window_px: int, rows: Indices, cols: Indices
) -> tuple[Floats, Floats, Floats]:
    """Return the outputs for windows, the logits of those at the border the mean of both views.

    Args:
        score: network outputs for windows of pixels.
        views: of the block.
        window_px: side of a window.
        rows: (N,) px of the windows' first rows.
        cols: (N,) px of their first columns.
    """
    logits, offsets_px, log_sizes = score(views.pixels, rows, cols)
    sees_beyond = views.sees_beyond(rows, cols, window_px)
    if views.mirrored is not None and sees_beyond.any():
        mirrored_logits, _, _ = score(views.mirrored, rows[sees_beyond], cols[sees_beyond])
        logits = logits.copy()
        logits[:, sees_beyond] = (logits[:, sees_beyond] + mirrored_logits) / 2
    return logits, offsets_px, log_sizes
