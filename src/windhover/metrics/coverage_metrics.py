"""Class maps measured against the truth: confusion, accuracies, and errors of the covered share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import resampling_groups
from windhover.metrics.coverage_curves import MAX_VALUE, UNKNOWN
from windhover.metrics.nan_safe import finite_or_none, ratio_or_nan
from windhover.metrics.place_intervals import leave_one_out_weights, mean_interval

BACKGROUND = "background"
# a threshold is met by the value of a map that stands for it, in spite of rounding
ROUNDING = 1e-6
SHARE_COLUMNS = ("scene", "place", "class", "cells", "true_share", "predicted_share")


def threshold_values(thresholds: Sequence[float]) -> NDArray[np.uint8]:
    """Return the smallest value of a probability map that reaches each threshold, (K,)."""
    return np.ceil(np.asarray(thresholds, np.float64) * MAX_VALUE - ROUNDING).astype(np.uint8)


def classes_at(values: NDArray[np.uint8], thresholds: Sequence[float]) -> NDArray[np.uint8]:
    """Return the class of each pixel or cell: a class map.

    Of the classes that reach their threshold it is the one with the largest score in units of its
    threshold; the first of equal ones.

    Args:
        values: (K, rows, cols) of a probability map.
        thresholds: (K,) scores from which a pixel is taken for each class.

    Returns:
        (rows, cols) 0 for background, k + 1 for class k, 255 where any class is unknown.
    """
    lowest = threshold_values(thresholds)
    best = np.zeros(values.shape[1:], np.float32)
    classes = np.zeros(values.shape[1:], np.uint8)
    for number, (plane, low) in enumerate(zip(values, lowest, strict=True), 1):
        ratio = np.where(plane >= low, (plane + np.float32(ROUNDING)) / max(float(low), 0.5), 0)
        is_better = ratio > best
        classes[is_better] = number
        best = np.maximum(best, ratio)
    classes[(values == UNKNOWN).any(axis=0)] = UNKNOWN
    return classes


def confusion_matrix(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], n_classes: int
) -> NDArray[np.int64]:
    """Return how many pixels of each true class (rows) were taken for each class (columns).

    Args:
        predicted: class map, any shape.
        truth: class map, same shape.
        n_classes: number of classes K without background.

    Returns:
        (K + 1, K + 1), background first; what is 255 in either map is left out.
    """
    true = np.asarray(truth, np.int64).ravel()
    found = np.asarray(predicted, np.int64).ravel()
    counted = (true <= n_classes) & (found <= n_classes)
    cells = true[counted] * (n_classes + 1) + found[counted]
    counts = np.bincount(cells, minlength=(n_classes + 1) ** 2)
    return counts.reshape(n_classes + 1, n_classes + 1).astype(np.int64)


def share_error_table(shares: pd.DataFrame) -> pd.DataFrame:
    """Return how far the covered share of a scene is from the true one, by class.

    Each scene counts alike. The 95 % intervals are for new places, from the mean without each place
    in turn (`windhover.metrics.place_intervals`).

    Args:
        shares: `SHARE_COLUMNS`, a row for each scene and class; shares in 0..1, NaN of scenes in
            which nothing is known, which are left out.

    Returns:
        a row for each class in the order of their first rows: class, scenes, places,
        mean_abs_error, mean_abs_error_low, mean_abs_error_high, bias, bias_low, bias_high, worst,
        worst_scene. Intervals are None with few places; `worst` has its sign.
    """
    rows = []
    for name, of_class in shares.groupby("class", sort=False):
        error = of_class["predicted_share"] - of_class["true_share"]
        known = error.notna()
        rows.append({"class": name} | _share_errors(of_class[known], error[known].to_numpy()))
    return pd.DataFrame(rows)


def _share_errors(shares: pd.DataFrame, error: Floats) -> dict[str, Any]:
    """Return the errors of the shares of one class, with intervals."""
    row: dict[str, Any] = {"scenes": len(shares), "places": int(shares["place"].nunique())}
    places = shares["place"].astype(str).tolist()
    unit, group, names = resampling_groups(places, shares["scene"].astype(str).tolist())
    for key, values in (("mean_abs_error", np.abs(error)), ("bias", error)):
        interval = None
        mean = float("nan")
        if len(values):
            mean = float(values.mean())
        if unit == "places":
            interval = _interval_of_mean(mean, values, group=group, n_groups=len(names))
        low, high = interval or (None, None)
        if low is not None and key == "mean_abs_error":
            low = max(low, 0.0)
        row |= {key: finite_or_none(mean), f"{key}_low": low, f"{key}_high": high}
    row |= {"worst": None, "worst_scene": None}
    if len(error):
        worst = int(np.argmax(np.abs(error)))
        row |= {"worst": float(error[worst]), "worst_scene": str(shares["scene"].iloc[worst])}
    return row


def _interval_of_mean(
    mean: float, values: Floats, *, group: NDArray[np.int64], n_groups: int
) -> tuple[float, float] | None:
    """Return the interval of a mean over scenes (S,) in groups."""
    sizes = np.bincount(group, minlength=n_groups).astype(np.float64)
    sums = np.bincount(group, weights=values, minlength=n_groups)
    left = leave_one_out_weights(n_groups)
    return mean_interval(mean, ratio_or_nan(sums @ left, sizes @ left), sizes=sizes)
