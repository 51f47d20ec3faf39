"""Curves as pictures: precision-recall, FROC, windows, reliability, thresholds, and the gallery of
the worst errors.

Draws what it is given, without a display and the same bytes every time. Refuses to compute figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from windhover.files import atomic_file
from windhover.metrics.calibration import Reliability
from windhover.metrics.detection_metrics import Figure, Point, size_name
from windhover.metrics.score_curve import Counts

INK, TEST, VAL, MARK, GOOD, BAD = "#1c2733", "#0b6e99", "#9aa5b1", "#d9480f", "#2f9e44", "#e8590c"
STYLE: Any = {
    "font.size": 10, "axes.edgecolor": "#5f6b7a", "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.titlesize": 11,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e3e8ee", "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "xtick.color": INK, "ytick.color": INK, "text.color": INK, "lines.linewidth": 2.0, "figure.facecolor": "white",
}  # fmt: skip
DPI = 130


@dataclass(frozen=True)
class Chip:
    """A piece of a scene around one error.

    Attributes:
        image: (H, W, 3) uint8.
        caption: what it is, in one or two short lines.
        boxes_xyxy: boxes in px of the image, with the kind of each: `found`, `truth` or `error`.
    """

    image: NDArray[np.uint8]
    caption: str
    boxes_xyxy: tuple[tuple[str, tuple[float, float, float, float]], ...]


@dataclass(frozen=True)
class Explained:
    """A window and the maps that explain its logit.

    Attributes:
        image: (H, W, 3) uint8.
        caption: what it is.
        logit: of the class.
        saliency, occlusion, activation: (H, W).
    """

    image: NDArray[np.uint8]
    caption: str
    logit: float
    saliency: NDArray[np.float64]
    occlusion: NDArray[np.float64]
    activation: NDArray[np.float64]


def precision_recall(
    path: Path,
    test: Counts,
    val: Counts,
    band: pd.DataFrame,
    point: Mapping[str, Figure],
    subtitle: str,
) -> None:
    """Draw precision against recall on whole scenes, with the operating point, its intervals and
    the curve's band.

    Args:
        path: PNG to write.
        test: pooled curve of test.
        val: pooled curve of val.
        band: `recall, low, high`: 95 % of the drawn precisions.
        point: `precision`, `recall` and `ap` on test.
        subtitle: what was searched.
    """
    with _Drawing(path, (6.4, 5.4)) as (canvas, axes):
        _f1_lines(axes)
        if len(band):
            axes.fill_between(
                band["recall"],
                band["low"],
                band["high"],
                color=TEST,
                alpha=0.15,
                lw=0,
                label="95 % of the draws",
            )
        _step(axes, val.recall[:, 0], val.precision[:, 0], color=VAL, lw=1.4, label="val")
        _step(
            axes,
            test.recall[:, 0],
            test.precision[:, 0],
            color=TEST,
            label=f"test, AP {_number(point['ap'])}",
        )
        _cross(axes, point["recall"], point["precision"])
        axes.set(
            xlabel="recall: share of the objects found",
            ylabel="precision: share of the detections that are true",
        )
        axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
        _titles(canvas, axes, "Precision and recall on whole scenes", subtitle)
        _legend(axes, "lower left")


def froc(path: Path, test: Counts, val: Counts, point: Mapping[str, Figure], subtitle: str) -> None:
    """Draw recall against false alarms per km2 (log), with the operating point."""
    with _Drawing(path, (6.4, 5.4)) as (canvas, axes):
        rates = [c.alarms_per_km2[:, 0] for c in (val, test)]
        known = np.concatenate([rate[np.isfinite(rate) & (rate > 0)] for rate in rates])
        floor = max(float(known.min(initial=1.0)) / 2, 1e-4)
        for counts, alarm_rate, color, name in (
            (val, rates[0], VAL, "val"),
            (test, rates[1], TEST, "test"),
        ):
            axes.plot(
                np.maximum(alarm_rate, floor),
                counts.recall[:, 0],
                color=color,
                drawstyle="steps-post",
                label=name,
            )
        alarms = point["false_alarms_per_km2"]
        moved = Figure(*(None if value is None else max(value, floor) for value in alarms))
        _cross(axes, moved, point["recall"])
        axes.set_xscale("log")
        axes.set(
            xlabel="false alarms per km²",
            ylabel="recall: share of the objects found",
            ylim=(0, 1.01),
        )
        for rate in (1.0, 5.0):
            axes.axvline(rate, color="#c4ccd6", lw=1, ls=":")
        _titles(canvas, axes, "Recall against false alarms (FROC)", subtitle)
        _legend(axes, "lower right")


def windows(
    path: Path,
    pr: pd.DataFrame,
    roc: pd.DataFrame,
    figures: Mapping[str, float | None],
    subtitle: str,
) -> None:
    """Draw PR at both priors and ROC of windows, side by side."""
    with _Drawing(path, (10.5, 4.8), columns=2) as (canvas, (left, right)):
        if len(pr):
            _step(
                left,
                pr["recall"],
                pr["precision"],
                color=VAL,
                label=f"as sampled, AP {_plain(figures['ap_sampled'])}",
            )
            _step(
                left,
                pr["recall"],
                pr["precision_true"],
                color=TEST,
                label=f"at the true prior, AP {_plain(figures['ap_true'])}",
            )
        left.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        _legend(left, "lower left")
        _titles(canvas, left, "Windows: precision and recall", subtitle)
        if len(roc):
            right.plot(
                roc["false_alarm_rate"],
                roc["recall"],
                color=TEST,
                label=f"AUC {_plain(figures['auc'], 4)}",
            )
        right.set_xscale("symlog", linthresh=1e-3)
        right.set(
            xlabel="false alarm rate (linear below 0.001)",
            ylabel="recall",
            xlim=(0, 1),
            ylim=(0, 1.01),
        )
        _legend(right, "lower right")
        _titles(canvas, right, "Windows: ROC", "blind to how rare objects are")


def reliability(
    path: Path, before: Mapping[str, Reliability], after: Mapping[str, Reliability]
) -> None:
    """Draw the promised score against what became true, before and after calibration, for val and
    test.
    """
    with _Drawing(path, (10.5, 4.8), columns=2) as (canvas, pair):
        for axes, title, tables in (
            (pair[0], "Before calibration", before),
            (pair[1], "After calibration", after),
        ):
            axes.plot([0, 1], [0, 1], color="#c4ccd6", lw=1)
            for split, color in (("val", VAL), ("test", TEST)):
                table = tables[split]
                label = f"{split}, mean gap {_plain(table.error)}"
                axes.plot(table.promised, table.kept, "o-", color=color, ms=4, lw=1.4, label=label)
            axes.set(
                xlabel="score", ylabel="share that is true", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01)
            )
            _legend(axes, "best")
            _titles(canvas, axes, title, "detections of the scenes, ten bins of the score")


def thresholds(path: Path, val: Counts, point: Point, name: str, rule: str) -> None:
    """Draw precision, recall and F1 on val against the threshold, with the chosen one and its
    interval.
    """
    with _Drawing(path, (6.4, 5.0)) as (canvas, axes):
        series = (
            (val.precision[:, 0], TEST, "precision"),
            (val.recall[:, 0], GOOD, "recall"),
            (val.f_beta()[:, 0], INK, "F1"),
        )
        for value, color, label in series:
            axes.plot(val.scores, value, color=color, label=label, lw=1.6)
        if point.low is not None and point.high is not None:
            axes.axvspan(point.low, point.high, color=MARK, alpha=0.12, lw=0)
        axes.axvline(point.threshold, color=MARK, lw=1.6, label=f"threshold {point.threshold:.3f}")
        axes.set(xlabel="threshold on the calibrated score", xlim=(0, 1), ylim=(0, 1.01))
        _titles(
            canvas,
            axes,
            f"The operating point: {rule}",
            f"{name}, chosen on val; shaded: 95 % of the draws",
        )
        _legend(axes, "best")


def sizes(path: Path, bands: pd.DataFrame, subtitle: str) -> None:
    """Draw how many objects of each size were found and missed; `bands` from
    `metrics.assessment.size_table`.
    """
    borders = bands[["from_m", "to_m"]].itertuples(index=False)
    names = [size_name(*pair).replace(" and more", "\nand more") for pair in borders]
    missed = bands["objects"] - bands["found"]
    with _Drawing(path, (6.4, 5.0)) as (canvas, axes):
        axes.bar(names, bands["found"], color=TEST, label="found", width=0.62)
        bars = axes.bar(
            names, missed, bottom=bands["found"], color="#d5dce4", label="missed", width=0.62
        )
        shares = ["" if np.isnan(share) else f"{share:.0%}" for share in bands["recall"]]
        axes.bar_label(bars, shares, padding=3)
        axes.set(
            xlabel="longer side",
            ylabel="objects",
            ylim=(0, max(float(bands["objects"].max()) * 1.12, 1)),
        )
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=False, axis="x")
        _titles(canvas, axes, "What is found, by size", subtitle)
        _legend(axes, "best")


def gallery(path: Path, rows: Sequence[tuple[str, Sequence[Chip]]], columns: int = 6) -> None:
    """Draw chips under headings, boxes on them: what was found in orange, what is there in green."""
    lines = [(title if not first else "", chips[first : first + columns]) for title, chips in rows
             for first in range(0, max(len(chips), 1), columns)]  # fmt: skip
    side, caption, heading = 1.9, 0.42, 0.38  # inches
    tops = np.cumsum([side + caption + (heading if title else 0) for title, _ in lines])
    width, height = (
        columns * (side + 0.08) + 0.08,
        max(float(tops[-1]) if len(tops) else 0.0, 1.0) + 0.08,
    )
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(width, height))
        for bottom, (title, chips) in zip(height - tops, lines, strict=True):
            if title:
                above = (bottom + side + caption + heading / 3) / height
                canvas.text(0.08 / width, above, title, fontweight="bold", fontsize=11, va="bottom")
            if not chips:
                canvas.text(0.08 / width, (bottom + side * 0.9) / height, "none", fontsize=10)
            for column, chip in enumerate(chips):
                left = 0.08 + column * (side + 0.08)
                _chip(
                    canvas.add_axes((left / width, bottom / height, side / width, side / height)),
                    chip,
                )
        _save(canvas, path)


def _chip(axes: Axes, chip: Chip) -> None:
    axes.imshow(chip.image, interpolation="nearest")
    colors = {"found": BAD, "truth": GOOD, "error": BAD}
    for kind, (left, top, right, bottom) in chip.boxes_xyxy:
        style: dict[str, Any] = {
            "fill": False,
            "ec": colors[kind],
            "lw": 1.8,
            "ls": "--" if kind == "found" else "-",
        }
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **style))
    axes.set_axis_off()
    axes.set(xlim=(-0.5, chip.image.shape[1] - 0.5), ylim=(chip.image.shape[0] - 0.5, -0.5))
    axes.set_title(chip.caption, fontsize=7, fontweight="normal", pad=3, linespacing=1.15)


def explanations(path: Path, rows: Sequence[Explained]) -> None:
    """Draw windows, one a row, beside their saliency, occlusion and activation."""
    heads = (
        "window",
        "saliency: pixels that would change it",
        "occlusion: red speaks for, blue against",
        "activation: where the class is seen",
    )
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(10.4, 2.9 * max(len(rows), 1)), layout="constrained")
        grid = canvas.subplots(max(len(rows), 1), 4, squeeze=False)
        for axes in () if rows else grid.flat:
            axes.set_axis_off()
        for line, made in zip(grid, rows, strict=False):
            grey = made.image.mean(axis=2)
            top = float(np.abs(made.occlusion).max()) or 1.0
            maps: tuple[tuple[Any, str, float, float], ...] = (
                (made.saliency, "inferno", 0.0, float(np.quantile(made.saliency, 0.995)) or 1.0),
                (made.occlusion, "RdBu_r", -top, top),
                (made.activation, "inferno", 0.0, float(made.activation.max()) or 1.0),
            )
            line[0].imshow(made.image, interpolation="nearest")
            for axes, (values, colors, low, high) in zip(line[1:], maps, strict=True):
                axes.imshow(grey, cmap="gray", interpolation="nearest")
                axes.imshow(
                    values, cmap=colors, vmin=low, vmax=high, alpha=0.65, interpolation="bilinear"
                )
            for axes, head in zip(line, heads, strict=True):
                axes.set_axis_off()
                axes.set_title(head, fontsize=8, fontweight="normal", pad=3)
            line[0].set_title(
                f"{made.caption}, logit {made.logit:.2f}", fontsize=8, fontweight="normal", pad=3
            )
        _save(canvas, path)


class _Drawing:
    """A figure in the house style, saved when the block ends well."""

    def __init__(self, path: Path, size: tuple[float, float], columns: int = 1) -> None:
        self.path, self.size, self.columns = path, size, columns
        self.style = mpl.rc_context(STYLE)

    def __enter__(self) -> tuple[Canvas, Any]:
        self.style.__enter__()
        self.canvas = Canvas(figsize=self.size, layout="constrained")
        return self.canvas, self.canvas.subplots(1, self.columns)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                _save(self.canvas, self.path)
        finally:
            self.style.__exit__(kind, error, trace)


def _save(canvas: Canvas, path: Path) -> None:
    with atomic_file(path) as temporary:
        canvas.savefig(temporary, dpi=DPI, metadata={"Software": None})


def _step(axes: Axes, recall: Any, precision: Any, **options: Any) -> None:
    """Draw the interpolated curve: the best precision at this recall or a higher one."""
    recall, precision = np.asarray(recall, float), np.nan_to_num(np.asarray(precision, float))
    if not len(recall) or not np.isfinite(recall).all():
        return
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    axes.plot(np.r_[0, recall], np.r_[envelope[0], envelope], drawstyle="steps-pre", **options)


def _cross(axes: Axes, x: Figure, y: Figure) -> None:
    """Mark the operating point with its intervals."""
    if x.value is None or y.value is None:
        return
    arms = [
        None
        if f.low is None or f.high is None or f.value is None
        else [[max(f.value - f.low, 0)], [max(f.high - f.value, 0)]]
        for f in (x, y)
    ]
    axes.errorbar(
        x.value,
        y.value,
        xerr=arms[0],
        yerr=arms[1],
        fmt="o",
        color=MARK,
        ms=7,
        capsize=3,
        lw=1.4,
        zorder=5,
        label="operating point",
    )


def _f1_lines(axes: Axes) -> None:
    for f1 in (0.5, 0.7, 0.8, 0.9, 0.95):
        recall = np.linspace(f1 / (2 - f1) + 1e-6, 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#dde3ea", lw=0.9, zorder=0)
        axes.annotate(
            f"F1 {f1:g}", (1.0, f1 / (2 - f1)), color="#97a3b0", fontsize=7, ha="right", va="bottom"
        )


def _legend(axes: Axes, place: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc=place)


def _titles(canvas: Canvas, axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n", pad=4)
    axes.text(
        0, 1.015, subtitle, transform=axes.transAxes, fontsize=8.5, color="#5f6b7a", va="bottom"
    )


def _number(figure: Figure) -> str:
    if figure.value is None:
        return "undefined"
    return f"{figure.value:.3f}" + (
        "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    )


def _plain(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"
