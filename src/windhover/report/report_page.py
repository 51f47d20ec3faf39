"""The evaluation report as one page, in the order in which a person decides whether to deploy.

Fills the template of `windhover.rendering`. Computes no metric and plots nothing: the pictures are
files already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from windhover.metrics.bootstrap import Estimate
from windhover.metrics.evaluation_result import EvaluationResult, match_rule_of, scenes_summary
from windhover.metrics.rate_unit import labeled_estimate, rate_unit
from windhover.rendering.html_page import EmbeddedImage, card_of, embed_file, render_page, table_of
from windhover.rendering.text import format_cell
from windhover.report import page_tables

CARDS = {
    "ap": "average precision",
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "false_alarms_per_km2": "false alarms per km²",
    "recall_at_1_per_km2": "recall at 1 false alarm per km²",
    "recall_at_5_per_km2": "recall at 5 false alarms per km²",
    "count_error": "count error per scene",
}
SCENE_CURVES = {
    "pr_scenes": (
        "Whole scenes, duplicates merged. The point is the operating point; its bars are 95 % "
        "intervals."
    ),
    "froc_scenes": "Recall against false positives per square kilometre.",
    "operating_point": "Metrics on validation against the threshold, which was chosen there.",
    "size_bands": "Objects of test by their longer side, detected and missed at the threshold.",
}
HELD_OUT_CURVES = SCENE_CURVES | {
    "operating_point": "Metrics on the same scenes against the threshold, which was chosen there."
}
WIDE_CURVES = {
    "reliability": (
        "Reliability diagrams. Of detections that score 0.8, 80 % should be true. ECE: expected "
        "calibration error."
    ),
    "windows": "The classifier on windows, at the sampled prior and at the true prior of objects.",
}
PATCHES = "Patches of each split as cut; in green those with an object, in red the background."
EXPLANATIONS = "What the network responds to in the worst of these errors, one window a row."
ERROR_EXAMPLES = (
    "A false positive of a high score is often a missing label: check these first. Orange: "
    "detections, the one in question unbroken. Green: labelled objects."
)
UNLABELED = (
    "Orange, unbroken: detections on training ground without a label. Green: labelled objects. The "
    "layer unlabeled_objects.gpkg has their places."
)
NO_SCENES = (
    "No labelled scene was searched, so there are no metrics of whole scenes: no recall, precision "
    "or false alarms per km2 of objects on a map. The metrics below are of patches."
)


def report_page(result: EvaluationResult, folder: Path, ap_table: pd.DataFrame) -> str:
    """Return the report as HTML.

    Args:
        result: of the evaluation.
        folder: of the plots, which are put into the page.
        ap_table: of test by match threshold, from `report_ap_table`.
    """
    values = _common_values(result, folder)
    if not result.has_scenes:
        notes = result.notes if result.fitted_on != "val" else (NO_SCENES, *result.notes)
        held_out = None
        if result.held_out is not None:
            held_out = _held_out_values(result, folder)
        return render_page("patch_report.html.j2", **values, notes=notes, held_out=held_out)
    values |= _scene_values(result, folder)
    tables = [table_of(table) for table in page_tables.ap_tables(ap_table)]
    return render_page("scene_report.html.j2", **values, notes=result.notes, ap_tables=tables)


def _common_values(result: EvaluationResult, folder: Path) -> dict[str, Any]:
    """Return what both kinds of report show."""
    thresholds = page_tables.threshold_table(result)
    settings = page_tables.settings_table(result)
    windows = page_tables.window_table(result.windows)
    training = [
        embed_file(path, caption, "wide")
        for path, caption in result.training_images
        if path.is_file()
    ]
    return {
        "title": "Windhover: how good is this model?",
        "subtitle": f"Model {result.model}; detects {', '.join(result.classes)}.",
        "threshold_table": table_of(thresholds, ("class", "rule", "split")),
        "window_table": table_of(windows, ("split", "class")),
        "has_windows": result.has_windows,
        "window_curves": embed_file(folder / "windows.png", WIDE_CURVES["windows"], "wide"),
        "patches": embed_file(folder / "patches.png", PATCHES, "wide"),
        "training": training,
        "unlabeled": _unlabeled_values(result, folder),
        "settings_table": table_of(settings, ("group", "name", "value")),
    }


def _held_out_values(result: EvaluationResult, folder: Path) -> dict[str, Any]:
    """Return how the models of a cross-validation did where each had not learned."""
    curves = ("pr_scenes", "froc_scenes", "operating_point")
    return {
        "searched": f"{scenes_summary(result.measured, 'Held out')}; all models together.",
        "curves": [embed_file(folder / f"{name}.png", HELD_OUT_CURVES[name]) for name in curves],
    }


def _unlabeled_values(result: EvaluationResult, folder: Path) -> dict[str, Any] | None:
    """Return objects that perhaps lack a label; None where no training ground was searched."""
    found = result.unlabeled_objects
    if found is None:
        return None
    image = None
    if found.thumbnails:
        image = embed_file(folder / "unlabeled_objects.png", UNLABELED, "wide")
    return {
        "sentence": found.sentence,
        "effect": table_of(found.effect, ("ground",)),
        "image": image,
    }


def _scene_values(result: EvaluationResult, folder: Path) -> dict[str, Any]:
    """Return what a report of whole scenes shows alone."""
    test = result.scenes["test"]
    undefined = Estimate(None, None, None)
    searched = f"{scenes_summary(test)}; match rule: {match_rule_of(result.params, result.gsd_m)}."
    sizes = page_tables.recall_by_size_table(result)
    return {
        "cards": [
            card_of(*labeled_estimate(key, name, test.estimates.get(key, undefined)))
            for key, name in CARDS.items()
        ],
        "paragraphs": [*performance_summary(result), searched],
        "curves": _curve_images(folder),
        "errors": _error_images(result, folder),
        "size_table": table_of(sizes, ("longer side",)),
        "place_table": table_of(page_tables.place_table(test), ("place",)),
        "scene_table": table_of(
            page_tables.scene_table(test), ("scene", "place", "expected objects")
        ),
        "split_table": table_of(page_tables.split_table(result), ("split",)),
    }


def _curve_images(folder: Path) -> list[EmbeddedImage]:
    images = [embed_file(folder / f"{name}.png", text) for name, text in SCENE_CURVES.items()]
    for name, text in WIDE_CURVES.items():
        images.append(embed_file(folder / f"{name}.png", text, "wide"))
    return images


def _error_images(result: EvaluationResult, folder: Path) -> list[EmbeddedImage]:
    images = [embed_file(folder / "errors.png", ERROR_EXAMPLES, "wide")]
    if result.explanations:
        images.append(embed_file(folder / "explained.png", EXPLANATIONS, "wide"))
    return images


def performance_summary(result: EvaluationResult) -> list[str]:
    """Return for each class what to expect of a map at its threshold, according to test."""
    sentences = []
    for name, chosen in result.chosen_thresholds.items():
        estimates = result.scenes["test"].per_class[name]
        recall = estimates["recall"].value
        precision = estimates["precision"].value
        if recall is None or precision is None:
            continue
        sentence = (
            f"At the threshold {chosen.threshold:.3f}, chosen on val: of 100 objects of the class "
            f"{name} about {100 * recall:.0f} are detected; of 100 detections about "
            f"{100 * precision:.0f} are true"
        )
        rate = estimates["false_alarms_per_km2"].value
        if rate is not None:
            unit = rate_unit(rate)
            sentence += (
                f", and {unit.in_words} has {format_cell(rate / unit.per_km2)} false positives"
            )
        sentences.append(f"{sentence}.")
    return sentences
