"""The Lightning module: a training step, the rate, the moving average, validation, and what a
checkpoint holds.

Lightning runs the loop, the precision, the clipping and the checkpoints. Reads no file and searches
no scene: what must happen before an epoch (mining) is a function it is given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from windhover.dataset.label_rule import Rule
from windhover.errors import DataError
from windhover.params.train import TrainParams
from windhover.training.batch_augment import Radiometry, ValueRange, change_radiometry, turn
from windhover.training.distillation import Teacher
from windhover.training.losses import (
    Losses,
    Objective,
    Targets,
    cell_targets,
    patch_targets,
    rate_factor,
)
from windhover.training.optim import freeze_trunk, make_optimizer
from windhover.training.samplers import Batch, PictureSet, Sampler, batches, rows_in_turn

VALIDATION_BATCH = 512
VALIDATION_PATCHES = (
    2048  # at most so many, evenly drawn, choose the epoch: more would cost a tenth of the training
)
PLATEAU_EPOCHS, PLATEAU_FACTOR = 3, 0.3
DIVERGED = (
    "training diverged: the network's answers are no numbers any more. Lower train.learning_rate."
)


@dataclass
class TrainingData:
    """What is learnt from and chosen by; grows when mined."""

    patches: PictureSet
    mined: NDArray[np.bool_]  # (N,) which patches were mined
    crops: PictureSet | None
    validation: PictureSet
    rule: Rule  # when a window of a crop shows an object
    val_objects: int  # that validation patches show; several patches may show the same

    def tells(self) -> tuple[bool, bool]:
        """Return whether the place of any object in its picture is known, and whether the size of
        any is.
        """
        tables = [
            pictures.objects.reshape(-1, 5)
            for pictures in (self.patches, self.crops)
            if pictures is not None
        ]
        known = torch.cat([table[table[:, 0] >= 0].cpu() for table in tables]).isfinite()
        return bool(known[:, 1:3].all(1).any()), bool(known[:, 3:].all(1).any())

    def add_patches(self, images: NDArray[Any], objects: NDArray[np.float32]) -> None:
        """Append mined patches."""
        self.patches.add(images, objects)
        self.mined = np.concatenate([self.mined, np.ones(len(images), bool)])


@dataclass
class Progress:
    """How far training is; part of every checkpoint."""

    planned_epochs: int
    share: float = 0.0
    factor: float = 1.0  # of the plateau schedule
    seconds: float = 0.0
    best_ap: float = -1.0  # of windows on validation, over all epochs
    best_epoch: int = -1
    kept_ap: float = -1.0  # of the weights that are kept
    kept_epoch: int = -1
    rounds_done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Learner(L.LightningModule):
    """A network with all that its training needs."""

    def __init__(
        self,
        network: nn.Module,
        normalizer: nn.Module,
        objective: Objective,
        data: TrainingData,
        params: TrainParams,
        between: ValueRange,
        n_classes: int,
        teacher: Teacher | None = None,
        before_epoch: Callable[[Learner], float] = lambda _: 0.0,
        after_epoch: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.normalizer = normalizer
        self.average = (
            AveragedModel(self.network, multi_avg_fn=_ema(params.ema_decay), use_buffers=True)
            if params.ema_decay
            else None
        )
        if self.average is not None:
            self.average.requires_grad_(False)
        self.objective, self.data, self.params, self.between, self.n_classes = (
            objective,
            data,
            params,
            between,
            n_classes,
        )
        self.teacher = teacher
        self.radiometry = Radiometry(**params.batch_augment.model_dump(exclude={"d4"}))
        self.sampler = Sampler(
            params.sampler,
            params.negatives_per_positive,
            params.balance_classes,
            params.mined_fraction,
            params.seed,
        )
        self.progress = Progress(params.epochs)
        self.kept: dict[str, Tensor] = {}
        self.before_epoch, self.after_epoch = before_epoch, after_epoch
        self.data_seconds = self.step_seconds = self._mining_seconds = 0.0
        self._sums: dict[str, Tensor | float] = {}  # on the device: reading one would wait for it
        self._validated: list[tuple[Tensor, Tensor]] = []
        self._started, self._threads = time.monotonic(), torch.get_num_threads()

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated, mined with and kept: the moving average where there is
        one.
        """
        if self.average is not None and int(self.average.n_averaged) > 0:
            averaged: nn.Module = self.average.module
            return averaged
        return self.network

    # -- data
    # -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> EpochBatches:
        """Return this epoch's batches; Lightning asks before every epoch, which is when mining
        happens.
        """
        torch.manual_seed(self._seed(0))  # dropout
        self._mining_seconds = self.before_epoch(self)
        self._started = time.monotonic()
        return EpochBatches(self)

    def val_dataloader(self) -> ValidationBatches:
        """Return rows of the validation patches."""
        self._validation = ValidationBatches(self.data.validation.labels())
        return self._validation

    # -- learning
    # -------------------------------------------------------------------------------------------------

    def training_step(self, batch: tuple[int, list[Batch]], _index: int) -> Tensor:
        """Return the loss of one step: that of its patches and that of its crops, by their number."""
        step, pictures = batch
        generator = torch.Generator().manual_seed(self._seed(step + 1))
        total = torch.zeros((), device=self.device)
        for part in pictures:
            losses = self.losses(part, generator)
            total = total + losses.total / len(pictures)
            for name, value in losses._asdict().items():
                self._sums[name] = self._sums.get(name, 0.0) + value.detach() / len(pictures)
        self._sums["steps"] = self._sums.get("steps", 0.0) + 1
        return total

    def _seed(self, step: int) -> int:
        """Return the seed of a step, of this epoch and this process."""
        rank = self.trainer.global_rank
        return _mix(self.params.seed, self.current_epoch, step, *([rank] if rank else []))

    def losses(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """Return the losses of pictures, changed by the generator where one is given."""
        pixels, objects = batch.pixels, batch.objects
        if generator is not None:
            if self.params.batch_augment.d4:
                pixels, objects = turn(pixels, objects, generator)
            if self.radiometry != Radiometry():
                pixels = change_radiometry(pixels, self.between, self.radiometry, generator)
        inputs = self.normalizer(pixels).contiguous(
            memory_format=torch.channels_last
        )  # (B, C, S, S)
        targets = self.targets(objects, (inputs.shape[-2], inputs.shape[-1]))
        taught = None
        if self.teacher is not None:
            taught = self.teacher.probabilities(pixels, int(self.network.stride_px))  # type: ignore[arg-type]
        return self.objective(self.network(inputs), targets, generator, taught)

    def targets(self, objects: Tensor, size_hw: tuple[int, int]) -> Targets:
        """Return what each cell should say; (B, 5) are patches labelled when they were cut, (B, M,
        5) are crops.
        """
        if objects.dim() == 2:
            return patch_targets(objects, self.n_classes)
        rule, corner = (
            self.data.rule,
            objects.new_tensor([0.0, size_hw[1] / 2, size_hw[0] / 2, 0.0, 0.0]),
        )
        return cell_targets(
            objects + corner, size_hw, self.n_classes, rule.positive_px, rule.ignore_px,
            circle=rule.shape == "circle", window_px=int(self.network.window_px), stride_px=int(self.network.stride_px),  # type: ignore[arg-type]
        )  # fmt: skip

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser; each part of the network has a rate of its own."""
        return make_optimizer(self.network, self.params)

    def on_train_batch_start(self, batch: tuple[int, list[Batch]], batch_idx: int) -> None:
        """Move along the schedule: what is left of it is spread over what is left of the planned
        steps.
        """
        steps = int(self.trainer.num_training_batches)
        left = max((self.progress.planned_epochs - self.current_epoch) * steps - batch_idx, 1)
        params, progress = self.params, self.progress
        rate = (
            params.learning_rate
            * progress.factor
            * rate_factor(params.schedule, progress.share, params.warmup_fraction)
        )
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["factor"]
        if params.freeze_fraction:
            freeze_trunk(self.network, progress.share < params.freeze_fraction)
        progress.share += (1 - progress.share) / left
        self._step_began = time.monotonic()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the step into the moving average."""
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.step_seconds += time.monotonic() - self._step_began

    # -- validation and the end of an epoch
    # -----------------------------------------------------------------------

    def validation_step(self, rows: Tensor, _index: int) -> None:
        """Score validation patches with the network that would be kept."""
        batch = Batch(*(part.to(self.device) for part in self.data.validation.take(rows)))
        network = self.kept_network.eval()
        outputs = network(
            self.normalizer(batch.pixels).contiguous(memory_format=torch.channels_last)
        )
        losses = self.objective(outputs, patch_targets(batch.objects, self.n_classes))
        share = len(rows) / self._validation.count
        self._sums["val_loss"] = self._sums.get("val_loss", 0.0) + losses.score.detach() * share
        self._validated.append(
            (outputs.logits[:, :, 0, 0].float().cpu(), batch.objects[:, 0].cpu())
        )

    def on_validation_epoch_end(self) -> None:
        """Keep the weights unless an earlier epoch's were better by more than a standard error.

        Nearly all epochs of a long training are as good as one on validation, and the best of them
        is drawn by lot; the last have learnt at the lowest rate.
        """
        if self.trainer.sanity_checking or not self._validated:
            return
        logits, labels = (torch.cat(parts).numpy() for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        ap = window_ap(logits, labels, self._validation.background_weight)
        self._sums["val_ap"] = ap
        progress = self.progress
        # a tie is no gain, so that training which has long been perfect ends too; without objects
        # nothing can be told
        if ap > progress.best_ap or not (labels >= 0).any():
            progress.best_ap, progress.best_epoch = ap, self.current_epoch
        objects = min(int((labels >= 0).sum()), self.data.val_objects)
        if ap >= progress.best_ap - standard_error(progress.best_ap, objects):
            self._keep(ap)

    def _keep(self, ap: float) -> None:
        kept = {
            name: value.detach().cpu().clone()
            for name, value in self.kept_network.state_dict().items()
        }
        if not all(bool(value.isfinite().all()) for value in kept.values()):
            raise DataError(DIVERGED)
        self.progress.kept_ap, self.progress.kept_epoch, self.kept = ap, self.current_epoch, kept

    def on_train_epoch_end(self) -> None:
        """Write the epoch's row of history, and stop where validation has long not improved."""
        progress, sums = self.progress, self._sums
        if not len(self.data.validation):
            progress.best_epoch = self.current_epoch
            self._keep(progress.kept_ap)
        steps = max(float(sums.pop("steps", 1.0)), 1.0)
        row = {
            name: float(value) / (1.0 if name.startswith("val_") else steps)
            for name, value in sums.items()
        }
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        row |= {
            "epoch": float(self.current_epoch), "learning_rate": max(rates),
            "seconds": time.monotonic() - self._started, "mining_seconds": self._mining_seconds,
            "data_share": self.data_seconds / max(self.data_seconds + self.step_seconds, 1e-9),
        }  # fmt: skip
        self._sums, self.data_seconds, self.step_seconds = {}, 0.0, 0.0
        progress.seconds += row["seconds"] + row["mining_seconds"]
        progress.history.append(row)
        waited = self.current_epoch - progress.best_epoch
        if self.params.schedule == "plateau" and waited and waited % PLATEAU_EPOCHS == 0:
            progress.factor *= PLATEAU_FACTOR
        if self.trainer.is_global_zero:
            self.after_epoch(row)
        if self.params.patience and waited >= self.params.patience:
            self.stop()
        self._agree()

    def stop(self) -> None:
        """End training with this epoch; a resumed training knows it too."""
        self.progress.planned_epochs = self.current_epoch + 1

    def on_fit_start(self) -> None:
        """Begin with the first process's plan, and with the threads that were set: Lightning's
        launcher sets others.
        """
        torch.set_num_threads(self._threads)
        self._agree()

    def _agree(self) -> None:
        """Let all processes know what the first knows, and train for as long as it has planned."""
        self.progress = self.trainer.strategy.broadcast(self.progress)
        self.trainer.fit_loop.max_epochs = self.progress.planned_epochs

    # -- checkpoints
    # ----------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how far training is and the weights that are kept."""
        checkpoint["windhover"] = {
            "progress": vars(self.progress) | {"history": list(self.progress.history)},
            "kept": self.kept,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up where the checkpoint was written."""
        self.progress = Progress(**checkpoint["windhover"]["progress"])
        self.kept = checkpoint["windhover"]["kept"]


class EpochBatches:
    """One epoch's batches, in an order that depends on the seed and the epoch alone.

    Without crops an epoch is the sampler's choice of patches; with them it is the next of the
    crops, with patches.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        data, params, epoch, trainer = (
            learner.data,
            learner.params,
            learner.current_epoch,
            learner.trainer,
        )
        share = (trainer.global_rank, trainer.world_size)
        rows = learner.sampler.epoch(data.patches.labels(), data.mined, epoch)
        self._crops: list[Tensor] = []
        if data.crops is not None:
            order = rows_in_turn(len(data.crops), params.large_patches.per_epoch, params.seed, epoch)
            self._crops = batches(order, params.large_patches.per_batch, *share)
            rows = np.take(rows, range(len(self._crops) * params.batch_size), mode="wrap")
        self._patches = batches(rows, params.batch_size, *share)

    def __len__(self) -> int:
        return len(self._patches)

    def __iter__(self) -> Iterator[tuple[int, list[Batch]]]:
        learner = self._learner
        for step, rows in enumerate(self._patches):
            began = time.monotonic()
            pictures = [learner.data.patches.take(rows)]
            if learner.data.crops is not None:
                pictures.append(learner.data.crops.take(self._crops[step]))
            learner.data_seconds += time.monotonic() - began
            yield step, pictures


class ValidationBatches:
    """Rows of the validation patches, in order; of very many all objects (up to half), and
    background thinned out.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        shown, background = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
        kept_shown = evenly(
            shown, max(VALIDATION_PATCHES // 2, VALIDATION_PATCHES - len(background))
        )
        kept_background = evenly(background, VALIDATION_PATCHES - len(kept_shown))
        rows = torch.from_numpy(np.sort(np.concatenate([kept_shown, kept_background])))
        self._rows = list(torch.split(rows, VALIDATION_BATCH))
        self.count = len(rows)
        # so many windows each of background stands for, where one of an object stands for one
        self.background_weight = 1.0
        if len(kept_shown) and len(kept_background):
            self.background_weight = (
                len(background) / len(kept_background) * len(kept_shown) / len(shown)
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._rows)


def evenly(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many of the rows, evenly chosen."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def window_ap(
    logits: NDArray[np.float32], labels: NDArray[np.float32], background_weight: float = 1.0
) -> float:
    """Return the mean over classes of the average precision of windows; 0 where no class has a
    positive.

    Args:
        logits: (N, K).
        labels: (N,) class index, below 0 for background.
        background_weight: how many windows each of background stands for.

    Raises:
        DataError: logits that are not numbers.
    """
    if not np.isfinite(logits).all():
        raise DataError(DIVERGED)
    weights = np.where(labels < 0, background_weight, 1.0)
    scores = [
        float(average_precision_score(labels == k, logits[:, k], sample_weight=weights))
        for k in range(logits.shape[1])
        if (labels == k).any()
    ]
    return float(np.mean(scores)) if scores else 0.0


def standard_error(ap: float, positives: int) -> float:
    """Return the standard error of an average precision that so many positives tell.

    Binomial, as of Boyd, Eng and Page 2013 (Area under the precision-recall curve: point estimates
    and confidence intervals); one more hit and one more miss keep it from vanishing where nothing
    has been missed (Laplace).
    """
    share = (ap * positives + 1) / (positives + 2)
    return math.sqrt(share * (1 - share) / max(positives, 1))


def _ema(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return an averaging function whose memory grows with the steps taken, up to `decay`."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        memory = min(decay, (1 + int(count)) / (10 + int(count)))
        if torch.is_floating_point(averaged[0]):
            torch._foreach_lerp_(averaged, current, 1 - memory)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    return update


def _mix(*numbers: int) -> int:
    """Return one seed from several."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
