"""What plots share: colors, style, saving, titles and legends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from windhover.files import atomic_file

INK = "#1c2733"
SOFT_INK = "#5f6b7a"
TEST_COLOR = "#0b6e99"
VAL_COLOR = "#9aa5b1"
MARK_COLOR = "#d9480f"
RECALL_COLOR = "#2f9e44"
GUIDE_COLOR = "#c4ccd6"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT_INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#e3e8ee",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
DPI = 130
# a little beyond 1, so that a curve at 1 is not cut
SHARE_LIMITS = (0.0, 1.01)


@contextmanager
def plot_file(
    path: Path, size_inches: tuple[float, float], n_columns: int = 1
) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its axes; write them as a PNG when the block ends without an error."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        yield figure, figure.subplots(1, n_columns)
        save_figure(figure, path)


def save_figure(figure: Figure, path: Path, dpi: int | None = None) -> None:
    """Write a PNG without the version of the software, so that bytes do not change.

    Args:
        figure: to write.
        path: of the PNG.
        dpi: pixels per inch; `DPI` by default.
    """
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi or DPI, format="png", metadata={"Software": None})


def add_titles(axes: Axes, title: str, subtitle: str) -> None:
    """Write a title and a smaller line below it."""
    axes.set_title(f"{title}\n", pad=4)
    axes.text(
        0, 1.015, subtitle, transform=axes.transAxes, fontsize=8.5, color=SOFT_INK, va="bottom"
    )


def add_legend(axes: Axes, location: Any) -> None:
    """Add a legend where anything has a label."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc=location)
