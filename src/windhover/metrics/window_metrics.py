"""Figures of a classifier of windows: PR, ROC and confusion, at the prior of the sample and at the
true one.

A sample of one object in four flatters a detector that will meet one in a thousand: the same
windows are weighed again so that objects are as rare as they are. The curves are scikit-learn's.
Refuses scenes: those are `windhover.metrics.detection_metrics`.
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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WindowFigures:
    """What can be said of one class on one split's windows; None where one of the two outcomes is
    absent.

    Attributes:
        positives, negatives: how many windows.
        threshold: the score at which the confusion is counted.
        confusion: true positives, false positives, false negatives, true negatives at the
            threshold.
        auc: area under the ROC curve.
        ap_sampled, ap_true: average precision at the sample's prior and at the true one.
        precision, recall, precision_true: at the threshold; the last one at the true prior.
        pr: `threshold, recall, precision, precision_true`; roc: `threshold, false_alarm_rate,
            recall`.
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


def weigh_to_prior(is_true: ArrayLike, prior: float | None) -> Floats:
    """Return (N,) weights under which the share of positives is `prior`; ones where that cannot be
    had.

    Args:
        is_true: (N,) truth.
        prior: wanted share, in (0, 1); None where it is not known.
    """
    true = np.asarray(is_true, bool)
    n_true, n_false = int(true.sum()), int((~true).sum())
    if prior is None or not (n_true and n_false and 0 < prior < 1):
        return np.ones(len(true))
    return np.where(true, 1.0, (n_true / n_false) * (1 - prior) / prior)


def best_threshold(is_true: ArrayLike, scores: ArrayLike, prior: float | None) -> float:
    """Return the score of largest F1 at the true prior, or the sample's; 0.5 where one of the two
    is absent.
    """
    true, score = np.asarray(is_true, bool), np.asarray(scores, np.float64)
    if true.all() or not true.any():
        return 0.5
    weight = weigh_to_prior(true, prior)
    precision, recall, thresholds = precision_recall_curve(true, score, sample_weight=weight)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(thresholds[int(np.argmax(f1[:-1]))])


def window_figures(
    is_true: ArrayLike, scores: ArrayLike, prior: float | None, threshold: float
) -> WindowFigures:
    """Compute the figures of one class.

    Args:
        is_true: (N,) whether the window holds the class.
        scores: (N,) in [0, 1].
        prior: true share of such windows; None where it is not known, and nothing is said of it.
        threshold: score at which the confusion is counted.
    """
    true, score = np.asarray(is_true, bool), np.asarray(scores, np.float64)
    reported = score >= threshold
    tp, fp = int((true & reported).sum()), int((~true & reported).sum())
    fn, tn = int((true & ~reported).sum()), int((~true & ~reported).sum())
    known = bool(true.any() and not true.all())
    weight = weigh_to_prior(true, prior)
    weighted_alarms = float(weight[~true & reported].sum())
    return WindowFigures(
        positives=tp + fn,
        negatives=fp + tn,
        threshold=threshold,
        confusion=(tp, fp, fn, tn),
        auc=float(roc_auc_score(true, score)) if known else None,
        ap_sampled=float(average_precision_score(true, score)) if known else None,
        ap_true=float(average_precision_score(true, score, sample_weight=weight))
        if known and prior is not None
        else None,
        precision=tp / (tp + fp) if tp + fp else None,
        recall=tp / (tp + fn) if tp + fn else None,
        precision_true=tp / (tp + weighted_alarms) if tp + fp and prior is not None else None,
        pr=_pr(true, score, None if prior is None else weight)
        if known
        else pd.DataFrame(columns=["threshold", "recall", "precision", "precision_true"]),
        roc=_roc(true, score)
        if known
        else pd.DataFrame(columns=["threshold", "false_alarm_rate", "recall"]),
    )


def _pr(true: NDArray[np.bool_], score: Floats, weight: Floats | None) -> pd.DataFrame:
    precision, recall, threshold = precision_recall_curve(true, score)
    precision_true = np.full_like(precision, np.nan)
    if weight is not None:
        precision_true, _, _ = precision_recall_curve(true, score, sample_weight=weight)
    frame = pd.DataFrame({"threshold": threshold, "recall": recall[:-1]})
    frame = frame.assign(precision=precision[:-1], precision_true=precision_true[:-1])
    return _thin(frame.iloc[::-1])


def _roc(true: NDArray[np.bool_], score: Floats) -> pd.DataFrame:
    false_alarm_rate, recall, threshold = roc_curve(true, score)
    return _thin(
        pd.DataFrame(
            {"threshold": threshold, "false_alarm_rate": false_alarm_rate, "recall": recall}
        ).iloc[1:]
    )


def _thin(frame: pd.DataFrame, rows: int = 500) -> pd.DataFrame:
    keep = np.unique(np.linspace(0, max(len(frame) - 1, 0), rows).round().astype(int))[: len(frame)]
    return frame.iloc[keep].reset_index(drop=True)
