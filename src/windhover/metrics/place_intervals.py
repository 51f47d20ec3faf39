"""95 % intervals of metrics for new places, from the metrics with each place left out in turn.

One place is little evidence of another, and places are few and unequal: an interval is the
estimate +- a Student quantile times the jackknife's standard error over places (Efron and
Tibshirani 1993, ch. 11), on a scale without borders: logit for shares, log for rates.

* The degrees of freedom are those of as many equal places (Kish 1965): where one place holds most
  of the objects, there are hardly more than one.
* The error is at least that of independent trials, which is exact and needs no Student quantile;
  places cannot show it where nothing was missed, or no false alarm occurred.
* Where few places are much worse than the others, a sample without one of them shows too small an
  error: the interval of a share is lengthened on the side of the skewness (Johnson 1978), by as
  much as the error exceeds that of independent trials.

`benchmarks/bench_intervals.py` measures how often these intervals hold the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, stdtrit

from windhover.geometry.arrays import Floats

# half width of a 95 % interval of a normal distribution, in standard deviations
NORMAL_95 = 1.96
# a Student quantile of fewer degrees of freedom says next to nothing
MIN_DEGREES_OF_FREEDOM = 2.0
# lengthening by skewness, in units of the correction that is exact for many places
SKEWNESS_FACTOR = 2.0
# longest lengthening, in units of the half width
MAX_LENGTHENING = 1.5


class Spread(NamedTuple):
    """What the places show of an estimate, on the scale of its interval."""

    error: float  # standard error over places
    skewness: float  # third moment of the places' influence, in units of the error
    n_effective: float  # number of equal places that are worth as much


def leave_one_out_weights(n_groups: int) -> Floats:
    """Return (G, G) weights of the groups: in each column another one is left out."""
    return np.ones((n_groups, n_groups)) - np.eye(n_groups)


def effective_groups(sizes: ArrayLike) -> float:
    """Return how many equal groups are worth as much as groups of these sizes (Kish 1965)."""
    size = np.asarray(sizes, np.float64)
    squares = float((size**2).sum())
    if not squares:
        return 0.0
    return float(size.sum() ** 2 / squares)


def student_quantile(n_groups: float) -> float:
    """Return the quantile of Student's t for a 95 % interval over groups."""
    return float(stdtrit(degrees_of_freedom(n_groups), 0.975))


def degrees_of_freedom(n_groups: float) -> float:
    """Return n - 1, and never fewer than a quantile can be taken of."""
    return max(n_groups - 1, MIN_DEGREES_OF_FREEDOM)


def jackknife_error(without_one: Floats) -> float | None:
    """Return the standard error of an estimate over equal groups; None where it is undefined.

    Args:
        without_one: (G,) the estimate without each group.
    """
    spread = jackknife_spread(without_one, np.ones(len(without_one)))
    return None if spread is None else spread.error


def jackknife_spread(without_one: Floats, sizes: ArrayLike) -> Spread | None:
    """Return what the places show of an estimate.

    Args:
        without_one: (G,) the estimate without each group, on the scale of its interval.
        sizes: (G,) of the groups: what the estimate is counted over.

    Returns:
        None if leaving out a group leaves nothing to estimate.
    """
    n_groups = len(without_one)
    if n_groups < 2 or not np.isfinite(without_one).all():
        return None
    influence = (n_groups - 1) * (without_one.mean() - without_one)
    total = float((influence**2).sum())
    skewness = 0.0
    if total > 0:
        skewness = float((influence**3).sum() / total**1.5)
    error = float(np.sqrt(total / (n_groups * (n_groups - 1))))
    return Spread(error, skewness, effective_groups(sizes))


def mean_interval(
    value: float, without_one: ArrayLike, *, sizes: ArrayLike
) -> tuple[float, float] | None:
    """Return the interval of a mean, on its own scale.

    Args:
        value: the mean.
        without_one: (G,) the mean without each group.
        sizes: (G,) number of values in each group.
    """
    spread = jackknife_spread(np.asarray(without_one, np.float64), sizes)
    if spread is None or not np.isfinite(value):
        return None
    half_width = student_quantile(spread.n_effective) * spread.error
    return value - half_width, value + half_width


def share_interval(
    value: float,
    without_one: ArrayLike,
    *,
    sizes: ArrayLike,
    n_trials: float,
    trial_share: float | None = None,
) -> tuple[float, float] | None:
    """Return the interval of a share in [0, 1], on the logit scale; it holds the value.

    Args:
        value: the share.
        without_one: (G,) the share without each group.
        sizes: (G,) objects or detections of each group that the share is counted from.
        n_trials: their number.
        trial_share: share of successes among the trials where it is not the value itself: F1 has
            the logit of TP / (TP + FP + FN) plus log 2.
    """
    half_count = 0.5 / (n_trials + 1)
    spread = jackknife_spread(_logit_inside(without_one, half_count), sizes)
    if spread is None or not np.isfinite(value):
        return None
    share = value if trial_share is None else trial_share
    trial_error = binomial_error(share, n_trials)
    center = float(_logit_inside(value, half_count))
    half_width = _half_width(spread, trial_error)
    longer = _lengthening(spread, trial_error, half_width, n_groups=np.size(without_one))
    low, high = expit(
        [center - half_width + min(longer, 0.0), center + half_width + max(longer, 0.0)]
    )
    return min(float(low), value), max(float(high), value)


def rate_interval(
    count: float, area: float, without_one: ArrayLike, *, sizes: ArrayLike
) -> tuple[float, float] | None:
    """Return the interval of count / area, on the log scale; it holds the rate.

    The error is at least that of a Poisson count. A count of 0 has the interval [0, upper].

    Args:
        count: of events.
        area: in which they were counted.
        without_one: (G,) the rate without each group.
        sizes: (G,) area of each group.
    """
    if not area > 0:
        return None
    half_count = 0.5 / area
    spread = jackknife_spread(np.log(np.asarray(without_one, np.float64) + half_count), sizes)
    if spread is None:
        return None
    center = np.log(count / area + half_count)
    half_width = _half_width(spread, float(1 / np.sqrt(count + 0.5)))
    low = float(np.exp(center - half_width)) if count else 0.0
    return min(low, count / area), float(np.exp(center + half_width))


def _logit_inside(shares: ArrayLike, margin: float) -> Floats:
    """Return the logits of shares, kept `margin` away from 0 and 1."""
    inside = np.clip(np.asarray(shares, np.float64), margin, 1 - margin)
    return np.asarray(logit(inside), np.float64)


def binomial_error(share: float, n_trials: float) -> float:
    """Return the standard error of the logit of a share of independent trials, by half counts."""
    smoothed = (share * n_trials + 0.5) / (n_trials + 1)
    return float(1 / np.sqrt(max(n_trials, 1) * smoothed * (1 - smoothed)))


def _half_width(spread: Spread, trial_error: float) -> float:
    """Return the half width by the places, or by independent trials if that is larger."""
    return max(student_quantile(spread.n_effective) * spread.error, NORMAL_95 * trial_error)


def _lengthening(spread: Spread, trial_error: float, half_width: float, *, n_groups: int) -> float:
    """Return by how much an interval is lengthened; below 0 for its lower end."""
    if not spread.error > trial_error:
        return 0.0
    excess = 1 - (trial_error / spread.error) ** 2
    quantile = student_quantile(n_groups)
    correction = spread.error * spread.skewness / 6 * (1 + 2 * quantile**2)
    limit = MAX_LENGTHENING * half_width
    return float(np.clip(SKEWNESS_FACTOR * excess * correction, -limit, limit))
