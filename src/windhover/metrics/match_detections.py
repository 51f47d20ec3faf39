"""Who hit what on whole scenes: detections and objects in metres, matched scene by scene and class
by class.

Holds the rules of nearness by name and the judged table that every figure is counted from. Counts
nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.geometry.matching import (
    ROUNDING,
    Pairs,
    assign,
    inside_any,
    pairs_by_center,
    pairs_by_iou,
)
from windhover.metrics.ground_truth import Ground

MatchBy = Literal["size", "distance", "iou", "oriented_iou"]


@dataclass(frozen=True)
class Match:
    """When a detection is an object.

    Attributes:
        by: `size`: centre within `value` times the object's longer side; `metres`: within
            `value` metres; `iou`: boxes overlap by at least `value`; `oriented_iou`: so do the
            polygons as delivered.
        value: see `by`.
        point_match_radius_m: distance for objects whose size nobody knows, in metres; used by `size`.
    """

    by: MatchBy
    value: float
    point_match_radius_m: float = 20.0

    def __post_init__(self) -> None:
        top = 1.0 if self.by in ("iou", "oriented_iou") else np.inf
        if not 0 < self.value <= top:
            raise ParameterError(
                f"matching by {self.by} needs a value in (0, {top:g}], got {self.value}. Change it."
            )

    def __str__(self) -> str:
        return {
            "size": f"centre within {self.value:g} of the longer side",
            "distance": f"centre within {self.value:g} m",
            "iou": f"box IoU at least {self.value:g}",
            "oriented_iou": f"polygon IoU at least {self.value:g}",
        }[self.by]


def judge(found: pd.DataFrame, ground: Ground, match: Match) -> pd.DataFrame:
    """Say of every detection which object it is: in falling score, each object once, classes apart.

    Args:
        found: `scene`, `class`, `score`, `x_m`, `y_m`, and for matching by IoU `geometry`; any
            order.
        ground: the truth.
        match: when a detection is an object.

    Returns:
        the detections in falling score with `truth` (row of `ground.objects`, -1 for none), `hit`,
        and `free`: no object, but in an ignored area.
    """
    return judge_many(found, ground, [match])[0]


def judge_many(found: pd.DataFrame, ground: Ground, matches: Sequence[Match]) -> list[pd.DataFrame]:
    """Judge the same detections by several values of one kind of nearness; pairs are looked for
    once.

    Args:
        found: as `judge` takes it.
        ground: the truth.
        matches: of one kind, at least one.
    """
    judged = found.sort_values(
        ["score", "scene", "x_m", "y_m"], ascending=[False, True, True, True], kind="stable"
    )
    judged = judged.reset_index(drop=True)
    centerd = matches[0].by in ("size", "distance")
    loosest = (
        max(matches, key=lambda match: match.value)
        if centerd
        else min(matches, key=lambda match: match.value)
    )
    pairs = _pairs(judged, ground, loosest)
    unjudged = _in_ignored(judged, ground)
    made = []
    for match in matches:
        limit = (
            _reach(ground.objects, match)[pairs.truth]
            if centerd
            else 1.0 - match.value * (1 - ROUNDING)
        )
        keep = pairs.cost <= limit
        near = Pairs(pairs.detection[keep], pairs.truth[keep], pairs.cost[keep])
        truth = assign(near, len(judged), len(ground.objects))
        made.append(judged.assign(truth=truth, hit=truth >= 0, free=unjudged & (truth < 0)))
    return made


def _pairs(judged: pd.DataFrame, ground: Ground, match: Match) -> Pairs:
    """Return what may match by this rule, as rows of the two tables."""
    objects = ground.objects
    objects_of: Any = objects.groupby(["scene", "class"]).indices
    xy = [table[["x_m", "y_m"]].to_numpy(np.float64) for table in (judged, objects)]
    reach = _reach(objects, match)
    by_iou, upright = match.by in ("iou", "oriented_iou"), match.by == "iou"
    shapes = [table["geometry"].to_numpy(object) for table in (judged, objects) if by_iou]
    parts = []
    groups: Any = judged.groupby(["scene", "class"], sort=False).indices
    for key, rows in groups.items():
        there = objects_of.get(key)
        if there is None:
            continue
        if shapes:
            near = pairs_by_iou(shapes[0][rows], shapes[1][there], match.value, upright)
        else:
            near = pairs_by_center(xy[0][rows], xy[1][there], reach[there])
        parts.append(Pairs(rows[near.detection], there[near.truth], near.cost))
    columns = (
        zip(*parts, strict=True)
        if parts
        else ([np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)])
    )
    return Pairs(*(np.concatenate(column) for column in columns))


def _reach(objects: pd.DataFrame, match: Match) -> NDArray[np.float64]:
    """Return how near a centre must be to each object, in metres."""
    if match.by == "size":
        return (objects["longer_m"] * match.value).fillna(match.point_match_radius_m).to_numpy(np.float64)
    return np.full(len(objects), match.value)


def _in_ignored(judged: pd.DataFrame, ground: Ground) -> NDArray[np.bool_]:
    inside = np.zeros(len(judged), bool)
    areas = ground.ignored["geometry"].to_numpy(object)
    rows_of: Any = judged.groupby("scene").indices
    for scene, ignored in ground.ignored.groupby("scene").indices.items():
        if scene in rows_of:
            rows = rows_of[scene]
            inside[rows] = inside_any(judged.iloc[rows][["x_m", "y_m"]], areas[ignored])
    return inside
