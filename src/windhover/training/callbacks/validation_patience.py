"""The callback for epochs without a better validation: a lower rate, and the end of training."""

from __future__ import annotations

from typing import cast

import lightning as L

from windhover.params.train import TrainParams
from windhover.training.module import DetectionModule

PLATEAU_EPOCHS = 3  # without a better validation, after which `plateau` lowers the rate
PLATEAU_FACTOR = 0.3


class ValidationPatience(L.Callback):
    """Lowers the rate of the `plateau` schedule, and ends training, after epochs without gain."""

    def __init__(self, params: TrainParams) -> None:
        self._is_plateau_schedule = params.schedule == "plateau"
        self._patience = params.patience

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count the epochs since the best one."""
        module = cast(DetectionModule, pl_module)
        state = module.training_state
        n_epochs = trainer.current_epoch - state.best_epoch
        if self._is_plateau_schedule and n_epochs and n_epochs % PLATEAU_EPOCHS == 0:
            state.plateau_factor *= PLATEAU_FACTOR
        if self._patience and n_epochs >= self._patience:
            state.stop_after(trainer.current_epoch)
