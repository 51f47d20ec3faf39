"""Plots of a training: losses, AP and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

DPI = 110
# title of each panel, and the columns of the history that it shows
PANELS = (
    ("loss", ("score", "val_loss", "offset", "size")),
    ("AP of windows on validation", ("val_ap",)),
    ("learning rate", ("learning_rate",)),
)


def plot_training_curves(
    history: Sequence[dict[str, float]], rounds: Sequence[dict[str, Any]], path: Path
) -> None:
    """Plot losses, AP and learning rate by epoch.

    Args:
        history: one row an epoch.
        rounds: one row a round of hard-negative mining, with the epoch before which it took place.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    from windhover.rendering.plot_style import save_figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    epochs = [row["epoch"] + 1 for row in history]
    for axes, (title, columns) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for column in columns:
            values = [row.get(column, float("nan")) for row in history]
            axes.plot(epochs, values, label=column, marker=".")
        for mining_round in rounds:
            axes.axvline(mining_round["epoch"] + 0.5, color="0.8", zorder=0)
        axes.set(title=title, xlabel="epoch")
        if len(columns) > 1:
            axes.set_yscale("log")
            axes.legend(fontsize=8)
    save_figure(figure, path, DPI)
