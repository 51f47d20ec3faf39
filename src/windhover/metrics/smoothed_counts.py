"""Counts by threshold of scores smoothed on the logit scale, to choose one from few objects.

F-beta and cost of a few hundred objects rise and fall with every detection, and their best
threshold follows chance. The best cut of two distributions has less error where a kernel smooths
them first (Fluss, Faraggi and Reiser 2005, for Youden's index); `benchmarks/bench_threshold.py`
measures how much less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from windhover.geometry.arrays import Floats
from windhover.metrics.score_curve import MatchCounts, ScoreCurve

# of one true positive, logits; it shrinks with the fifth root of their number, as a kernel estimate
# wants it (Silverman 1986, sec. 3.4)
BANDWIDTH = 1.5
# thresholds in bandwidths below the lowest true positive, where nothing more is to be found
REACH = 2.0
STEP = 0.02  # between thresholds, logits
HIGHEST_LOGIT = 14.0
# beyond so many bandwidths a kernel is 0 or 1
KERNEL_REACH = 5.0


class SmoothedCurve:
    """A score curve of which every detection counts by the kernel's share above a threshold.

    Attributes:
        thresholds: (L,) falling, steps of 0.02 on the logit scale.
        tp: (L, G) smoothed true positives of each group.
        fp: (L, G) smoothed false positives.
    """

    def __init__(self, curve: ScoreCurve) -> None:
        """Smooth a curve.

        Args:
            curve: of calibrated scores in [0, 1], with at least one true positive.
        """
        logits = logit(np.clip(curve.scores, expit(-HIGHEST_LOGIT), expit(HIGHEST_LOGIT)))
        true_logits = logits[curve.is_tp]
        bandwidth = BANDWIDTH * len(true_logits) ** -0.2
        lowest = true_logits.min() - REACH * bandwidth
        steps = np.arange(int(np.ceil((logits.max() + bandwidth - lowest) / STEP)) + 1)
        levels = lowest + STEP * steps[::-1]
        self.thresholds: Floats = expit(levels)
        self.n_gt = curve.n_gt
        self.km2 = curve.km2
        # rounded to the steps first: as many cells as steps, for any number of detections
        reach = int(np.ceil(KERNEL_REACH * bandwidth / STEP))
        cells = np.rint((logits - lowest) / STEP).astype(np.int64) + reach
        shape = (len(steps) + reach, curve.n_groups)
        cell_logits = lowest + STEP * (np.arange(shape[0]) - reach)
        share = norm.cdf((cell_logits - levels[:, None]) / bandwidth)
        is_tp = curve.is_tp & (cells >= 0)
        is_fp = ~curve.is_tp & (cells >= 0)
        self.tp: Floats = share @ _histogram(cells[is_tp], curve.group[is_tp], shape)
        self.fp: Floats = share @ _histogram(cells[is_fp], curve.group[is_fp], shape)

    def counts(self, weights: Floats) -> MatchCounts:
        """Sum over groups at every threshold.

        Args:
            weights: (G, D) how often each group counts.
        """
        return MatchCounts(
            thresholds=self.thresholds,
            tp=self.tp @ weights,
            fp=self.fp @ weights,
            n_gt=self.n_gt @ weights,
            km2=self.km2 @ weights,
        )


def _histogram(
    cells: NDArray[np.int64], groups: NDArray[np.int64], shape: tuple[int, int]
) -> Floats:
    """Return how many detections each cell and group has, as an array of a shape."""
    table = np.zeros(shape)
    np.add.at(table, (cells, groups), 1.0)
    return table
