"""Batches of an epoch and of validation, in the form that Lightning iterates over.

Their order depends on the seed and the epoch alone. Decides nothing about what is learnt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from windhover.training.image_set import ImageBatch, ImageSet
from windhover.training.samplers import evenly_spaced

VALIDATION_BATCH = 512
# at most so many, evenly drawn, choose the epoch: more would cost a tenth of the training
VALIDATION_PATCHES = 2048


class StepBatch(NamedTuple):
    """What one training step learns from: its patches and, where there are any, large patches."""

    step: int  # of the epoch, counted from 0
    parts: list[ImageBatch]


class EpochBatches:
    """The batches of one epoch: patches, and with each batch of them one of large patches."""

    def __init__(
        self,
        patches: ImageSet,
        patch_rows: list[Tensor],
        large_patches: ImageSet | None = None,
        large_patch_rows: list[Tensor] | None = None,
    ) -> None:
        """Take image sets and the rows of each step."""
        self._sources: list[tuple[ImageSet, list[Tensor]]] = [(patches, patch_rows)]
        if large_patches is not None and large_patch_rows is not None:
            self._sources.append((large_patches, large_patch_rows))
        self._n_steps = len(patch_rows)
        self.loading_seconds = 0.0  # spent on taking images

    def __len__(self) -> int:
        return self._n_steps

    def __iter__(self) -> Iterator[StepBatch]:
        for step in range(self._n_steps):
            began = time.monotonic()
            parts = [images.take(rows[step]) for images, rows in self._sources]
            self.loading_seconds += time.monotonic() - began
            yield StepBatch(step, parts)


class ValidationBatch(NamedTuple):
    """Validation patches, and how much each of them and all of them together weigh."""

    patches: ImageBatch
    sample_weights: Tensor  # (B,) float64: how many windows each patch stands for
    share: float  # of all validation patches


class ValidationBatches:
    """Validation patches in order; of very many, all objects (up to half) and some background."""

    def __init__(self, patches: ImageSet) -> None:
        labels = patches.labels()
        self._patches = patches
        self.rows, self.background_weight = select_validation_rows(labels)
        self._weights = np.where(labels[self.rows] < 0, self.background_weight, 1.0)

    def __len__(self) -> int:
        return -(-len(self.rows) // VALIDATION_BATCH)

    def __iter__(self) -> Iterator[ValidationBatch]:
        for first in range(0, len(self.rows), VALIDATION_BATCH):
            part = slice(first, first + VALIDATION_BATCH)
            rows = torch.from_numpy(self.rows[part])
            yield ValidationBatch(
                self._patches.take(rows),
                torch.from_numpy(self._weights[part]),
                len(rows) / len(self.rows),
            )


def select_validation_rows(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
    """Return the rows of the validation patches that are scored, and what background weighs.

    Args:
        labels: (N,) class index of each patch, below 0 for background.

    Returns:
        Rows in order, and how many windows each of background stands for, where one of an object
        stands for one.
    """
    positives = np.flatnonzero(labels >= 0)
    background = np.flatnonzero(labels < 0)
    most_positives = max(VALIDATION_PATCHES // 2, VALIDATION_PATCHES - len(background))
    kept_positives = evenly_spaced(positives, most_positives)
    kept_background = evenly_spaced(background, VALIDATION_PATCHES - len(kept_positives))
    background_weight = 1.0
    if len(kept_positives) and len(kept_background):
        background_weight = (
            len(background) / len(kept_background) * len(kept_positives) / len(positives)
        )
    return np.sort(np.concatenate([kept_positives, kept_background])), background_weight
