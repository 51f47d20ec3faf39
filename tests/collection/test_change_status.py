"""What became of objects between dates: the formula by enumeration, and when nothing is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toy_collection as toy
from windhover.collection.change_status import (
    NO_DATE,
    Observations,
    changes_of,
    probability_absent,
)
from windhover.imagery.ground_mask import GroundMask

X, Y = toy.ORIGIN
PLACE = (X + 200.0, Y - 150.0, 0.9)
DATES = ("2026-05-01T10:00:00Z", "2026-06-01T10:00:00Z", "2026-07-01T10:00:00Z")


def changes(*seen: tuple[int, int, float], recall: Any = (0.8,)) -> Any:
    """Return what became of objects from object, date and score (NaN where missed)."""
    columns = np.array(seen, float).T
    observations = Observations(columns[0].astype(int), columns[1].astype(int), columns[2])
    return changes_of(observations, np.array(recall, float))


@pytest.mark.parametrize("recall", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("n_missed", [(1,), (3,), (1, 2)])
@pytest.mark.parametrize("score", [0.4, 0.9])
def test_absence_follows_bayes_by_enumeration(
    recall: float, n_missed: tuple[int, ...], score: float
) -> None:
    weights = {}  # of each state, with the misses that are seen
    for there in product((True, False), repeat=len(n_missed)):
        weights[there] = score
        for is_there, count in zip(there, n_missed, strict=True):
            weights[there] *= 0.5 * (1 - recall) ** count if is_there else 0.5
    weights["false alarm"] = 1 - score
    expected = weights[(False,) * len(n_missed)] / sum(weights.values())
    counts = [np.array([count]) for count in n_missed]
    found = probability_absent(np.array([score]), np.array([recall]), *counts)
    assert found[0] == pytest.approx(expected)


def test_the_probability_is_the_share_of_simulated_places() -> None:
    rng = np.random.default_rng(0)
    count = 400_000
    is_object = rng.random(count) < 0.8  # of what is found with this calibrated score
    is_there_later = is_object & (rng.random(count) < 0.5)
    is_missed = ~(is_there_later & (rng.random(count) < 0.7))
    share = (is_object & ~is_there_later)[is_missed].mean()
    found = changes((0, 0, 0.8), (0, 1, np.nan), recall=[0.7])
    assert found.status.tolist() == ["gone"]
    assert found.probability[0] == pytest.approx(share, abs=0.005)


def test_two_dates_give_the_three_changes() -> None:
    nan = np.nan
    found = changes(
        (0, 0, 0.9), (0, 1, 0.8), (1, 0, 0.9), (1, 1, nan), (2, 0, nan), (2, 1, 0.7),
        recall=[0.8, 0.8, 0.8],
    )  # fmt: skip
    assert found.status.tolist() == ["stayed", "gone", "appeared"]
    expected = [0.9 * 0.8, 0.45 / (0.1 + 0.9 * 0.6), 0.35 / (0.3 + 0.7 * 0.6)]
    assert found.probability.tolist() == pytest.approx(expected)
    assert found.absent_after.tolist() == [NO_DATE, 1, NO_DATE]
    assert found.absent_before.tolist() == [NO_DATE, NO_DATE, 0]


def test_more_misses_are_more_certain_and_the_nearest_is_named() -> None:
    nan = np.nan
    found = changes(
        (0, 0, nan), (0, 1, nan), (0, 2, 0.9), (0, 3, nan), (0, 4, nan), (1, 2, 0.9), (1, 4, nan),
        recall=[0.8, 0.8],
    )  # fmt: skip
    assert found.status.tolist() == ["temporary", "gone"]
    assert (found.absent_before[0], found.absent_after[0]) == (1, 3)
    assert found.probability[0] == pytest.approx(0.9 * 0.25 / (0.1 + 0.9 * 0.52**2))
    assert found.absent_after[1] == 4


def test_one_date_tells_nothing_of_change() -> None:
    found = changes((0, 0, 0.9), recall=[0.8])
    assert found.status.tolist() == [""]
    assert np.isnan(found.probability[0])
    assert found.dates_found.tolist() == [1]


def test_a_gap_between_finds_is_no_change() -> None:
    found = changes((0, 0, 0.9), (0, 1, np.nan), (0, 2, 0.8))
    assert found.status.tolist() == ["stayed"]


def test_without_recall_a_miss_has_no_probability() -> None:
    found = changes((0, 0, 0.9), (0, 1, np.nan), (1, 0, 0.9), (1, 1, 0.8), recall=[np.nan] * 2)
    assert found.status.tolist() == ["gone", "stayed"]
    assert np.isnan(found.probability[0])
    assert found.probability[1] == pytest.approx(0.72)


def later(name: str = "later", places: Any = (), **options: Any) -> Any:
    return toy.scene(name, places, acquired=DATES[1], **options)


def status(folder: Path, *scenes: Any, **options: Any) -> str | None:
    """Return what became of the one object of scenes."""
    _, table = toy.collect(folder, *scenes, recalls={"plane": 0.8}, **options)
    assert len(table) == 1
    value = table.loc[0, "status"]
    return None if pd.isna(value) else value


def first() -> Any:
    return toy.scene("first", [PLACE], acquired=DATES[0])


def test_what_a_later_scene_does_not_show_is_gone(tmp_path: Path) -> None:
    assert status(tmp_path / "out", first(), later()) == "gone"
    assert status(tmp_path / "out", first(), later(places=[PLACE])) == "stayed"
    late = toy.scene("late", [PLACE], acquired=DATES[2])
    assert status(tmp_path / "out", later(), late) == "appeared"
    assert status(tmp_path / "out", first(), later("b", [PLACE]), late) == "stayed"


def test_dates_come_as_names_of_days(tmp_path: Path) -> None:
    _, table = toy.collect(tmp_path / "out", first(), later(), recalls={"plane": 0.8})
    columns = ["first_found", "last_found", "absent_after", "dates_found", "views_possible"]
    assert table.loc[0, columns].tolist() == ["2026-05-01", "2026-05-01", "2026-06-01", 1, 2]
    assert pd.isna(table.loc[0, "absent_before"])


def test_ground_beyond_the_later_scene_was_not_seen(tmp_path: Path) -> None:
    assert status(tmp_path / "out", first(), later(origin=(X + 400, Y))) is None
    # a part of the box alone is in it
    assert status(tmp_path / "out", first(), later(origin=(X + 195, Y))) is None


def test_ground_that_was_not_searched_was_not_seen(tmp_path: Path) -> None:
    area = f"POLYGON (({X + 300} {Y}, {X + 600} {Y}, {X + 600} {Y - 450}, {X + 300} {Y}))"
    assert status(tmp_path / "out", first(), later(area_wkt=area)) is None


@pytest.mark.parametrize("origin_px", [(0, 0), (410, 157)])
def test_ground_without_data_was_not_seen(
    tmp_path: Path, make_scene: Any, origin_px: tuple[int, int]
) -> None:
    """The file of a spatial block holds the block alone, wherever in its raster it is."""
    pixels = np.full((1, 900, 1200), 90, np.uint8)
    whole = make_scene("whole.tif", data=pixels, gsd_m=toy.GSD_M, nodata=0)
    assert status(tmp_path / "out", first(), later(path=whole, origin_px=origin_px)) == "gone"
    pixels[:, 250:340, 300:460] = 0  # about the place
    holed = make_scene("holed.tif", data=pixels, gsd_m=toy.GSD_M, nodata=0)
    assert status(tmp_path / "out", first(), later(path=holed, origin_px=origin_px)) is None


def test_ground_under_a_cloud_was_not_seen(tmp_path: Path, make_scene: Any) -> None:
    raster = make_scene("later.tif", shape_hw=(900, 1200), gsd_m=toy.GSD_M)
    clouds = np.zeros((1, 450, 600), np.uint8)
    mask = make_scene("clear.tif", data=clouds, gsd_m=2 * toy.GSD_M)
    clear = later(path=raster, mask=GroundMask(str(mask)))
    assert status(tmp_path / "out", first(), clear) == "gone"
    clouds[:, :200, :300] = 1
    mask = make_scene("clouds.tif", data=clouds, gsd_m=2 * toy.GSD_M)
    cloudy = later(path=raster, mask=GroundMask(str(mask)))
    assert status(tmp_path / "out", first(), cloudy) is None


def test_a_raster_that_has_moved_counts_by_its_outline(tmp_path: Path) -> None:
    scenes = (first(), later(path=tmp_path / "moved.tif"))
    manifest, table = toy.collect(tmp_path / "out", *scenes, recalls={"plane": 0.8})
    assert table["status"].tolist() == ["gone"]
    assert manifest.counted_by_outline == ("later",)
    assert any("1 scene could not be read again" in line for line in manifest.lines())


def test_a_mask_that_has_moved_shows_nothing(tmp_path: Path) -> None:
    lost = GroundMask(str(tmp_path / "moved.tif"))
    assert status(tmp_path / "out", first(), later(mask=lost)) is None


def test_scenes_without_a_date_tell_of_no_change(tmp_path: Path) -> None:
    undated = toy.scene("undated", acquired=None)
    assert status(tmp_path / "out", first(), undated) is None
    found = toy.scene("found", [PLACE], acquired=None)
    assert status(tmp_path / "out", undated, found, later()) is None


def test_several_scenes_of_one_day_are_one_date(tmp_path: Path) -> None:
    same_day = toy.scene("same", acquired="2026-05-01T10:00:20Z")
    assert status(tmp_path / "out", first(), same_day) is None
