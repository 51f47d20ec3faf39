"""Hits and false alarms by score, summed over any weighting of groups: the one table behind every
curve and interval.

Precision and recall, AP, recall at a rate of false alarms, F-beta. A figure of the data and the
same figure of a
thousand bootstrap draws are one computation: a draw is a weight for every group (scene or place).
Refuses to match anything: `windhover.geometry.matching` says what is a hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]


class Counts(NamedTuple):
    """What would be reported at each of L thresholds, in D weightings of the groups."""

    scores: Floats  # (L,) falling: everything that scores this much or more is reported
    hits: Floats  # (L, D) objects found
    alarms: Floats  # (L, D) false alarms
    n_truth: Floats  # (D,) objects there
    km2: Floats  # (D,) area searched

    @property
    def precision(self) -> Floats:
        """(L, D): share of the reported that is true; NaN where nothing is reported."""
        return _share(self.hits, self.hits + self.alarms)

    @property
    def recall(self) -> Floats:
        """(L, D): share of the objects that is found; NaN where there is no object."""
        return _share(self.hits, np.broadcast_to(self.n_truth, self.hits.shape))

    @property
    def alarms_per_km2(self) -> Floats:
        """(L, D): false alarms per square kilometre searched."""
        return _share(self.alarms, np.broadcast_to(self.km2, self.alarms.shape))

    def f_beta(self, beta: float = 1.0) -> Floats:
        """(L, D): weighted harmonic mean of precision and recall (van Rijsbergen 1979); NaN with no
        object.
        """
        square = beta * beta
        value = _share((1 + square) * self.hits, square * self.n_truth + self.hits + self.alarms)
        return np.where(self.n_truth > 0, value, np.nan)


@dataclass(frozen=True)
class Tally:
    """Detections judged, kept by group; `tally` makes it."""

    scores: Floats  # (N,) falling
    is_hit: NDArray[np.bool_]  # (N,)
    group: NDArray[np.int64]  # (N,) in 0..G-1
    n_truth: Floats  # (G,)
    km2: Floats  # (G,)
    level_scores: Floats  # (L,) falling, see `tally`
    level_hits: csr_array  # (L, G) hits at each level, not summed
    level_alarms: csr_array  # (L, G)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.n_truth)

    def curve(self, weights: ArrayLike | None = None) -> Counts:
        """Sum over groups at every level.

        Args:
            weights: (G, D) how often each group counts; each once by default (D = 1).
        """
        weight = self._weights(weights)
        hits = np.cumsum(self.level_hits @ weight, axis=0)
        alarms = np.cumsum(self.level_alarms @ weight, axis=0)
        return Counts(self.level_scores, hits, alarms, self.n_truth @ weight, self.km2 @ weight)

    def at(self, threshold: float, weights: ArrayLike | None = None) -> Counts:
        """Sum over groups at one threshold, L = 1."""
        weight = self._weights(weights)
        reported = self.scores >= threshold
        hits = np.bincount(self.group[reported & self.is_hit], minlength=self.n_groups)
        alarms = np.bincount(self.group[reported & ~self.is_hit], minlength=self.n_groups)
        level = np.array([threshold], np.float64)
        return Counts(
            level,
            (hits @ weight)[None],
            (alarms @ weight)[None],
            self.n_truth @ weight,
            self.km2 @ weight,
        )

    def _weights(self, weights: ArrayLike | None) -> Floats:
        if weights is None:
            return np.ones((self.n_groups, 1))
        given = np.asarray(weights, np.float64)
        return given[:, None] if given.ndim == 1 else given


def tally(
    scores: ArrayLike, is_hit: ArrayLike, group: ArrayLike, n_truth: ArrayLike, km2: ArrayLike
) -> Tally:
    """Sort judged detections into levels of equal score.

    Only levels that hold a hit, and the last one, are kept; alarms in between count towards the
    next. Nothing is lost: precision, F-beta, recall at a rate of alarms and cost all have their
    best points where a hit has just been gained.

    Args:
        scores: (N,) any order.
        is_hit: (N,) whether the detection found an object.
        group: (N,) group of each detection, in 0..G-1.
        n_truth: (G,) objects of each group.
        km2: (G,) area searched in each group.
    """
    score, hit = np.asarray(scores, np.float64), np.asarray(is_hit, bool)
    which, objects = np.asarray(group, np.int64), np.asarray(n_truth, np.float64)
    order = np.argsort(-score, kind="stable")
    score, hit, which = score[order], hit[order], which[order]
    starts = (
        np.flatnonzero(np.r_[True, np.diff(score) != 0]) if len(score) else np.zeros(0, np.int64)
    )
    level = np.cumsum(np.r_[0, np.diff(score) != 0]) if len(score) else np.zeros(0, np.int64)
    kept = np.unique(np.r_[level[hit], level[-1:]])
    row = np.searchsorted(kept, level)
    shape = (len(kept), len(objects))
    return Tally(
        scores=score,
        is_hit=hit,
        group=which,
        n_truth=objects,
        km2=np.broadcast_to(np.asarray(km2, np.float64), objects.shape),
        level_scores=score[starts[kept]],
        level_hits=csr_array((np.ones(int(hit.sum())), (row[hit], which[hit])), shape=shape),
        level_alarms=csr_array((np.ones(int((~hit).sum())), (row[~hit], which[~hit])), shape=shape),
    )


def average_precision(counts: Counts) -> Floats:
    """Area under the precision-recall curve, every point interpolated (Everingham 2010, VOC 2010
    and later).

    Returns:
        (D,) in [0, 1]; 0 with no detection, NaN with no object.
    """
    if not len(counts.scores):
        return np.where(counts.n_truth > 0, 0.0, np.nan)
    envelope = np.maximum.accumulate(np.nan_to_num(counts.precision)[::-1], axis=0)[::-1]
    gained = np.diff(counts.hits, axis=0, prepend=0.0)
    return _share((gained * envelope).sum(axis=0), counts.n_truth)


def recall_at_alarms(counts: Counts, per_km2: float) -> Floats:
    """Largest recall that costs at most this many false alarms per square kilometre.

    Returns:
        (D,) in [0, 1]; 0 where no threshold is that quiet, NaN with no object or an unknown area.
    """
    allowed = counts.alarms <= per_km2 * counts.km2
    best = np.max(np.where(allowed, counts.hits, 0.0), axis=0, initial=0.0)
    return np.where(counts.km2 > 0, _share(best, counts.n_truth), np.nan)


def _share(part: Floats, whole: Floats) -> Floats:
    share = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=share, where=np.asarray(whole) > 0)
    return share
