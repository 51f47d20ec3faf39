"""The dvc.yaml of a project: the repository's stages, on what exists with an installed library.

The rooms of the library are replaced by one file with its version and a digest of its code, which
a first stage writes anew each time; commands run by the interpreter that made the project.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

INSTALLED = "installed.json"
RAW = "${scenes.raw}"
CROSS_VALIDATION = "reports/kfold.json"
# what its models found on ground that they had not seen
HELD_OUT = ("reports/kfold_matches.parquet", "reports/kfold_ground_truth.parquet")
HEADER = """\
# The stages of this project. `python` is the interpreter that runs them: name another one here if
# the project moves.
"""


@dataclass(frozen=True)
class ProjectInputs:
    """What the stages of a project depend on, without one another's outputs.

    Attributes:
        scenes: folder or files of the rasters; empty for the built-in world.
        labels: files and folders that the scenes stage also reads.
        n_folds: folds that measure while the model learns from everything; 0 for none.
        fold_minutes: training time of each.
    """

    scenes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    n_folds: int = 0
    fold_minutes: float = 0.0


def dvc_yaml_text(template: Path, inputs: ProjectInputs, python: str) -> str:
    """Return the text of dvc.yaml.

    Args:
        template: the repository's.
        inputs: of the project.
        python: path of the interpreter.
    """
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 10_000
    document: Any = yaml.load(template.read_text(encoding="utf-8"))
    stages = document["stages"]
    if inputs.scenes:
        del stages["simulate"]
    for name, stage in stages.items():
        stage["cmd"] = stage["cmd"].replace("python ", '"${python}" ', 1)
        stage["deps"] = _deps(stage["deps"], inputs)
        if name == "scenes":
            stage["deps"] += _literal(inputs.labels)
    stages.insert(0, "installed", _installed_stage())
    if inputs.n_folds:
        position = list(stages).index("evaluate")
        stages.insert(position, "crossvalidate", _cross_validation_stage(inputs))
        stages["evaluate"]["deps"] += [CROSS_VALIDATION, *HELD_OUT]
    stream = StringIO()
    yaml.dump({"vars": [{"python": python}], "stages": stages}, stream)
    return HEADER + stream.getvalue()


def _literal(paths: Sequence[str]) -> list[str]:
    """Return paths as DVC reads them: a `${` of a folder's name is no parameter of it."""
    return [path.replace("${", "\\${") for path in paths]


def _deps(deps: Sequence[str], inputs: ProjectInputs) -> list[str]:
    """Return a stage's dependencies: rasters where they are, the installed library as one file."""
    found = [INSTALLED]
    for dep in deps:
        if dep.startswith("src/"):
            continue
        if dep == RAW and inputs.scenes:
            found += _literal(inputs.scenes)
        else:
            found.append(dep)
    return found


def _installed_stage() -> dict[str, Any]:
    return {
        "desc": "version of the installed library: another one runs the stages anew",
        "cmd": f'"${{python}}" -m windhover.project.installed {INSTALLED}',
        "always_changed": True,
        "outs": [{INSTALLED: {"cache": False}}],
    }


def _cross_validation_stage(inputs: ProjectInputs) -> dict[str, Any]:
    # each model learns from all blocks but the one that it is tested on
    settings = "--set scenes.blocks=blocks.json --set scenes.fold_val=false "
    settings += f"--set train.max_minutes={inputs.fold_minutes:g}"
    return {
        "desc": "models of all blocks but one, each tested on that one",
        "cmd": f'"${{python}}" -m windhover.cli.app kfold --folds {inputs.n_folds} {settings} '
        f"--output {CROSS_VALIDATION}",
        "params": ["scenes", "patches", "augment", "train"],
        "deps": [INSTALLED, *_literal([*inputs.scenes, *inputs.labels]), "blocks.json"],
        "outs": list(HELD_OUT),
        "metrics": [{CROSS_VALIDATION: {"cache": False}}],
    }
