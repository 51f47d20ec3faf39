"""Curves of a training, one picture: losses, average precision on validation, the learning rate, mining rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windhover.files import atomic_file


def draw_curves(history: Sequence[dict[str, float]], rounds: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture.

    Args:
        history: one row an epoch.
        rounds: one row a mining round, with the epoch before which it was held.
        path: a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    epochs = [row["epoch"] + 1 for row in history]
    for axes, names, title in zip(
        panels,
        (("score", "val_loss", "offset", "size"), ("val_ap",), ("learning_rate",)),
        ("loss", "AP of windows on validation", "learning rate"),
        strict=True,
    ):
        for name in names:
            axes.plot(epochs, [row.get(name, float("nan")) for row in history], label=name, marker=".")
        for held in rounds:
            axes.axvline(held["epoch"] + 0.5, color="0.8", zorder=0)
        axes.set(title=title, xlabel="epoch")
        if len(names) > 1:
            axes.set_yscale("log")
            axes.legend(fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
