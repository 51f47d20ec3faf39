"""Precision and recall of all detections, from the rows and areas that were reviewed.

Precision: rows of the order are known and stand for themselves; the others are estimated from the
rows drawn at random, by stratum (Cochran 1977, ch. 5, of the part of each stratum that the order
left). Its interval is Wilson's at the effective number of rows (Korn and Graubard 1998).

Recall: objects that no detection shows are counted in the drawn areas, each weighted by one over
its probability (Horvitz and Thompson 1952); its interval is Student's on the logit, with the error
of the jackknife over areas, and at least that of as many independent objects as the weights leave.
`benchmarks/bench_review_sampling.py` measures how often both hold the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.metrics.place_intervals import (
    NORMAL_95,
    binomial_error,
    jackknife_spread,
    student_quantile,
)

MIN_AREAS = 2  # of an interval of the recall


@dataclass(frozen=True)
class Estimate:
    """A share with its 95 % interval.

    Attributes:
        value: the estimate, None where nothing was reviewed that shows it.
        low: lower end, None where there is no interval.
        high: upper end.
        n_rows: rows or areas that it is from.
    """

    value: float | None
    low: float | None
    high: float | None
    n_rows: int

    def describe(self, name: str) -> str:
        """Return such as `precision 0.92 [0.83, 0.97]`."""
        if self.value is None:
            return f"{name} unknown"
        if self.low is None or self.high is None:
            return f"{name} {self.value:.2f} (no interval)"
        return f"{name} {self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class SampledRows:
    """Detections with a verdict, as the estimate needs them.

    Attributes:
        is_true: (R,) an object.
        is_random: (R,) drawn at random.
        is_ordered: (R,) among the first of the order.
        stratum: (R,) of the score.
        stratum_sizes: (S,) detections of each stratum, reviewed or not.
    """

    is_true: Bools
    is_random: Bools
    is_ordered: Bools
    stratum: Ints
    stratum_sizes: Ints


def estimate_precision(rows: SampledRows) -> Estimate:
    """Return the share of true ones among all detections."""
    total = int(rows.stratum_sizes.sum())
    n_strata = len(rows.stratum_sizes)
    known = rows.is_ordered
    n_known = np.bincount(rows.stratum[known], minlength=n_strata)
    used = rows.is_random & ~known
    if rows.is_random.any() and not used.any() and n_known.sum() < total:
        # all were to be seen and some were not: those drawn at random stand for them
        known = np.zeros(len(known), bool)
        n_known = np.zeros(n_strata, np.int64)
        used = rows.is_random
    n_true_known = int(rows.is_true[known].sum())
    n_used = int((rows.is_random | known).sum())
    left = (rows.stratum_sizes - n_known).astype(np.float64)
    n_left = float(left.sum())
    if total == 0 or (n_left > 0 and not used.any()):
        return Estimate(None, None, None, n_used)
    if n_left == 0:
        share = n_true_known / total
        return Estimate(share, share, share, n_used)
    sampled = np.bincount(rows.stratum[used], minlength=n_strata).astype(np.float64)
    true = np.bincount(rows.stratum[used & rows.is_true], minlength=n_strata).astype(np.float64)
    share, low, high = _group_mean(*_collapsed(left, sampled, true))
    value, lowest, highest = ((n_true_known + n_left * part) / total for part in (share, low, high))
    return Estimate(value, lowest, highest, n_used)


def _collapsed(left: Floats, sampled: Floats, true: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the strata with those that have no reviewed row joined to the one before them."""
    parts: list[list[float]] = []
    waiting = 0.0  # detections of strata before the first with a reviewed row
    for size, n_drawn, n_true in zip(left, sampled, true, strict=True):
        if n_drawn == 0 and parts:
            parts[-1][0] += size
        elif n_drawn == 0:
            waiting += size
        else:
            parts.append([size + waiting, n_drawn, n_true])
            waiting = 0.0
    table = np.array(parts)
    return table[:, 0], table[:, 1], table[:, 2]


def _group_mean(left: Floats, sampled: Floats, true: Floats) -> tuple[float, float, float]:
    """Return a share over strata and its interval: Wilson's at the effective number of rows."""
    weight = left / left.sum()
    share = float((weight * true / sampled).sum())
    overall = (true.sum() + 0.5) / (sampled.sum() + 1)
    smooth = (true + overall) / (sampled + 1)  # a stratum without a miss still has a spread
    missing = np.clip(1 - sampled / np.maximum(left, sampled), 0, 1)
    variance = float((weight**2 * missing * smooth * (1 - smooth) / sampled).sum())
    if variance == 0:
        return share, share, share
    middle = float((weight * smooth).sum())
    n_effective = middle * (1 - middle) / variance
    low, high = wilson_interval(share, n_effective)
    return share, low, high


def wilson_interval(share: float, n_trials: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of independent trials (Wilson 1927)."""
    square = NORMAL_95**2
    center = (share + square / (2 * n_trials)) / (1 + square / n_trials)
    spread = share * (1 - share) / n_trials + square / (4 * n_trials**2)
    half_width = NORMAL_95 * np.sqrt(spread) / (1 + square / n_trials)
    return float(max(center - half_width, 0.0)), float(min(center + half_width, 1.0))


@dataclass(frozen=True)
class SampledAreas:
    """Areas in which every object is known.

    Attributes:
        n_found: (M,) objects that a detection shows, of each area.
        n_missed: (M,) objects that none shows.
        prob: (M,) with which each was chosen; over how many were declared complete where
            some were not.
    """

    n_found: Floats
    n_missed: Floats
    prob: Floats


def estimate_recall(areas: SampledAreas, precision: Estimate, n_detections: int) -> Estimate:
    """Return the share of all objects that a detection shows.

    Args:
        areas: that were declared complete.
        precision: of the detections.
        n_detections: all of them.
    """
    count = len(areas.prob)
    if count == 0 or precision.value is None or (areas.n_found + areas.n_missed).sum() == 0:
        return Estimate(None, None, None, count)
    found = n_detections * precision.value
    missed = areas.n_missed / areas.prob
    total = found + float(missed.sum())
    if total == 0:
        return Estimate(None, None, None, count)
    value = found / total
    interval = _recall_interval(areas, missed, found)
    if interval is None:
        return Estimate(value, None, None, count)
    low, high = _widened(value, interval, precision)
    return Estimate(value, low, high, count)


def _recall_interval(
    areas: SampledAreas, missed: Floats, found: float
) -> tuple[float, float] | None:
    """Return the interval of the recall by what the areas show, the detections being known."""
    count = len(missed)
    if count < MIN_AREAS:
        return None
    objects = areas.n_found + areas.n_missed
    weights = 1 / areas.prob
    n_effective = float((objects * weights).sum()) ** 2 / float((objects * weights**2).sum())
    margin = 0.5 / (n_effective + 1)

    def inside(shares: Floats) -> Floats:
        return np.asarray(logit(np.clip(shares, margin, 1 - margin)), np.float64)

    others = (missed.sum() - missed) * count / (count - 1)
    without_one = found / np.maximum(found + others, 1e-300)
    value = found / (found + missed.sum())
    spread = jackknife_spread(inside(without_one), objects * weights)
    if spread is None:
        return None
    by_chance = NORMAL_95 * binomial_error(value, n_effective)
    half_width = max(student_quantile(count) * spread.error, by_chance)
    center = inside(np.array([value]))[0]
    low, high = expit([center - half_width, center + half_width])
    return min(float(low), value), max(float(high), value)


def _widened(
    value: float, interval: tuple[float, float], precision: Estimate
) -> tuple[float, float]:
    """Return the interval with the error of the number of found objects, on the logit scale."""
    if precision.low is None or precision.high is None or not 0 < value < 1:
        return interval
    margin = 1e-6
    center = logit(value)
    ends = []
    for end, share in zip(interval, (precision.low, precision.high), strict=True):
        by_areas = logit(np.clip(end, margin, 1 - margin)) - center
        by_rows = np.log(max(share, margin) / max(precision.value or margin, margin))
        ends.append(float(expit(center + np.sign(by_areas) * np.hypot(by_areas, by_rows))))
    return ends[0], ends[1]
