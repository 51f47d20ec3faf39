"""Figures of detections in the car parks and marinas of `crowd_world`, the same for every detector.

A detection is an object's where its centre is within a quarter of the object's length from the
object's own: half of a boat's width and more. Detects nothing.
"""

from __future__ import annotations

import json
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from crowd_world import GSD_M
from measuring import RESULTS, save

from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.score_curve import average_precision

CLASSES = ("car", "boat")
CENTER = 0.25  # of an object's length
PRECISION = 0.9
LEAST_SCORE = 0.01
BANDS = {"gap": (0, 0.17, 0.34, 0.51), "length_px": (8, 13, 19, 25)}


def keep_row(name: str, row: dict[str, Any]) -> None:
    """Add a run to the results file, in place of an earlier one of this name."""
    path = RESULTS / "crowds.json"
    before = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else {}
    save("crowds", {"runs": before | {name: row}}, "recall at precision 0.9, by centre")


def truth_of(labels: geopandas.GeoDataFrame, scenes: list[str]) -> GroundTruth:
    """Return the objects of scenes, a place each."""
    chosen = labels[labels["scene"].isin(scenes)].reset_index(drop=True)
    objects = pd.DataFrame(
        {
            "scene": chosen["scene"],
            "class": chosen["class"],
            "x_m": chosen.geometry.centroid.x,
            "y_m": chosen.geometry.centroid.y,
            "longer_m": chosen["length_px"] * GSD_M,
            "geometry": chosen.geometry.to_numpy(object),
            "gap": chosen["gap"],
            "length_px": chosen["length_px"],
        }
    )
    table = pd.DataFrame({"scene": scenes, "place": scenes, "km2": 0.0576})
    ignored = pd.DataFrame({"scene": [], "geometry": []}, dtype=object)
    return GroundTruth(table, objects, ignored)


def figures_of(found: pd.DataFrame, truth: GroundTruth) -> dict[str, Any]:
    """Return AP and recall at precision 0.9, of all and by gap and length."""
    figures: dict[str, Any] = {"objects": len(truth.objects)}
    for name in CLASSES:
        objects = truth.objects[truth.objects["class"] == name].reset_index(drop=True)
        of_class = GroundTruth(truth.scenes, objects, truth.ignored)
        detections = found[found["class"] == name].reset_index(drop=True)
        rule = MatchRule("size", CENTER, 1.0)
        matches = match_detections(detections, of_class, rule)
        curve = class_score_curve(matches, of_class, resample(truth.scenes, 100, 0))
        figures[f"ap_{name}"] = _rounded(average_precision(curve.counts()))
        index = found_at_precision(matches)
        is_found = np.zeros(len(objects), bool)
        is_found[index] = True
        figures[f"recall_{name}"] = _rounded(is_found.mean())
        for column, edges in BANDS.items():
            band = pd.cut(objects[column], list(edges), include_lowest=True)
            shares = pd.Series(is_found).groupby(band, observed=True).mean().round(3)
            figures[f"recall_{name}_by_{column}"] = {str(k): v for k, v in shares.items()}
    return figures


def found_at_precision(matches: pd.DataFrame) -> np.ndarray:
    """Return the numbers of the objects that are found at the lowest score of enough precision."""
    order = matches.sort_values("score", ascending=False)
    is_tp = order["is_tp"].to_numpy(bool)
    precision = np.cumsum(is_tp) / np.arange(1, len(is_tp) + 1)
    reached = np.flatnonzero(precision >= PRECISION)
    taken = order.iloc[: reached.max(initial=-1) + 1]
    return taken.loc[taken["is_tp"], "object_index"].to_numpy(int)


def _rounded(value: Any) -> float:
    return round(float(np.asarray(value).ravel()[0]), 4)
