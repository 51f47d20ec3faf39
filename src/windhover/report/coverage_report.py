"""The evaluation report of a model of coverage: metrics, tables, plots, pictures and a page.

Tables have the names that `dvc.yaml` knows for any task: those that only objects have are empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from windhover.dataset.catalog import SceneRow
from windhover.files import atomic_file
from windhover.geometry.lattice import Lattice
from windhover.metrics.coverage_curves import ScoreHistogram, coverage_curve, reliability_table
from windhover.metrics.coverage_metrics import SHARE_COLUMNS
from windhover.metrics.coverage_record import (
    CoverageMetricsRecord,
    CoverageSplitRecord,
    ShareErrorRecord,
)
from windhover.metrics.metrics_record import EstimateRecord
from windhover.patches.patch_sheets import patch_sheet
from windhover.patches.patch_store import load_patches
from windhover.rendering.html_page import Card as Headline
from windhover.rendering.html_page import Table, embed_file, render_page, table_of
from windhover.rendering.images import evenly_chosen
from windhover.report import coverage_plots
from windhover.report.coverage_pictures import ShownScene, draw_scenes

N_SHOWN = 4  # scenes in a picture
SPLITS = ("val", "test")
ACCURACIES = {
    "producers_accuracy": "producer's accuracy",
    "users_accuracy": "user's accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "iou": "IoU",
    "false_positive_rate": "false-positive rate",
}
CURVES = {
    "pr_scenes": "Precision and recall on whole scenes, px by px: test, and dashed val.",
    "roc_scenes": "ROC on whole scenes, px by px.",
    "operating_point": "IoU and false-positive rate on val; the lines are the chosen thresholds.",
    "covered_shares": "Covered share of each scene of test: the map's against the true one.",
}
WIDE = {
    "errors": "The scenes whose covered share is farthest off.",
    "explained": "Scenes evenly chosen.",
    "reliability": "Of px that score 0.8, 80 % should be of the class.",
    "windows": "The classifier on patches.",
}
OF_OBJECTS = ("froc_scenes", "size_bands")  # pictures of a report on objects in the same folder


class SplitCounts(Protocol):
    """What a report shows of one split."""

    @property
    def histograms(self) -> Mapping[str, ScoreHistogram]:
        """Scores of each class and of all else, by class."""

    @property
    def shares(self) -> pd.DataFrame | None:
        """A row for each scene and class; None of patches."""


class MappedPicture(Protocol):
    """A mapped scene, as the report draws it."""

    @property
    def row(self) -> SceneRow:
        """Its row of the catalog."""

    @property
    def values(self) -> NDArray[np.uint8]:
        """Its probability map, (K, r, c)."""

    @property
    def lattice(self) -> Lattice:
        """The lattice of the map."""


@dataclass(frozen=True)
class CoverageResult:
    """The result of an evaluation, from which the report is written.

    Attributes:
        record: all metrics.
        classes: of the model, in its order.
        bands: of the model.
        scenes: by split, px of whole scenes.
        patches: by split.
        shown: mapped scenes of test, else of val.
        thresholds: of the classes.
        training: folder of the train stage.
        patches_folder: folder of the patches stage.
    """

    record: CoverageMetricsRecord
    classes: Sequence[str]
    bands: Sequence[str]
    scenes: Mapping[str, SplitCounts]
    patches: Mapping[str, SplitCounts]
    shown: Sequence[MappedPicture]
    thresholds: Sequence[float]
    training: Path
    patches_folder: Path

    @property
    def threshold_of(self) -> dict[str, float]:
        """Class -> its threshold."""
        return dict(zip(self.classes, self.thresholds, strict=True))

    def measured(self, split: str) -> SplitCounts:
        """Return what was counted of a split: of its scenes, of its patches without any."""
        if split in self.record.scenes:
            return self.scenes[split]
        return self.patches[split]


def write_coverage_report(result: CoverageResult, folder: Path) -> None:
    """Write every file of the report.

    Args:
        result: of the evaluation.
        folder: for the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result.record.save(folder / "metrics.json")
    for name, table in _csv_tables(result).items():
        with atomic_file(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    for name in ("matches", "ground_truth"):  # objects alone have them
        with atomic_file(folder / f"{name}.parquet") as temporary:
            pd.DataFrame({"scene": [], "class": []}, dtype=str).to_parquet(temporary, index=False)
    _write_plots(result, folder)
    _write_pictures(result, folder)
    with atomic_file(folder / "index.html") as temporary:
        temporary.write_text(coverage_page(result, folder), encoding="utf-8")


def _csv_tables(result: CoverageResult) -> dict[str, pd.DataFrame]:
    """Return the tables by the names that `dvc.yaml` knows."""
    scenes = _curves(result.measured("test").histograms)
    patches = _curves(result.patches["test"].histograms)
    areas = [
        {"class": name, "ap": row.ap, "auc": row.auc}
        for name, row in _classes(result, "test").items()
    ]
    renamed = {"precision": "precision_true", "false_positive_rate": "false_alarm_rate"}
    shares = result.scenes["test"].shares
    return {
        "pr_scenes": scenes[["class", "threshold", "recall", "precision", "iou"]],
        "froc_scenes": pd.DataFrame(columns=["class", "false_alarms_per_km2", "recall"]),
        "pr_windows": patches.rename(columns=renamed)[
            ["class", "threshold", "recall", "precision_true"]
        ],
        "roc_windows": patches.rename(columns=renamed)[
            ["class", "threshold", "false_alarm_rate", "recall"]
        ],
        "reliability": _reliability(result),
        "ap_by_threshold": pd.DataFrame(areas, columns=["class", "ap", "auc"]),
        "per_scene": pd.DataFrame(columns=list(SHARE_COLUMNS)) if shares is None else shares,
        "size_bands": pd.DataFrame(columns=["class"]),
    }


def _curves(histograms: Mapping[str, ScoreHistogram]) -> pd.DataFrame:
    """Return the curves of all classes in one table."""
    parts = [coverage_curve(each).assign(**{"class": name}) for name, each in histograms.items()]
    return pd.concat(parts, ignore_index=True)


def _reliability(result: CoverageResult) -> pd.DataFrame:
    """Return how often px of a score are of the class, by split and class."""
    parts = []
    for split in SPLITS:
        for name, histogram in result.measured(split).histograms.items():
            table = reliability_table(histogram)
            table = table.rename(columns={"score_mean": "confidence", "true_share": "accuracy"})
            parts.append(table.assign(split=split, **{"class": name}))
    return pd.concat(parts, ignore_index=True)


def _classes(result: CoverageResult, split: str) -> dict[str, Any]:
    """Return the records of the classes of a split, of its patches without scenes."""
    record = result.record.scenes.get(split) or result.record.patches.get(split)
    if record is None:
        return {}
    return {name: row for name, row in record.classes.items() if row.ap is not None}


def _write_plots(result: CoverageResult, folder: Path) -> None:
    """Write the plots of curves, thresholds, reliability and shares."""
    for name in OF_OBJECTS:
        (folder / f"{name}.png").unlink(missing_ok=True)
    test = result.measured("test").histograms
    val = result.measured("val").histograms
    thresholds = result.threshold_of
    subtitle = _what_is_measured(result)
    for file, kind in (("pr_scenes", "pr"), ("roc_scenes", "roc")):
        coverage_plots.plot_curves(
            folder / f"{file}.png", test, val, kind=kind, thresholds=thresholds, subtitle=subtitle
        )
    of_patches = result.record.patches.get("test")
    coverage_plots.plot_patch_curves(
        folder / "windows.png",
        result.patches["test"].histograms,
        result.patches["val"].histograms,
        thresholds=thresholds,
        subtitle=f"test, {0 if of_patches is None else of_patches.px} patches",
    )
    coverage_plots.plot_thresholds(
        folder / "operating_point.png", val, thresholds, rule=result.record.rule
    )
    coverage_plots.plot_reliability(folder / "reliability.png", test, val)
    coverage_plots.plot_shares(folder / "covered_shares.png", result.scenes["test"].shares)


def _what_is_measured(result: CoverageResult) -> str:
    """Return what the metrics of the test split are of."""
    scenes = result.record.scenes.get("test")
    if scenes is not None:
        return f"test: {scenes.px / 1e6:.3g} Mpx of {scenes.scenes} scenes, px by px"
    patches = result.record.patches.get("test")
    return f"test: {0 if patches is None else patches.px} patches"


def _write_pictures(result: CoverageResult, folder: Path) -> None:
    """Write the sheet of patches, and scenes with their maps."""
    patches = []
    for split in ("train", *SPLITS):
        patch_set = load_patches(result.patches_folder, split)
        patches.append((split, patch_set.images, patch_set.index))
    sheet = patch_sheet(patches, band_names=result.bands)
    _save_png(sheet or Image.new("RGB", (1, 1), "white"), folder / "patches.png")
    worst = _worst_first(result)
    evenly = [result.shown[k] for k in evenly_chosen(len(result.shown), N_SHOWN)]
    for name, chosen in (("errors", worst[:N_SHOWN]), ("explained", evenly)):
        shown = [ShownScene(s.row, s.values, s.lattice, _caption(result, s)) for s in chosen]
        _save_png(draw_scenes(shown, result.thresholds, result.classes), folder / f"{name}.png")


def _save_png(image: Image.Image, path: Path) -> None:
    with atomic_file(path) as temporary:
        image.save(temporary, format="PNG")


def _shares_of(result: CoverageResult, scene: str) -> pd.DataFrame:
    """Return the rows of shares of one scene; none where it was not measured."""
    tables = [part.shares for part in result.scenes.values() if part.shares is not None]
    if not tables:
        return pd.DataFrame(columns=list(SHARE_COLUMNS))
    table = pd.concat(tables, ignore_index=True)
    return table[table["scene"] == scene]


def _worst_first(result: CoverageResult) -> list[MappedPicture]:
    """Return the shown scenes, those with the largest errors of a share first."""

    def error(scene: MappedPicture) -> float:
        rows = _shares_of(result, scene.row.scene)
        off = (rows["predicted_share"] - rows["true_share"]).abs()
        return float(off.max()) if off.notna().any() else 0.0

    return sorted(result.shown, key=lambda scene: (-error(scene), scene.row.scene))


def _caption(result: CoverageResult, scene: MappedPicture) -> str:
    """Return a scene's name and its shares."""
    parts = []
    for row in _shares_of(result, scene.row.scene).itertuples():
        name = row[SHARE_COLUMNS.index("class") + 1]
        parts.append(f"{name} {row.predicted_share:.1%} (true {row.true_share:.1%})")
    return f"{scene.row.scene}: {', '.join(parts)}" if parts else scene.row.scene


def coverage_page(result: CoverageResult, folder: Path) -> str:
    """Return the report as HTML; the pictures are files already.

    Args:
        result: of the evaluation.
        folder: of the pictures.
    """
    record = result.record
    tables = []
    for kind, parts in (("whole scenes, px by px", record.scenes), ("patches", record.patches)):
        tables += [
            (f"{split.capitalize()}: {kind}", _accuracy_table(parts[split]))
            for split in SPLITS
            if split in parts
        ]
    if "test" in record.scenes:
        tables.append(("Covered share of a scene (test)", _share_table(record.scenes["test"])))
        tables.append(("Confusion (test), rows truth", _confusion_table(record.scenes["test"])))
    return render_page(
        "coverage_report.html.j2",
        title="Evaluation of coverage",
        subtitle=f"model {record.model}; {_what_is_measured(result)}",
        notes=record.notes,
        cards=_headlines(result),
        threshold_table=_threshold_table(record),
        tables=tables,
        curves=[embed_file(folder / f"{name}.png", text) for name, text in CURVES.items()],
        wide=[embed_file(folder / f"{name}.png", text, "wide") for name, text in WIDE.items()],
        patches=embed_file(folder / "patches.png", "Patches of each split as cut.", "natural"),
    )


def _headlines(result: CoverageResult) -> list[Headline]:
    """Return the headline figures of test."""
    record = result.record.scenes.get("test") or result.record.patches.get("test")
    if record is None:
        return []
    cards = [Headline("balanced accuracy", *_shown(record.balanced_accuracy))]
    for name in result.classes:
        row = record.classes[name]
        cards.append(Headline(f"{name}: IoU", *_shown(row.accuracies["iou"])))
        rate = row.accuracies["false_positive_rate"]
        cards.append(Headline(f"{name}: false-positive rate", *_shown(rate)))
        if row.share is not None:
            error = row.share.mean_abs_error
            cards.append(Headline(f"{name}: error of the share", *_shown(error)))
    return cards


def _shown(estimate: EstimateRecord) -> tuple[str, str]:
    """Return a value and its interval as text."""
    value = "none" if estimate.value is None else f"{estimate.value:.3g}"
    if estimate.low is None or estimate.high is None:
        return value, "no interval"
    return value, f"95 %: {estimate.low:.3g} to {estimate.high:.3g}"


def _threshold_table(record: CoverageMetricsRecord) -> Table:
    """Return the table of thresholds, and what they give on val."""
    rows = []
    for name, chosen in record.thresholds.items():
        row: dict[str, Any] = {"class": name, "threshold": chosen.threshold, "rule": record.rule}
        for key in ("recall", "precision", "f1", "iou", "false_positive_rate"):
            row[f"{key.replace('_', ' ')} on val"] = chosen.on_val.get(key)
        rows.append(row)
    return table_of(pd.DataFrame(rows), text_columns={"class", "rule"})


def _accuracy_table(record: CoverageSplitRecord) -> Table:
    """Return the accuracies of background and of each class, with intervals."""
    rows = []
    for name, of_class in record.classes.items():
        row: dict[str, Any] = {"class": name}
        for key, title in ACCURACIES.items():
            value, interval = _shown(of_class.accuracies[key])
            row[title] = value if interval == "no interval" else f"{value} ({interval[6:]})"
        row |= {"AP": of_class.ap, "AUC": of_class.auc, "ECE": of_class.ece}
        rows.append(row)
    frame = pd.DataFrame(rows)
    return table_of(frame, text_columns={"class", *ACCURACIES.values()})


def _share_table(record: CoverageSplitRecord) -> Table:
    """Return the errors of the covered share by class."""
    rows = []
    for name, of_class in record.classes.items():
        share: ShareErrorRecord | None = of_class.share
        if share is None:
            continue
        rows.append(
            {
                "class": name,
                "mean error": " ".join(_shown(share.mean_abs_error)),
                "bias": " ".join(_shown(share.bias)),
                "worst": share.worst,
                "in scene": share.worst_scene or "",
            }
        )
    return table_of(pd.DataFrame(rows), text_columns={"class", "mean error", "bias", "in scene"})


def _confusion_table(record: CoverageSplitRecord) -> Table:
    """Return the confusion matrix as shares of each true class."""
    matrix = np.asarray(record.confusion, np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    frame = pd.DataFrame(shares, columns=record.labels)
    frame.insert(0, "truth", record.labels)
    return table_of(frame, text_columns={"truth"})
