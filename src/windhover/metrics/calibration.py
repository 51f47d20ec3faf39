"""Fitting the few numbers that turn logits into probabilities, and measuring how true those are.

`sigmoid(logit / temperature + bias)`: temperature of Guo 2017, bias and targets of Platt 1999,
shift of the prior of Saerens 2002. Torch-free; `windhover.models.apply_calibration` applies the
fit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit

from windhover.geometry.arrays import Floats

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
        the fit, or None if one of the two outcomes does not occur at all.
    """
    logit = np.asarray(logits, np.float64)
    true = np.asarray(is_true, bool)
    n_true = int(true.sum())
    n_false = len(true) - n_true
    if not n_true or not n_false:
        return None
    target = np.where(true, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))

    def log_loss(x: Floats) -> tuple[float, Floats]:
        slope = np.exp(-x[0])
        z = logit * slope + x[1]
        error = 0.5 * (1 + np.tanh(z / 2)) - target  # sigmoid without overflow
        gradient = np.array([-np.mean(error * logit * slope), np.mean(error)])
        return float(np.mean(np.logaddexp(0, z) - target * z)), gradient

    start = np.array([0.0, float(np.log(n_true / n_false) - logit.mean())])
    start[1] = np.clip(start[1], *BIAS_BOUNDS)
    bounds = [tuple(np.log(TEMPERATURE_BOUNDS)), BIAS_BOUNDS]
    fits = [
        minimize(log_loss, first, jac=True, method="L-BFGS-B", bounds=bounds)
        for first in (start, np.zeros(2))
    ]
    best = min(fits, key=lambda fit: float(fit.fun))
    return Scaling(float(np.exp(best.x[0])), float(best.x[1]))


def prior_shift(from_prior: float, to_prior: float) -> float:
    """Return what is added to a logit when the share of positives changes.

    By Saerens 2002 and Elkan 2001. Priors of 0 and 1 carry no information about the other outcome,
    and shift nothing.
    """
    if not (0 < from_prior < 1 and 0 < to_prior < 1):
        return 0.0
    return float(np.log(to_prior / (1 - to_prior)) - np.log(from_prior / (1 - from_prior)))


class Reliability(NamedTuple):
    """Confidence and accuracy by bins of equal width; empty bins are left out.

    Attributes:
        confidence: (B,) mean score of a bin.
        accuracy: (B,) share of a bin that is true.
        n_scores: (B,) number of scores in a bin.
        ece: expected calibration error, the mean of |confidence - accuracy| weighted by
            `n_scores`; NaN without data.
        brier: mean squared difference of score and truth; NaN without data.
    """

    confidence: Floats
    accuracy: Floats
    n_scores: NDArray[np.int64]
    ece: float
    brier: float


def reliability(scores: ArrayLike, is_true: ArrayLike, n_bins: int = 10) -> Reliability:
    """Compare scores with the share that is true (Guo 2017, eq. 3; Brier 1950).

    Args:
        scores: (N,) in [0, 1].
        is_true: (N,) truth.
        n_bins: number of bins over [0, 1].
    """
    score = np.asarray(scores, np.float64)
    true = np.asarray(is_true, np.float64)
    bin_of = np.minimum((score * n_bins).astype(np.int64), n_bins - 1)
    counts = np.bincount(bin_of, minlength=n_bins)
    filled = counts > 0
    n_scores = counts[filled]
    confidence = np.bincount(bin_of, weights=score, minlength=n_bins)[filled] / n_scores
    accuracy = np.bincount(bin_of, weights=true, minlength=n_bins)[filled] / n_scores
    ece = float("nan")
    brier = float("nan")
    if len(score):
        ece = float(np.average(np.abs(confidence - accuracy), weights=n_scores))
        brier = float(np.mean((score - true) ** 2))
    return Reliability(confidence, accuracy, n_scores, ece=ece, brier=brier)


def detection_reliability(matches: pd.DataFrame, *, calibrated: bool) -> Reliability:
    """Compare the scores of detections with whether they are true positives.

    Args:
        matches: from `match_detections`, with `score` (calibrated) and `logit` (raw).
        calibrated: whether the scores are the calibrated ones, else the sigmoid of the raw logits.
    """
    counted = matches[~matches["ignored"]]
    if calibrated:
        return reliability(counted["score"], counted["is_tp"])
    return reliability(expit(counted["logit"]), counted["is_tp"])
