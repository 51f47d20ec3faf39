"""The records that an evaluation leaves: the model's operating point, and the MLflow run."""

from __future__ import annotations

from pathlib import Path

from windhover.evaluation.run_description import evaluation_tags, run_description, run_metrics
from windhover.evaluation.search_splits import search_settings_of
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.curve_points import curve_table
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import EvaluationResult, match_rule_of
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.metrics_record import MetricsRecord
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.score_curve import MatchCounts
from windhover.models.bundle import load_bundle
from windhover.models.operating_point import (
    ChosenOn,
    ChosenRule,
    ClassOperatingPoint,
    CurvePoint,
    OperatingPoint,
)
from windhover.params.evaluate import EvaluateParams
from windhover.tracking.runs import resume_run

MAX_CURVE_POINTS = 200


def operating_point_of(
    params: EvaluateParams,
    chosen: dict[str, ChosenThreshold],
    val: DetectionMetrics,
    *,
    gsd_m: float,
    inference_precision: str,
    split: str,
) -> OperatingPoint:
    """Return the operating point: rule, thresholds, their curves, and the search settings.

    Args:
        params: of the stage.
        chosen: threshold of each class.
        val: metrics of the split that they were chosen on.
        gsd_m: of the training.
        inference_precision: number type of the search's arithmetic.
        split: name of that split.
    """
    curve: list[CurvePoint] = []
    for name, counts in val.class_curves.items():
        curve += _curve_points(name, counts)
    return OperatingPoint(
        rule=ChosenRule(name=params.threshold_rule, value=params.threshold_rule_value),
        per_class={name: _class_operating_point(choice) for name, choice in chosen.items()},
        chosen_on=_chosen_on(val, match_rule_of(params, gsd_m), inference_precision, split=split),
        search=search_settings_of(params).to_json() | {"scales": list(params.scales)},
        curve=tuple(curve),
    )


def _chosen_on(
    val: DetectionMetrics, rule: MatchRule, inference_precision: str, *, split: str
) -> ChosenOn:
    """Return what the thresholds were chosen on."""
    ground_truth = val.ground_truth
    return ChosenOn(
        split=split,
        scenes=len(ground_truth.scenes),
        objects=len(ground_truth.objects),
        km2=float(ground_truth.scenes["km2"].sum()),
        bootstrap_unit=val.sample.unit,
        match=str(rule),
        inference_precision=inference_precision,
    )


def _class_operating_point(chosen: ChosenThreshold) -> ClassOperatingPoint:
    interval = None
    if chosen.low is not None and chosen.high is not None:
        interval = (chosen.low, chosen.high)
    return ClassOperatingPoint(
        threshold=chosen.threshold,
        interval=interval,
        met=chosen.met,
        note=chosen.note,
        precision=chosen.precision,
        recall=chosen.recall,
        f1=chosen.f1,
        false_alarms_per_km2=chosen.false_alarms_per_km2,
    )


def _curve_points(class_name: str, counts: MatchCounts) -> list[CurvePoint]:
    points = []
    for row in curve_table(counts, MAX_CURVE_POINTS).to_dict("records"):
        point = CurvePoint(
            class_name=class_name,
            threshold=finite_or_none(row["threshold"]),
            recall=finite_or_none(row["recall"]),
            precision=finite_or_none(row["precision"]),
            false_alarms_per_km2=finite_or_none(row["false_alarms_per_km2"]),
            tp=row["tp"],
            fp=row["fp"],
        )
        points.append(point)
    return points


def record_run(result: EvaluationResult, *, model: Path, reports: Path) -> None:
    """Write figures, a description, parameters, the report and the model into the MLflow run.

    The run is that of the weights that were trained here.

    Args:
        result: of the evaluation.
        model: folder of the finished model.
        reports: folder of the report.
    """
    metrics = MetricsRecord.load(reports / "metrics.json")
    with resume_run(str(result.card["name"])) as tracker:
        tracker.log_metrics(run_metrics(metrics))
        tracker.set_description(run_description(result, metrics))
        tracker.set_tags(evaluation_tags(result.params))
        for path in sorted(reports.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                tracker.log_file(path, "evaluation")
        card = load_bundle(model).card
        tracker.log_bundle(model, card.dtype, (card.window_px, card.window_px, len(card.bands)))
