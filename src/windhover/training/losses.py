"""What training pulls towards: targets of every cell, the losses, and how their imbalance is met.

A patch is a picture of one cell and a larger crop is a picture of many; both become the same
`Targets`: one objective serves both. Holds no loop, no optimiser state and no data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from windhover.errors import ParameterError
from windhover.models.networks import Outputs

LOSSES = ("bce", "weighted_bce", "focal", "class_balanced", "logit_adjusted")
SCHEDULES = ("cosine", "onecycle", "step", "exponential", "constant", "plateau")
PAD, IGNORED = (
    -1.0,
    -2.0,
)  # in the class column of an object table: no object; an area that says nothing


class Targets(NamedTuple):
    """What each cell should say; float32, (h, w) is (1, 1) for a patch."""

    classes: Tensor  # (B, K, h, w): 1 where the cell holds an object of the class
    weights: Tensor  # (B, 1, h, w): 0 where the cell says nothing
    offsets_px: Tensor  # (B, 2, h, w): dx, dy to the nearest object's centre
    log_sizes: Tensor  # (B, 2, h, w): log of its width and height in px
    located: Tensor  # (B, 1, h, w): 1 where offsets are known
    sized: Tensor  # (B, 1, h, w): 1 where sizes are known


class Losses(NamedTuple):
    """The parts of the loss, each a scalar; `total` carries the gradient."""

    total: Tensor
    score: Tensor
    offset: Tensor
    size: Tensor


def cell_targets(
    objects: Tensor,
    size_hw: tuple[int, int],
    n_classes: int,
    positive_px: float,
    ignore_px: float,
    *,
    circle: bool = False,
    window_px: int = 64,
    stride_px: int = 8,
) -> Targets:
    """Label every window of a picture by the objects whose centres are near its own centre.

    Args:
        objects: (B, M, 5) float: class index (`PAD` for none, `IGNORED` for an area), centre x,
            y, width, height in px of the picture, corner convention; NaN sizes where unknown.
        size_hw: height and width of the picture in px.
        n_classes: number of classes.
        positive_px: a window is positive up to this distance of the two centres, along each
            axis or as a radius.
        ignore_px: beyond it a window is background; between the two it says nothing.
        circle: whether distance is Euclidean; else the larger of |dx| and |dy|.
        window_px: side of a window.
        stride_px: distance between windows.
    """
    rows, columns = ((side - window_px) // stride_px + 1 for side in size_hw)
    y = torch.arange(rows, device=objects.device) * stride_px + window_px / 2  # (h,)
    x = torch.arange(columns, device=objects.device) * stride_px + window_px / 2  # (w,)
    kind, center_x, center_y, width, height = objects[..., None, None].unbind(
        2
    )  # each (B, M, 1, 1)
    dx = (center_x - x[None, None, None, :]).expand(-1, -1, rows, -1)  # (B, M, h, w)
    dy = (center_y - y[None, None, :, None]).expand(-1, -1, -1, columns)  # (B, M, h, w)
    distance = torch.hypot(dx, dy) if circle else torch.maximum(dx.abs(), dy.abs())
    distance = torch.where(kind >= 0, distance, torch.inf)  # (B, M, h, w)
    inside = (kind == IGNORED) & (dx.abs() <= width / 2) & (dy.abs() <= height / 2)  # (B, M, h, w)
    classes = torch.stack(
        [((kind == k) & (distance <= positive_px)).any(1) for k in range(n_classes)], 1
    )  # (B, K, h, w)
    nearest, which = distance.min(1, keepdim=True)  # (B, 1, h, w)
    positive = nearest <= positive_px  # (B, 1, h, w)
    silent = ((nearest <= ignore_px) & ~positive) | (
        inside.any(1, keepdim=True) & ~positive
    )  # (B, 1, h, w)
    sizes = torch.cat(
        [plane.expand_as(dx).gather(1, which) for plane in (width, height)], 1
    )  # (B, 2, h, w)
    offsets = torch.cat([dx.gather(1, which), dy.gather(1, which)], 1)  # (B, 2, h, w)
    sized = positive & (sizes > 0).all(1, keepdim=True)  # False for NaN
    return Targets(
        classes.float(),
        (~silent).float(),
        torch.where(positive, offsets, 0.0),
        torch.where(sized, sizes.clamp_min(1e-3), 1.0).log(),
        positive.float(),
        sized.float(),
    )


def patch_targets(objects: Tensor, n_classes: int) -> Targets:
    """Label patches, whose one object was chosen when they were cut.

    Args:
        objects: (B, 5) float: class index (`PAD` for background), dx, dy from the window's
            centre, width, height in px.
        n_classes: number of classes.
    """
    kind, offsets, sizes = objects[:, 0], objects[:, 1:3], objects[:, 3:5]
    classes = torch.stack([(kind == k).float() for k in range(n_classes)], 1)  # (B, K)
    positive = kind >= 0  # (B,)
    located = positive & offsets.isfinite().all(1)
    sized = positive & (sizes > 0).all(1)
    cell = (..., None, None)
    return Targets(
        classes[cell],  # (B, K, 1, 1)
        torch.ones_like(kind)[:, None, None, None],
        torch.where(located[:, None], offsets, 0.0)[cell],  # (B, 2, 1, 1)
        torch.where(sized[:, None], sizes, 1.0).clamp_min(1e-3).log()[cell],  # (B, 2, 1, 1)
        located.float()[:, None, None, None],
        sized.float()[:, None, None, None],
    )


@dataclass(frozen=True)
class Objective:
    """The training loss: a strategy against imbalance on the scores, Huber on offsets and log sizes
    of positives.

    Attributes:
        loss: one of `LOSSES`.
        counts: samples of background, then of each class, in the training set.
        focal_alpha, focal_gamma: of the focal loss (Lin 2017).
        class_balanced_beta: of the effective number (1 - beta^n) / (1 - beta) of samples (Cui 2019).
        logit_adjustment_tau: of the logit adjustment (Menon 2021).
        label_smoothing: share of the label given to its contrary.
        offset_weight, size_weight: of the two Huber losses in the sum.
        huber_px: offset error at which Huber turns from square to linear.
        negatives_per_positive: in pictures of many cells, how many background cells count per
            positive one: half of them the hardest, half at random; 0 counts every cell.
        distillation_weight: of a teacher's word in the loss of the scores, where there is one; the
            labels have the rest.
    """

    loss: str
    counts: tuple[int, ...]
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    class_balanced_beta: float = 0.999
    logit_adjustment_tau: float = 1.0
    label_smoothing: float = 0.0
    offset_weight: float = 0.1
    size_weight: float = 0.1
    huber_px: float = 2.0
    negatives_per_positive: float = 0.0
    distillation_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ParameterError(
                f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}. Choose one of them."
            )

    def __call__(
        self,
        outputs: Outputs,
        targets: Targets,
        generator: torch.Generator | None = None,
        taught: Tensor | None = None,
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            outputs: of the network.
            targets: by the labels.
            generator: chooses background cells in pictures of many cells.
            taught: (B, K, h, w) what a teacher takes for the probability of each class; None
                without one.
        """
        logits = outputs.logits.float()
        each = self.score_losses(logits, targets.classes)  # (B, K, h, w)
        if taught is not None:
            each = torch.lerp(each, self._to_teacher(logits, taught), self.distillation_weight)
        weights = targets.weights.expand_as(each)
        if self.negatives_per_positive > 0 and logits.shape[-1] * logits.shape[-2] > 1:
            weights = weights * self._chosen_cells(logits, targets, generator)
        score = (each * weights).sum() / weights.sum().clamp_min(1.0)
        offset = _masked_huber(
            outputs.offsets_px, targets.offsets_px, targets.located, self.huber_px
        )
        size = _masked_huber(outputs.log_sizes, targets.log_sizes, targets.sized, 0.2)
        total = score + self.offset_weight * offset + self.size_weight * size
        return Losses(total, score.detach(), offset.detach(), size.detach())

    def score_losses(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss of each class in each cell, (B, K, h, w)."""
        soft = classes * (1 - self.label_smoothing) + (1 - classes) * self.label_smoothing
        if self.loss == "focal":
            focal: Tensor = sigmoid_focal_loss(
                logits, soft, alpha=self.focal_alpha, gamma=self.focal_gamma
            )
            return focal
        if self.loss == "logit_adjusted":
            return F.binary_cross_entropy_with_logits(
                logits + self._log_prior(logits), soft, reduction="none"
            )
        if self.loss == "bce":
            return F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        weight = self._positive_weights(logits)  # (K, 1, 1)
        plain = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        return plain * torch.where(classes > 0, weight, 1.0)

    def _to_teacher(self, logits: Tensor, taught: Tensor) -> Tensor:
        """Return the cross entropy of each class in each cell to a teacher's probabilities, (B, K,
        h, w).
        """
        if (
            self.loss == "logit_adjusted"
        ):  # as with the labels: the network's own logits are those of equal classes
            logits = logits + self._log_prior(logits)
        return F.binary_cross_entropy_with_logits(logits, taught, reduction="none")

    def _positive_weights(self, like: Tensor) -> Tensor:
        """Return how much a positive of each class weighs against background, (K, 1, 1)."""
        background, *classes = (max(count, 1) for count in self.counts)
        if self.loss == "class_balanced":
            weights = [self._effective(background) / self._effective(count) for count in classes]
        else:
            weights = [background / count for count in classes]
        return like.new_tensor(weights)[:, None, None]

    def _effective(self, count: int) -> float:
        return (1 - self.class_balanced_beta**count) / (1 - self.class_balanced_beta)

    def _log_prior(self, like: Tensor) -> Tensor:
        total = max(sum(self.counts), 2)
        odds = [max(count, 1) / max(total - count, 1) for count in self.counts[1:]]
        return like.new_tensor([self.logit_adjustment_tau * math.log(value) for value in odds])[:, None, None]

    def _chosen_cells(
        self, logits: Tensor, targets: Targets, generator: torch.Generator | None
    ) -> Tensor:
        """Return 1 for positive cells and for the chosen background cells of the whole batch, (B,
        1, h, w).
        """
        positive = targets.classes.amax(1, keepdim=True) > 0  # (B, 1, h, w)
        free = ~positive & (targets.weights > 0)
        wanted = max(int(positive.sum() * self.negatives_per_positive), 4 * len(logits))
        wanted = min(wanted, int(free.sum()))
        hardness = torch.where(free, logits.detach().amax(1, keepdim=True), -torch.inf).flatten()
        chosen = positive.flatten().clone()
        chosen[hardness.topk(wanted // 2).indices] = True
        chance = torch.rand(free.numel(), generator=generator).to(logits.device)
        chance = torch.where(free.flatten() & ~chosen, chance, -1.0)
        chosen[chance.topk(wanted - wanted // 2).indices] = True
        return (chosen.view_as(free) & (positive | free)).float()


def _masked_huber(outputs: Tensor, targets: Tensor, mask: Tensor, delta: float) -> Tensor:
    """Return the mean Huber loss where the mask is 1, 0 where it nowhere is; in units of delta."""
    each = (
        F.huber_loss(outputs.float(), targets, reduction="none", delta=delta) / delta
    )  # (B, 2, h, w)
    return (each * mask).sum() / (2 * mask.sum()).clamp_min(1.0)


def rate_factor(schedule: str, progress: float, warmup: float) -> float:
    """Return the factor on the learning rate at a share of the training done.

    Args:
        schedule: one of `SCHEDULES`; `plateau` is constant here, its drops come from validation.
        progress: in [0, 1].
        warmup: share of the training over which the rate rises linearly; `onecycle` has its own
            rise of 0.3.

    Raises:
        ParameterError: another schedule.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(
            f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}. Choose one of them."
        )
    if schedule == "onecycle":
        warmup = 0.3
    rise = min((progress + 1e-3) / warmup, 1.0) if warmup > 0 else 1.0
    rest = min(max((progress - warmup) / max(1 - warmup, 1e-9), 0.0), 1.0)
    if schedule in ("cosine", "onecycle"):
        return rise * (0.5 * (1 + math.cos(math.pi * rest)) * 0.999 + 0.001)
    if schedule == "step":
        return rise * (1.0 if rest < 0.6 else 0.1 if rest < 0.85 else 0.01)
    if schedule == "exponential":
        return rise * math.pow(0.01, rest)
    return rise
