"""Accuracies of class maps with 95 % intervals for new places.

By the jackknife over places of `windhover.metrics.place_intervals`, from one confusion matrix a
scene. Neighbouring pixels are right or wrong together, so a window of 64 px counts as one
independent trial, not 4,096.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats
from windhover.metrics.binary_counts import BinaryCounts, counts_by_class, mean_producers_accuracy
from windhover.metrics.bootstrap import Estimate, resampling_groups
from windhover.metrics.coverage_metrics import BACKGROUND
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.place_intervals import leave_one_out_weights, share_interval

PX_PER_TRIAL = 64**2
OVERALL = "balanced_accuracy"


def confusion_estimates(
    matrices: NDArray[Any], places: Sequence[str], classes: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    """Return the accuracies of background and of each class, with intervals.

    Args:
        matrices: (S, K + 1, K + 1) one a scene, from `confusion_matrix`.
        places: (S,) of the scenes.
        classes: (K,) names.

    Returns:
        The accuracies of `BinaryCounts` by class, and under an empty name the `balanced_accuracy`
        of all that occur. There are no intervals with few places.
    """
    matrices = np.asarray(matrices, np.float64)
    unit, group, names = resampling_groups(list(places), [str(k) for k in range(len(places))])
    by_group = np.zeros((len(names), *matrices.shape[1:]))
    np.add.at(by_group, group, matrices)
    left_out = np.zeros((0, *matrices.shape[1:]))
    if unit == "places":
        left_out = np.einsum("gd,gij->dij", leave_one_out_weights(len(names)), by_group)
    total = by_group.sum(axis=0)
    without_one = counts_by_class(left_out).accuracies()
    sizes = _sizes(counts_by_class(by_group))
    estimates: dict[str, dict[str, Estimate]] = {name: {} for name in (BACKGROUND, *classes)}
    for accuracy, values in counts_by_class(total).accuracies().items():
        for column, name in enumerate(estimates):
            estimates[name][accuracy] = _estimate(
                values[column], without_one[accuracy][:, column], sizes[accuracy][:, column]
            )
    overall = mean_producers_accuracy(total)
    px = by_group.sum(axis=(1, 2))
    estimates[""] = {OVERALL: _estimate(overall, mean_producers_accuracy(left_out), px)}
    return estimates


def _sizes(counts: BinaryCounts) -> Mapping[str, Floats]:
    """Return how many pixels (G, K + 1) each accuracy is a share of."""
    return {
        "producers_accuracy": counts.tp + counts.fn,
        "users_accuracy": counts.tp + counts.fp,
        "balanced_accuracy": counts.tp + counts.fn,
        "f1": counts.tp + counts.fn + counts.fp,
        "iou": counts.tp + counts.fn + counts.fp,
        "false_positive_rate": counts.fp + counts.tn,
    }


def _estimate(value: Any, without_one: Floats, sizes: Floats) -> Estimate:
    """Return a share with its interval.

    Args:
        value: the share.
        without_one: (G,) without each group; empty for no interval.
        sizes: (G,) px that it is a share of.
    """
    share = float(value)
    interval = None
    if len(without_one):
        n_trials = max(float(sizes.sum()) / PX_PER_TRIAL, 1.0)
        interval = share_interval(share, without_one, sizes=sizes, n_trials=n_trials)
    low, high = interval or (None, None)
    return Estimate(finite_or_none(share), low, high)
