"""The training loss: every strategy teaches, moves weight its own way, and learns boxes."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from windhover.errors import ParameterError
from windhover.models.networks import Outputs
from windhover.params.allowed_values import Loss
from windhover.training.losses import SCORE_LOSSES, DetectionLoss
from windhover.training.object_table import PAD
from windhover.training.targets import ObjectTensor, cell_targets, patch_targets


def outputs(logits: torch.Tensor) -> Outputs:
    shape = (logits.shape[0], 2, *logits.shape[2:])
    return Outputs(logits, torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_falls_when_scores_improve_and_gives_a_gradient(loss: str) -> None:
    criterion = DetectionLoss(loss, (90, 10))
    targets = patch_targets(ObjectTensor(torch.tensor([[0.0, 0, 0, 9, 9], [PAD, 0, 0, 0, 0]])), 1)
    bad = torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1).requires_grad_()
    good = torch.tensor([4.0, -4.0]).view(2, 1, 1, 1)
    losses = criterion(outputs(bad), targets)
    losses.total.backward()
    assert bad.grad is not None
    assert bad.grad[0] < 0 < bad.grad[1]
    assert float(criterion(outputs(good), targets).score) < float(losses.score)


def test_each_strategy_moves_weight_its_own_way() -> None:
    positive, background = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    zero = torch.zeros(1, 1, 1, 1)

    def both(loss: str, **options: float) -> tuple[float, float]:
        criterion = DetectionLoss(loss, (900, 100), **options)
        return float(criterion.score_losses(zero, positive)), float(
            criterion.score_losses(zero, background)
        )

    plain = both("bce")
    assert plain == pytest.approx((math.log(2), math.log(2)))
    assert both("weighted_bce") == pytest.approx((9 * math.log(2), math.log(2)))
    effective = (1 - 0.99**900) / (1 - 0.99**100)
    assert both("class_balanced", class_balanced_beta=0.99) == pytest.approx(
        (effective * math.log(2), math.log(2)), rel=1e-5
    )
    assert both("class_balanced", class_balanced_beta=0.0) == pytest.approx(plain)
    assert both("focal", focal_gamma=2.0, focal_alpha=0.25) == pytest.approx(
        (math.log(2) / 16, 3 * math.log(2) / 16)
    )
    adjusted = both("logit_adjusted", logit_adjustment_tau=1.0)
    assert adjusted[0] == pytest.approx(-math.log(0.1))
    assert both("logit_adjusted", logit_adjustment_tau=0.0) == pytest.approx(plain)


def test_label_smoothing_stops_certainty_from_paying() -> None:
    certain, positive = torch.full((1, 1, 1, 1), 9.0), torch.ones(1, 1, 1, 1)
    assert DetectionLoss("bce", (1, 1)).score_losses(certain, positive) < 1e-3
    assert DetectionLoss("bce", (1, 1), label_smoothing=0.1).score_losses(certain, positive) > 0.5


def test_boxes_are_learnt_from_positives_alone() -> None:
    targets = patch_targets(
        ObjectTensor(torch.tensor([[PAD, 5.0, 5.0, 9.0, 9.0], [0.0, 4.0, 0.0, 1.0, 1.0]])), 1
    )
    losses = DetectionLoss("bce", (1, 1), huber_px=2.0)(outputs(torch.zeros(2, 1, 1, 1)), targets)
    # delta (|e| - delta / 2), over delta, mean of dx and dy
    assert float(losses.offset) == pytest.approx((2 * (4 - 1)) / 2 / 2)
    assert float(losses.size) == 0


def test_in_large_patches_the_hardest_background_counts_first() -> None:
    objects = ObjectTensor(torch.tensor([[[0.0, 32.0, 32.0, 9.0, 9.0]]]))
    targets = cell_targets(objects, (64, 640), 1, positive_px=3, ignore_px=3)
    logits = torch.full((1, 1, 1, 73), -6.0)
    logits[..., 40] = 5.0
    chosen = DetectionLoss("bce", (1, 1), negatives_per_positive=3.0)
    every = DetectionLoss("bce", (1, 1))
    generator = torch.Generator().manual_seed(0)
    assert float(chosen(outputs(logits), targets, generator).score) > 5 * float(
        every(outputs(logits), targets).score
    )


def test_every_loss_of_the_parameters_is_implemented() -> None:
    assert set(SCORE_LOSSES) == set(get_args(Loss))
    with pytest.raises(ParameterError, match="loss must be one of bce"):
        DetectionLoss("hinge", (1, 1))
