"""True and false positives and negatives of classes without boxes, and what follows from them.

Counted in pixels, cells or patches, whole or weighted. In remote sensing recall is called
producer's accuracy, and precision user's accuracy (Congalton 1991). Knows no scores.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from windhover.geometry.arrays import Floats
from windhover.metrics.nan_safe import ratio_or_nan


class BinaryCounts(NamedTuple):
    """Counts of one class against all else; arrays of one shape.

    Attributes:
        tp: the class, found.
        fp: all else, taken for the class.
        fn: the class, missed.
        tn: all else, taken for that.
    """

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats

    @property
    def producers_accuracy(self) -> Floats:
        """Share of the class that is found (recall); NaN where it does not occur."""
        return ratio_or_nan(self.tp, self.tp + self.fn)

    @property
    def users_accuracy(self) -> Floats:
        """Share of what is taken for the class that is right (precision); NaN where none is."""
        return ratio_or_nan(self.tp, self.tp + self.fp)

    @property
    def false_positive_rate(self) -> Floats:
        """Share of all else that is taken for the class; NaN where there is nothing else."""
        return ratio_or_nan(self.fp, self.fp + self.tn)

    @property
    def balanced_accuracy(self) -> Floats:
        """Mean of the shares of class and of all else that are right; NaN if one is absent."""
        return (self.producers_accuracy + 1 - self.false_positive_rate) / 2

    def f_beta(self, beta: float = 1.0) -> Floats:
        """F-beta of precision and recall (van Rijsbergen 1979); NaN where it does not occur."""
        square = beta * beta
        weighted_tp = (1 + square) * self.tp
        value = ratio_or_nan(weighted_tp, weighted_tp + square * self.fn + self.fp)
        return np.where(self.tp + self.fn > 0, value, np.nan)

    @property
    def iou(self) -> Floats:
        """Intersection over union of class and found; NaN where the class does not occur."""
        value = ratio_or_nan(self.tp, self.tp + self.fp + self.fn)
        return np.where(self.tp + self.fn > 0, value, np.nan)

    def accuracies(self) -> dict[str, Floats]:
        """Return every accuracy by name."""
        return {
            "producers_accuracy": self.producers_accuracy,
            "users_accuracy": self.users_accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "f1": self.f_beta(),
            "iou": self.iou,
            "false_positive_rate": self.false_positive_rate,
        }


def counts_by_class(matrix: ArrayLike) -> BinaryCounts:
    """Return the counts (..., K) of each class against all else.

    Args:
        matrix: (..., K, K), rows truth, columns predicted.
    """
    matrix = np.asarray(matrix, np.float64)
    tp = np.diagonal(matrix, axis1=-2, axis2=-1)
    fn = matrix.sum(axis=-1) - tp
    fp = matrix.sum(axis=-2) - tp
    total = matrix.sum(axis=(-2, -1))
    return BinaryCounts(tp=tp, fp=fp, fn=fn, tn=total[..., None] - tp - fn - fp)


def overall_accuracy(matrix: ArrayLike) -> Floats:
    """Return the share (...) of all that is right; NaN of nothing.

    Args:
        matrix: (..., K, K), rows truth, columns predicted.
    """
    matrix = np.asarray(matrix, np.float64)
    right = np.asarray(np.trace(matrix, axis1=-2, axis2=-1))
    return ratio_or_nan(right, matrix.sum(axis=(-2, -1)))


def mean_producers_accuracy(matrix: ArrayLike) -> Floats:
    """Return the balanced accuracy (...) of several classes: the mean over those that occur.

    Args:
        matrix: (..., K, K), rows truth, columns predicted.
    """
    accuracy = counts_by_class(matrix).producers_accuracy
    occurs = np.isfinite(accuracy)
    return ratio_or_nan(np.where(occurs, accuracy, 0.0).sum(axis=-1), occurs.sum(axis=-1))
