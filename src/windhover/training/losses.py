"""The training loss: class scores with a strategy against imbalance, center offsets, box sizes.

Holds no loop, no optimizer state and no data. Imports torch alone, so that a training step runs
where nothing else is installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from windhover.errors import ParameterError

if TYPE_CHECKING:
    from windhover.models.networks import Outputs
    from windhover.params.allowed_values import Loss
    from windhover.params.train import TrainParams
    from windhover.training.targets import Targets

HUBER_LOG_SIZE = 0.2  # error of a log size at which Huber turns from square to linear
LEAST_NEGATIVES_PER_IMAGE = 4  # background cells that count in an image without a positive


class LossTerms(NamedTuple):
    """The terms of the loss, each a scalar; `total` carries the gradient."""

    total: Tensor
    score: Tensor
    offset: Tensor
    size: Tensor


@dataclass(frozen=True)
class DetectionLoss:
    """The training loss: scores by a strategy against imbalance, Huber for positives' boxes.

    Attributes:
        loss: the strategy; the keys of `SCORE_LOSSES`.
        class_counts: samples of background, then of each class, in the training set.
        focal_alpha: weight of a positive in the focal loss (Lin 2017).
        focal_gamma: exponent of the focal loss (Lin 2017).
        class_balanced_beta: of the effective number (1 - beta^n) / (1 - beta) of samples
            (Cui 2019).
        logit_adjustment_tau: of the logit adjustment (Menon 2021).
        label_smoothing: share of the label given to its contrary.
        offset_weight: of the Huber loss of offsets in the sum.
        size_weight: of the Huber loss of log sizes in the sum.
        huber_px: offset error at which Huber turns from square to linear.
        negatives_per_positive: in images of many cells, how many background cells count per
            positive one: half of them the hardest, half at random; 0 counts every cell.
        distillation_weight: of the distillation loss against the labels' where there is a
            teacher.
    """

    loss: Loss
    class_counts: tuple[int, ...]
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
        if self.loss not in SCORE_LOSSES:
            raise ParameterError(
                f"loss must be one of {', '.join(SCORE_LOSSES)}, got {self.loss!r}. "
                "Choose one of them."
            )

    @classmethod
    def from_params(cls, params: TrainParams, class_counts: tuple[int, ...]) -> DetectionLoss:
        """Return the loss that the parameters of the train stage describe."""
        return cls(
            params.loss,
            class_counts,
            focal_alpha=params.focal_alpha,
            focal_gamma=params.focal_gamma,
            class_balanced_beta=params.class_balanced_beta,
            logit_adjustment_tau=params.logit_adjustment_tau,
            label_smoothing=params.label_smoothing,
            offset_weight=params.offset_weight,
            size_weight=params.size_weight,
            negatives_per_positive=params.large_patches.negatives_per_positive,
            distillation_weight=params.distillation_weight,
        )

    def __call__(
        self,
        outputs: Outputs,
        targets: Targets,
        generator: torch.Generator | None = None,
        *,
        teacher_probs: Tensor | None = None,
    ) -> LossTerms:
        """Return the loss of a batch.

        Args:
            outputs: of the network.
            targets: by the labels.
            generator: chooses background cells in images of many cells.
            teacher_probs: (B, K, h, w) a teacher's probability of each class; None without one.
        """
        logits = outputs.logits.float()
        per_cell = self.score_losses(logits, targets.classes)  # (B, K, h, w)
        if teacher_probs is not None:
            distilled = self.distillation_losses(logits, teacher_probs)
            per_cell = torch.lerp(per_cell, distilled, self.distillation_weight)
        weights = targets.weights.expand_as(per_cell)
        if self.negatives_per_positive > 0 and logits.shape[-1] * logits.shape[-2] > 1:
            weights = weights * self._select_cells(logits, targets, generator)
        score = (per_cell * weights).sum() / weights.sum().clamp_min(1.0)
        offset = masked_huber_loss(
            outputs.offsets_px, targets.offsets_px, targets.has_offset, delta=self.huber_px
        )
        size = masked_huber_loss(
            outputs.log_sizes, targets.log_sizes, targets.has_size, delta=HUBER_LOG_SIZE
        )
        total = score + self.offset_weight * offset + self.size_weight * size
        return LossTerms(total, score.detach(), offset.detach(), size.detach())

    def score_losses(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss of each class in each cell, (B, K, h, w).

        Args:
            logits: (B, K, h, w).
            classes: (B, K, h, w) 1 where the cell shows the class, else 0.
        """
        soft = classes * (1 - self.label_smoothing) + (1 - classes) * self.label_smoothing
        return SCORE_LOSSES[self.loss](self, logits, classes, soft)

    def distillation_losses(self, logits: Tensor, teacher_probs: Tensor) -> Tensor:
        """Return the cross entropy of each class in each cell to a teacher, (B, K, h, w).

        As with the labels, the logits of `logit_adjusted` are those of equally frequent classes.
        """
        if self.loss == "logit_adjusted":
            logits = logits + self.adjustment(logits)
        return F.binary_cross_entropy_with_logits(logits, teacher_probs, reduction="none")

    def adjustment(self, like: Tensor) -> Tensor:
        """Return tau times the log odds of each class in the training set, (K, 1, 1)."""
        total = max(sum(self.class_counts), 2)
        adjustments = []
        for count in self.class_counts[1:]:
            odds = max(count, 1) / max(total - count, 1)
            adjustments.append(self.logit_adjustment_tau * math.log(odds))
        return like.new_tensor(adjustments)[:, None, None]

    def inverse_frequency_weights(self, like: Tensor) -> Tensor:
        """Return how much a positive of each class weighs against background, (K, 1, 1)."""
        background, *classes = (max(count, 1) for count in self.class_counts)
        return like.new_tensor([background / count for count in classes])[:, None, None]

    def effective_number_weights(self, like: Tensor) -> Tensor:
        """Return the weights by the effective number of samples (Cui 2019), (K, 1, 1)."""
        background, *classes = (self._effective_number(max(n, 1)) for n in self.class_counts)
        return like.new_tensor([background / count for count in classes])[:, None, None]

    def _effective_number(self, count: int) -> float:
        return (1 - self.class_balanced_beta**count) / (1 - self.class_balanced_beta)

    def _select_cells(
        self, logits: Tensor, targets: Targets, generator: torch.Generator | None
    ) -> Tensor:
        """Return 1 for positive and for selected background cells of the batch, (B, 1, h, w)."""
        positive = targets.classes.amax(1, keepdim=True) > 0  # (B, 1, h, w)
        background = ~positive & (targets.weights > 0)
        wanted = int(positive.sum() * self.negatives_per_positive)
        wanted = max(wanted, LEAST_NEGATIVES_PER_IMAGE * len(logits))
        wanted = min(wanted, int(background.sum()))
        highest = logits.detach().amax(1, keepdim=True)
        hardness = torch.where(background, highest, -torch.inf).flatten()
        selected = positive.flatten().clone()
        selected[hardness.topk(wanted // 2).indices] = True
        draws = torch.rand(background.numel(), generator=generator).to(logits.device)
        draws = torch.where(background.flatten() & ~selected, draws, -1.0)
        selected[draws.topk(wanted - wanted // 2).indices] = True
        return (selected.view_as(background) & (positive | background)).float()


def _cross_entropy(_: DetectionLoss, logits: Tensor, classes: Tensor, soft: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, soft, reduction="none")


def _weighted_cross_entropy(
    loss: DetectionLoss, logits: Tensor, classes: Tensor, soft: Tensor
) -> Tensor:
    weights = loss.inverse_frequency_weights(logits)  # (K, 1, 1)
    plain = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    return plain * torch.where(classes > 0, weights, 1.0)


def _class_balanced_cross_entropy(
    loss: DetectionLoss, logits: Tensor, classes: Tensor, soft: Tensor
) -> Tensor:
    weights = loss.effective_number_weights(logits)  # (K, 1, 1)
    plain = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    return plain * torch.where(classes > 0, weights, 1.0)


def _focal(loss: DetectionLoss, logits: Tensor, classes: Tensor, soft: Tensor) -> Tensor:
    from torchvision.ops import sigmoid_focal_loss

    focal: Tensor = sigmoid_focal_loss(logits, soft, alpha=loss.focal_alpha, gamma=loss.focal_gamma)
    return focal


def _logit_adjusted_cross_entropy(
    loss: DetectionLoss, logits: Tensor, classes: Tensor, soft: Tensor
) -> Tensor:
    adjusted = logits + loss.adjustment(logits)
    return F.binary_cross_entropy_with_logits(adjusted, soft, reduction="none")


# each takes the loss, logits, labels of 0 and 1, and smoothed labels, all (B, K, h, w)
SCORE_LOSSES: dict[str, Callable[[DetectionLoss, Tensor, Tensor, Tensor], Tensor]] = {
    "bce": _cross_entropy,
    "weighted_bce": _weighted_cross_entropy,
    "focal": _focal,
    "class_balanced": _class_balanced_cross_entropy,
    "logit_adjusted": _logit_adjusted_cross_entropy,
}


def masked_huber_loss(outputs: Tensor, targets: Tensor, mask: Tensor, *, delta: float) -> Tensor:
    """Return the mean Huber loss in units of delta where the mask is 1; 0 where it is 0 throughout.

    Args:
        outputs: (B, 2, h, w).
        targets: (B, 2, h, w).
        mask: (B, 1, h, w) of 0 and 1.
        delta: error at which the loss turns from square to linear.
    """
    losses = F.huber_loss(outputs.float(), targets, reduction="none", delta=delta)
    losses = losses / delta  # (B, 2, h, w)
    return (losses * mask).sum() / (2 * mask.sum()).clamp_min(1.0)
