"""Scores of a class over many pixels as histograms, and its curves: memory stays bounded.

A scene has a hundred million pixels, and a curve needs none of them: only how much of the class and
of all else has each of the 255 scores of a probability map. What is counted at a threshold here is
exactly what a mask at that threshold holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from windhover.geometry.arrays import Floats
from windhover.metrics.binary_counts import BinaryCounts

MAX_VALUE = 254  # of a probability map: stands for a score of 1
UNKNOWN = 255  # of a probability map or a class map: counts neither way
N_VALUES = MAX_VALUE + 1
RELIABILITY_BINS = 10


@dataclass(frozen=True)
class ScoreHistogram:
    """How much of a class, and of all else, has each score.

    Attributes:
        positive: (255,) px of the class by value of the probability map, or their weights.
        negative: (255,) px of all else.
    """

    positive: NDArray[Any]
    negative: NDArray[Any]

    @classmethod
    def of(
        cls,
        values: NDArray[np.uint8],
        is_class: NDArray[np.bool_],
        weights: ArrayLike | None = None,
    ) -> ScoreHistogram:
        """Count pixels, cells or patches.

        Args:
            values: of a probability map, any shape; 255 counts nowhere.
            is_class: whether each is of the class, same shape.
            weights: of each, same shape; whole numbers are counted by default.
        """
        value = np.asarray(values, np.uint8).ravel()
        true = np.asarray(is_class, bool).ravel()
        if weights is None:
            return cls(_count(value[true]), _count(value[~true]))
        weight = np.asarray(weights, np.float64).ravel()
        return cls(_count(value[true], weight[true]), _count(value[~true], weight[~true]))

    @classmethod
    def empty(cls) -> ScoreHistogram:
        """Return the histogram of nothing."""
        return cls(np.zeros(N_VALUES, np.int64), np.zeros(N_VALUES, np.int64))

    def __add__(self, other: ScoreHistogram) -> ScoreHistogram:
        """Return both together."""
        return ScoreHistogram(self.positive + other.positive, self.negative + other.negative)

    def counts(self) -> BinaryCounts:
        """Return the counts (255,) at every threshold, falling from a score of 1 to 0."""
        tp = np.cumsum(self.positive[::-1]).astype(np.float64)
        fp = np.cumsum(self.negative[::-1]).astype(np.float64)
        return BinaryCounts(tp=tp, fp=fp, fn=tp[-1] - tp, tn=fp[-1] - fp)


def _count(values: NDArray[np.uint8], weights: Floats | None = None) -> NDArray[Any]:
    return np.bincount(values, weights=weights, minlength=N_VALUES + 1)[:N_VALUES]


def coverage_curve(histogram: ScoreHistogram) -> pd.DataFrame:
    """Return what is right and wrong at each threshold, falling.

    Returns:
        255 rows: threshold, tp, fp, fn, tn, recall, precision, false_positive_rate,
        balanced_accuracy, f1, iou; NaN where undefined.
    """
    counts = histogram.counts()
    return pd.DataFrame(
        {
            "threshold": np.arange(MAX_VALUE, -1, -1) / MAX_VALUE,
            **counts._asdict(),
            "recall": counts.producers_accuracy,
            "precision": counts.users_accuracy,
            "false_positive_rate": counts.false_positive_rate,
            "balanced_accuracy": counts.balanced_accuracy,
            "f1": counts.f_beta(),
            "iou": counts.iou,
        }
    )


def average_precision(curve: pd.DataFrame) -> float:
    """Return the area under the precision-recall curve, every point interpolated (Everingham 2010).

    Args:
        curve: from `coverage_curve`.

    Returns:
        in [0, 1]; NaN where the class does not occur.
    """
    precision = curve["precision"].fillna(0.0).to_numpy()
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    gained = np.diff(curve["recall"].to_numpy(), prepend=0.0)
    return float((gained * envelope).sum())


def roc_auc(curve: pd.DataFrame) -> float:
    """Return the area under the ROC curve, equal scores joined by a line (Fawcett 2006).

    Args:
        curve: from `coverage_curve`.

    Returns:
        in [0, 1]; NaN where class or all else does not occur.
    """
    recall = np.concatenate([[0.0], curve["recall"]])
    rate = np.concatenate([[0.0], curve["false_positive_rate"]])
    return float(np.trapezoid(recall, rate))


def reliability_table(histogram: ScoreHistogram, n_bins: int = RELIABILITY_BINS) -> pd.DataFrame:
    """Compare scores with the share that is the class (Guo 2017, eq. 3; Brier 1950).

    Returns:
        a row for each bin of equal width that holds any pixel: score_mean, true_share, n; in its
        `attrs` the expected calibration error `ece` and the score of Brier `brier`, NaN of nothing.
    """
    scores = np.arange(N_VALUES) / MAX_VALUE
    bin_of = np.minimum((scores * n_bins).astype(np.int64), n_bins - 1)
    total = np.asarray(histogram.positive + histogram.negative, np.float64)
    n = np.bincount(bin_of, weights=total, minlength=n_bins)
    filled = n > 0
    score_sum = np.bincount(bin_of, weights=total * scores, minlength=n_bins)
    positive = np.bincount(bin_of, weights=histogram.positive, minlength=n_bins)
    table = pd.DataFrame(
        {
            "score_mean": score_sum[filled] / n[filled],
            "true_share": positive[filled] / n[filled],
            "n": n[filled],
        }
    )
    table.attrs = {"ece": float("nan"), "brier": float("nan")}
    if filled.any():
        gap = (table["score_mean"] - table["true_share"]).abs()
        table.attrs["ece"] = float(np.average(gap, weights=table["n"]))
        error = histogram.positive * (1 - scores) ** 2 + histogram.negative * scores**2
        table.attrs["brier"] = float(error.sum() / total.sum())
    return table
