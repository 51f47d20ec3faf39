"""Distances and size bands of evaluation follow the training GSD, or are metres."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from toy_evaluation import CLASSES, ground_truth, matches_with
from windhover.errors import ParameterError
from windhover.metrics.ap_by_threshold import report_ap_table
from windhover.metrics.evaluation_result import describe_sizes, match_rule_of
from windhover.metrics.group_counts import size_band_name
from windhover.params.evaluate import EvaluateParams
from windhover.params.renamed_keys import current_name


def params(**changes: Any) -> EvaluateParams:
    return EvaluateParams.model_validate(changes)


@pytest.mark.parametrize("gsd_m", [0.05, 0.15, 1.25, 10.0])
def test_the_default_is_the_same_in_px_at_every_gsd(gsd_m: float) -> None:
    assert match_rule_of(params(), gsd_m).point_match_radius_m == pytest.approx(16 * gsd_m)
    edges_m = np.array(params().size_edges_m(gsd_m))
    assert (edges_m / gsd_m).tolist() == pytest.approx([16, 28, 40])
    assert "within 16 px = " in describe_sizes(params(), gsd_m)


def test_at_the_gsd_of_aircraft_nothing_has_changed() -> None:
    assert match_rule_of(params(), 1.25).point_match_radius_m == 20.0
    assert params().size_edges_m(1.25) == [20.0, 35.0, 50.0]
    truth = ground_truth(2, CLASSES, 0)
    table = report_ap_table(
        matches_with(truth, 5), truth, CLASSES, gsd_m=1.25, point_match_radius_m=20.0
    )
    distances = table.loc[table["match_by"] == "distance", "threshold"]
    assert distances.tolist() == ["2", "4", "8", "16", "mean"]
    assert isinstance(table, pd.DataFrame)


@pytest.mark.parametrize("gsd_m", [0.1, 1.25, 10.0])
def test_the_aps_of_a_report_depend_on_px_alone(gsd_m: float) -> None:
    """Objects labelled by points, detections 12 px off: the same APs at every GSD."""
    truth = ground_truth(3, CLASSES, 0)
    far_apart = 200 * gsd_m * np.arange(len(truth.objects))
    points = truth.objects.assign(longer_m=np.nan, x_m=far_apart, y_m=0.0)
    found = points.assign(score=0.9, x_m=far_apart + 12 * gsd_m)
    table = report_ap_table(
        found,
        replace(truth, objects=points),
        CLASSES,
        gsd_m=gsd_m,
        point_match_radius_m=params().point_radius_m(gsd_m),
    )
    rows = table[table["match_by"] != "iou"].groupby("match_by")["ap"].apply(list)
    assert rows["distance"] == pytest.approx([0, 0, 0, 1, 0.25])
    assert rows["size"] == pytest.approx([1] * 6)


def test_metres_are_absolute_and_old_keys_are_read() -> None:
    stated = params(point_match_radius_m=12.0, size_bands_m=[5.0, 9.0])
    assert match_rule_of(stated, 0.5).point_match_radius_m == 12.0
    assert stated.size_edges_m(0.5) == [5.0, 9.0]
    assert current_name("evaluate.point_reach_m") == "evaluate.point_match_radius_m"
    sentence = describe_sizes(stated, 0.5)
    assert "within 24 px = 12 m" in sentence
    assert "size bands end at 10, 18 px = 5, 9 m" in sentence


@pytest.mark.parametrize(
    ("gsd_m", "changes", "sentence"),
    [
        (
            30.0,
            {"point_match_radius_m": 20.0},
            (
                "`evaluate.point_match_radius_m`: must be 1 to 64 px (30 to 1920 m) at the "
                "training GSD of 30 m, got 0.667 px = 20 m"
            ),
        ),
        (
            0.15,
            {"point_match_radius_m": 20.0},
            "`evaluate.point_match_radius_m`: must be 1 to 64 px (0.15 to 9.6 m)",
        ),
        (1.25, {"point_match_radius_px": 0.9}, "`evaluate.point_match_radius_px`: must be 1 to"),
        (
            1.25,
            {"match_by": "distance"},
            (
                "`evaluate.match_value`: must be 1 to 64 px (1.25 to 80 m) at the training GSD of "
                "1.25 m, got 0.4 px = 0.5 m"
            ),
        ),
    ],
)
def test_a_distance_that_does_not_fit_is_an_error(
    gsd_m: float, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        match_rule_of(params(**changes), gsd_m)


@pytest.mark.parametrize("name", ["px", "m"])
def test_size_bands_rise(name: str) -> None:
    with pytest.raises(ValidationError, match=f"size_bands_{name} must rise and be above 0"):
        params(**{f"size_bands_{name}": [3.0, 2.0]})


def test_bands_are_told_in_both_units() -> None:
    assert size_band_name(20, 35) == "20 to 35 m"
    assert size_band_name(20, 35, 1.25) == "20 to 35 m (16 to 28 px)"
    assert size_band_name(50, np.inf, 1.25) == "50 m (40 px) and more"
    assert size_band_name(np.nan, np.nan, 1.25) == "size unknown"
