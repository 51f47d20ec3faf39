"""How fast each part of a network learns: heads, trunk, the trunk's stages; what is frozen; the
optimiser over all.

Knows of a network only that its heads are called `heads`. Holds no schedule and no loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from windhover.params.train import TrainParams


def make_optimizer(network: nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """Return the optimiser of `params` over the groups of `parameter_groups`."""
    groups = parameter_groups(network, params)
    if params.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=params.learning_rate, momentum=params.momentum, nesterov=params.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=params.learning_rate)


def parameter_groups(network: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Divide the weights by their factor on the learning rate and by whether they decay (not
    biases, not norms).

    Heads have a factor of 1; the trunk's last stage `trunk_lr_factor`, and each stage before it
    `layer_lr_decay` times the factor of the next (Howard 2018).
    """
    depths = stage_depths(network)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = (
            1.0
            if name.startswith("heads.")
            else params.trunk_lr_factor * params.layer_lr_decay ** depths[name]
        )
        groups.setdefault((factor, parameter.dim() > 1), []).append(parameter)
    return [
        {
            "params": weights,
            "factor": factor,
            "weight_decay": params.weight_decay if decays else 0.0,
        }
        for (factor, decays), weights in groups.items()
    ]


def stage_depths(network: nn.Module) -> dict[str, int]:
    """Return, for the name of each weight but the heads', how many stages lie between its own and
    the heads.

    A stage is a part of the trunk as its authors named them (`layer1` to `layer4` of a ResNet); a
    part of norms or biases alone belongs to the one before it.
    """
    parts = _parts(network, "")
    while sum(map(_is_heavy, parts)) == 1:  # a stage alone is a container of stages
        place = next(index for index, part in enumerate(parts) if _is_heavy(part))
        inside = _parts(parts[place][1], f"{parts[place][0]}.")
        if not inside:
            break
        parts[place : place + 1] = inside
    stages: list[tuple[str, ...]] = []
    for part in parts:
        before = () if _is_heavy(part) or not stages else stages.pop()
        stages.append((*before, f"{part[0]}."))
    depths = {}
    for name, _ in network.named_parameters():
        if not name.startswith("heads."):
            own = [number for number, stage in enumerate(stages) if name.startswith(stage)]
            depths[name] = len(stages) - (
                own[0] + 1 if own else 0
            )  # loose ones, a ViT's places, lie before all
    return depths


def _parts(module: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    """Return the children that have weights, but for heads."""
    named = [(name, part) for name, part in module.named_children() if name != "heads"]
    return [
        (f"{prefix}{name}", part) for name, part in named if any(True for _ in part.parameters())
    ]


def _is_heavy(part: tuple[str, nn.Module]) -> bool:
    return any(weight.dim() > 1 for weight in part[1].parameters())


def freeze_trunk(network: nn.Module, frozen: bool) -> None:
    """Let all but the heads learn, or keep them as they are, the statistics of their batch norms
    included.
    """
    for name, part in network.named_children():
        if name != "heads":
            part.requires_grad_(not frozen)
            part.train(not frozen)
