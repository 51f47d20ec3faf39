"""How far a training is: planned epochs, the schedule, the best and the kept epoch, the history.

Part of every checkpoint, and the same in all processes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TrainingState:
    """How far a training is.

    Attributes:
        planned_epochs: after which training ends.
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

    def stop_after(self, epoch: int) -> None:
        """Plan no epoch after this one; a resumed training keeps to it too."""
        self.planned_epochs = epoch + 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)
