"""The export stage: from the table of detections to files for a map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pytest

from fake_models import write_bundle
from windhover.errors import FormatError, MissingFileError
from windhover.export.detection_summary import SUMMARY, DetectionSummary, SceneSummary
from windhover.export.export_map import export_map
from windhover.inference.detection_columns import COLUMNS
from windhover.inference.detector import Detector
from windhover.inference.result_table import empty_result_table, table_of_columns
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", threshold=0.6)
    return tmp_path / "model"


def scene_summary(name: str, crs: str | None = "EPSG:32631", **values: Any) -> SceneSummary:
    """Return the summary of a scene in which nothing was found."""
    content: dict[str, Any] = {
        "objects": 0,
        "by_class": {},
        "expected_objects": 0.0,
        "windows_searched": 100,
        "windows_skipped": 0,
        "km2": 0.25,
    }
    return SceneSummary(scene=name, crs=crs, **(content | values))


def test_the_summary_survives_its_file(tmp_path: Path) -> None:
    counts = {"objects": 3, "by_class": {"plane": 2, "ship": 1}, "split": "val"}
    scenes = [scene_summary("a", **counts), scene_summary("b", crs=None, km2=None)]
    summary = DetectionSummary.of_scenes(
        scenes, model="m", thresholds={"plane": 0.5, "ship": 0.5}, search={"scales": (1.0, 2.0)}
    )
    assert (summary.total.objects, summary.total.windows_searched) == (3, 200)
    assert summary.total.km2 == 0.25
    summary.save(tmp_path / SUMMARY)
    loaded = DetectionSummary.load(tmp_path / SUMMARY)
    assert loaded.to_json() == summary.to_json()
    assert loaded.scenes == summary.scenes


def test_a_damaged_summary_names_its_fault(tmp_path: Path) -> None:
    (tmp_path / SUMMARY).write_text(json.dumps({"model": "m"}))
    with pytest.raises(FormatError, match="`thresholds` is missing"):
        DetectionSummary.load(tmp_path / SUMMARY)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "a: 0 objects in 0.25 km2"),
        (
            {"objects": 3, "by_class": {"plane": 2, "ship": 1}},
            "a: 3 objects (2 plane, 1 ship) in 0.25 km2",
        ),
        ({"km2": None}, "a: 0 objects at an unknown GSD"),
        (
            {"windows_skipped": 7},
            "a: 0 objects in 0.25 km2, 7 windows without a valid pixel skipped",
        ),
    ],
)
def test_a_scene_is_described_in_one_line(values: dict[str, Any], line: str) -> None:
    assert scene_summary("a", **values).describe() == line


def stage_output(folder: Path, tables: list, systems: list[str | None]) -> Path:
    from windhover.export.detections import save_table

    folder.mkdir(exist_ok=True)
    filled = [empty_result_table(), *tables]
    save_table(pd.concat(filled, ignore_index=True), folder / "detections.parquet")
    scenes = [scene_summary(f"scene-{number}", crs) for number, crs in enumerate(systems)]
    summary = DetectionSummary.of_scenes(scenes, model="m", thresholds={"aircraft": 0.5}, search={})
    summary.save(folder / SUMMARY)
    return folder


def one_table(path: Path, model: Path, gsd: float | None = None) -> Any:
    detector = Detector.from_bundle(model)
    with detector.open(path, gsd) as scene:
        result = search_scene(detector.scorer, scene, SearchSettings(), min_logit=0.0)
        columns = detector.detections(result.candidates, detector.thresholds(), scene)
    return table_of_columns([columns])


def test_export_writes_the_map_and_says_what_it_cannot(
    make_scene: Any, model: Path, tmp_path: Path
) -> None:
    placed = one_table(make_scene(), model)
    local = one_table(make_scene("l.png", crs=None, driver="PNG"), model, 1.25)
    formats = ("gpkg", "parquet", "geojson")
    folder = stage_output(tmp_path / "d", [placed], ["EPSG:32631"])
    said = export_map(folder, tmp_path / "map", formats)
    assert sorted(path.name for path in (tmp_path / "map").iterdir()) == [
        "detections.geojson", "detections.gpkg", "detections.parquet",
    ]  # fmt: skip
    assert said[0] == f"{tmp_path / 'map' / 'detections.gpkg'}: {len(placed)} objects"
    said = export_map(stage_output(folder, [local], [None]), tmp_path / "map", formats)
    assert sorted(path.name for path in (tmp_path / "map").iterdir()) == [
        "detections.gpkg",
        "detections.parquet",
    ]
    assert "no detections.geojson: the scenes have no georeference" in said[2]
    export_map(
        stage_output(folder, [placed, local], ["EPSG:32631", None]), tmp_path / "map", formats
    )
    assert len(geopandas.read_parquet(tmp_path / "map" / "detections.parquet")) == len(placed)
    assert len(geopandas.read_parquet(tmp_path / "map" / "detections-local.parquet")) == len(local)


def test_export_of_nothing_found_is_a_map_with_its_columns(tmp_path: Path) -> None:
    export_map(
        stage_output(tmp_path / "d", [], ["EPSG:32631"]),
        tmp_path / "map",
        ("gpkg", "parquet", "geojson"),
    )
    found = geopandas.read_file(tmp_path / "map" / "detections.gpkg", layer="detections")
    assert list(found.columns) == list(COLUMNS)
    assert found.crs == "EPSG:32631"


def test_export_without_detections_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the detect stage first"):
        export_map(tmp_path, tmp_path / "map", ("gpkg",))
