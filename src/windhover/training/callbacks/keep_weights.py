"""The callback that chooses which epoch's weights a training ends with."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
from torch import Tensor

from windhover.errors import DataError
from windhover.training.datamodule import PatchDataModule
from windhover.training.module import DetectionModule
from windhover.training.validation_ap import DIVERGED, standard_error


class KeepWeights(L.Callback):
    """Keeps the latest weights that are not worse than the best by more than a standard error.

    Nearly all epochs of a long training are as good as one on validation, and the best of them is
    drawn by lot; the last have learnt at the lowest rate. Without validation the last are kept.

    Attributes:
        weights: the state of the network that is kept, on the CPU; empty before the first epoch.
    """

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights of this epoch unless an earlier one's were clearly better."""
        module = cast(DetectionModule, pl_module)
        ap = module.val_ap
        if ap is None:
            return
        state = module.training_state
        n_positives = module.n_validation_positives
        # a tie is no gain, so that training which has long been perfect ends too; without objects
        # all epochs are equal
        if ap > state.best_ap or not n_positives:
            state.best_ap = ap
            state.best_epoch = trainer.current_epoch
        datamodule = cast(PatchDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        n_objects = min(n_positives, datamodule.n_validation_objects)
        if ap >= state.best_ap - standard_error(state.best_ap, n_objects):
            self._keep(module, ap)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the weights of this epoch where there is no validation."""
        module = cast(DetectionModule, pl_module)
        datamodule = cast(PatchDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        if not len(datamodule.validation):
            module.training_state.best_epoch = trainer.current_epoch
            self._keep(module, module.training_state.kept_ap)

    def _keep(self, module: DetectionModule, ap: float) -> None:
        """Copy the weights of the network as it is now.

        Raises:
            DataError: they are not numbers.
        """
        weights = {}
        for name, value in module.inference_network.state_dict().items():
            if not bool(value.isfinite().all()):
                raise DataError(DIVERGED)
            weights[name] = value.detach().cpu().clone()
        self.weights = weights
        module.training_state.kept_ap = ap
        module.training_state.kept_epoch = module.current_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the kept weights for a checkpoint."""
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the kept weights from a checkpoint."""
        self.weights = state_dict["weights"]
