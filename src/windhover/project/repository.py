"""A new project as a repository of git and DVC, which `dvc repro` needs. Writes no other file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from windhover.errors import ParameterError


def init_repository(project: Path) -> None:
    """Make a folder a repository of git and DVC; of DVC alone where there is no git.

    Raises:
        ParameterError: DVC cannot, with its reason.
    """
    has_git = shutil.which("git") is not None
    is_inside = has_git and _runs(["git", "rev-parse", "--is-inside-work-tree"], project)
    options = []
    # DVC refuses a folder that the repository around it ignores: such a project is one of its own
    if is_inside and not _runs(["git", "check-ignore", "-q", "."], project):
        options = ["--subdir"]
    elif not has_git or not _runs(["git", "init", "-q"], project):
        options = ["--no-scm"]
    command = [sys.executable, "-m", "dvc"]
    _run_or_fail([*command, "init", *options], project)  # with -q, a refusal has no words
    _run_or_fail([*command, "config", "core.analytics", "false"], project)


def _runs(command: Sequence[str], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


def _run_or_fail(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-200:]
        raise ParameterError(
            f"{folder}: the project is written, but `dvc init` failed ({reason}). Run it there, or "
            "`dvc init --no-scm`."
        )


def dvc_command() -> str:
    """Return how a person calls DVC: by its path where it is not found by its name."""
    beside = Path(sys.executable).with_name("dvc")
    found = shutil.which("dvc")
    if found is not None and (not beside.exists() or Path(found).samefile(beside)):
        return "dvc"
    return str(beside) if beside.exists() else f"{sys.executable} -m dvc"
