"""From a plan by its tasks to the collected file: what one process writes, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import typer

from toy_plans import plan_world, request_of, run_all, write_raster, write_world
from windhover.batch.collect_plan import collect_plan
from windhover.batch.make_plan import expand_patterns
from windhover.batch.part import Part
from windhover.batch.plan import Plan
from windhover.batch.run_task import run_tasks_here
from windhover.batch.search_task import TaskSearch
from windhover.cli.batch import run
from windhover.detection.detect_rasters import detect_rasters
from windhover.errors import (
    FormatError,
    MissingFileError,
    ParameterError,
    UnsupportedError,
)
from windhover.files import lock_output


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, list[str]]:
    return tmp_path, write_world(tmp_path)


def detected(folder: Path, rasters: list[str], **options: Any) -> bytes:
    """Return the file that one process writes."""
    output = folder / "one_process.parquet"
    detect_rasters(request_of(folder, rasters, **options, output=output))
    return output.read_bytes()


def collected(folder: Path, **options: Any) -> bytes:
    """Return the file that is collected from a plan."""
    output = folder / "collected.parquet"
    collect_plan(folder / "plan", output, **options)
    return output.read_bytes()


def test_tasks_give_the_bytes_of_one_process(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters)
    tasks_of_scene = {row.scene: 0 for row in Plan.load(outcome.folder).tasks}
    for row in Plan.load(outcome.folder).tasks:
        tasks_of_scene[row.scene] += 1
    assert tasks_of_scene[0] > 2, "the large scene is cut"
    run_all(outcome)
    assert collected(folder) == detected(folder, rasters)
    assert len(geopandas.read_parquet(folder / "collected.parquet")) > 50


def test_one_task_and_many_give_equal_bytes(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    results = []
    for minutes, n_tasks in ((60.0, 1), (0.001, 6)):
        outcome = plan_world(folder, rasters[:1], minutes_per_task=minutes)
        assert outcome.record.tasks == n_tasks
        run_all(outcome)
        results.append(collected(folder))
        shutil.rmtree(outcome.folder)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "how",
    [
        {"scales": (1.0, 2.0)},
        {"stride_px": 4, "threshold": 0.7},
        {"match_radiometry": True},
        {"bands": ("3", "2", "1")},
    ],
)
def test_the_options_of_detect_hold(world: tuple[Path, list[str]], how: dict[str, Any]) -> None:
    folder, rasters = world
    run_all(plan_world(folder, rasters[:2], **how))
    assert collected(folder) == detected(folder, rasters[:2], **how)


def test_an_area_and_a_mask_hold_across_tasks(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    area = shapely.box(400_050, 4_999_700, 400_500, 4_999_950)
    geopandas.GeoSeries([area], crs=32631).to_file(folder / "area.gpkg")
    cloud = np.zeros((1, 330, 470), np.uint8)
    cloud[:, :, 200:] = 1
    with rasterio.open(rasters[0]) as dataset:
        profile = dataset.profile | {"count": 1}
    with rasterio.open(folder / "cloud.tif", "w", **profile) as dataset:
        dataset.write(cloud)
    how = {"aoi": folder / "area.gpkg", "mask": folder / "cloud.tif"}
    outcome = plan_world(folder, rasters, **how, minutes_per_task=0.001)
    assert (outcome.record.scenes, outcome.record.scenes_unsearched) == (1, 2)
    assert outcome.record.tasks > 1
    run_all(outcome)
    assert collected(folder) == detected(folder, rasters[:1], **how)
    assert set(geopandas.read_parquet(folder / "collected.parquet")["clear"]) > {0.0, 1.0}


def test_a_task_leaves_equal_bytes_each_time(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    plan_world(folder, rasters)
    plan = Plan.load(folder / "plan")
    run_tasks_here(plan.folder, [1])
    first = plan.part_path(1).read_bytes()
    (again,) = run_tasks_here(plan.folder, [1])
    assert (again.is_new, plan.part_path(1).read_bytes()) == (False, first)
    plan.part_path(1).unlink()
    (anew,) = run_tasks_here(plan.folder, [1])
    assert (anew.is_new, plan.part_path(1).read_bytes()) == (True, first)
    assert [path.name for path in plan.part_path(1).parent.iterdir()] == ["00001.parquet"]


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.98])
def test_a_part_that_was_cut_short_is_made_again(world: tuple[Path, list[str]], cut: float) -> None:
    folder, rasters = world
    run_all(plan_world(folder, rasters[1:2]))
    path = Plan.load(folder / "plan").part_path(0)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(ParameterError, match=r"1 of 1 task have no part.* --task 0"):
        collected(folder)
    run_tasks_here(folder / "plan", [0])
    assert path.read_bytes() == whole


def test_a_changed_bit_of_a_part_is_noticed(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    run_all(plan_world(folder, rasters[1:2]))
    path = Plan.load(folder / "plan").part_path(0)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="is no part that can be read"):
        collected(folder)


def test_what_changed_since_the_plan_is_refused(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    plan_world(folder, rasters)
    os.utime(rasters[0], ns=(0, 0))
    (outcome,) = run_tasks_here(folder / "plan", [0])
    assert "scene0.tif: was changed after the plan was made" in outcome.reasons[0]
    (folder / "model" / "calibration.json").write_text("{}")
    with pytest.raises(ParameterError, match=r"calibration\.json: is not that of the plan's model"):
        run_tasks_here(folder / "plan", [0])
    record = json.loads((folder / "plan" / "plan.json").read_text())
    record["search"]["thresholds"]["aircraft"] = 0.1
    (folder / "plan" / "plan.json").write_text(json.dumps(record))
    with pytest.raises(FormatError, match=r"plan\.json: was changed after the plan was made"):
        Plan.load(folder / "plan")


def test_a_changed_raster_costs_its_task_no_other_scene(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters[1:], minutes_per_task=60.0)
    (row_of_first, *others) = Plan.load(outcome.folder).rows_of(0)
    assert others, "one task has several scenes"
    os.utime(rasters[1], ns=(0, 0))
    (ended,) = run_tasks_here(outcome.folder, [0])
    assert len(ended.reasons) == 1
    part = Part.load(Plan.load(outcome.folder).part_path(0))
    searched = {block.scene for block in part.blocks}
    assert searched == {row.scene for row in others} - {row_of_first.scene}
    assert [failure.scene for failure in part.header.failures] == [row_of_first.scene]


def test_tasks_after_one_that_cannot_be_searched_are_searched(
    world: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters[1:], minutes_per_task=0.02)
    scenes = [{row.scene for row in Plan.load(outcome.folder).rows_of(task)} for task in range(4)]
    assert scenes == [{0}, {0}, {1}, {1}]
    os.utime(rasters[1], ns=(0, 0))
    with pytest.raises(typer.Exit, match=r"^3$") as ended:
        run(outcome.folder, task="1-2")
    assert ended.value.exit_code == 3
    printed = capsys.readouterr()
    tasks = [line for line in printed.out.splitlines() if line.startswith("task")]
    assert tasks == ["task 1: searched, but for 1 place", "task 2: searched"]
    assert "scene1.tif: was changed after the plan was made" in printed.err
    path = Plan.load(outcome.folder).part_path(2)
    with lock_output(path):
        first, second = run_tasks_here(outcome.folder, [2, 1])
    assert "another run is writing this file" in first.reasons[0]
    assert not first.has_part
    assert "scene1.tif: was changed" in second.reasons[0]
    shutil.rmtree(folder / "model")
    with pytest.raises(MissingFileError, match="model"):
        run_tasks_here(outcome.folder, [0, 1])


def test_a_plan_of_another_version_is_refused(
    world: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rasters = world
    plan_world(folder, rasters[1:2])
    monkeypatch.setattr("windhover.batch.plan.__version__", "9.9.9")
    with pytest.raises(ParameterError, match=r"was made by Windhover .*, and this is 9\.9\.9"):
        Plan.load(folder / "plan")


def test_a_raster_that_is_gone_is_counted_and_searched_once_it_is_back(
    world: tuple[Path, list[str]],
) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters, minutes_per_task=60.0)
    Path(rasters[1]).rename(folder / "away.tif")
    (first,) = run_tasks_here(outcome.folder, [0])
    assert [f"{rasters[1]}: no such file. Correct the path."] == list(first.reasons)
    found = collect_plan(outcome.folder, folder / "collected.parquet")
    assert not found.is_complete
    assert [(scene.scene, scene.kind) for scene in found.unsearched] == [("scene1", "failed")]
    (folder / "away.tif").rename(rasters[1])
    (second,) = run_tasks_here(outcome.folder, [0])
    assert (second.reasons, second.is_new) == ((), True)
    assert collected(folder) == detected(folder, rasters)


def test_blocks_that_cannot_be_read_are_counted_as_in_one_process(
    world: tuple[Path, list[str]],
) -> None:
    folder, _ = world
    raster = write_raster(
        folder / "tiled.tif", (330, 470), 9, tiled=True, blockxsize=64, blockysize=64,
        compress="deflate",
    )  # fmt: skip
    content = bytearray(raster.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    raster.write_bytes(content)
    run_all(plan_world(folder, [str(raster)]))
    found = collect_plan(folder / "plan", folder / "collected.parquet")
    alone = detect_rasters(request_of(folder, [str(raster)], output=folder / "alone.parquet"))
    assert found.failed == [block.reason for block in alone.failed]
    assert found.failed
    assert (folder / "collected.parquet").read_bytes() == (folder / "alone.parquet").read_bytes()


def test_missing_parts_are_named_with_the_command_that_makes_them(
    world: tuple[Path, list[str]],
) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters)
    n_tasks = outcome.record.tasks
    run_tasks_here(outcome.folder, [0, 2])
    rest = f"1,3-{n_tasks - 1}"
    with pytest.raises(ParameterError, match=rf"{n_tasks - 2} of {n_tasks} .* --task {rest}, or"):
        collected(folder)
    found = collect_plan(outcome.folder, folder / "some.parquet", partial=True)
    assert found.missing == (1, *range(3, n_tasks))
    assert not found.is_complete
    assert {scene.kind for scene in found.unsearched} == {"missing"}
    shutil.rmtree(outcome.folder / "parts")
    with pytest.raises(ParameterError, match="have no part"):
        collect_plan(outcome.folder, folder / "none.parquet", partial=True)


def test_parts_of_another_plan_are_not_taken(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    run_all(plan_world(folder, rasters[1:2]))
    with pytest.raises(ParameterError, match="holds the parts of an earlier plan"):
        plan_world(folder, rasters[1:2])
    (folder / "plan").rename(folder / "old")
    plan_world(folder, rasters[1:2], threshold=0.65)
    shutil.copytree(folder / "old" / "parts", folder / "plan" / "parts")
    with pytest.raises(ParameterError, match="1 of 1 task have no part"):
        collected(folder)
    run_all(plan_world(folder, rasters[1:2], output=folder / "fresh"))
    (task,) = run_tasks_here(folder / "plan", [0])
    assert task.is_new


def test_two_runs_of_one_task_at_once_are_refused(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    plan_world(folder, rasters[1:2])
    path = Plan.load(folder / "plan").part_path(0)
    with (
        lock_output(path),
        pytest.raises(ParameterError, match="another run is writing this file"),
    ):
        run_tasks_here(folder / "plan", [0])
    assert not path.exists()


def test_a_raster_that_cannot_be_opened_is_told_and_the_others_are_planned(
    world: tuple[Path, list[str]],
) -> None:
    folder, rasters = world
    (folder / "broken.tif").write_bytes(b"no raster")
    outcome = plan_world(folder, [str(folder / "broken.tif"), *rasters[1:]])
    assert [scene.info.name for scene in outcome.failed] == ["broken"]
    assert "1 raster cannot be opened" in outcome.lines()[0]
    run_all(outcome)
    assert collected(folder) == detected(folder, rasters[1:])
    with pytest.raises(FormatError, match=r"broken\.tif: GDAL cannot open it"):
        plan_world(folder, [str(folder / "broken.tif")], output=folder / "none")


def test_relative_names_hold_in_another_working_folder(
    world: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, rasters = world
    monkeypatch.chdir(folder)
    names = [Path(raster).name for raster in rasters[1:]]
    outcome = plan_world(folder, names)
    expected = detected(folder, names)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    run_all(outcome)
    assert collected(folder) == expected


def test_what_a_plan_cannot_do_is_refused(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    with pytest.raises(MissingFileError, match="no file has such a name"):
        expand_patterns([str(folder / "*.nothing")])
    assert expand_patterns([str(folder / "scene*.tif"), "https://a/b?c"]) == [
        *rasters,
        "https://a/b?c",
    ]
    with pytest.raises(ParameterError, match="--minutes-per-task must be above 0"):
        plan_world(folder, rasters, minutes_per_task=0)
    with pytest.raises(ParameterError, match="--mpx-per-second must be above 0"):
        plan_world(folder, rasters, mpx_per_second=-1.0)
    with pytest.raises(UnsupportedError, match="is a model, and a plan takes masks"):
        plan_world(folder, rasters, mask=folder / "model")
    card = json.loads((folder / "model" / "model.json").read_text())
    (folder / "model" / "model.json").write_text(json.dumps(card | {"task": "coverage"}))
    with pytest.raises(UnsupportedError, match="is a model of coverage"):
        plan_world(folder, rasters)


def test_the_speed_is_measured_where_it_is_not_stated(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    outcome = plan_world(folder, rasters, mpx_per_second=None)
    assert outcome.record.mpx_per_second > 0
    assert "measured here on 3 blocks, by torch on cpu in fp32" in outcome.lines()[1]
    assert outcome.record.hours > 0


def test_the_tables_of_a_plan_are_those_that_were_written(world: tuple[Path, list[str]]) -> None:
    folder, rasters = world
    plan_world(folder, rasters)
    table = pq.read_table(folder / "plan" / "tasks.parquet")
    pq.write_table(table.slice(1), folder / "plan" / "tasks.parquet")
    with pytest.raises(FormatError, match=r"tasks\.parquet: is not the table that belongs to"):
        Plan.load(folder / "plan")


def test_blocks_of_an_unfinished_part_are_not_searched_again(
    world: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rasters = world
    plan_world(folder, rasters[:1], minutes_per_task=60.0)
    search = TaskSearch(Plan.load(folder / "plan"))
    whole = search.search(0)
    monkeypatch.setattr(search.detector.scorer, "score", None)
    assert search.search(0, earlier=whole) == whole


def test_a_plan_of_a_stated_speed_repeats_itself(tmp_path: Path) -> None:
    rasters = write_world(tmp_path)
    contents = []
    for _ in range(2):
        folder = plan_world(tmp_path, rasters).folder
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
        shutil.rmtree(folder)
    assert contents[0] == contents[1]
