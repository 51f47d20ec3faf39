"""Curves as PNG: precision-recall, FROC, windows, and the metrics against the threshold.

Draws what it is given, without a display and with the same bytes every time. Computes no metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from windhover.metrics.bootstrap import Estimate
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.rate_unit import RATE, labeled_estimate, rate_unit
from windhover.metrics.score_curve import MatchCounts
from windhover.metrics.window_metrics import WindowMetrics
from windhover.rendering.plot_style import (
    GUIDE_COLOR,
    INK,
    MARK_COLOR,
    RECALL_COLOR,
    SHARE_LIMITS,
    TEST_COLOR,
    VAL_COLOR,
    add_legend,
    add_titles,
    plot_file,
)
from windhover.rendering.text import format_estimate, format_value

VAL = "val"
F1_LINES = (0.5, 0.7, 0.8, 0.9, 0.95)
MARKED_FALSE_ALARM_RATES = (1.0, 5.0)
LOWEST_FALSE_ALARM_RATE = 1e-4


def plot_precision_recall(
    path: Path,
    curves: Mapping[str, MatchCounts],
    *,
    band: pd.DataFrame,
    estimates: Mapping[str, Estimate],
    subtitle: str,
) -> None:
    """Plot precision against recall on whole scenes, with the operating point and the 95 % band.

    Args:
        path: PNG to write.
        curves: name -> pooled curve: the one that is measured, and perhaps that of val.
        band: `recall, low, high`: 95 % of its resampled precisions.
        estimates: its `precision`, `recall` and `ap`.
        subtitle: what was searched.
    """
    with plot_file(path, (6.4, 5.4)) as (_, axes):
        _plot_f1_lines(axes)
        if len(band):
            axes.fill_between(
                band["recall"],
                band["low"],
                band["high"],
                color=TEST_COLOR,
                alpha=0.15,
                lw=0,
                label="95 % of the resamples",
            )
        for name, counts in curves.items():
            options: dict[str, Any] = {
                "color": TEST_COLOR,
                "label": f"{name}, AP {format_estimate(estimates['ap'])}",
            }
            if name == VAL:
                options = {"color": VAL_COLOR, "lw": 1.4, "label": name}
            _plot_envelope(axes, counts.recall[:, 0], counts.precision[:, 0], **options)
        _mark_operating_point(axes, estimates["recall"], estimates["precision"])
        axes.set(
            xlabel="recall: share of the objects that is detected",
            ylabel="precision: share of the detections that is true",
            xlim=SHARE_LIMITS,
            ylim=SHARE_LIMITS,
        )
        add_titles(axes, "Precision and recall on whole scenes", subtitle)
        add_legend(axes, "lower left")


def plot_froc(
    path: Path,
    curves: Mapping[str, MatchCounts],
    *,
    estimates: Mapping[str, Estimate],
    subtitle: str,
) -> None:
    """Plot recall against false alarms per km2 (log), with the operating point.

    Args:
        path: PNG to write.
        curves: name -> pooled curve: the one that is measured, and perhaps that of val.
        estimates: its `recall` and `false_alarms_per_km2`.
        subtitle: what was searched.
    """
    unit = rate_unit(estimates["false_alarms_per_km2"].value)
    floor = _lowest_rate([counts.false_alarms_per_km2[:, 0] for counts in curves.values()])
    with plot_file(path, (6.4, 5.4)) as (_, axes):
        for label, counts in curves.items():
            color = VAL_COLOR if label == VAL else TEST_COLOR
            rate = np.maximum(counts.false_alarms_per_km2[:, 0], floor)
            recall = counts.recall[:, 0]
            axes.plot(rate / unit.per_km2, recall, color=color, drawstyle="steps-post", label=label)
        at_least = _at_least(estimates["false_alarms_per_km2"], floor)
        _, rate_estimate = labeled_estimate(RATE, "", at_least)
        _mark_operating_point(axes, rate_estimate, estimates["recall"])
        axes.set_xscale("log")
        axes.set(
            xlabel=f"false alarms per {unit.symbol}",
            ylabel="recall: share of the objects that is detected",
            ylim=SHARE_LIMITS,
        )
        for marked_rate in MARKED_FALSE_ALARM_RATES:
            axes.axvline(marked_rate / unit.per_km2, color=GUIDE_COLOR, lw=1, ls=":")
        add_titles(axes, "Recall against false alarms (FROC)", subtitle)
        add_legend(axes, "lower right")


def _lowest_rate(rates: list[Any]) -> float:
    """Return where a rate of 0 is drawn on a logarithmic axis."""
    known = np.concatenate([rate[np.isfinite(rate) & (rate > 0)] for rate in rates])
    return max(float(known.min(initial=1.0)) / 2, LOWEST_FALSE_ALARM_RATE)


def _at_least(estimate: Estimate, floor: float) -> Estimate:
    return Estimate(*(None if value is None else max(value, floor) for value in estimate))


def plot_window_curves(path: Path, metrics: WindowMetrics, subtitle: str) -> None:
    """Plot precision-recall at both priors, and ROC, of windows, side by side."""
    with plot_file(path, (10.5, 4.8), n_columns=2) as (_, (left, right)):
        recall = metrics.pr["recall"]
        if len(recall):
            _plot_envelope(
                left,
                recall,
                metrics.pr["precision"],
                color=VAL_COLOR,
                label=f"sampled prior, AP {format_value(metrics.ap_sampled)}",
            )
            _plot_envelope(
                left,
                recall,
                metrics.pr["precision_true"],
                color=TEST_COLOR,
                label=f"true prior, AP {format_value(metrics.ap_true)}",
            )
        left.set(xlabel="recall", ylabel="precision", xlim=SHARE_LIMITS, ylim=SHARE_LIMITS)
        add_legend(left, "lower left")
        add_titles(left, "Windows: precision and recall", subtitle)
        if len(metrics.roc):
            auc = f"AUC {format_value(metrics.auc, 4)}"
            false_positive_rate = metrics.roc["false_alarm_rate"]
            right.plot(false_positive_rate, metrics.roc["recall"], color=TEST_COLOR, label=auc)
        right.set_xscale("symlog", linthresh=1e-3)
        right.set(
            xlabel="false positive rate (linear below 0.001)",
            ylabel="recall",
            xlim=(0, 1),
            ylim=SHARE_LIMITS,
        )
        add_legend(right, "lower right")
        add_titles(right, "Windows: ROC", "does not depend on how rare objects are")


def plot_threshold_choice(
    path: Path, counts: MatchCounts, chosen: ChosenThreshold, *, subtitle: str, rule: str
) -> None:
    """Plot precision, recall and F1 against the threshold, with the chosen threshold.

    Args:
        path: PNG to write.
        counts: curve of the class where the threshold was chosen.
        chosen: its threshold and interval.
        subtitle: the class, and where that was.
        rule: by which it was chosen.
    """
    with plot_file(path, (6.4, 5.0)) as (_, axes):
        curves = (
            (counts.precision[:, 0], TEST_COLOR, "precision"),
            (counts.recall[:, 0], RECALL_COLOR, "recall"),
            (counts.f_beta()[:, 0], INK, "F1"),
        )
        for values, color, label in curves:
            axes.plot(counts.thresholds, values, color=color, label=label, lw=1.6)
        if chosen.low is not None and chosen.high is not None:
            axes.axvspan(chosen.low, chosen.high, color=MARK_COLOR, alpha=0.12, lw=0)
        threshold_label = f"threshold {chosen.threshold:.3f}"
        axes.axvline(chosen.threshold, color=MARK_COLOR, lw=1.6, label=threshold_label)
        axes.set(xlabel="threshold on the calibrated score", xlim=(0, 1), ylim=SHARE_LIMITS)
        shaded = f"{subtitle}; shaded: 95 % of the resamples"
        add_titles(axes, f"Operating point: {rule}", shaded)
        add_legend(axes, "best")


def _plot_envelope(axes: Axes, recall: Any, precision: Any, **options: Any) -> None:
    """Plot the interpolated curve: the best precision at this recall or a higher one."""
    recall = np.asarray(recall, float)
    precision = np.nan_to_num(np.asarray(precision, float))
    if not len(recall) or not np.isfinite(recall).all():
        return
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    axes.plot(np.r_[0, recall], np.r_[envelope[0], envelope], drawstyle="steps-pre", **options)


def _mark_operating_point(axes: Axes, x: Estimate, y: Estimate) -> None:
    """Mark the operating point with its intervals."""
    if x.value is None or y.value is None:
        return
    axes.errorbar(
        x.value,
        y.value,
        xerr=_error_bar(x),
        yerr=_error_bar(y),
        fmt="o",
        color=MARK_COLOR,
        ms=7,
        capsize=3,
        lw=1.4,
        zorder=5,
        label="operating point",
    )


def _error_bar(estimate: Estimate) -> list[list[float]] | None:
    """Return how far an interval reaches below and above its value, as matplotlib takes it."""
    value, low, high = estimate
    if value is None or low is None or high is None:
        return None
    return [[max(value - low, 0)], [max(high - value, 0)]]


def _plot_f1_lines(axes: Axes) -> None:
    """Plot lines of equal F1."""
    for f1 in F1_LINES:
        recall = np.linspace(f1 / (2 - f1) + 1e-6, 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#dde3ea", lw=0.9, zorder=0)
        position = (1.0, f1 / (2 - f1))
        axes.annotate(f"F1 {f1:g}", position, color="#97a3b0", fontsize=7, ha="right", va="bottom")
