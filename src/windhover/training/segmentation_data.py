"""What a network that maps every pixel learns from: crops drawn for each epoch, as batches.

The pictures come from the scenes of the catalog, at the GSD and with the bands of the patches; the
transforms are those of the augment stage, which turn a picture and its class map together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from windhover.dataset.catalog import load_catalog
from windhover.errors import DataError, ParameterError
from windhover.models.input_normalization import build_normalizer
from windhover.models.networks import build_network
from windhover.params.train import TrainParams
from windhover.patches.albumentations_pipeline import (
    augment_crop,
    build_transforms,
    stable_hash,
    without_unfit_defaults,
)
from windhover.patches.augment_patches import read_augment_params
from windhover.patches.patch_store import read_summary
from windhover.patches.patch_summary import PatchSummary
from windhover.patches.pixel_value_range import ValueRange, value_range
from windhover.training.build_module import load_start_weights
from windhover.training.choose_radiometry import with_chosen_radiometry
from windhover.training.datamodule import PatchDataModule
from windhover.training.epoch_batches import (
    EpochBatches,
    StepBatch,
    ValidationBatch,
    ValidationBatches,
)
from windhover.training.image_set import ImageBatch, ImageSet
from windhover.training.losses import DetectionLoss
from windhover.training.object_table import N_COLUMNS
from windhover.training.samplers import Rows
from windhover.training.segmentation_crops import Crop, CropSource, class_shares
from windhover.training.segmentation_losses import SegmentationLoss
from windhover.training.segmentation_module import SegmentationModule
from windhover.training.training_data import TrainingData, TrainingFolders, for_coverage

N_EXAMPLES = 16
VALIDATION_CROPS = 64
VALIDATION_BATCH = 8


class SegmentationDataModule(PatchDataModule):
    """Crops drawn for each epoch, and fixed crops for validation.

    `patches` are a few examples of the crops: what a tracked model shows.
    """

    def __init__(
        self,
        source: CropSource,
        validation: list[Crop],
        *,
        params: TrainParams,
        transforms: Any,
        scale: ValueRange,
        n_classes: int,
    ) -> None:
        """Take the scenes.

        Args:
            source: of the training crops.
            validation: crops by which the weights to keep are chosen.
            params: of the train stage.
            transforms: of albumentations.
            scale: range of the pixels.
            n_classes: number of classes K.
        """
        self._source = source
        self._transforms = transforms
        self._scale = scale
        self._crops = validation
        examples = _example_set(self._draw_plain(source, params), n_classes)
        has_class = class_shares(validation, n_classes).any(axis=1)
        super().__init__(
            examples,
            _example_set(validation, n_classes),
            params=params,
            n_validation_objects=int(has_class.sum()),
        )
        self._batches: CropBatches | None = None

    @staticmethod
    def _draw_plain(source: CropSource, params: TrainParams) -> list[Crop]:
        """Return crops as they are in the scenes."""
        rng = np.random.default_rng(params.seed)
        fraction = params.segmentation.class_fraction
        return [source.draw(rng, fraction) for _ in range(N_EXAMPLES)]

    @property
    def loading_seconds(self) -> float:
        """Seconds that training has waited for the crops of this epoch so far."""
        return 0.0 if self._batches is None else self._batches.loading_seconds

    def train_dataloader(self) -> EpochBatches:
        """Return the batches of the epoch that begins; Lightning asks anew before every epoch."""
        trainer = self._trainer
        make = partial(self.batch, trainer.current_epoch, rank=trainer.global_rank)
        self._batches = CropBatches(make, self.steps_per_epoch())
        return cast(EpochBatches, self._batches)

    def batch(self, epoch: int, step: int, *, rank: int = 0) -> ImageBatch:
        """Return the crops of a step, augmented; they depend on the seed, epoch, step and rank."""
        sizes = self.params.segmentation
        n_processes = 1 if self.trainer is None else self.trainer.world_size
        crops = []
        for number in range(max(sizes.per_batch // n_processes, 1)):
            seed = stable_hash(self.params.seed, epoch, step, rank, number)
            crop = self._source.draw(np.random.default_rng(seed), sizes.class_fraction)
            self._transforms.set_random_seed(seed)
            image, classes = augment_crop(
                crop.image, crop.classes, self._transforms, scale=self._scale
            )
            crops.append(Crop(image, classes, crop.levels))
        return _to_batch(crops)

    def epoch_rows(self, epoch: int) -> Rows:
        """Return the rows of the examples."""
        return np.arange(len(self.patches))

    def val_dataloader(self) -> ValidationBatches:
        """Return the validation crops, in order."""
        return cast(ValidationBatches, ValidationCrops(self._crops))

    def sample_step(self) -> list[ImageBatch]:
        """Return the crops of a step."""
        return [self.batch(-1, 0)]

    def steps_per_epoch(self) -> int:
        """Return how many steps an epoch takes."""
        sizes = self.params.segmentation
        return -(-sizes.per_epoch // sizes.per_batch)


class CropBatches:
    """The batches of one epoch, the next being drawn while one is learnt from."""

    def __init__(self, make: Any, n_steps: int) -> None:
        """Take a function from a step's number to its batch, and the number of steps."""
        self._make = make
        self._n_steps = n_steps
        self.loading_seconds = 0.0  # spent on waiting for crops

    def __len__(self) -> int:
        return self._n_steps

    def __iter__(self) -> Iterator[StepBatch]:
        with ThreadPoolExecutor(1, thread_name_prefix="windhover-crops") as pool:
            waiting = pool.submit(self._make, 0)
            for step in range(self._n_steps):
                began = time.monotonic()
                batch = waiting.result()
                self.loading_seconds += time.monotonic() - began
                if step + 1 < self._n_steps:
                    waiting = pool.submit(self._make, step + 1)
                yield StepBatch(step, [batch])


class ValidationCrops:
    """Validation crops in order, in batches."""

    def __init__(self, crops: list[Crop]) -> None:
        """Take the crops."""
        self._crops = crops

    def __len__(self) -> int:
        return -(-len(self._crops) // VALIDATION_BATCH)

    def __iter__(self) -> Iterator[ValidationBatch]:
        for first in range(0, len(self._crops), VALIDATION_BATCH):
            part = self._crops[first : first + VALIDATION_BATCH]
            weights = torch.ones(len(part), dtype=torch.float64)
            yield ValidationBatch(_to_batch(part), weights, len(part) / len(self._crops))


def _to_batch(crops: list[Crop]) -> ImageBatch:
    """Return crops as tensors, pixels (B, C, S, S) float32, class maps (B, S, S) uint8.

    Levels (B, C) where every crop has them.
    """
    pixels = np.stack([crop.image for crop in crops]).astype(np.float32)
    classes = np.stack([crop.classes for crop in crops])
    levels = [crop.levels for crop in crops if crop.levels is not None]
    return ImageBatch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        torch.from_numpy(classes),
        torch.from_numpy(np.stack(levels)) if len(levels) == len(crops) else None,
    )


def _example_set(crops: list[Crop], n_classes: int) -> ImageSet:
    """Return crops as a set of images; of each the class that most of it is of, if any."""
    shares = class_shares(crops, n_classes)
    objects = np.full((len(crops), N_COLUMNS), np.nan, np.float32)
    objects[:, 0] = -1
    if len(crops):
        objects[:, 0] = np.where(shares.any(axis=1), shares.argmax(axis=1), -1)
        return ImageSet(np.stack([crop.image for crop in crops]), objects)
    return ImageSet(np.zeros((0, 1, 1, 1), np.float32), objects)


def load_segmentation_data(params: TrainParams, folders: TrainingFolders) -> TrainingData:
    """Open the scenes of a training of masks.

    Args:
        params: of the stage.
        folders: what is read.

    Raises:
        MissingFileError: an earlier stage's output is missing.
        ParameterError: the task is not coverage.
        DataError: no scene of the training has a class map.
    """
    summary = read_summary(folders.patches)
    catalog = load_catalog(folders.scenes)
    if not catalog.is_coverage:
        raise ParameterError(
            f"`train.network: {params.network}` maps classes of ground, and the scenes hold "
            "objects. Set `scenes.task: coverage`, or take another network."
        )
    params = for_coverage(params)
    params = with_chosen_radiometry(
        params, n_bands=len(summary.bands), n_classes=len(summary.classes)
    )
    side_px = params.segmentation.side_px
    normalizer = build_normalizer(summary.mean, summary.std, params.options)
    source = CropSource(catalog.split("train"), summary, side_px=side_px, normalizer=normalizer)
    if not sum(source.px_by_class[1:]):
        raise DataError(
            "No scene of the training split has a class map with a class in it. Put class rasters "
            "beside the scenes, or change `scenes.seed`."
        )
    validation = CropSource(catalog.split("val"), summary, side_px=side_px, normalizer=normalizer)
    crops = validation.grid(VALIDATION_CROPS)
    validation.close()
    declared = read_augment_params(Path(folders.augmented)).transforms
    fitting, _ = without_unfit_defaults(declared, len(summary.bands))
    datamodule = SegmentationDataModule(
        source,
        crops,
        params=params,
        transforms=build_transforms(fitting, len(summary.bands)),
        scale=value_range(summary.dtype, summary.mean, summary.std),
        n_classes=len(summary.classes),
    )
    return TrainingData(
        params=params,
        summary=summary,
        catalog=None,
        datamodule=datamodule,
        class_counts=source.px_by_class,
        example=_example_windows(datamodule, summary),
        sheet=None,
    )


def _example_windows(datamodule: PatchDataModule, summary: PatchSummary) -> NDArray[Any]:
    """Return a few crops (N, H, W, C) as read."""
    pixels = datamodule.patches.take(torch.arange(4)).pixels
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy().astype(summary.dtype))


def build_segmentation_module(data: TrainingData) -> SegmentationModule:
    """Return a module with a fresh network, or with the weights to start from.

    Raises:
        ParameterError: an option of the network or the loss, or the model to start from, does not
            fit.
    """
    params = data.params
    summary = data.summary
    torch.manual_seed(params.seed)
    network: nn.Module = build_network(
        params.network, len(summary.bands), len(data.classes), **params.options
    )
    step_px = int(network.step_px)  # type: ignore[arg-type]
    if params.segmentation.side_px % step_px:
        raise ParameterError(
            f"`train.segmentation.side_px` must be a multiple of {step_px} px for this network, "
            f"got {params.segmentation.side_px}. Change it."
        )
    if params.start_from is not None:
        load_start_weights(network, params.start_from)
    return SegmentationModule(
        network,
        build_normalizer(summary.mean, summary.std, params.options),
        cast(DetectionLoss, SegmentationLoss(params.segmentation.loss)),
        params=params,
        label_rule=summary.label_rule,
        value_range=value_range(summary.dtype, summary.mean, summary.std),
        n_classes=len(data.classes),
    )
