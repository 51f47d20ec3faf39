"""Calibration and recall by object size as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from windhover.metrics.calibration import Reliability
from windhover.metrics.group_counts import size_band_name
from windhover.rendering.plot_style import (
    GUIDE_COLOR,
    TEST_COLOR,
    VAL_COLOR,
    add_legend,
    add_titles,
    plot_file,
)
from windhover.rendering.text import format_value


def plot_reliability(
    path: Path, before: Mapping[str, Reliability], after: Mapping[str, Reliability]
) -> None:
    """Plot accuracy against confidence before and after calibration, for val and test.

    Args:
        path: PNG to write.
        before: by split, of the uncalibrated scores.
        after: by split, of the calibrated scores.
    """
    with plot_file(path, (10.5, 4.8), n_columns=2) as (_, (left, right)):
        panels = ((left, "Before calibration", before), (right, "After calibration", after))
        for axes, title, tables in panels:
            axes.plot([0, 1], [0, 1], color=GUIDE_COLOR, lw=1)
            for split, color in (("val", VAL_COLOR), ("test", TEST_COLOR)):
                table = tables[split]
                offset = {"val": -9, "test": 5}[split]
                for x, y, count in zip(
                    table.confidence, table.accuracy, table.n_scores, strict=True
                ):
                    axes.annotate(
                        str(count),
                        (x, y),
                        xytext=(4, offset),
                        textcoords="offset points",
                        color=color,
                        fontsize=6,
                    )
                label = f"{split}, ECE {format_value(table.ece)}"
                axes.plot(
                    table.confidence, table.accuracy, "o-", color=color, ms=4, lw=1.4, label=label
                )
            limits = (-0.01, 1.01)
            axes.set(xlabel="score", ylabel="share that is true", xlim=limits, ylim=limits)
            add_legend(axes, "best")
            add_titles(axes, title, "detections of the scenes; numbers: those in a bin")


def plot_recall_by_size(path: Path, bands: pd.DataFrame, subtitle: str) -> None:
    """Plot how many objects of each size are detected and missed.

    Args:
        path: PNG to write.
        bands: from `windhover.metrics.group_counts.counts_by_size`.
        subtitle: what was searched.
    """
    edges = bands[["from_m", "to_m"]].itertuples(index=False)
    names = [size_band_name(*pair).replace(" and more", "\nand more") for pair in edges]
    found = bands["found"]
    missed = bands["objects"] - found
    tallest = max(float(bands["objects"].max()) * 1.12, 1)
    with plot_file(path, (6.4, 5.0)) as (_, axes):
        axes.bar(names, found, color=TEST_COLOR, label="detected", width=0.62)
        bars = axes.bar(names, missed, bottom=found, color="#d5dce4", label="missed", width=0.62)
        recalls = ["" if np.isnan(recall) else f"{recall:.0%}" for recall in bands["recall"]]
        axes.bar_label(bars, recalls, padding=3)
        axes.set(xlabel="longer side", ylabel="objects", ylim=(0, tallest))
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=False, axis="x")
        add_titles(axes, "Recall by object size", subtitle)
        add_legend(axes, "best")
