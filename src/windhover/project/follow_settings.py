"""Settings of a project, and the proposed values that follow the GSD of training.

Radii, stride, merging and planned blocks are proposed for one GSD. Where a person sets another one,
they are proposed anew; values that a person changed stay.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path

from windhover.files import atomic_file
from windhover.params import read_yaml, value_at
from windhover.params.parameter_sets import set_parameters
from windhover.project.carried_files import carried_file
from windhover.project.init_project import project_inputs, with_parameter_set
from windhover.project.measure import measure
from windhover.project.proposal import Proposal
from windhover.project.propose_project import BLOCKS_FILE, propose_project
from windhover.project.setup_record import SETUP_FILE, ProjectSetup
from windhover.project.write_dvc_yaml import dvc_yaml_text
from windhover.project.write_params import LINE_LENGTH

GSD = "scenes.gsd_m"
PARAMS = "params.yaml"
PROPOSED = "# proposed:"


def set_in_project(folder: Path, settings: Sequence[str], like: Path | None) -> list[str]:
    """Write parameters of a project, and what follows from them; return the changed keys.

    Args:
        folder: of the project, or of any `params.yaml`.
        settings: `section.key=value`.
        like: parameter set to apply first.

    Raises:
        WindhoverError: what `set_parameters` or `measure` raise; params.yaml is then as it was.
    """
    path = folder / PARAMS
    before = path.read_bytes() if path.is_file() else b""
    changed = set_parameters(path, settings, like)
    if not (folder / SETUP_FILE).is_file():
        return changed
    try:
        named = {setting.partition("=")[0].strip() for setting in settings}
        followed = _follow_gsd(folder, named)
    except BaseException:
        with atomic_file(path) as temporary:
            temporary.write_bytes(before)
        raise
    return [*changed, *followed]


def _follow_gsd(folder: Path, named: Collection[str]) -> list[str]:
    """Propose a project anew at the GSD that is set; return the other keys that changed.

    Args:
        folder: of the project.
        named: keys that the person has just set: they stay.
    """
    setup = ProjectSetup.load(folder / SETUP_FILE)
    gsd_m = value_at(read_yaml(folder / PARAMS), GSD)
    is_number = isinstance(gsd_m, int | float) and gsd_m > 0
    request = setup.request
    if request is None or request.scenes is None or request.is_coverage or not is_number:
        return []
    if gsd_m == setup.proposal.value_of(GSD):
        return []
    data = measure(request)
    proposal, plan = propose_project(data, request, float(gsd_m))
    if request.like is not None:
        proposal = with_parameter_set(proposal, request.like)
    changed = _write_values(folder, setup.proposal, proposal, named)
    if plan.blocks is not None:
        plan.blocks.save(folder / BLOCKS_FILE)
    if plan.kind != setup.proposal.split_kind:
        python = read_yaml(folder / "dvc.yaml")["vars"][0]["python"]
        inputs = project_inputs(request, data, plan)
        with atomic_file(folder / "dvc.yaml") as temporary:
            text = dvc_yaml_text(carried_file("dvc.yaml"), inputs, python)
            temporary.write_text(text, encoding="utf-8")
    setup.model_copy(update={"measurements": data.record, "proposal": proposal}).save(
        folder / SETUP_FILE
    )
    return changed


def _write_values(
    folder: Path, before: Proposal, now: Proposal, named: Collection[str]
) -> list[str]:
    """Write the values of a new proposal that no person changed; return their keys."""
    params = read_yaml(folder / PARAMS)
    defaults = read_yaml(carried_file(PARAMS))
    old = {one.name: one.value for one in before.values}
    new = {one.name: one.value for one in now.values}
    settings = {}
    for name in dict.fromkeys([*old, *new]):
        default = value_at(defaults, name)
        wanted = new.get(name, default)
        expected = old.get(name, default)
        is_free = name not in named and value_at(params, name) == expected
        if is_free and wanted != expected:
            settings[name] = wanted
    texts = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    if not texts:
        return []
    path = folder / PARAMS
    changed = set_parameters(path, texts)
    reasons = {one.name: one.reason for one in now.values}
    text = path.read_text(encoding="utf-8")
    for name in (GSD, *settings):
        text = with_reason(text, name, reasons.get(name))
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return changed


def with_reason(text: str, name: str, reason: str | None) -> str:
    """Return the text of params.yaml with another reason above one key; None removes it.

    A key without a line of its own, as in `scenes: {gsd_m: 1.0}`, has no place for a reason.

    Args:
        text: of params.yaml.
        name: dotted.
        reason: why the value is proposed.
    """
    lines = text.splitlines()
    at = _line_of(lines, name.split("."))
    if at is None:
        return text
    first = at
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    kept: list[str] = []
    for line in lines[first:at]:
        if line.lstrip().startswith(PROPOSED):
            break  # the reason is the last comment above a key
        kept.append(line)
    indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
    wrapped = textwrap.wrap(f"proposed: {reason}", LINE_LENGTH) if reason else []
    comments = [f"{indent}# {line}" for line in wrapped]
    return "\n".join([*lines[:first], *kept, *comments, *lines[at:]]) + "\n"


def _line_of(lines: Sequence[str], keys: Sequence[str]) -> int | None:
    """Return the number of the line of a key inside others; None where it has no line."""
    position = 0
    for depth, key in enumerate(keys):
        indent = "  " * depth
        start = f"{indent}{key}:"
        while position < len(lines) and not lines[position].startswith(start):
            if _is_outside(lines[position], indent):
                return None
            position += 1
        if position == len(lines):
            return None
        if depth < len(keys) - 1:
            position += 1
    return position


def _is_outside(line: str, indent: str) -> bool:
    """Return whether a line belongs to no key of an indentation."""
    words = line.strip()
    return bool(words) and not words.startswith("#") and not line.startswith(indent)
