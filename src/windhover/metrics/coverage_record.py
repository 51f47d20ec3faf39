"""The typed record of the metrics of coverage: written and read.

Values are rounded to six significant digits; None stands for what is undefined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from windhover.json_record import JsonRecord
from windhover.metrics.coverage_curves import (
    ScoreHistogram,
    average_precision,
    coverage_curve,
    reliability_table,
    roc_auc,
)
from windhover.metrics.coverage_estimates import OVERALL, confusion_estimates
from windhover.metrics.coverage_metrics import BACKGROUND, share_error_table
from windhover.metrics.coverage_threshold import CoverageChoice
from windhover.metrics.metrics_record import EstimateRecord
from windhover.metrics.nan_safe import rounded_or_none


class _Part(BaseModel):
    """Base of the parts of the record: frozen; keys of other versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ShareErrorRecord(_Part):
    """How far the covered share of a scene is from the true one."""

    mean_abs_error: EstimateRecord = EstimateRecord()
    bias: EstimateRecord = EstimateRecord()
    worst: float | None = None
    worst_scene: str | None = None


class CoverageClassRecord(_Part):
    """Metrics of one class, or of the background, against all else.

    Attributes:
        accuracies: by name, at the threshold.
        ap: area under the precision-recall curve; None of the background, as what follows.
        auc: area under the ROC curve.
        ece: expected calibration error of the scores.
        brier: mean squared error of the scores.
        share: errors of the covered share of a scene.
    """

    accuracies: dict[str, EstimateRecord]
    ap: float | None = None
    auc: float | None = None
    ece: float | None = None
    brier: float | None = None
    share: ShareErrorRecord | None = None


class CoverageSplitRecord(_Part):
    """Metrics of one split, in pixels or in patches.

    Attributes:
        scenes: number of scenes.
        places: number of places.
        px: pixels, cells or patches that count.
        labels: background and classes, the rows and columns of `confusion`.
        confusion: rows truth, columns predicted.
        balanced_accuracy: mean producer's accuracy of all that occur.
        classes: by name, background too.
    """

    scenes: int
    places: int
    px: int
    labels: list[str]
    confusion: list[list[int]]
    balanced_accuracy: EstimateRecord
    classes: dict[str, CoverageClassRecord]


class CoverageThresholdRecord(_Part):
    """The threshold of a class, and what it gives on validation."""

    threshold: float
    met: bool = True
    note: str = ""
    on_val: dict[str, float | None] = Field(default_factory=dict)

    @classmethod
    def of(cls, choice: CoverageChoice) -> CoverageThresholdRecord:
        """Return the record of a choice."""
        on_val = {name: rounded_or_none(value) for name, value in choice.row.items()}
        return cls(
            threshold=float(f"{choice.threshold:.6g}"),
            met=choice.met,
            note=choice.note,
            on_val=on_val,
        )


class CoverageMetricsRecord(JsonRecord):
    """What the file of metrics of a coverage model holds.

    Attributes:
        model: name of the finished model.
        task: `coverage`.
        rule: how thresholds were chosen, such as `max_iou`.
        thresholds: by class.
        scenes: by split: whole scenes, pixel by pixel.
        patches: by split: patch by patch.
        notes: what could not be done as asked.
    """

    model_config = ConfigDict(extra="ignore")
    stage: ClassVar[str] = "evaluate"

    model: str
    task: Literal["coverage"] = "coverage"
    rule: str = ""
    thresholds: dict[str, CoverageThresholdRecord] = Field(default_factory=dict)
    scenes: dict[str, CoverageSplitRecord] = Field(default_factory=dict)
    patches: dict[str, CoverageSplitRecord] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)


def coverage_split_record(
    matrices: NDArray[Any],
    places: Sequence[str],
    histograms: Mapping[str, ScoreHistogram],
    *,
    shares: pd.DataFrame | None,
) -> CoverageSplitRecord:
    """Return the record of one split.

    Args:
        matrices: (S, K + 1, K + 1) one a scene, from `confusion_matrix`.
        places: (S,) of the scenes.
        histograms: by class, K of them in the order of the matrices.
        shares: as for `share_error_table`; None where none are measured, such as of patches.
    """
    matrix = np.asarray(matrices).sum(axis=0)
    estimates = confusion_estimates(matrices, places, list(histograms))
    share_records = {} if shares is None else _share_records(shares)
    classes = {}
    for name in (BACKGROUND, *histograms):
        accuracies = {
            key: EstimateRecord.from_estimate(value) for key, value in estimates[name].items()
        }
        values: dict[str, Any] = {}
        if name in histograms:
            values = _curve_values(histograms[name]) | {"share": share_records.get(name)}
        classes[name] = CoverageClassRecord(accuracies=accuracies, **values)
    return CoverageSplitRecord(
        scenes=len(places),
        places=len(set(places)),
        px=int(matrix.sum()),
        labels=[BACKGROUND, *histograms],
        confusion=matrix.astype(int).tolist(),
        balanced_accuracy=EstimateRecord.from_estimate(estimates[""][OVERALL]),
        classes=classes,
    )


def _curve_values(histogram: ScoreHistogram) -> dict[str, float | None]:
    """Return the metrics of a class that need no threshold."""
    curve = coverage_curve(histogram)
    reliability = reliability_table(histogram).attrs
    return {
        "ap": rounded_or_none(average_precision(curve)),
        "auc": rounded_or_none(roc_auc(curve)),
        "ece": rounded_or_none(reliability["ece"]),
        "brier": rounded_or_none(reliability["brier"]),
    }


def _share_records(shares: pd.DataFrame) -> dict[str, ShareErrorRecord]:
    """Return the errors of the shares of each class."""
    records = {}
    for row in share_error_table(shares).to_dict("records"):
        errors = {}
        for key in ("mean_abs_error", "bias"):
            errors[key] = EstimateRecord(
                value=rounded_or_none(row[key]),
                low=rounded_or_none(row[f"{key}_low"]),
                high=rounded_or_none(row[f"{key}_high"]),
            )
        records[str(row["class"])] = ShareErrorRecord(
            **errors, worst=rounded_or_none(row["worst"]), worst_scene=row["worst_scene"]
        )
    return records
