"""Counts of objects and detections by scene, by place and by size of the object."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from windhover.geometry.arrays import Bools
from windhover.metrics.ground_truth import GroundTruth

# half width of a 95 % interval, in standard deviations
NORMAL_95 = 1.96


def counts_by_scene(
    matches: pd.DataFrame, ground_truth: GroundTruth, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """Return a row per scene: objects, reported, found, false alarms, rates, expected count.

    Ignored detections are left out. `expected` is the number of objects that the calibrated scores
    of all detections predict, at any threshold, with the 95 % interval of a sum of
    independent trials (Poisson binomial, normal approximation).

    Args:
        matches: from `match_detections`, with calibrated scores.
        ground_truth: the objects.
        thresholds: by class.
    """
    counted = matches[~matches["ignored"]]
    reported = counted[is_reported(counted, thresholds)]
    table = ground_truth.scenes.set_index("scene")
    table = table.assign(
        objects=_rows_per_scene(ground_truth.objects, table.index),
        reported=_rows_per_scene(reported, table.index),
        found=_rows_per_scene(reported[reported["is_tp"]], table.index),
    )
    table["false_alarms"] = table["reported"] - table["found"]
    table["precision"] = table["found"] / table["reported"].where(table["reported"] > 0)
    table["recall"] = table["found"] / table["objects"].where(table["objects"] > 0)
    table["count_error"] = table["reported"] - table["objects"]
    score = counted["score"].to_numpy(np.float64)
    trials = counted.assign(variance=score * (1 - score))
    sums = trials.groupby("scene")[["score", "variance"]].sum()
    sums = sums.reindex(table.index, fill_value=0.0)
    half_width = NORMAL_95 * np.sqrt(sums["variance"])
    table["expected"] = sums["score"]
    table["expected_low"] = np.maximum(sums["score"] - half_width, 0.0)
    table["expected_high"] = sums["score"] + half_width
    return table.reset_index()


def is_reported(matches: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.Series[bool]:
    """Return which detections reach their class's threshold.

    Args:
        matches: columns `class` and `score`.
        thresholds: by class.
    """
    lowest = matches["class"].map(dict(thresholds))
    return matches["score"] >= lowest.astype(np.float64)  # text where there is no row


def _rows_per_scene(table: pd.DataFrame, scenes: pd.Index) -> pd.Series[int]:
    return table.groupby("scene").size().reindex(scenes, fill_value=0).astype(int)


def counts_by_place(per_scene: pd.DataFrame) -> pd.DataFrame:
    """Return a row per place: the sums of its scenes, precision, recall and false alarms per km2.

    Args:
        per_scene: from `counts_by_scene`.
    """
    scenes = per_scene.groupby("place")
    table = scenes[["km2", "objects", "reported", "found", "false_alarms"]].sum()
    table.insert(0, "scenes", scenes.size())
    return table.assign(
        precision=table["found"] / table["reported"].where(table["reported"] > 0),
        recall=table["found"] / table["objects"].where(table["objects"] > 0),
        false_alarms_per_km2=table["false_alarms"] / table["km2"].where(table["km2"] > 0),
    ).reset_index()


def counts_by_size(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    thresholds: Mapping[str, float],
    *,
    edges_m: Sequence[float],
) -> pd.DataFrame:
    """Return a row per size band: `from_m, to_m, objects, found, recall`; unknown sizes last.

    Args:
        matches: from `match_detections`, with calibrated scores.
        ground_truth: the objects.
        thresholds: by class.
        edges_m: edges between the bands of the objects' longer sides, rising, metres.
    """
    reported = is_reported(matches, thresholds)
    found = np.zeros(len(ground_truth.objects), bool)
    found[matches.loc[reported & matches["is_tp"], "object_index"]] = True
    longer_m = ground_truth.objects["longer_m"].to_numpy(np.float64)
    is_unknown = np.isnan(longer_m)
    rows = []
    for from_m, to_m in itertools.pairwise([0.0, *edges_m, np.inf]):
        inside = (longer_m >= from_m) & (longer_m < to_m)
        rows.append({"from_m": from_m, "to_m": to_m, **_recall_of(found[inside])})
    if is_unknown.any():
        rows.append({"from_m": np.nan, "to_m": np.nan, **_recall_of(found[is_unknown])})
    return pd.DataFrame(rows)


def _recall_of(found: Bools) -> dict[str, float]:
    recall = np.nan
    if len(found):
        recall = float(found.mean())
    return {"objects": len(found), "found": int(found.sum()), "recall": recall}


def size_band_name(from_m: float, to_m: float, gsd_m: float | None = None) -> str:
    """Return the caption of a size band, in m; in px too at a GSD."""
    if np.isnan(from_m):
        return "size unknown"
    if gsd_m is None:
        in_px = ""
    elif np.isinf(to_m):
        in_px = f" ({from_m / gsd_m:g} px)"
    else:
        in_px = f" ({from_m / gsd_m:g} to {to_m / gsd_m:g} px)"
    if np.isinf(to_m):
        return f"{from_m:g} m{in_px} and more"
    return f"{from_m:g} to {to_m:g} m{in_px}"
