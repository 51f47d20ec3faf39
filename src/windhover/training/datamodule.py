"""The Lightning datamodule: training images and validation patches, and the batches of each epoch.

Grows when hard negatives are mined. Reads no file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from windhover.training.epoch_batches import EpochBatches, ValidationBatches
from windhover.training.image_set import ImageBatch, ImageSet
from windhover.training.object_table import N_COLUMNS
from windhover.training.samplers import Rows, Sampler, cyclic_rows, make_batches
from windhover.training.targets import ObjectTensor

if TYPE_CHECKING:
    from windhover.params.train import TrainParams


class PatchDataModule(L.LightningDataModule):
    """What a training learns from and is validated with."""

    def __init__(
        self,
        patches: ImageSet,
        validation: ImageSet,
        *,
        params: TrainParams,
        large_patches: ImageSet | None = None,
        n_validation_objects: int = 0,
    ) -> None:
        """Take the images.

        Args:
            patches: for training, augmented.
            validation: patches by which the weights to keep are chosen.
            params: of the train stage.
            large_patches: for training; None without any.
            n_validation_objects: that validation patches show; several may show the same.
        """
        super().__init__()
        self.patches = patches
        self.is_mined = np.zeros(len(patches), bool)  # (N,) which patches were mined
        self.large_patches = large_patches
        self.validation = validation
        self.n_validation_objects = n_validation_objects
        self.params = params
        self.sampler = Sampler.from_params(params)
        self._epoch_batches: EpochBatches | None = None

    def add_mined(self, images: NDArray[Any], objects: NDArray[np.float32]) -> None:
        """Append mined patches, (N, S, S, C) as read and (N, 5) objects."""
        self.patches.add(images, objects)
        self.is_mined = np.concatenate([self.is_mined, np.ones(len(images), bool)])

    @property
    def loading_seconds(self) -> float:
        """Seconds that taking the images of this epoch has cost so far."""
        return 0.0 if self._epoch_batches is None else self._epoch_batches.loading_seconds

    def train_dataloader(self) -> EpochBatches:
        """Return the batches of the epoch that begins; Lightning asks anew before every epoch.

        Without large patches an epoch is what the sampler draws of the patches; with them it is the
        next of the large patches, each batch of them with one of patches.
        """
        self._epoch_batches = self._make_epoch_batches()
        return self._epoch_batches

    def _make_epoch_batches(self) -> EpochBatches:
        epoch = self._trainer.current_epoch
        large_patch_rows = None
        rows = self.epoch_rows(epoch)
        if self.large_patches is not None:
            large_patch_rows = self._large_patch_rows(self.large_patches, epoch)
            wanted = len(large_patch_rows) * self.params.batch_size
            rows = np.take(rows, range(wanted), mode="wrap")
        patch_rows = self._make_batches(rows, self.params.batch_size)
        return EpochBatches(self.patches, patch_rows, self.large_patches, large_patch_rows)

    def _large_patch_rows(self, large_patches: ImageSet, epoch: int) -> list[Tensor]:
        """Return the rows of the large patches that each step of an epoch shows."""
        sizes = self.params.large_patches
        order = cyclic_rows(len(large_patches), sizes.per_epoch, seed=self.params.seed, epoch=epoch)
        return self._make_batches(order, sizes.per_batch)

    def _make_batches(self, rows: Rows, batch_size: int) -> list[Tensor]:
        """Split rows into batches, and return this process's part of each."""
        trainer = self._trainer
        return make_batches(
            rows, batch_size, rank=trainer.global_rank, world_size=trainer.world_size
        )

    @property
    def _trainer(self) -> L.Trainer:
        if self.trainer is None:
            raise RuntimeError("batches need a trainer: it knows the epoch and the process")
        return self.trainer

    def epoch_rows(self, epoch: int) -> Rows:
        """Return the rows of patches that the sampler draws for an epoch."""
        return self.sampler.epoch(self.patches.labels(), self.is_mined, epoch)

    def val_dataloader(self) -> ValidationBatches:
        """Return the validation patches, in order."""
        return ValidationBatches(self.validation)

    def sample_step(self) -> list[ImageBatch]:
        """Return the first images of each kind, as many as a step shows."""
        parts = [_first_images(self.patches, self.params.batch_size)]
        if self.large_patches is not None:
            parts.append(_first_images(self.large_patches, self.params.large_patches.per_batch))
        return parts

    def steps_per_epoch(self) -> int:
        """Return how many steps the first epoch takes, the last one counted as whole."""
        sizes = self.params.large_patches
        if self.large_patches is not None:
            return -(-sizes.per_epoch // sizes.per_batch)
        return -(-len(self.epoch_rows(0)) // self.params.batch_size)

    def has_offsets_and_sizes(self) -> tuple[bool, bool]:
        """Return whether the offset of any training object is known, and whether any size is."""
        tables = [self.patches.objects]
        if self.large_patches is not None:
            tables.append(self.large_patches.objects)
        rows = torch.cat([table.reshape(-1, N_COLUMNS).cpu() for table in tables])
        objects = ObjectTensor(rows)
        known_offsets = objects.centers_xy[objects.is_object].isfinite().all(1)
        known_sizes = objects.sizes_wh[objects.is_object].isfinite().all(1)
        return bool(known_offsets.any()), bool(known_sizes.any())


def _first_images(images: ImageSet, count: int) -> ImageBatch:
    return images.take(torch.arange(min(count, len(images))))
