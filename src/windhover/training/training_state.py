"""How far a training is: planned epochs, the schedule, the best and the kept epoch, the history.

Part of every checkpoint, and the same in all processes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

# of a last epoch cut short: over fewer, the learning rate would fall in too few stairs
LEAST_LAST_STEPS = 20


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        planned_epochs: after which training ends.
        last_epoch_share: share of the last planned epoch that is trained, in (0, 1].
        schedule_progress: share of the learning rate schedule done, in [0, 1].
        plateau_factor: factor on the learning rate of the `plateau` schedule.
        seconds: spent on epochs and mining.
        mining_seconds: spent on mining before the epoch that runs.
        n_mining_rounds: held so far.
        best_ap: highest average precision of windows on validation; below 0 without one.
        best_epoch: in which it was reached, counted from 0.
        kept_ap: average precision of the weights that are kept.
        kept_epoch: of the weights that are kept.
        history: one row an epoch.
    """

    planned_epochs: int
    last_epoch_share: float = 1.0
    schedule_progress: float = 0.0
    plateau_factor: float = 1.0
    seconds: float = 0.0
    mining_seconds: float = 0.0
    n_mining_rounds: int = 0
    best_ap: float = -1.0
    best_epoch: int = -1
    kept_ap: float = -1.0
    kept_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def next_epoch(self) -> int:
        """The epoch after the last finished one, counted from 0."""
        return len(self.history)

    @property
    def schedule_is_done(self) -> bool:
        """Whether the learning rate came to its end, and training with it."""
        return self.schedule_progress >= 1 - 1e-9

    def steps_left(self, epoch: int, batch_idx: int, steps_per_epoch: int) -> int:
        """Return the planned steps from one on, itself included.

        Args:
            epoch: that runs, counted from 0.
            batch_idx: of the step in it.
            steps_per_epoch: of a whole epoch.
        """
        last_steps = round(self.last_epoch_share * steps_per_epoch)
        last_steps = max(last_steps, min(LEAST_LAST_STEPS, steps_per_epoch))
        whole_epochs = self.planned_epochs - 1 - epoch
        return max(whole_epochs * steps_per_epoch + last_steps - batch_idx, 1)

    def stop_after(self, epoch: int) -> None:
        """Plan no epoch after this one; a resumed training keeps to it too."""
        self.planned_epochs = epoch + 1
        self.last_epoch_share = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)
