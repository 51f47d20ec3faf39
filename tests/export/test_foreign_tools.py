"""What is written is opened by the tools of others: DuckDB, GDAL's programs, validators.

Tools that are missing are named by the skip: `pip install -r requirements.txt`, Debian `gdal-bin`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fake_models import write_bundle
from toy_results import BOX, searched
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.export.export_map import ExportRequest, export_result
from windhover.export.write_detections import write_detections
from windhover.inference.detection_columns import COLUMNS

pytestmark = pytest.mark.slow
SUFFIXES = (".gpkg", ".parquet", ".geojson", ".fgb", ".csv")
SOME = (BOX, (90.5, 20, 8, 8), (120, 100, 30, 12))


def real_rasters() -> list[Path]:
    """Return two real rasters of different systems; skip where there are none."""
    folder = os.environ.get("WINDHOVER_REAL_DATA")
    if folder is None:
        pytest.skip("needs real rasters: WINDHOVER_REAL_DATA")
    found = sorted((Path(folder) / "neon-trees").glob("*_*.tif"))[:2]
    if len(found) < 2:
        pytest.skip(f"{folder} holds no neon-trees")
    return found


@pytest.fixture(params=["one system", "two systems", "nothing found", "real rasters"])
def result(request: pytest.FixtureRequest, make_scene: Any) -> Any:
    """Return the table and the summary of a search of two scenes."""
    systems = ("EPSG:32631", "EPSG:32631")
    if request.param == "two systems":
        systems = ("EPSG:32631", "EPSG:32632")
    if request.param == "real rasters":
        scenes = real_rasters()
    else:
        scenes = [
            make_scene(f"{name}.tif", crs=crs) for name, crs in zip("ab", systems, strict=True)
        ]
    rows = () if request.param == "nothing found" else SOME
    return searched(scenes, *rows)


def connect() -> Any:
    """Return a connection to DuckDB with its spatial extension, which a package holds."""
    duckdb = pytest.importorskip("duckdb")
    spec = find_spec("duckdb_extension_spatial")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs duckdb-extension-spatial")
    folder = Path(spec.submodule_search_locations[0])
    (extension,) = folder.rglob("spatial.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    return connection


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_duckdb_counts_and_measures(result: Any, tmp_path: Path, suffix: str) -> None:
    table, summary = result
    path = tmp_path / f"found{suffix}"
    write_detections(table, summary, path)
    connection = connect()
    source = f"'{path}'" if suffix == ".parquet" else f"ST_Read('{path}')"
    if suffix == ".gpkg":
        source = f"ST_Read('{path}', layer='detections')"
    shape = "geometry" if suffix == ".parquet" else "geom"
    columns = {row[0] for row in connection.execute(f"DESCRIBE FROM {source}").fetchall()}
    if suffix != ".geojson" or len(table):
        assert set(COLUMNS) - {"geometry"} <= columns
    (count,) = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert count == len(table)
    if not len(table):
        return
    score, valid, kind = connection.execute(
        f"SELECT sum(score), bool_and(ST_IsValid({shape})), any_value(ST_GeometryType({shape})) "
        f"FROM {source}"
    ).fetchone()
    assert score == pytest.approx(table["score"].sum())
    assert valid
    assert str(kind) == "POLYGON"


def test_duckdb_reads_the_bounds_and_the_schema_of_geoparquet(
    make_scene: Any, tmp_path: Path
) -> None:
    """Plain SQL, without any extension: rows by their bounds, and numbers by class."""
    duckdb = pytest.importorskip("duckdb")
    rng = np.random.default_rng(1)
    rows = [(x, y, 6, 8) for x, y in rng.uniform(6, 140, (50, 2))]
    table, summary = searched([make_scene()], *rows)
    write_detections(table, summary, tmp_path / "f.parquet")
    east = table["x"].median()
    (count,) = duckdb.execute(
        f"SELECT count(*) FROM '{tmp_path / 'f.parquet'}' WHERE bbox.xmin > {east}"
    ).fetchone()
    assert count == int((table.bounds["minx"] > east).sum())
    by_class = duckdb.execute(
        f"SELECT class, count(*), max(threshold) FROM '{tmp_path / 'f.parquet'}' GROUP BY class"
    ).fetchall()
    assert [row[:2] for row in by_class] == [("plane", 50)]


def test_geoparquet_is_conformant(result: Any, tmp_path: Path) -> None:
    validator = pytest.importorskip("geoparquet_validator")
    write_detections(*result, tmp_path / "f.parquet")
    report = validator.check(str(tmp_path / "f.parquet"))
    classes = ("core", "covering", "distribution") if len(result[0]) else ("core", "covering")
    for name in classes:  # nothing can be distributed without rows
        assert not validator.failed(report, name)
    statuses = {outcome["id"]: outcome["status"] for outcome in report["outcomes"]}
    assert statuses["/conf/core/geo-metadata"] == "pass"
    assert any("covering" in name and status == "pass" for name, status in statuses.items())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ogrinfo_lists_every_object(result: Any, tmp_path: Path, suffix: str) -> None:
    if shutil.which("ogrinfo") is None:
        pytest.skip("needs GDAL's programs: apt-get install gdal-bin")
    table, summary = result
    path = tmp_path / f"found{suffix}"
    write_detections(table, summary, path)
    if suffix == ".parquet" and "Parquet" not in _output("ogrinfo", "--formats"):
        pytest.skip("this GDAL reads no Parquet")
    text = _output("ogrinfo", "-ro", "-so", "-al", str(path))
    counts = [int(number) for number in re.findall(r"Feature Count: (\d+)", text)]
    assert counts[0] == len(table)
    if suffix == ".gpkg":
        assert counts[:3] == [len(table), 2, 2]  # the styles of QGIS come after
        assert re.findall(r"Layer name: (\w+)", text)[:3] == ["detections", "scenes", "searched"]
    if suffix != ".geojson" or len(table):
        assert re.search(r"^score: \w+", text, re.MULTILINE)


def _output(*command: str) -> str:
    """Return what a program prints; it must succeed and must not warn."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "ERROR" not in done.stderr
    return done.stdout


def test_a_score_map_is_a_cloud_optimized_geotiff(make_scene: Any, tmp_path: Path) -> None:
    cogeo = pytest.importorskip("rio_cogeo.cogeo")
    write_bundle(tmp_path / "model", threshold=0.5)
    scene = make_scene(shape_hw=(600, 9000), bands=3)
    detect_rasters(
        DetectRequest(
            [str(scene)], tmp_path / "model", tmp_path / "f.csv", scores=tmp_path / "s.tif"
        )
    )
    is_valid, errors, warnings = cogeo.cog_validate(str(tmp_path / "s.tif"), quiet=True)
    assert (is_valid, errors, warnings) == (True, [], [])


def test_a_catalog_of_a_result_is_valid_and_becomes_stac_geoparquet(
    result: Any, tmp_path: Path
) -> None:
    """By pystac (core schemas; those of extensions are on the network) and stac-geoparquet."""
    pystac = pytest.importorskip("pystac")
    validation = pytest.importorskip("pystac.validation")
    stac_arrow = pytest.importorskip("stac_geoparquet.arrow")
    table, summary = result
    export_result(table, summary, ExportRequest(tmp_path / "out", ("parquet", "stac")))
    collection = pystac.Collection.from_file(str(tmp_path / "out/stac/collection.json"))
    items = list(collection.get_items(recursive=True))
    for entry in (collection, *items):
        entry.stac_extensions = []
        validation.validate_dict(entry.to_dict())
    batches = stac_arrow.parse_stac_items_to_arrow([item.to_dict() for item in items])
    stac_arrow.to_parquet(batches, tmp_path / "items.parquet")
    frame = pd.read_parquet(tmp_path / "items.parquet")
    assert sorted(frame["id"]) == sorted(scene.scene for scene in summary.scenes)
    assert frame["windhover:objects"].sum() == len(table)


def test_items_that_stac_geoparquet_wrote_are_searched(make_scene: Any, tmp_path: Path) -> None:
    stac_arrow = pytest.importorskip("stac_geoparquet.arrow")
    write_bundle(tmp_path / "model", threshold=0.5)
    items = [_item(make_scene(f"{name}.tif"), name) for name in ("one", "two")]
    batches = stac_arrow.parse_stac_items_to_arrow(items)
    stac_arrow.to_parquet(batches, tmp_path / "items.parquet")
    outcome = detect_rasters(
        DetectRequest([str(tmp_path / "items.parquet")], tmp_path / "model", tmp_path / "f.csv")
    )
    assert [scene.scene for scene in outcome.scenes] == ["one", "two"]
    assert [scene.acquired for scene in outcome.scenes] == ["2020-05-06T07:08:09Z"] * 2


def _item(scene: Path, name: str) -> dict[str, Any]:
    """Return a STAC item of a raster; its bands are named as STAC 1.1 does it."""
    bands = [{"name": band, "eo:common_name": band} for band in ("red", "green", "blue")]
    asset = {"href": scene.name, "type": "image/tiff", "roles": ["data"], "bands": bands}
    corners = [[1.7, 45.1], [1.8, 45.1], [1.8, 45.2], [1.7, 45.2], [1.7, 45.1]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "bbox": [1.7, 45.1, 1.8, 45.2],
        "properties": {"datetime": "2020-05-06T07:08:09Z"},
        "links": [],
        "assets": {"image": asset},
    }


QGIS = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from qgis.core import QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsVectorLayer
from qgis.PyQt.QtCore import QSize
app = QgsApplication([], False)
app.initQgis()
path, picture = sys.argv[1:]
seen, layers = {}, []
for name in ("detections", "scenes", "searched"):
    layer = QgsVectorLayer(f"{path}|layername={name}", name, "ogr")
    message, is_styled = layer.loadDefaultStyle()
    symbols = layer.renderer().symbols(__import__("qgis.core").core.QgsRenderContext())
    seen[name] = [layer.isValid(), is_styled, layer.featureCount(), len(symbols)]
    layers.append(layer)
settings = QgsMapSettings()
settings.setLayers(layers)
settings.setDestinationCrs(layers[1].crs())
settings.setOutputSize(QSize(400, 300))
settings.setExtent(layers[1].extent().buffered(20))
job = QgsMapRendererParallelJob(settings)
job.start()
job.waitForFinished()
job.renderedImage().save(picture)
print(json.dumps(seen))
"""


def test_qgis_opens_and_draws_the_three_layers_in_their_styles(result: Any, tmp_path: Path) -> None:
    can_run = subprocess.run(
        ["/usr/bin/python3", "-c", "import qgis.core"], capture_output=True, env={}, check=False
    )
    if can_run.returncode != 0:
        pytest.skip("needs QGIS and its Python: apt-get install qgis python3-qgis")
    table, summary = result
    write_detections(table, summary, tmp_path / "f.gpkg")
    command = ["/usr/bin/python3", "-c", QGIS, str(tmp_path / "f.gpkg"), str(tmp_path / "m.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env={})
    seen = json.loads(done.stdout.splitlines()[-1])
    for name, count in (("detections", len(table)), ("scenes", 2), ("searched", 2)):
        is_valid, is_styled, n_rows, n_symbols = seen[name]
        assert (is_valid, is_styled, n_rows) == (True, True, count), name
        assert n_symbols > 0
    picture = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2
