"""`windhover init --mask-values` makes a project of classes of ground, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import MakeScene
from windhover.dataset.block_plan import BlockPlan
from windhover.dataset.build_catalog import build_catalog
from windhover.errors import DataError, ParameterError
from windhover.params import load_params
from windhover.params.options_in_errors import options_in_errors
from windhover.params.scenes import ScenesParams
from windhover.project import init_project as flow
from windhover.project.check_project import check_project
from windhover.project.init_project import init_project
from windhover.project.proposal import Proposal
from windhover.project.request import ProjectRequest

VALUES = {0: "background", 7: "cloud"}
SHAPE = (150, 260)


@pytest.fixture(autouse=True)
def no_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out git and DVC, which take seconds."""
    monkeypatch.setattr(flow, "init_repository", lambda project: None)


def striped(shape_hw: tuple[int, int], value: int = 7) -> np.ndarray:
    """Return a class raster (1, H, W) with a class on every second strip of 40 columns."""
    classes = np.zeros((1, *shape_hw), np.uint8)
    classes[:, :, (np.arange(shape_hw[1]) // 40) % 2 == 1] = value
    return classes


def make(tmp_path: Path, **changes: Any) -> tuple[Path, Proposal, list[str]]:
    lines: list[str] = []
    request = ProjectRequest(
        tmp_path / "project", **{"scenes": tmp_path / "s", "mask_values": VALUES, **changes}
    )
    return request.project, init_project(request, lines.append), lines


def test_places_are_divided_whole_and_the_stage_reads_the_same(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    for number in range(5):
        origin = (400_000.0 + 5000 * number, 5_000_000.0)
        make_scene(f"s/tile{number}.tif", SHAPE, origin=origin, seed=number)
        make_scene(f"classes/tile{number}.tif", origin=origin, data=striped(SHAPE))
    (tmp_path / "s" / "broken.tif").write_bytes(b"no raster")
    project, proposal, lines = make(
        tmp_path, labels=tmp_path / "classes", mask_ignore=(255,), minutes=7.0
    )
    assert proposal.split_kind == "places"
    assert proposal.value_of("train.network") == "unet"
    assert proposal.value_of("train.options")["scene_log"] is True
    params = load_params("scenes", ScenesParams, project)
    assert (params.task, params.mask_values, params.mask_ignore) == ("coverage", VALUES, [255])
    catalog = build_catalog(params, tmp_path, tmp_path)
    assert (catalog.classes, len(catalog.scenes)) == (["cloud"], 5)
    assert set(catalog.scenes["split"]) == {"train", "val", "test"}
    told = "\n".join(lines)
    assert "left out: broken.tif is left out" in told
    assert "windows of 64 px with a class: " in told
    page = (project / "check.html").read_text(encoding="utf-8")
    assert "5 with a class map of cloud" in page


def test_one_place_is_cut_into_blocks_that_each_split_learns_or_tests_the_class_on(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    shape = (700, 900)
    make_scene("s/one.tif", shape)
    make_scene("s/masks/one.tif", data=striped(shape))
    project, proposal, _ = make(tmp_path)
    assert proposal.split_kind == "blocks"
    assert BlockPlan.load(project / "blocks.json").guard_m == 64 * 1.25
    params = load_params("scenes", ScenesParams, project)
    params = params.model_copy(update={"blocks": str(project / "blocks.json")})
    catalog = build_catalog(params, tmp_path, tmp_path)
    rows = catalog.report.coverage_table
    assert rows is not None
    cloud = {row["split"]: row["cloud"] for row in rows}
    assert {split for split, share in cloud.items() if share} == {"train", "val", "test"}


def test_ground_that_cannot_be_cut_all_trains_and_no_accuracy_is_known(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", SHAPE)
    make_scene("s/masks/one.tif", data=striped(SHAPE))
    _, proposal, lines = make(tmp_path)
    assert proposal.value_of("scenes.split_fractions") == [1.0, 0.0, 0.0]
    assert "no accuracy is known" in "\n".join(lines)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mask_values": None}, r"name their values, such as .*; one\.tif holds 0, 7\."),
        ({"mask_values": None, "mask_ignore": (255,)}, "--mask-values is not there"),
        ({"labelled": "positive-only"}, "is for objects: a class raster labels every px"),
        ({"mask_values": {7: "cloud"}}, "value"),
        ({"mask_values": {7: "background", 0: "background"}}, "besides background"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(
    make_scene: MakeScene, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    make_scene("s/one.tif", SHAPE)
    make_scene("classes/one.tif", data=striped(SHAPE))
    with pytest.raises((DataError, ParameterError), match=sentence):
        make(tmp_path, labels=tmp_path / "classes", **changes)
    assert not (tmp_path / "project").exists()


def test_hardly_any_ground_with_a_class_is_too_few(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", SHAPE)
    classes = np.zeros((1, *SHAPE), np.uint8)
    classes[0, :20, :30] = 7
    make_scene("s/masks/one.tif", data=classes)
    with pytest.raises(DataError, match=r"cloud is on 1 window of 64 px, all scenes together"):
        make(tmp_path)


def test_a_check_of_a_made_project_shows_the_classes(make_scene: MakeScene, tmp_path: Path) -> None:
    make_scene("s/one.tif", SHAPE)
    make_scene("s/masks/one.tif", data=striped(SHAPE))
    project, _, _ = make(tmp_path)
    (project / "check.html").unlink()
    assert "Shares of the classes" in check_project(project).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mask_values": {0: "background"}}, "--mask-values must name a class besides background"),
        ({"mask_ignore": (7,)}, "--mask-values and --mask-ignore both name the value 7"),
        ({"mask_values": {0: "background", 9: "cloud"}}, "neither in --mask-values nor in --mask"),
        ({"labels": None}, "name a pattern in --labels"),
    ],
)
def test_errors_before_there_is_a_params_yaml_name_options(
    make_scene: MakeScene, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    make_scene("s/tile.tif", SHAPE)
    make_scene("classes/tile.tif", data=striped(SHAPE))
    with pytest.raises((DataError, ParameterError), match=sentence) as caught:
        make(tmp_path, **{"labels": tmp_path / "classes", **changes})
    assert "params.yaml" not in str(caught.value)
    assert "scenes." not in str(caught.value)
    assert not (tmp_path / "project").exists()


def test_errors_keep_their_notes_and_what_names_no_key() -> None:
    error = DataError("`scenes.groups`: g.csv does not exist. Name the CSV, or set null.")
    error.add_note("Set `scenes.mask_values` in params.yaml.")
    wanted = r"^--groups: .* or leave it out\.\nSet --mask-values\.$"
    with pytest.raises(DataError, match=wanted) as caught, options_in_errors(flow.OPTION_OF_KEY):
        raise error
    assert caught.value is error
    of_another_section = DataError("`train.epochs` in params.yaml")
    with (
        pytest.raises(DataError, match=r"^`train\.epochs` in params\.yaml$"),
        options_in_errors(flow.OPTION_OF_KEY),
    ):
        raise of_another_section
