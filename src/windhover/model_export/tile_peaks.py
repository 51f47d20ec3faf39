"""Peaks of one tile as tensor operations that can be written as a graph.

The same rules as `windhover.inference.peaks`, for every cell of a tile at once in place of the
chosen cells alone; a test holds the two equal. There are no borders: a tile's outermost windows end
at its own border.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from windhover.inference.peaks import (
    MAX_LOG_SIZE,
    MIN_VOTE_WEIGHT,
    NEIGHBORS,
    OWN_CELL_STRIDES,
    SECONDARY_PEAK_MIN_LOGIT,
    VOTE_AGREEMENT,
    margin_cells,
)

NEVER = -1e4  # logit of what is no cell: finite, because graphs differ in how they treat infinity


class TilePeaks(NamedTuple):
    """Maps of one tile: for every class and cell whether it is a peak, and what it sees."""

    is_peak: Tensor  # (K, h, w) bool
    is_secondary: Tensor  # (K, h, w) bool
    offsets_px: Tensor  # (K, 2, h, w) dx, dy from the cell's center, by the votes around
    log_sizes: Tensor  # (K, 2, h, w) of width and height in px


def find_tile_peaks(
    logits: Tensor, offsets_px: Tensor, log_sizes: Tensor, *, stride_px: int, window_px: int
) -> TilePeaks:
    """Return the peaks of a tile and the objects that they see.

    Args:
        logits: (K, h, w).
        offsets_px: (2, h, w) dx, dy.
        log_sizes: (2, h, w).
        stride_px: between cells.
        window_px: side of a window.
    """
    limit = window_px / 2
    offsets = offsets_px.clamp(-limit, limit)
    sizes = log_sizes.clamp(0.0, MAX_LOG_SIZE)
    is_peak = torch.ones_like(logits, dtype=torch.bool)
    sees_own = offsets.abs().amax(dim=0) <= OWN_CELL_STRIDES * stride_px  # (h, w)
    is_secondary = (logits >= SECONDARY_PEAK_MIN_LOGIT) & sees_own
    for dy, dx in NEIGHBORS:
        neighbor = _shifted(logits, dy, dx, value=NEVER)
        if (dy, dx) < (0, 0):
            is_peak = is_peak & (neighbor < logits)
        else:
            is_peak = is_peak & (neighbor <= logits)
        agrees = _agrees(_votes(offsets, dy, dx, stride_px), offsets, sizes)
        is_secondary = is_secondary & ((neighbor < logits) | ~agrees)
    voted_offsets, voted_sizes = _vote(logits, offsets, sizes, stride_px)
    return TilePeaks(is_peak, is_secondary & ~is_peak, voted_offsets, voted_sizes)


def _vote(logits: Tensor, offsets: Tensor, sizes: Tensor, stride_px: int) -> tuple[Tensor, Tensor]:
    """Return offsets and log sizes (K, 2, h, w), means over the cells around that agree."""
    radius = range(-margin_cells(stride_px), margin_cells(stride_px) + 1)
    total = torch.zeros_like(logits)[:, None]  # (K, 1, h, w)
    offset_sum = torch.zeros_like(total)
    size_sum = torch.zeros_like(total)
    for dy, dx in itertools.product(radius, radius):
        votes = _votes(offsets, dy, dx, stride_px)
        agrees = _agrees(votes, offsets, sizes).to(logits.dtype)
        weight = (torch.sigmoid(_shifted(logits, dy, dx, value=NEVER)) * agrees)[:, None]
        total = total + weight
        offset_sum = offset_sum + weight * votes
        size_sum = size_sum + weight * _shifted(sizes, dy, dx)
    has_votes = total > max(MIN_VOTE_WEIGHT, torch.finfo(logits.dtype).tiny)
    divisor = torch.where(has_votes, total, torch.ones_like(total))
    voted_offsets = torch.where(has_votes, offset_sum / divisor, offsets[None])
    voted_sizes = torch.where(has_votes, size_sum / divisor, sizes[None])
    return voted_offsets, voted_sizes


def _votes(offsets: Tensor, dy: int, dx: int, stride_px: int) -> Tensor:
    """Return where the neighbors (dy, dx) of all cells see an object, (2, h, w) px."""
    step = torch.tensor([float(dx * stride_px), float(dy * stride_px)]).view(2, 1, 1)
    return _shifted(offsets, dy, dx) + step


def _agrees(votes: Tensor, own_votes: Tensor, own_sizes: Tensor) -> Tensor:
    """Return (h, w) whether votes are for the object that the cells themselves see."""
    distance = (votes - own_votes).square().sum(dim=0).sqrt()
    return distance <= VOTE_AGREEMENT * own_sizes.mean(dim=0).exp()


def _shifted(maps: Tensor, dy: int, dx: int, value: float | None = None) -> Tensor:
    """Return maps (N, h, w) whose cell (i, j) is cell (i + dy, j + dx); beyond, `value`.

    Without a value, the maps go on as at their border.
    """
    if dy == 0 and dx == 0:
        return maps
    reach = max(abs(dy), abs(dx))
    padding = (reach, reach, reach, reach)
    if value is None:
        padded = nn.functional.pad(maps[None], padding, mode="replicate")[0]
    else:
        padded = nn.functional.pad(maps, padding, value=value)
    height, width = maps.shape[1:]
    return padded[:, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
