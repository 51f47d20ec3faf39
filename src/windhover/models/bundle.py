"""The saved model: a folder of weights, card, calibration and operating point, written and read
whole.

The card says all that a search needs besides the weights (bands, radiometry, GSD, window, classes),
so detection anywhere reads this folder and nothing else. Refuses weights that are not the card's,
pickled code, and formats it does not know.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.files import atomic_file, read_json, write_json
from windhover.models.calibrated_scores import Calibration, detection_logits
from windhover.models.networks import build_network
from windhover.models.normalize import Normalizer
from windhover.models.operating_point import OperatingPoint
from windhover.models.operating_point import OperatingPoint
from windhover.models.quantization import QuantizationRanges

FORMAT = 1
WEIGHTS, CARD, CALIBRATION, OPERATING_POINT = (
    "weights.pt",
    "model.json",
    "calibration.json",
    "operating_point.json",
)
SECOND_STAGE = "second_stage"  # folder, inside a model's, of the network that looks at its peaks too
ALIKE = (
    "window_px",
    "gsd_m",
    "bands",
    "dtype",
    "classes",
)  # what two models must share to judge the same windows
ADVICE = f"A model folder holds {WEIGHTS} and {CARD}.", "Restore it, or train again."

Weights = Mapping[str, Tensor]


class NetworkCard(BaseModel):
    """Which network the weights belong to, as `build_network` takes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    n_bands: int = Field(ge=1)
    n_classes: int = Field(ge=1)
    options: dict[str, Any] = Field(default_factory=dict)


class Card(BaseModel):
    """What the model is and what it must be fed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = (
        ""  # content key of the weights, those of a second look included; filled by `save_bundle`
    )
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
    true_prior: float | None = Field(
        ge=0, le=1
    )  # None where no scene told it: the patches were ready-made
    class_priors: tuple[float, ...] | None = (
        None  # of each class by itself; None where that is not known
    )
    # whether any label told a size; if not, boxes are of the window's size and mean nothing
    sized: bool = True
    ranges: QuantizationRanges | None = (
        None  # of pixels and maps, for a search in 8-bit integers; None where it cannot be had
    )
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Card:
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
        if min(self.std) <= 0:
            raise ValueError("every std must be above 0")
        if self.ranges is not None:
            if len(self.ranges.bands) != len(self.bands) or not all(
                -math.inf < low < high < math.inf for low, high in self.ranges.bands
            ):
                raise ValueError("ranges must hold, for each band, a lowest pixel and a higher one")
            if not self.ranges.maps or not all(
                0 < highest < math.inf for highest in self.ranges.maps
            ):
                raise ValueError("ranges must hold a number above 0 for each map")
        return self

    def prior_of(self, index: int) -> float | None:
        """Return the true share of windows that show a class: an equal part where it is known of
        all together alone.
        """
        if self.class_priors is not None:
            return self.class_priors[index]
        return None if self.true_prior is None else self.true_prior / len(self.classes)


@dataclass(frozen=True)
class Bundle:
    """A model read from its folder; calibration and operating point are there once `evaluate` has
    run.
    """

    card: Card
    weights: Weights
    calibration: Calibration = field(default_factory=Calibration)
    operating_point: OperatingPoint | None = None
    second_stage: Bundle | None = (
        None  # another network that scores the peaks too; of its own only card and weights
    )

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
            first = " ".join(str(error).split())[:200]
            raise FormatError(
                f"the weights do not fit network `{card.name}` of the card: {first}. Take both from one training."
            ) from None
        said = self.card.window_px, self.card.stride_px
        true = int(network.window_px), int(network.stride_px)  # type: ignore[arg-type]
        if said != true:
            raise FormatError(
                f"the card says windows of {said[0]} px at stride {said[1]} px, but network `{card.name}` sees windows "
                f"of {true[0]} px at stride {true[1]} px. Take card and weights from one training."
            )
        return network.eval()

    def normalizer(self) -> Normalizer:
        """Build the map from pixels as read to what the network was trained on."""
        return Normalizer(self.card.mean, self.card.std)

    def thresholds(self) -> dict[str, float]:
        """Return the calibrated score each class must reach.

        Raises:
            MissingFileError: the model was never evaluated.
        """
        if self.operating_point is None:
            raise MissingFileError(
                f"model {self.card.name} has no {OPERATING_POINT}. Run evaluate, or give a threshold."
            )
        return self.operating_point.thresholds()

    def min_logits(self, thresholds: Mapping[str, float]) -> list[float]:
        """Return the raw logit at which each class, in the card's order, reaches its threshold."""
        return [
            float(detection_logits(thresholds[name], self.calibration))
            for name in self.card.classes
        ]


def content_key(weights: Weights) -> str:
    """Return 16 hexadecimal digits that name these weights: a SHA-256 over names, shapes, types and
    values.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(
            tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        )
    return digest.hexdigest()[:16]


def _name(weights: Weights, second_stage: Bundle | None) -> str:
    """Return the content key of a model: its weights', and what a second look has learnt is part of
    it.
    """
    key = content_key(weights)
    if second_stage is None:
        return key
    return hashlib.sha256(f"{key}+{content_key(second_stage.weights)}".encode()).hexdigest()[:16]


def save_bundle(
    folder: str | Path,
    card: Card,
    weights: Weights,
    calibration: Calibration | None = None,
    operating_point: OperatingPoint | None = None,
    second_stage: Bundle | None = None,
) -> Card:
    """Write a bundle's files into `folder`, each atomically; equal content gives equal bytes.

    Returns:
        The card as written, named by the content of the weights.
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    card = card.model_copy(update={"name": _name(tensors, second_stage)})
    if second_stage is None:
        shutil.rmtree(folder / SECOND_STAGE, ignore_errors=True)
    else:
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
            f"{folder}: no such model folder. Run `dvc repro evaluate`, or give the folder that holds {CARD}."
        )
    card = _read_card(folder / CARD)
    weights = _read_weights(folder / WEIGHTS)
    second_stage = None
    if (folder / SECOND_STAGE).is_dir():
        second_stage = load_alike(
            folder / SECOND_STAGE, card.model_dump(mode="json"), str(folder / SECOND_STAGE)
        )
    if card.name != _name(weights, second_stage):
        raise FormatError(
            f"{folder}: {WEIGHTS} (or {SECOND_STAGE}) is not what {CARD} names ({card.name}). Copy the folder whole."
        )
    calibration = folder / CALIBRATION
    point = folder / OPERATING_POINT
    return Bundle(
        card=card,
        weights=weights,
        calibration=Calibration.from_json(read_json(calibration, *ADVICE))
        if calibration.is_file()
        else Calibration(),
        operating_point=OperatingPoint.load(point, card.classes) if point.is_file() else None,
        second_stage=second_stage,
    )


def load_alike(folder: str | Path, wanted: Mapping[str, Any], key: str) -> Bundle:
    """Read the bundle of a network that is to judge the same windows as another one.

    Args:
        folder: of the bundle.
        wanted: what the two must share, as JSON has it, by the names in `ALIKE`; of a card, or
            the patches' summary.
        key: what named the folder, for the sentence of an error.

    Raises:
        ParameterError: it sees other windows, or finds other classes, or has a second look of
            its own.
    """
    bundle = load_bundle(folder)
    if bundle.second_stage is not None:
        raise ParameterError(
            f"`{key}`: {folder} is two networks already. Name the folder of one of them."
        )
    has = bundle.card.model_dump(mode="json")
    for name in ALIKE:
        if has[name] != wanted[name]:
            raise ParameterError(
                f"`{key}`: the model of {folder} has `{name}` {has[name]}, and {wanted[name]} is needed. "
                "Name a model with the same window, GSD, bands, number type and classes."
            )
    return bundle


def _read_card(path: Path) -> Card:
    values = read_json(path, *ADVICE)
    number = values.get("format") if isinstance(values, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise FormatError(
            f"{path}: format {number} is newer than this program reads ({FORMAT}). Update windhover."
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
        raise MissingFileError(f"{path}: no such file. A model folder holds {WEIGHTS} and {CARD}.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError):
        raise FormatError(
            f"{path}: not a file of weights, or cut short. Restore it, or train again."
        ) from None
    if not isinstance(weights, dict) or not all(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise FormatError(f"{path}: must hold tensors by name. Restore it, or train again.")
    return weights


def check_thresholds(thresholds: Mapping[str, float]) -> None:
    """Refuse thresholds that are no probabilities.

    Raises:
        ParameterError: one is outside 0..1.
    """
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise ParameterError(
                f"threshold of `{name}` must be in 0..1, got {value}. Give a probability."
            )
