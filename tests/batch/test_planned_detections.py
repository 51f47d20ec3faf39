"""The detect stage with a plan: the same detections, parts from elsewhere taken, faults named."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fake_models import write_bundle
from toy_plans import plan_world, request_of, write_world
from windhover.batch.plan import Plan
from windhover.batch.planned_detections import detect_planned
from windhover.batch.run_task import run_tasks_here
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.run_detection import run_detection
from windhover.errors import DataError, ParameterError
from windhover.export.detections import load_table, read_summary
from windhover.params.detect import DetectParams


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a folder with a model and a plan of which one task has run, and the rasters."""
    folder = tmp_path_factory.mktemp("world")
    rasters = write_world(folder)
    plan_world(folder, rasters)
    run_tasks_here(folder / "plan", [1])
    return folder, rasters


def test_the_stage_finds_what_one_search_finds(
    world: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, rasters = world
    made_elsewhere = Plan.load(folder / "plan").part_path(1)
    time = made_elsewhere.stat().st_mtime_ns
    params = DetectParams(plan=str(folder / "plan"))
    lines = run_detection(
        params,
        "no catalog",
        str(folder / "model"),
        out_folder=str(tmp_path / "out"),
        detect_planned=detect_planned,
    )
    assert made_elsewhere.stat().st_mtime_ns == time
    one_process = tmp_path / "one.parquet"
    detect_rasters(request_of(folder, rasters, output=one_process))
    expected = read_summary(one_process)
    assert lines[-1].startswith(f"{expected.total.objects} objects in 3 scenes")
    table = load_table(tmp_path / "out" / "detections.parquet")
    whole = pd.read_parquet(one_process)
    assert sorted(table["id"]) == sorted(whole["id"])
    found = table.set_index("id")["score"].sort_index()
    pd.testing.assert_series_equal(found, whole.set_index("id")["score"].sort_index())


def test_a_plan_of_another_model_is_refused(world: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = world
    write_bundle(tmp_path / "model", threshold=0.9)
    with pytest.raises(ParameterError, match="model"):
        detect_planned(folder / "plan", tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_raster_that_is_gone_stops_the_stage(tmp_path: Path) -> None:
    rasters = write_world(tmp_path)
    plan_world(tmp_path, rasters)
    Path(rasters[1]).unlink()
    with pytest.raises(DataError, match=r"scene1\.tif.*\(1 such parts\.\)"):
        detect_planned(tmp_path / "plan", tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()
