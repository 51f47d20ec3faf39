"""As many epochs as the time given holds: planned by a rehearsal first, then by what epochs and
rounds of mining took.

Decides how long is trained and nothing else; what a step does is the learner's.
"""

from __future__ import annotations

import copy
import time

import torch

from windhover.training.module import Learner
from windhover.training.samplers import Batch


class Clock:
    """Plans as many epochs as fit the time given: by a rehearsal first, then by what epochs and
    rounds took.
    """

    def __init__(
        self,
        learner: Learner,
        max_minutes: float | None,
        rounds: int,
        precision: str,
        device: str = "cpu",
    ) -> None:
        self._learner, self._limit, self._rounds = (
            learner,
            None if max_minutes is None else max_minutes * 60,
            rounds,
        )
        self._precision, self._device = precision, device

    def rehearse(self, steps: int = 4) -> None:
        """Measure a few steps of a throwaway copy and plan by them."""
        learner = self._learner
        if self._limit is None:
            return
        params, data = learner.params, learner.data
        pictures = [data.patches.take(torch.arange(min(params.batch_size, len(data.patches))))]
        n_steps = -(
            -len(learner.sampler.epoch(data.patches.labels(), data.mined, 0)) // params.batch_size
        )
        if data.crops is not None:
            pictures.append(
                data.crops.take(torch.arange(min(params.large_patches.per_batch, len(data.crops))))
            )
            n_steps = -(-params.large_patches.per_epoch // params.large_patches.per_batch)
        epoch = _rehearsed(learner, pictures, steps, self._precision, self._device) * n_steps * 1.1
        fitting = max(int(self._limit * 0.95 / max(epoch, 1e-9)), 1)
        if fitting < learner.progress.planned_epochs:
            print(
                f"  {learner.progress.planned_epochs} epochs of about {epoch:.0f} s do not fit "
                f"{self._limit / 60:g} min: {fitting} are planned"
            )
            learner.progress.planned_epochs = fitting

    def replan(self) -> None:
        """Plan as many more epochs, up to the number wanted, as the time left holds."""
        progress, wanted = self._learner.progress, self._learner.params.epochs
        done = len(progress.history)
        if self._limit is not None and 0 < done < progress.planned_epochs:
            recent = [row["seconds"] for row in progress.history[-3:]]
            mining = [
                row["mining_seconds"] for row in progress.history if row.get("mining_seconds")
            ]
            per_round = sum(mining) / max(progress.rounds_done, 1)
            left = (
                self._limit
                - progress.seconds
                - per_round * max(self._rounds - progress.rounds_done, 0)
            )
            fitting = done + max(int(left / max(sum(recent) / len(recent), 1e-9)), 0)
            progress.planned_epochs = min(fitting, wanted)


def _rehearsed(
    learner: Learner, pictures: list[Batch], steps: int, precision: str, device: str
) -> float:
    """Return the seconds of one step, measured on a copy of the network that is thrown away."""
    kept = learner.network
    learner.network = copy.deepcopy(kept).to(device)
    learner.normalizer.to(device)
    optimizer = torch.optim.AdamW(learner.network.parameters())
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    times = []
    try:
        for step in range(steps):
            began = time.monotonic()
            generator = torch.Generator().manual_seed(step)
            parts = [Batch(part.pixels.to(device), part.objects.to(device)) for part in pictures]
            with torch.autocast(torch.device(device).type, half, enabled=half is not None):
                total = sum(
                    (learner.losses(part, generator).total for part in parts),
                    torch.zeros((), device=device),
                )
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            float(total.detach())  # a GPU is waited for
            times.append(time.monotonic() - began)
    finally:
        learner.network = kept
    return min(times)
