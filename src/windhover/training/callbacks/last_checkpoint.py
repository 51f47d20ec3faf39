"""The callback that saves a checkpoint after every epoch, and files that are written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from windhover.files import atomic_file


class LastCheckpoint(L.Callback):
    """Saves the state of training after every epoch, before hard negatives are mined."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Replace the checkpoint of the epoch before."""
        trainer.save_checkpoint(self._path)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file and renames it: a kill leaves the one before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write one file, whole or not at all."""
        # into an open file: of one that it opens itself, torch names no full disk
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            torch.save(checkpoint, stream)
