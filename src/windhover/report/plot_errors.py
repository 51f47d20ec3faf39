"""Errors as PNG: thumbnails with their boxes, and maps of what the network responds to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from windhover.metrics.evaluation_result import ErrorThumbnail, WindowExplanation
from windhover.rendering.plot_style import STYLE, save_figure

DETECTION_COLOR = "#e8590c"
OBJECT_COLOR = "#2f9e44"
BOX_COLORS = {"detection": DETECTION_COLOR, "error": DETECTION_COLOR, "object": OBJECT_COLOR}
# of the examples, inches
CELL_SIDE = 1.9
CELL_GAP = 0.08
CAPTION_HEIGHT = 0.42
N_COLUMNS = 6
HEADING_HEIGHT = 0.38
EXPLANATION_TITLES = (
    "window",
    "saliency: pixels that change the logit most",
    "occlusion: red supports, blue opposes",
    "activation: where the class is recognized",
)


def plot_error_examples(path: Path, groups: Sequence[tuple[str, Sequence[ErrorThumbnail]]]) -> None:
    """Plot thumbnails under the title of their group, detections in orange and objects in green.

    Args:
        path: PNG to write.
        groups: title and thumbnails of each.
    """
    rows = _example_rows(groups)
    heights = [_row_height(title) for title, _ in rows]
    bottoms = np.cumsum(heights)
    width = N_COLUMNS * (CELL_SIDE + CELL_GAP) + CELL_GAP
    height = max(float(sum(heights)), 1.0) + CELL_GAP
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for from_top, (title, thumbnails) in zip(bottoms, rows, strict=True):
            bottom = height - from_top
            left = CELL_GAP / width
            if title:
                y = (bottom + CELL_SIDE + CAPTION_HEIGHT + HEADING_HEIGHT / 3) / height
                figure.text(left, y, title, fontweight="bold", fontsize=11, va="bottom")
            if not thumbnails:
                figure.text(left, (bottom + CELL_SIDE * 0.9) / height, "none", fontsize=10)
            for column, thumbnail in enumerate(thumbnails):
                x = CELL_GAP + column * (CELL_SIDE + CELL_GAP)
                corner = (x / width, bottom / height)
                axes = figure.add_axes((*corner, CELL_SIDE / width, CELL_SIDE / height))
                _plot_thumbnail(axes, thumbnail)
        save_figure(figure, path)


def _example_rows(
    groups: Sequence[tuple[str, Sequence[ErrorThumbnail]]],
) -> list[tuple[str, Sequence[ErrorThumbnail]]]:
    """Return the rows of thumbnails; the first one of a group has its title."""
    rows = []
    for title, thumbnails in groups:
        for first in range(0, max(len(thumbnails), 1), N_COLUMNS):
            row_title = "" if first else title
            rows.append((row_title, thumbnails[first : first + N_COLUMNS]))
    return rows


def _row_height(title: str) -> float:
    height = CELL_SIDE + CAPTION_HEIGHT
    return height + HEADING_HEIGHT if title else height


def _plot_thumbnail(axes: Axes, thumbnail: ErrorThumbnail) -> None:
    axes.imshow(thumbnail.image, interpolation="nearest")
    for kind, (left, top, right, bottom) in thumbnail.boxes_xyxy:
        line_style = "--" if kind == "detection" else "-"
        box = Rectangle(
            (left - 0.5, top - 0.5),
            right - left,
            bottom - top,
            fill=False,
            ec=BOX_COLORS[kind],
            lw=1.8,
            ls=line_style,
        )
        axes.add_patch(box)
    height, width = thumbnail.image.shape[:2]
    axes.set_axis_off()
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_title(thumbnail.caption, fontsize=7, fontweight="normal", pad=3, linespacing=1.15)


def plot_explanations(path: Path, explanations: Sequence[WindowExplanation]) -> None:
    """Plot windows, one a row, with their maps of saliency, occlusion and activation."""
    n_rows = max(len(explanations), 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 2.9 * n_rows), layout="constrained")
        grid = figure.subplots(n_rows, len(EXPLANATION_TITLES), squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for row, explanation in zip(grid, explanations, strict=False):
            _plot_explanation(row, explanation)
        save_figure(figure, path)


def _plot_explanation(row: Sequence[Axes], explanation: WindowExplanation) -> None:
    """Plot the window and its three maps, each over the window in gray."""
    strongest = float(np.abs(explanation.occlusion).max()) or 1.0
    row[0].imshow(explanation.image, interpolation="nearest")
    gray = explanation.image.mean(axis=2)
    _plot_map(row[1], gray, explanation.saliency, high=_high_quantile(explanation.saliency))
    _plot_map(
        row[2], gray, explanation.occlusion, low=-strongest, high=strongest, color_map="RdBu_r"
    )
    _plot_map(row[3], gray, explanation.activation, high=float(explanation.activation.max()) or 1.0)
    caption = f"{explanation.caption}, logit {explanation.logit:.2f}"
    for axes, title in zip(row, (caption, *EXPLANATION_TITLES[1:]), strict=True):
        axes.set_title(title, fontsize=8, fontweight="normal", pad=3)


def _high_quantile(values: NDArray[np.float64]) -> float:
    return float(np.quantile(values, 0.995)) or 1.0


def _plot_map(
    axes: Axes,
    gray: NDArray[np.float64],
    values: NDArray[np.float64],
    *,
    high: float,
    low: float = 0.0,
    color_map: Any = "inferno",
) -> None:
    axes.imshow(gray, cmap="gray", interpolation="nearest")
    axes.imshow(values, cmap=color_map, vmin=low, vmax=high, alpha=0.65, interpolation="bilinear")
