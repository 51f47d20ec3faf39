"""Distillation: a finished model as a teacher, whose probabilities are learnt with the labels.

After Hinton (2015), with the calibrated sigmoid of each class in the place of a softmax at a
temperature. Learns nothing itself, and is no submodule of the training module: neither trained, nor
averaged, nor saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.metrics.calibration import prior_shift
from windhover.models.bundle import load_compatible_bundle
from windhover.models.layer_fusion import fold_batch_norms

WINDOWS_AT_ONCE = 256  # of a network that takes one window at a time


@dataclass(frozen=True)
class Teacher:
    """A network that is not trained, and how its logits become probabilities."""

    network: nn.Module
    normalizer: nn.Module
    temperatures: Tensor  # (K, 1, 1), or (1, 1, 1) for all classes
    biases: Tensor  # (K, 1, 1), added to the logits after the temperature

    @torch.no_grad()
    def teacher_probs(self, pixels: Tensor, stride_px: int) -> Tensor:
        """Return the probability of each class in each window, (B, K, h, w).

        Args:
            pixels: (B, C, S, S) as read.
            stride_px: between windows.
        """
        network = self.network.to(pixels.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = self.normalizer.to(pixels.device)(pixels)  # (B, C, S, S)
        if network.dense and int(network.stride_px) == stride_px:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            logits = network(inputs).logits  # (B, K, h, w)
        else:
            logits = _logits_by_window(network, inputs, stride_px)
        scaled = logits.float() / self.temperatures.to(logits.device)
        return torch.sigmoid(scaled + self.biases.to(logits.device))


def _logits_by_window(network: nn.Module, inputs: Tensor, stride_px: int) -> Tensor:
    """Return the logits (B, K, h, w) of normalized images (B, C, S, S), one window at a time."""
    side = int(network.window_px)  # type: ignore[arg-type]
    views = inputs.unfold(2, side, stride_px).unfold(3, side, stride_px)  # (B, C, h, w, side, side)
    batch, _, height, width = views.shape[:4]
    windows = views.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (B * h * w, C, side, side)
    parts = windows.split(WINDOWS_AT_ONCE)  # type: ignore[no-untyped-call]
    logits = [network(part).logits.flatten(1) for part in parts]  # (N, K)
    return torch.cat(logits).reshape(batch, height, width, -1).permute(0, 3, 1, 2)  # (B, K, h, w)


def load_teacher(folder: str, wanted: Mapping[str, Any]) -> Teacher:
    """Load a finished model as a teacher.

    Its calibration is for windows in which objects are as rare as in scenes. That shift is taken
    back, because the images of a training are chosen: objects are as frequent in them as they were
    in the teacher's own training.

    Args:
        folder: of the model.
        wanted: the summary of the patches that are learnt from.

    Raises:
        ParameterError: it takes other windows or finds other classes, or was never evaluated.
    """
    bundle = load_compatible_bundle(folder, wanted, "train.teacher")
    if bundle.operating_point is None:
        raise ParameterError(
            f"`train.teacher`: the model of {folder} was never evaluated, so its scores are no "
            "probabilities. Name a finished model, such as the data/model of another run."
        )
    card = bundle.card
    calibration = bundle.calibration
    sampled = card.sampled_prior / len(card.classes)
    priors = [card.prior_of(index) or sampled for index in range(len(card.classes))]
    shifts = [prior_shift(prior, sampled) for prior in priors]
    window_bias = torch.tensor(calibration.window_bias).reshape(-1, 1, 1)
    biases = window_bias + torch.tensor(shifts)[:, None, None]  # (K, 1, 1)
    network = fold_batch_norms(bundle.network()).requires_grad_(False)
    temperatures = torch.tensor(calibration.window_temperature).reshape(-1, 1, 1)
    return Teacher(network, bundle.normalizer(), temperatures, biases)
