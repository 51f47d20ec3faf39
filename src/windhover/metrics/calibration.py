"""Fitting the few numbers that turn logits into probabilities, and measuring how true those are.

`sigmoid(logit / temperature + bias)`: temperature of Guo 2017, bias and targets of Platt 1999,
shift of the prior of Saerens 2002. Torch-free. Refuses to apply anything:
`windhover.models.calibrated_scores` makes the scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
TEMPERATURE_BOUNDS = (0.05, 50.0)
BIAS_BOUNDS = (-30.0, 30.0)


class Scaling(NamedTuple):
    """Temperature and bias of `sigmoid(logit / temperature + bias)`."""

    temperature: float
    bias: float


def fit_scaling(logits: ArrayLike, is_true: ArrayLike) -> Scaling | None:
    """Fit temperature and bias by least log loss.

    The targets are Platt's, (n + 1) / (n + 2) and 1 / (n + 2), so that few or separable data give
    finite numbers.

    Args:
        logits: (N,) raw.
        is_true: (N,) truth.

    Returns:
        the fit, or None where one of the two outcomes does not occur at all.
    """
    logit, true = np.asarray(logits, np.float64), np.asarray(is_true, bool)
    n_true, n_false = int(true.sum()), int((~true).sum())
    if not n_true or not n_false:
        return None
    target = np.where(true, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))

    def loss(x: Floats) -> tuple[float, Floats]:
        slope = np.exp(-x[0])
        z = logit * slope + x[1]
        wrong = 0.5 * (1 + np.tanh(z / 2)) - target  # sigmoid without overflow
        gradient = np.array([-np.mean(wrong * logit * slope), np.mean(wrong)])
        return float(np.mean(np.logaddexp(0, z) - target * z)), gradient

    start = np.array([0.0, float(np.log(n_true / n_false) - logit.mean())])
    start[1] = np.clip(start[1], *BIAS_BOUNDS)
    bounds = [tuple(np.log(TEMPERATURE_BOUNDS)), BIAS_BOUNDS]
    fits = [
        minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds)
        for first in (start, np.zeros(2))
    ]
    best = min(fits, key=lambda fit: float(fit.fun))
    return Scaling(float(np.exp(best.x[0])), float(best.x[1]))


def prior_shift(from_prior: float, to_prior: float) -> float:
    """Return what is added to a logit when the share of positives changes (Saerens 2002; Elkan
    2001).

    Priors of 0 and 1 say nothing of the other outcome, and shift nothing.
    """
    if not (0 < from_prior < 1 and 0 < to_prior < 1):
        return 0.0
    return float(np.log(to_prior / (1 - to_prior)) - np.log(from_prior / (1 - from_prior)))


class Reliability(NamedTuple):
    """Promised and kept, by bins of equal width; empty bins are left out."""

    promised: Floats  # (B,) mean score of a bin
    kept: Floats  # (B,) share that is true
    number: NDArray[np.int64]  # (B,) how many
    # expected calibration error: mean |promised - kept| weighted by number; NaN with no data
    error: float
    brier: float  # mean squared difference of score and truth; NaN with no data


def reliability(scores: ArrayLike, is_true: ArrayLike, bins: int = 10) -> Reliability:
    """Compare scores with what became true (Guo 2017, eq. 3; Brier 1950).

    Args:
        scores: (N,) in [0, 1].
        is_true: (N,) truth.
        bins: number of bins over [0, 1].
    """
    score, true = np.asarray(scores, np.float64), np.asarray(is_true, np.float64)
    bin_of = np.minimum((score * bins).astype(np.int64), bins - 1)
    number = np.bincount(bin_of, minlength=bins)
    filled = number > 0
    promised = np.bincount(bin_of, weights=score, minlength=bins)[filled] / number[filled]
    kept = np.bincount(bin_of, weights=true, minlength=bins)[filled] / number[filled]
    if not len(score):
        return Reliability(promised, kept, number[filled], float("nan"), float("nan"))
    error = float(np.average(np.abs(promised - kept), weights=number[filled]))
    return Reliability(promised, kept, number[filled], error, float(np.mean((score - true) ** 2)))
