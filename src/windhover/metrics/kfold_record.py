"""The typed record of `kfold.json`: the metrics of every fold of places, and their summary.

Computes nothing; `windhover.experiments.cross_validation` makes it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from windhover.errors import FormatError
from windhover.files import read_json, write_json
from windhover.json_record import describe_fault

KFOLD_FILE = "kfold.json"
HEADLINE_METRICS = ("ap", "f1", "precision", "recall", "false_alarms_per_km2")


class FoldMetrics(BaseModel):
    """Headline metrics of one fold on the scenes of test; None where undefined."""

    model_config = ConfigDict(frozen=True)

    fold: int
    model: str  # content key of its weights
    places: tuple[str, ...]  # that it was tested on
    ap: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    false_alarms_per_km2: float | None

    def defined_metrics(self) -> dict[str, float]:
        """Return the headline metrics that are defined, by name."""
        values = {name: getattr(self, name) for name in HEADLINE_METRICS}
        return {name: value for name, value in values.items() if _is_finite(value)}


class MetricSummary(BaseModel):
    """One metric over the folds where it is defined."""

    model_config = ConfigDict(frozen=True)

    mean: float
    sd: float  # with n - 1; 0 for a single fold
    min: float
    max: float
    folds: float  # how many define it


class CrossValidationResult(BaseModel):
    """Metrics of every fold, and their summary by name."""

    model_config = ConfigDict(frozen=True)

    folds: tuple[FoldMetrics, ...]
    summary: dict[str, MetricSummary]

    def save(self, path: str | Path) -> None:
        """Write the result as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> CrossValidationResult:
        """Read a result.

        Raises:
            MissingFileError: no such file.
            FormatError: it is not JSON, or a key is missing or has a wrong value.
        """
        advice = "Run windhover kfold again; finished folds are kept."
        content = read_json(Path(path), missing=advice, broken=advice)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise FormatError(f"{path}: {describe_fault(error)} {advice}") from None


def _is_finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
