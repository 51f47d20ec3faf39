"""The table that ends `make repro`: detections, metrics on test, seconds by stage, files.

Reads what the stages wrote and computes nothing. Files of stages that have not run are left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from windhover.errors import MissingFileError
from windhover.export.detection_summary import DetectionSummary
from windhover.files import read_json
from windhover.metrics.bootstrap import TOO_FEW_PLACES, Estimate
from windhover.metrics.coverage_record import CoverageMetricsRecord
from windhover.metrics.metrics_record import EstimateRecord, MetricsRecord
from windhover.metrics.rate_unit import labeled_estimate
from windhover.rendering.text import (
    LABEL_WIDTH,
    format_estimate,
    format_value,
    label_line,
)
from windhover.run_stage import SECONDS_LOG, last_seconds

METRICS_FILE = Path("reports/metrics.json")
DETECTIONS_FILE = Path("data/detections/summary.json")
COVERAGE_TABLE = Path("data/map/coverage.csv")
COVERAGE_LABELS = {"iou": "IoU", "f1": "F1", "false_positive_rate": "false positives"}
METRIC_LABELS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "ap": "AP",
    "false_alarms_per_km2": "false alarms per km2",
}
STAGES = ("simulate", "scenes", "patches", "augment", "train", "evaluate", "detect", "export")
# label, folder, patterns of the files in it that a person opens; what is not there is left out
FILES = (
    ("map in a browser", "data/map", ("*.html",)),
    ("map in QGIS", "data/map", ("*.gpkg", "*.fgb", "*.pmtiles", "*_mask.tif")),
    ("map for programs", "data/map", ("*.parquet", "*.geojson", "*.json", "stac*/collection.json")),
    ("map as tables", "data/map", ("*.csv",)),
    ("report", "reports", ("index.html",)),
    ("pictures of it", "reports", ("*.png",)),
    ("perhaps unlabelled", "reports", ("unlabeled_objects.gpkg",)),
    ("tables of it", "reports", ("*.json", "*.csv", "*.parquet")),
    ("scenes and labels", "data/scenes", ("report.html",)),
    ("training", "data/train", ("curves.png", "large_patches.png", "mined-*.png")),
    ("augmentation", "data/augmented", ("contact_sheet.png",)),
    ("model", "data", ("model",)),
    ("experiments", ".", ("mlflow.db",)),
)
WIDTH = 100
MAX_NAMES = 16  # files of a pattern that are listed by name; a map of many rasters has one each


def summary_lines(root: Path = Path()) -> list[str]:
    """Return the table, one line an item.

    Args:
        root: the project's root.

    Raises:
        MissingFileError: nothing has been evaluated.
        FormatError: what the stages wrote cannot be read.
    """
    path = root / METRICS_FILE
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Run `dvc repro` first.")
    ending = (seconds_lines(root / SECONDS_LOG), file_lines(root))
    parts: tuple[Sequence[str], ...]
    if is_json_of_coverage(path):
        parts = (coverage_lines(root, CoverageMetricsRecord.load(path)), *ending)
    else:
        metrics = MetricsRecord.load(path)
        parts = (
            detection_lines(root / DETECTIONS_FILE, metrics),
            metric_lines(metrics),
            *ending,
        )
    lines = []
    for part in parts:
        lines += ["", *part]
    return [*lines, ""]


def is_json_of_coverage(path: Path) -> bool:
    """Return whether a file of metrics is that of a model of coverage."""
    content = read_json(path, missing="Run evaluate.", broken="Run evaluate again.")
    return isinstance(content, dict) and content.get("task") == "coverage"


def coverage_lines(root: Path, metrics: CoverageMetricsRecord) -> list[str]:
    """Return how much of all scenes is covered, and the metrics on test with the thresholds.

    Args:
        root: the project's root.
        metrics: of the evaluation.
    """
    lines = []
    if (root / COVERAGE_TABLE).is_file():
        lines = ["covered ground", *map_lines(pd.read_csv(root / COVERAGE_TABLE))]
    test = metrics.scenes.get("test") or metrics.patches.get("test")
    if test is not None:
        what = "scenes" if "test" in metrics.scenes else "groups of patches"
        lines.append(f"on test ({test.scenes} {what} of {test.places} places)")
        lines.append(
            label_line("balanced accuracy", format_estimate(_estimate(test.balanced_accuracy)))
        )
        for name, of_class in test.classes.items():
            if of_class.ap is None:
                continue
            for key, word in COVERAGE_LABELS.items():
                value = format_estimate(_estimate(of_class.accuracies[key]))
                lines.append(label_line(f"{word}, {name}", value))
            if of_class.share is not None:
                error = format_estimate(_estimate(of_class.share.mean_abs_error))
                lines.append(label_line(f"error of share, {name}", error))
    for name, chosen in metrics.thresholds.items():
        text = f"{chosen.threshold:.3f} chosen on val by {metrics.rule}"
        lines.append(label_line(f"threshold, {name}", text))
    return [*lines, *note_lines(metrics.notes)]


def map_lines(table: pd.DataFrame) -> list[str]:
    """Return how much each class covers of all rasters of a table of coverage."""
    whole = table[table["area"].isna()]
    lines = []
    for name, rows in whole.groupby("class", sort=False):
        known = float(rows["km2_known"].sum())
        covered = float(rows["km2"].sum())
        text = f"{rows['share'].mean():.1%} of {len(rows)} rasters on average"
        if known:
            text = f"{covered:.4g} of {known:.4g} km2, {covered / known:.1%}"
        lines.append(label_line(str(name), text))
    return lines


def detection_lines(path: Path, metrics: MetricsRecord) -> list[str]:
    """Return how many objects were detected in all scenes, and how true that is on test.

    Args:
        path: summary of the detect stage; left out where there is none.
        metrics: of the evaluation.
    """
    test = metrics.scenes.get("test")
    on_test = "no labelled scene"
    if test is not None:
        on_test = (
            f"{test.reported} detections of {test.objects} objects: {test.found} true, "
            f"{test.false_alarms} false positives"
        )
    test_line = label_line("on test", on_test)
    if not path.is_file():
        return ["objects", test_line]
    summary = DetectionSummary.load(path)
    total = summary.total
    in_all = f"{total.objects} in {total.scenes} scenes, {total.km2:.3g} km2"
    notes = note_lines(summary.notes)
    return ["objects detected", label_line("in all", in_all), test_line, *notes]


def metric_lines(metrics: MetricsRecord) -> list[str]:
    """Return the metrics on test with their intervals, the thresholds and the notes."""
    lines = scene_metric_lines(metrics) if "test" in metrics.scenes else window_lines(metrics)
    for name, chosen in metrics.operating_point.items():
        threshold = format_estimate(_estimate(chosen.threshold))
        lines.append(label_line(f"threshold, {name}", f"{threshold} chosen on {metrics.fitted_on}"))
    return [*lines, *note_lines(metrics.notes)]


def note_lines(notes: Sequence[str]) -> list[str]:
    """Return notes as lines that fit into a terminal, the first line of each marked."""
    lines = []
    for note in notes:
        lines += textwrap.wrap(note, WIDTH, initial_indent="  note: ", subsequent_indent="        ")
    return lines


def scene_metric_lines(metrics: MetricsRecord) -> list[str]:
    """Return the metrics on the scenes of test."""
    test = metrics.scenes["test"]
    intervals = f"95 % intervals over {test.bootstrap_unit}"
    if test.ap.low is None:
        intervals = TOO_FEW_PLACES
    lines = [f"on test ({test.scenes} scenes of {test.places} places; {intervals})"]
    for key, label in METRIC_LABELS.items():
        label, estimate = labeled_estimate(key, label, _estimate(getattr(test, key)))
        lines.append(label_line(label, format_estimate(estimate)))
    return lines


def window_lines(metrics: MetricsRecord) -> list[str]:
    """Return the AP of each class on the patches of test."""
    lines = ["on the patches of test (no scene of it is labelled)"]
    for name, window_metrics in metrics.windows["test"].items():
        lines.append(label_line(f"AP, {name}", format_value(window_metrics.ap_sampled)))
    return lines


def _estimate(record: EstimateRecord) -> Estimate:
    return Estimate(record.value, record.low, record.high)


def seconds_lines(log: Path) -> list[str]:
    """Return how long the last run of each stage took."""
    seconds = last_seconds(log)
    known = [stage for stage in STAGES if stage in seconds]
    lines = ["seconds, last run of each stage"]
    lines += [label_line(stage, f"{seconds[stage]:8.1f}") for stage in known]
    total = sum(seconds[stage] for stage in known)
    return [*lines, label_line("together", f"{total:8.1f}")]


def file_lines(root: Path) -> list[str]:
    """Return the files that were written, by what they are; those of a folder share lines."""
    lines = ["files"]
    for label, folder, patterns in FILES:
        names = []
        for pattern in patterns:
            paths = sorted((root / folder).glob(pattern))
            if len(paths) > MAX_NAMES:
                names.append(f"{pattern} ({len(paths)} files)")
            else:
                names += [path.relative_to(root / folder).as_posix() for path in paths]
        if names:
            names[0] = (Path(folder) / names[0]).as_posix()
            lines += _labeled_once(label, textwrap.wrap(", ".join(names), WIDTH - LABEL_WIDTH - 2))
    return lines


def _labeled_once(label: str, texts: Sequence[str]) -> list[str]:
    """Return a line for each text, the first one with the label."""
    labels = [label, *[""] * len(texts)]
    return [label_line(*pair) for pair in zip(labels, texts, strict=False)]
