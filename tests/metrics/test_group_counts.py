"""Counts by scene, place and size against counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import (
    counts_by_place,
    counts_by_scene,
    counts_by_size,
    size_band_name,
)

SCENES = pd.DataFrame(
    {
        "scene": ["a", "b", "c", "d"],
        "place": ["p", "p", "q", "r"],
        "km2": [1.0, 3.0, 0.5, 0.0],
    }
)
# scene, longer side in m
OBJECTS = [("a", 10.0), ("a", 20.0), ("a", 35.0), ("c", np.nan)]
# scene, score, index of the object, ignored
FOUND = [
    ("a", 0.9, 0, False),
    ("a", 0.5, 1, False),  # at the threshold
    ("a", 0.4, 2, False),
    ("b", 0.8, -1, False),
    ("b", 0.7, -1, True),
    ("c", 0.6, 3, False),
    ("d", 0.9, -1, False),
]


@pytest.fixture
def truth() -> GroundTruth:
    objects = pd.DataFrame(OBJECTS, columns=["scene", "longer_m"]).assign(**{"class": "jet"})
    return GroundTruth(SCENES, objects, pd.DataFrame({"scene": [], "geometry": []}))


@pytest.fixture
def matches() -> pd.DataFrame:
    table = pd.DataFrame(FOUND, columns=["scene", "score", "object_index", "ignored"])
    return table.assign(**{"class": "jet"}, is_tp=table["object_index"] >= 0)


def test_scenes_are_counted_one_by_one(truth: GroundTruth, matches: pd.DataFrame) -> None:
    table = counts_by_scene(matches, truth, {"jet": 0.5}).set_index("scene")
    columns = ["objects", "reported", "found", "false_alarms", "count_error"]
    assert table[columns].to_numpy().tolist() == [
        [3, 2, 2, 0, -1],
        [0, 1, 0, 1, 1],
        [1, 1, 1, 0, 0],
        [0, 1, 0, 1, 1],
    ]
    assert table["recall"].to_list() == pytest.approx([2 / 3, np.nan, 1.0, np.nan], nan_ok=True)
    assert table["precision"].to_list() == pytest.approx([1.0, 0.0, 1.0, 0.0])


def test_a_scene_without_a_detection_expects_no_object(
    truth: GroundTruth, matches: pd.DataFrame
) -> None:
    table = counts_by_scene(matches[matches["scene"] != "c"], truth, {"jet": 0.5})
    expected = table.set_index("scene")[["expected", "expected_low", "expected_high"]]
    assert expected.loc["c"].to_list() == [0.0, 0.0, 0.0]
    assert expected.loc["a", "expected"] == pytest.approx(1.8)
    half_width = 1.96 * np.sqrt(0.9 * 0.1 + 0.5 * 0.5 + 0.4 * 0.6)
    assert expected.loc["a", "expected_high"] == pytest.approx(1.8 + half_width)
    assert expected.loc["b", "expected"] == pytest.approx(0.8)  # the ignored one left out


def test_places_are_sums_of_their_scenes(truth: GroundTruth, matches: pd.DataFrame) -> None:
    table = counts_by_place(counts_by_scene(matches, truth, {"jet": 0.5})).set_index("place")
    assert table["scenes"].to_list() == [2, 1, 1]
    assert table["km2"].to_list() == [4.0, 0.5, 0.0]
    assert table["recall"].to_list() == pytest.approx([2 / 3, 1.0, np.nan], nan_ok=True)
    assert table["precision"].to_list() == pytest.approx([2 / 3, 1.0, 0.0])
    per_km2 = table["false_alarms_per_km2"].to_list()
    assert per_km2 == pytest.approx([0.25, 0.0, np.nan], nan_ok=True)


def test_a_size_at_an_edge_is_of_the_larger_band(truth: GroundTruth, matches: pd.DataFrame) -> None:
    table = counts_by_size(matches, truth, {"jet": 0.5}, edges_m=[10.0, 20.0, 50.0])
    assert table["objects"].to_list() == [0, 1, 2, 0, 1]
    assert table["found"].to_list() == [0, 1, 1, 0, 1]
    assert table["recall"].to_list() == pytest.approx([np.nan, 1, 0.5, np.nan, 1], nan_ok=True)
    names = [size_band_name(row.from_m, row.to_m) for row in table.itertuples()]
    assert names == ["0 to 10 m", "10 to 20 m", "20 to 50 m", "50 m and more", "size unknown"]
