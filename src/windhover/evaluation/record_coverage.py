"""What an evaluation of coverage leaves next to its report: terminal lines and the MLflow run."""

from __future__ import annotations

from pathlib import Path

from windhover.evaluation.run_description import evaluation_tags
from windhover.metrics.coverage_record import CoverageMetricsRecord, CoverageSplitRecord
from windhover.metrics.metrics_record import EstimateRecord
from windhover.models.bundle import load_bundle
from windhover.params.evaluate import EvaluateParams
from windhover.report.coverage_report import CoverageResult
from windhover.tracking.runs import resume_run

KEY_FIGURES = ("balanced_accuracy", "iou", "f1", "false_positive_rate")


def coverage_lines(record: CoverageMetricsRecord) -> list[str]:
    """Return the main figures for the terminal."""
    lines = []
    for kind, parts in (("scenes", record.scenes), ("patches", record.patches)):
        for split, part in parts.items():
            lines += [f"{kind} of {split}: {_overall(part)}", *_class_lines(part)]
    for name, chosen in record.thresholds.items():
        lines.append(f"threshold, {name}: {chosen.threshold:.3f} chosen on val by {record.rule}")
    return [*lines, *(f"note: {note}" for note in record.notes)]


def _overall(part: CoverageSplitRecord) -> str:
    """Return what a split holds, and the accuracy over all classes."""
    accuracy = _value(part.balanced_accuracy)
    return f"{part.scenes} of {part.places} places, balanced accuracy {accuracy}"


def _class_lines(part: CoverageSplitRecord) -> list[str]:
    """Return a line for each class."""
    lines = []
    for name, row in part.classes.items():
        if row.ap is None:
            continue
        accuracies = row.accuracies
        line = (
            f"  {name}: IoU {_value(accuracies['iou'])}, F1 {_value(accuracies['f1'])}, balanced "
            f"accuracy {_value(accuracies['balanced_accuracy'])}, false-positive rate "
            f"{_value(accuracies['false_positive_rate'])}"
        )
        if row.share is not None:
            line += f", share off by {_value(row.share.mean_abs_error)}"
        lines.append(line)
    return lines


def _value(estimate: EstimateRecord) -> str:
    return "not known" if estimate.value is None else f"{estimate.value:.3f}"


def record_coverage_run(
    result: CoverageResult, params: EvaluateParams, *, model: Path, reports: Path
) -> None:
    """Write figures, parameters, the report and the model into the MLflow run of the training.

    Args:
        result: of the evaluation.
        params: of the stage.
        model: folder of the finished model.
        reports: folder of the report.
    """
    record = result.record
    with resume_run(record.model) as tracker:
        tracker.log_metrics(run_metrics(record))
        tracker.set_description("\n".join(coverage_lines(record)))
        tracker.set_tags(evaluation_tags(params))
        for path in sorted(reports.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                tracker.log_file(path, "evaluation")
        card = load_bundle(model).card
        tracker.log_bundle(model, card.dtype, (card.window_px, card.window_px, len(card.bands)))


def run_metrics(record: CoverageMetricsRecord) -> dict[str, float]:
    """Return the figures of a run by name, such as `test/cloud/iou`."""
    metrics = {}
    for split, part in (record.scenes or record.patches).items():
        if part.balanced_accuracy.value is not None:
            metrics[f"{split}/balanced_accuracy"] = part.balanced_accuracy.value
        for name, row in part.classes.items():
            for key in KEY_FIGURES:
                value = row.accuracies[key].value
                if value is not None:
                    metrics[f"{split}/{name}/{key}"] = value
    return metrics
