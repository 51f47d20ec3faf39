"""True and false positives by score, under any weights of groups: behind every curve and interval.

Precision and recall, AP, recall at a rate of false alarms, F-beta. A metric of the data and the
same metric of a thousand bootstrap resamples are one computation: a resample is a weight for every
group (scene or place). Which detection is a true positive comes from
`windhover.metrics.match_detections`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from windhover.geometry.arrays import Floats
from windhover.metrics.nan_safe import ratio_or_nan


class MatchCounts(NamedTuple):
    """True and false positives at each of L thresholds, under D weights of the groups.

    Attributes:
        thresholds: (L,) falling; everything that scores this much or more is reported.
        tp: (L, D) true positives.
        fp: (L, D) false positives.
        n_gt: (D,) ground-truth objects.
        km2: (D,) area searched.
    """

    thresholds: Floats
    tp: Floats
    fp: Floats
    n_gt: Floats
    km2: Floats

    @property
    def precision(self) -> Floats:
        """(L, D): share of the reported detections that is true; NaN if nothing is reported."""
        return ratio_or_nan(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Floats:
        """(L, D): share of the objects that is found; NaN if there is no object."""
        return ratio_or_nan(self.tp, np.broadcast_to(self.n_gt, self.tp.shape))

    @property
    def false_alarms_per_km2(self) -> Floats:
        """(L, D): false positives per square kilometre searched."""
        return ratio_or_nan(self.fp, np.broadcast_to(self.km2, self.fp.shape))

    def f_beta(self, beta: float = 1.0) -> Floats:
        """(L, D): F-beta of precision and recall (van Rijsbergen 1979); NaN with no object."""
        square = beta * beta
        value = ratio_or_nan((1 + square) * self.tp, square * self.n_gt + self.tp + self.fp)
        return np.where(self.n_gt > 0, value, np.nan)


@dataclass(frozen=True)
class ScoreCurve:
    """Matched detections, kept by group and score; `score_curve` makes it.

    Attributes:
        scores: (N,) falling.
        is_tp: (N,) whether the detection is a true positive.
        group: (N,) group of each detection, in 0..G-1.
        n_gt: (G,) ground-truth objects.
        km2: (G,) area searched.
        thresholds: (L,) falling, see `score_curve`.
        tp_at: (L, G) true positives at each threshold alone, not summed over higher ones.
        fp_at: (L, G) false positives likewise.
    """

    scores: Floats
    is_tp: NDArray[np.bool_]
    group: NDArray[np.int64]
    n_gt: Floats
    km2: Floats
    thresholds: Floats
    tp_at: csr_array
    fp_at: csr_array

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.n_gt)

    def counts(self, weights: ArrayLike | None = None) -> MatchCounts:
        """Sum over groups at every threshold.

        Args:
            weights: (G, D) how often each group counts; each once by default (D = 1).
        """
        weight = self._weights(weights)
        return MatchCounts(
            thresholds=self.thresholds,
            tp=np.cumsum(self.tp_at @ weight, axis=0),
            fp=np.cumsum(self.fp_at @ weight, axis=0),
            n_gt=self.n_gt @ weight,
            km2=self.km2 @ weight,
        )

    def counts_at(self, threshold: float | Floats, weights: ArrayLike | None = None) -> MatchCounts:
        """Sum over groups at one threshold, or at one of each group; L = 1.

        Args:
            threshold: of all groups, or (G,).
            weights: (G, D) how often each group counts; each once by default (D = 1).
        """
        weight = self._weights(weights)
        limits = np.broadcast_to(np.asarray(threshold, np.float64), (self.n_groups,))
        reported = self.scores >= limits[self.group]
        tp = np.bincount(self.group[reported & self.is_tp], minlength=self.n_groups)
        fp = np.bincount(self.group[reported & ~self.is_tp], minlength=self.n_groups)
        return MatchCounts(
            thresholds=limits[:1],
            tp=(tp @ weight)[None],
            fp=(fp @ weight)[None],
            n_gt=self.n_gt @ weight,
            km2=self.km2 @ weight,
        )

    def _weights(self, weights: ArrayLike | None) -> Floats:
        if weights is None:
            return np.ones((self.n_groups, 1))
        given = np.asarray(weights, np.float64)
        if given.ndim == 1:
            return given[:, None]
        return given


def score_curve(
    scores: ArrayLike, is_tp: ArrayLike, group: ArrayLike, *, n_gt: ArrayLike, km2: ArrayLike
) -> ScoreCurve:
    """Sort matched detections into levels of equal score.

    Only levels that hold a true positive, and the last one, are kept; false positives in between
    count towards the next. Nothing is lost: precision, F-beta, recall at a rate of false alarms and
    cost all have their best points where a true positive has just been gained.

    Args:
        scores: (N,) any order.
        is_tp: (N,) whether the detection is a true positive.
        group: (N,) group of each detection, in 0..G-1.
        n_gt: (G,) objects of each group.
        km2: (G,) area searched in each group.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    sorted_scores = np.asarray(scores, np.float64)[order]
    true = np.asarray(is_tp, bool)[order]
    groups = np.asarray(group, np.int64)[order]
    objects = np.asarray(n_gt, np.float64)
    starts, level = _levels_of_equal_score(sorted_scores)
    kept = np.unique(np.concatenate([level[true], level[-1:]]))
    row = np.searchsorted(kept, level)
    shape = (len(kept), len(objects))
    return ScoreCurve(
        scores=sorted_scores,
        is_tp=true,
        group=groups,
        n_gt=objects,
        km2=np.broadcast_to(np.asarray(km2, np.float64), objects.shape),
        thresholds=sorted_scores[starts[kept]],
        tp_at=_count_by_level(row[true], groups[true], shape),
        fp_at=_count_by_level(row[~true], groups[~true], shape),
    )


def _levels_of_equal_score(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each level, and the (N,) level of each of the sorted scores."""
    if not len(scores):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    is_lower = np.diff(scores) != 0
    starts = np.flatnonzero(np.concatenate([[True], is_lower]))
    level = np.cumsum(np.concatenate([[0], is_lower]))
    return starts, level.astype(np.int64)


def _count_by_level(
    rows: NDArray[np.int64], groups: NDArray[np.int64], shape: tuple[int, int]
) -> csr_array:
    """Return a sparse (L, G) matrix: how many entries each level and group has."""
    return csr_array((np.ones(len(rows)), (rows, groups)), shape=shape)


def average_precision(counts: MatchCounts) -> Floats:
    """Return the area under the precision-recall curve, every point interpolated.

    As in the Pascal VOC challenge from 2010 on (Everingham 2010).

    Returns:
        (D,) in [0, 1]; 0 with no detection, NaN with no object.
    """
    if not len(counts.thresholds):
        return np.where(counts.n_gt > 0, 0.0, np.nan)
    gained = np.diff(counts.tp, axis=0, prepend=0.0)
    return ratio_or_nan((gained * precision_envelope(counts)).sum(axis=0), counts.n_gt)


def precision_envelope(counts: MatchCounts) -> Floats:
    """Return (L, D) interpolated precision: the best at this recall or a higher one."""
    envelope = np.maximum.accumulate(np.nan_to_num(counts.precision)[::-1], axis=0)[::-1]
    return np.asarray(envelope, np.float64)


def recall_at_false_alarm_rate(counts: MatchCounts, per_km2: float) -> Floats:
    """Return the largest recall with at most this many false alarms per square kilometre.

    Returns:
        (D,) in [0, 1]; 0 if no threshold has so few, NaN with no object or an unknown area.
    """
    allowed = counts.fp <= per_km2 * counts.km2
    best = np.max(np.where(allowed, counts.tp, 0.0), axis=0, initial=0.0)
    return np.where(counts.km2 > 0, ratio_or_nan(best, counts.n_gt), np.nan)
