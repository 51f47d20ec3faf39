"""The Lightning module of a network that maps every pixel: its loss, and its validation by pixels.

The schedule, the moving average and the training state are those of `DetectionModule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from windhover.errors import DataError
from windhover.metrics.coverage_curves import (
    MAX_VALUE,
    ScoreHistogram,
    average_precision,
    coverage_curve,
)
from windhover.models.input_normalization import SceneLogNormalizer
from windhover.training.batch_augment import Radiometry, random_radiometry
from windhover.training.losses import LossTerms
from windhover.training.module import DetectionModule
from windhover.training.segmentation_losses import UNKNOWN
from windhover.training.validation_ap import DIVERGED

if TYPE_CHECKING:
    from windhover.training.epoch_batches import ValidationBatch
    from windhover.training.image_set import ImageBatch


class SegmentationModule(DetectionModule):
    """A segmentation network with all that a training step and its validation need.

    Batches hold class maps (B, S, S) in the place of tables of objects.
    """

    def batch_loss(self, batch: ImageBatch, generator: torch.Generator | None = None) -> LossTerms:
        """Return the loss of crops, augmented by the generator where one is given."""
        pixels = batch.pixels
        classes = batch.objects
        levels = batch.levels
        if generator is not None:
            if self.params.batch_augment.d4:
                pixels, classes = random_d4_of_crops(pixels, classes, generator)
            if self.radiometry != Radiometry():
                changed = random_radiometry(pixels, self.value_range, self.radiometry, generator)
                levels = self._changed_levels(levels, pixels, changed)
                pixels = changed
        score = self._pixel_loss(self.network(self.normalized(pixels, levels)), classes)
        zero = torch.zeros((), device=score.device)
        return LossTerms(score, score.detach(), offset=zero, size=zero)

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Score validation crops with the network that would be kept."""
        network = self.inference_network.eval()
        logits = network(self.normalized(batch.patches.pixels, batch.patches.levels))
        loss = self._pixel_loss(logits, batch.patches.objects)
        so_far = self._validation_metrics.get("val_loss", 0.0)
        self._validation_metrics["val_loss"] = so_far + loss.detach() * batch.share
        self._validated.append((logits.float().cpu(), batch.patches.objects.cpu(), torch.empty(0)))

    def _changed_levels(
        self, levels: Tensor | None, pixels: Tensor, changed: Tensor
    ) -> Tensor | None:
        """Return the levels of scenes whose light changed as that of their crops did."""
        if levels is None or not isinstance(self.normalizer, SceneLogNormalizer):
            return levels
        logarithms = self.normalizer.logarithms
        return levels + (logarithms(changed) - logarithms(pixels)).mean(dim=(2, 3))

    def _pixel_loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss of logits (B, K, S, S) against class maps (B, S, S)."""
        loss: Tensor = cast("nn.Module", self.loss)(logits, classes)
        return loss

    def on_validation_epoch_end(self) -> None:
        """Compute the average precision of pixels, the mean over classes, `val_ap`.

        Raises:
            DataError: logits that are not numbers.
        """
        if not self._validated:
            return
        per_class = []
        n_with_class = 0
        for index in range(self.n_classes):
            histogram = ScoreHistogram.empty()
            for logits, classes, _ in self._validated:
                if not bool(logits.isfinite().all()):
                    raise DataError(DIVERGED)
                known = (classes != UNKNOWN).numpy()
                scores = logits[:, index].sigmoid().numpy()
                values = np.rint(scores * MAX_VALUE).astype(np.uint8)[known]
                is_class = classes.numpy() == index + 1
                histogram += ScoreHistogram.of(values, is_class[known])
                n_with_class += int(is_class.any(axis=(1, 2)).sum())
            if histogram.positive.any():
                per_class.append(average_precision(coverage_curve(histogram)))
        self._validated.clear()
        self._validation_metrics["val_ap"] = float(np.mean(per_class)) if per_class else 0.0
        self.n_validation_positives = n_with_class


def random_d4_of_crops(
    pixels: Tensor, classes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply one of the eight symmetries of the square to each crop and its class map.

    Args:
        pixels: (B, C, S, S).
        classes: (B, S, S).
        generator: on the CPU.
    """
    flags = torch.rand(3, len(pixels), generator=generator).to(pixels.device) < 0.5
    for flag, turn in zip(flags, (_flip_x, _flip_y, _transpose), strict=True):
        pixels = torch.where(flag[:, None, None, None], turn(pixels), pixels)
        classes = torch.where(flag[:, None, None], turn(classes), classes)
    return pixels, classes


def _flip_x(images: Tensor) -> Tensor:
    return images.flip(-1)


def _flip_y(images: Tensor) -> Tensor:
    return images.flip(-2)


def _transpose(images: Tensor) -> Tensor:
    return images.transpose(-1, -2)
