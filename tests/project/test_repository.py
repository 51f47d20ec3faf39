"""A new project is a repository in which DVC runs, wherever its folder lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from windhover.errors import ParameterError
from windhover.project import repository
from windhover.project.repository import init_repository


def git_init(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("ignored", "own"), [("tmp/\n", True), ("other/\n", False)], ids=["ignored", "tracked"]
)
def test_a_folder_that_a_repository_ignores_is_one_of_its_own(
    tmp_path: Path, ignored: str, own: bool
) -> None:
    git_init(tmp_path)
    (tmp_path / ".gitignore").write_text(ignored)
    project = tmp_path / "tmp/demo"
    project.mkdir(parents=True)
    init_repository(project)
    assert (project / ".git").is_dir() is own
    root = [sys.executable, "-m", "dvc", "root"]
    assert subprocess.run(root, cwd=project, capture_output=True, text=True).stdout.strip() == "."


def test_a_refusal_of_dvc_is_one_sentence_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository.shutil, "which", lambda name: None)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("")
    with pytest.raises(ParameterError, match=r"`dvc init` failed \(.*'\.dvc' exists"):
        init_repository(tmp_path)
