"""Plots of coverage as PNG: precision-recall, ROC, thresholds, reliability, covered shares.

Draws what it is given, with the same bytes every time. Computes no metric but its curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from windhover.metrics.coverage_curves import (
    ScoreHistogram,
    average_precision,
    coverage_curve,
    reliability_table,
    roc_auc,
)
from windhover.rendering.class_overlay import color_of_class
from windhover.rendering.plot_style import (
    GUIDE_COLOR,
    MARK_COLOR,
    SHARE_LIMITS,
    add_legend,
    add_titles,
    plot_file,
)

Histograms = Mapping[str, ScoreHistogram]
WIDTH_TEST = 2.0
WIDTH_VAL = 1.0


def _color(number: int) -> tuple[float, ...]:
    return tuple(part / 255 for part in color_of_class(number))


def plot_curves(
    path: Path,
    test: Histograms,
    val: Histograms,
    *,
    kind: str,
    thresholds: Mapping[str, float],
    subtitle: str,
) -> None:
    """Plot the curve of each class, of test and thin of val, with its threshold.

    Args:
        path: PNG to write.
        test: histograms by class.
        val: histograms by class.
        kind: `pr` or `roc`.
        thresholds: by class, marked on the curves of test.
        subtitle: what was measured.
    """
    with plot_file(path, (6.4, 5.4)) as (_, axes):
        draw_curves(axes, test, val, kind=kind, thresholds=thresholds)
        title = "Precision and recall" if kind == "pr" else "ROC"
        add_titles(axes, title, subtitle)


def plot_patch_curves(
    path: Path,
    test: Histograms,
    val: Histograms,
    *,
    thresholds: Mapping[str, float],
    subtitle: str,
) -> None:
    """Plot precision-recall and ROC of patches side by side."""
    with plot_file(path, (11.5, 5.0), 2) as (_, both):
        for axes, kind in zip(both, ("pr", "roc"), strict=True):
            draw_curves(axes, test, val, kind=kind, thresholds=thresholds)
        add_titles(both[0], "Patches: precision and recall", subtitle)
        add_titles(both[1], "Patches: ROC", subtitle)


def draw_curves(
    axes: Axes,
    test: Histograms,
    val: Histograms,
    *,
    kind: str,
    thresholds: Mapping[str, float],
) -> None:
    """Draw the curves of each class."""
    columns = ("recall", "precision") if kind == "pr" else ("false_positive_rate", "recall")
    for number, name in enumerate(test, 1):
        curve = coverage_curve(test[name])
        area = average_precision(curve) if kind == "pr" else roc_auc(curve)
        word = "AP" if kind == "pr" else "AUC"
        label = f"{name}, {word} {area:.3f}"
        _line(axes, curve, columns, color=_color(number), lw=WIDTH_TEST, label=label)
        if name in val:
            of_val = coverage_curve(val[name])
            _line(axes, of_val, columns, color=_color(number), lw=WIDTH_VAL, ls="--")
        at = int(np.argmin(np.abs(curve["threshold"] - thresholds[name])))
        axes.plot(curve[columns[0]].iloc[at], curve[columns[1]].iloc[at], "o", color=_color(number))
    axes.set(xlabel=columns[0].replace("_", " "), ylabel=columns[1].replace("_", " "))
    axes.set_xlim(*SHARE_LIMITS)
    axes.set_ylim(*SHARE_LIMITS)
    add_legend(axes, "lower left" if kind == "pr" else "lower right")


def _line(axes: Axes, curve: pd.DataFrame, columns: tuple[str, str], **style: Any) -> None:
    axes.plot(curve[columns[0]], curve[columns[1]], **style)


def plot_thresholds(
    path: Path, val: Histograms, thresholds: Mapping[str, float], *, rule: str
) -> None:
    """Plot the metrics of val against the threshold, and which was chosen, for each class."""
    with plot_file(path, (6.4, 5.4)) as (_, axes):
        for number, name in enumerate(val, 1):
            curve = coverage_curve(val[name])
            for column, dashes in (("iou", "-"), ("false_positive_rate", ":")):
                axes.plot(
                    curve["threshold"],
                    curve[column],
                    ls=dashes,
                    color=_color(number),
                    label=f"{name}: {column.replace('_', ' ')}",
                )
            axes.axvline(thresholds[name], color=_color(number), lw=1.0)
        axes.set(xlabel="threshold", ylabel="on val")
        axes.set_xlim(*SHARE_LIMITS)
        axes.set_ylim(*SHARE_LIMITS)
        add_legend(axes, "best")
        add_titles(axes, "The thresholds, chosen on val", f"rule: {rule}")


def plot_reliability(path: Path, test: Histograms, val: Histograms) -> None:
    """Plot how often px of a score are of the class, against the score."""
    with plot_file(path, (11.5, 5.0), 2) as (_, both):
        for axes, histograms, split in zip(both, (val, test), ("val", "test"), strict=True):
            axes.plot([0, 1], [0, 1], color=GUIDE_COLOR, lw=1.0)
            for number, name in enumerate(histograms, 1):
                table = reliability_table(histograms[name])
                label = f"{name}, ECE {table.attrs['ece']:.3f}"
                axes.plot(
                    table["score_mean"],
                    table["true_share"],
                    "o-",
                    color=_color(number),
                    label=label,
                )
            axes.set(xlabel="score", ylabel="share that is the class")
            axes.set_xlim(*SHARE_LIMITS)
            axes.set_ylim(*SHARE_LIMITS)
            add_legend(axes, "upper left")
            add_titles(axes, f"Reliability ({split})", "px of whole scenes, patches without scenes")


def plot_shares(path: Path, shares: pd.DataFrame | None) -> None:
    """Plot the covered share of each scene against the true one."""
    with plot_file(path, (6.4, 5.4)) as (_, axes):
        axes.plot([0, 1], [0, 1], color=GUIDE_COLOR, lw=1.0)
        n_scenes = 0
        if shares is not None and len(shares):
            n_scenes = int(shares["scene"].nunique())
            for number, (name, rows) in enumerate(shares.groupby("class", sort=False), 1):
                axes.plot(
                    rows["true_share"],
                    rows["predicted_share"],
                    "o",
                    color=_color(number),
                    alpha=0.7,
                    label=str(name),
                )
            add_legend(axes, "upper left")
        else:
            axes.text(0.5, 0.5, "no labeled scene", color=MARK_COLOR, ha="center")
        axes.set(xlabel="true share", ylabel="covered share of the map")
        axes.set_xlim(*SHARE_LIMITS)
        axes.set_ylim(*SHARE_LIMITS)
        add_titles(axes, "Covered share of each scene", f"test, {n_scenes} scenes")
