"""A finished model as a teacher: what it says of a training's pictures, as probabilities to learn
beside the labels.

Distillation of Hinton (2015), with the calibrated sigmoid of each class in the place of a softmax
at a temperature. Learns nothing itself, and is no part of the learner's modules: neither trained,
nor averaged, nor saved with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.metrics.calibration import prior_shift
from windhover.models.bundle import load_alike
from windhover.models.fusion import fold_batch_norms

WINDOWS_AT_ONCE = 256  # of a network that takes one window at a time


@dataclass(frozen=True)
class Teacher:
    """A network that stays as it is, and how its logits become probabilities."""

    network: nn.Module
    normalizer: nn.Module
    temperature: float
    biases: Tensor  # (K, 1, 1)

    @torch.no_grad()
    def probabilities(self, pixels: Tensor, stride_px: int) -> Tensor:
        """Return the probability of each class in each window, (B, K, h, w), of pictures (B, C, S,
        S) as read.
        """
        network = self.network.to(pixels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = self.normalizer.to(pixels.device)(pixels)  # (B, C, S, S)
        side = int(network.window_px)
        if network.dense and int(network.stride_px) == stride_px:
            logits = network(
                inputs.contiguous(memory_format=torch.channels_last)
            ).logits  # (B, K, h, w)
        else:
            views = inputs.unfold(2, side, stride_px).unfold(
                3, side, stride_px
            )  # (B, C, h, w, side, side)
            batch, _, height, width = views.shape[:4]
            windows = views.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (B * h * w, C, side, side)
            parts = [
                network(part).logits.flatten(1) for part in windows.split(WINDOWS_AT_ONCE)
            ]  # each (N, K)
            logits = (
                torch.cat(parts).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
            )  # (B, K, h, w)
        return torch.sigmoid(logits.float() / self.temperature + self.biases.to(logits.device))


def load_teacher(folder: str, wanted: Mapping[str, Any]) -> Teacher:
    """Make a teacher of a finished model.

    Its calibration is for windows in which objects are as rare as in scenes. That shift is taken
    back, because pictures
    of a training are chosen: objects are as frequent in them as they were in the teacher's own
    training.

    Args:
        folder: of the model.
        wanted: the summary of the patches that are learnt from.

    Raises:
        ParameterError: it sees other windows or finds other classes, or was never evaluated.
    """
    bundle = load_alike(folder, wanted, "train.teacher")
    if bundle.operating_point is None:
        raise ParameterError(
            f"`train.teacher`: the model of {folder} was never evaluated, so its scores are no probabilities. "
            "Name a finished model, such as the data/model of another run."
        )
    card, calibration = bundle.card, bundle.calibration
    sampled = card.sampled_prior / len(card.classes)
    shifts = [
        prior_shift(card.prior_of(index) or sampled, sampled) for index in range(len(card.classes))
    ]
    biases = (
        torch.tensor(calibration.window_bias).reshape(-1, 1, 1)
        + torch.tensor(shifts)[:, None, None]
    )  # (K, 1, 1)
    network = fold_batch_norms(bundle.network()).requires_grad_(False)
    return Teacher(network, bundle.normalizer(), calibration.window_temperature, biases)
