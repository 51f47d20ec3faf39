"""The planned world holds what it should, and aircraft are rare in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toy_world import params_with
from windhover.errors import ParameterError
from windhover.simulate.scene_plan import SceneSpec, plan_scenes


@pytest.fixture(scope="module")
def default_scenes() -> list[SceneSpec]:
    """Return the scenes that `make repro` draws."""
    return plan_scenes(params_with())


def centers_px(spec: SceneSpec) -> np.ndarray:
    """Return the centers (N, 2) of the aircraft's boxes as col, row of the scene."""
    boxes = np.array([aircraft.bounds_en() for aircraft in spec.aircraft]).reshape(-1, 4)
    cols = (boxes[:, 0] + boxes[:, 2]) / 2 - spec.view.west
    rows = spec.view.north - (boxes[:, 1] + boxes[:, 3]) / 2
    return np.stack([cols, rows], axis=1) / spec.gsd_m


def test_at_most_one_window_in_200_holds_an_aircraft(default_scenes: list[SceneSpec]) -> None:
    n_windows = 0
    n_hits = 0
    for spec in default_scenes:
        ratio = spec.gsd_m / 1.25
        cols, rows = (
            8 * np.arange((int(size * ratio) - 64) // 8 + 1) + 32
            for size in (spec.width_px, spec.height_px)
        )
        hit = np.zeros((len(rows), len(cols)), bool)
        for col, row in centers_px(spec) * ratio:
            hit |= (np.abs(rows - row) <= 16)[:, None] & (np.abs(cols - col) <= 16)[None, :]
        n_windows += hit.size
        n_hits += int(hit.sum())
    assert n_hits * 200 <= n_windows
    assert n_hits * 400 >= n_windows  # rare, yet enough to learn from


def test_the_default_world_holds_what_it_should(default_scenes: list[SceneSpec]) -> None:
    search = [spec for spec in default_scenes if spec.place.split == "test"]
    assert len(search) == 36
    assert {(spec.width_px, spec.height_px) for spec in search} == {(512, 512)}
    assert sum(not spec.aircraft for spec in search) >= 12
    assert sum(bool(spec.aircraft) for spec in search) >= 18
    places = {
        split: {spec.place.name for spec in default_scenes if spec.place.split == split}
        for split in ("train", "val", "test")
    }
    assert len(places["train"]) >= 5
    assert 2 <= len(places["val"]) <= 3
    assert len(set.union(*places.values())) == sum(map(len, places.values()))
    zones = {spec.place.epsg for spec in default_scenes}
    assert {zone // 100 for zone in zones} == {326, 327}
    fine = [spec for spec in default_scenes if spec.gsd_m == 0.5]
    assert {spec.place.split for spec in fine} == {"train", "val"}
    learned = sum(
        spec.width_px * spec.height_px * (spec.gsd_m / 1.25) ** 2
        for spec in default_scenes
        if spec.place.split != "test"
    )
    assert 12e6 < learned < 16.5e6
    for spec in default_scenes:
        cols, rows = centers_px(spec).T
        assert ((cols > 0) & (cols < spec.width_px) & (rows > 0) & (rows < spec.height_px)).all()
    assert len({aircraft.type_name for spec in default_scenes for aircraft in spec.aircraft}) >= 9
    n_light = dict.fromkeys(set.union(*places.values()), 0)  # light aircraft
    for spec in default_scenes:
        n_light[spec.place.name] += sum(aircraft.type_name == "B350" for aircraft in spec.aircraft)
    assert min(n_light.values()) >= 1  # at every place
    assert min(n_light[name] for name in places["train"]) >= 2
    assert sum(n_light[name] for name in places["test"]) <= 8
    assert sum(len(spec.aircraft) for spec in search) == 40
    assert len({aircraft.livery for spec in default_scenes for aircraft in spec.aircraft}) >= 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"gsd_m": 9.0},
            (
                r"`simulate`: `gsd_m` of a world of aircraft must be 0.3 to 3 m, got 9. "
                r"Set `simulate` in params.yaml"
            ),
        ),
        ({"bands": 5}, r"`simulate.bands`: .*3 or 4, got 5"),
        (
            {"search_empty": 50},
            (
                r"`simulate.search_empty` must be at most `simulate.search_tiles` "
                r"\(36 tiles\), got 50\. Set"
            ),
        ),
        (
            {"search_tiles": 2, "search_empty": 0},
            (
                r"`simulate.test_places` must be at most `simulate.search_tiles` "
                r"\(2 tiles\), got 6\. Set"
            ),
        ),
    ],
)
def test_a_wrong_parameter_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plan_scenes(params_with(**changes))
