"""The typed record of `metrics.json`: all metrics of an evaluation, written and read.

Values are rounded to six significant digits; None stands for what is undefined. Files of earlier
versions are read too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from windhover.json_record import JsonRecord
from windhover.metrics.ap_by_threshold import MEAN
from windhover.metrics.bootstrap import Estimate
from windhover.metrics.calibration import Reliability, detection_reliability
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import EVALUATED_SPLITS, EvaluationResult
from windhover.metrics.group_counts import counts_by_place, counts_by_size, size_band_name
from windhover.metrics.nan_safe import rounded_or_none
from windhover.metrics.window_metrics import WindowMetrics

logger = logging.getLogger(__name__)

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


class _Part(BaseModel):
    """Base of the parts of the record: frozen; keys of other versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class EstimateRecord(_Part):
    """A value and its 95 % interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_estimate(cls, estimate: Estimate) -> EstimateRecord:
        """Return the record of an estimate."""
        return cls(
            value=rounded_or_none(estimate.value),
            low=rounded_or_none(estimate.low),
            high=rounded_or_none(estimate.high),
        )


class PlaceRecord(_Part):
    """Counts and rates of one place."""

    objects: int
    reported: int
    found: int
    false_alarms: int
    precision: float | None
    recall: float | None
    false_alarms_per_km2: float | None


class SizeRecord(_Part):
    """Objects of one size band, and how many are found."""

    objects: int
    found: int
    recall: float | None


class SceneMetricsRecord(_Part):
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
    # objects that the calibrated scores predict, at any threshold
    expected: EstimateRecord = EstimateRecord()
    # what the intervals are resampled over: `places` or `scenes`
    bootstrap_unit: str
    by_place: dict[str, PlaceRecord] = Field(default_factory=dict)
    # by class and metric; None, and not written, where there is one class
    classes: dict[str, dict[str, EstimateRecord]] | None = None
    by_size: dict[str, SizeRecord] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_classes(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if values["classes"] is None:
            del values["classes"]
        return values


class ThresholdMetrics(_Part):
    """Metrics on the validation split at the chosen threshold."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    false_alarms_per_km2: float | None = None


class ThresholdRecord(_Part):
    """The chosen threshold of one class."""

    threshold: EstimateRecord
    met: bool = True
    on_val: ThresholdMetrics = ThresholdMetrics()


class ConfusionRecord(_Part):
    """Confusion of windows at a threshold."""

    tp: int
    fp: int
    fn: int
    tn: int


class WindowMetricsRecord(_Part):
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


class MetricsRecord(JsonRecord):
    """What `metrics.json` holds.

    Attributes:
        model: name of the finished model.
        scenes: by split; empty if nothing was measured on scenes.
        ap_by_threshold: AP on test at other match rules, by the names in `REPORTED_APS`.
        operating_point: the chosen threshold of each class.
        fitted_on: split of calibration and thresholds.
        windows: by split and class.
        calibration: temperatures and biases by name, and by split the expected calibration error
            and the Brier score before and after calibration.
        notes: what could not be done as asked.
    """

    model_config = ConfigDict(extra="ignore")
    stage: ClassVar[str] = "evaluate"

    model: str
    scenes: dict[str, SceneMetricsRecord] = Field(default_factory=dict)
    ap_by_threshold: dict[str, float | None] = Field(default_factory=dict)
    operating_point: dict[str, ThresholdRecord] = Field(default_factory=dict)
    fitted_on: str = "val"
    windows: dict[str, dict[str, WindowMetricsRecord]] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @classmethod
    def from_result(cls, result: EvaluationResult, ap_table: pd.DataFrame) -> MetricsRecord:
        """Return the record of an evaluation.

        Args:
            result: of the evaluation.
            ap_table: of test by match threshold, from `report_ap_table`.
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
            ap_by_threshold=_ap_values(ap_table) if result.has_scenes else {},
            operating_point={
                name: _threshold_record(chosen) for name, chosen in result.chosen_thresholds.items()
            },
            fitted_on=result.fitted_on,
            windows=windows,
            calibration=_calibration_values(result),
            notes=list(result.notes),
        )

    @model_validator(mode="before")
    @classmethod
    def _read_old_keys(cls, values: Any) -> Any:
        """Return the values with today's keys; those of earlier versions are logged."""
        old_keys: list[str] = []
        values = _with_new_keys(values, old_keys)
        if old_keys:
            keys = ", ".join(dict.fromkeys(old_keys))
            logger.warning("metrics.json: keys of an earlier version are read: %s.", keys)
        return values


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
            precision=rounded_or_none(row["precision"]),
            recall=rounded_or_none(row["recall"]),
            false_alarms_per_km2=rounded_or_none(row["false_alarms_per_km2"]),
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
        edges_m=result.params.size_edges_m(result.gsd_m),
    )
    records = {}
    for row in table.to_dict("records"):
        records[size_band_name(row["from_m"], row["to_m"])] = SizeRecord(
            objects=row["objects"],
            found=row["found"],
            recall=rounded_or_none(row["recall"]),
        )
    return records


def _ap_values(ap_table: pd.DataFrame) -> dict[str, float | None]:
    """Return the mean AP of each kind of match rule, and COCO's two usual ones."""
    by_rule = ap_table.set_index(["match_by", "threshold"])["ap"]
    return {name: rounded_or_none(by_rule[key]) for name, key in REPORTED_APS.items()}


def _threshold_record(chosen: ChosenThreshold) -> ThresholdRecord:
    threshold = Estimate(chosen.threshold, chosen.low, chosen.high)
    return ThresholdRecord(
        threshold=EstimateRecord.from_estimate(threshold),
        met=chosen.met,
        on_val=ThresholdMetrics(
            precision=rounded_or_none(chosen.precision),
            recall=rounded_or_none(chosen.recall),
            f1=rounded_or_none(chosen.f1),
            false_alarms_per_km2=rounded_or_none(chosen.false_alarms_per_km2),
        ),
    )


def _window_record(metrics: WindowMetrics) -> WindowMetricsRecord:
    tp, fp, fn, tn = metrics.confusion
    return WindowMetricsRecord(
        positives=metrics.positives,
        negatives=metrics.negatives,
        auc=rounded_or_none(metrics.auc),
        ap_sampled=rounded_or_none(metrics.ap_sampled),
        ap_true=rounded_or_none(metrics.ap_true),
        threshold=float(f"{metrics.threshold:.6g}"),
        precision=rounded_or_none(metrics.precision),
        precision_true=rounded_or_none(metrics.precision_true),
        recall=rounded_or_none(metrics.recall),
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
            split: rounded_or_none(table.ece) for split, table in tables.items()
        }
    for name, tables in (("before", before), ("after", after)):
        values[f"brier_{name}"] = {
            split: rounded_or_none(table.brier) for split, table in tables.items()
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


def _with_new_keys(values: Any, old_keys: list[str]) -> Any:
    """Return JSON values with today's keys; the old ones that occur are added to `old_keys`."""
    if isinstance(values, list):
        return [_with_new_keys(value, old_keys) for value in values]
    if not isinstance(values, Mapping):
        return values
    new_values = {}
    for key, value in values.items():
        if key in RENAMED_KEYS:
            old_keys.append(f"{key} is {RENAMED_KEYS[key]}")
        new_values[RENAMED_KEYS.get(key, key)] = _with_new_keys(value, old_keys)
    return new_values
