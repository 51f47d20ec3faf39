"""`windhover init` writes a project whose every file is valid, or one sentence and nothing."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from conftest import MakeScene
from toy_labels import boats
from windhover.dataset.block_plan import BlockPlan
from windhover.errors import (
    DataError,
    FormatError,
    MissingFileError,
    ParameterError,
    WindhoverError,
)
from windhover.params import StageParams, load_params, read_yaml
from windhover.project import init_project as flow
from windhover.project.init_project import init_project
from windhover.project.proposal import Proposal
from windhover.project.request import ProjectRequest
from windhover.project.setup_record import ProjectSetup
from windhover.project.write_dvc_yaml import INSTALLED

STAGES = ("scenes", "patches", "augment", "train", "evaluate", "detect", "export")


@pytest.fixture(autouse=True)
def no_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out git and DVC, which take seconds."""
    monkeypatch.setattr(flow, "init_repository", lambda project: None)


def make(tmp_path: Path, **changes: Any) -> tuple[Path, Proposal, list[str]]:
    lines: list[str] = []
    request = ProjectRequest(tmp_path / "project", **changes)
    return request.project, init_project(request, lines.append), lines


def all_params(project: Path) -> dict[str, StageParams]:
    params = {}
    for stage in STAGES:
        module = importlib.import_module(f"windhover.params.{stage}")
        params[stage] = load_params(stage, getattr(module, f"{stage.capitalize()}Params"), project)
    return params


def test_scenes_and_labels_of_different_folders_become_a_valid_project(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "elsewhere" / "boats.shp", column="kind")
    project, proposal, lines = make(
        tmp_path, scenes=tmp_path / "s", labels=labels, class_column="kind", minutes=7.0
    )
    params: dict[str, Any] = all_params(project)
    assert params["scenes"].raw == str(tmp_path / "s")
    assert params["scenes"].labels == str(labels)
    assert params["train"].max_minutes == 7.0
    assert proposal.split_kind == "blocks"
    assert BlockPlan.load(project / params["scenes"].blocks).scenes
    stages = read_yaml(project / "dvc.yaml")["stages"]
    assert "simulate" not in stages
    deps = stages["scenes"]["deps"]
    assert {str(labels), str(labels.with_suffix(".dbf")), str(tmp_path / "s")} <= set(deps)
    for stage in stages.values():
        for dep in stage.get("deps", []):
            assert not dep.startswith("src/")
        assert stage["cmd"].startswith('"${python}" ')
    assert INSTALLED in stages["export"]["deps"]
    assert lines[-1].startswith(f"project -> {project}; now: cd {project} && ")


def test_each_proposed_value_has_its_reason_above_it_and_is_in_the_record(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300), bands=4, dtype="uint16")
    project, proposal, _ = make(tmp_path, scenes=tmp_path / "s", labels=boats(tmp_path / "b.gpkg"))
    assert ProjectSetup.load(project / "setup.json").proposal == proposal
    text = (project / "params.yaml").read_text(encoding="utf-8").splitlines()
    for value in proposal.values:
        leaf = value.name.split(".")[-1]
        above = [text[n - 1] for n, line in enumerate(text) if line.strip().startswith(f"{leaf}:")]
        assert any(line.strip().startswith("#") for line in above), value.name
    names = [one["name"] for one in read_yaml(project / "params.yaml")["augment"]["transforms"]]
    assert "HueSaturationValue" not in names


def test_the_built_in_world_needs_no_scenes(tmp_path: Path) -> None:
    project, proposal, _ = make(tmp_path, minutes=2.0)
    assert proposal.split_kind == "built-in"
    stages = read_yaml(project / "dvc.yaml")["stages"]
    assert "simulate" in stages
    assert (project / "pipeline" / "simulate.py").is_file()
    params: dict[str, Any] = all_params(project)
    assert params["train"].max_minutes == 2.0


def test_a_parameter_set_wins_over_proposed_values_but_not_over_where_the_data_are(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "b.gpkg", classes=("Airplane", "Truncated_airplane"), column="kind")
    project, _, _ = make(
        tmp_path, scenes=tmp_path / "s", labels=labels, class_column="kind", like="airbus"
    )
    params: dict[str, Any] = all_params(project)
    assert params["evaluate"].peak_tta == "d4"
    assert params["scenes"].labels == str(labels)
    assert params["scenes"].groups is None
    assert params["train"].max_minutes == 30.0
    with pytest.raises(ParameterError, match="--like horses: no such set"):
        make(tmp_path / "x", scenes=tmp_path / "s", labels=labels, like="horses")


def test_few_objects_are_measured_by_folds_in_a_stage_of_their_own(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (400, 430), origin=(400_000.0, 5_000_000.0))
    rng = np.random.default_rng(2)
    x = 400_000 + rng.uniform(10, 530, 40)
    y = 5_000_000 - rng.uniform(10, 490, 40)
    shapes = shapely.box(x - 9, y - 9, x + 9, y + 9)
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "l.gpkg")
    project, proposal, _ = make(
        tmp_path, scenes=tmp_path / "s", labels=tmp_path / "l.gpkg", minutes=6.0
    )
    assert proposal.split_kind == "folds"
    stage = read_yaml(project / "dvc.yaml")["stages"]["crossvalidate"]
    assert "--folds 3 --set scenes.blocks=blocks.json" in stage["cmd"]
    assert "--set scenes.fold_val=false --set train.max_minutes=1" in stage["cmd"]
    assert stage["outs"] == ["reports/kfold_matches.parquet", "reports/kfold_ground_truth.parquet"]
    evaluation = read_yaml(project / "dvc.yaml")["stages"]["evaluate"]
    assert {"reports/kfold.json", *stage["outs"]} <= set(evaluation["deps"])
    params: dict[str, Any] = all_params(project)
    assert params["scenes"].split_fractions == [1.0, 0.0, 0.0]
    assert params["scenes"].blocks is None
    assert params["evaluate"].cross_validation == "reports/kfold.json"
    assert params["train"].max_minutes == 3.0


def test_what_cannot_be_used_is_left_out_and_named_once(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    make_scene("s/other.tif", dtype="uint16")
    make_scene("s/quicklook.png", crs=None, driver="PNG")
    (tmp_path / "s" / "broken.tif").write_bytes(b"II*\x00 and then nothing")
    project, proposal, lines = make(
        tmp_path, scenes=tmp_path / "s", labels=boats(tmp_path / "b.gpkg")
    )
    left_out = [one.sentence for one in proposal.findings if one.kind == "left out"]
    for name in ("broken.tif", "quicklook.png", "other.tif"):
        assert sum(name in sentence for sentence in left_out) == 1
    assert sum("quicklook.png is left out" in line for line in lines) == 1
    params: dict[str, Any] = all_params(project)
    assert len(params["scenes"].exclude) == 3


def test_an_alpha_band_of_one_scene_does_not_end_the_evening(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    make_scene("s/two.tif", (300, 320), bands=4, origin=(500_000.0, 5_000_000.0), photometric="RGB")
    project, _, _ = make(tmp_path, scenes=tmp_path / "s", labels=boats(tmp_path / "b.gpkg"))
    params: dict[str, Any] = all_params(project)
    assert params["scenes"].exclude == []


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_labels_get_one_sentence_and_nothing_is_written(
    make_scene: MakeScene, tmp_path: Path, count: int
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "b.gpkg", count)
    with pytest.raises(WindhoverError, match=r"no label|too few|holds no") as error:
        make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert error.value.sentence().endswith((".", "--labels FILE."))
    assert not (tmp_path / "project").exists()


def test_one_object_marked_three_times_is_one_object(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", (500, 520), origin=(400_000.0, 5_000_000.0))
    shift = np.array([0.0, 8.0, 16.0])
    x, y = 400_050 + shift, 4_999_900 - shift
    shapes = shapely.box(x, y - 300, x + 320, y)
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "l.gpkg")
    with pytest.raises(DataError, match="1 labelled object is too few"):
        make(tmp_path, scenes=tmp_path / "s", labels=tmp_path / "l.gpkg")


def test_pictures_without_georeference_ask_for_the_gsd(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    for number in range(4):
        make_scene(f"s/{number}.png", (300, 420), crs=None, driver="PNG", seed=number)
    rows = ["image,xmin,ymin,xmax,ymax,label"]
    rng = np.random.default_rng(0)
    for number in range(40):
        x, y = rng.uniform((0, 0), (380, 260)).round()
        rows.append(f"{number % 4}.png,{x},{y},{x + 30},{y + 24},plane")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"4 pictures without georeference.*--gsd 0\.5"):
        make(tmp_path, scenes=tmp_path / "s", labels=labels)
    project, proposal, _ = make(tmp_path, scenes=tmp_path / "s", labels=labels, gsd_m=0.5)
    params: dict[str, Any] = all_params(project)
    assert params["scenes"].native_gsd_m == 0.5
    assert params["patches"].scale_jitter == (0.8, 1.25)
    assert proposal.split_kind == "folds"


def test_folders_and_options_that_do_not_fit_are_named(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "b.gpkg")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.doc").write_text("mine")
    with pytest.raises(ParameterError, match=r"holds thesis\.doc already"):
        make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["thesis.doc"]
    with pytest.raises(ParameterError, match="inside the folder of the scenes"):
        make(tmp_path / "s", scenes=tmp_path / "s", labels=labels)
    with pytest.raises(MissingFileError, match=r"--labels .*gone\.shp: no such file"):
        make(tmp_path / "a", scenes=tmp_path / "s", labels=tmp_path / "gone.shp")
    with pytest.raises(MissingFileError, match="--labelled most: no such file"):
        make(tmp_path / "a", scenes=tmp_path / "s", labels=labels, labelled="most")
    with pytest.raises(ParameterError, match="--minutes must be above 0"):
        make(tmp_path / "a", minutes=0.0)
    for minutes in (math.nan, math.inf):
        with pytest.raises(ParameterError, match="--minutes must be above 0 and finite"):
            make(tmp_path / "a", minutes=minutes)
    with pytest.raises(ParameterError, match="--gsd says something of scenes"):
        make(tmp_path / "a", gsd_m=0.5)


def test_setup_is_json_that_a_page_can_read(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", (900, 1300))
    project, _, _ = make(tmp_path, scenes=tmp_path / "s", labels=boats(tmp_path / "b.gpkg"))
    content = json.loads((project / "setup.json").read_text(encoding="utf-8"))
    assert content["measurements"]["length_m"]["p50"] == pytest.approx(20, abs=0.1)
    assert {"values", "findings", "split_kind"} <= set(content["proposal"])


def test_incomplete_labels_leave_ground_far_from_them_unknown(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "b.gpkg")
    project, _, lines = make(
        tmp_path, scenes=tmp_path / "s", labels=labels, labelled="positive-only"
    )
    params: dict[str, Any] = all_params(project)
    assert params["scenes"].labelled_within_m == pytest.approx(64 * 1.25)
    assert any("not complete" in line for line in lines)


def test_a_label_file_of_two_layers_is_read_and_told_once(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    frame = geopandas.read_file(boats(tmp_path / "b.gpkg", column="kind"))
    frame.iloc[:40].to_file(tmp_path / "two.gpkg", layer="sail")
    frame.iloc[40:].to_file(tmp_path / "two.gpkg", layer="motor")
    _, proposal, lines = make(tmp_path, scenes=tmp_path / "s", labels=tmp_path / "two.gpkg")
    assert sum(proposal.objects_by_split.values()) > 80
    assert sum("has the layers sail (40 polygons), motor (50" in line for line in lines) == 1
    assert any("40 sail" in line for line in lines)


def test_a_path_where_no_project_can_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    before = sorted(tmp_path.iterdir())
    for name, reason in {
        "file/p": "a part of this path is a file",
        "n" * 300: "the name is too long for this file system",
        f"new/{'n' * 300}/p": "the name is too long for this file system",
        "loop/p": "its links lead back to themselves",
        "dangling": "no such file or folder",
    }.items():
        with pytest.raises(ParameterError, match=f"no project can be made: .*{reason}"):
            init_project(ProjectRequest(tmp_path / name), lambda line: None)
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ParameterError, match=r"file: is a file\. Name a folder"):
        init_project(ProjectRequest(tmp_path / "file"), lambda line: None)


def test_labels_that_are_on_no_scene_are_told(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", (900, 1300))
    make_scene("s/fine.tif", (300, 450), origin=(400_000.0, 6_000_000.0), gsd_m=0.3)
    labels = boats(tmp_path / "boats.gpkg")
    frame = geopandas.read_file(labels)
    far = frame.iloc[:7].translate(xoff=90_000)
    everything = pd.concat([frame, frame.iloc[:7].set_geometry(far)], ignore_index=True)
    everything.to_file(labels)
    _, _, lines = make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert "left out: 7 labels: on no scene" in lines
    assert ", 0.3 to 1.25 m, uint8, " in lines[0]
    assert not [line for line in lines if "None" in line]


def test_pictures_without_georeference_may_show_one_place_twice(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    rows = ["image,xmin,ymin,xmax,ymax,class\n"]
    for name in ("a", "b", "c"):
        make_scene(f"s/{name}.png", (220, 300), crs=None, dtype="uint8")
        rows += [f"{name}.png,{x},40,{x + 20},58,boat\n" for x in range(10, 250, 40)]
    labels = tmp_path / "l.csv"
    labels.write_text("".join(rows))
    asked: dict[str, Any] = {"scenes": tmp_path / "s", "labels": labels, "gsd_m": 0.5}
    _, proposal, lines = make(tmp_path / "one", **asked)
    told = [line for line in lines if "3 pictures have no georeference" in line]
    assert len(told) == 1
    assert told[0].endswith("[--groups PLACES.csv]")
    (groups,) = [one for one in proposal.values if one.name == "scenes.groups"]
    assert groups.reason.endswith("each picture is a place of its own")
    places = tmp_path / "places.csv"
    places.write_text("image,place\na.png,p\nb.png,p\nc.png,q\n")
    _, _, lines = make(tmp_path / "two", groups=places, **asked)
    assert not [line for line in lines if "no georeference" in line]


def test_points_have_no_size_and_that_is_told(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "boats.gpkg")
    frame = geopandas.read_file(labels)
    frame.set_geometry(frame.centroid).to_file(labels)
    _, _, lines = make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert [line for line in lines if "labels are points, so objects are taken to be about" in line]


def test_areas_are_checked_before_anything_is_written_and_their_scenes_are_labelled(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    make_scene("s/empty.tif", (300, 450), origin=(400_000.0, 6_000_000.0))
    labels = boats(tmp_path / "boats.gpkg")
    shape = shapely.box(400_000, 5_990_000, 410_000, 6_000_000)
    areas = tmp_path / "areas.gpkg"
    geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shape], crs="EPSG:32631").to_file(areas)
    asked: dict[str, Any] = {"scenes": tmp_path / "s", "labels": labels, "labelled": str(areas)}
    with pytest.raises(FormatError, match="areas need a column `role`"):
        make(tmp_path, **asked)
    assert not (tmp_path / "project").exists()
    _, _, lines = make(tmp_path / "without", scenes=tmp_path / "s", labels=labels)
    assert [line for line in lines if "1 of 2 scenes have no labels" in line]
    table = {"role": ["complete"]}
    geopandas.GeoDataFrame(table, geometry=[shape], crs="EPSG:32631").to_file(areas)
    _, _, lines = make(tmp_path, **asked)
    assert not [line for line in lines if "have no labels" in line]


def test_objects_marked_twice_are_counted_once_in_all_figures(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "boats.gpkg", 40)
    frame = geopandas.read_file(labels)
    again = frame.iloc[::2]
    again = again.set_geometry(again.translate(xoff=1.0))
    pd.concat([frame, again], ignore_index=True).to_file(labels)
    project, proposal, lines = make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert "; 40 boat, " in lines[0]
    assert proposal.value_of("scenes.duplicate_iou") == 0.6
    assert sum(proposal.objects_by_split.values()) <= 40
    assert ProjectSetup.load(project / "setup.json").measurements.n_objects == 40  # type: ignore[union-attr]


def test_folders_called_train_and_valid_are_told_to_be_no_split(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/train/one.tif", (900, 1300))
    make_scene("s/valid/two.tif", (300, 450), origin=(400_000.0, 6_000_000.0))
    labels = boats(tmp_path / "boats.gpkg")
    _, _, lines = make(tmp_path, scenes=tmp_path / "s", labels=labels)
    assert [line for line in lines if "the folders train, valid are read together" in line]
