"""The built-in world: the same bytes for a seed, complete labels on the aircraft, aircraft rare
enough.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.files import sha256_file
from windhover.params import check_params, read_yaml
from windhover.params.simulate import SimulateParams
from windhover.simulate.aircraft import LIVERIES, TYPES, Aircraft
from windhover.simulate.planning import SceneSpec, plan_scenes
from windhover.simulate.world import make_world, render_scene

ROOT = Path(__file__).parents[2]
DEFAULTS: dict[str, Any] = dict(read_yaml(ROOT / "params.yaml")["simulate"])
TINY: dict[str, Any] = {
    "train_places": 1,
    "val_places": 1,
    "test_places": 1,
    "scene_width_px": 330,
    "scene_height_px": 260,
    "fine_scenes": 1,
    "fine_width_px": 400,
    "fine_height_px": 300,
    "aircraft_per_scene": 3,
    "search_tiles": 4,
    "search_tile_px": 160,
    "search_empty": 2,
    "search_aircraft": 3,
}


def params_with(**changes: Any) -> SimulateParams:
    """Return the committed parameters with some changed."""
    return check_params("simulate", SimulateParams, {**DEFAULTS, **changes})


@pytest.fixture(scope="module")
def default_scenes() -> list[SceneSpec]:
    """The scenes that `make repro` draws."""
    return plan_scenes(params_with())


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        make_world(
            params_with(**{**TINY, "search_tiles": 2, "search_empty": 1}), tmp_path / name, workers
        )
    files = sorted(
        path.relative_to(tmp_path / "one")
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    )
    assert len(files) == 5 + 5 + 1
    assert [sha256_file(tmp_path / "one" / file) for file in files] == [
        sha256_file(tmp_path / "two" / file) for file in files
    ]


def test_another_seed_gives_another_world() -> None:
    first, second = (plan_scenes(params_with(**TINY, seed=seed))[0] for seed in (1, 2))
    assert not np.array_equal(render_scene(first)[0], render_scene(second)[0])


def test_aircraft_change_pixels_inside_their_labels_and_only_shadows_outside(
    default_scenes: list[SceneSpec],
) -> None:
    spec = next(
        spec for spec in default_scenes if spec.place.split == "test" and len(spec.aircraft) >= 2
    )
    calm = replace(spec, sensor=replace(spec.sensor, cloud=0.0, noise_dn=0.0))
    drawn, labels = render_scene(calm)
    empty, none = render_scene(replace(calm, aircraft=()))
    assert len(labels) == len(spec.aircraft)
    assert len(none) == 0
    changed = np.abs(drawn.astype(int) - empty.astype(int)).max(axis=0) > 3
    brighter = (drawn.astype(int) - empty.astype(int)).min(axis=0) > 3
    near, inside = np.zeros_like(changed), np.zeros_like(changed)
    for polygon in labels.geometry:
        west, south, east, north = polygon.bounds
        left, top = ~spec.transform @ (west, north)
        right, bottom = ~spec.transform @ (east, south)
        rows, cols = (
            slice(max(0, round(top)), round(bottom)),
            slice(max(0, round(left)), round(right)),
        )
        assert changed[rows, cols].mean() > 0.15
        for side in (
            changed[rows, cols].any(axis=0),
            changed[rows, cols].any(axis=1),
        ):  # the box fits tightly
            assert side.all()
        inside[max(0, int(top) - 1) : int(bottom) + 3, max(0, int(left) - 1) : int(right) + 3] = (
            True
        )
        near[max(0, int(top) - 30) : int(bottom) + 30, max(0, int(left) - 30) : int(right) + 30] = (
            True
        )
    assert not changed[~near].any()
    assert not brighter[~inside].any()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(TYPES)),
    heading=st.floats(-7, 7),
    livery=st.sampled_from(sorted(LIVERIES)),
)
def test_aircraft_have_their_true_length_and_span(kind: str, heading: float, livery: str) -> None:
    west, south, east, north = Aircraft(kind, livery, (10.0, -20.0), 0.0).bounds_en()
    assert east - west == pytest.approx(TYPES[kind].length_m, rel=0.02)
    assert north - south == pytest.approx(TYPES[kind].span_m, rel=0.001)
    turned = Aircraft(kind, livery, (10.0, -20.0), heading)
    west, south, east, north = turned.bounds_en()
    assert west - 1e-6 <= 10 <= east + 1e-6
    assert south - 1e-6 <= -20 <= north + 1e-6
    assert max(east - west, north - south) <= np.hypot(TYPES[kind].length_m, TYPES[kind].span_m)


def test_at_most_one_window_in_200_holds_an_aircraft(default_scenes: list[SceneSpec]) -> None:
    windows = hits = 0
    for spec in default_scenes:
        ratio = spec.gsd_m / 1.25
        cols, rows = (
            8 * np.arange((int(size * ratio) - 64) // 8 + 1) + 32
            for size in (spec.width_px, spec.height_px)
        )
        hit = np.zeros((len(rows), len(cols)), bool)
        for col, row in centers_px(spec) * ratio:
            hit |= (np.abs(rows - row) <= 16)[:, None] & (np.abs(cols - col) <= 16)[None, :]
        windows, hits = windows + hit.size, hits + int(hit.sum())
    assert hits * 200 <= windows
    assert hits * 400 >= windows  # rare, yet enough to learn from


def centers_px(spec: SceneSpec) -> np.ndarray:
    """Return the middles of the aircraft's boxes (N, 2) as col, row of the scene."""
    boxes = np.array([aircraft.bounds_en() for aircraft in spec.aircraft]).reshape(-1, 4)
    return (
        np.stack(
            [
                (boxes[:, 0] + boxes[:, 2]) / 2 - spec.view.west,
                spec.view.north - (boxes[:, 1] + boxes[:, 3]) / 2,
            ],
            axis=1,
        )
        / spec.gsd_m
    )


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
    assert len({aircraft.kind for spec in default_scenes for aircraft in spec.aircraft}) >= 9
    twins = dict.fromkeys(set.union(*places.values()), 0)
    for spec in default_scenes:
        twins[spec.place.name] += sum(aircraft.kind == "B350" for aircraft in spec.aircraft)
    assert min(twins.values()) >= 1  # light aircraft, at every place
    assert min(twins[name] for name in places["train"]) >= 2
    assert sum(twins[name] for name in places["test"]) <= 8
    assert sum(len(spec.aircraft) for spec in search) == 40
    assert len({aircraft.livery for spec in default_scenes for aircraft in spec.aircraft}) >= 6


def test_files_are_what_the_catalog_reads(tmp_path: Path) -> None:
    count = make_world(params_with(**TINY), tmp_path / "raw", 1)
    places = pd.read_csv(tmp_path / "raw" / "places.csv")
    assert list(places.columns) == ["scene", "place", "split"]
    assert set(places["split"]) == {"train", "val", "test"}
    labels = 0
    for scene in places["scene"]:
        with rasterio.open(tmp_path / "raw" / f"{scene}.tif") as dataset:
            assert dataset.dtypes == ("uint8",) * 3
            assert dataset.profile["compress"] == "deflate"
            assert dataset.nodata is None
            bounds = dataset.bounds
            found = gpd.read_file(tmp_path / "raw" / "labels" / f"{scene}.gpkg", layer="labels")
            assert found.crs == dataset.crs
        assert list(found.columns) == ["class", "geometry"]
        assert set(found["class"]) <= {"aircraft"}
        centers = found.geometry.centroid
        assert centers.x.between(bounds.left, bounds.right).all()
        assert centers.y.between(bounds.bottom, bounds.top).all()
        labels += len(found)
    assert labels == count > 0


def test_four_bands_with_a_nodata_border(tmp_path: Path) -> None:
    overlay = dict(read_yaml(ROOT / "params" / "fourband.yaml")["simulate"])
    make_world(params_with(**{**TINY, **overlay}), tmp_path / "raw", 1)
    for path in (tmp_path / "raw").glob("*.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.dtypes == ("uint16",) * 4
            assert dataset.nodata == 0
            pixels, valid = dataset.read(), dataset.dataset_mask() > 0
        assert 0.4 < valid.mean() < 0.995
        assert (pixels[:, valid] > 0).all()
        assert (pixels[:, ~valid] == 0).all()
        assert np.median(pixels[:, valid]) > 300
        found = gpd.read_file(tmp_path / "raw" / "labels" / f"{path.stem}.gpkg")
        with rasterio.open(path) as dataset:
            for polygon in found.geometry:
                row, col = dataset.index(polygon.centroid.x, polygon.centroid.y)
                assert valid[row, col]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"gsd_m": 9.0},
            r"`simulate.gsd_m`: .*less than or equal to 3, got 9.0. Set `simulate.gsd_m` in params.yaml",
        ),
        ({"bands": 5}, r"`simulate.bands`: .*3 or 4, got 5"),
        (
            {"search_empty": 50},
            r"`simulate.search_empty` must be at most `simulate.search_tiles` \(36 tiles\), got 50\. Set",
        ),
        (
            {"search_tiles": 2, "search_empty": 0},
            r"`simulate.test_places` must be at most `simulate.search_tiles` \(2 tiles\), got 4\. Set",
        ),
    ],
)
def test_a_wrong_parameter_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        plan_scenes(params_with(**changes))


def test_nothing_is_left_behind_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("windhover.simulate.world.write_scene", fail)
    with pytest.raises(OSError, match="disk full"):
        make_world(params_with(**TINY), tmp_path / "raw", 1)
    assert list(tmp_path.iterdir()) == []
