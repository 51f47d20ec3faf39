"""The callback that keeps the processes of a training alike."""

from __future__ import annotations

from typing import cast

import lightning as L
import torch

from windhover.training.module import DetectionModule


class ProcessSync(L.Callback):
    """Gives every process the state of the first, and trains for as long as it has planned."""

    def __init__(self) -> None:
        self._n_threads = torch.get_num_threads()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Restore the number of CPU threads: Lightning's launcher sets another."""
        torch.set_num_threads(self._n_threads)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin with the first process's plan."""
        self._share_state(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the first process's plan, which the callbacks before this one have made."""
        self._share_state(trainer, pl_module)

    def _share_state(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        state = trainer.strategy.broadcast(cast(DetectionModule, module).training_state)
        cast(DetectionModule, module).training_state = state
        trainer.fit_loop.max_epochs = state.planned_epochs
        trainer.should_stop = trainer.should_stop and state.schedule_is_done
