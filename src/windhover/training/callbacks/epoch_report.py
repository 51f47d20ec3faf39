"""The callback that reports each epoch to the tracker, the progress bar and the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import lightning as L

from windhover.progress import Advance
from windhover.tracking.runs import Tracker
from windhover.training.module import DetectionModule

# column of the history -> metric of the run; `history.json`, which the run keeps, has the others
TRACKED = {
    "total": "training/loss",
    "score": "training/loss_score",
    "offset": "training/loss_offset",
    "size": "training/loss_size",
    "learning_rate": "training/learning_rate",
    "seconds": "training/seconds",
    "val_ap": "validation/ap",
    "val_loss": "validation/loss",
}
ShouldStop = Callable[[Mapping[str, float]], bool]


class EpochReport(L.Callback):
    """Reports each epoch's row of history, and ends training where the caller wants it."""

    def __init__(self, tracker: Tracker, advance: Advance, should_stop: ShouldStop) -> None:
        """Take the receivers.

        Args:
            tracker: of the run.
            advance: moves the progress bar by epochs.
            should_stop: takes an epoch's row; training ends where it returns True.
        """
        self._tracker = tracker
        self._advance = advance
        self._should_stop = should_stop

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epochs before a kill again: that run stays unfinished, this one is whole.

        The caller judges by all epochs, though its answer counts from the next one on.
        """
        module = cast(DetectionModule, pl_module)
        if trainer.is_global_zero:
            for row in module.training_state.history:
                self._track(row)
                self._should_stop(row)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report the epoch that ends."""
        module = cast(DetectionModule, pl_module)
        if not trainer.is_global_zero:
            return
        state = module.training_state
        row = state.history[-1]
        self._track(row)
        self._advance(1, state.planned_epochs)
        if self._should_stop(row):
            state.stop_after(trainer.current_epoch)

    def _track(self, row: Mapping[str, float]) -> None:
        metrics = {TRACKED[key]: value for key, value in row.items() if key in TRACKED}
        self._tracker.log_metrics(metrics, step=int(row["epoch"]))
