"""What the commands write: nothing that is read, nothing of others; and JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from fake_models import write_bundle
from test_cli import invoke
from windhover.errors import ParameterError
from windhover.evaluation.explain import read_window
from windhover.geometry.lattice import outside_scene, read_padded
from windhover.imagery.scenes import open_scene

OVERWRITTEN = "is read by this command and would be overwritten"
FOREIGN = "was not written by this command, so it is not overwritten"


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write two detections and two objects that agree."""
    shapes = [shapely.box(left, 0, left + 20, 20) for left in (500_000, 500_100)]
    table = geopandas.GeoDataFrame({"score": [0.9, 0.8]}, geometry=shapes, crs="EPSG:32631")
    table.to_file(folder / "found.gpkg", layer="detections")
    table.assign(**{"class": "ship"}).to_file(folder / "truth.gpkg", layer="labels")
    return folder / "found.gpkg", folder / "truth.gpkg"


@pytest.mark.parametrize("name", ["truth.gpkg", "found.gpkg"])
def test_assess_writes_over_nothing_that_it_reads(tmp_path: Path, name: str) -> None:
    found, truth = write_pair(tmp_path)
    before = (tmp_path / name).read_bytes()
    result = invoke("assess", found, truth, "-o", tmp_path / name)
    assert isinstance(result.exception, ParameterError)
    assert OVERWRITTEN in str(result.exception)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["figures.json", "figures_curve.csv", "figures_scenes.csv"])
def test_assess_writes_over_its_own_files_and_no_others(tmp_path: Path, name: str) -> None:
    found, truth = write_pair(tmp_path)
    for _ in range(2):
        assert invoke("assess", found, truth, "-o", tmp_path / "figures.json").exit_code == 0
    (tmp_path / name).write_text('{"mine": 1}')
    result = invoke("assess", found, truth, "-o", tmp_path / "figures.json")
    assert FOREIGN in str(result.exception)
    assert (tmp_path / name).read_text() == '{"mine": 1}'


def test_explain_writes_over_its_own_picture_and_no_other(make_scene: Any, tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", threshold=0.6)
    scene = make_scene("s.png", driver="PNG", crs=None)
    before = scene.read_bytes()
    words = ["explain", f"{scene}:60,60", "--gsd", 1.25, "--model", tmp_path / "m", "-o"]
    assert OVERWRITTEN in str(invoke(*words, scene).exception)
    other = make_scene("other.png", driver="PNG", crs=None)
    assert FOREIGN in str(invoke(*words, other).exception)
    assert scene.read_bytes() == before
    for _ in range(2):
        assert invoke(*words, tmp_path / "e.png").exit_code == 0


def write_coco(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = {"id": 1, "file_name": "s.tif", "width": 210, "height": 150}
    label = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 30, 20, 10]}
    category = {"id": 1, "name": "ship"}
    content = {"images": [image], "annotations": [label], "categories": [category]}
    path.write_text(json.dumps(content))


def test_import_writes_over_no_labels_that_it_reads(make_scene: Any, tmp_path: Path) -> None:
    scene = make_scene("s/s.tif")
    write_coco(tmp_path / "labels" / "a.json")
    before = (tmp_path / "labels" / "a.json").read_bytes()
    for labels in (tmp_path / "labels" / "a.json", tmp_path / "labels"):
        words = ["import", labels, "--scenes", scene.parent, "-o", tmp_path / "out", "--write"]
        assert OVERWRITTEN in str(invoke(*words, tmp_path / "labels" / "a.json").exception)
    write_coco(tmp_path / "other.json")
    assert FOREIGN in str(invoke(*words, tmp_path / "other.json").exception)
    assert not (tmp_path / "out").exists()
    for _ in range(2):
        assert invoke(*words, tmp_path / "new.json").exit_code == 0
    assert (tmp_path / "labels" / "a.json").read_bytes() == before


@pytest.mark.parametrize("words", [["kfold"], ["train", "--rate-range"]])
def test_no_command_writes_over_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train: {}\n")
    (tmp_path / "notes.md").write_text("mine")
    for name, sentence in (("params.yaml", OVERWRITTEN), ("notes.md", FOREIGN)):
        assert sentence in str(invoke(*words, "-o", name).exception)
    assert (tmp_path / "params.yaml").read_text() == "train: {}\n"


def test_detect_gives_its_result_as_json(make_scene: Any, tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", threshold=0.6)
    words = ["--model", tmp_path / "m", "-o", tmp_path / "f.parquet", "--json"]
    result = invoke("detect", make_scene(), *words)
    document = json.loads(result.stdout)
    assert document["objects"] == len(geopandas.read_parquet(tmp_path / "f.parquet"))
    assert [scene["scene"] for scene in document["scenes"]] == ["scene"]
    assert document["failed"] == []
    assert "scored densely" in result.stderr


def test_assess_gives_its_result_as_json(tmp_path: Path) -> None:
    found, truth = write_pair(tmp_path)
    result = invoke("assess", found, truth, "--json", "-o", tmp_path / "a.json")
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "a.json").read_text())
    assert document["metrics"]["recall"]["value"] == 1


def test_inspect_gives_its_result_as_json_and_tells_what_cannot_be_used(
    make_scene: Any, tmp_path: Path
) -> None:
    scene = make_scene()
    (tmp_path / "broken.tif").write_bytes(b"II*\x00nothing")
    result = invoke("inspect", scene, tmp_path / "broken.tif", "--json")
    good, bad = json.loads(result.stdout)
    assert (good["can_be_used"], good["gsd_m"]) == (True, [1.25, 1.25])
    assert not bad["can_be_used"]
    assert "GDAL cannot open it" in bad["reason"]
    assert result.exit_code == 1


@pytest.mark.parametrize("padding_value", [None, (90.0, 100.0, 110.0)])
def test_an_explained_window_at_the_border_is_the_one_that_is_searched(
    make_scene: Any, padding_value: tuple[float, ...] | None
) -> None:
    with open_scene(make_scene()) as scene:
        for col, row in ((3.0, 70.0), (208.0, 148.0), (100.0, 0.0)):
            window, valid = read_window(scene, col, row, window_px=64, padding_value=padding_value)
            top = round(row - 32)
            left = round(col - 32)
            extent = (top, top + 64, left, left + 64)
            expected, _ = read_padded(scene.read, scene.shape_hw, extent, padding_value)
            np.testing.assert_array_equal(window, expected)
            assert outside_scene(scene.shape_hw, extent).any()
            assert valid.all()
