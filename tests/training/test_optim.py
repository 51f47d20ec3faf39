"""The optimizer: every weight has one rate, stages rise towards the heads, schedules, freezing."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toy_patches import train_params
from windhover.errors import ParameterError
from windhover.models.networks import build_network
from windhover.params.allowed_values import Schedule
from windhover.training.optim import (
    SCHEDULES,
    freeze_trunk,
    lr_factor,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
    stage_depths,
)

NETWORKS = [
    "valid64",
    "resnet18",
    "timm/resnet10t",
    "densenet121",
    "convnext_tiny",
    "vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_in_one_group_and_its_rate_falls_away_from_the_heads(name: str) -> None:
    network = build_network(name, 3, 1)
    groups = parameter_groups(
        network, train_params(trunk_lr_factor=0.5, layer_lr_decay=0.1, weight_decay=0.2)
    )
    factor = {id(weight): group["lr_factor"] for group in groups for weight in group["params"]}
    assert (
        sum(len(group["params"]) for group in groups)
        == len(factor)
        == len(list(network.parameters()))
    )
    assert {factor[id(weight)] for weight in network.heads.parameters()} == {1.0}
    depths = stage_depths(network)
    named = dict(network.named_parameters())
    assert set(depths) == {name for name in named if not name.startswith("heads.")}
    assert min(depths.values()) == 0
    assert max(depths.values()) >= 2
    assert all(
        factor[id(named[name])] == pytest.approx(0.5 * 0.1**depth) for name, depth in depths.items()
    )
    for group in groups:
        assert {weight.dim() > 1 for weight in group["params"]} == {group["weight_decay"] > 0}


def test_stages_are_those_of_the_authors() -> None:
    depths = stage_depths(build_network("resnet18", 3, 1))
    first = {name.split(".")[1]: depth for name, depth in depths.items()}
    assert first == {"conv1": 4, "bn1": 4, "layer1": 3, "layer2": 2, "layer3": 1, "layer4": 0}


def test_a_step_moves_each_stage_by_its_rate() -> None:
    torch.manual_seed(0)
    network = build_network("valid64", 3, 1, width=4, stem="strided")
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    optimizer = make_optimizer(
        network, train_params(trunk_lr_factor=0.5, layer_lr_decay=0.5, weight_decay=0.0)
    )
    set_learning_rate(optimizer, 0.01)
    network(torch.randn(4, 3, 64, 64)).logits.sum().backward()
    optimizer.step()  # Adam's first step moves every weight by its rate, whatever the gradient
    moved = {
        name: float((weight.detach() - before[name]).abs().median())
        for name, weight in network.named_parameters()
    }
    assert moved["heads.logits.weight"] == pytest.approx(0.01, rel=0.01)
    assert moved["trunk.17.weight"] == pytest.approx(0.005, rel=0.05)
    assert moved["trunk.13.weight"] == pytest.approx(0.0025, rel=0.05)


def test_a_frozen_trunk_keeps_weights_and_statistics_until_it_is_let_go() -> None:
    network = build_network("valid64", 3, 1, width=4, stem="strided")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)

    def step() -> set[str]:
        network(torch.randn(4, 3, 64, 64)).logits.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        now = network.state_dict()
        return {name.split(".")[0] for name in before if not torch.equal(now[name], before[name])}

    freeze_trunk(network, True)
    assert step() == {"heads"}
    freeze_trunk(network, False)
    assert step() == {"heads", "trunk"}


@given(st.sampled_from(get_args(Schedule)), st.floats(0, 1), st.floats(0, 0.3))
def test_rates_stay_between_nothing_and_the_highest(
    schedule: Schedule, progress: float, warmup_fraction: float
) -> None:
    assert 0 < lr_factor(schedule, progress, warmup_fraction) <= 1


def test_schedules_differ() -> None:
    at = {}
    for name in get_args(Schedule):
        at[name] = [round(lr_factor(name, share, 0.1), 3) for share in (0.0, 0.1, 0.5, 0.8, 1.0)]
    assert at["cosine"][1] == pytest.approx(1, abs=0.01)
    assert at["cosine"][-1] < 0.01
    assert at["constant"][1:] == at["plateau"][1:] == [1, 1, 1, 1]
    assert at["onecycle"][1] < 0.5 < at["onecycle"][2]
    assert at["step"][3] == 0.1
    assert at["exponential"][-1] == 0.01


def test_every_schedule_of_the_parameters_is_implemented() -> None:
    assert set(SCHEDULES) == set(get_args(Schedule))
    with pytest.raises(ParameterError, match="schedule must be one of cosine"):
        lr_factor("cosin", 0.5, 0.1)
