"""One schema in every format: ids, places and times, layers, bounds, texts, files of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import rasterio
from rasterio.transform import Affine

from toy_results import BOX, searched
from windhover.errors import DataError, FormatError
from windhover.evaluation.evaluate_vectors import VectorRequest, evaluate_vectors
from windhover.export.detections import read_summary
from windhover.export.map_files import SUFFIXES, is_own_map
from windhover.export.write_detections import write_detections
from windhover.imagery.acquisition_time import parse_time
from windhover.inference.detection_columns import COLUMNS, detection_ids

FILES = [suffix for suffix in SUFFIXES if suffix != ".html"]


def read(path: Path) -> Any:
    if path.suffix == ".parquet":
        return geopandas.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    if path.suffix == ".json":
        return pd.DataFrame(json.loads(path.read_text())["annotations"])
    return pyogrio.read_dataframe(path, layer="detections" if path.suffix != ".geojson" else None)


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("rows", [(), (BOX, (90.5, 20, 8, 8))])
def test_every_format_is_valid_equal_and_known_again(
    make_scene: Any, tmp_path: Path, suffix: str, rows: Any
) -> None:
    found = searched(
        [make_scene(f"{zone}.tif", crs=f"EPSG:{zone}") for zone in (32631, 32632)], *rows
    )
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_detections(*found, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert is_own_map(paths[0])
    table = read(paths[0])
    assert len(table) >= 2 * len(rows)
    if rows:
        names = set(COLUMNS) - {"geometry"}
        if suffix == ".json":
            names = names - {"id"} | {"detection_id"}
        assert names <= set(table.columns)
        assert len(set(table["detection_id" if suffix == ".json" else "id"])) == 4


def test_a_row_tells_where_it_is(make_scene: Any) -> None:
    table, _ = searched([make_scene()], BOX)
    row = table.iloc[0]
    assert (row["col"], row["row"], row["x"], row["y"]) == (50, 60, 400_062.5, 4_999_925)
    assert (row["lon"], row["lat"]) == pytest.approx((1.7287769, 45.1457267), abs=1e-6)
    assert (row["length_m"], row["width_m"], row["area_m2"]) == (25, 12.5, 312.5)


def test_a_local_grid_has_no_longitude(make_scene: Any, tmp_path: Path) -> None:
    found = searched([make_scene("l.png", crs=None, driver="PNG")], BOX, gsd=0.5)
    assert found[0][["lon", "lat"]].isna().all(axis=None)
    write_detections(*found, tmp_path / "l.fgb")
    assert read(tmp_path / "l.fgb")["x"].tolist() == [25.0]
    with pytest.raises(DataError, match=r"l\.pmtiles: .* no longitude and latitude for PMTiles"):
        write_detections(*found, tmp_path / "l.pmtiles")


def test_ids_are_of_model_scene_class_and_px() -> None:
    def ids(model: str = "m", scene: str = "s", name: str = "plane", shift: float = 0.0) -> Any:
        places = np.array([10.2, 10.2, 30.0]) + shift
        names = np.array([name] * 3, object)
        return detection_ids(model, scene, names, cols=places, rows=np.array([1.0, 1.0, 2.0]))

    first = ids()
    assert len(set(first)) == 3
    assert first[1] == f"{first[0]}-2"
    assert list(ids(shift=0.3)) == list(first)
    for other in (ids(model="n"), ids(scene="t"), ids(name="ship"), ids(shift=1.0)):
        assert not set(other) & set(first)


def test_geoparquet_has_bounds_and_lies_along_a_curve(make_scene: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [(x, y, 4, 6) for x, y in rng.uniform(5, 145, (60, 2))]
    table, summary = searched([make_scene()], *rows)
    write_detections(table, summary, tmp_path / "d.parquet")
    metadata = json.loads(pq.read_schema(tmp_path / "d.parquet").metadata[b"geo"])
    assert metadata["version"] == "1.1.0"
    covering = metadata["columns"]["geometry"]["covering"]["bbox"]
    assert covering["xmin"] == ["bbox", "xmin"]
    written = read(tmp_path / "d.parquet")
    assert sorted(written["id"]) == sorted(table["id"])
    assert np.all(np.diff(written.hilbert_distance().astype("int64")) >= 0)
    west = geopandas.read_parquet(tmp_path / "d.parquet", bbox=(4e5, 4.9e6, 4e5 + 60, 5e6))
    assert 0 < len(west) < len(table)
    assert read_summary(tmp_path / "d.parquet") == summary


def test_a_geoparquet_of_others_holds_no_search(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"a": []}, geometry=[]).to_parquet(tmp_path / "o.parquet")
    with pytest.raises(FormatError, match=r"o\.parquet: holds no summary of a search"):
        read_summary(tmp_path / "o.parquet")


def test_a_geopackage_has_scenes_with_counts_and_the_ground_searched(
    make_scene: Any, tmp_path: Path
) -> None:
    write_detections(*searched([make_scene("a.tif")], BOX), tmp_path / "d.gpkg")
    layers = [str(name) for name, kind in pyogrio.list_layers(tmp_path / "d.gpkg") if kind]
    assert layers == ["detections", "scenes", "searched"]
    scenes = pyogrio.read_dataframe(tmp_path / "d.gpkg", layer="scenes")
    assert scenes.loc[0, ["scene", "objects", "expected"]].tolist() == ["a", 1, 0.9]
    assert scenes.area.tolist() == [210 * 150 * 1.25**2]
    styles = pyogrio.read_dataframe(tmp_path / "d.gpkg", layer="layer_styles")
    assert styles["f_table_name"].tolist() == layers
    assert not styles["styleQML"].str.contains("{", regex=False).any()


def test_coco_boxes_are_px_of_a_turned_raster(make_scene: Any, tmp_path: Path) -> None:
    turned = Affine(1.25, 0, 400_000, 0, -1.25, 5_000_000) @ Affine.rotation(20)
    write_detections(*searched([make_scene(transform=turned)], BOX), tmp_path / "d.json")
    document = json.loads((tmp_path / "d.json").read_text())
    assert document["annotations"][0]["bbox"] == [45, 50, 10, 20]
    assert document["images"][0] | {"width": 210, "height": 150} == document["images"][0]
    assert document["categories"] == [{"id": 1, "name": "plane"}]


def test_a_spreadsheet_computes_no_cell(make_scene: Any, tmp_path: Path) -> None:
    """And `assess` reads the name that was meant."""
    found = searched([make_scene("=1+1.tif")], BOX)
    for suffix in (".csv", ".gpkg"):
        write_detections(*found, tmp_path / f"d{suffix}")
    assert pd.read_csv(tmp_path / "d.csv")["scene"].tolist() == ["'=1+1"]
    both = evaluate_vectors(VectorRequest(tmp_path / "d.csv", tmp_path / "d.csv"))
    assert both.metrics.estimates["ap"].value == 1
    assert both.metrics.per_scene["scene"].tolist() == ["=1+1"]


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".fgb"])
def test_assess_reads_what_is_written(make_scene: Any, tmp_path: Path, suffix: str) -> None:
    found = searched([make_scene()], BOX, (90, 20, 8, 8))
    write_detections(*found, tmp_path / f"d{suffix}")
    write_detections(*found, tmp_path / "t.gpkg")
    both = evaluate_vectors(VectorRequest(tmp_path / f"d{suffix}", tmp_path / f"d{suffix}"))
    assert both.metrics.estimates["recall"].value == 1


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2017:05:02 10:20:30", "2017-05-02T10:20:30Z"),
        ("2017-05-02T10:20:30.25+02:00", "2017-05-02T08:20:30Z"),
        ("2017-05-02", "2017-05-02T00:00:00Z"),
        ("20170502", "2017-05-02T00:00:00Z"),
        ("0000:00:00 00:00:00", None),
        ("yesterday", None),
        ("12", None),
        ("", None),
    ],
)
def test_times_of_tags_are_read_or_left_out(text: str, time: str | None) -> None:
    assert parse_time(text) == time


def test_a_raster_that_tells_its_time_is_dated(make_scene: Any) -> None:
    path = make_scene()
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2019:01:01 00:00:00", ACQUISITION_DATE="2018-03-04")
    table, summary = searched([path], BOX)
    assert table["acquired"].tolist() == ["2018-03-04T00:00:00Z"]
    assert summary.scenes[0].acquired == "2018-03-04T00:00:00Z"
