"""The examples of schedulers are well-formed, and call commands that there are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from project import ROOT
from windhover.params import read_yaml

EXAMPLES = sorted(path for path in (ROOT / "docs" / "scale").iterdir() if path.is_file())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_well_formed_and_runs_the_plan(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        assert json.loads(text)["arrayProperties"]["size"] > 1
    elif path.suffix == ".yaml":
        assert set(read_yaml(path)) >= {"apiVersion", "kind", "spec"}
    else:
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    words = text.replace('"', "").replace(",", " ").split()
    assert {"run", "/shared/plan"} <= set(words)
    assert {"--index-from", "--task"} & set(words)
