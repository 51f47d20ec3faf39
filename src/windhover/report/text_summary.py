"""The headline metrics of an evaluation as lines for the terminal."""

from __future__ import annotations

from windhover.metrics.bootstrap import Estimate
from windhover.metrics.evaluation_result import EvaluationResult, scenes_summary
from windhover.metrics.rate_unit import labeled_estimate
from windhover.rendering.text import format_estimate, format_value, label_line

METRIC_LABELS = {
    "ap": "AP",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_alarms_per_km2": "false alarms per km2",
}


def summary_lines(result: EvaluationResult) -> list[str]:
    """Return the metrics on test and the notes; those on patches where no scene is labelled."""
    lines = scene_lines(result) if result.has_scenes else window_lines(result)
    return [*lines, *(f"note: {note}" for note in result.notes)]


def scene_lines(result: EvaluationResult) -> list[str]:
    """Return the metrics on the scenes of test, with their intervals."""
    test = result.scenes["test"]
    lines = [scenes_summary(test)]
    for key, label in METRIC_LABELS.items():
        estimate = test.estimates.get(key, Estimate(None, None, None))
        label, estimate = labeled_estimate(key, label, estimate)
        lines.append(label_line(label, format_estimate(estimate)))
    return lines


def window_lines(result: EvaluationResult) -> list[str]:
    """Return the metrics on the patches of test."""
    if result.fitted_on != "val":
        return []
    lines = ["test: no labelled scene; metrics on patches"]
    for name, metrics in result.windows["test"].items():
        values = {
            "AP": metrics.ap_sampled,
            "AUC": metrics.auc,
            "precision": metrics.precision,
            "recall": metrics.recall,
        }
        text = ", ".join(f"{label} {format_value(value)}" for label, value in values.items())
        counts = f"{metrics.positives} patches with it, {metrics.negatives} without"
        lines.append(f"  {name}: {counts}; {text} at the threshold of best F1")
    return lines
