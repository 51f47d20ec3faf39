"""The `windhover assess` flow: detections of one vector file measured against those of another.

For detections of any tool, ground truth of any source, any coordinate system. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from windhover.evaluation.detections_and_truth import (
    ANY_CLASS,
    group_by_grid_cell,
    load_vector_pair,
)
from windhover.evaluation.vector_match_rule import check_match_options, match_rule_of_files
from windhover.files import (
    atomic_file,
    check_output,
    is_csv_with_columns,
    is_json_with_keys,
    lock_output,
    write_json,
)
from windhover.metrics.ap_by_threshold import MEAN, ap_by_threshold, swept_rules
from windhover.metrics.bootstrap import MIN_PLACES, TOO_FEW_PLACES, Estimate, resample
from windhover.metrics.curve_points import curve_table
from windhover.metrics.detection_metrics import DetectionMetrics, measure_detections
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.nan_safe import finite_or_none
from windhover.metrics.rate_unit import labeled_estimate
from windhover.rendering.text import format_estimate, label_line

MAX_CURVE_ROWS = 2000
LABEL_WIDTH = 34
LABELS = {
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "recall_at_1_per_km2": "recall at 1 false alarm per km2",
    "recall_at_5_per_km2": "recall at 5 false alarms per km2",
    "false_alarms_per_km2": "false alarms per km2",
    "count_error": "count error per scene, mean size",
    "count_bias": "count error per scene, mean",
}
# CSV files next to the JSON, and columns that tell them from files of other programs
TABLE_COLUMNS = {"curve": ("threshold", "recall"), "scenes": ("scene", "reported")}
CLASS_METRICS = ("ap", "precision", "recall", "f1")


@dataclass(frozen=True)
class VectorRequest:
    """What to measure, and how.

    Attributes:
        detections: vector file.
        truth: vector file of the ground truth.
        aoi: vector file of the area that was searched and is wholly labelled.
        match_by: kind of match rule.
        match_value: of the rule; None takes the usual one, a distance by the objects' sizes.
        score_column: of the detections.
        threshold: score to reach; None takes every detection.
        ignored_classes: classes of the ground truth that are ignore regions.
        output: JSON to write, with CSV files in the same folder; None writes nothing.
        with_ap_by_threshold: whether AP is computed at many match thresholds too.
    """

    detections: Path
    truth: Path
    aoi: Path | None = None
    match_by: str = "size"
    match_value: float | None = None
    score_column: str = "score"
    threshold: float | None = None
    ignored_classes: tuple[str, ...] = ()
    output: Path | None = None
    with_ap_by_threshold: bool = False


@dataclass(frozen=True)
class VectorEvaluation:
    """The metrics of two vector files.

    Attributes:
        metrics: of all detections that reach the threshold.
        rule: by which detections were matched.
        bootstrap_unit: what the intervals are resampled over, in words.
        notes: what was assumed, in sentences.
        ap_table: from `ap_by_threshold`; None if not asked for.
    """

    metrics: DetectionMetrics
    rule: MatchRule
    bootstrap_unit: str
    notes: tuple[str, ...]
    ap_table: pd.DataFrame | None = None


def evaluate_and_write(request: VectorRequest) -> VectorEvaluation:
    """Measure the detections of a vector file, and write the files asked for.

    Raises:
        ParameterError: an option is out of range, or a file would overwrite what is to be kept.
        windhover.errors.WindhoverError: a file is missing, damaged, or does not fit the other.
    """
    if request.output is None:
        return evaluate_vectors(request)
    _check_outputs(request, request.output)
    with lock_output(request.output):
        evaluation = evaluate_vectors(request)
        write_vector_evaluation(evaluation, request.output)
    return evaluation


def _check_outputs(request: VectorRequest, output: Path) -> None:
    """Check that the three files can be written, and that none of them is read or foreign.

    Raises:
        ParameterError: one of them cannot, or would overwrite what is to be kept.
    """
    inputs = [path for path in (request.detections, request.truth, request.aoi) if path is not None]
    check_output(
        output, inputs=inputs, is_own=lambda path: is_json_with_keys(path, ("match", "metrics"))
    )
    for name, columns in TABLE_COLUMNS.items():
        check_output(
            _table_path(output, name),
            inputs=inputs,
            is_own=partial(is_csv_with_columns, columns=columns),
        )


def _table_path(output: Path, name: str) -> Path:
    """Return the path of a CSV file that is written with the JSON."""
    return output.with_name(f"{output.stem}_{name}.csv")


def evaluate_vectors(request: VectorRequest) -> VectorEvaluation:
    """Compute the metrics of the detections of a vector file.

    Raises:
        ParameterError: the kind of matching is unknown, or its value out of range.
        windhover.errors.WindhoverError: a file is missing, damaged, or does not fit the other.
    """
    by = check_match_options(request.match_by, request.match_value)
    pair = load_vector_pair(
        request.detections,
        request.truth,
        request.aoi,
        score_column=request.score_column,
        ignored_classes=request.ignored_classes,
    )
    rule, rule_notes = match_rule_of_files(by, request.match_value, pair)
    ground_truth = pair.ground_truth
    matches = match_detections(pair.detections, ground_truth, rule)
    classes = sorted({*pair.detections["class"], *ground_truth.objects["class"]}) or [ANY_CLASS]
    ap_table = None
    if request.with_ap_by_threshold:
        ap_table = ap_by_threshold(pair.detections, ground_truth, classes, swept_rules(rule))
    bootstrap_unit = "scenes"
    if not pair.has_scenes:
        matches, ground_truth = group_by_grid_cell(matches, ground_truth)
        bootstrap_unit = "grid cells"
    threshold = -np.inf if request.threshold is None else request.threshold
    metrics = measure_detections(
        matches,
        ground_truth,
        dict.fromkeys(classes, threshold),
        sample=resample(ground_truth.scenes, n_bootstrap=0, seed=0),
    )
    notes = (*pair.notes, *rule_notes)
    return VectorEvaluation(metrics, rule, bootstrap_unit, notes, ap_table=ap_table)


def vector_evaluation_lines(evaluation: VectorEvaluation) -> list[str]:
    """Return the metrics as lines for the terminal."""
    metrics = evaluation.metrics
    n_objects = len(metrics.ground_truth.objects)
    n_reported = int(metrics.per_scene["reported"].sum())
    counts = f"{n_objects} objects, {n_reported} detections that count"
    lines = [
        f"{counts}; a detection is an object when: {evaluation.rule}",
        _interval_line(metrics, evaluation.bootstrap_unit),
        "",
    ]
    for name, label in LABELS.items():
        if name in metrics.estimates:
            lines.append(_estimate_line(*labeled_estimate(name, label, metrics.estimates[name])))
    if len(metrics.per_class) > 1:
        for name, estimates in metrics.per_class.items():
            lines += ["", f"class {name}"]
            lines += [_estimate_line(LABELS[key], estimates[key]) for key in CLASS_METRICS]
    if evaluation.ap_table is not None:
        lines += ["", f"AP by match threshold ({evaluation.rule.by})"]
        for row in evaluation.ap_table.to_dict("records"):
            name = MEAN if np.isnan(row["value"]) else f"{row['value']:g}"
            lines.append(label_line(name, f"{row['ap']:.3f}", width=LABEL_WIDTH))
    if evaluation.notes:
        lines += ["", *(f"note: {note}" for note in evaluation.notes)]
    return lines


def _interval_line(metrics: DetectionMetrics, unit: str) -> str:
    """Return what the intervals are over, or why there are none."""
    n_units = len(metrics.per_scene)
    if metrics.sample.has_enough_places:
        return f"95 % intervals over {n_units} {unit}"
    return f"{n_units} {unit}: {TOO_FEW_PLACES} ({MIN_PLACES} at least)"


def _estimate_line(label: str, estimate: Estimate) -> str:
    return label_line(label, format_estimate(estimate), width=LABEL_WIDTH)


def write_vector_evaluation(evaluation: VectorEvaluation, output: Path) -> None:
    """Write the metrics as JSON; next to it the curve and the scenes as CSV."""
    metrics = evaluation.metrics
    write_json(output, vector_evaluation_document(evaluation))
    tables = {
        "curve": curve_table(metrics.pooled_curve, MAX_CURVE_ROWS),
        "scenes": metrics.per_scene,
    }
    for name, table in tables.items():
        with atomic_file(_table_path(output, name)) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def vector_evaluation_document(evaluation: VectorEvaluation) -> dict[str, Any]:
    """Return the metrics in JSON types, as they are written."""
    metrics = evaluation.metrics
    document: dict[str, Any] = {
        "match": str(evaluation.rule),
        "bootstrap_unit": evaluation.bootstrap_unit,
        "metrics": _estimate_values(metrics.estimates),
        "classes": {name: _estimate_values(part) for name, part in metrics.per_class.items()},
        "notes": list(evaluation.notes),
    }
    if evaluation.ap_table is not None:
        document["ap_by_threshold"] = []
        for row in evaluation.ap_table.to_dict("records"):
            values = {key: finite_or_none(row[key]) for key in ("value", "ap")}
            document["ap_by_threshold"].append(values)
    return document


def _estimate_values(estimates: dict[str, Estimate]) -> dict[str, Any]:
    return {name: estimate._asdict() for name, estimate in estimates.items()}
