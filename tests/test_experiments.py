"""The recipe of docs/evaluate.md, its very commands: two experiments, their difference, the
registry, a search.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
from ruamel.yaml import YAML

from project import ROOT
from test_flow import PLACES, TINY, make_raw

TOOLS = Path(sys.executable).parent


def recipe() -> list[str]:
    """Return the commands of the page's section, without their comments."""
    page = (ROOT / "docs/evaluate.md").read_text(encoding="utf-8")
    text = page.split("## Two experiments")[1].split("\n## ")[0]
    return [line.split("#")[0].strip() for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def test_the_page_goes_from_a_changed_parameter_to_a_search() -> None:
    commands = recipe()
    assert [line.split()[:2] for line in commands] == [
        ["dvc", "exp"], ["dvc", "exp"], ["make", "ui"], ["dvc", "metrics"], ["dvc", "plots"],
        ["windhover", "compare"], ["windhover", "promote"], ["windhover", "detect"],
    ]  # fmt: skip
    assert "-S train.learning_rate=" in commands[1]
    assert re.search(r"^ui:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project as git has it, with scenes of its own and a network that learns little
    in little time.
    """
    root = tmp_path / "project"
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    make_raw(
        root / "tiles", PLACES | {f"fir{number}": "test" for number in range(10)}
    )  # enough to draw over
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    for section, values in TINY.items():
        params[section] |= {key: value for key, value in values.items() if key in params[section]}
    params["scenes"]["raw"] = "tiles"
    params["train"] |= {"epochs": 2, "threads": 1}
    yaml.dump(params, root / "params.yaml")
    stages = yaml.load(root / "dvc.yaml")
    del stages["stages"]["simulate"]  # a minute for scenes that are not used here
    yaml.dump(stages, root / "dvc.yaml")
    shutil.copy(root / "tiles/fir.tif", root / "scene.tif")
    return root


@pytest.mark.slow
def test_the_recipe_runs_as_written(project: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "PYTHONPATH": str(project / "src"),
        "DVC_NO_ANALYTICS": "true",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }

    def run(command: str) -> str:
        done = subprocess.run(
            shlex.split(command),
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stdout + done.stderr, (
            f"{command}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    for command in ("git init -q", "git add -A", "git commit -q -m begin"):
        run(command)
    said = {command: run(command) for command in recipe() if not command.startswith("make ui")}
    told = {" ".join(command.split()[:2]): text for command, text in said.items()}
    assert "windows.val.shed.threshold" in told["dvc metrics"]
    assert "index.html" in told["dvc plots"]
    assert "first   usual (model" in told["windhover compare"]
    assert (
        "11 test scenes; paired bootstrap over places, 2000 resamples" in told["windhover compare"]
    )
    assert re.search(
        r"^  AP .*\[[+-]\d.*\]  (first is|second is|no difference)",
        told["windhover compare"],
        re.MULTILINE,
    )
    assert "models:/aircraft@champion is now version 1, of run slower" in told["windhover promote"]
    found = geopandas.read_file(project / "found.gpkg", layer="detections")
    assert set(found["scene"]) <= {"scene"}
