"""The params.yaml of a project: the repository's, with the proposed values and their reasons."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from windhover.params import value_at
from windhover.params.parameter_sets import layout_keeping_yaml
from windhover.project.proposal import ProposedValue

LINE_LENGTH = 110
HEADER = """\
# Parameters of this project, proposed by `windhover init`. A line that begins with `proposed` gives
# the reason of the value below it. Change any value, then run `dvc repro` again.
"""


def params_text(template: Path, values: Sequence[ProposedValue], drop: Sequence[str] = ()) -> str:
    """Return the text of params.yaml.

    Args:
        template: the repository's, with every key and its description.
        values: what differs, with reasons; of one name the last.
        drop: sections that are left out.
    """
    yaml = layout_keeping_yaml()
    document: Any = yaml.load(template.read_text(encoding="utf-8"))
    for section in drop:
        del document[section]
    for one in {value.name: value for value in values}.values():
        outer, _, leaf = one.name.rpartition(".")
        mapping = value_at(document, outer)
        if not isinstance(mapping, CommentedMap) or leaf not in mapping:
            raise KeyError(one.name)
        mapping[leaf] = _in_yaml(one.value)
        comment = "\n".join(textwrap.wrap(f"proposed: {one.reason}", LINE_LENGTH))
        indent = 2 * one.name.count(".")
        mapping.yaml_set_comment_before_after_key(leaf, before=comment, indent=indent)
    stream = StringIO()
    yaml.dump(document, stream)
    text = stream.getvalue()
    first = min(text.index(f"{section}:") for section in document)
    return f"{HEADER}\n{text[first:]}"


def _in_yaml(value: Any) -> Any:
    """Return a value whose lists and mappings stand on one line; a list of mappings, one each."""
    if isinstance(value, dict):
        mapping = CommentedMap({key: _in_yaml(inner) for key, inner in value.items()})
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list | tuple):
        sequence = CommentedSeq([_in_yaml(inner) for inner in value])
        if not any(isinstance(inner, dict) for inner in value):
            sequence.fa.set_flow_style()
        return sequence
    return value
