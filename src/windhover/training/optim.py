"""The optimizer: parameter groups with learning rates of their own, the schedule, a frozen trunk.

Knows of a network only that its heads are called `heads`. Holds no loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from windhover.errors import ParameterError

if TYPE_CHECKING:
    from windhover.params.allowed_values import Schedule
    from windhover.params.train import TrainParams

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]

ONECYCLE_WARMUP = 0.3  # share of the training over which `onecycle` rises
LEAST_COSINE = 0.001  # of the highest rate, where the cosine ends


def make_optimizer(network: nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """Return the optimizer of `params` over the groups of `parameter_groups`."""
    groups = parameter_groups(network, params)
    if params.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=params.learning_rate, momentum=params.momentum, nesterov=params.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=params.learning_rate)


def parameter_groups(network: nn.Module, params: TrainParams) -> list[dict[str, Any]]:
    """Group the weights by their learning rate factor `lr_factor` and by whether they decay.

    Heads have a factor of 1; the last stage of the trunk has `trunk_lr_factor`, and each stage
    before it `layer_lr_decay` times the factor of the next (Howard 2018). Biases and norms do not
    decay.
    """
    depths = stage_depths(network)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = 1.0
        if not name.startswith("heads."):
            factor = params.trunk_lr_factor * params.layer_lr_decay ** depths[name]
        decays = parameter.dim() > 1
        groups.setdefault((factor, decays), []).append(parameter)
    described = []
    for (factor, decays), parameters in groups.items():
        weight_decay = params.weight_decay if decays else 0.0
        described.append({"params": parameters, "lr_factor": factor, "weight_decay": weight_decay})
    return described


def stage_depths(network: nn.Module) -> dict[str, int]:
    """Return the number of stages between each weight outside the heads and the heads.

    A stage is a part of the trunk as its authors named them (`layer1` to `layer4` of a ResNet); a
    part of norms or biases alone belongs to the one before it.
    """
    stages = _trunk_stages(network)
    depths = {}
    for name, _ in network.named_parameters():
        if name.startswith("heads."):
            continue
        own = [number for number, prefixes in enumerate(stages) if name.startswith(prefixes)]
        # parameters of no stage, such as the position embedding of a ViT, come before all
        first = own[0] + 1 if own else 0
        depths[name] = len(stages) - first
    return depths


def _trunk_stages(network: nn.Module) -> list[tuple[str, ...]]:
    """Return the stages of the trunk in order, each as the prefixes of its parameters' names."""
    parts = _weighted_children(network, "")
    while sum(map(_has_matrices, parts)) == 1:  # a stage alone is a container of stages
        place = next(index for index, part in enumerate(parts) if _has_matrices(part))
        name, module = parts[place]
        children = _weighted_children(module, f"{name}.")
        if not children:
            break
        parts[place : place + 1] = children
    stages: list[tuple[str, ...]] = []
    for part in parts:
        before: tuple[str, ...] = ()
        if stages and not _has_matrices(part):
            before = stages.pop()
        stages.append((*before, f"{part[0]}."))
    return stages


def _weighted_children(module: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    """Return the children that have parameters, but for heads, with their full names."""
    children = []
    for name, child in module.named_children():
        if name != "heads" and any(True for _ in child.parameters()):
            children.append((f"{prefix}{name}", child))
    return children


def _has_matrices(part: tuple[str, nn.Module]) -> bool:
    """Return whether a part has weights of more than one dimension."""
    return any(parameter.dim() > 1 for parameter in part[1].parameters())


def freeze_trunk(network: nn.Module, frozen: bool) -> None:
    """Freeze all but the heads, the statistics of their batch norms included, or let them learn."""
    for name, part in network.named_children():
        if name != "heads":
            part.requires_grad_(not frozen)
            part.train(not frozen)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of each group: the learning rate times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_factor"]


def lr_factor(schedule: Schedule, progress: float, warmup_fraction: float) -> float:
    """Return the factor on the learning rate at a share of the training done, in (0, 1].

    Args:
        schedule: a key of `SCHEDULES`; `plateau` is constant here, its drops come from
            validation.
        progress: in [0, 1].
        warmup_fraction: share of the training over which the rate rises linearly; `onecycle` has
            its own of 0.3.

    Raises:
        ParameterError: another schedule.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(
            f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}. Choose one of them."
        )
    if schedule == "onecycle":
        warmup_fraction = ONECYCLE_WARMUP
    rise = 1.0
    if warmup_fraction > 0:
        rise = min((progress + 1e-3) / warmup_fraction, 1.0)
    after_warmup = (progress - warmup_fraction) / max(1 - warmup_fraction, 1e-9)
    return rise * SCHEDULES[schedule](min(max(after_warmup, 0.0), 1.0))


def _cosine_decay(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress)) * (1 - LEAST_COSINE) + LEAST_COSINE


def _step_decay(progress: float) -> float:
    if progress < 0.6:
        return 1.0
    if progress < 0.85:
        return 0.1
    return 0.01


def _exponential_decay(progress: float) -> float:
    return math.pow(0.01, progress)


def _no_decay(progress: float) -> float:
    return 1.0


# each maps the share done after the warm-up, in [0, 1], to a factor on the learning rate
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": _cosine_decay,
    "onecycle": _cosine_decay,
    "step": _step_decay,
    "exponential": _exponential_decay,
    "constant": _no_decay,
    "plateau": _no_decay,
}


def make_weight_average(network: nn.Module, ema_decay: float) -> AveragedModel | None:
    """Return an exponential moving average of a network's weights and buffers; None for decay 0.

    Its memory grows with the steps taken, up to `ema_decay`.
    """
    if not ema_decay:
        return None

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        memory = min(ema_decay, (1 + int(count)) / (10 + int(count)))
        if torch.is_floating_point(averaged[0]):
            torch._foreach_lerp_(averaged, current, 1 - memory)
        else:
            for old, new in zip(averaged, current, strict=True):
                old.copy_(new)

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    average.requires_grad_(False)
    return average
