"""Searches with a mask of clouds: nothing else changes, and what is clear is counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from typer.testing import CliRunner

from fake_models import write_bundle
from messages import recorded_messages
from windhover.cli.app import app
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest, parse_mask_values
from windhover.detection.map_rasters import map_rasters
from windhover.detection.mapped_masks import with_mapped_masks
from windhover.detection.usable_ground import UPPER_COUNT, notes_on_ground
from windhover.errors import DataError, MissingFileError, ParameterError
from windhover.export.detection_summary import ClearGround, DetectionSummary, SceneSummary
from windhover.export.detections import read_summary

SHAPE = (300, 420)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", threshold=0.6)
    return tmp_path / "model"


@pytest.fixture
def scene(make_scene: Any) -> Path:
    return make_scene("scene.tif", shape_hw=SHAPE)


def write_mask(path: Path, scene: Path, values: np.ndarray, every: int = 1) -> Path:
    """Write a mask over the ground of a scene, `every` px of it a px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(scene) as source:
        profile = {
            "driver": "GTiff",
            "count": 1,
            "dtype": "uint8",
            "height": values.shape[0],
            "width": values.shape[1],
            "crs": source.crs,
            "transform": source.transform @ source.transform.scale(every),
        }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values.astype(np.uint8), 1)
    return path


def search(scene: Path, model: Path, output: Path, **options: Any) -> tuple[Any, list[str]]:
    with recorded_messages() as messages:
        outcome = detect_rasters(DetectRequest([str(scene)], model, output, **options))
    return outcome, messages


def left_half(every: int = 1) -> np.ndarray:
    values = np.zeros((SHAPE[0] // every, SHAPE[1] // every), np.uint8)
    values[:, : values.shape[1] // 2] = 1
    return values


@pytest.mark.parametrize("every", [1, 5])
def test_a_mask_changes_nothing_but_what_is_said_of_the_ground(
    scene: Path, model: Path, tmp_path: Path, every: int
) -> None:
    mask = write_mask(tmp_path / "mask.tif", scene, left_half(every), every)
    search(scene, model, tmp_path / "plain.parquet")
    outcome, messages = search(scene, model, tmp_path / "masked.parquet", mask=mask)
    plain = geopandas.read_parquet(tmp_path / "plain.parquet")
    masked = geopandas.read_parquet(tmp_path / "masked.parquet")
    assert len(plain) > 5
    pd.testing.assert_frame_equal(plain, masked.drop(columns="clear"))
    west, _, east, _ = rasterio.open(scene).bounds
    boxes = masked.geometry.bounds
    middle = (west + east) / 2
    inside = np.clip((boxes["maxx"] - middle) / (boxes["maxx"] - boxes["minx"]), 0, 1)
    assert np.abs(masked["clear"] - inside).max() < 0.1
    assert set(masked.loc[boxes["minx"] > middle + 2, "clear"]) == {1.0}
    clear = outcome.scenes[0].clear
    assert clear.share == pytest.approx(0.5)
    assert clear.km2 == pytest.approx(outcome.scenes[0].km2 / 2, rel=1e-5)
    assert clear.objects == (masked["clear"] >= 0.5).sum() == clear.by_class["aircraft"]
    scores = masked.loc[masked["clear"] >= 0.5, "score"]
    expected = (1 - scores).sum() / clear.km2
    assert clear.expected_false_alarms_per_km2 == pytest.approx(expected, rel=1e-4)
    assert f"of {outcome.scenes[0].km2:.2f} km2 searched are clear" in "\n".join(messages)
    summary = read_summary(tmp_path / "masked.parquet")
    assert summary.scenes[0].clear == clear
    assert any("per clear km2" in note for note in summary.notes)
    assert "clear" not in read_summary(tmp_path / "plain.parquet").scenes[0].model_dump()


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".csv", ".json", ".fgb"])
def test_every_format_has_the_clear_share(
    scene: Path, model: Path, tmp_path: Path, suffix: str
) -> None:
    mask = write_mask(tmp_path / "mask.tif", scene, left_half())
    path = tmp_path / f"found{suffix}"
    search(scene, model, path, mask=mask)
    if suffix == ".json":
        rows = json.loads(path.read_text())["annotations"]
        assert {row["clear"] for row in rows} >= {0.0, 1.0}
        return
    table = pd.read_csv(path) if suffix == ".csv" else geopandas.read_file(path)
    assert table["clear"].between(0, 1).all()


def test_an_area_of_interest_limits_what_is_counted(
    scene: Path, model: Path, tmp_path: Path
) -> None:
    mask = write_mask(tmp_path / "mask.tif", scene, left_half())
    west, south, east, north = rasterio.open(scene).bounds
    from shapely import box

    right = geopandas.GeoSeries([box((west + east) / 2, south, east, north)], crs="EPSG:32631")
    right.to_file(tmp_path / "aoi.gpkg")
    outcome, _ = search(
        scene, model, tmp_path / "found.parquet", mask=mask, aoi=tmp_path / "aoi.gpkg"
    )
    assert outcome.scenes[0].clear.share == pytest.approx(1.0, abs=0.01)


def test_masks_of_several_scenes_stand_in_a_folder(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    scenes = [make_scene(f"{name}.tif", shape_hw=(157, 211)) for name in "ab"]
    write_mask(tmp_path / "masks/a_mask.tif", scenes[0], np.ones((157, 211)))
    write_mask(tmp_path / "masks/b.tif", scenes[1], np.zeros((157, 211)))
    request = DetectRequest(
        [str(path) for path in scenes], model, tmp_path / "f.parquet", mask=tmp_path / "masks"
    )
    outcome = detect_rasters(request)
    assert [one.clear.share for one in outcome.scenes] == [0.0, 1.0]
    (tmp_path / "masks/b.tif").unlink()
    with pytest.raises(MissingFileError, match="masks: holds no mask of scene b, such as b_mask"):
        detect_rasters(request)


def test_a_mask_elsewhere_is_an_error_before_the_search(
    scene: Path, make_scene: Any, model: Path, tmp_path: Path
) -> None:
    other = make_scene("other.tif", shape_hw=(50, 60), origin=(900_000.0, 4_000_000.0))
    mask = write_mask(tmp_path / "mask.tif", other, np.zeros((50, 60)))
    with pytest.raises(DataError, match=r"mask\.tif: covers no part of .*scene\.tif"):
        search(scene, model, tmp_path / "found.parquet", mask=mask)
    assert not (tmp_path / "found.parquet").exists()


def test_a_model_of_coverage_makes_the_mask(scene: Path, model: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "sky", threshold=0.3, classes=("cloud",), task="coverage")
    request = DetectRequest([str(scene)], model, tmp_path / "f.parquet", mask=tmp_path / "sky")
    mapped = with_mapped_masks(request)
    assert mapped.mask == tmp_path / "f_masks"
    outcome = detect_rasters(mapped)
    table = pd.read_csv(tmp_path / "f_masks/coverage.csv")
    share = 1 - float(table.loc[table["class"] == "cloud", "share"].iloc[0])
    assert outcome.scenes[0].clear.share == pytest.approx(share, abs=0.02)
    assert with_mapped_masks(mapped) == mapped
    with pytest.raises(ParameterError, match=r"--mask .* is for models of objects"):
        map_rasters(replace(request, model=tmp_path / "sky", output=tmp_path / "map"))


def test_the_mask_is_not_overwritten(scene: Path, model: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.tif", scene, left_half())
    with pytest.raises(ParameterError, match=r"mask\.tif: is read by this command"):
        search(scene, model, tmp_path / "found.gpkg", mask=mask, scores=mask)


def scene_summary(km2: float, km2_clear: float, **by_class: int) -> SceneSummary:
    clear = ClearGround(
        mask="m.tif",
        share=km2_clear / km2,
        share_known=1.0,
        km2=km2_clear,
        objects=sum(by_class.values()),
        by_class=by_class,
        expected_false_alarms_per_km2=0.5,
    )
    return SceneSummary(
        scene="s",
        crs="EPSG:32631",
        objects=7,
        by_class={"aircraft": 7},
        expected_objects=3.0,
        windows_searched=9,
        windows_skipped=0,
        km2=km2,
        clear=clear,
    )


def test_of_what_is_not_found_the_upper_limit_is_told() -> None:
    scenes = [scene_summary(20.0, 5.0, aircraft=2), scene_summary(30.0, 10.0, aircraft=1)]
    notes = notes_on_ground(scenes, ["aircraft", "ship"], {"aircraft": 0.9, "ship": 0.8})
    assert notes[0] == "15.00 of 50.00 km2 searched are clear, with 3 of 14 objects"
    assert "0.5 per clear km2" in notes[1]
    limit = UPPER_COUNT / (15 * 0.8)
    assert notes[2].startswith(
        f"no ship found in 15.00 clear km2: at 95 % there are fewer than {limit:.3g}"
    )
    assert len(notes) == 3
    unknown = notes_on_ground(scenes, ["ship"], {"ship": None})[2]
    assert "fewer than 0.2 per km2, if all of them were found" in unknown
    # of so many objects, 1 - exp(-3) of such searches would have found one
    rng = np.random.default_rng(0)
    found = rng.poisson(limit * 15 * 0.8, 20_000)
    assert (found == 0).mean() == pytest.approx(0.05, abs=0.005)


def test_values_are_read_with_commas() -> None:
    assert parse_mask_values("4, cloud") == ("4", "cloud")
    assert parse_mask_values(None) is None
    with pytest.raises(ParameterError, match="values with commas between, got '4,'"):
        parse_mask_values("4,")


def test_the_command_tells_what_is_clear(scene: Path, model: Path, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.tif", scene, left_half() * 4)
    arguments = ["detect", str(scene), "--model", str(model), "--mask", str(mask), "--json"]
    arguments += ["--mask-values", "4", "--output", str(tmp_path / "found.gpkg")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    clear = document["scenes"][0]["clear"]
    assert clear["share"] == pytest.approx(0.5)
    assert document["km2_clear"] == clear["km2"]
    layer = geopandas.read_file(tmp_path / "found.gpkg", layer="scenes")
    assert layer["km2_clear"].tolist() == [clear["km2"]]


def test_a_summary_without_a_mask_is_what_it_was() -> None:
    plain = scene_summary(1.0, 0.5).model_copy(update={"clear": None})
    summary = DetectionSummary.of_scenes([plain], model="m", thresholds={}, search={})
    assert "clear" not in json.dumps(summary.to_json())
