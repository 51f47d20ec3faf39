"""The tables of the report as files: curves, breakdowns, and what `windhover compare` needs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from windhover.metrics.calibration import Reliability, detection_reliability
from windhover.metrics.curve_points import curve_table
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import EVALUATED_SPLITS, EvaluationResult
from windhover.metrics.group_counts import counts_by_size

PR_WINDOW_COLUMNS = ["class", "recall", "precision", "precision_true", "threshold"]
ROC_WINDOW_COLUMNS = ["class", "false_alarm_rate", "recall", "threshold"]


def csv_tables(result: EvaluationResult, ap_table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of the report by file name.

    Curves are of test; those of scenes are of all classes together.

    Args:
        result: of the evaluation.
        ap_table: of test by match threshold, from `report_ap_table`.
    """
    curve = curve_table(result.scenes["test"].pooled_curve)
    pr_windows = []
    roc_windows = []
    for name, metrics in result.windows["test"].items():
        pr_windows.append(metrics.pr.assign(**{"class": name}))
        roc_windows.append(metrics.roc.assign(**{"class": name}))
    per_scene = []
    size_bands = []
    for split in EVALUATED_SPLITS:
        per_scene.append(result.scenes[split].per_scene.assign(split=split))
        size_bands.append(size_table(result, split).assign(split=split))
    return {
        "pr_scenes": curve[["recall", "precision", "threshold"]],
        "froc_scenes": curve[["false_alarms_per_km2", "recall", "threshold"]],
        "pr_windows": pd.concat(pr_windows, ignore_index=True)[PR_WINDOW_COLUMNS],
        "roc_windows": pd.concat(roc_windows, ignore_index=True)[ROC_WINDOW_COLUMNS],
        "reliability": reliability_table(result),
        "per_scene": pd.concat(per_scene),
        "size_bands": pd.concat(size_bands),
        "ap_by_threshold": ap_table,
    }


def size_table(result: EvaluationResult, split: str) -> pd.DataFrame:
    """Return objects and detected ones by size band, from `counts_by_size`."""
    metrics = result.scenes[split]
    return counts_by_size(
        metrics.matches,
        metrics.ground_truth,
        result.thresholds,
        edges_m=result.params.size_edges_m(result.gsd_m),
    )


def reliability_by_split(result: EvaluationResult, *, calibrated: bool) -> dict[str, Reliability]:
    """Return the reliability of each split's detections, before or after calibration."""
    return {
        split: detection_reliability(metrics.matches, calibrated=calibrated)
        for split, metrics in result.scenes.items()
    }


def reliability_table(result: EvaluationResult) -> pd.DataFrame:
    """Return a row per bin of the score, before and after calibration, for each split."""
    parts = []
    for when, calibrated in (("before", False), ("after", True)):
        by_split = reliability_by_split(result, calibrated=calibrated)
        parts.append(_reliability_rows(by_split).assign(calibration=when))
    columns = ["calibration", "split", "confidence", "accuracy", "n_scores"]
    return pd.concat(parts)[columns]


def _reliability_rows(by_split: Mapping[str, Reliability]) -> pd.DataFrame:
    tables = []
    for split, reliability in by_split.items():
        table = pd.DataFrame(
            {
                "confidence": reliability.confidence,
                "accuracy": reliability.accuracy,
                "n_scores": reliability.n_scores,
            }
        )
        tables.append(table.assign(split=split))
    return pd.concat(tables, ignore_index=True)


def object_counts(test: DetectionMetrics) -> pd.DataFrame:
    """Return the objects of test by scene and class, which another model is compared on."""
    objects = test.ground_truth.objects
    counts = objects.groupby(["scene", "class"]).size().rename("objects").reset_index()
    ground_truth = test.ground_truth.scenes.merge(counts, on="scene", how="left")
    n_objects = ground_truth["objects"].fillna(0).astype(int)
    return ground_truth.assign(objects=n_objects)
