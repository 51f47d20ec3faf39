"""The tables of the report's page, with titles for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import EvaluationResult
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import counts_by_place, size_band_name
from windhover.metrics.window_metrics import WindowMetrics
from windhover.params import flatten
from windhover.rendering.text import format_interval, format_parameter
from windhover.report.csv_tables import size_table

TITLES = {
    "km2": "km²",
    "found": "true positives",
    "reported": "detections",
    "false_alarms": "false positives",
    "false_alarms_per_km2": "false alarms/km²",
    "expected": "expected objects",
}
THRESHOLD_METRICS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "false_alarms_per_km2": "false alarms/km²",
}
SCENE_COLUMNS = [
    "scene",
    "place",
    "km2",
    "objects",
    "reported",
    "found",
    "missed",
    "false_alarms",
    "precision",
    "recall",
    "expected",
]
MATCH_TITLES = {
    "size": "center distance / longer side",
    "distance": "center distance, m",
    "iou": "box IoU",
}


def threshold_table(result: EvaluationResult) -> pd.DataFrame:
    """Return each class's threshold with its metrics where it was chosen, and on test."""
    rows = []
    for name, chosen in result.chosen_thresholds.items():
        rule = rule_name(result)
        if not chosen.met:
            rule += " (not met)"
        threshold = {
            "class": name,
            "rule": rule,
            "threshold": chosen.threshold,
            "95 % interval": format_interval((chosen.threshold, chosen.low, chosen.high)),
        }
        on_test = result.scenes["test"].per_class[name]
        val_values = {title: getattr(chosen, key) for key, title in THRESHOLD_METRICS.items()}
        test_values = {title: on_test[key].value for key, title in THRESHOLD_METRICS.items()}
        rows.append({**threshold, "split": result.fitted_on, **val_values})
        rows.append({**threshold, "split": "test", **test_values})
    return pd.DataFrame(rows)


def rule_name(result: EvaluationResult) -> str:
    """Return the threshold rule of the parameters with its value."""
    return f"{result.params.threshold_rule} {result.params.threshold_rule_value:g}"


def scene_table(metrics: DetectionMetrics) -> pd.DataFrame:
    """Return the scenes, those with most errors first."""
    table = metrics.per_scene.assign(
        missed=metrics.per_scene["objects"] - metrics.per_scene["found"]
    )
    table["errors"] = table["missed"] + table["false_alarms"]
    table = table.sort_values(["errors", "scene"], ascending=[False, True], kind="stable")
    intervals = table[["expected", "expected_low", "expected_high"]].itertuples(index=False)
    table["expected"] = [f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in intervals]
    return table[SCENE_COLUMNS].rename(columns=TITLES)


def place_table(metrics: DetectionMetrics) -> pd.DataFrame:
    """Return the sums of the scenes of each place."""
    return counts_by_place(metrics.per_scene).rename(columns=TITLES)


def window_table(windows: Mapping[str, Mapping[str, WindowMetrics]]) -> pd.DataFrame:
    """Return the metrics on windows by split and class."""
    rows = []
    for split, classes in windows.items():
        for name, metrics in classes.items():
            tp, fp, fn, tn = metrics.confusion
            rows.append(
                {
                    "split": split,
                    "class": name,
                    "threshold": metrics.threshold,
                    "TP": tp,
                    "FP": fp,
                    "FN": fn,
                    "TN": tn,
                    "precision": metrics.precision,
                    "precision, true prior": metrics.precision_true,
                    "recall": metrics.recall,
                    "AUC": metrics.auc,
                    "AP, sampled prior": metrics.ap_sampled,
                    "AP, true prior": metrics.ap_true,
                }
            )
    return pd.DataFrame(rows)


def split_table(result: EvaluationResult) -> pd.DataFrame:
    """Return how many labelled scenes and objects each split has."""
    truths: dict[str, GroundTruth | None] = {"train": result.train_ground_truth}
    truths |= {split: metrics.ground_truth for split, metrics in result.scenes.items()}
    rows = [_split_row(split, truth) for split, truth in truths.items() if truth is not None]
    return pd.DataFrame(rows)


def _split_row(split: str, truth: GroundTruth) -> dict[str, Any]:
    km2 = float(truth.scenes["km2"].sum())
    n_scenes = len(truth.scenes)
    n_objects = len(truth.objects)
    return {
        "split": split,
        "scenes": n_scenes,
        "places": int(truth.scenes["place"].nunique()),
        "scenes without objects": n_scenes - int(truth.objects["scene"].nunique()),
        "km²": km2,
        "objects": n_objects,
        "objects per km²": n_objects / km2 if km2 else None,
    }


def recall_by_size_table(result: EvaluationResult) -> pd.DataFrame:
    """Return the objects of each size band and their recall, on test and on val."""
    columns: dict[str, pd.Series[Any]] = {}
    for split in ("test", "val"):
        table = size_table(result, split)
        edges = zip(table["from_m"], table["to_m"], strict=True)
        names = [size_band_name(low_m, high_m, result.gsd_m) for low_m, high_m in edges]
        table.index = pd.Index(names)
        for key, title in (
            ("objects", "objects"),
            ("found", "true positives"),
            ("recall", "recall"),
        ):
            columns[f"{title}, {split}"] = table[key]
    rows = pd.DataFrame(columns)  # a band may be in one split alone
    counts = [name for name in rows if not str(name).startswith("recall")]
    rows = rows.astype(dict.fromkeys(counts, "Int64"))
    return rows.rename_axis("longer side").reset_index()


def ap_tables(ap_table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return one table of APs for each kind of match rule.

    Args:
        ap_table: from `windhover.metrics.ap_by_threshold.report_ap_table`.
    """
    tables = []
    for by, rows in ap_table.groupby("match_by", sort=False):
        titles = {"threshold": MATCH_TITLES[str(by)], "ap": "AP"}
        tables.append(rows[list(titles)].rename(columns=titles))
    return tables


def settings_table(result: EvaluationResult) -> pd.DataFrame:
    """Return the model's card, its calibration and the stage's parameters as text."""
    card = {key: value for key, value in result.card.items() if key not in ("training", "format")}
    groups = {
        "model": flatten(card),
        "training": flatten(result.card.get("training", {})),
        "calibration": {key: _format_floats(value) for key, value in result.calibration.items()},
        "evaluate": flatten(result.params.model_dump(mode="json")),
    }
    rows = []
    for group, values in groups.items():
        for key, value in values.items():
            rows.append((group, str(key), format_parameter(value)))
    return pd.DataFrame(rows, columns=["group", "name", "value"])


def _format_floats(value: float | tuple[float, ...]) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{number:.5g}" for number in values)
