"""`windhover detect` with a model of coverage: maps, class maps, polygons, a table; resumed too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from typer.testing import CliRunner

from fake_models import write_bundle
from messages import recorded_messages
from toy_coverage import GSD_M, cloud_mask, picture_of, place, write_raster
from windhover.cli import app as cli
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.detection.detect_scene import SceneRun
from windhover.detection.map_rasters import map_rasters
from windhover.detection.model_task import task_of_model
from windhover.errors import ParameterError
from windhover.geometry.lattice import Lattice
from windhover.inference.coverage_map import to_px
from windhover.inference.detector import Detector
from windhover.model_export.export_model import export_model
from windhover.models.card import NetworkCard
from windhover.models.networks import build_network
from windhover.params.scenes import ScenesParams

SHAPE = (157, 211)  # no multiple of a stride
BANDS = {"bands": ("band1", "band2", "band3")}
UNET = {"encoder": "resnet10t", "width": 4, "levels": 3, "space_to_depth": 1, "tile_px": 64}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    write_bundle(folder, threshold=0.3, classes=("cloud",), gsd_m=GSD_M, task="coverage", **BANDS)
    return folder


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unet") / "model"
    torch.manual_seed(0)
    network = NetworkCard(name="unet", n_bands=3, n_classes=1, options=UNET)
    weights = build_network("unet", 3, 1, **UNET).state_dict()
    card = {"classes": ("cloud",), "gsd_m": GSD_M, "task": "coverage", **BANDS}
    card |= {"network": network, "window_px": 64, "stride_px": 1}
    write_bundle(folder, threshold=0.5, weights=weights, **card)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for number in range(2):
        picture = picture_of(cloud_mask(SHAPE, number), number)
        if number == 1:
            picture[:, :90, :80] = 0
        path = folder / f"s{number}.tif"
        paths.append(write_raster(path, picture, transform=place(number), nodata=0))
    return paths


def run(scenes: list[Path], model: Path, output: Path, **options: Any) -> pd.DataFrame:
    request = DetectRequest([str(path) for path in scenes], model, output, **options)
    return map_rasters(request).table


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_task_is_in_the_card(model: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "objects")
    assert task_of_model(model) == "coverage"
    assert task_of_model(tmp_path / "objects") == "objects"
    assert "task" not in json.loads((tmp_path / "objects/model.json").read_text())
    assert task_of_model(tmp_path) == "objects"


def test_every_raster_gets_its_files_and_rows(
    scenes: list[Path], model: Path, tmp_path: Path
) -> None:
    table = run(scenes, model, tmp_path / "out")
    names = set(content(tmp_path / "out"))
    assert {"coverage.csv", "coverage.gpkg", "coverage.json"} < names
    for scene in ("s0", "s1"):
        assert {f"{scene}_probability.tif", f"{scene}_mask.tif"} < names
    assert not [name for name in names if "journal" in name]
    assert table["name"].tolist() == ["s0", "s1"]
    polygons = geopandas.read_file(tmp_path / "out/coverage.gpkg", layer="coverage")
    assert set(polygons["scene"]) == {"s0", "s1"}
    written = pd.read_csv(tmp_path / "out/coverage.csv")
    np.testing.assert_allclose(written["share"], table["share"], atol=1e-6)


def test_the_share_is_that_of_the_px_of_the_raster(
    scenes: list[Path], model: Path, tmp_path: Path
) -> None:
    table = run(scenes, model, tmp_path / "out").set_index("name")
    lattice = Lattice(SHAPE, 64, 8)
    for scene in ("s0", "s1"):
        with rasterio.open(tmp_path / f"out/{scene}_mask.tif") as dataset:
            classes = to_px(dataset.read(1), lattice)
        known = classes != 255
        assert table.loc[scene, "share"] == pytest.approx((classes[known] == 1).mean(), abs=1e-6)
        km2 = known.sum() * GSD_M**2 / 1e6
        assert table.loc[scene, "km2_known"] == pytest.approx(km2, rel=1e-6)
    assert table.loc["s0", "km2_known"] == pytest.approx(157 * 211 * GSD_M**2 / 1e6)


@pytest.mark.parametrize("block_px", [64, 100, 150])
def test_no_block_changes_a_file(
    scenes: list[Path], model: Path, tmp_path: Path, block_px: int
) -> None:
    run(scenes, model, tmp_path / "whole")
    run(scenes, model, tmp_path / "parts", block_px=block_px)
    assert content(tmp_path / "whole") == content(tmp_path / "parts")


@pytest.mark.parametrize("network", ["model", "unet"])
def test_a_killed_run_goes_on_to_the_same_files(
    network: str,
    scenes: list[Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = request.getfixturevalue(network)
    run(scenes, model, tmp_path / "whole", block_px=64)
    n_runs = 0
    run_scene = SceneRun.run

    def stop_at_the_second(self: SceneRun, *args: Any, **options: Any) -> Any:
        nonlocal n_runs
        n_runs += 1
        if n_runs == 2:
            raise KeyboardInterrupt("in the second scene")
        return run_scene(self, *args, **options)

    monkeypatch.setattr(SceneRun, "run", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt, match="in the second scene"):
        run(scenes, model, tmp_path / "resumed", block_px=64)
    assert not (tmp_path / "resumed/coverage.csv").exists()
    with recorded_messages() as messages:
        run(scenes, model, tmp_path / "resumed", block_px=64, resume=True)
    assert any("going on after" in message for message in messages)
    assert content(tmp_path / "whole") == content(tmp_path / "resumed")


def test_areas_of_interest_have_rows_of_their_own(
    scenes: list[Path], model: Path, tmp_path: Path
) -> None:
    at = place(0)
    inside = shapely.box(*(at @ (40, 120)), *(at @ (160, 40)))
    far = shapely.box(0, 0, 10, 10)
    frame = geopandas.GeoDataFrame({"name": ["field", "far"]}, geometry=[inside, far])
    frame = frame.set_crs("EPSG:32633")
    frame.to_file(tmp_path / "aoi.gpkg", layer="aoi")
    table = run(scenes[:1], model, tmp_path / "out", aoi=tmp_path / "aoi.gpkg")
    assert table["area"].tolist() == ["", "field"]
    of_field = table[table["area"] == "field"].iloc[0]
    assert of_field["km2_known"] == pytest.approx(120 * 80 * GSD_M**2 / 1e6, rel=0.15)


def test_a_raster_without_data_has_no_share(model: Path, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "empty.tif", np.zeros((3, *SHAPE), np.uint8), nodata=0)
    table = run([path], model, tmp_path / "out")
    assert table["share"].isna().all()
    with rasterio.open(tmp_path / "out/empty_mask.tif") as dataset:
        assert (dataset.read(1) == 255).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output": Path("clouds.gpkg")}, "writes several files, so it must be a folder"),
        ({"scores": Path("scores")}, "--scores: a model of coverage writes its maps into"),
        ({"mask": Path("mask.tif")}, "--mask mask.tif: is for models of objects"),
        ({"gsd_m": "unknown"}, "a map of coverage has one GSD"),
        ({"scales": (0.5, 1.0)}, "a map of coverage has one GSD"),
        ({"block_px": 10}, "--block-px must be 64 or more"),
    ],
)
def test_options_without_a_meaning_are_named(
    scenes: list[Path], model: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    values: dict[str, Any] = {"output": tmp_path / "out"} | options
    with pytest.raises(ParameterError, match=sentence):
        map_rasters(DetectRequest([str(scenes[0])], model, **values))
    assert not (tmp_path / "out").exists()


def test_a_raster_is_never_written_over(scenes: list[Path], model: Path, tmp_path: Path) -> None:
    path = tmp_path / "a_probability.tif"
    path.write_bytes(scenes[0].read_bytes())
    other = tmp_path / "a.tif"
    other.write_bytes(scenes[0].read_bytes())
    with pytest.raises(ParameterError, match=r"a_probability\.tif"):
        run([other], model, tmp_path)
    assert path.read_bytes() == scenes[0].read_bytes()


def test_what_finds_objects_names_a_model_of_coverage(
    scenes: list[Path], model: Path, tmp_path: Path
) -> None:
    sentence = "maps coverage of cloud and finds no objects"
    request = DetectRequest([str(scenes[0])], model, tmp_path / "found.gpkg")
    with pytest.raises(ParameterError, match=sentence):
        detect_rasters(request)
    detector = Detector.from_bundle(model)
    with pytest.raises(ParameterError, match=sentence):
        detector.detect(scenes[0])
    with pytest.raises(ParameterError, match=sentence):
        export_model(detector, tmp_path / "exported")


def test_commands_about_objects_name_the_task() -> None:
    with pytest.raises(ParameterError, match=r"`windhover check` is about objects, and `scenes"):
        ScenesParams(task="coverage").require_objects("windhover check")
    ScenesParams().require_objects("windhover check")


def test_the_command_prints_the_table_as_json(
    scenes: list[Path], model: Path, tmp_path: Path
) -> None:
    words = ["detect", scenes[0], "--model", model, "-o", tmp_path / "out", "--json"]
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["coverage"][0]["class"] == "cloud"
    assert document["failed"] == []
