"""What an evaluation found, written for people and tools: figures, curves as tables and pictures,
the worst errors.

Everything is a file in one folder, the same bytes for the same findings. Computes nothing but
layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit

from windhover.files import atomic_file, write_json
from windhover.metrics.ap_by_threshold import sweep
from windhover.metrics.calibration import Reliability, reliability
from windhover.metrics.detection_metrics import (
    Assessment,
    Figure,
    Point,
    place_table,
    precision_band,
    size_name,
    size_table,
    tally_class,
    thinned,
)
from windhover.metrics.match_detections import MatchBy
from windhover.metrics.window_metrics import WindowFigures
from windhover.report import plots
from windhover.report.evaluation_result import SPLITS, Findings, describe, thresholds_of
from windhover.report.report_page import html


def write_reports(findings: Findings, folder: Path) -> None:
    """Write every file of the report."""
    near = nearness(findings.scenes["test"], findings.classes)
    write_json(folder / "metrics.json", metrics(findings, near))
    for name, table in (tables(findings) | {"nearness": near}).items():
        with atomic_file(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    for name, table in kept_test(findings.scenes["test"]).items():
        with atomic_file(folder / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    draw_curves(findings, folder)
    with atomic_file(folder / "patches.png") as temporary:
        (findings.patches or Image.new("RGB", (1, 1), "white")).save(temporary, format="PNG")
    plots.gallery(folder / "errors.png", findings.errors)
    plots.explanations(folder / "explained.png", findings.explained)
    with atomic_file(folder / "index.html") as temporary:
        temporary.write_text(html(findings, folder, near), encoding="utf-8")


def nearness(made: Assessment, classes: Sequence[str]) -> pd.DataFrame:
    """Return AP by kind and strictness of nearness, a row a kind."""
    labels: dict[MatchBy, str] = {
        "size": "centre, in longer sides",
        "distance": "centre, m",
        "iou": "box IoU",
    }
    rows = []
    for by, label in labels.items():
        table = sweep(made.judged, made.ground, classes, by)
        values = ["mean" if np.isnan(value) else f"{value:g}" for value in table["value"]]
        rows.append(pd.DataFrame({"nearness": label, "at": values, "AP": table["ap"]}))
    return pd.concat(rows, ignore_index=True)


def metrics(findings: Findings, near: pd.DataFrame) -> dict[str, Any]:
    """Return the figures as nested plain values; None where one is undefined.

    Args:
        findings: what was found.
        near: APs of test by nearness, from `nearness`.
    """
    before, after = _reliabilities(findings)
    return {
        "model": findings.model,
        "scenes": {
            split: {
                **_scene_metrics(findings.scenes[split]),
                "by_size": _by_size(_bands(findings, split)),
            }
            for split in (SPLITS if findings.has_scenes else ())
        },
        "ap_by_nearness": _nearness_metrics(near) if findings.has_scenes else {},
        "operating_point": {name: _point_metrics(point) for name, point in findings.points.items()},
        "windows": {
            split: {name: _window_metrics(made) for name, made in findings.windows[split].items()}
            for split in SPLITS
        },
        "calibration": {
            **_by_name(findings.calibration, findings.classes),
            "gap_before": {split: _known(before[split].error) for split in SPLITS},
            "gap_after": {split: _known(after[split].error) for split in SPLITS},
            "brier_before": {split: _known(before[split].brier) for split in SPLITS},
            "brier_after": {split: _known(after[split].brier) for split in SPLITS},
        },
        "notes": list(findings.notes),
    }


def _by_name(
    calibration: Mapping[str, float | tuple[float, ...]], classes: Sequence[str]
) -> dict[str, Any]:
    return {
        key: dict(zip(classes, value, strict=True)) if isinstance(value, tuple) else value
        for key, value in calibration.items()
    }


def _scene_metrics(made: Assessment) -> dict[str, Any]:
    table = made.per_scene
    figures = {name: _figure(figure) for name, figure in made.figures.items()}
    per_class = {
        name: {key: _figure(value) for key, value in part.items()}
        for name, part in made.per_class.items()
    }
    return {
        **figures,
        "scenes": len(table),
        "places": int(table["place"].nunique()),
        "km2": round(float(table["km2"].sum()), 6),
        "objects": int(table["objects"].sum()),
        "reported": int(table["reported"].sum()),
        "found": int(table["found"].sum()),
        "false_alarms": int(table["false_alarms"].sum()),
        "expected": _expected(table),
        "intervals_drawn_over": made.drawn.over,
        "by_place": _by_place(made),
        **({"classes": per_class} if len(per_class) > 1 else {}),
    }


def _by_place(made: Assessment) -> dict[str, dict[str, Any]]:
    names = (
        "objects",
        "reported",
        "found",
        "false_alarms",
        "precision",
        "recall",
        "false_alarms_per_km2",
    )
    rows = place_table(made)[["place", *names]].astype(object)
    rows = rows.where(rows.notna(), None)
    return {
        row["place"]: {name: _rounded(row[name]) for name in names}
        for row in rows.to_dict("records")
    }


def _by_size(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        size_name(row["from_m"], row["to_m"]): {
            "objects": row["objects"],
            "found": row["found"],
            "recall": _known(row["recall"]),
        }
        for row in table.to_dict("records")
    }


def _expected(table: pd.DataFrame) -> dict[str, Any]:
    """Return how many objects the scores promise over all scenes, scenes taken as independent."""
    total = float(table["expected"].sum())
    arm = float(np.sqrt(((table["expected_high"] - table["expected"]) ** 2).sum()))
    return _figure(Figure(total, max(total - arm, 0.0), total + arm))


def _nearness_metrics(near: pd.DataFrame) -> dict[str, Any]:
    """Return the mean AP of each kind, and COCO's two usual ones."""
    wanted = {
        "centre_sizes_mean": ("centre, in longer sides", "mean"),
        "centre_metres_mean": ("centre, m", "mean"),
        "box_iou_50": ("box IoU", "0.5"),
        "box_iou_75": ("box IoU", "0.75"),
        "box_iou_mean": ("box IoU", "mean"),
    }
    aps = near.set_index(["nearness", "at"])["AP"]
    return {name: _known(float(aps[key])) for name, key in wanted.items()}


def _figure(figure: Figure) -> dict[str, float | None]:
    return {name: _rounded(value) for name, value in figure._asdict().items()}


def _point_metrics(point: Point) -> dict[str, Any]:
    on_val = {
        name: _rounded(getattr(point, name))
        for name in ("precision", "recall", "f1", "false_alarms_per_km2")
    }
    return {
        "threshold": _figure(Figure(point.threshold, point.low, point.high)),
        "met": point.met,
        "on_val": on_val,
    }


def _window_metrics(made: WindowFigures) -> dict[str, Any]:
    names = (
        "positives",
        "negatives",
        "auc",
        "ap_sampled",
        "ap_true",
        "threshold",
        "precision",
        "precision_true",
        "recall",
    )
    confusion = dict(zip(("tp", "fp", "fn", "tn"), made.confusion, strict=True))
    return {name: _rounded(getattr(made, name)) for name in names} | {"confusion": confusion}


def tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Return the tables of the report by file name; curves are of test, all classes together where
    scenes are meant.
    """
    test = findings.scenes["test"]
    scenes = thinned(test.pooled)
    windows = [made.pr.assign(**{"class": name}) for name, made in findings.windows["test"].items()]
    rocs = [made.roc.assign(**{"class": name}) for name, made in findings.windows["test"].items()]
    before, after = _reliabilities(findings)
    return {
        "pr_scenes": scenes[["recall", "precision", "threshold"]],
        "froc_scenes": scenes[["false_alarms_per_km2", "recall", "threshold"]],
        "pr_windows": pd.concat(windows, ignore_index=True)[
            ["class", "recall", "precision", "precision_true", "threshold"]
        ],
        "roc_windows": pd.concat(rocs, ignore_index=True)[
            ["class", "false_alarm_rate", "recall", "threshold"]
        ],
        "reliability": pd.concat(
            [_reliability_rows(*pair) for pair in (("before", before), ("after", after))]
        ),
        "per_scene": pd.concat(
            [findings.scenes[split].per_scene.assign(split=split) for split in SPLITS]
        ),
        "size_bands": pd.concat([_bands(findings, split).assign(split=split) for split in SPLITS]),
    }


def kept_test(test: Assessment) -> dict[str, pd.DataFrame]:
    """Return what another model must be compared with: every detection judged, and the ground by
    scene and class.
    """
    judged = test.judged.loc[~test.judged["free"], ["scene", "class", "score", "hit"]]
    counts = test.ground.objects.groupby(["scene", "class"]).size().rename("objects").reset_index()
    ground = test.ground.scenes.merge(counts, on="scene", how="left")
    ground = ground.assign(objects=ground["objects"].fillna(0).astype(int))
    return {"judged": judged, "ground": ground}


def _bands(findings: Findings, split: str) -> pd.DataFrame:
    return size_table(findings.scenes[split], thresholds_of(findings), findings.params.size_bands_m)


def _reliability_rows(when: str, tables: Mapping[str, Reliability]) -> pd.DataFrame:
    rows = [
        pd.DataFrame(
            {
                "when": when,
                "split": split,
                "score": made.promised,
                "true": made.kept,
                "number": made.number,
            }
        )
        for split, made in tables.items()
    ]
    return pd.concat(rows, ignore_index=True)


def draw_curves(findings: Findings, folder: Path) -> None:
    """Draw every curve as a PNG."""
    test, val = findings.scenes["test"], findings.scenes["val"]
    said = describe(test)
    band = precision_band(tally_class(test.judged, test.ground, test.drawn), test.drawn)
    plots.precision_recall(
        folder / "pr_scenes.png", test.pooled, val.pooled, band, test.figures, said
    )
    plots.froc(folder / "froc_scenes.png", test.pooled, val.pooled, test.figures, said)
    name = findings.classes[0]
    made = findings.windows["test"][name]
    values = {key: getattr(made, key) for key in ("auc", "ap_sampled", "ap_true")}
    counted = f"test, {name}: {made.positives} windows with, {made.negatives} without"
    plots.windows(folder / "windows.png", made.pr, made.roc, values, counted)
    plots.reliability(folder / "reliability.png", *_reliabilities(findings))
    rule = f"{findings.params.threshold_rule} {findings.params.threshold_rule_value:g}"
    plots.sizes(folder / "size_bands.png", _bands(findings, "test"), said)
    plots.thresholds(
        folder / "operating_point.png", val.curves[name], findings.points[name], name, rule
    )


def _reliabilities(findings: Findings) -> tuple[dict[str, Reliability], dict[str, Reliability]]:
    counted = {split: made.judged[~made.judged["free"]] for split, made in findings.scenes.items()}
    before = {
        split: reliability(expit(table["logit"]), table["hit"]) for split, table in counted.items()
    }
    after = {split: reliability(table["score"], table["hit"]) for split, table in counted.items()}
    return before, after


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _known(value: float) -> float | None:
    return _rounded(float(value)) if np.isfinite(value) else None


def window_lines(findings: Findings) -> list[str]:
    """Return the figures on test's patches, for the terminal."""
    lines = ["test: no labelled scene; figures on patches"]
    for name, made in findings.windows["test"].items():
        count = f"{made.positives} patches with it, {made.negatives} without"
        figures = (
            ("AP", made.ap_sampled),
            ("AUC", made.auc),
            ("precision", made.precision),
            ("recall", made.recall),
        )
        told = ", ".join(
            f"{label} {'undefined' if value is None else f'{value:.3f}'}"
            for label, value in figures
        )
        lines.append(f"  {name}: {count}; {told} at the threshold of best F1")
    return lines


def headline_lines(findings: Findings) -> Sequence[str]:
    """Return what the stage prints when it is done."""
    if not findings.has_scenes:
        return [*window_lines(findings), *(f"note: {note}" for note in findings.notes)]
    test = findings.scenes["test"]
    names = {
        "ap": "AP",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "false_alarms_per_km2": "false alarms per km2",
    }
    lines = [describe(test)]
    for key, label in names.items():
        figure = test.figures.get(key, Figure(None, None, None))
        value = "undefined" if figure.value is None else f"{figure.value:.3f}"
        span = (
            ""
            if figure.low is None or figure.high is None
            else f"  [{figure.low:.3f}, {figure.high:.3f}]"
        )
        lines.append(f"  {label:22s}{value}{span}")
    return [*lines, *(f"note: {note}" for note in findings.notes)]
