"""Curves of a training as pictures: its epochs, and the range test of its learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from windhover.files import atomic_file


def draw_curves(
    history: Sequence[dict[str, float]], rounds: Sequence[dict[str, Any]], path: Path
) -> None:
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
            axes.plot(
                epochs, [row.get(name, float("nan")) for row in history], label=name, marker="."
            )
        for held in rounds:
            axes.axvline(held["epoch"] + 0.5, color="0.8", zorder=0)
        axes.set(title=title, xlabel="epoch")
        if len(names) > 1:
            axes.set_yscale("log")
            axes.legend(fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def draw_rate_range(
    rates: Sequence[float], losses: Sequence[float], suggested: float, path: Path
) -> None:
    """Write the picture of loss against learning rate.

    Args:
        rates: rising.
        losses: smoothed, one a rate.
        suggested: the rate that is marked.
        path: a PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(suggested, color="0.5", linestyle="--", label=f"suggested: {suggested:.2g}")
    axes.set(
        title="range test of the learning rate",
        xlabel="learning rate",
        ylabel="loss, smoothed",
        xscale="log",
    )
    axes.legend(fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
