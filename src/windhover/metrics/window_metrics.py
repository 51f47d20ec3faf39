"""Metrics of a classifier of windows: PR, ROC and confusion, at the sampled and the true prior.

A sample with one object in four windows flatters a detector that will meet one in a thousand: the
same windows are weighted again so that objects are as rare as in scenes. The curves are
scikit-learn's. Whole scenes are measured by `windhover.metrics.detection_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from windhover.geometry.arrays import Floats
from windhover.metrics.curve_points import linspace_rows

PR_COLUMNS = ("threshold", "recall", "precision", "precision_true")
ROC_COLUMNS = ("threshold", "false_alarm_rate", "recall")
# rows of a curve that is kept
MAX_CURVE_ROWS = 500
# where one of the two outcomes is absent
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class WindowMetrics:
    """Metrics of one class on one split's windows; None if one of the two outcomes is absent.

    Attributes:
        positives: number of windows that show the class.
        negatives: number of the other windows.
        threshold: the score at which the confusion is counted.
        confusion: true positives, false positives, false negatives, true negatives at the
            threshold.
        auc: area under the ROC curve.
        ap_sampled: average precision at the prior of the sample.
        ap_true: average precision at the true prior.
        precision: at the threshold; recall likewise.
        precision_true: precision at the threshold and the true prior.
        pr: curve with the columns `PR_COLUMNS`.
        roc: curve with the columns `ROC_COLUMNS`.
    """

    positives: int
    negatives: int
    threshold: float
    confusion: tuple[int, int, int, int]
    auc: float | None
    ap_sampled: float | None
    ap_true: float | None
    precision: float | None
    recall: float | None
    precision_true: float | None
    pr: pd.DataFrame
    roc: pd.DataFrame


def prior_weights(is_true: ArrayLike, prior: float | None) -> Floats:
    """Return (N,) weights under which the share of positives is `prior`; ones if impossible.

    Args:
        is_true: (N,) truth.
        prior: wanted share, in (0, 1); None if it is not known.
    """
    true = np.asarray(is_true, bool)
    n_true = int(true.sum())
    n_false = len(true) - n_true
    if prior is None or not (n_true and n_false and 0 < prior < 1):
        return np.ones(len(true))
    return np.where(true, 1.0, (n_true / n_false) * (1 - prior) / prior)


def best_threshold(is_true: ArrayLike, scores: ArrayLike, prior: float | None) -> float:
    """Return the score of the largest F1 at a prior; 0.5 if one of the two outcomes is absent.

    Args:
        is_true: (N,) truth.
        scores: (N,) in [0, 1].
        prior: true share of positives; None takes that of the sample.
    """
    true = np.asarray(is_true, bool)
    score = np.asarray(scores, np.float64)
    if true.all() or not true.any():
        return DEFAULT_THRESHOLD
    weight = prior_weights(true, prior)
    precision, recall, thresholds = precision_recall_curve(true, score, sample_weight=weight)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f1[:-1]))])


def measure_windows(
    is_true: ArrayLike, scores: ArrayLike, prior: float | None, *, threshold: float
) -> WindowMetrics:
    """Compute the metrics of one class.

    Args:
        is_true: (N,) whether the window shows the class.
        scores: (N,) in [0, 1].
        prior: true share of such windows; None if it is not known, and its metrics are None.
        threshold: score at which the confusion is counted.
    """
    true = np.asarray(is_true, bool)
    score = np.asarray(scores, np.float64)
    weight = None
    if prior is not None:
        weight = prior_weights(true, prior)
    reported = score >= threshold
    tp = int((true & reported).sum())
    fp = int((~true & reported).sum())
    fn = int((true & ~reported).sum())
    tn = int((~true & ~reported).sum())
    precision_true = None
    if tp + fp and weight is not None:
        precision_true = tp / (tp + float(weight[~true & reported].sum()))
    auc, ap_sampled, ap_true = _areas_under_curves(true, score, weight)
    return WindowMetrics(
        positives=tp + fn,
        negatives=fp + tn,
        threshold=threshold,
        confusion=(tp, fp, fn, tn),
        auc=auc,
        ap_sampled=ap_sampled,
        ap_true=ap_true,
        precision=_share_or_none(tp, tp + fp),
        recall=_share_or_none(tp, tp + fn),
        precision_true=precision_true,
        pr=_precision_recall_table(true, score, weight),
        roc=_roc_table(true, score),
    )


def _share_or_none(part: int, whole: int) -> float | None:
    if not whole:
        return None
    return part / whole


def _has_both_outcomes(true: NDArray[np.bool_]) -> bool:
    return bool(true.any() and not true.all())


def _areas_under_curves(
    true: NDArray[np.bool_], score: Floats, weight: Floats | None
) -> tuple[float | None, float | None, float | None]:
    """Return AUC, AP at the sampled prior, and AP at the true prior."""
    if not _has_both_outcomes(true):
        return None, None, None
    auc = float(roc_auc_score(true, score))
    ap_sampled = float(average_precision_score(true, score))
    if weight is None:
        return auc, ap_sampled, None
    ap_true = float(average_precision_score(true, score, sample_weight=weight))
    return auc, ap_sampled, ap_true


def _precision_recall_table(
    true: NDArray[np.bool_], score: Floats, weight: Floats | None
) -> pd.DataFrame:
    """Return the curve in rising recall; `precision_true` is NaN without weights."""
    if not _has_both_outcomes(true):
        return pd.DataFrame(columns=list(PR_COLUMNS))
    precision, recall, threshold = precision_recall_curve(true, score)
    precision_true = np.full_like(precision, np.nan)
    if weight is not None:
        precision_true, _, _ = precision_recall_curve(true, score, sample_weight=weight)
    # the last point is recall 0, which has no threshold
    columns = (threshold, recall[:-1], precision[:-1], precision_true[:-1])
    table = pd.DataFrame(dict(zip(PR_COLUMNS, columns, strict=True)))
    return _thin(table.iloc[::-1])


def _roc_table(true: NDArray[np.bool_], score: Floats) -> pd.DataFrame:
    """Return the ROC curve in rising false alarm rate."""
    if not _has_both_outcomes(true):
        return pd.DataFrame(columns=list(ROC_COLUMNS))
    false_alarm_rate, recall, threshold = roc_curve(true, score)
    columns = (threshold, false_alarm_rate, recall)
    table = pd.DataFrame(dict(zip(ROC_COLUMNS, columns, strict=True)))
    # the first point reports nothing, at an infinite threshold
    return _thin(table.iloc[1:])


def _thin(table: pd.DataFrame) -> pd.DataFrame:
    rows = linspace_rows(len(table), MAX_CURVE_ROWS)
    return table.iloc[rows].reset_index(drop=True)
