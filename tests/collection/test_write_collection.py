"""Collections of made-up scenes: each object once, wherever on Earth and however searched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import shapely

import toy_collection as toy
from windhover.collection import collection_files, detection_spill, spatial_grid
from windhover.collection.write_collection import write_collection
from windhover.errors import DataError, ParameterError
from windhover.export.collected_scene import UnsearchedScene
from windhover.inference.search_results import FailedBlock

X, Y = toy.ORIGIN


def spread(count: int, seed: int, least_m: float = 30.0) -> list[tuple[float, float, float]]:
    """Return places with scores over 900 x 700 m, `least_m` apart or more."""
    rng = np.random.default_rng(seed)
    places: list[tuple[float, float, float]] = []
    while len(places) < count:
        x, y = rng.uniform((X, Y - 700), (X + 900, Y))
        if all(np.hypot(x - a, y - b) >= least_m for a, b, _ in places):
            places.append((x, y, round(float(rng.uniform(0.5, 1)), 3)))
    return places


def strips(places: Any, seed: int, **options: Any) -> list[Any]:
    """Return scenes of 600 x 450 m that overlap by a quarter, shifted by 0 to 3 px."""
    rng = np.random.default_rng(seed)
    scenes = []
    for col in range(3):
        for row in range(3):
            shift = rng.integers(0, 4, 2) * toy.GSD_M
            corner = (X - 50 + col * 450 + shift[0], Y + 50 - row * 337 - shift[1])
            jitter = rng.normal(0, 0.7, (len(places), 2))
            seen = [
                (place[0] + dx, place[1] + dy, place[2], *place[3:])
                for place, (dx, dy) in zip(places, jitter, strict=True)
            ]
            scenes.append(toy.scene(f"s{col}{row}", seen, origin=corner, **options))
    return scenes


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(4))
def test_each_object_of_overlapping_scenes_stands_once(seed: int, tmp_path: Path) -> None:
    places = spread(60, seed)
    manifest, table = toy.collect(tmp_path / "out", *strips(places, seed))
    assert len(table) == 60
    found = shapely.points(table[["x", "y"]].to_numpy())
    truth = shapely.points([place[:2] for place in places])
    index, distance = shapely.STRtree(truth).query_nearest(found, return_distance=True)
    assert sorted(index[1].tolist()) == list(range(60))
    assert distance.max() < 4
    assert table["views"].sum() == manifest.found.detections
    assert (table["views_possible"] >= table["views"]).all()


def test_neither_order_nor_batches_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = strips(spread(50, 1), 1)
    toy.collect(tmp_path / "a", *scenes)
    monkeypatch.setattr(detection_spill, "BATCH_ROWS", 7)
    toy.collect(tmp_path / "b", *scenes[::-1])
    toy.collect(tmp_path / "b", *scenes[3:], *scenes[:3])  # written over
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_files_of_any_size_hold_the_same_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = strips(spread(50, 2), 2)
    _, whole = toy.collect(tmp_path / "a", *scenes)
    monkeypatch.setattr(spatial_grid, "MAX_ROWS", 9)
    manifest, parts = toy.collect(tmp_path / "b", *scenes)
    pd.testing.assert_frame_equal(pd.DataFrame(whole), pd.DataFrame(parts))
    rows = [file.rows for file in manifest.files if file.path.startswith("objects/")]
    assert sum(rows) == 50
    assert max(rows) == 9


def test_no_object_has_two_views_of_one_raster(tmp_path: Path) -> None:
    places = spread(80, 3, least_m=9.0)  # nearer than half their size
    toy.collect(tmp_path / "out", *strips(places, 3))
    views = pd.read_parquet(tmp_path / "out" / "views.parquet")
    assert not views.duplicated(["object", "scene"]).any()
    assert not views["id"].duplicated().any()
    assert views.groupby("object")["is_best"].sum().eq(1).all()


def test_objects_in_two_zones_are_one(tmp_path: Path) -> None:
    # UTM 31 and 32 meet at 6 degrees east
    place = [(735_600.0, 4_987_000.0, 0.9), (735_700.0, 4_987_000.0, 0.8)]
    east = toy.scene("east", place, crs=toy.UTM, origin=(735_300.0, 4_987_200.0))
    corner = toy.transformer(toy.UTM, "EPSG:32632").transform(735_300.0, 4_987_300.0)
    west = toy.scene("west", place, crs="EPSG:32632", origin=corner, places_crs=toy.UTM)
    _, table = toy.collect(tmp_path / "out", east, west)
    assert table["views"].tolist() == [2, 2]
    assert set(table["scene_crs"]) <= {toy.UTM, "EPSG:32632"}


def test_objects_at_the_antimeridian_are_one(tmp_path: Path) -> None:
    # the same places in UTM 60 (their east) and in UTM 1 (their west), on both sides of 180 degrees
    lonlat = np.array([(179.9995, 52.0), (-179.9995, 52.0), (180.0, 52.001)])
    scenes = []
    for name, crs in (("asia", "EPSG:32660"), ("america", "EPSG:32601")):
        x, y = toy.transformer("EPSG:4326", crs).transform(*lonlat.T)
        places = [(a, b, 0.9) for a, b in zip(x, y, strict=True)]
        scenes.append(toy.scene(name, places, crs=crs, origin=(x.min() - 100, y.max() + 100)))
    manifest, table = toy.collect(tmp_path / "out", *scenes)
    assert table["views"].tolist() == [2, 2, 2]
    assert (table["views_possible"] == 2).all()
    cells = {file.path.split("/")[1] for file in manifest.files if "cell=" in file.path}
    assert cells == {"cell=N52E179", "cell=N52W180"}


def test_objects_near_a_pole_are_one(tmp_path: Path) -> None:
    places = [(40.0 * k, 30.0 * k, 0.9) for k in range(-5, 6)]
    crs = "EPSG:3413"
    scenes = [toy.scene(name, places, crs=crs, origin=(-300.0, 225.0)) for name in ("a", "b")]
    _, table = toy.collect(tmp_path / "out", *scenes)
    assert table["views"].tolist() == [2] * 11


def test_scenes_in_degrees_and_in_metres_are_merged(tmp_path: Path) -> None:
    places = spread(12, 5)
    lon, lat = toy.transformer(toy.UTM, "EPSG:4326").transform(X, Y)
    degrees = toy.scene(
        "degrees", places, crs="EPSG:4326", origin=(lon, lat), gsd=5e-6, places_crs=toy.UTM,
        shape_hw=(1600, 2600),
    )  # fmt: skip
    _, table = toy.collect(tmp_path / "out", toy.scene("metres", places), degrees)
    n_in_both = len(toy.scene("metres", places).detections["id"])
    assert (table["views"] == 2).sum() == n_in_both


def test_the_best_view_is_the_row(tmp_path: Path) -> None:
    at_edge = toy.scene("a", [(X + 590, Y - 200, 0.99)])  # 10 m from its right side
    whole = toy.scene("b", [(X + 590, Y - 200, 0.6)], origin=(X + 300, Y))
    better = toy.scene("c", [(X + 590, Y - 200, 0.7)], origin=(X + 350, Y))
    _, table = toy.collect(tmp_path / "out", at_edge, whole, better)
    assert table.loc[0, ["scene", "score", "views"]].tolist() == ["c", 0.7, 3]


def test_half_an_object_at_the_edge_is_that_seen_whole(tmp_path: Path) -> None:
    # of 90 m, the last 40 m are beyond the right side, and no window about the part is
    cut = toy.scene("cut", [(X + 575, Y - 200, 0.95, 50.0)])
    whole = toy.scene("whole", [(X + 595, Y - 200, 0.6, 90.0)], origin=(X + 300, Y))
    assert not cut.detections["edge"][0]
    _, table = toy.collect(tmp_path / "out", cut, whole)
    assert table["scene"].tolist() == ["whole"]


def test_local_grids_are_not_merged(tmp_path: Path) -> None:
    scenes = [toy.scene(name, [(100, -100, 0.9)], crs=None, origin=(0, 0)) for name in "ab"]
    manifest, table = toy.collect(tmp_path / "out", *scenes)
    assert sorted(table["scene"]) == ["a", "b"]
    assert table.crs is None
    assert manifest.searched.km2_ground is None


def test_scenes_with_and_without_a_place_are_a_sentence(tmp_path: Path) -> None:
    scenes = [toy.scene("a", crs=None, origin=(0, 0)), toy.scene("b")]
    with pytest.raises(DataError, match="a: has no place on Earth and other scenes have one"):
        toy.collect(tmp_path / "out", *scenes)
    assert not list(tmp_path.iterdir())


def test_two_scenes_of_one_name_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two scenes have this name"):
        toy.collect(tmp_path / "out", toy.scene("a"), toy.scene("a"))


def test_a_folder_of_others_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match="is no collection of an earlier run"):
        toy.collect(tmp_path / "out", toy.scene("a"))
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_failure_keeps_the_earlier_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.collect(tmp_path / "out", *strips(spread(9, 0), 0))
    before = contents(tmp_path / "out")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(collection_files, "write_geopackage", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        toy.collect(tmp_path / "out", toy.scene("a"))
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_found_is_a_valid_collection(tmp_path: Path) -> None:
    manifest, table = toy.collect(tmp_path / "out", toy.scene("a"), toy.scene("b"))
    assert len(table) == 0
    assert manifest.found.objects == 0
    assert table.crs.to_epsg() == 4326
    counts = pd.read_csv(tmp_path / "out" / "counts_by_date.csv")
    assert counts["objects"].tolist() == [0, 0]
    assert counts["km2_ground"].tolist() == pytest.approx([0.27, 0.27], rel=0.002)


def test_no_scene_at_all_is_a_valid_collection(tmp_path: Path) -> None:
    lost = UnsearchedScene("b", "b.tif", "its task has not run", "missing")
    manifest, table = toy.collect(tmp_path / "out", unsearched=[lost])
    assert len(table) == 0
    assert manifest.unsearched[0].kind == "missing"


def test_the_manifest_holds_what_was_and_was_not_searched(tmp_path: Path) -> None:
    block = FailedBlock("a", 0, 10, 200, 300, "cut short")
    scenes = [toy.scene("a", spread(3, 0), failed=(block,)), toy.scene("b")]
    lost = UnsearchedScene("c", "c.tif", "no such file", "failed")
    manifest, _ = toy.collect(
        tmp_path / "out", *scenes, unsearched=[lost], plan={"sha256": "00", "tasks": 3}
    )
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert content["searched"] == {
        "scenes": 2,
        "km2": 0.54,
        "km2_ground": pytest.approx(0.27, rel=0.002),
        "km2_clear": None,
        "dates": ["2026-05-01"],
    }
    assert content["failed"][0]["km2"] == 0.015
    assert content["unsearched"][0] == {
        "scene": "c",
        "path": "c.tif",
        "reason": "no such file",
        "kind": "failed",
    }
    assert content["plan"] == {"sha256": "00", "tasks": 3}
    hashes = contents(tmp_path / "out")
    assert {file["path"]: file["sha256"] for file in content["files"]} == {
        path: value
        for path, value in hashes.items()
        if path != "manifest.json" and not path.startswith("stac")
    }
    assert any("1 scene not searched, such as c: no such file" in line for line in manifest.lines())


def test_the_grid_is_read_as_one_table_by_cell(tmp_path: Path) -> None:
    places = [(X + 78_000 * k + 50, Y - 60.0, 0.9) for k in range(3)]
    scenes = [
        toy.scene(f"s{k}", [place], origin=(place[0] - 50, Y)) for k, place in enumerate(places)
    ]
    manifest, _ = toy.collect(tmp_path / "out", *scenes)
    table = ds.dataset(tmp_path / "out" / "objects", partitioning="hive").to_table()
    assert table.column("cell").to_pylist() == ["N45E001", "N45E002", "N45E003"]
    path = tmp_path / "out" / manifest.files[0].path
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


def test_a_geopackage_is_written_of_few_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = strips(spread(20, 6), 6)
    toy.collect(tmp_path / "few", *scenes)
    package = geopandas.read_file(tmp_path / "few" / "objects.gpkg", layer="detections")
    assert len(package) == 20
    assert {"views", "status", "absent_after"} <= set(package)
    assert len(geopandas.read_file(tmp_path / "few" / "objects.gpkg", layer="scenes")) == 9
    monkeypatch.setattr(collection_files, "MAX_GEOPACKAGE_ROWS", 19)
    manifest, _ = toy.collect(tmp_path / "many", *scenes)
    assert not (tmp_path / "many" / "objects.gpkg").exists()
    assert any("objects.gpkg" in note for note in manifest.notes)


def test_counts_by_area_and_date_count_each_object_once(tmp_path: Path) -> None:
    places = [(X + 100, Y - 100, 0.8), (X + 400, Y - 100, 0.6)]
    scenes = [
        toy.scene("a", places, acquired="2026-05-01T10:00:00Z"),
        toy.scene("b", places, acquired="2026-05-01T10:00:09Z"),
        toy.scene("c", places[:1], acquired="2026-06-01T10:00:00Z"),
    ]
    half = shapely.box(X, Y - 450, X + 300, Y)
    areas = geopandas.GeoDataFrame({"name": ["west"]}, geometry=[half], crs=toy.UTM)
    areas.to_file(tmp_path / "areas.gpkg")
    toy.collect(tmp_path / "out", *scenes, areas=tmp_path / "areas.gpkg")
    by_date = pd.read_csv(tmp_path / "out" / "counts_by_date.csv")
    assert by_date["date"].tolist() == ["2026-05-01", "2026-06-01", "all"]
    assert by_date["objects"].tolist() == [2, 1, 2]
    assert by_date["expected"].tolist() == [1.4, 0.8, 1.4]
    assert by_date["scenes"].tolist() == [2, 1, 3]
    by_area = pd.read_csv(tmp_path / "out" / "counts_by_area.csv")
    assert by_area[["date", "name"]].to_numpy().tolist() == [
        ["2026-05-01", "west"],
        ["2026-06-01", "west"],
        ["all", "west"],
    ]
    assert by_area["objects"].tolist() == [1, 1, 1]
    assert by_area["share_searched"].tolist() == [1, 1, 1]


def test_stac_items_name_the_files_of_their_objects(tmp_path: Path) -> None:
    pystac = pytest.importorskip("pystac", reason="needs pystac: pip install 'windhover-eo[stac]'")
    places = [(X + 50, Y - 60.0, 0.9), (X + 78_050, Y - 60.0, 0.9)]
    scenes = [
        toy.scene(f"s{k}", [place], origin=(place[0] - 50, Y)) for k, place in enumerate(places)
    ]
    toy.collect(tmp_path / "out", *scenes)
    collection = pystac.Collection.from_file(str(tmp_path / "out" / "stac" / "collection.json"))
    assert len(collection.assets) == 2
    for item, cell in zip(collection.get_items(), ("N45E001", "N45E002"), strict=True):
        path = Path(item.assets["detections"].get_absolute_href())
        assert path.parent.name == f"cell={cell}"
        assert path.is_file()


def test_a_scene_is_asked_for_once(tmp_path: Path) -> None:
    scenes = strips(spread(9, 0), 0)
    manifest = write_collection(iter(scenes), toy.HEADER, tmp_path / "out")
    assert manifest.searched.scenes == 9
