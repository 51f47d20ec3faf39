"""The built-in world: the same bytes for a seed, and complete labels on the aircraft."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

from toy_world import ROOT, TINY, params_with
from windhover.files import sha256_file
from windhover.params import read_yaml
from windhover.simulate.scene_plan import SceneSpec, plan_scenes
from windhover.simulate.world import make_world, render_scene


@pytest.fixture(scope="module")
def default_scenes() -> list[SceneSpec]:
    """Return the scenes that `make repro` draws."""
    return plan_scenes(params_with())


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        params = params_with(**{**TINY, "search_tiles": 2, "search_empty": 1})
        make_world(params, tmp_path / name, workers)
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
    tiles = [spec for spec in default_scenes if spec.place.split == "test"]
    spec = next(spec for spec in tiles if len(spec.aircraft) >= 2)
    calm = replace(spec, sensor=replace(spec.sensor, cloud=0.0, noise_dn=0.0))
    drawn, labels = render_scene(calm)
    empty, none = render_scene(replace(calm, aircraft=()))
    assert len(labels) == len(spec.aircraft)
    assert len(none) == 0
    changed = np.abs(drawn.astype(int) - empty.astype(int)).max(axis=0) > 3
    brighter = (drawn.astype(int) - empty.astype(int)).min(axis=0) > 3
    near = np.zeros_like(changed)
    inside = np.zeros_like(changed)
    for polygon in labels.geometry:
        west, south, east, north = polygon.bounds
        left, top = ~spec.transform @ (west, north)
        right, bottom = ~spec.transform @ (east, south)
        rows = slice(max(0, round(top)), round(bottom))
        cols = slice(max(0, round(left)), round(right))
        box = changed[rows, cols]
        assert box.mean() > 0.15
        assert box.any(axis=0).all()  # the box fits tightly
        assert box.any(axis=1).all()
        for mask, before, after in ((inside, 1, 3), (near, 30, 30)):
            rows = slice(max(0, int(top) - before), int(bottom) + after)
            cols = slice(max(0, int(left) - before), int(right) + after)
            mask[rows, cols] = True
    assert not changed[~near].any()
    assert not brighter[~inside].any()


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


def test_nothing_is_left_behind_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("windhover.simulate.world.write_scene", fail)
    with pytest.raises(OSError, match="disk full"):
        make_world(params_with(**TINY), tmp_path / "raw", 1)
    assert list(tmp_path.iterdir()) == []
