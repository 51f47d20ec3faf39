"""Building the module of a training: its network, loss and teacher, as the parameters describe."""

from __future__ import annotations

import torch
from torch import nn

from windhover.errors import ParameterError
from windhover.models.bundle import load_bundle
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network
from windhover.params.train import TrainParams
from windhover.patches.pixel_value_range import value_range
from windhover.training.distillation import Teacher, load_teacher
from windhover.training.losses import DetectionLoss
from windhover.training.module import DetectionModule
from windhover.training.training_data import TrainingData


def build_module(data: TrainingData) -> DetectionModule:
    """Return a module with a fresh network, or with the weights to start from.

    Raises:
        ParameterError: the model to start from, or the teacher, does not fit.
    """
    params = data.params
    summary = data.summary
    torch.manual_seed(params.seed)
    network = build_network(params.network, len(summary.bands), len(data.classes), **params.options)
    if params.start_from is not None:
        load_start_weights(network, params.start_from)
    has_offsets, has_sizes = data.datamodule.has_offsets_and_sizes()
    if summary.coverage is not None:
        has_offsets = False  # of windows that stand for ground, not for objects
    network.heads.set_constant(offsets=not has_offsets, sizes=not has_sizes)  # type: ignore[union-attr, operator]
    return DetectionModule(
        network,
        Normalizer(summary.mean, summary.std),
        DetectionLoss.from_params(params, data.class_counts),
        params=params,
        label_rule=summary.label_rule,
        value_range=value_range(summary.dtype, summary.mean, summary.std),
        n_classes=len(data.classes),
        padding_value=summary.padding_value,
        teacher=_load_teacher(params, data),
        has_objects=summary.coverage is None,
    )


def load_start_weights(network: nn.Module, folder: str) -> None:
    """Load the weights of a finished model.

    Raises:
        ParameterError: they are of another network.
    """
    start = load_bundle(folder)
    try:
        network.load_state_dict(start.state_dict())
    except RuntimeError:
        raise ParameterError(
            f"`train.start_from`: the network of {folder} is another one. Train the same."
        ) from None


def _load_teacher(params: TrainParams, data: TrainingData) -> Teacher | None:
    """Return the teacher that the parameters name, None without one or with a weight of 0."""
    if params.teacher is None or not params.distillation_weight:
        return None
    return load_teacher(params.teacher, data.summary.to_json())
