"""Score curves as tables: points of a curve, and the band of its precision over the resamples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import BootstrapSample, bootstrap_values
from windhover.metrics.score_curve import MatchCounts, ScoreCurve, precision_envelope

N_RECALLS = 101  # of a band


def linspace_rows(n_rows: int, max_rows: int) -> NDArray[np.int64]:
    """Return at most `max_rows` rising row numbers of 0..n_rows-1, first and last included."""
    spaced = np.linspace(0, max(n_rows - 1, 0), max_rows)
    return np.unique(spaced.round().astype(np.int64))[:n_rows]


def curve_table(counts: MatchCounts, max_rows: int = 400) -> pd.DataFrame:
    """Return a curve as a table of at most `max_rows` thresholds, first and last included."""
    keep = linspace_rows(len(counts.thresholds), max_rows)
    return pd.DataFrame(
        {
            "threshold": counts.thresholds[keep],
            "recall": counts.recall[keep, 0],
            "precision": counts.precision[keep, 0],
            "false_alarms_per_km2": counts.false_alarms_per_km2[keep, 0],
            "tp": counts.tp[keep, 0].astype(int),
            "fp": counts.fp[keep, 0].astype(int),
        }
    )


def precision_band(curve: ScoreCurve, sample: BootstrapSample) -> pd.DataFrame:
    """Return the 95 % band of the interpolated precision: `recall, low, high`; may be empty.

    Pointwise: at each recall, the percentiles of the resamples' precisions; 0 in a resample that
    never reaches the recall. Empty without resamples, and where places are too few.
    """
    recall = np.linspace(0, 1, N_RECALLS)

    def at_recall(weights: Floats) -> dict[str, Floats]:
        return {"precision": _precision_at_recall(curve.counts(weights), recall)}

    values = None
    if len(curve.thresholds) and sample.has_enough_places:
        n_rows = max(len(curve.thresholds), N_RECALLS)
        values = bootstrap_values(at_recall, sample.weights, n_rows).get("precision")
    if values is None or not len(values):
        return pd.DataFrame({"recall": [], "low": [], "high": []}, dtype=float)
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return pd.DataFrame({"recall": recall, "low": low, "high": high})


def _precision_at_recall(counts: MatchCounts, recall: Floats) -> Floats:
    """Return (D, P): interpolated precision at each of P recalls, 0 above the largest recall."""
    envelope = precision_envelope(counts)
    padded = np.vstack([envelope, np.zeros(envelope.shape[1])])
    reached = np.nan_to_num(counts.recall)
    rows = []
    for column in range(reached.shape[1]):
        first = np.searchsorted(reached[:, column], recall - 1e-12)
        rows.append(padded[first, column])
    return np.array(rows).reshape(-1, len(recall))
