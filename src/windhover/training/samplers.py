"""What a training step draws from: patches and crops held whole in memory, and the order in which
an epoch shows them.

A set of patches is one tensor (46,000 of 64 px and three bytes are 565 MB), so there is no loader
to wait for and no worker to seed. Refuses files, and anything that changes a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from windhover.errors import DataError, ParameterError
from windhover.training.losses import PAD

SAMPLERS = ("none", "under", "over")
_SIGNED = {
    torch.uint16: torch.int16
}  # indexing unsigned 16-bit tensors is not offered on every device


class Batch(NamedTuple):
    """One step's pictures as read and what is known of their objects, relative to each picture's
    centre.
    """

    pixels: Tensor  # (B, C, S, S), dtype as read
    objects: Tensor  # (B, 5) for patches, (B, M, 5) for crops: class, x, y, width, height in px


def object_table(index: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float32]:
    """Return what an index of patches says of each, (N, 5): class index or `PAD`, dx, dy, width,
    height in px.

    Raises:
        DataError: the index names a class that the summary lacks.
    """
    names = index["class"].fillna("").to_numpy(dtype=object)
    unknown = sorted(set(names) - {"", *classes})
    if unknown:
        raise DataError(
            f"patches name class {unknown[0]!r}, their summary has {', '.join(classes)}. Cut the patches again."
        )
    table = np.empty((len(index), 5), np.float32)
    table[:, 0] = [classes.index(name) if name else PAD for name in names]
    table[:, 1:] = index[["dx_px", "dy_px", "w_px", "h_px"]].to_numpy(np.float32)
    return table


class PictureSet:
    """Pictures of one size with their objects, on one device; grows when negatives are mined."""

    def __init__(
        self, images: NDArray[Any], objects: NDArray[np.float32], device: str = "cpu"
    ) -> None:
        """Hold `images` (N, S, S, C) as read and `objects` (N, 5) or (N, M, 5)."""
        self.device = torch.device(device)
        self._images = self._place(images)
        self.objects = torch.from_numpy(np.ascontiguousarray(objects, np.float32)).to(self.device)
        self._dtype = torch.from_numpy(np.zeros(0, images.dtype)).dtype

    def _place(self, images: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(
            np.array(images, order="C")
        )  # a copy: what is memory-mapped cannot be a tensor
        return tensor.view(_SIGNED.get(tensor.dtype, tensor.dtype)).to(self.device)  # (N, S, S, C)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def side_px(self) -> int:
        """Side of the square pictures."""
        return int(self._images.shape[1])

    def add(self, images: NDArray[Any], objects: NDArray[np.float32]) -> None:
        """Append pictures of the same size, bands and dtype."""
        self._images = torch.cat([self._images, self._place(images)])
        self.objects = torch.cat(
            [
                self.objects,
                torch.from_numpy(np.ascontiguousarray(objects, np.float32)).to(self.device),
            ]
        )

    def take(self, rows: Tensor) -> Batch:
        """Return the pictures of `rows`, channels last in memory."""
        rows = rows.to(self.device)
        pixels = (
            self._images.index_select(0, rows).view(self._dtype).permute(0, 3, 1, 2)
        )  # (B, C, S, S)
        return Batch(pixels, self.objects.index_select(0, rows))

    def labels(self) -> NDArray[np.int64]:
        """Return the class index of each picture of one object, -1 for background, (N,)."""
        return self.objects[..., 0].reshape(len(self), -1)[:, 0].cpu().numpy().astype(np.int64)


@dataclass(frozen=True)
class Sampler:
    """Which pictures an epoch shows, and in which order.

    Attributes:
        strategy: `none` shows every picture once; `under` every positive once and backgrounds
            by the ratio; `over` every background once and positives again and again until the ratio
            is met.
        negatives_per_positive: the ratio, for `under` and `over`.
        balance_classes: whether rare classes are shown as often as common ones.
        mined_fraction: at most this share of an `under` epoch's backgrounds are mined ones, or all
            there are.
        seed: of every epoch's order.
    """

    strategy: str
    negatives_per_positive: float
    balance_classes: bool
    mined_fraction: float
    seed: int

    def __post_init__(self) -> None:
        if self.strategy not in SAMPLERS:
            raise ParameterError(
                f"sampler must be one of {', '.join(SAMPLERS)}, got {self.strategy!r}. Choose one of them."
            )

    def epoch(
        self, labels: NDArray[np.int64], mined: NDArray[np.bool_], epoch: int
    ) -> NDArray[np.int64]:
        """Return the rows that an epoch shows, shuffled.

        Args:
            labels: class index of each picture, -1 for background, (N,).
            mined: which were mined, (N,).
            epoch: counted from 0.
        """
        random = np.random.default_rng([self.seed, epoch])
        positives, backgrounds = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        if self.strategy == "under" and len(positives):
            wanted = min(round(len(positives) * self.negatives_per_positive), len(backgrounds))
            backgrounds = self._backgrounds(backgrounds, mined, wanted, random)
        n_positive = len(positives)
        if self.strategy == "over" and n_positive and self.negatives_per_positive > 0:
            n_positive = max(n_positive, round(len(backgrounds) / self.negatives_per_positive))
        positives = self._positives(positives, labels, n_positive, random)
        return random.permutation(np.concatenate([positives, backgrounds]))

    def _backgrounds(
        self,
        backgrounds: NDArray[np.int64],
        mined: NDArray[np.bool_],
        wanted: int,
        random: np.random.Generator,
    ) -> NDArray[np.int64]:
        hard, plain = backgrounds[mined[backgrounds]], backgrounds[~mined[backgrounds]]
        n_hard = max(min(len(hard), round(wanted * self.mined_fraction)), wanted - len(plain))
        return np.concatenate(
            [random.choice(hard, n_hard, False), random.choice(plain, wanted - n_hard, False)]
        )

    def _positives(
        self,
        positives: NDArray[np.int64],
        labels: NDArray[np.int64],
        wanted: int,
        random: np.random.Generator,
    ) -> NDArray[np.int64]:
        kinds = np.unique(labels[positives])
        if self.balance_classes and len(kinds) > 1:
            groups = [positives[labels[positives] == kind] for kind in kinds]
            shares = [
                wanted // len(groups) + (index < wanted % len(groups))
                for index in range(len(groups))
            ]
            return np.concatenate(
                [_repeat(group, share, random) for group, share in zip(groups, shares, strict=True)]
            )
        return _repeat(positives, wanted, random)


def _repeat(rows: NDArray[np.int64], wanted: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `wanted` rows: each as often as any other, but for one."""
    if not len(rows):
        return rows
    whole = [random.permutation(rows) for _ in range(-(-wanted // len(rows)))]
    return np.concatenate([rows[:0], *whole])[:wanted]


def batches(
    rows: NDArray[np.int64], batch_size: int, rank: int = 0, world_size: int = 1
) -> list[Tensor]:
    """Split an epoch's rows into batches; each of several processes gets its own share of every
    batch.

    Batches differ by one at most in size, so none is too small for batch statistics.
    """
    parts = np.array_split(rows, max(len(rows) // batch_size, 1))
    return [torch.from_numpy(part[rank::world_size].copy()) for part in parts]


def rows_in_turn(count: int, per_epoch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the rows that an epoch shows, (per_epoch,), so that epochs together go through all
    rows again and again.

    Every pass over the rows has an order of its own, drawn from the seed; an epoch may end one pass
    and begin the next.
    """
    first = epoch * per_epoch
    passes = range(first // count, (first + per_epoch - 1) // count + 1)
    orders = np.concatenate(
        [np.random.default_rng([seed, number, 1]).permutation(count) for number in passes]
    )
    return orders[first - passes[0] * count :][:per_epoch]
