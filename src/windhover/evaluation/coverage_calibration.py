"""The calibration of a model of coverage: logits of cells or patches to probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools
from windhover.metrics.calibration import Scaling, fit_scaling
from windhover.models.apply_calibration import Calibration

MAX_SAMPLES = 400_000  # cells by which a class is calibrated; evenly chosen of more
MIN_OF_EACH = 10  # cells with and without a class that a fit of its own needs
UNCHANGED = Scaling(1.0, 0.0)


def calibrate_coverage(
    logits: NDArray[np.floating[Any]], is_class: Bools, classes: Sequence[str]
) -> tuple[Calibration, list[str]]:
    """Fit temperature and bias of each class.

    Args:
        logits: (N, K) of cells or patches.
        is_class: (N, K) whether each shows the class.
        classes: (K,) names.

    Returns:
        The calibration, and a sentence for each class that could not be fitted.
    """
    step = max(len(logits) // MAX_SAMPLES, 1)
    logits = logits[::step]
    is_class = is_class[::step]
    fits = []
    notes = []
    for index, name in enumerate(classes):
        true = is_class[:, index]
        n_true = int(true.sum())
        fit = None
        if min(n_true, len(true) - n_true) >= MIN_OF_EACH:
            fit = fit_scaling(logits[:, index], true)
        if fit is None:
            notes.append(
                f"{name}: val holds {n_true} samples of it and {len(true) - n_true} without it, "
                f"and {MIN_OF_EACH} of each are needed: its scores are not calibrated."
            )
        fits.append(fit or UNCHANGED)
    temperatures = tuple(fit.temperature for fit in fits)
    biases = tuple(fit.bias for fit in fits)
    return Calibration(temperatures, biases, temperatures, biases), notes


def samples_of_map(
    logits: NDArray[np.float32], truth: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], Bools]:
    """Return the logits (N, K) of known cells, and which class each shows (N, K).

    Args:
        logits: (K, r, c), NaN where there is no data.
        truth: (r, c) class in the middle of each cell; above K where it is not known.
    """
    n_classes = len(logits)
    known = np.isfinite(logits).all(axis=0) & (truth <= n_classes)
    of_known = truth[known].astype(np.int64)
    is_class = of_known[:, None] == np.arange(1, n_classes + 1)
    return logits[:, known].T, is_class
