"""Losses of pixel-fine masks, by segmentation_models_pytorch: overlap, and what is hard or rare.

Each class is one mask against all else, so that masks may overlap and each has probabilities of its
own. Pixels whose class is not known count nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.optional_dependencies import explain_missing_extras

if TYPE_CHECKING:
    from windhover.params.allowed_values import SegmentationLossName

UNKNOWN = 255
GAMMA = 2.0  # of the focal loss (Lin 2017)
# parts of the losses: of the name, joined by `_`, the sum
PARTS = ("bce", "dice", "focal", "lovasz")


class SegmentationLoss(nn.Module):
    """The sum of one or two losses over the classes' masks.

    Dice is that of Milletari 2016, over the whole batch; Lovász that of Berman 2018.
    """

    def __init__(self, name: SegmentationLossName) -> None:
        """Choose the losses.

        Args:
            name: such as `dice_bce`.

        Raises:
            ParameterError: it names another loss.
            MissingExtraError: segmentation_models_pytorch is not installed.
        """
        super().__init__()
        parts = name.split("_")
        if not set(parts) <= set(PARTS):
            raise ParameterError(
                f"a loss of masks is a sum of {', '.join(PARTS)}, got {name!r}. Choose from these."
            )
        with explain_missing_extras():
            from segmentation_models_pytorch import losses
        known: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "bce": F.binary_cross_entropy_with_logits,
            "dice": losses.DiceLoss("binary"),
            "focal": losses.FocalLoss("binary", gamma=GAMMA),
            "lovasz": losses.LovaszLoss("binary"),
        }
        self._losses = [known[part] for part in parts]

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the loss, a scalar: the mean over classes.

        Args:
            logits: (B, K, H, W).
            classes: (B, H, W) class maps.
        """
        is_known = classes != UNKNOWN
        known = logits.float().permute(0, 2, 3, 1)[is_known]  # (P, K)
        truth = classes[is_known]  # (P,)
        if not len(truth):
            return logits.sum() * 0.0
        total = logits.new_zeros((), dtype=torch.float32)
        for index in range(logits.shape[1]):
            of_class = known[:, index].reshape(1, 1, 1, -1)
            target = (truth == index + 1).float().reshape(1, 1, 1, -1)
            for loss in self._losses:
                total = total + loss(of_class, target)
        return total / logits.shape[1]
