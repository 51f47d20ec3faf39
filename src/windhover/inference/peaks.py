"""From maps of cells to candidate objects: local maxima and their shoulders, refined by the votes
of the cells around.

Works on one block and its margin of cells; what it finds for a cell depends on the cells around it
alone, so blocks change nothing. Refuses to remove duplicates (that is `boxes`) and to make
probabilities (`inference`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from windhover.geometry.lattice import Block, Lattice

CANDIDATE = np.dtype(
    [
        ("class_index", "i2"),
        ("logit", "f4"),
        ("col", "f8"),
        ("row", "f8"),
        ("w", "f8"),
        ("h", "f8"),
        ("edge", "?"),
        ("shoulder", "?"),  # a neighbouring cell is higher, but for another object
    ]
)
# windows this far from the peak may vote with it: the tight label rule makes a plateau of about 2x2
# cells
VOTE_RADIUS_PX = 8
AGREEMENT = (
    0.25  # of the object's size: votes nearer than this to the peak's own are for the same object
)
# below it an object is unlikely among windows as they were sampled, and offsets mean nothing
SHOULDER_LOGIT = 0.0
# of the stride: an object this near to a cell's own centre, along each axis, is that cell's
OWN_CELL = 0.5
MAX_LOG_SIZE = float(np.log(4096.0))
NEIGHBORS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]

Look = Callable[
    [NDArray[np.intp], NDArray[np.intp]],
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
]


class Again(NamedTuple):
    """How a peak is looked at once more: in the window that, by the votes, has the object in its
    middle.

    The windows of the lattice miss an object by up to half a stride; a window moved there tells its
    centre exactly.
    """

    # top and left (N,) px of windows in a block's px -> logits (K, N), offsets (2, N) px, log sizes
    # (2, N)
    look: Look
    from_logit: float  # peaks below keep their own word


@dataclass(frozen=True)
class _Words:
    """What cells say of their objects; rows and columns are those of the padded logits."""

    logits: NDArray[np.float32]  # (K, h + 2 reach, w + 2 reach)
    offsets_px: NDArray[np.float32]  # (2, h, w)
    log_sizes: NDArray[np.float32]  # (2, h, w)
    reach: int
    lattice: Lattice

    def vote(
        self, row: NDArray[np.intp], col: NDArray[np.intp], dy: int = 0, dx: int = 0
    ) -> NDArray[np.float64]:
        """Return where the neighbours (dy, dx) of cells (N,) see an object, (2, N) px from the
        cells' centres.
        """
        limit = self.lattice.window_px / 2
        offset = self._at(self.offsets_px, row + dy, col + dx, -limit, limit)
        return np.asarray(offset + self.lattice.stride_px * np.array([[dx], [dy]]))

    def log_size(
        self, row: NDArray[np.intp], col: NDArray[np.intp], dy: int = 0, dx: int = 0
    ) -> NDArray[np.float64]:
        """Return log width and height, (2, N), that the neighbours (dy, dx) of cells (N,) see."""
        return self._at(self.log_sizes, row + dy, col + dx, 0.0, MAX_LOG_SIZE)

    def _at(
        self,
        maps: NDArray[np.float32],
        row: NDArray[np.intp],
        col: NDArray[np.intp],
        low: float,
        high: float,
    ) -> NDArray[np.float64]:
        """Return what maps (2, h, w) hold, between low and high; beyond the border, what the border
        says.
        """
        row = np.clip(row - self.reach, 0, maps.shape[1] - 1)
        col = np.clip(col - self.reach, 0, maps.shape[2] - 1)
        return np.clip(np.nan_to_num(maps[:, row, col].astype(np.float64)), low, high)


def margin_cells(stride_px: int) -> int:
    """Return how many cells around a cell decide whether it is a peak, and where its object is."""
    return max(VOTE_RADIUS_PX // stride_px, 1)


def find_peaks(
    lattice: Lattice,
    wide: Block,
    owned: Block,
    maps: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    min_logits: NDArray[np.float64],
    again: Again | None = None,
) -> NDArray[np.void]:
    """Return the peaks of a block as candidates in scene px.

    A cell is a peak of its class where none of its 8 neighbours is higher; of equal neighbours the
    first in reading order is. Where objects are parked side by side, one may stand on the shoulder
    of another: a cell that puts an object in its own middle, while every higher neighbour votes for
    another place, is a candidate too, and marked.

    Its object's centre is the mean of the votes (centre + offset) of the cells around it that vote
    for the same spot, weighted by their scores; its size likewise, in logarithms. Votes a stride or
    more outside the scene are a mirror's, and dropped.

    Args:
        lattice: of the scene.
        wide: the cells that the maps hold: `owned` and `margin_cells` around it, as far as the
            lattice goes.
        owned: the cells whose peaks are wanted.
        maps: logits (K, h, w), where not a number counts as never; offsets dx, dy (2, h, w) px;
            log sizes (2, h, w).
        min_logits: (K,) lowest logit of interest.
        again: looks at peaks once more, if given; its word replaces the peak's logit and the votes.

    Returns:
        (N,) of dtype `CANDIDATE`, in reading order within each class.
    """
    reach = margin_cells(lattice.stride_px)
    pad = ((0, 0), (reach, reach), (reach, reach))
    logits = np.pad(
        np.nan_to_num(maps[0], nan=-np.inf, posinf=np.inf, neginf=-np.inf),
        pad,
        constant_values=-np.inf,
    )
    words = _Words(logits, maps[1], maps[2], reach, lattice)
    top, left = owned.row0 - wide.row0 + reach, owned.col0 - wide.col0 + reach
    own = logits[:, top : top + owned.row1 - owned.row0, left : left + owned.col1 - owned.col0]
    kind, row, col = np.nonzero((own >= min_logits[:, None, None]) & np.isfinite(own))
    row, col = row + top, col + left
    peak = _on_summits(logits, (kind, row, col))
    shoulder, high = np.zeros(len(kind), bool), ~peak & (logits[kind, row, col] >= SHOULDER_LOGIT)
    shoulder[high] = _on_shoulders(words, (kind[high], row[high], col[high]))
    taken = peak | shoulder
    cells = (kind[taken], row[taken], col[taken])
    logit, (spot, size) = logits[cells], _votes(words, cells)
    chosen = np.flatnonzero(logit >= again.from_logit) if again is not None else ()
    if again is not None and len(chosen):
        some = (cells[0][chosen], cells[1][chosen] - reach, cells[2][chosen] - reach)
        logit[chosen], spot[:, chosen], size[:, chosen] = _once_more(
            again.look, some, spot[:, chosen], reach, maps[0].shape[1:], lattice
        )
    row, col = cells[1] - reach + wide.row0, cells[2] - reach + wide.col0  # of the lattice
    candidates = np.zeros(len(row), CANDIDATE)
    candidates["class_index"] = cells[0]
    candidates["logit"] = logit
    candidates["col"] = col * lattice.stride_px + lattice.window_px / 2 + spot[0]
    candidates["row"] = row * lattice.stride_px + lattice.window_px / 2 + spot[1]
    candidates["w"], candidates["h"] = np.exp(size)
    candidates["shoulder"] = shoulder[taken]
    height, width = lattice.shape_hw
    top_px, left_px = row * lattice.stride_px, col * lattice.stride_px
    candidates["edge"] = (
        (np.minimum(top_px, left_px) < 0)
        | (top_px + lattice.window_px > height)
        | (left_px + lattice.window_px > width)
    )
    # the mirror pulls the votes for an object at the border outwards, by less than a stride
    inside = np.ones(len(row), bool)
    for name, length in (("col", width), ("row", height)):
        inside &= (candidates[name] > -lattice.stride_px) & (
            candidates[name] < length + lattice.stride_px
        )
        candidates[name] = np.clip(candidates[name], 0, length)
    return candidates[inside]


def _once_more(
    look: Look,
    cells: tuple[NDArray[np.intp], ...],
    spot: NDArray[np.float64],
    reach: int,
    shape_hw: tuple[int, ...],
    lattice: Lattice,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return logits (N,), offsets from the cells' centres and log sizes (2, N), told by windows
    moved to `spot`.

    A window moves by `reach` cells at most and stays within the maps, which hold that much around
    every peak.
    """
    kind, stride = cells[0], lattice.stride_px
    start = np.stack([cells[2], cells[1]]) * stride  # (2, N): left, top in px of the block
    last = (np.array([[shape_hw[1]], [shape_hw[0]]]) - 1) * stride
    corner = np.clip(
        start + np.clip(np.rint(spot).astype(np.intp), -reach * stride, reach * stride), 0, last
    )
    logits, offsets_px, log_sizes = look(corner[1], corner[0])
    limit = lattice.window_px / 2
    offsets = (corner - start).astype(np.float64) + np.clip(
        np.nan_to_num(offsets_px), -limit, limit
    )
    return (
        np.nan_to_num(logits[kind, np.arange(len(kind))], nan=-np.inf, neginf=-np.inf).astype(
            np.float32
        ),
        offsets,
        np.clip(np.nan_to_num(log_sizes), 0.0, MAX_LOG_SIZE),
    )


def _on_summits(
    logits: NDArray[np.float32], cells: tuple[NDArray[np.intp], ...]
) -> NDArray[np.bool_]:
    """Tell which cells (N,) no neighbour is above; of equal ones the first in reading order."""
    kind, row, col = cells
    value, peak = logits[cells], np.ones(len(kind), bool)
    for dy, dx in NEIGHBORS:
        other = logits[kind, row + dy, col + dx]
        peak &= other < value if (dy, dx) < (0, 0) else other <= value
    return peak


def _on_shoulders(words: _Words, cells: tuple[NDArray[np.intp], ...]) -> NDArray[np.bool_]:
    """Tell which cells (N,), none of them a peak, put an object in their own middle while higher
    neighbours do not.
    """
    kind, row, col = cells
    own_vote, own_size = words.vote(row, col), words.log_size(row, col)
    told = np.abs(own_vote).max(axis=0) <= OWN_CELL * words.lattice.stride_px
    for dy, dx in NEIGHBORS:
        lower = words.logits[kind, row + dy, col + dx] < words.logits[cells]
        told &= lower | ~_agree(words.vote(row, col, dy, dx), own_vote, own_size)
    return np.asarray(told)


def _votes(
    words: _Words, cells: tuple[NDArray[np.intp], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the objects of peak cells are from the cells' centres, px, and their log sizes;
    (2, N) each.
    """
    kind, row, col = cells
    own_vote, own_size = words.vote(row, col), words.log_size(row, col)
    weight = np.zeros(len(kind))
    spot, size = np.zeros((2, len(kind))), np.zeros((2, len(kind)))
    reach = range(-words.reach, words.reach + 1)
    for dy, dx in itertools.product(reach, reach):
        vote = words.vote(row, col, dy, dx)
        share = expit(
            words.logits[kind, row + dy, col + dx].astype(np.float64)
        )  # 0 beyond the maps
        share = np.where(_agree(vote, own_vote, own_size), share, 0.0)
        weight += share
        spot += share * vote
        size += share * words.log_size(row, col, dy, dx)
    known = weight > 1e-300  # scores too small for a double leave the peak's own word
    weight = np.where(known, weight, 1.0)
    return np.where(known, spot / weight, own_vote), np.where(known, size / weight, own_size)


def _agree(
    votes: NDArray[np.float64], own_vote: NDArray[np.float64], own_size: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Tell which votes (2, N) are for the objects of cells that say their own (2, N) place and log
    sizes.
    """
    return np.asarray(np.hypot(*(votes - own_vote)) <= AGREEMENT * np.exp(own_size.mean(axis=0)))
