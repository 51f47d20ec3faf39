"""The saved model: a folder of weights, card, calibration and operating point, read and written.

The card holds everything else that a search needs (bands, radiometry, GSD, window,
classes), so that a model is complete in its folder. Weights that do not belong to the card, pickled
code and unknown formats raise an error.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import Tensor, nn

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.files import atomic_file, read_json, write_json
from windhover.models.apply_calibration import Calibration, detection_logits
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network, current_name
from windhover.models.operating_point import OperatingPoint
from windhover.models.quantization import QuantizationRanges

logger = logging.getLogger(__name__)

FORMAT = 1
WEIGHTS = "weights.pt"
CARD = "model.json"
CALIBRATION = "calibration.json"
OPERATING_POINT = "operating_point.json"
# folder, inside a model's, of another network that scores the peaks too
SECOND_STAGE = "second_stage"
OLD_SECOND_STAGE = "second_look"  # its name in models of earlier versions
# what two models must share to score the same windows
WINDOW_FIELDS = ("window_px", "gsd_m", "bands", "dtype", "classes")
MISSING_ADVICE = f"A model folder holds {WEIGHTS} and {CARD}."
BROKEN_ADVICE = "Restore it, or train again."

Weights = Mapping[str, Tensor]


class NetworkCard(BaseModel):
    """The network that the weights belong to, as arguments of `build_network`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    n_bands: int = Field(ge=1)
    n_classes: int = Field(ge=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _use_current_name(cls, name: str) -> str:
        return current_name(name)


class Card(BaseModel):
    """Description of a model and of its input.

    Attributes:
        format: of the folder.
        name: content key of the weights, those of a second stage included; set by `save_bundle`.
        network: whose weights they are.
        classes: names, in the order of the logits.
        window_px: side of a window.
        stride_px: between neighboring windows.
        gsd_m: meters per px on the ground.
        bands: names, in the order of the input.
        dtype: number type of the pixels as read.
        mean: of each band, in units of the pixels as read.
        std: standard deviation of each band.
        sampled_prior: fraction of the training windows that show an object.
        true_prior: the same in scenes; None for ready-made patches, where it is unknown.
        class_priors: of each class by itself; None where unknown.
        sized: whether labels have sizes; if not, boxes have the window's size and mean nothing.
        ranges: of pixels and feature maps, for a search in int8; None where not possible.
        training: what else is known of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    name: str = ""
    network: NetworkCard
    classes: tuple[str, ...] = Field(min_length=1)
    window_px: int = Field(ge=1)
    stride_px: int = Field(ge=1)
    gsd_m: float = Field(gt=0)
    bands: tuple[str, ...] = Field(min_length=1)
    dtype: Literal["uint8", "uint16", "int16", "float32"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sampled_prior: float = Field(ge=0, le=1)
    true_prior: float | None = Field(ge=0, le=1)
    class_priors: tuple[float, ...] | None = None
    sized: bool = True
    ranges: QuantizationRanges | None = None
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_consistency(self) -> Card:
        self._check_counts()
        if min(self.std) <= 0:
            raise ValueError("every std must be above 0")
        if self.ranges is not None:
            self._check_ranges(self.ranges)
        return self

    def _check_counts(self) -> None:
        counts = {
            "bands": len(self.bands),
            "mean": len(self.mean),
            "std": len(self.std),
            "network.n_bands": self.network.n_bands,
        }
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"bands, mean, std and network.n_bands must agree in number, got {counts}"
            )
        if len(self.classes) != self.network.n_classes:
            raise ValueError(
                f"{len(self.classes)} classes for a network of {self.network.n_classes}"
            )
        if self.class_priors is not None and len(self.class_priors) != len(self.classes):
            raise ValueError(
                f"{len(self.class_priors)} class_priors for {len(self.classes)} classes"
            )

    def _check_ranges(self, ranges: QuantizationRanges) -> None:
        increasing = all(-math.inf < low < high < math.inf for low, high in ranges.bands)
        if len(ranges.bands) != len(self.bands) or not increasing:
            raise ValueError("ranges must hold, for each band, a lowest pixel and a higher one")
        if not ranges.maps or not all(0 < highest < math.inf for highest in ranges.maps):
            raise ValueError("ranges must hold a number above 0 for each feature map")

    def prior_of(self, index: int) -> float | None:
        """Return the fraction of a scene's windows that show a class, None where unknown.

        Where only the fraction of all classes together is known, each class gets an equal part.
        """
        if self.class_priors is not None:
            return self.class_priors[index]
        if self.true_prior is None:
            return None
        return self.true_prior / len(self.classes)


@dataclass(frozen=True)
class Bundle:
    """A model read from its folder.

    Attributes:
        card: its description.
        weights: tensors by name.
        calibration: identity before `evaluate` has run.
        operating_point: None before `evaluate` has run.
        second_stage: another network that scores the peaks too; only its card and weights count.
    """

    card: Card
    weights: Weights
    calibration: Calibration = field(default_factory=Calibration)
    operating_point: OperatingPoint | None = None
    second_stage: Bundle | None = None

    def network(self) -> nn.Module:
        """Build the network with its weights, in evaluation mode, on the CPU.

        Raises:
            FormatError: the weights, or the card's window and stride, do not fit the network
                that the card names.
        """
        card = self.card.network
        network = build_network(card.name, card.n_bands, card.n_classes, **card.options)
        try:
            network.load_state_dict(dict(self.weights))
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

    def normalizer(self) -> Normalizer:
        """Build the map from pixels as read to the input of the network."""
        return Normalizer(self.card.mean, self.card.std)

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
        return self.operating_point.thresholds()

    def min_logits(self, thresholds: Mapping[str, float]) -> list[float]:
        """Return the raw logit at which each class, in the card's order, reaches its threshold."""
        return [
            float(detection_logits(thresholds[name], self.calibration.of_class(index)))
            for index, name in enumerate(self.card.classes)
        ]


def content_key(weights: Weights) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over names, shapes, types and values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


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
    weights: Weights,
    *,
    calibration: Calibration | None = None,
    operating_point: OperatingPoint | None = None,
    second_stage: Bundle | None = None,
) -> Card:
    """Write a bundle's files into `folder`, each atomically; equal content gives equal bytes.

    Args:
        folder: of the model, created where missing.
        card: its description.
        weights: tensors by name.
        calibration: written where given.
        operating_point: written where given.
        second_stage: another network that scores the peaks too; an old one is removed.

    Returns:
        The card as written, named by the content of the weights.
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    card = card.model_copy(update={"name": _model_key(tensors, second_stage)})
    for old in (SECOND_STAGE, OLD_SECOND_STAGE):
        shutil.rmtree(folder / old, ignore_errors=True)
    if second_stage is not None:
        save_bundle(folder / SECOND_STAGE, second_stage.card, second_stage.weights)
    stream = io.BytesIO()  # torch.save into a path would write the temporary name into the file
    torch.save(tensors, stream)
    with atomic_file(folder / WEIGHTS) as temporary:
        temporary.write_bytes(stream.getvalue())
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
    card = _read_card(folder / CARD)
    weights = _read_weights(folder / WEIGHTS)
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
    return Bundle(card, weights, calibration, operating_point, second_stage)


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
        calibration = Calibration.from_json(_read_model_json(path))
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


def _read_model_json(path: Path) -> Any:
    return read_json(path, MISSING_ADVICE, BROKEN_ADVICE)


def _read_card(path: Path) -> Card:
    values = _read_model_json(path)
    if not isinstance(values, dict):
        raise FormatError(
            f"{path}: must hold the keys of a card, got a {type(values).__name__}. {BROKEN_ADVICE}"
        )
    number = values.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise FormatError(
            f"{path}: format {number} is newer than this program reads ({FORMAT}). "
            "Update windhover."
        )
    try:
        return Card.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the card"
        raise FormatError(
            f"{path}: `{key}`: {first['msg']}. Train again, or restore the file."
        ) from None


def _read_weights(path: Path) -> Weights:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. {MISSING_ADVICE}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  # damaged bytes can raise any error in torch's reader
        raise FormatError(f"{path}: not a file of weights, or cut short. {BROKEN_ADVICE}") from None
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        raise FormatError(f"{path}: must hold tensors by name. {BROKEN_ADVICE}")
    return weights


def _is_weight(item: tuple[Any, Any]) -> bool:
    """Return whether a name and a value are a tensor by name that is all there in memory."""
    name, value = item
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    # a tensor that repeats few bytes would fill the memory when it is copied
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Raise a ParameterError for a threshold that is not a probability, in 0..1."""
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise ParameterError(
                f"threshold of `{name}` must be in 0..1, got {value}. Give a probability."
            )
