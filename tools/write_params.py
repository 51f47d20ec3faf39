"""Write params.yaml from the parameter models: every key with its default, described by a comment.

    python tools/write_params.py

One section per stage, in the order of the flow. A comment that does not fit on the key's line
stands above it.
"""

from __future__ import annotations

import importlib
import textwrap
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from windhover.files import atomic_file
from windhover.params import StageParams

ROOT = Path(__file__).parents[1]
STAGES = ("simulate", "scenes", "patches", "augment", "train", "evaluate", "detect", "export")
LINE_LENGTH = 120
HEADER = """\
# Parameters of the stages: one section per stage, one model each in src/windhover/params/.
# `make params` writes this file anew with the defaults and descriptions of those models.
# What training decides (bands, GSD, window, classes) travels inside the model bundle. The rule of
# the threshold is here, never the threshold.
"""


def params_model(stage: str) -> type[StageParams]:
    """Return a stage's parameter model."""
    module = importlib.import_module(f"windhover.params.{stage}")
    model: type[StageParams] = getattr(module, f"{stage.capitalize()}Params")
    return model


def params_text() -> str:
    """Return the text of params.yaml: defaults as values, descriptions as comments."""
    parts = [HEADER]
    for stage in STAGES:
        model = params_model(stage)
        summary = _first_sentence(model)
        lines = [f"{stage}: # {summary}", *_model_lines(model(), indent=2)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _first_sentence(model: type[StageParams]) -> str:
    """Return the first paragraph of a model's docstring as one line without its full stop."""
    paragraph = (model.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).removesuffix(".")


def _model_lines(params: StageParams, indent: int) -> list[str]:
    lines: list[str] = []
    plain = params.model_dump(mode="json")
    for key, field in type(params).model_fields.items():
        description = field.description or ""
        value = getattr(params, key)
        if isinstance(value, StageParams):
            lines += _key_lines(f"{key}:", description, indent)
            lines += _model_lines(value, indent + 2)
        elif value and isinstance(value, tuple) and isinstance(value[0], dict):
            lines += _key_lines(f"{key}:", description, indent)
            lines += [" " * (indent + 2) + f"- {_flow(entry)}" for entry in plain[key]]
        else:
            lines += _key_lines(f"{key}: {_flow(plain[key])}", description, indent)
    return lines


def _key_lines(text: str, description: str, indent: int) -> list[str]:
    """Return a key's line with its comment on it, or above it where the line would be too long."""
    space = " " * indent
    line = f"{space}{text} # {description}"
    if len(line) <= LINE_LENGTH:
        return [line]
    prefix = f"{space}# "
    width = LINE_LENGTH - len(prefix)
    comment = textwrap.wrap(description, width, break_long_words=False, break_on_hyphens=False)
    return [*(prefix + part for part in comment), space + text]


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    yaml = YAML()
    yaml.default_flow_style = True
    yaml.width = 10_000
    stream = StringIO()
    yaml.dump([value], stream)  # in a list, because a bare scalar gets a document end
    text = stream.getvalue().strip().removeprefix("[").removesuffix("]")
    return text or "null"


def main() -> None:
    """Write params.yaml in the project's root."""
    with atomic_file(ROOT / "params.yaml") as temporary:
        temporary.write_text(params_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
