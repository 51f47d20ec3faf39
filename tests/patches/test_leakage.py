"""What two splits share is measured on the ground, in metres, wherever on Earth it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from windhover.errors import DataError
from windhover.patches import leakage
from windhover.patches.leakage import check_leakage, measure_leakage
from windhover.patches.patch_summary import Leakage


def tables(
    patches: list[tuple[str, str, int, int]],
    origins: dict[str, tuple[float, float]],
    crs: str | None = "EPSG:32601",
) -> Any:
    index = pd.DataFrame(patches, columns=["split", "scene", "left_px", "top_px"]).assign(gsd_m=2.0)
    rows = [
        {
            "scene": scene,
            "crs": crs,
            "transform": [2.0, 0, x, 0, -2.0, y],
            "gsd_x_m": 2.0,
            "gsd_y_m": 2.0,
            "width_px": 999,
            "height_px": 999,
        }
        for scene, (x, y) in origins.items()
    ]
    return index, pd.DataFrame(rows)


def test_distance_between_windows_of_two_scenes() -> None:
    index, scenes = tables(
        [("train", "a", 0, 0), ("test", "b", 0, 0)], {"a": (5e5, 5e6), "b": (5e5 + 1000, 5e6)}
    )
    leakage = measure_leakage(index, scenes, 0)
    # the windows are 128 m wide, their corners 1000 m apart; UTM is 0.04 % short here
    assert leakage.smallest_distance_m == pytest.approx(872 / 0.9996, abs=0.1)
    assert leakage.between in (("b", "a"), ("a", "b"))
    assert leakage.overlapping_patches == 0
    check_leakage(leakage)


@pytest.mark.parametrize(("shift", "overlapping"), [(127.0, 1), (129.0, 0)])
def test_overlap_is_exact_across_scenes(shift: float, overlapping: int) -> None:
    index, scenes = tables(
        [("train", "a", 0, 0), ("test", "b", 0, 0)], {"a": (5e5, 5e6), "b": (5e5 + shift, 5e6)}
    )
    leakage = measure_leakage(index, scenes, 0)
    assert leakage.overlapping_patches == overlapping
    if overlapping:
        with pytest.raises(DataError, match="patches overlap a patch of another split"):
            check_leakage(leakage)


def test_windows_that_reach_out_of_their_scenes_show_nothing_there() -> None:
    index, scenes = tables(
        [("train", "a", 960, 0), ("test", "b", -30, 0)], {"a": (5e5, 5e6), "b": (5e5 + 1999, 5e6)}
    )
    assert measure_leakage(index, scenes, 0).overlapping_patches == 0


def test_overlap_in_one_scene_needs_no_georeference() -> None:
    index, scenes = tables(
        [("train", "a", 0, 0), ("test", "a", 63, 0), ("test", "a", 64, 64)], {"a": (0, 0)}, None
    )
    leakage = measure_leakage(index, scenes, 0)
    assert leakage.overlapping_patches == 2
    assert leakage.smallest_distance_m is None
    assert leakage.scenes_without_georeference == 1


def test_distance_is_short_across_the_antimeridian() -> None:
    index, _ = tables([("train", "a", 0, 0), ("test", "b", 0, 0)], {})
    rows = [
        {
            "scene": name,
            "crs": "EPSG:4326",
            "transform": [2e-5, 0, lon, 0, -2e-5, 0.0],
            "gsd_x_m": 2.0,
            "gsd_y_m": 2.0,
            "width_px": 999,
            "height_px": 999,
        }
        for name, lon in (("a", 179.99), ("b", -179.99))
    ]
    distance = measure_leakage(index, pd.DataFrame(rows), 0).smallest_distance_m
    assert distance == pytest.approx(2226.4 - 64 * 2e-5 * 111_319.5, abs=1)


def test_identical_patches_are_refused() -> None:
    with pytest.raises(
        DataError, match="2 patches have the same pixels as a patch of another split"
    ):
        check_leakage(Leakage(identical_patches=2))


def test_the_smallest_distance_is_the_same_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pair is nearer than the many that are measured, wherever it stands."""
    monkeypatch.setattr(leakage, "MAX_PAIRS", 30)
    scenes = pd.DataFrame(
        [
            {
                "scene": name,
                "crs": "EPSG:32633",
                "transform": [1.0, 0, x, 0, -1.0, 5.6e6],
                "gsd_x_m": 1.0,
                "gsd_y_m": 1.0,
                "width_px": 2000,
                "height_px": 2000,
            }
            for name, x in (("west", 5e5), ("east", 5e5 + 2100))
        ]
    )
    random = np.random.default_rng(0)
    places = [("west", "train", left, top) for left, top in random.integers(1700, 1890, (150, 2))]
    places += [("east", "val", left, top) for left, top in random.integers(40, 200, (150, 2))]
    places += [("west", "train", 1936, 900), ("east", "val", 0, 900)]
    columns = ["scene", "split", "left_px", "top_px"]
    index = pd.DataFrame(places, columns=columns).assign(gsd_m=1.0)
    told = set()
    for seed in range(6):
        mixed = index.sample(frac=1, random_state=seed).reset_index(drop=True)
        told.add(leakage.measure_leakage(mixed, scenes, 0).smallest_distance_m)
    told.add(leakage.measure_leakage(index, scenes, 0).smallest_distance_m)
    told.add(leakage.measure_leakage(index[::-1], scenes, 0).smallest_distance_m)
    assert len(told) == 1
    assert told.pop() == pytest.approx(100, abs=0.1)


def test_the_smallest_gap_may_be_that_of_larger_windows_farther_apart() -> None:
    """Centers 228 m apart with 100 m between, and centers 250 m apart with 58 m between."""
    index, scenes = tables(
        [("train", "a", 0, 0), ("train", "a", 100, 300), ("test", "b", 0, 0), ("test", "b", 0, 0)],
        {"a": (5e5, 5e6), "b": (5e5 + 228, 5e6)},
    )
    index["gsd_m"] = [2.0, 4.0, 2.0, 2.0]
    # the larger window is 256 m wide, from 400 m right of the corner and 1200 m below it
    index.loc[3, ["left_px", "top_px"]] = [(400 + 128 + 250 - 64 - 228) // 2, (1200 + 64) // 2]
    found = measure_leakage(index, scenes, 0)
    assert found.smallest_distance_m == pytest.approx(58 / 0.9996, abs=0.1)
    small = measure_leakage(index.iloc[[0, 2]], scenes, 0)
    assert small.smallest_distance_m == pytest.approx(100 / 0.9996, abs=0.1)
