"""Test-time augmentation at peaks: windows scored in symmetries of the square, and averaged.

From above no direction is special, so a network's outputs for a window turned and mirrored are
eight estimates of one object; their mean is steadier than any. Done for chosen windows alone: for
every window it would take eight searches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.inference.scorer import Scorer
from windhover.params.allowed_values import PeakTta

Floats: TypeAlias = NDArray[np.float64]
# whether a window is mirrored left-right, mirrored up-down, and transposed
Symmetry: TypeAlias = tuple[bool, ...]

# the eight symmetries of the square (dihedral group D4); the first is the window as it is
D4: tuple[Symmetry, ...] = tuple(itertools.product((False, True), repeat=3))
SYMMETRIES: dict[PeakTta, tuple[Symmetry, ...]] = {"none": (), "recenter": D4[:1], "d4": D4}
WINDOWS_AT_ONCE = 1024  # bounds memory, however many windows there are


def d4_test_time_augmentation(
    scorer: Scorer,
    pixels: NDArray[np.generic],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    *,
    symmetries: Sequence[Symmetry] = D4,
    second_stage: Scorer | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return network outputs for windows, averaged over symmetries of the square.

    Args:
        scorer: of the network.
        pixels: (C, H, W) as read.
        rows: (N,) px of the windows' first rows.
        cols: (N,) px of their first columns.
        symmetries: which to average over.
        second_stage: scorer of another network: logits are then the mean of both, and offsets and
            sizes those of the first alone.

    Returns:
        Logits (K, N); offsets dx, dy (2, N) px, from the windows' centres; log width and height
        (2, N).
    """
    side = scorer.window_px
    views = np.lib.stride_tricks.sliding_window_view(pixels, (side, side), axis=(1, 2))
    parts = []
    for first in range(0, len(rows), WINDOWS_AT_ONCE):
        batch = slice(first, first + WINDOWS_AT_ONCE)
        windows = views[:, rows[batch], cols[batch]].swapaxes(0, 1)  # (N, C, side, side)
        logits, offsets_px, log_sizes = _mean_scores(scorer, windows, symmetries)
        if second_stage is not None:
            other_logits = _mean_scores(second_stage, windows, symmetries)[0]
            logits = (logits + other_logits) / 2
        parts.append((logits, offsets_px, log_sizes))
    logits, offsets_px, log_sizes = (
        np.concatenate(planes).T for planes in zip(*parts, strict=True)
    )
    return logits, offsets_px, log_sizes


def _mean_scores(
    scorer: Scorer, windows: NDArray[np.generic], symmetries: Sequence[Symmetry]
) -> tuple[Floats, ...]:
    """Return mean logits (N, K), offsets and log sizes (N, 2) of windows (N, C, S, S)."""
    per_symmetry = [_score_in_symmetry(scorer, windows, symmetry) for symmetry in symmetries]
    return tuple(np.mean(planes, axis=0) for planes in zip(*per_symmetry, strict=True))


def _score_in_symmetry(
    scorer: Scorer, windows: NDArray[np.generic], symmetry: Symmetry
) -> tuple[Floats, Floats, Floats]:
    """Return logits (N, K), offsets and log sizes (N, 2) of windows (N, C, S, S) in one symmetry.

    Offsets and sizes are brought back to the window as it is.
    """
    is_mirrored_x, is_mirrored_y, is_transposed = symmetry
    if is_mirrored_x:
        windows = windows[..., ::-1]
    if is_mirrored_y:
        windows = windows[..., ::-1, :]
    if is_transposed:
        windows = windows.swapaxes(2, 3)
    scores = scorer.score_windows(windows)
    logits = scores.logits.astype(np.float64)
    offsets_px = scores.offsets_px.astype(np.float64)
    log_sizes = scores.log_sizes.astype(np.float64)
    if is_transposed:
        offsets_px = offsets_px[:, ::-1]
        log_sizes = log_sizes[:, ::-1]
    signs = (-1 if is_mirrored_x else 1, -1 if is_mirrored_y else 1)
    return logits, offsets_px * signs, log_sizes
