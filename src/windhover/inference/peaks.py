"""From maps of cells to candidate objects: local maxima of each class, and secondary peaks.

Works on one block and its margin of cells; the result for a cell depends on the cells around it
alone, so blocks change nothing. Removes no duplicates (`candidates` does) and computes no
probabilities (`windhover.models.apply_calibration` does).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.lattice import Block, Lattice
from windhover.geometry.objects import Objects
from windhover.inference.candidates import Candidates
from windhover.inference.scorer import RawScores

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

# Windows this far from the peak may vote with it: the tight label rule makes a plateau of about
# 2x2 cells.
VOTE_RADIUS_PX = 8
# Votes nearer than this to the peak's own, in units of the object's size, are for the same object.
VOTE_AGREEMENT = 0.25
# Below this logit an object is unlikely among windows as they were sampled, and offsets mean
# nothing.
SECONDARY_PEAK_MIN_LOGIT = 0.0
# An object this near to a cell's own centre, along each axis and in strides, is that cell's.
OWN_CELL_STRIDES = 0.5
MAX_LOG_SIZE = float(np.log(4096.0))
# scores below this are too small for a double: the peak's own vote is taken
MIN_VOTE_WEIGHT = 1e-300
# (8, 2) cells down and across
NEIGHBORS = np.array(
    [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)], np.intp
)
IS_BEFORE = np.arange(len(NEIGHBORS)) < len(NEIGHBORS) // 2  # which come first in reading order

# top and left (N,) px of windows in a block's px ->
# logits (K, N), offsets (2, N) px, log sizes (2, N)
ScoreWindowsAt = Callable[[Indices, Indices], tuple[Floats, Floats, Floats]]


class Rescorer(NamedTuple):
    """How a peak is scored again: in the window that has the voted object in its middle.

    The windows of the lattice miss an object by up to half a stride; a window moved to it gives its
    centre and its score more exactly.
    """

    score_windows_at: ScoreWindowsAt
    min_logit: float  # peaks below keep their logit and their votes


class Cells(NamedTuple):
    """Cells of interest (..., N), each for one class; row and column in the padded logits."""

    class_index: Indices
    row: Indices
    col: Indices

    def select(self, rows: NDArray[np.generic]) -> Cells:
        """Return the cells of `rows`, a mask (N,) or indices."""
        return Cells(self.class_index[rows], self.row[rows], self.col[rows])

    def around(self, shifts: Indices) -> Cells:
        """Return the cells (S, N) that are `shifts` (S, 2) down and across from these (N,)."""
        down, across = shifts.T[..., None]
        return Cells(self.class_index, self.row + down, self.col + across)


@dataclass(frozen=True)
class CellMaps:
    """Network outputs of a block's cells, logits padded by `margin` cells of -inf on each side."""

    logits: NDArray[np.float32]  # (K, h + 2 margin, w + 2 margin)
    offsets_px: NDArray[np.float32]  # (2, h, w)
    log_sizes: NDArray[np.float32]  # (2, h, w)
    margin: int
    lattice: Lattice

    @classmethod
    def pad(cls, scores: RawScores, lattice: Lattice) -> CellMaps:
        """Return the maps of a block; logits that are not a number become -inf."""
        margin = margin_cells(lattice.stride_px)
        finite = np.nan_to_num(scores.logits, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        padding = ((0, 0), (margin, margin), (margin, margin))
        logits = np.pad(finite, padding, constant_values=-np.inf)
        return cls(logits, scores.offsets_px, scores.log_sizes, margin, lattice)

    def vote(self, cells: Cells) -> Floats:
        """Return where cells (..., N) see an object, (2, ..., N) px from each."""
        limit = self.lattice.window_px / 2
        return self._clipped(self.offsets_px, cells, (-limit, limit))

    def votes_around(self, cells: Cells, shifts: Indices) -> Floats:
        """Return where the cells at `shifts` see an object, (2, S, N) px from the cells (N,)."""
        moved = self.lattice.stride_px * shifts.T[::-1, :, None]
        return np.asarray(self.vote(cells.around(shifts)) + moved)

    def log_size(self, cells: Cells) -> Floats:
        """Return log width and height, (2, ..., N), that cells (..., N) see."""
        return self._clipped(self.log_sizes, cells, (0.0, MAX_LOG_SIZE))

    def _clipped(
        self, maps: NDArray[np.float32], cells: Cells, limits: tuple[float, float]
    ) -> Floats:
        """Return values of maps (2, h, w) between limits; outside the maps those of the border."""
        row = np.clip(cells.row - self.margin, 0, maps.shape[1] - 1)
        col = np.clip(cells.col - self.margin, 0, maps.shape[2] - 1)
        return np.clip(np.nan_to_num(maps[:, row, col].astype(np.float64)), *limits)


class PeakEstimates(NamedTuple):
    """What is known of the objects of N cells."""

    logit: NDArray[np.float32]  # (N,)
    offset_px: Floats  # (2, N) dx, dy from the cell's centre
    log_size: Floats  # (2, N) of width and height in px


def margin_cells(stride_px: int) -> int:
    """Return how many cells around a cell decide whether it is a peak, and where its object is."""
    return max(VOTE_RADIUS_PX // stride_px, 1)


def find_peaks(
    scores: RawScores,
    *,
    lattice: Lattice,
    scored: Block,
    owned: Block,
    min_logits: Floats,
    rescorer: Rescorer | None = None,
    outside_px: float | None = None,
) -> Candidates:
    """Return the peaks of a block as candidates in px of the scene.

    A cell is a peak of its class where none of its 8 neighbours is higher; of equal neighbours the
    first in reading order is. Where objects are parked side by side, the maximum of one may hide
    that of another: a cell with an object in its own middle, while every higher neighbour votes
    for another place, is a candidate too, and marked as a secondary peak.

    The object's centre is the mean of the votes (centre + offset) of the cells around the peak
    that vote for the same place, weighted by their scores; its size likewise, in logarithms.
    Candidates `outside_px` or more outside the scene are dropped; the centres of others are clipped
    to its border.

    Args:
        scores: of the cells of `scored`; offsets dx, dy.
        lattice: of the scene.
        scored: `owned` and `margin_cells` around it, as far as the lattice goes.
        owned: the cells whose peaks are wanted.
        min_logits: (K,) lowest logit of interest.
        rescorer: if given, its logit and votes replace those of the peaks.
        outside_px: how far outside the scene a centre may be; a stride by default, because a mirror
            image pulls the votes for an object at the border outwards by less.

    Returns:
        Candidates in reading order within each class.
    """
    maps = CellMaps.pad(scores, lattice)
    cells = _cells_of_interest(maps, scored, owned, min_logits)
    is_peak = _is_local_maximum(maps.logits, cells)
    is_secondary = _is_secondary_peak(maps, cells, is_peak)
    is_candidate = is_peak | is_secondary
    cells = cells.select(is_candidate)
    estimates = _estimate_by_votes(maps, cells)
    if rescorer is not None:
        _rescore(estimates, cells, maps, rescorer)
    objects = _to_objects(estimates, cells, maps, scored)
    touches_edge = _touch_edge(cells, maps, scored)
    candidates = Candidates(objects, touches_edge, is_secondary[is_candidate])
    if outside_px is None:
        outside_px = lattice.stride_px
    return _within_scene(candidates, lattice.shape_hw, outside_px)


def _cells_of_interest(maps: CellMaps, scored: Block, owned: Block, min_logits: Floats) -> Cells:
    """Return the owned cells whose finite logit reaches its class's minimum."""
    top = owned.row0 - scored.row0 + maps.margin
    left = owned.col0 - scored.col0 + maps.margin
    bottom = top + owned.row1 - owned.row0
    right = left + owned.col1 - owned.col0
    logits = maps.logits[:, top:bottom, left:right]
    is_high = (logits >= min_logits[:, None, None]) & np.isfinite(logits)
    class_index, row, col = np.nonzero(is_high)
    return Cells(class_index, row + top, col + left)


def _is_local_maximum(logits: NDArray[np.float32], cells: Cells) -> Bools:
    """Return which cells (N,) no neighbour exceeds; of equal ones the first in reading order."""
    value = logits[cells]
    neighbors = logits[cells.around(NEIGHBORS)]  # (8, N)
    is_exceeded = (neighbors > value) | (IS_BEFORE[:, None] & (neighbors == value))
    return np.asarray(~is_exceeded.any(axis=0))


def _is_secondary_peak(maps: CellMaps, cells: Cells, is_peak: Bools) -> Bools:
    """Return which cells (N,), none of them a peak, see an object of their own in their middle."""
    is_high = ~is_peak & (maps.logits[cells] >= SECONDARY_PEAK_MIN_LOGIT)
    high_cells = cells.select(is_high)
    own_vote = maps.vote(high_cells)
    own_size = maps.log_size(high_cells)
    value = maps.logits[high_cells]
    sees_own_object = np.abs(own_vote).max(axis=0) <= OWN_CELL_STRIDES * maps.lattice.stride_px
    is_lower = maps.logits[high_cells.around(NEIGHBORS)] < value  # (8, N)
    votes = maps.votes_around(high_cells, NEIGHBORS)
    sees_own_object &= (is_lower | ~_agree(votes, own_vote, own_size)).all(axis=0)
    is_secondary = np.zeros(len(is_peak), bool)
    is_secondary[is_high] = sees_own_object
    return is_secondary


def _estimate_by_votes(maps: CellMaps, cells: Cells) -> PeakEstimates:
    """Return logit, offset and size of peaks, the last two from the votes of the cells around."""
    own_vote = maps.vote(cells)
    own_size = maps.log_size(cells)
    from scipy.special import expit  # loads slowly

    radius = range(-maps.margin, maps.margin + 1)
    shifts = np.array(list(itertools.product(radius, radius)), np.intp)
    around = cells.around(shifts)  # (S, N)
    votes = maps.votes_around(cells, shifts)  # (2, S, N)
    weight = expit(maps.logits[around].astype(np.float64))  # 0 beyond the maps
    weight = np.where(_agree(votes, own_vote, own_size), weight, 0.0)
    total_weight = weight.sum(axis=0)
    offset = (weight * votes).sum(axis=1)
    size = (weight * maps.log_size(around)).sum(axis=1)
    has_votes = total_weight > MIN_VOTE_WEIGHT
    total_weight = np.where(has_votes, total_weight, 1.0)
    return PeakEstimates(
        maps.logits[cells],
        np.where(has_votes, offset / total_weight, own_vote),
        np.where(has_votes, size / total_weight, own_size),
    )


def _agree(votes: Floats, own_vote: Floats, own_size: Floats) -> Bools:
    """Return which votes (2, S, N) are for the objects that cells themselves (2, N) vote for."""
    distance = np.hypot(*(votes - own_vote[:, None]))
    return np.asarray(distance <= VOTE_AGREEMENT * np.exp(own_size.mean(axis=0)))


def _rescore(estimates: PeakEstimates, cells: Cells, maps: CellMaps, rescorer: Rescorer) -> None:
    """Replace the estimates of peaks, in place, by those of windows moved to their objects.

    A window moves by `margin` cells at most and stays within the maps, which hold that much around
    every peak.
    """
    chosen = np.flatnonzero(estimates.logit >= rescorer.min_logit)
    if len(chosen) == 0:
        return
    lattice = maps.lattice
    height, width = maps.offsets_px.shape[1:]
    peaks = cells.select(chosen)
    corner = np.stack([peaks.col - maps.margin, peaks.row - maps.margin]) * lattice.stride_px
    last_corner = (np.array([[width], [height]]) - 1) * lattice.stride_px
    max_shift = maps.margin * lattice.stride_px
    shift = np.rint(estimates.offset_px[:, chosen]).astype(np.intp)
    moved = np.clip(corner + np.clip(shift, -max_shift, max_shift), 0, last_corner)  # (2, N): x, y
    logits, offsets_px, log_sizes = rescorer.score_windows_at(moved[1], moved[0])
    logit = logits[peaks.class_index, np.arange(len(chosen))]
    limit = lattice.window_px / 2
    offset = np.clip(np.nan_to_num(offsets_px), -limit, limit)
    estimates.logit[chosen] = np.nan_to_num(logit, nan=-np.inf, neginf=-np.inf)
    estimates.offset_px[:, chosen] = (moved - corner).astype(np.float64) + offset
    estimates.log_size[:, chosen] = np.clip(np.nan_to_num(log_sizes), 0.0, MAX_LOG_SIZE)


def _corners_px(cells: Cells, maps: CellMaps, scored: Block) -> NDArray[np.intp]:
    """Return (N, 2) left and top of the windows of cells, px of the scene."""
    left = cells.col - maps.margin + scored.col0
    top = cells.row - maps.margin + scored.row0
    return np.stack([left, top], axis=1) * maps.lattice.stride_px


def _to_objects(estimates: PeakEstimates, cells: Cells, maps: CellMaps, scored: Block) -> Objects:
    """Return peaks as objects in px of the scene, their scores raw logits."""
    middles = _corners_px(cells, maps, scored) + maps.lattice.window_px / 2
    return Objects(
        middles + estimates.offset_px.T,
        np.exp(estimates.log_size).T,
        cells.class_index,
        np.zeros(len(cells.row), np.int8),
        estimates.logit.astype(np.float64),
    )


def _touch_edge(cells: Cells, maps: CellMaps, scored: Block) -> Bools:
    """Return whether the windows of cells (N,) reach beyond the scene."""
    corners = _corners_px(cells, maps, scored)
    height, width = maps.lattice.shape_hw
    is_beyond = (corners < 0) | (corners + maps.lattice.window_px > (width, height))
    return np.asarray(is_beyond.any(axis=1))


def _within_scene(
    candidates: Candidates, shape_hw: tuple[int, int], outside_px: float
) -> Candidates:
    """Return the candidates less than so far outside the scene, centres clipped to its border."""
    size_xy = np.array(shape_hw[::-1])
    centers_xy = candidates.objects.centers_xy
    is_near = (centers_xy > -outside_px) & (centers_xy < size_xy + outside_px)
    objects = replace(candidates.objects, centers_xy=np.clip(centers_xy, 0, size_xy))
    return replace(candidates, objects=objects).select(np.asarray(is_near.all(axis=1)))
