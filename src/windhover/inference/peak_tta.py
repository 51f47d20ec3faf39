"""Looking at a window in the eight symmetries of the square, and turning back what the network says
of each.

From above no direction is special, so a network's answers for a window turned and mirrored are
eight opinions on one object; their mean is steadier than any. Done for chosen windows alone: for
every window it would cost eight searches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from windhover.inference.dense import DenseScorer

SYMMETRIES = tuple(
    itertools.product((False, True), repeat=3)
)  # mirrored across, mirrored down, transposed
WINDOWS_CUT = 1024  # so many windows are held at once, whatever their number


def mean_over_symmetries(
    scorer: DenseScorer,
    pixels: NDArray[np.generic],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    symmetries: Sequence[tuple[bool, ...]] = SYMMETRIES,
    second_stage: DenseScorer | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what the network says of windows, in the mean over symmetries of the square.

    Args:
        scorer: of the network.
        pixels: (C, H, W) as read.
        rows: (N,) px of the windows' first rows.
        cols: (N,) px of their first columns.
        symmetries: which; the first is the window as it is.
        second_stage: of another network: logits are then the mean of both, and the first alone
            tells place and size.

    Returns:
        Logits (K, N); offsets dx, dy (2, N) px, from the windows' centres; log width and height (2,
        N).
    """
    size = scorer.window_px
    views = np.lib.stride_tricks.sliding_window_view(
        pixels, (size, size), axis=(1, 2)
    )  # (C, h, w, size, size)
    parts = []
    for first in range(0, len(rows), WINDOWS_CUT):
        chosen = slice(first, first + WINDOWS_CUT)
        crops = views[:, rows[chosen], cols[chosen]].swapaxes(0, 1)  # (N, C, size, size)
        logits, offsets, log_sizes = _mean(scorer, crops, symmetries)
        if second_stage is not None:
            logits = (logits + _mean(second_stage, crops, symmetries)[0]) / 2
        parts.append((logits, offsets, log_sizes))
    logits, offsets, log_sizes = (np.concatenate(planes).T for planes in zip(*parts, strict=True))
    return logits, offsets, log_sizes


def _mean(
    scorer: DenseScorer, crops: NDArray[np.generic], symmetries: Sequence[tuple[bool, ...]]
) -> tuple[NDArray[np.float64], ...]:
    """Return logits (N, K), offsets and log sizes (N, 2) of the crops (N, C, S, S), in the mean
    over symmetries.
    """
    said = [_turned_back(scorer, crops, *symmetry) for symmetry in symmetries]
    return tuple(np.mean(planes, axis=0) for planes in zip(*said, strict=True))


def _turned_back(
    scorer: DenseScorer, crops: NDArray[np.generic], across: bool, down: bool, swap: bool
) -> tuple[NDArray[np.float64], ...]:
    """Return logits (N, K), offsets and log sizes (N, 2) of the crops (N, C, S, S), seen in one
    symmetry.
    """
    seen = crops[..., ::-1] if across else crops
    seen = seen[..., ::-1, :] if down else seen
    seen = seen.swapaxes(2, 3) if swap else seen
    logits, offsets, log_sizes = (plane.astype(np.float64) for plane in scorer.score_crops(seen))
    if swap:
        offsets, log_sizes = offsets[:, ::-1], log_sizes[:, ::-1]
    return logits, offsets * (-1 if across else 1, -1 if down else 1), log_sizes
