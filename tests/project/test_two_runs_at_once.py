"""Two `dvc repro` of one project at once: one runs, the other is told so, nothing is half-made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MakeScene
from toy_labels import boats
from windhover.project.init_project import init_project
from windhover.project.request import ProjectRequest

STAGE = "patches"
REPRO = [sys.executable, "-m", "dvc", "repro", STAGE]


@pytest.mark.slow
def test_of_two_runs_at_once_one_is_refused_and_the_bytes_are_those_of_one(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    make_scene("s/one.tif", (900, 1300))
    labels = boats(tmp_path / "boats.gpkg")
    project = tmp_path / "project"
    init_project(
        ProjectRequest(project, scenes=tmp_path / "s", labels=labels),
        lambda line: None,
    )
    runs = [
        subprocess.Popen(REPRO, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=300)[0].decode() for run in runs]
    codes = [run.returncode for run in runs]
    assert 0 in codes, said
    for code, output in zip(codes, said, strict=True):
        assert code == 0 or "is busy" in output or "lock" in output
        assert "Traceback" not in output
    first = bytes_of(project / "data")
    subprocess.run([*REPRO, "--force"], cwd=project, check=True, capture_output=True)
    assert bytes_of(project / "data") == first


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
