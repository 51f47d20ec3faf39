"""The typed record of `metrics.json`: all metrics of an evaluation, written and read.

Values are rounded to six significant digits; None stands for what is undefined. Files of earlier
versions are read too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from windhover.errors import FormatError
from windhover.files import read_json, write_json
from windhover.metrics.ap_by_threshold import MEAN
from windhover.metrics.bootstrap import Estimate
from windhover.metrics.breakdown import counts_by_place, counts_by_size, size_band_name
from windhover.metrics.calibration import Reliability, detection_reliability
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import EVALUATED_SPLITS, EvaluationResult
from windhover.metrics.nan_handling import finite_or_none
from windhover.metrics.window_metrics import WindowMetrics

logger = logging.getLogger(__name__)

AGAIN = "Run evaluate again."
# keys of files written by earlier versions, at any depth
RENAMED_KEYS = {
    "ap_by_nearness": "ap_by_threshold",
    "centre_sizes_mean": "center_size_mean",
    "centre_metres_mean": "center_distance_mean",
    "intervals_drawn_over": "bootstrap_unit",
    "gap_before": "ece_before",
    "gap_after": "ece_after",
}
# metric -> kind of match rule, threshold
REPORTED_APS = {
    "center_size_mean": ("size", MEAN),
    "center_distance_mean": ("distance", MEAN),
    "box_iou_50": ("iou", "0.5"),
    "box_iou_75": ("iou", "0.75"),
    "box_iou_mean": ("iou", MEAN),
}


class _Record(BaseModel):
    """Base of the records here: frozen; keys of other versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class EstimateRecord(_Record):
    """A value and its 95 % interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_estimate(cls, estimate: Estimate) -> EstimateRecord:
        """Return the record of an estimate."""
        return cls(
            value=six_digits(estimate.value),
            low=six_digits(estimate.low),
            high=six_digits(estimate.high),
        )


class PlaceRecord(_Record):
    """Counts and rates of one place."""

    objects: int
    reported: int
    found: int
    false_alarms: int
    precision: float | None
    recall: float | None
    false_alarms_per_km2: float | None


class SizeRecord(_Record):
    """Objects of one size band, and how many are found."""

    objects: int
    found: int
    recall: float | None


class SceneMetricsRecord(_Record):
    """Metrics of the whole scenes of one split."""

    ap: EstimateRecord = EstimateRecord()
    recall_at_1_per_km2: EstimateRecord = EstimateRecord()
    recall_at_5_per_km2: EstimateRecord = EstimateRecord()
    precision: EstimateRecord = EstimateRecord()
    recall: EstimateRecord = EstimateRecord()
    f1: EstimateRecord = EstimateRecord()
    false_alarms_per_km2: EstimateRecord = EstimateRecord()
    count_error: EstimateRecord = EstimateRecord()
    count_bias: EstimateRecord = EstimateRecord()
    scenes: int
    places: int
    km2: float
    objects: int
    reported: int
    found: int
    false_alarms: int
    # objects that the calibrated scores predict, whatever the threshold
    expected: EstimateRecord = EstimateRecord()
    # what the intervals are resampled over: `places` or `scenes`
    bootstrap_unit: str
    by_place: dict[str, PlaceRecord] = Field(default_factory=dict)
    # by class and metric; None where there is one class
    classes: dict[str, dict[str, EstimateRecord]] | None = None
    by_size: dict[str, SizeRecord] = Field(default_factory=dict)


class ThresholdMetrics(_Record):
    """Metrics on the validation split at the chosen threshold."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    false_alarms_per_km2: float | None = None


class ThresholdRecord(_Record):
    """The chosen threshold of one class."""

    threshold: EstimateRecord
    met: bool = True
    on_val: ThresholdMetrics = ThresholdMetrics()


class ConfusionRecord(_Record):
    """Confusion of windows at a threshold."""

    tp: int
    fp: int
    fn: int
    tn: int


class WindowMetricsRecord(_Record):
    """Metrics of one class on the windows of one split."""

    positives: int
    negatives: int
    auc: float | None
    ap_sampled: float | None
    ap_true: float | None
    threshold: float
    precision: float | None
    precision_true: float | None
    recall: float | None
    confusion: ConfusionRecord


class MetricsRecord(_Record):
    """What `metrics.json` holds.

    Attributes:
        model: name of the finished model.
        scenes: by split; empty if nothing was measured on scenes.
        ap_by_threshold: AP on test at other match rules, by the names in `REPORTED_APS`.
        operating_point: the chosen threshold of each class.
        windows: by split and class.
        calibration: temperatures and biases by name, and by split the expected calibration error
            and the Brier score before and after calibration.
        notes: what could not be done as asked.
    """

    model: str
    scenes: dict[str, SceneMetricsRecord] = Field(default_factory=dict)
    ap_by_threshold: dict[str, float | None] = Field(default_factory=dict)
    operating_point: dict[str, ThresholdRecord] = Field(default_factory=dict)
    windows: dict[str, dict[str, WindowMetricsRecord]] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def from_result(cls, result: EvaluationResult, aps: pd.DataFrame) -> MetricsRecord:
        """Return the record of an evaluation.

        Args:
            result: of the evaluation.
            aps: of test by match threshold, from `reported_aps`.
        """
        scenes = {}
        windows = {}
        for split in EVALUATED_SPLITS:
            if result.has_scenes:
                scenes[split] = _scene_record(result, split)
            windows[split] = {
                name: _window_record(metrics) for name, metrics in result.windows[split].items()
            }
        return cls(
            model=result.model,
            scenes=scenes,
            ap_by_threshold=_ap_values(aps) if result.has_scenes else {},
            operating_point={
                name: _threshold_record(chosen) for name, chosen in result.chosen_thresholds.items()
            },
            windows=windows,
            calibration=_calibration_values(result),
            notes=list(result.notes),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file as plain values."""
        values = self.model_dump()
        for scenes in values["scenes"].values():
            if scenes["classes"] is None:
                del scenes["classes"]
        return values

    def save(self, path: Path) -> None:
        """Write the record as JSON, atomically."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> MetricsRecord:
        """Read the record from its file; keys of earlier versions are accepted and logged.

        Raises:
            MissingFileError: no such file.
            FormatError: not JSON, or a key is missing or of another type.
        """
        values = read_json(path, AGAIN, AGAIN)
        renamed: list[str] = []
        values = _with_new_keys(values, renamed)
        if renamed:
            keys = ", ".join(dict.fromkeys(renamed))
            logger.warning("%s: keys of an earlier version are read: %s.", path, keys)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "the file"
            raise FormatError(f"{path}: `{key}`: {first['msg']}. {AGAIN}") from None


def six_digits(value: float | None) -> float | None:
    """Return a value rounded to six significant digits; None stays None."""
    if value is None:
        return None
    return float(f"{value:.6g}")


def _six_digits_if_finite(value: Any) -> float | None:
    return six_digits(finite_or_none(value))


def _scene_record(result: EvaluationResult, split: str) -> SceneMetricsRecord:
    metrics = result.scenes[split]
    per_scene = metrics.per_scene
    estimates = {
        name: EstimateRecord.from_estimate(value) for name, value in metrics.estimates.items()
    }
    return SceneMetricsRecord(
        **estimates,
        scenes=len(per_scene),
        places=int(per_scene["place"].nunique()),
        km2=round(float(per_scene["km2"].sum()), 6),
        objects=int(per_scene["objects"].sum()),
        reported=int(per_scene["reported"].sum()),
        found=int(per_scene["found"].sum()),
        false_alarms=int(per_scene["false_alarms"].sum()),
        expected=_expected_count(per_scene),
        bootstrap_unit=metrics.sample.unit,
        by_place=_place_records(per_scene),
        classes=_class_records(metrics),
        by_size=_size_records(metrics, result),
    )


def _expected_count(per_scene: pd.DataFrame) -> EstimateRecord:
    """Return how many objects the scores predict over all scenes, taken as independent."""
    total = float(per_scene["expected"].sum())
    half_widths = per_scene["expected_high"] - per_scene["expected"]
    half_width = float(np.sqrt((half_widths**2).sum()))
    expected = Estimate(total, max(total - half_width, 0.0), total + half_width)
    return EstimateRecord.from_estimate(expected)


def _place_records(per_scene: pd.DataFrame) -> dict[str, PlaceRecord]:
    records = {}
    for row in counts_by_place(per_scene).to_dict("records"):
        records[row["place"]] = PlaceRecord(
            objects=row["objects"],
            reported=row["reported"],
            found=row["found"],
            false_alarms=row["false_alarms"],
            precision=_six_digits_if_finite(row["precision"]),
            recall=_six_digits_if_finite(row["recall"]),
            false_alarms_per_km2=_six_digits_if_finite(row["false_alarms_per_km2"]),
        )
    return records


def _class_records(metrics: DetectionMetrics) -> dict[str, dict[str, EstimateRecord]] | None:
    """Return the estimates of each class; None where there is one class."""
    if len(metrics.per_class) < 2:
        return None
    records = {}
    for name, estimates in metrics.per_class.items():
        records[name] = {
            key: EstimateRecord.from_estimate(value) for key, value in estimates.items()
        }
    return records


def _size_records(metrics: DetectionMetrics, result: EvaluationResult) -> dict[str, SizeRecord]:
    table = counts_by_size(
        metrics.matches,
        metrics.ground_truth,
        result.thresholds,
        edges_m=result.params.size_bands_m,
    )
    records = {}
    for row in table.to_dict("records"):
        records[size_band_name(row["from_m"], row["to_m"])] = SizeRecord(
            objects=row["objects"],
            found=row["found"],
            recall=_six_digits_if_finite(row["recall"]),
        )
    return records


def _ap_values(aps: pd.DataFrame) -> dict[str, float | None]:
    """Return the mean AP of each kind of match rule, and COCO's two usual ones."""
    by_rule = aps.set_index(["match_by", "threshold"])["ap"]
    return {name: _six_digits_if_finite(by_rule[key]) for name, key in REPORTED_APS.items()}


def _threshold_record(chosen: ChosenThreshold) -> ThresholdRecord:
    threshold = Estimate(chosen.threshold, chosen.low, chosen.high)
    return ThresholdRecord(
        threshold=EstimateRecord.from_estimate(threshold),
        met=chosen.met,
        on_val=ThresholdMetrics(
            precision=six_digits(chosen.precision),
            recall=six_digits(chosen.recall),
            f1=six_digits(chosen.f1),
            false_alarms_per_km2=six_digits(chosen.false_alarms_per_km2),
        ),
    )


def _window_record(metrics: WindowMetrics) -> WindowMetricsRecord:
    tp, fp, fn, tn = metrics.confusion
    return WindowMetricsRecord(
        positives=metrics.positives,
        negatives=metrics.negatives,
        auc=six_digits(metrics.auc),
        ap_sampled=six_digits(metrics.ap_sampled),
        ap_true=six_digits(metrics.ap_true),
        threshold=float(f"{metrics.threshold:.6g}"),
        precision=six_digits(metrics.precision),
        precision_true=six_digits(metrics.precision_true),
        recall=six_digits(metrics.recall),
        confusion=ConfusionRecord(tp=tp, fp=fp, fn=fn, tn=tn),
    )


def _calibration_values(result: EvaluationResult) -> dict[str, Any]:
    """Return temperatures and biases, and how true the scores are before and after."""
    before: dict[str, Reliability] = {}
    after: dict[str, Reliability] = {}
    for split in EVALUATED_SPLITS:
        matches = result.scenes[split].matches
        before[split] = detection_reliability(matches, calibrated=False)
        after[split] = detection_reliability(matches, calibrated=True)
    values = _by_class(result.calibration, result.classes)
    for name, tables in (("before", before), ("after", after)):
        values[f"ece_{name}"] = {
            split: _six_digits_if_finite(table.ece) for split, table in tables.items()
        }
    for name, tables in (("before", before), ("after", after)):
        values[f"brier_{name}"] = {
            split: _six_digits_if_finite(table.brier) for split, table in tables.items()
        }
    return values


def _by_class(
    calibration: Mapping[str, float | tuple[float, ...]], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the calibration with values of single classes by the name of the class."""
    values: dict[str, Any] = {}
    for key, value in calibration.items():
        values[key] = value
        if isinstance(value, tuple):
            values[key] = dict(zip(classes, value, strict=True))
    return values


def _with_new_keys(values: Any, renamed: list[str]) -> Any:
    """Return JSON values with today's keys; the old ones that occur are added to `renamed`."""
    if isinstance(values, list):
        return [_with_new_keys(value, renamed) for value in values]
    if not isinstance(values, Mapping):
        return values
    new_values = {}
    for key, value in values.items():
        if key in RENAMED_KEYS:
            renamed.append(f"{key} is {RENAMED_KEYS[key]}")
        new_values[RENAMED_KEYS.get(key, key)] = _with_new_keys(value, renamed)
    return new_values
