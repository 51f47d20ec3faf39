"""The callback that writes one row of history for each epoch."""

from __future__ import annotations

import time
from typing import cast

import lightning as L

from windhover.training.datamodule import PatchDataModule
from windhover.training.module import DetectionModule


class EpochHistory(L.Callback):
    """Measures each epoch and appends its losses, metrics and times to the history.

    It is the first callback, so that the others find the row of the epoch that ends.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append the row of the epoch."""
        module = cast(DetectionModule, pl_module)
        datamodule = cast(PatchDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        state = module.training_state
        loading = datamodule.loading_seconds
        busy = loading + module.step_seconds
        row = module.pop_epoch_metrics()
        row["epoch"] = float(trainer.current_epoch)
        row["learning_rate"] = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        row["seconds"] = time.monotonic() - self._started
        row["mining_seconds"] = state.mining_seconds
        row["data_share"] = loading / max(busy, 1e-9)
        state.seconds += row["seconds"] + row["mining_seconds"]
        state.mining_seconds = 0.0
        state.history.append(row)
