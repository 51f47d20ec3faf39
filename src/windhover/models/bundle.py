"""The saved model: a folder of weights, card, calibration and operating point, read and written.

The card holds everything else that a search needs (bands, radiometry, GSD, window,
classes), so that a model is complete in its folder. Weights that do not belong to the card, pickled
code and unknown formats raise an error.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from windhover.errors import FormatError, MissingFileError, ParameterError, WindhoverError
from windhover.files import write_json
from windhover.models.apply_calibration import Calibration, detection_logits
from windhover.models.card import CARD, WINDOW_FIELDS, Card, read_card, read_model_json
from windhover.models.graph_files import ScoreGraphs, copy_graphs, read_graphs
from windhover.models.operating_point import OperatingPoint
from windhover.models.weights_file import (
    WEIGHTS,
    Weights,
    as_arrays,
    content_key,
    read_weights,
    write_weights,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from windhover.models.input_normalization import Normalizer

logger = logging.getLogger(__name__)

CALIBRATION = "calibration.json"
OPERATING_POINT = "operating_point.json"
# folder, inside a model's, of another network that scores the peaks too
SECOND_STAGE = "second_stage"
OLD_SECOND_STAGE = "second_look"  # its name in models of earlier versions


@dataclass(frozen=True)
class Bundle:
    """A model read from its folder.

    Attributes:
        card: its description.
        weights: arrays by name.
        calibration: identity before `evaluate` has run.
        operating_point: None before `evaluate` has run.
        second_stage: another network that scores the peaks too; only its card and weights count.
        graphs: the same network for other runtimes; None for models of earlier versions and for
            networks without a dense form.
        folder: where it was read; None for one made in memory.
    """

    card: Card
    weights: Weights
    calibration: Calibration = field(default_factory=Calibration)
    operating_point: OperatingPoint | None = None
    second_stage: Bundle | None = None
    graphs: ScoreGraphs | None = None
    folder: Path | None = None

    def network(self) -> nn.Module:
        """Build the network with its weights, in evaluation mode, on the CPU.

        Raises:
            FormatError: the card's options are none of the network's, or the weights, or the
                card's window and stride, do not fit the network that the card names.
        """
        try:
            return self._build_network()
        except WindhoverError as error:
            if self.folder is None:
                raise
            raise FormatError(f"{self.folder / CARD}: {error}") from None

    def _build_network(self) -> nn.Module:
        """Build the network with its weights; errors do not name its folder."""
        from windhover.models.networks import build_network

        card = self.card.network
        network = build_network(card.name, card.n_bands, card.n_classes, **card.options)
        try:
            network.load_state_dict(self.state_dict())
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise FormatError(
                f"the weights do not fit network `{card.name}` of the card: {reason}. "
                "Take both from one training."
            ) from None
        in_card = (self.card.window_px, self.card.stride_px)
        in_network = (int(network.window_px), int(network.stride_px))  # type: ignore[arg-type]
        if in_card != in_network:
            raise FormatError(
                f"the card has windows of {in_card[0]} px at stride {in_card[1]} px, but network "
                f"`{card.name}` has windows of {in_network[0]} px at stride {in_network[1]} px. "
                "Take card and weights from one training."
            )
        return network.eval()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights as tensors of their own, which may be trained on."""
        import torch

        return {name: torch.tensor(array) for name, array in self.weights.items()}

    def normalizer(self) -> Normalizer:
        """Build the map from pixels as read to the input of the network."""
        from windhover.models.input_normalization import build_normalizer

        return build_normalizer(self.card.mean, self.card.std, self.card.network.options)

    def thresholds(self) -> dict[str, float]:
        """Return the calibrated score each class must reach.

        Raises:
            MissingFileError: the model was never evaluated.
        """
        if self.operating_point is None:
            raise MissingFileError(
                f"model {self.card.name} has no {OPERATING_POINT}. "
                "Run evaluate, or give a threshold."
            )
        return self.operating_thresholds()

    def operating_thresholds(self) -> dict[str, float]:
        """Return the calibrated score of each class's operating point; empty without one."""
        return {} if self.operating_point is None else self.operating_point.thresholds()

    def choose_thresholds(self, threshold: float | Mapping[str, float] | None) -> dict[str, float]:
        """Return the score each class must reach: the operating point's, or what is given.

        Raises:
            MissingFileError: none is given and the model was never evaluated.
            ParameterError: not a probability, or a class the model does not know.
        """
        if threshold is None:
            return self.thresholds()
        classes = self.card.classes
        if isinstance(threshold, Mapping):
            given = dict(threshold)
        else:
            given = dict.fromkeys(classes, threshold)
        if unknown := sorted(set(given) - set(classes)):
            raise ParameterError(
                f"the model has no class `{unknown[0]}`; it knows {', '.join(classes)}. "
                "Name one of these."
            )
        if set(given) != set(classes):
            given = {**self.thresholds(), **given}
        check_thresholds(given)
        return given

    def min_logits(self, thresholds: Mapping[str, float]) -> list[float]:
        """Return the raw logit at which each class, in the card's order, reaches its threshold."""
        return [
            float(detection_logits(thresholds[name], self.calibration.of_class(index)))
            for index, name in enumerate(self.card.classes)
        ]


def _model_key(weights: Weights, second_stage: Bundle | None) -> str:
    """Return the content key of a model: of its weights and those of its second stage."""
    key = content_key(weights)
    if second_stage is None:
        return key
    both = f"{key}+{content_key(second_stage.weights)}"
    return hashlib.sha256(both.encode()).hexdigest()[:16]


def save_bundle(
    folder: str | Path,
    card: Card,
    weights: Mapping[str, Any],
    *,
    calibration: Calibration | None = None,
    operating_point: OperatingPoint | None = None,
    second_stage: Bundle | None = None,
    graphs: ScoreGraphs | None = None,
) -> Card:
    """Write a bundle's files into `folder`, each atomically; equal content gives equal bytes.

    Args:
        folder: of the model, created where missing.
        card: its description.
        weights: arrays, or tensors of torch, by name.
        calibration: written where given.
        operating_point: written where given.
        second_stage: another network that scores the peaks too; an old one is removed.
        graphs: of another folder with the same weights, which are copied; old ones are removed.

    Returns:
        The card as written, named by the content of the weights.
    """
    folder = Path(folder)
    arrays = as_arrays(weights)
    card = card.model_copy(update={"name": _model_key(arrays, second_stage)})
    for old in (SECOND_STAGE, OLD_SECOND_STAGE):
        shutil.rmtree(folder / old, ignore_errors=True)
    if second_stage is not None:
        second = folder / SECOND_STAGE
        save_bundle(second, second_stage.card, second_stage.weights, graphs=second_stage.graphs)
    write_weights(folder, arrays)
    copy_graphs(graphs, folder)
    write_json(folder / CARD, card.model_dump(mode="json"))
    if calibration is not None:
        write_json(folder / CALIBRATION, calibration.to_json())
    if operating_point is not None:
        operating_point.save(folder / OPERATING_POINT)
    return card


def load_bundle(folder: str | Path) -> Bundle:
    """Read a bundle.

    Raises:
        MissingFileError: the folder, its card or its weights are not there.
        FormatError: a file is broken, of a newer format, or the weights are not the card's.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder}: no such model folder. "
            f"Run `dvc repro evaluate`, or give the folder that holds {CARD}."
        )
    card = read_card(folder / CARD)
    weights = read_weights(folder)
    second_stage = _read_second_stage(folder, card)
    if card.name != _model_key(weights, second_stage):
        raise FormatError(
            f"{folder}: {WEIGHTS} (or {SECOND_STAGE}) does not belong to {CARD} ({card.name}). "
            "Copy the folder whole."
        )
    operating_point = None
    if (folder / OPERATING_POINT).is_file():
        operating_point = OperatingPoint.load(folder / OPERATING_POINT, card.classes)
    calibration = _read_calibration(folder, card, is_evaluated=operating_point is not None)
    graphs = read_graphs(folder, content_key(weights))
    return Bundle(card, weights, calibration, operating_point, second_stage, graphs, folder)


def _read_calibration(folder: Path, card: Card, *, is_evaluated: bool) -> Calibration:
    """Read the calibration of a model; that of a model never evaluated changes nothing.

    Raises:
        MissingFileError: it is not there, and the thresholds were chosen on calibrated scores.
        FormatError: it is broken, or is of another number of classes.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        if is_evaluated:
            raise MissingFileError(
                f"{path}: no such file, and the thresholds of {OPERATING_POINT} were chosen on "
                "calibrated scores. Copy the folder whole, or run evaluate again."
            )
        return Calibration()
    try:
        calibration = Calibration.from_json(read_model_json(path))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    biases = calibration.window_bias
    if isinstance(biases, tuple) and len(biases) != len(card.classes):
        raise FormatError(
            f"{path}: `window_bias` has {len(biases)} numbers for {len(card.classes)} classes. "
            "Copy the folder whole, or run evaluate again."
        )
    return calibration


def _read_second_stage(folder: Path, card: Card) -> Bundle | None:
    """Read the second stage of a model, None where it has none."""
    second = folder / SECOND_STAGE
    if not second.is_dir() and (folder / OLD_SECOND_STAGE).is_dir():
        second = folder / OLD_SECOND_STAGE
        logger.warning(
            "%s: folder `%s` of an earlier version is read as `%s`.",
            folder,
            OLD_SECOND_STAGE,
            SECOND_STAGE,
        )
    if not second.is_dir():
        return None
    return load_compatible_bundle(second, card.model_dump(mode="json"), str(second))


def load_compatible_bundle(folder: str | Path, wanted: Mapping[str, Any], key: str) -> Bundle:
    """Read the bundle of a network that is to score the same windows as another one.

    Args:
        folder: of the bundle.
        wanted: values of `WINDOW_FIELDS`, as in JSON; of a card, or the patches' summary.
        key: parameter that names the folder, for the message of an error.

    Raises:
        ParameterError: it has other windows or other classes, or a second stage itself.
    """
    bundle = load_bundle(folder)
    if bundle.second_stage is not None:
        raise ParameterError(
            f"`{key}`: {folder} is two networks already. Name the folder of one of them."
        )
    values = bundle.card.model_dump(mode="json")
    for name in WINDOW_FIELDS:
        if values[name] != wanted[name]:
            raise ParameterError(
                f"`{key}`: the model of {folder} has `{name}` {values[name]}, "
                f"and {wanted[name]} is needed. "
                "Name a model with the same window, GSD, bands, number type and classes."
            )
    return bundle


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Raise a ParameterError for a threshold that is not a probability, in 0..1."""
    for name, value in thresholds.items():
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1:
            raise ParameterError(
                f"threshold of `{name}` must be in 0..1, got {value!r}. Give a probability."
            )
