"""The dvc.yaml of a project: DVC reads the paths of scenes and labels as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from windhover.project.carried_files import carried_file
from windhover.project.write_dvc_yaml import ProjectInputs, dvc_yaml_text


def test_a_folder_named_like_a_parameter_is_a_path(tmp_path: Path) -> None:
    dvc_repo = pytest.importorskip("dvc.repo")
    scenes = tmp_path / "a ${x} #b"
    labels = tmp_path / "${y}.gpkg"
    inputs = ProjectInputs((str(scenes),), (str(labels),), n_folds=3, fold_minutes=1.0)
    template = carried_file("dvc.yaml")
    text = dvc_yaml_text(template, inputs, "python")
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    params = carried_file("params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    with dvc_repo.Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
    for name in ("scenes", "crossvalidate"):
        paths = {str(dep.fs_path) for dep in stages[name].deps}
        assert {str(scenes), str(labels)} <= paths
