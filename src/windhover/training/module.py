"""The Lightning module: a training step, the learning rate, the moving average, validation.

Lightning runs the loop, the precision, the clipping and the checkpoints; the datamodule holds the
images, and callbacks do what happens between epochs. Reads no file and searches no scene.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from windhover.training.batch_augment import Radiometry, random_d4, random_radiometry
from windhover.training.losses import DetectionLoss, LossTerms
from windhover.training.optim import (
    freeze_trunk,
    lr_factor,
    make_optimizer,
    make_weight_average,
    set_learning_rate,
)
from windhover.training.random_borders import (
    Borders,
    draw_borders,
    drop_hidden_objects,
    ignore_windows_beyond,
    pad_beyond,
)
from windhover.training.targets import ObjectTensor, Targets, cell_targets, patch_targets
from windhover.training.training_state import TrainingState
from windhover.training.validation_ap import window_ap

if TYPE_CHECKING:
    from windhover.dataset.label_rule import LabelRule
    from windhover.params.train import TrainParams
    from windhover.patches.pixel_value_range import ValueRange
    from windhover.training.distillation import Teacher
    from windhover.training.epoch_batches import StepBatch, ValidationBatch
    from windhover.training.image_set import ImageBatch


class DetectionModule(L.LightningModule):
    """A network with all that a training step and its validation need."""

    def __init__(
        self,
        network: nn.Module,
        normalizer: nn.Module,
        loss: DetectionLoss,
        *,
        params: TrainParams,
        label_rule: LabelRule,
        value_range: ValueRange,
        n_classes: int,
        padding_value: tuple[float, ...] | None = None,
        teacher: Teacher | None = None,
        has_objects: bool = True,
    ) -> None:
        """Take a network and how it is trained.

        Args:
            network: in channels-last order from here on.
            normalizer: from pixels as read to the network's input.
            loss: of a batch.
            params: of the train stage.
            label_rule: when a window of a large patch shows an object.
            value_range: of the pixels, for radiometric augmentation.
            n_classes: number of classes.
            padding_value: of each band beyond a scene's border; None for its mirror image: no
                borders are drawn then.
            teacher: for distillation; None without one.
            has_objects: whether what is hidden beyond a border is no longer shown; else labels are
                of windows.
        """
        super().__init__()
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.normalizer = normalizer
        self.weight_average = make_weight_average(self.network, params.ema_decay)
        self.loss = loss
        self.params = params
        self.label_rule = label_rule
        self.value_range = value_range
        self.n_classes = n_classes
        self.padding_value = padding_value
        self.teacher = teacher
        self.has_objects = has_objects
        self.radiometry = Radiometry(
            **params.batch_augment.model_dump(exclude={"d4", "border_prob"})
        )
        self.training_state = TrainingState(params.epochs)
        self.step_seconds = 0.0  # spent on training steps of this epoch
        self._step_began = 0.0
        self._n_steps = 0
        self._loss_sums: dict[str, Tensor] = {}  # on the device: reading one would wait for it
        self._validation_metrics: dict[str, Tensor | float] = {}
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        self.n_validation_positives = 0

    @property
    def inference_network(self) -> nn.Module:
        """The network that is validated, mined with and kept: the moving average, if any."""
        if self.weight_average is not None and int(self.weight_average.n_averaged) > 0:
            averaged: nn.Module = self.weight_average.module
            return averaged
        return self.network

    # training

    def on_train_epoch_start(self) -> None:
        """Seed what the network itself draws (dropout)."""
        torch.manual_seed(self._step_seed(0))
        self.step_seconds = 0.0

    def training_step(self, batch: StepBatch, batch_idx: int) -> Tensor:
        """Return the loss of one step: the mean over its patches and its large patches."""
        generator = torch.Generator().manual_seed(self._step_seed(batch.step + 1))
        total = torch.zeros((), device=self.device)
        for part in batch.parts:
            terms = self.batch_loss(part, generator)
            total = total + terms.total / len(batch.parts)
            for name, value in terms._asdict().items():
                so_far = self._loss_sums.get(name, torch.zeros((), device=self.device))
                self._loss_sums[name] = so_far + value.detach() / len(batch.parts)
        self._n_steps += 1
        return total

    def _step_seed(self, step: int) -> int:
        """Return the seed of a step of this epoch in this process."""
        numbers = [self.params.seed, self.current_epoch, step]
        if self.trainer.global_rank:
            numbers.append(self.trainer.global_rank)
        return int(np.random.SeedSequence(numbers).generate_state(1)[0])

    def batch_loss(self, batch: ImageBatch, generator: torch.Generator | None = None) -> LossTerms:
        """Return the loss of images, augmented by the generator where one is given."""
        pixels = batch.pixels
        objects = batch.objects
        if generator is not None:
            if self.params.batch_augment.d4:
                pixels, objects = random_d4(pixels, objects, generator)
            if self.radiometry != Radiometry():
                pixels = random_radiometry(pixels, self.value_range, self.radiometry, generator)
        borders = None
        if generator is not None:
            borders = self._draw_borders(pixels, generator)
        if borders is not None and self.padding_value is not None:
            pixels = pad_beyond(pixels, borders, self.padding_value)
            if self.has_objects:
                objects = drop_hidden_objects(objects, borders)
        inputs = self.normalized(pixels)  # (B, C, S, S)
        targets = self.targets(ObjectTensor(objects), (inputs.shape[-2], inputs.shape[-1]))
        if borders is not None:
            targets = ignore_windows_beyond(targets, borders, stride_px=self._stride_px)
        teacher_probs = None
        if self.teacher is not None:
            teacher_probs = self.teacher.teacher_probs(pixels, self._stride_px)
        return self.loss(self.network(inputs), targets, generator, teacher_probs=teacher_probs)

    def _draw_borders(self, pixels: Tensor, generator: torch.Generator) -> Borders | None:
        """Return the borders at which images (B, C, S, S) end, None where none are drawn."""
        prob = self.params.batch_augment.border_prob
        if self.padding_value is None or not prob:
            return None
        return draw_borders(len(pixels), pixels.shape[-1], prob, generator, device=pixels.device)

    def normalized(self, pixels: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return pixels as read (B, C, H, W) as the network takes them, channels last.

        Args:
            pixels: as read.
            levels: (B, C) of their scenes; None where the network does not ask for them.
        """
        inputs: Tensor = self.normalizer(pixels, levels)
        return inputs.contiguous(memory_format=torch.channels_last)

    @property
    def _stride_px(self) -> int:
        return int(self.network.stride_px)  # type: ignore[arg-type]

    def targets(self, objects: ObjectTensor, size_hw: tuple[int, int]) -> Targets:
        """Return what each cell should answer.

        Args:
            objects: (B, 5) of patches labeled when they were cut, or (B, M, 5) of large patches,
                relative to the image's center.
            size_hw: height and width of the images, px.
        """
        if objects.table.dim() == 2:
            return patch_targets(objects, self.n_classes)
        height, width = size_hw
        return cell_targets(
            objects.shifted(width / 2, height / 2),
            size_hw,
            self.n_classes,
            positive_px=self.label_rule.positive_px,
            ignore_px=self.label_rule.ignore_px,
            circle=self.label_rule.shape == "circle",
            window_px=int(self.network.window_px),  # type: ignore[arg-type]
            stride_px=self._stride_px,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; each part of the network has a rate of its own."""
        return make_optimizer(self.network, self.params)

    def on_train_batch_start(self, batch: StepBatch, batch_idx: int) -> None:
        """Set the learning rate: what is left of the schedule is spread over the steps left."""
        params = self.params
        state = self.training_state
        factor = lr_factor(params.schedule, state.schedule_progress, params.warmup_fraction)
        learning_rate = params.learning_rate * state.plateau_factor * factor
        set_learning_rate(self.trainer.optimizers[0], learning_rate)
        if params.freeze_fraction:
            freeze_trunk(self.network, state.schedule_progress < params.freeze_fraction)
        steps_per_epoch = int(self.trainer.num_training_batches)
        steps_left = state.steps_left(self.current_epoch, batch_idx, steps_per_epoch)
        state.schedule_progress += (1 - state.schedule_progress) / steps_left
        self._step_began = time.monotonic()

    def on_train_batch_end(self, outputs: Any, batch: StepBatch, batch_idx: int) -> None:
        """Update the moving average of the weights; end after the last planned step."""
        if self.weight_average is not None:
            self.weight_average.update_parameters(self.network)
        self.step_seconds += time.monotonic() - self._step_began
        if self.training_state.schedule_is_done:
            self.trainer.should_stop = True

    # validation

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Score validation patches with the network that would be kept."""
        network = self.inference_network.eval()
        outputs = network(self.normalized(batch.patches.pixels))
        objects = ObjectTensor(batch.patches.objects)
        terms = self.loss(outputs, patch_targets(objects, self.n_classes))
        so_far = self._validation_metrics.get("val_loss", 0.0)
        self._validation_metrics["val_loss"] = so_far + terms.score.detach() * batch.share
        logits = outputs.logits[:, :, 0, 0].float().cpu()
        self._validated.append((logits, objects.class_index.cpu(), batch.sample_weights.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Compute the average precision of windows, `val_ap`."""
        if not self._validated:
            return
        logits, labels, sample_weights = (
            torch.cat(parts).numpy() for parts in zip(*self._validated, strict=True)
        )
        self._validated.clear()
        self._validation_metrics["val_ap"] = window_ap(logits, labels, sample_weights)
        self.n_validation_positives = int((labels >= 0).sum())

    @property
    def val_ap(self) -> float | None:
        """Average precision of windows in this epoch's validation; None where there was none."""
        found = self._validation_metrics.get("val_ap")
        return None if found is None else float(found)

    def pop_epoch_metrics(self) -> dict[str, float]:
        """Return the mean loss terms and validation metrics of the epoch, and begin anew."""
        n_steps = max(self._n_steps, 1)
        metrics = {name: float(value) / n_steps for name, value in self._loss_sums.items()}
        metrics |= {name: float(value) for name, value in self._validation_metrics.items()}
        self._loss_sums = {}
        self._validation_metrics = {}
        self._n_steps = 0
        return metrics

    # checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how far training is."""
        checkpoint["training_state"] = self.training_state.to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up where the checkpoint was written."""
        self.training_state = TrainingState(**checkpoint["training_state"])
