"""The table of detections: exact polygons, one schema in every format, equal bytes for equal
tables.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from defusedxml import ElementTree
from PIL import Image
from pyogrio.errors import DataSourceError
from pyproj import Geod
from rasterio.transform import Affine

from toy_detections import columns_of, table_of
from windhover.errors import DataError, FormatError, FullDiskError, MissingFileError, ParameterError
from windhover.export import geopackage
from windhover.export.detections import load_table, save_table, write_map
from windhover.export.map_files import check_suffix
from windhover.imagery.scenes import open_scene
from windhover.inference.detection_columns import COLUMNS
from windhover.inference.result_table import empty_result_table, table_of_columns, to_map_table


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".csv"])
def test_every_format_holds_the_same_and_equal_tables_are_equal_bytes(
    make_scene: Any, tmp_path: Path, suffix: str
) -> None:
    mapped = to_map_table(table_of(make_scene(), (50, 60, 10, 20), (90.5, 20, 8, 8)))
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_map(mapped, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if suffix == ".csv":
        read = pd.read_csv(paths[0])
        read = geopandas.GeoDataFrame(
            read, geometry=shapely.from_wkt(read["geometry"]), crs=mapped.crs
        )
    else:
        read = (
            geopandas.read_parquet(paths[0])
            if suffix == ".parquet"
            else geopandas.read_file(paths[0], layer=0)
        )
    read = (
        read.drop(columns="bbox", errors="ignore").set_index("id").loc[mapped["id"]].reset_index()
    )
    assert sorted(read.columns) == sorted(COLUMNS)
    assert (
        read[["scene", "class", "edge", "model"]].values.tolist()
        == mapped[["scene", "class", "edge", "model"]].values.tolist()
    )
    assert np.allclose(
        read[["score", "col", "row", "length_m", "width_m"]],
        mapped[["score", "col", "row", "length_m", "width_m"]],
    )
    moved = read.to_crs(mapped.crs).geometry
    assert max(moved[i].hausdorff_distance(mapped.geometry[i]) for i in range(2)) < 0.002


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".csv"])
def test_nothing_found_is_a_valid_file_with_its_columns(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    write_map(to_map_table(empty_result_table(), ["EPSG:32631"]), path)
    if suffix == ".geojson":
        assert json.loads(path.read_text()) == {"type": "FeatureCollection", "features": []}
    elif suffix == ".csv":
        assert path.read_text() == ",".join(COLUMNS) + "\n"
    else:
        read = (
            geopandas.read_parquet(path)
            if suffix == ".parquet"
            else geopandas.read_file(path, layer="detections")
        )
        assert sorted(set(read.columns) - {"bbox"}) == sorted(COLUMNS)
        assert len(read) == 0
        assert read.crs == "EPSG:32631"


def test_a_geopackage_keeps_its_own_style(make_scene: Any, tmp_path: Path) -> None:
    write_map(to_map_table(table_of(make_scene(), (50, 60, 10, 20))), tmp_path / "d.gpkg")
    assert [name for name, kind in pyogrio.list_layers(tmp_path / "d.gpkg") if kind] == [
        "detections"
    ]
    style = pyogrio.read_dataframe(tmp_path / "d.gpkg", layer="layer_styles").iloc[0]
    assert (style["f_table_name"], style["f_geometry_column"], bool(style["useAsDefault"])) == (
        "detections",
        "geom",
        True,
    )
    drawn = ElementTree.fromstring(style["styleQML"])
    assert (
        drawn.find(".//Option[@name='expression']").get("value")
        == "ramp_color('Plasma', coalesce(\"score\", 0))"
    )
    first = (tmp_path / "d.gpkg").read_bytes()
    write_map(to_map_table(table_of(make_scene(), (50, 60, 10, 20))), tmp_path / "d.gpkg")
    assert (tmp_path / "d.gpkg").read_bytes() == first


def can_run_qgis() -> bool:
    found = shutil.which("/usr/bin/python3")
    command = [str(found), "-c", "import qgis.core"]
    return (
        found is not None
        and subprocess.run(command, capture_output=True, env={}, check=False).returncode == 0
    )


def test_qgis_opens_the_map_over_its_scene_in_its_colors(make_scene: Any, tmp_path: Path) -> None:
    """The yellow outline of a score near 1 stands where the object is, in a scene whose axes are
    turned.
    """
    if not can_run_qgis():
        pytest.skip("needs QGIS and its Python: apt-get install qgis python3-qgis")
    turned = Affine(1.25, 0, 400_000, 0, -1.25, 5_000_000) @ Affine.rotation(20)
    scene = make_scene(
        shape_hw=(120, 160), transform=turned, data=np.full((3, 120, 160), 40, np.uint8)
    )
    mapped = to_map_table(table_of(scene, (100, 50, 30, 20))).assign(score=1.0)
    write_map(mapped, tmp_path / "d.gpkg")
    script = Path(__file__).parents[2] / "docs/images/qgis_map.py"
    command = [
        "/usr/bin/python3",
        str(script),
        str(tmp_path / "d.gpkg"),
        str(tmp_path / "map.png"),
        str(scene),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env={})
    seen = json.loads(done.stdout)
    assert (seen["valid"], seen["crs"], seen["objects"], seen["rasters"]) == (
        True,
        "EPSG:32631",
        1,
        [True],
    )
    assert seen["fields"][1:] == [name for name in COLUMNS if name != "geometry"]
    assert seen["colour_by"] == ["ramp_color('Plasma', coalesce(\"score\", 0))"]
    assert seen["fill"] == "no"
    picture = np.asarray(Image.open(tmp_path / "map.png").convert("RGB")).astype(int)
    yellow = np.argwhere(
        (picture[..., 0] > 200) & (picture[..., 1] > 200) & (picture[..., 2] < 120)
    )
    with open_scene(scene) as opened:
        west, _, east, north = shapely.transform(
            shapely.box(0, 0, 160, 120), lambda xy: np.stack(turned @ tuple(xy.T), axis=1)
        ).bounds
        assert opened.info.crs == "EPSG:32631"
    scale = picture.shape[1] / (east - west)
    left, low, right, high = mapped.total_bounds
    edges = [
        (north - high) * scale,
        (left - west) * scale,
        (north - low) * scale,
        (right - west) * scale,
    ]
    assert [*yellow.min(axis=0), *yellow.max(axis=0)] == pytest.approx(edges, abs=4)


def test_geojson_is_rfc_7946(make_scene: Any, tmp_path: Path) -> None:
    """Longitude first, counter-clockwise, no crs member, null for the unknown; cut in two at the
    antimeridian.
    """
    path = make_scene(crs="EPSG:32660", transform=Affine(1.25, 0, 833_700, 0, -1.25, 100_000))
    with open_scene(path) as scene:
        edge = next(col for col in range(300) if _longitude(scene, col, 60) < 0)
    mapped = to_map_table(table_of(path, (edge, 60, 40, 20), (edge - 60, 60, 10, 10)))
    mapped.loc[1, "length_m"] = np.nan
    write_map(mapped, tmp_path / "d.geojson")
    document = json.loads((tmp_path / "d.geojson").read_text())
    assert set(document) == {"type", "features"}
    across, plain = document["features"]
    assert across["geometry"]["type"] == "MultiPolygon"
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in (across, plain)]
    assert shapes[0].bounds[0] == -180
    assert shapes[0].bounds[2] == 180
    for polygon in [*shapes[0].geoms, shapes[1]]:
        assert polygon.exterior.is_ccw
        assert -180 <= polygon.bounds[0] <= polygon.bounds[2] <= 180
        assert polygon.bounds[2] - polygon.bounds[0] < 0.001
    assert plain["properties"]["length_m"] is None
    area = sum(
        abs(Geod(ellps="WGS84").geometry_area_perimeter(part)[0]) for part in shapes[0].geoms
    )
    assert area == pytest.approx(40 * 20 * 1.25**2, rel=0.01)


def _longitude(scene: Any, col: float, row: float) -> float:
    from windhover.geometry.georef import pixel_to_world, transformer

    return float(
        transformer(scene.crs, "EPSG:4326").transform(*pixel_to_world(scene.transform, col, row))[0]
    )


def test_the_stages_table_keeps_each_scenes_system(make_scene: Any, tmp_path: Path) -> None:
    table = table_of_columns(
        [
            columns_of(make_scene(f"{crs[5:]}.tif", crs=crs), (50, 60, 10, 20))
            for crs in ("EPSG:32631", "EPSG:32632")
        ]
    )
    save_table(table, tmp_path / "t.parquet")
    read = load_table(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.DataFrame(read), pd.DataFrame(table), check_dtype=False)
    save_table(empty_result_table(), tmp_path / "e.parquet")
    assert len(load_table(tmp_path / "e.parquet")) == 0


@pytest.mark.parametrize(
    "error", [DataSourceError("disk is full"), sqlite3.OperationalError("disk is full")]
)
def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(geopackage, "add_style", full)
    with pytest.raises(OSError, match=r"f\.gpkg: no space left on the disk"):
        write_map(empty_result_table(), tmp_path / "f.gpkg")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the detect stage first"):
        load_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"bad")
    with pytest.raises(FormatError, match=r"bad\.parquet: cannot be read .* dvc repro -f detect"):
        load_table(tmp_path / "bad.parquet")
    geopandas.GeoDataFrame({"scene": []}, geometry=[]).to_parquet(tmp_path / "part.parquet")
    with pytest.raises(FormatError, match=r"has no column 'id'.* dvc repro -f detect"):
        load_table(tmp_path / "part.parquet")
    with pytest.raises(ParameterError, match=r"must end in one of \.gpkg"):
        check_suffix(Path("found.shp"), True)
    with pytest.raises(DataError, match="no longitude and latitude for GeoJSON"):
        check_suffix(Path("found.geojson"), False)


def test_a_full_disk_is_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise sqlite3.OperationalError("no such table: gpkg_contents")

    usage = SimpleNamespace(free=30_000)
    monkeypatch.setattr(geopackage, "add_style", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    (tmp_path / "f.gpkg").write_bytes(b"the old one")
    with pytest.raises(FullDiskError, match=r"f\.gpkg: 300\.0 kB are needed .* 30\.0 kB are free"):
        write_map(empty_result_table(), tmp_path / "f.gpkg")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the old one"]
