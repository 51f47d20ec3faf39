"""The operating point of a model: its thresholds, the rule that chose them, and their context.

The typed record of `operating_point.json`, which `evaluate` writes and `detect` reads. Does not
choose a threshold (`windhover.metrics.threshold_rule` does) and does not interpret the search
settings (`windhover.inference` does).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from windhover.errors import FormatError
from windhover.files import read_json, write_json

logger = logging.getLogger(__name__)

AGAIN = "Run evaluate again."
MISSING = "A model that was evaluated holds it. " + AGAIN

# keys of files written by earlier versions: section, old key, new key
RENAMED_KEYS = (
    ("search", "peak_looks", "peak_tta"),
    ("search", "peak_looks_from", "rescore_min_logit"),
    ("chosen_on", "precision", "inference_precision"),
    ("chosen_on", "intervals_drawn_over", "bootstrap_unit"),
    ("curve", "found", "tp"),
    ("curve", "false_alarms", "fp"),
)
PEAK_TTA_OF_LOOKS = {0: "none", 1: "recenter", 8: "d4"}


class _Record(BaseModel):
    """Base of the records here: frozen, finite numbers, unknown keys of newer versions ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ChosenRule(_Record):
    """The rule that chose the thresholds, such as `max_fbeta` with beta 1."""

    name: str
    value: float


class ClassOperatingPoint(_Record):
    """Threshold of one class, and its figures on the validation split at that threshold."""

    threshold: float  # calibrated score, in [0, 1]
    interval: tuple[float, float] | None = None  # 95 % bootstrap interval of the threshold
    met: bool = True  # whether the rule could be met
    note: str = ""  # what else a reader must know; empty mostly
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    false_alarms_per_km2: float | None = None

    @field_validator("threshold")
    @classmethod
    def _is_probability(cls, value: float) -> float:
        if not 0 <= value <= 1:
            raise ValueError("must be in 0..1")
        return value


class CurvePoint(_Record):
    """One row of the curve that a class's threshold was read off; best score first."""

    model_config = ConfigDict(populate_by_name=True)

    class_name: str = Field(validation_alias="class", serialization_alias="class")
    threshold: float | None
    recall: float | None
    precision: float | None
    false_alarms_per_km2: float | None
    tp: int
    fp: int


class ChosenOn(_Record):
    """The data and the settings that the thresholds were chosen on."""

    split: str = "val"
    scenes: int | None = None
    objects: int | None = None
    km2: float | None = None
    bootstrap_unit: str | None = None  # what was resampled for the intervals, such as `places`
    match: str | None = None  # when a detection matches an object, in words
    inference_precision: str | None = None  # of the search: fp32, bf16, int8, ...


class CoveragePoint(_Record):
    """What a model of classes without boxes knows next to its thresholds."""

    # class -> covered share less the true one, of each scene of val
    share_errors: dict[str, list[float]] = Field(default_factory=dict)
    min_speck_px: int = 0  # smaller specks of a mask are left out of its polygons


class OperatingPoint(_Record):
    """What `operating_point.json` holds."""

    rule: ChosenRule | None = None  # None in records made by hand
    per_class: dict[str, ClassOperatingPoint]
    chosen_on: ChosenOn = ChosenOn()
    search: dict[str, Any] = Field(default_factory=dict)  # search settings by name
    curve: tuple[CurvePoint, ...] = ()
    coverage: CoveragePoint | None = None  # where the task is coverage

    def thresholds(self) -> dict[str, float]:
        """Return the calibrated score that a detection of each class must reach."""
        return {name: point.threshold for name, point in self.per_class.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file, as JSON types."""
        content = self.model_dump(mode="json", by_alias=True)
        if self.coverage is None:
            del content["coverage"]
        return content

    def save(self, path: str | Path) -> None:
        """Write the record to a JSON file, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path, classes: Collection[str] | None = None) -> OperatingPoint:
        """Read the record from its file; keys of earlier versions are accepted and logged once.

        Args:
            path: of the file.
            classes: names of the model's classes, which the file must hold, no more and no less.

        Raises:
            MissingFileError: no such file.
            FormatError: a damaged file; the sentence names the key and the rule.
        """
        path = Path(path)
        values = _with_new_keys(read_json(path, MISSING, AGAIN), path)
        try:
            point = cls.model_validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            raise FormatError(f"{path}: {_describe(error)} {AGAIN}") from None
        if classes is not None and set(point.per_class) != set(classes):
            raise FormatError(
                f"{path}: `per_class` must name the classes {', '.join(classes)}. {AGAIN}"
            )
        return point


def _describe(error: ValidationError) -> str:
    """Return the first fault of a file as a sentence: key, rule, value."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "missing":
        return f"`{key}` is missing."
    rule = first["msg"].removeprefix("Value error, ")
    value = json.dumps(first["input"])[:60]
    return f"`{key}`: {rule}, got {value}."


def _with_new_keys(values: Any, path: Path) -> Any:
    """Return the content of a file with today's keys, and log which old ones it has."""
    if not isinstance(values, Mapping):
        return values
    renamed = dict(values)
    notes = []
    for section, old, new in RENAMED_KEYS:
        if not _holds_key(renamed.get(section), old):
            continue
        notes.append(f"{section}.{old} is {new}")
        if section == "curve":
            renamed[section] = [_rename_key(row, old, new) for row in renamed[section]]
        else:
            renamed[section] = _rename_key(renamed[section], old, new)
    if notes:
        logger.warning("%s: keys of an earlier version are read: %s.", path, ", ".join(notes))
    return renamed


def _holds_key(section: Any, key: str) -> bool:
    """Return whether a section, or any row of a list of them, has a key."""
    if isinstance(section, list):
        return any(_holds_key(row, key) for row in section)
    return isinstance(section, Mapping) and key in section


def _rename_key(values: Any, old: str, new: str) -> Any:
    """Return a mapping with one key renamed in place; old numbers of `peak_looks` are named."""
    if not _holds_key(values, old):
        return values
    renamed = {new if key == old else key: value for key, value in values.items()}
    if old == "peak_looks" and isinstance(renamed[new], int):
        renamed[new] = PEAK_TTA_OF_LOOKS.get(renamed[new], renamed[new])
    return renamed
