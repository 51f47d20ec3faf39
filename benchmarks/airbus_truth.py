"""Airbus scenes as the benchmarks use them: the fixed split by airport, and the truth without what
is marked twice.

Reads the data set's own files and Windhover's rule of nearness; trains and searches nothing.
"""

from __future__ import annotations

import ast
import csv
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
from measuring import ROOT

from windhover.geometry.boxes import iou
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.score_curve import average_precision, recall_at_false_alarm_rate

FOLDER = Path(os.environ.get("WINDHOVER_REAL_DATA", "")) / "airbus-aircraft"
REPEAT_IOU = 0.6  # of a later label of the same class: the aircraft is marked twice
GSD_M = 0.5  # nominal
DRAWS = 500


@dataclass
class AirbusScene:
    """One picture, with boxes as (left, top, right, bottom) in px as delivered."""

    path: Path
    split: str
    rows: list[dict[str, str]] = field(default_factory=list)  # of annotations.csv, repeats dropped
    boxes: dict[str, list[tuple[float, ...]]] = field(
        default_factory=lambda: {"Airplane": [], "Truncated_airplane": []}
    )


def airbus_scenes() -> list[AirbusScene]:
    """Return all labelled pictures, sorted by name.

    Raises:
        SystemExit: the data set is not there.
    """
    if not (FOLDER / "annotations.csv").exists():
        raise SystemExit(
            f"{FOLDER}: no annotations.csv. "
            "Set WINDHOVER_REAL_DATA to the folder above airbus-aircraft."
        )
    split_of = {row["airport"]: row["split"] for row in _rows(ROOT / "benchmarks/airbus_split.csv")}
    airport_of = {row["image_id"]: row["airport"] for row in _rows(FOLDER / "airport_groups.csv")}
    scenes: dict[str, AirbusScene] = {}
    for row in _rows(FOLDER / "annotations.csv"):
        name = row["image_id"]
        scene = scenes.setdefault(
            name, AirbusScene(FOLDER / "images" / name, split_of[airport_of[name]])
        )
        ring = np.array(ast.literal_eval(row["geometry"]), float)
        box, before = (*ring.min(0), *ring.max(0)), scene.boxes[row["class"]]
        if not before or iou(np.array([box]), np.array(before)).max() <= REPEAT_IOU:
            before.append(box)
            scene.rows.append(row)
    return [scenes[name] for name in sorted(scenes)]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_truth(scenes: list[AirbusScene], path: Path) -> None:
    """Write the scenes' labels in the data set's own format."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(scenes[0].rows[0]))
        writer.writeheader()
        writer.writerows(row for scene in scenes for row in scene.rows)


def assess_found(
    found: pd.DataFrame, scenes: list[AirbusScene], size_px: int = 2560
) -> dict[str, Any]:
    """Judge detections: each aircraft once, centre within half of its longer side; free of charge
    on truncated ones.

    Args:
        found: scene, score, col, row (px as delivered).
        scenes: exactly those that were searched.
        size_px: side of each of them.
    """
    ground_truth = _ground(scenes, size_px)
    table = found.assign(
        **{"class": "aircraft", "x_m": found["col"] * GSD_M, "y_m": found["row"] * GSD_M}
    )
    matches = match_detections(table, ground_truth, MatchRule("size", 0.5, 20.0))
    sample = resample(ground_truth.scenes, DRAWS, 0)
    curve = class_score_curve(matches, ground_truth, sample)
    once = curve.counts()
    many = curve.counts(sample.weights)

    def figure(value: Any) -> float:
        return round(float(np.asarray(value).ravel()[0]), 4)

    figures: dict[str, Any] = {
        "images": len(scenes),
        "aircraft": len(ground_truth.objects),
        "detections": len(found),
    }
    for name, of in {
        "ap": average_precision,
        "f1": lambda counts: np.nan_to_num(counts.f_beta()).max(axis=0, initial=0.0),
        "recall_at_1_per_km2": lambda counts: recall_at_false_alarm_rate(counts, 1.0),
    }.items():
        low, high = np.nanpercentile(of(many), [2.5, 97.5])
        figures |= {name: figure(of(once)), f"{name}_95": [figure(low), figure(high)]}
    return figures


def _ground(scenes: list[AirbusScene], size_px: int) -> GroundTruth:
    """Return the truth in metres; a place for each scene, so that scenes are what is drawn."""
    names = [scene.path.stem for scene in scenes]
    km2 = (size_px * GSD_M) ** 2 / 1e6
    objects, ignored = [], []
    for scene in scenes:
        for box in np.array(scene.boxes["Airplane"]).reshape(-1, 4) * GSD_M:
            x, y = (box[:2] + box[2:]) / 2
            longer = (box[2:] - box[:2]).max()
            objects.append((scene.path.stem, "aircraft", x, y, longer, shapely.box(*box)))
        truncated = np.array(scene.boxes["Truncated_airplane"]).reshape(-1, 4) * GSD_M
        ignored += [(scene.path.stem, shapely.box(*box)) for box in truncated]
    return GroundTruth(
        scenes=pd.DataFrame({"scene": names, "place": names, "km2": km2}),
        objects=pd.DataFrame(
            objects, columns=["scene", "class", "x_m", "y_m", "longer_m", "geometry"]
        ),
        ignored=pd.DataFrame(ignored, columns=["scene", "geometry"], dtype=object),
    )
