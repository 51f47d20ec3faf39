"""Targets, losses and schedules: each choice changes what it should."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.models.networks import Outputs
from windhover.training.losses import (
    IGNORED,
    LOSSES,
    PAD,
    SCHEDULES,
    Objective,
    cell_targets,
    patch_targets,
    rate_factor,
)

UNKNOWN = float("nan")


def outputs(logits: torch.Tensor) -> Outputs:
    shape = (logits.shape[0], 2, *logits.shape[2:])
    return Outputs(logits, torch.zeros(shape), torch.zeros(shape))


def test_a_cell_is_positive_by_its_center_and_learns_where_the_object_is() -> None:
    objects = torch.tensor([[[0.0, 44.0, 38.0, 20.0, 10.0], [PAD, 0, 0, 0, 0]]])
    targets = cell_targets(objects, (80, 96), 1, positive_px=8, ignore_px=16)
    assert targets.classes.shape == (
        1,
        1,
        3,
        5,
    )  # cells' centres: x 32, 40, 48, 56, 64 and y 32, 40, 48
    assert targets.classes[0, 0].tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert targets.weights[0, 0].tolist() == [[0, 1, 1, 0, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 1]]
    assert targets.offsets_px[0, :, 0, 1].tolist() == [4, 6]
    assert targets.log_sizes[0, :, 1, 2].tolist() == pytest.approx([math.log(20), math.log(10)])


def test_the_course_rule_is_one_setting_and_a_circle_holds_less_than_its_square() -> None:
    objects = torch.tensor([[[0.0, 64.0, 64.0, 20.0, 20.0]]])
    square = cell_targets(objects, (128, 128), 1, 16, 16)
    assert int(square.classes.sum()) == 25  # centres 48, 56, 64, 72, 80 both ways
    circle = cell_targets(objects, (128, 128), 1, 16, 16, circle=True)
    assert int(circle.classes.sum()) == 13


def test_an_ignored_area_silences_background_and_no_object() -> None:
    ignored = torch.tensor([[[IGNORED, 64.0, 64.0, 60.0, 60.0], [0.0, 64.0, 64.0, 20.0, 20.0]]])
    targets = cell_targets(ignored, (128, 128), 1, 4, 4)
    assert int(targets.classes.sum()) == 1
    assert int((targets.weights == 0).sum()) == 7 * 7 - 1


def test_classes_do_not_mix_and_the_nearest_object_gives_the_offset() -> None:
    objects = torch.tensor([[[0.0, 30.0, 32.0, 8.0, 8.0], [1.0, 33.0, 32.0, 8.0, 8.0]]])
    targets = cell_targets(objects, (64, 64), 3, 8, 16)
    assert targets.classes[0, :, 0, 0].tolist() == [1, 1, 0]
    assert targets.offsets_px[0, :, 0, 0].tolist() == [1, 0]


def test_patches_are_pictures_of_one_cell() -> None:
    targets = patch_targets(
        torch.tensor(
            [
                [1.0, 3.0, -2.0, 20.0, 10.0],
                [PAD, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN],
                [0.0, 1, 1, UNKNOWN, 5],
            ]
        ),
        2,
    )
    assert targets.classes[:, :, 0, 0].tolist() == [[0, 1], [0, 0], [1, 0]]
    assert targets.located.flatten().tolist() == [1, 0, 1]
    assert targets.sized.flatten().tolist() == [1, 0, 0]
    assert all(bool(plane.isfinite().all()) for plane in targets)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_falls_when_scores_improve_and_gives_a_gradient(loss: str) -> None:
    objective = Objective(loss, (90, 10))
    targets = patch_targets(torch.tensor([[0.0, 0, 0, 9, 9], [PAD, 0, 0, 0, 0]]), 1)
    bad = torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1).requires_grad_()
    good = torch.tensor([4.0, -4.0]).view(2, 1, 1, 1)
    losses = objective(outputs(bad), targets)
    losses.total.backward()
    assert bad.grad is not None
    assert bad.grad[0] < 0 < bad.grad[1]
    assert float(objective(outputs(good), targets).score) < float(losses.score)


def test_each_strategy_moves_weight_its_own_way() -> None:
    positive, background = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    zero = torch.zeros(1, 1, 1, 1)

    def both(loss: str, **options: float) -> tuple[float, float]:
        objective = Objective(loss, (900, 100), **options)
        return float(objective.score_losses(zero, positive)), float(
            objective.score_losses(zero, background)
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
    assert Objective("bce", (1, 1)).score_losses(certain, positive) < 1e-3
    assert Objective("bce", (1, 1), label_smoothing=0.1).score_losses(certain, positive) > 0.5


def test_boxes_are_learnt_from_positives_alone() -> None:
    targets = patch_targets(torch.tensor([[PAD, 5.0, 5.0, 9.0, 9.0], [0.0, 4.0, 0.0, 1.0, 1.0]]), 1)
    losses = Objective("bce", (1, 1), huber_px=2.0)(outputs(torch.zeros(2, 1, 1, 1)), targets)
    assert float(losses.offset) == pytest.approx(
        (2 * (4 - 1)) / 2 / 2
    )  # delta (|e| - delta / 2), over delta, mean of dx and dy
    assert float(losses.size) == 0


def test_in_crops_the_hardest_background_counts_first() -> None:
    targets = cell_targets(torch.tensor([[[0.0, 32.0, 32.0, 9.0, 9.0]]]), (64, 640), 1, 3, 3)
    logits = torch.full((1, 1, 1, 73), -6.0)
    logits[..., 40] = 5.0
    chosen = Objective("bce", (1, 1), negatives_per_positive=3.0)
    every = Objective("bce", (1, 1))
    generator = torch.Generator().manual_seed(0)
    assert float(chosen(outputs(logits), targets, generator).score) > 5 * float(
        every(outputs(logits), targets).score
    )


@given(st.sampled_from(SCHEDULES), st.floats(0, 1), st.floats(0, 0.3))
def test_rates_stay_between_nothing_and_the_highest(
    schedule: str, progress: float, warmup: float
) -> None:
    assert 0 < rate_factor(schedule, progress, warmup) <= 1


def test_schedules_differ() -> None:
    at = {
        name: [round(rate_factor(name, share, 0.1), 3) for share in (0.0, 0.1, 0.5, 0.8, 1.0)]
        for name in SCHEDULES
    }
    assert at["cosine"][1] == pytest.approx(1, abs=0.01)
    assert at["cosine"][-1] < 0.01
    assert at["constant"][1:] == at["plateau"][1:] == [1, 1, 1, 1]
    assert at["onecycle"][1] < 0.5 < at["onecycle"][2]
    assert at["step"][3] == 0.1
    assert at["exponential"][-1] == 0.01


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ParameterError, match="loss must be one of bce"):
        Objective("hinge", (1, 1))
    with pytest.raises(ParameterError, match="schedule must be one of cosine"):
        rate_factor("cosin", 0.5, 0.1)
