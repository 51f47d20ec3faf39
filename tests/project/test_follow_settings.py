"""`windhover set scenes.gsd_m` in a project: what was proposed for the old GSD follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import MakeScene
from toy_labels import boats
from windhover.dataset.block_plan import BlockPlan
from windhover.errors import DataError
from windhover.params import read_yaml, value_at
from windhover.project import init_project as flow
from windhover.project.check_project import check_project
from windhover.project.follow_settings import set_in_project, with_reason
from windhover.project.init_project import init_project
from windhover.project.request import ProjectRequest
from windhover.project.setup_record import ProjectSetup


@pytest.fixture
def project(make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of one scene, cut into blocks."""
    monkeypatch.setattr(flow, "init_repository", lambda project: None)
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "l.gpkg")
    request = ProjectRequest(tmp_path / "p", scenes=tmp_path / "s", labels=labels)
    init_project(request, lambda line: None)
    return request.project


def params_of(project: Path) -> dict[str, Any]:
    return read_yaml(project / "params.yaml")


def test_blocks_and_radii_are_planned_for_the_new_gsd(project: Path) -> None:
    assert BlockPlan.load(project / "blocks.json").guard_m == pytest.approx(64 * 1.25)
    radius = value_at(params_of(project), "patches.positive_radius_px")
    changed = set_in_project(project, ["scenes.gsd_m=2.0"], None)
    assert {"scenes.gsd_m", "patches.positive_radius_px"} <= set(changed)
    assert BlockPlan.load(project / "blocks.json").guard_m == pytest.approx(64 * 2.0)
    assert value_at(params_of(project), "patches.positive_radius_px") < radius
    text = (project / "params.yaml").read_text(encoding="utf-8")
    assert "  # proposed: set by hand\n  gsd_m: 2.0" in text
    assert ProjectSetup.load(project / "setup.json").proposal.value_of("scenes.gsd_m") == 2.0
    check_project(project)


def test_values_that_a_person_set_stay(project: Path) -> None:
    set_in_project(project, ["patches.positive_radius_px=7.5"], None)
    changed = set_in_project(project, ["scenes.gsd_m=2.0"], None)
    assert value_at(params_of(project), "patches.positive_radius_px") == 7.5
    assert "patches.positive_radius_px" not in changed


def test_a_default_that_is_named_with_the_gsd_stays(project: Path) -> None:
    default = value_at(params_of(project), "patches.ignore_radius_px")
    settings = ["scenes.gsd_m=2.0", f"patches.ignore_radius_px={default}"]
    set_in_project(project, settings, None)
    assert value_at(params_of(project), "patches.ignore_radius_px") == default


def test_another_kind_of_split_rewrites_the_stages(project: Path) -> None:
    before = params_of(project)
    set_in_project(project, ["scenes.gsd_m=6.0"], None)
    setup = ProjectSetup.load(project / "setup.json")
    assert setup.proposal.split_kind in ("folds", "none")
    params = params_of(project)
    assert value_at(params, "scenes.blocks") is None
    assert value_at(params, "scenes.split_fractions") == [1.0, 0.0, 0.0]
    stages = read_yaml(project / "dvc.yaml")["stages"]
    assert ("crossvalidate" in stages) == (setup.proposal.split_kind == "folds")
    set_in_project(project, [f"scenes.gsd_m={value_at(before, 'scenes.gsd_m')}"], None)
    assert params_of(project) == before


def test_nothing_is_changed_where_the_scenes_are_gone(project: Path, tmp_path: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    (tmp_path / "s").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="s: holds no raster"):
        set_in_project(project, ["scenes.gsd_m=2.0"], None)
    assert (project / "params.yaml").read_bytes() == before


def test_a_reason_is_replaced_and_the_description_kept() -> None:
    text = "a:\n  # what it is\n  # proposed: one\n  # and more\n  b: 1\nc:\n  b: 2\n"
    assert with_reason(text, "a.b", "two") == (
        "a:\n  # what it is\n  # proposed: two\n  b: 1\nc:\n  b: 2\n"
    )
    assert "proposed" not in with_reason(text, "a.b", None)
    assert with_reason(text, "c.b", "new").endswith("c:\n  # proposed: new\n  b: 2\n")


def test_a_key_without_a_line_of_its_own_is_set_without_a_reason(project: Path) -> None:
    path = project / "params.yaml"
    path.write_text(yaml.safe_dump(params_of(project), default_flow_style=True), encoding="utf-8")
    assert "patches.positive_radius_px" in set_in_project(project, ["scenes.gsd_m=2.0"], None)
    assert value_at(params_of(project), "scenes.gsd_m") == 2.0


def test_a_key_of_the_same_name_in_another_section_gets_no_reason() -> None:
    text = "scenes: {size: 1}\npatches:\n  size: 2\n"
    assert with_reason(text, "scenes.size", "set by hand") == text
    found = with_reason(text, "patches.size", "set by hand")
    assert found == "scenes: {size: 1}\npatches:\n  # proposed: set by hand\n  size: 2\n"
