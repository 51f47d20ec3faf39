"""Average precision of windows on validation patches, by which the weights to keep are chosen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from windhover.errors import DataError

DIVERGED = (
    "training diverged: the network's answers are no numbers any more. Lower train.learning_rate."
)


def window_ap(
    logits: NDArray[np.float32],
    labels: NDArray[np.float32],
    sample_weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the mean over classes of the average precision of windows; 0 without a positive.

    Args:
        logits: (N, K).
        labels: (N,) class index, below 0 for background.
        sample_weights: (N,) how many windows each stands for; None for one each.

    Raises:
        DataError: logits that are not numbers.
    """
    from sklearn.metrics import average_precision_score

    if not np.isfinite(logits).all():
        raise DataError(DIVERGED)
    if sample_weights is None:
        sample_weights = np.ones(len(labels))
    per_class = []
    for index in range(logits.shape[1]):
        is_positive = labels == index
        if is_positive.any():
            ap = average_precision_score(
                is_positive, logits[:, index], sample_weight=sample_weights
            )
            per_class.append(float(ap))
    if not per_class:
        return 0.0
    return float(np.mean(per_class))


def standard_error(ap: float, n_positives: int) -> float:
    """Return the standard error of an average precision measured on so many positives.

    Binomial, after Boyd, Eng and Page 2013 (Area under the precision-recall curve: point estimates
    and confidence intervals); one more hit and one more miss keep it from vanishing where nothing
    has been missed (Laplace).
    """
    share = (ap * n_positives + 1) / (n_positives + 2)
    return math.sqrt(share * (1 - share) / max(n_positives, 1))
