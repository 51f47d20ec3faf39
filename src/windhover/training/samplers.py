"""Which images an epoch shows and in which order, decided by a seed and the epoch alone.

Works on rows and labels; holds no image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from windhover.errors import ParameterError

if TYPE_CHECKING:
    from windhover.params.allowed_values import SamplerStrategy
    from windhover.params.train import TrainParams

Rows = NDArray[np.int64]
STRATEGIES = ("none", "under", "over")


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Draws the patches of an epoch.

    Attributes:
        strategy: `none` shows every patch once; `under` every positive once and background by the
            ratio; `over` every background once and positives again and again until the ratio is
            met.
        negatives_per_positive: the ratio, for `under` and `over`.
        balance_classes: whether rare classes are shown as often as common ones.
        mined_fraction: at most this share of the background of an `under` epoch is mined, or all
            there is.
        seed: of every epoch's order.
    """

    strategy: SamplerStrategy
    negatives_per_positive: float
    balance_classes: bool
    mined_fraction: float
    seed: int

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ParameterError(
                f"sampler must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}. "
                "Choose one of them."
            )

    @classmethod
    def from_params(cls, params: TrainParams) -> Sampler:
        """Return the sampler that the parameters of the train stage describe."""
        return cls(
            strategy=params.sampler,
            negatives_per_positive=params.negatives_per_positive,
            balance_classes=params.balance_classes,
            mined_fraction=params.mined_fraction,
            seed=params.seed,
        )

    def epoch(self, labels: NDArray[np.int64], is_mined: NDArray[np.bool_], epoch: int) -> Rows:
        """Return the rows that an epoch shows, shuffled.

        Args:
            labels: (N,) class index of each patch, -1 for background.
            is_mined: (N,) which patches were mined.
            epoch: counted from 0.
        """
        random = np.random.default_rng([self.seed, epoch])
        positives = np.flatnonzero(labels >= 0)
        background = np.flatnonzero(labels < 0)
        n_shown = len(positives)
        if self.strategy == "under" and n_shown:
            background = self._undersample(background, is_mined, n_shown, random)
        if self.strategy == "over" and n_shown and self.negatives_per_positive > 0:
            n_shown = max(n_shown, round(len(background) / self.negatives_per_positive))
        positives = self._repeat_positives(positives, labels, n_shown, random)
        return random.permutation(np.concatenate([positives, background]))

    def _undersample(
        self,
        background: Rows,
        is_mined: NDArray[np.bool_],
        n_positives: int,
        random: np.random.Generator,
    ) -> Rows:
        """Draw background by the ratio, up to a share of it from the mined patches."""
        wanted = min(round(n_positives * self.negatives_per_positive), len(background))
        mined = background[is_mined[background]]
        cut = background[~is_mined[background]]
        n_mined = min(len(mined), round(wanted * self.mined_fraction))
        n_mined = max(n_mined, wanted - len(cut))
        drawn = [random.choice(mined, n_mined, False), random.choice(cut, wanted - n_mined, False)]
        return np.concatenate(drawn)

    def _repeat_positives(
        self,
        positives: Rows,
        labels: NDArray[np.int64],
        count: int,
        random: np.random.Generator,
    ) -> Rows:
        """Return `count` rows of positives, balanced over classes where that is asked for."""
        classes = np.unique(labels[positives])
        if not self.balance_classes or len(classes) < 2:
            return _repeat_rows(positives, count, random)
        repeated = []
        for number, class_index in enumerate(classes):
            share = count // len(classes) + (number < count % len(classes))
            rows = positives[labels[positives] == class_index]
            repeated.append(_repeat_rows(rows, share, random))
        return np.concatenate(repeated)


def _repeat_rows(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    """Return `count` rows: each as often as any other, but for one."""
    if not len(rows):
        return rows
    n_passes = -(-count // len(rows))
    passes = [random.permutation(rows) for _ in range(n_passes)]
    return np.concatenate([rows[:0], *passes])[:count]


def make_batches(
    rows: Rows, batch_size: int, *, rank: int = 0, world_size: int = 1
) -> list[Tensor]:
    """Split an epoch's rows into batches; each of several processes gets its own part of each.

    Batches differ by one at most in size, so none is too small for batch statistics.
    """
    parts = np.array_split(rows, max(len(rows) // batch_size, 1))
    return [torch.from_numpy(part[rank::world_size].copy()) for part in parts]


def cyclic_rows(count: int, per_epoch: int, *, seed: int, epoch: int) -> Rows:
    """Return the rows that an epoch shows, (per_epoch,), so that epochs cycle through all rows.

    Every pass over the rows has an order of its own, drawn from the seed; an epoch may end one pass
    and begin the next.

    Args:
        count: of all rows.
        per_epoch: rows that an epoch shows.
        seed: of every pass.
        epoch: counted from 0.
    """
    first = epoch * per_epoch
    passes = range(first // count, (first + per_epoch - 1) // count + 1)
    orders = [np.random.default_rng([seed, number, 1]).permutation(count) for number in passes]
    return np.concatenate(orders)[first - passes[0] * count :][:per_epoch]


def evenly_spaced(rows: Rows, most: int) -> Rows:
    """Return at most so many of the rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
