"""Detections against the truth of whole scenes, on the ground: who hit what, the figures, and how
sure they are.

Positions are metres in a plane of each scene (col x GSD, row x GSD, or a projected map). Figures
come with bootstrap intervals over places or scenes. Knows no model and reads no raster; refuses to
choose a threshold on what it reports.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.metrics.bootstrap import bootstrap, choose_groups, draw_weights, interval
from windhover.metrics.ground_truth import Ground
from windhover.metrics.operating_point import Rule, choose, explain_unmet
from windhover.metrics.score_curve import (
    Counts,
    Floats,
    Tally,
    average_precision,
    recall_at_alarms,
    tally,
)

ALARM_RATES = (1.0, 5.0)  # per km2, at which recall is reported
NO_THRESHOLD = 0.5  # of a class that validation says nothing about


class Figure(NamedTuple):
    """A value and its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Drawn:
    """How the scenes are grouped for drawing, and the draws."""

    over: str  # `places` or `scenes`
    group: NDArray[np.int64]  # (S,) group of each scene
    names: list[str]
    weights: Floats  # (G, D)


def draw(scenes: pd.DataFrame, draws: int, seed: int) -> Drawn:
    """Group scenes by place where there are enough places, and draw."""
    over, group, names = choose_groups(scenes["place"].tolist(), scenes["scene"].tolist())
    return Drawn(over, group, names, draw_weights(len(names), draws if len(names) > 1 else 0, seed))


def tally_class(
    judged: pd.DataFrame, ground: Ground, drawn: Drawn, name: str | None = None
) -> Tally:
    """Sum one class, or all of them, by group."""
    place_in = pd.Series(drawn.group, index=ground.scenes["scene"])
    counted, objects = judged[~judged["free"]], ground.objects
    if name is not None:
        counted, objects = counted[counted["class"] == name], objects[objects["class"] == name]
    n_truth = np.bincount(place_in[objects["scene"]], minlength=len(drawn.names))
    km2 = np.bincount(drawn.group, weights=ground.scenes["km2"], minlength=len(drawn.names))
    return tally(counted["score"], counted["hit"], place_in[counted["scene"]], n_truth, km2)


class Point(NamedTuple):
    """The threshold of one class, and what validation says of it."""

    threshold: float
    low: float | None
    high: float | None
    met: bool
    note: str
    precision: float | None
    recall: float | None
    f1: float | None
    false_alarms_per_km2: float | None


def choose_point(tallied: Tally, drawn: Drawn, rule: Rule) -> Point:
    """Choose a class's threshold by the rule, with its interval over the draws.

    The threshold stands midway between the lowest score that the rule keeps and the next score
    below: on validation the two are equally good, and on new scenes an object that scores a hair
    less is still found. Where validation holds no object that is found, the threshold is 0.5 and
    the note says so.
    """
    counts = tallied.curve()
    if not len(counts.scores) or not counts.hits[-1, 0]:
        why = (
            "holds none"
            if not counts.n_truth[0]
            else f"holds {counts.n_truth[0]:.0f}, and none is found"
        )
        note = f"validation {why}: no rule can be applied, so the threshold is {NO_THRESHOLD}."
        return Point(NO_THRESHOLD, None, None, False, note, *_at(tallied.at(NO_THRESHOLD)))
    chosen = choose(counts, rule)
    threshold = float(_midway(tallied, counts.scores[chosen.level[:1]])[0])
    met = bool(chosen.met[0])
    note = "" if met else explain_unmet(counts, rule, int(chosen.level[0]))

    def thresholds(weights: Floats) -> dict[str, Floats]:
        curve = tallied.curve(weights)
        value = _midway(tallied, curve.scores[choose(curve, rule).level])
        return {"threshold": np.where(curve.hits[-1] > 0, value, np.nan)}

    drawn_values = bootstrap(thresholds, drawn.weights, len(counts.scores)).get(
        "threshold", np.zeros(0)
    )
    low, high = interval(drawn_values) or (None, None)
    return Point(threshold, low, high, met, note, *_at(tallied.at(threshold)))


def _midway(tallied: Tally, scores: Floats) -> Floats:
    """Return the middle between each score and the next lower one that was seen, or 0 below the
    lowest.
    """
    seen = np.r_[0.0, np.unique(tallied.scores)]  # rising
    middle: Floats = (scores + seen[np.maximum(np.searchsorted(seen, scores) - 1, 0)]) / 2
    return middle


def _at(counts: Counts) -> tuple[float | None, float | None, float | None, float | None]:
    values = (counts.precision, counts.recall, counts.f_beta(), counts.alarms_per_km2)
    return tuple(defined(value[0, 0]) for value in values)  # type: ignore[return-value]


@dataclass(frozen=True)
class Assessment:
    """The figures of one set of scenes at given thresholds.

    Attributes:
        figures: by name, over all classes: `ap` and the recalls at a rate are means over
            classes, the rest is counted together.
        per_class: the same for each class.
        per_scene: one row a scene: objects, reported, found, false alarms, precision, recall,
            error of the count.
        pooled: points of the curve of all classes together.
        curves: points of each class's curve.
        drawn: what the intervals are drawn over.
    """

    figures: dict[str, Figure]
    per_class: dict[str, dict[str, Figure]]
    per_scene: pd.DataFrame
    pooled: Counts
    curves: dict[str, Counts]
    drawn: Drawn
    judged: pd.DataFrame
    ground: Ground


def assess(
    judged: pd.DataFrame, ground: Ground, thresholds: Mapping[str, float], drawn: Drawn
) -> Assessment:
    """Compute every figure with its interval.

    Args:
        judged: from `judge`, with calibrated scores.
        ground: the truth.
        thresholds: by class: what scores this much or more is reported.
        drawn: from `draw`.
    """
    per_scene = scene_table(judged, ground, thresholds)
    figures, rows = figures_of(judged, ground, thresholds, drawn, per_scene)
    once = figures(np.ones((len(drawn.names), 1)))
    values = bootstrap(figures, drawn.weights, rows)
    made = {
        name: Figure(defined(once[name][0]), *(interval(values.get(name, [])) or (None, None)))
        for name in once
    }
    per_class = {
        name: {
            key.removeprefix(f"{name}/"): figure
            for key, figure in made.items()
            if key.startswith(f"{name}/")
        }
        for name in thresholds
    }
    return Assessment(
        figures={key: figure for key, figure in made.items() if "/" not in key},
        per_class=per_class,
        per_scene=per_scene,
        pooled=tally_class(judged, ground, drawn).curve(),
        curves={name: tally_class(judged, ground, drawn, name).curve() for name in thresholds},
        drawn=drawn,
        judged=judged,
        ground=ground,
    )


def figures_of(
    judged: pd.DataFrame,
    ground: Ground,
    thresholds: Mapping[str, float],
    drawn: Drawn,
    per_scene: pd.DataFrame,
) -> tuple[Callable[[Floats], dict[str, Floats]], int]:
    """Return the function that computes all figures under given weights of the groups, and the
    length of its tables.

    Args:
        judged: from `judge`.
        ground: the truth.
        thresholds: by class.
        drawn: from `draw`.
        per_scene: from `scene_table`.
    """
    tallies = {name: tally_class(judged, ground, drawn, name) for name in thresholds}
    error = per_scene["count_error"].to_numpy(np.float64)

    def figures(weights: Floats) -> dict[str, Floats]:
        return _figures(tallies, thresholds, weights, error, drawn.group)

    return figures, max((len(tallied.level_scores) for tallied in tallies.values()), default=1)


def _figures(
    tallies: Mapping[str, Tally],
    thresholds: Mapping[str, float],
    weights: Floats,
    count_error: Floats,
    group: NDArray[np.int64],
) -> dict[str, Floats]:
    """Return (D,) values by name: `class/figure` for each class, `figure` for all."""
    out: dict[str, Floats] = {}
    together = []
    for name, tallied in tallies.items():
        curve, at = tallied.curve(weights), tallied.at(thresholds[name], weights)
        together.append(at)
        out[f"{name}/ap"] = average_precision(curve)
        for rate in ALARM_RATES:
            out[f"{name}/recall_at_{rate:g}_per_km2"] = recall_at_alarms(curve, rate)
        out |= {f"{name}/{key}": value for key, value in _point_figures(at).items()}
    for key in ("ap", *(f"recall_at_{rate:g}_per_km2" for rate in ALARM_RATES)):
        out[key] = _mean_defined(np.array([out[f"{name}/{key}"] for name in tallies]))
    if together:
        summed = Counts(
            together[0].scores,
            np.sum([at.hits for at in together], axis=0),
            np.sum([at.alarms for at in together], axis=0),
            np.sum([at.n_truth for at in together], axis=0),
            together[0].km2,
        )
        out |= _point_figures(summed)
    each = weights[group]  # (S, D)
    with np.errstate(invalid="ignore"):
        out["count_error"] = (np.abs(count_error) @ each) / each.sum(axis=0)
        out["count_bias"] = (count_error @ each) / each.sum(axis=0)
    return out


def _point_figures(at: Counts) -> dict[str, Floats]:
    return {
        "precision": at.precision[0],
        "recall": at.recall[0],
        "f1": at.f_beta()[0],
        "false_alarms_per_km2": at.alarms_per_km2[0],
    }


def _mean_defined(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where all are."""
    known = np.isfinite(values)
    mean = np.full(values.shape[1:], np.nan)
    np.divide(
        np.where(known, values, 0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0)
    )
    return mean


def scene_table(
    judged: pd.DataFrame, ground: Ground, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """Count by scene what was reported, found, missed and made up; detections free of charge are
    left out.

    `expected` is how many objects the calibrated scores of all detections promise, whatever the
    threshold, with the 95 % interval of a sum of independent draws (Poisson binomial, normal
    approximation).
    """
    known = judged[~judged["free"]]
    counted = known[known["score"] >= known["class"].map(dict(thresholds))]
    table = ground.scenes.set_index("scene")

    def per_scene(frame: pd.DataFrame) -> pd.Series[int]:
        return frame.groupby("scene").size().reindex(table.index, fill_value=0).astype(int)

    table = table.assign(
        objects=per_scene(ground.objects),
        reported=per_scene(counted),
        found=per_scene(counted[counted["hit"]]),
    )
    table["false_alarms"] = table["reported"] - table["found"]
    table["precision"] = table["found"] / table["reported"].where(table["reported"] > 0)
    table["recall"] = table["found"] / table["objects"].where(table["objects"] > 0)
    table["count_error"] = table["reported"] - table["objects"]
    score = known["score"].to_numpy(np.float64)
    sums = known.assign(variance=score * (1 - score)).groupby("scene")[["score", "variance"]].sum()
    sums = sums.reindex(table.index, fill_value=0.0)
    table["expected"] = sums["score"]
    table["expected_low"] = np.maximum(sums["score"] - 1.96 * np.sqrt(sums["variance"]), 0.0)
    table["expected_high"] = sums["score"] + 1.96 * np.sqrt(sums["variance"])
    return table.reset_index()


def place_table(made: Assessment) -> pd.DataFrame:
    """Sum the scenes by place: counts, precision, recall and false alarms per km2."""
    scenes = made.per_scene.groupby("place")
    table = scenes[["km2", "objects", "reported", "found", "false_alarms"]].sum()
    table.insert(0, "scenes", scenes.size())
    return table.assign(
        precision=table["found"] / table["reported"].where(table["reported"] > 0),
        recall=table["found"] / table["objects"].where(table["objects"] > 0),
        false_alarms_per_km2=table["false_alarms"] / table["km2"].where(table["km2"] > 0),
    ).reset_index()


def thinned(counts: Counts, points: int = 400) -> pd.DataFrame:
    """Return a curve as a table of at most so many rows, first and last kept."""
    keep = np.unique(np.linspace(0, max(len(counts.scores) - 1, 0), points).round().astype(int))[
        : len(counts.scores)
    ]
    return pd.DataFrame(
        {
            "threshold": counts.scores[keep],
            "recall": counts.recall[keep, 0],
            "precision": counts.precision[keep, 0],
            "false_alarms_per_km2": counts.alarms_per_km2[keep, 0],
            "found": counts.hits[keep, 0].astype(int),
            "false_alarms": counts.alarms[keep, 0].astype(int),
        }
    )


def defined(value: Any) -> float | None:
    """Return a plain float, or None for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def precision_band(tallied: Tally, drawn: Drawn, points: int = 101) -> pd.DataFrame:
    """Return the 95 % band of the interpolated precision over recall: `recall, low, high`; empty
    without draws.

    Pointwise: at each recall, the percentiles of the draws' precisions; 0 where a draw never gets
    there.
    """
    recall = np.linspace(0, 1, points)
    rows = max(len(tallied.level_scores), points)

    def at_recall(weights: Floats) -> dict[str, Floats]:
        counts = tallied.curve(weights)
        envelope = np.maximum.accumulate(np.nan_to_num(counts.precision)[::-1], axis=0)[::-1]
        reached = np.nan_to_num(counts.recall)
        padded = np.vstack([envelope, np.zeros(envelope.shape[1])])
        first = [np.searchsorted(reached[:, d], recall - 1e-12) for d in range(reached.shape[1])]
        return {
            "precision": np.array([padded[index, d] for d, index in enumerate(first)]).reshape(
                -1, points
            )
        }

    values = (
        bootstrap(at_recall, drawn.weights, rows).get("precision")
        if len(tallied.level_scores)
        else None
    )
    if values is None or not len(values):
        return pd.DataFrame({"recall": [], "low": [], "high": []}, dtype=float)
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return pd.DataFrame({"recall": recall, "low": low, "high": high})


def size_name(from_m: float, to_m: float) -> str:
    """Say in words what a band of sizes holds."""
    if np.isnan(from_m):
        return "size unknown"
    return f"{from_m:g} m and more" if np.isinf(to_m) else f"{from_m:g} to {to_m:g} m"


def size_table(
    made: Assessment, thresholds: Mapping[str, float], borders_m: Sequence[float]
) -> pd.DataFrame:
    """Count objects and those found by longer side: `from_m, to_m, objects, found, recall`; unknown
    sizes last.
    """
    judged = made.judged
    reported = judged[(judged["score"] >= judged["class"].map(dict(thresholds))) & judged["hit"]]
    found = np.zeros(len(made.ground.objects), bool)
    found[reported["truth"]] = True
    longer = made.ground.objects["longer_m"].to_numpy(np.float64)
    edges = [0.0, *borders_m, np.inf]
    rows = []
    for low, high in (*itertools.pairwise(edges), (np.nan, np.nan)):
        inside = np.isnan(longer) if np.isnan(low) else (longer >= low) & (longer < high)
        number = int(inside.sum())
        share = float(found[inside].mean()) if number else np.nan
        rows.append(
            {
                "from_m": low,
                "to_m": high,
                "objects": number,
                "found": int(found[inside].sum()),
                "recall": share,
            }
        )
    table = pd.DataFrame(rows)
    return table if np.isnan(longer).any() else table.iloc[:-1]
