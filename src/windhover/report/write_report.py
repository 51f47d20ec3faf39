"""The files of the evaluation report: `metrics.json`, tables, plots, and the page.

The same result gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from windhover.files import atomic_file
from windhover.metrics.ap_by_threshold import report_ap_table
from windhover.metrics.curve_points import precision_band
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.evaluation_result import EvaluationResult, scenes_summary
from windhover.metrics.metrics_record import MetricsRecord
from windhover.report.csv_tables import (
    csv_tables,
    object_counts,
    reliability_by_split,
    size_table,
)
from windhover.report.page_tables import rule_name
from windhover.report.plot_breakdown import plot_recall_by_size, plot_reliability
from windhover.report.plot_curves import (
    plot_froc,
    plot_precision_recall,
    plot_threshold_choice,
    plot_window_curves,
)
from windhover.report.plot_errors import plot_error_examples, plot_explanations
from windhover.report.report_page import report_page

HELD_OUT = "held out"
OF_COVERAGE = ("covered_shares", "roc_scenes")  # pictures of a report on coverage, same folder


def write_report(result: EvaluationResult, folder: Path) -> None:
    """Write every file of the report.

    Args:
        result: of the evaluation.
        folder: for the files.
    """
    test = result.scenes["test"]
    ap_table = report_ap_table(
        test.matches,
        test.ground_truth,
        result.classes,
        gsd_m=result.gsd_m,
        point_match_radius_m=result.params.point_radius_m(result.gsd_m),
    )
    MetricsRecord.from_result(result, ap_table).save(folder / "metrics.json")
    for name, table in csv_tables(result, ap_table).items():
        _write_csv(table, folder / f"{name}.csv")
    _write_parquet(object_counts(test), folder / "ground_truth.parquet")
    if result.detections is not None:
        _write_parquet(result.detections, folder / "matches.parquet")
    write_curve_plots(result, folder)
    write_breakdown_plots(result, folder)
    write_images(result, folder)
    for name in OF_COVERAGE:
        (folder / f"{name}.png").unlink(missing_ok=True)
    with atomic_file(folder / "index.html") as temporary:
        temporary.write_text(report_page(result, folder, ap_table), encoding="utf-8")


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def write_curve_plots(result: EvaluationResult, folder: Path) -> None:
    """Write the plots of precision-recall, FROC, windows and the threshold."""
    measured = result.measured
    if result.held_out is None:
        curves = {"val": result.scenes["val"].pooled_curve, "test": measured.pooled_curve}
        subtitle = scenes_summary(measured)
    else:
        curves = {HELD_OUT: measured.pooled_curve}
        subtitle = scenes_summary(measured, HELD_OUT)
    all_classes = class_score_curve(measured.matches, measured.ground_truth, measured.sample)
    plot_precision_recall(
        folder / "pr_scenes.png",
        curves,
        band=precision_band(all_classes, measured.sample),
        estimates=measured.estimates,
        subtitle=subtitle,
    )
    plot_froc(folder / "froc_scenes.png", curves, estimates=measured.estimates, subtitle=subtitle)
    name = result.classes[0]
    windows = result.windows["test"][name]
    counts = f"test, {name}: {windows.positives} windows with, {windows.negatives} without"
    plot_window_curves(folder / "windows.png", windows, counts)
    chosen_on = result.held_out or result.scenes["val"]
    plot_threshold_choice(
        folder / "operating_point.png",
        chosen_on.class_curves[name],
        result.chosen_thresholds[name],
        subtitle=f"{name}, chosen on {result.fitted_on}",
        rule=rule_name(result),
    )


def write_breakdown_plots(result: EvaluationResult, folder: Path) -> None:
    """Write the plots of calibration and of recall by object size."""
    before = reliability_by_split(result, calibrated=False)
    after = reliability_by_split(result, calibrated=True)
    plot_reliability(folder / "reliability.png", before, after)
    bands = size_table(result, "test")
    subtitle = scenes_summary(result.scenes["test"])
    plot_recall_by_size(folder / "size_bands.png", bands, subtitle)


def write_images(result: EvaluationResult, folder: Path) -> None:
    """Write the contact sheet of patches, the error examples and the explanations."""
    sheet = result.patch_sheet or Image.new("RGB", (1, 1), "white")
    with atomic_file(folder / "patches.png") as temporary:
        sheet.save(temporary, format="PNG")
    plot_error_examples(folder / "errors.png", result.error_thumbnails)
    found = result.unlabeled_objects
    if found is not None and found.thumbnails:
        group = ("Objects that nobody labelled?", found.thumbnails)
        plot_error_examples(folder / "unlabeled_objects.png", (group,))
    plot_explanations(folder / "explained.png", result.explanations)
