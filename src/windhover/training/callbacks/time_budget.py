"""The callback that plans as many epochs as the time given holds.

Planned by a few measured steps first, then by what epochs and rounds of mining took. Decides how
long is trained and nothing else.
"""

from __future__ import annotations

import copy
import logging
import time
from typing import cast

import lightning as L
import torch

from windhover.progress import counted
from windhover.training.datamodule import PatchDataModule
from windhover.training.image_set import ImageBatch
from windhover.training.module import DetectionModule
from windhover.training.training_state import TrainingState

logger = logging.getLogger(__name__)

OVERHEAD = 1.1  # an epoch takes this many times its steps: validation and checkpoints
USED_SHARE = 0.95  # of the time given, which the first plan fills
RECENT_EPOCHS = 3  # by whose time the rest is planned
CALIBRATION_STEPS = 4
# of an epoch, over which the learning rate falls to its end where no time is left
LEAST_LAST_SHARE = 0.1
MUCH_LEFT = 0.4  # of the time given, from which a plan of one epoch was a mistake
HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TimeBudget(L.Callback):
    """Plans as many epochs as fit the time given, up to the number that is wanted."""

    def __init__(
        self,
        max_minutes: float | None,
        n_mining_rounds: int,
        *,
        training_precision: str = "fp32",
        device: str = "cpu",
    ) -> None:
        """Take the limit.

        Args:
            max_minutes: of the training; None for no limit.
            n_mining_rounds: that will be held.
            training_precision: `fp32`, `bf16` or `fp16`.
            device: that the network computes on.
        """
        self._max_seconds = None if max_minutes is None else max_minutes * 60
        self._n_mining_rounds = n_mining_rounds
        self._training_precision = training_precision
        self._device = device

    def calibrate(self, module: DetectionModule, datamodule: PatchDataModule) -> None:
        """Measure a few steps of a copy of the module, and plan by them; called before training."""
        if self._max_seconds is None:
            return
        seconds_per_step = measure_step(
            module,
            datamodule.sample_step(),
            training_precision=self._training_precision,
            device=self._device,
        )
        seconds_per_epoch = seconds_per_step * datamodule.steps_per_epoch() * OVERHEAD
        exact = self._max_seconds * USED_SHARE / max(seconds_per_epoch, 1e-9)
        fitting = max(int(exact), 1)
        state = module.training_state
        # a slow machine would take many times the minutes for one whole epoch
        state.last_epoch_share = min(max(exact, LEAST_LAST_SHARE), 1.0)
        amount = counted(fitting, "epoch")
        if state.last_epoch_share < 1:
            amount = f"{state.last_epoch_share:.0%} of an epoch"
        if fitting < state.planned_epochs:
            logger.info(
                "  %s of about %.0f s fit into %g min",
                amount,
                seconds_per_epoch,
                self._max_seconds / 60,
            )
            state.planned_epochs = fitting

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plan anew by the time that the last epochs took."""
        module = cast(DetectionModule, pl_module)
        if trainer.is_global_zero:
            self.plan(module.training_state, wanted_epochs=module.params.epochs)

    def plan(self, state: TrainingState, *, wanted_epochs: int) -> None:
        """Plan as many more epochs, up to the number wanted, as the time left holds.

        Where it holds none, a part of one is planned: the learning rate must come to its end. Steps
        measured at a bad moment plan a single epoch: where it leaves much time, the learning rate
        begins anew in the time left.
        """
        n_done = len(state.history)
        if self._max_seconds is None or not n_done:
            return
        recent = [row["seconds"] for row in state.history[-RECENT_EPOCHS:]]
        seconds_per_epoch = sum(recent) / len(recent)
        if n_done >= state.planned_epochs:
            is_single = n_done == 1 < wanted_epochs
            if not is_single or state.seconds > self._max_seconds * (1 - MUCH_LEFT):
                return
            seconds_per_epoch /= state.last_epoch_share  # it may have been a part of one
            state.schedule_progress = 0.0
        mining_seconds = sum(row.get("mining_seconds", 0.0) for row in state.history)
        seconds_per_round = mining_seconds / max(state.n_mining_rounds, 1)
        rounds_left = max(self._n_mining_rounds - state.n_mining_rounds, 0)
        seconds_left = self._max_seconds - state.seconds - seconds_per_round * rounds_left
        fitting = max(seconds_left / max(seconds_per_epoch, 1e-9), LEAST_LAST_SHARE)
        state.last_epoch_share = min(fitting, 1.0)
        state.planned_epochs = min(n_done + max(int(fitting), 1), wanted_epochs)


def measure_step(
    module: DetectionModule, parts: list[ImageBatch], *, training_precision: str, device: str
) -> float:
    """Return the seconds of the fastest of a few steps, measured on a copy of the module."""
    trial = copy.deepcopy(module).to(device)
    optimizer = torch.optim.AdamW(trial.network.parameters())
    half = HALF_PRECISION.get(training_precision)
    parts = [part.to(device) for part in parts]
    times = []
    for step in range(CALIBRATION_STEPS):
        began = time.monotonic()
        generator = torch.Generator().manual_seed(step)
        total = torch.zeros((), device=device)
        with torch.autocast(torch.device(device).type, half, enabled=half is not None):
            for part in parts:
                total = total + trial.batch_loss(part, generator).total
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        float(total.detach())  # waits for a GPU
        times.append(time.monotonic() - began)
    return min(times)
