"""The match rule of `windhover assess`: what is stated, and for the rest the sizes of the objects.

Two vector files state no GSD, so no distance in metres is taken for granted: it is a share of the
objects' longer sides, or it has to be stated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from windhover.errors import ParameterError
from windhover.evaluation.detections_and_truth import VectorPair
from windhover.metrics.match_rule import MatchRule
from windhover.params.allowed_values import MatchBy

# kind of match rule -> its usual value; of a distance, the share of the median longer side
DEFAULT_VALUES: dict[MatchBy, float] = {
    "size": 0.5,
    "distance": 0.5,
    "iou": 0.5,
    "oriented_iou": 0.5,
}
# names of earlier versions, which are accepted too
RENAMED_RULES: dict[str, MatchBy] = {
    "centre": "size",
    "metres": "distance",
    "oriented-iou": "oriented_iou",
}


class TypicalLength(NamedTuple):
    """The median longer side, m, and of what; NaN where nothing has a size."""

    length_m: float
    of: str


def check_match_options(match_by: str, value: float | None) -> MatchBy:
    """Return the kind of match rule by its present name.

    Raises:
        ParameterError: it is unknown, or the value out of range.
    """
    by = RENAMED_RULES.get(match_by, match_by)
    for known, default in DEFAULT_VALUES.items():
        if by == known:
            MatchRule(known, default if value is None else value, 0.0)
            return known
    raise ParameterError(
        f"--match must be one of {', '.join(DEFAULT_VALUES)}, got {match_by!r}. Choose one of them."
    )


def match_rule_of_files(
    by: MatchBy, value: float | None, pair: VectorPair
) -> tuple[MatchRule, list[str]]:
    """Return the match rule for two files, and sentences with its distances in metres.

    Args:
        by: kind of match rule.
        value: of the rule; None takes the usual one.
        pair: the files; their sizes scale what is not stated.

    Raises:
        ParameterError: a distance is needed, none is stated, and nothing has a size.
    """
    typical = typical_length(pair)
    share = DEFAULT_VALUES[by]
    if by == "distance":
        if value is not None:
            return MatchRule(by, value, value), []
        distance_m = _distance_m(share, typical, is_needed=not pair.detections.empty)
        note = f"no distance was given: {distance_m:.3g} m are taken, {_of_typical(share, typical)}"
        return MatchRule(by, distance_m or 1.0, distance_m), [note]
    if value is not None:
        share = value
    reach = share if by == "size" else DEFAULT_VALUES["size"]
    radius_m = _distance_m(reach, typical, is_needed=_needs_radius(pair, by))
    rule = MatchRule(by, share, radius_m)
    if by == "size" and not math.isnan(typical.length_m):
        return rule, [_size_note(pair, share, typical)]
    return rule, []


def typical_length(pair: VectorPair) -> TypicalLength:
    """Return the median longer side of the objects; of the detections where no object has one."""
    for of, table in (("objects", pair.ground_truth.objects), ("detections", pair.detections)):
        lengths = table["longer_m"].to_numpy(np.float64)
        lengths = lengths[lengths > 0]
        if len(lengths):
            return TypicalLength(float(np.median(lengths)), of)
    return TypicalLength(math.nan, "objects")


def _needs_radius(pair: VectorPair, by: MatchBy) -> bool:
    """Return whether a match depends on the reach of objects, or ignored labels, without size."""
    if pair.detections.empty:
        return False
    truth = pair.ground_truth
    by_size = by == "size" and bool(_is_without_size(truth.objects).any())
    return by_size or bool(_is_without_size(truth.ignored).any())


def _is_without_size(table: pd.DataFrame) -> pd.Series[bool]:
    return ~(table["longer_m"] > 0)


def _distance_m(share: float, typical: TypicalLength, *, is_needed: bool) -> float:
    """Return a share of the typical length, m; 0 where there is none and none is needed.

    Raises:
        ParameterError: there is none and it is needed.
    """
    if not math.isnan(typical.length_m):
        return share * typical.length_m
    if is_needed:
        raise ParameterError(
            "neither the objects nor the detections have a size, so nothing tells how near a "
            "detection must be. State it in metres: --match distance --value METRES."
        )
    return 0.0


def _of_typical(share: float, typical: TypicalLength) -> str:
    return f"{share:g} of the median longer side of the {typical.of}, {typical.length_m:.3g} m."


def _size_note(pair: VectorPair, share: float, typical: TypicalLength) -> str:
    """Return the rule by size in metres, and how many objects have no size of their own."""
    near = f"a centre within {share * typical.length_m:.3g} m is near enough"
    n_points = int(_is_without_size(pair.ground_truth.objects).sum())
    if n_points:
        return f"for {n_points} objects without a size {near}, {_of_typical(share, typical)}"
    return f"for an object of median length {near}, {_of_typical(share, typical)}"
