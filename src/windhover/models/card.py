"""The card of a model: what a search must know of it apart from its weights (`model.json`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from windhover.errors import FormatError, ParameterError
from windhover.files import read_json
from windhover.models.model_description import ModelDescription
from windhover.models.network_names import current_name
from windhover.models.pixel_ranges import PixelRanges
from windhover.models.weights_file import BROKEN_ADVICE, MISSING_ADVICE
from windhover.params.allowed_values import Task

FORMAT = 1
CARD = "model.json"
# what two models must share to score the same windows
WINDOW_FIELDS = ("window_px", "gsd_m", "bands", "dtype", "classes")


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
        task: what the classes are: `objects` with a place, or `coverage` of ground without boxes.
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
        ranges: of the training's pixels; None in some models of earlier versions.
        padding_value: of each band beyond a scene's border; None for the scene's mirror image, as
            in models of earlier versions.
        training: what else is known of the training.
        description: origin, licence, limits and figures; None before `evaluate` has run, and for
            models of earlier versions. No search depends on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    task: Task = "objects"
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
    ranges: PixelRanges | None = None
    padding_value: tuple[float, ...] | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    description: ModelDescription | None = None

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
        if self.padding_value is not None and len(self.padding_value) != len(self.bands):
            raise ValueError(
                f"{len(self.padding_value)} padding_value numbers for {len(self.bands)} bands"
            )
        if len(self.classes) != self.network.n_classes:
            raise ValueError(
                f"{len(self.classes)} classes for a network of {self.network.n_classes}"
            )
        if self.class_priors is not None and len(self.class_priors) != len(self.classes):
            raise ValueError(
                f"{len(self.class_priors)} class_priors for {len(self.classes)} classes"
            )

    def _check_ranges(self, ranges: PixelRanges) -> None:
        increasing = all(-math.inf < low < high < math.inf for low, high in ranges.bands)
        if len(ranges.bands) != len(self.bands) or not increasing:
            raise ValueError("ranges must hold, for each band, a lowest pixel and a higher one")
        if not all(0 < highest < math.inf for highest in ranges.maps):
            raise ValueError("the maps of ranges must be numbers above 0")

    @model_serializer(mode="wrap")
    def _leave_out_default_task(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the fields; cards of objects are what they were before there was another task."""
        values: dict[str, Any] = serialize(self)
        if self.task == "objects":
            values.pop("task", None)
        return values

    def require_objects(self) -> None:
        """Check that the model finds objects.

        Raises:
            ParameterError: it maps coverage.
        """
        if self.task != "objects":
            raise ParameterError(
                f"model {self.name} maps coverage of {', '.join(self.classes)} and finds no "
                "objects. Use `windhover detect`, which writes its maps."
            )

    def prior_of(self, index: int) -> float | None:
        """Return the fraction of a scene's windows that show a class, None where unknown.

        Where only the fraction of all classes together is known, each class gets an equal part.
        """
        if self.class_priors is not None:
            return self.class_priors[index]
        if self.true_prior is None:
            return None
        return self.true_prior / len(self.classes)


def read_model_json(path: Path) -> Any:
    """Read a JSON file of a model folder."""
    return read_json(path, MISSING_ADVICE, BROKEN_ADVICE)


def read_card(path: Path) -> Card:
    """Read the card of a model.

    Raises:
        MissingFileError: no such file.
        FormatError: it is damaged, or of a newer format.
    """
    values = read_model_json(path)
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
