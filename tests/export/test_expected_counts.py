"""Counts from calibrated scores: exact for few, nearly normal for many, by scene, date and area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from toy_results import BOX, searched
from windhover.errors import DataError
from windhover.export.expected_counts import (
    MAX_EXACT,
    count_by_area,
    count_by_date,
    count_by_scene,
    expected_count,
)


def test_certain_and_absent_detections_have_no_interval() -> None:
    assert expected_count(np.zeros(0)) == (0, 0.0, 0, 0)
    assert expected_count(np.array([1.0, 1.0, 0.0])) == (3, 2.0, 2, 2)
    assert expected_count(np.array([0.5])) == (1, 0.5, 0, 1)


@pytest.mark.parametrize("n", [30, 400, MAX_EXACT + 500])
def test_intervals_hold_the_number_in_95_of_100_draws(n: int) -> None:
    rng = np.random.default_rng(4)
    scores = rng.beta(2, 1, n)
    drawn = (rng.random((4000, n)) < scores).sum(axis=1)
    count = expected_count(scores)
    held = ((drawn >= count.low) & (drawn <= count.high)).mean()
    assert 0.94 < held < 0.99
    assert count.expected == pytest.approx(scores.sum(), abs=1e-3)


def test_counts_by_scene_and_date_name_what_found_nothing(make_scene: Any) -> None:
    table, summary = searched([make_scene("a.tif"), make_scene("b.tif")], BOX)
    table = table[table["scene"] == "a"]
    scenes = count_by_scene(table, summary).set_index("scene")
    assert scenes["detections"].to_dict() == {"a": 1, "b": 0}
    dates = count_by_date(table, summary)
    assert dates[["date", "scenes", "detections"]].values.tolist() == [["unknown", 2, 1]]


def test_areas_count_what_is_centred_in_them(make_scene: Any, tmp_path: Path) -> None:
    table, summary = searched([make_scene()], BOX, (150, 20, 8, 8))
    west, north = 400_000, 5_000_000
    half = shapely.box(west, north - 187.5, west + 131.25, north)
    away = shapely.box(west + 9e4, north, west + 9.1e4, north + 1e3)
    areas = geopandas.GeoDataFrame({"name": ["half", "away"]}, geometry=[half, away], crs=32631)
    areas.to_file(tmp_path / "areas.gpkg", layer="aoi")
    counts = count_by_area(table, summary, tmp_path / "areas.gpkg").set_index("name")
    assert counts["detections"].to_dict() == {"half": 1, "away": 0}
    assert counts["share_searched"].tolist() == pytest.approx([1, 0], abs=1e-3)
    areas.set_crs(None, allow_override=True).to_parquet(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match=r"nowhere\.parquet: has no coordinate system"):
        count_by_area(table, summary, tmp_path / "nowhere.parquet")
