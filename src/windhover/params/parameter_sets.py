"""Laying a named set of parameters over `params.yaml`: only the changed keys, comments kept.

    python -m windhover.params.parameter_sets params/airbus.yaml scenes.raw=../scenes
    train.max_minutes=60

Checks that every key exists; the values are checked by the stage that reads them.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import MissingFileError, ParameterError, WindhoverError
from windhover.files import atomic_file
from windhover.params import read_yaml, value_at


def lay_over(params_file: Path, overlay_file: Path, changes: list[str]) -> list[str]:
    """Write the keys of an overlay file, then single changes, into a parameter file.

    Args:
        params_file: the file to change, such as `params.yaml`.
        overlay_file: YAML with sections and only the keys that differ; `jitter.contrast` is a
            key inside one.
        changes: `section.key=value`, the value in YAML.

    Returns:
        The keys that now have another value, as `section.key`.

    Raises:
        MissingFileError: a file, or the folder that `scenes.raw` names, is not there.
        ParameterError: a key that `params_file` does not have, or a change without `=`.
    """
    yaml = YAML()
    yaml.width = 160
    wanted = read_yaml(overlay_file)
    read_yaml(params_file)  # a clear sentence when it is missing or broken
    current: Any = yaml.load(params_file.read_text(encoding="utf-8"))
    pairs = [
        (section, key, value)
        for section, keys in wanted.items()
        for key, value in (keys or {}).items()
    ]
    pairs += [_parse_change(change) for change in changes]
    before = deepcopy(current)
    for section, key, value in pairs:
        holder, leaf = _holder(current, section, str(key), params_file)
        holder[leaf] = value
    names = dict.fromkeys(f"{section}.{key}" for section, key, _ in pairs)
    changed = [name for name in names if value_at(current, name) != value_at(before, name)]
    raw = Path(str(current["scenes"]["raw"]))
    if any((section, key) == ("scenes", "raw") for section, key, _ in pairs) and not raw.is_dir():
        raise MissingFileError(
            f"`scenes.raw` must be a folder that exists, got {raw}. Name the folder of your scenes."
        )
    text = StringIO()
    yaml.dump(current, text)
    with atomic_file(params_file) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return changed


def _holder(current: Any, section: str, key: str, params_file: Path) -> tuple[Any, str]:
    """Return the mapping in which a key stands, and its last part."""
    outer, _, leaf = f"{section}.{key}".rpartition(".")
    holder = value_at(current, outer)
    if not isinstance(holder, dict) or leaf not in holder:
        raise ParameterError(
            f"`{section}.{key}` is not in {params_file}. Mend the name; the sections are {', '.join(current)}."
        )
    return holder, leaf


def parse_setting(setting: str) -> tuple[str, Any]:
    """Return the name and the value of `name=value`, the value as YAML.

    Raises:
        ParameterError: it does not read so.
    """
    name, equals, text = setting.partition("=")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        equals = ""
    if not (equals and name.strip()):
        raise ParameterError(f"A setting must read name=value, got {setting!r}.")
    return name.strip(), value


def _parse_change(change: str) -> tuple[str, str, Any]:
    name, equals, _ = change.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ParameterError(f"A change must read section.key=value, got {change!r}.")
    return section, key, parse_setting(change)[1]


def main(arguments: list[str]) -> None:
    """Lay an overlay over ./params.yaml and say what changed."""
    try:
        if not arguments:
            raise ParameterError("Name a set of parameters, such as params/airbus.yaml.")
        changed = lay_over(Path("params.yaml"), Path(arguments[0]), arguments[1:])
    except WindhoverError as error:
        print(error.sentence(), file=sys.stderr)
        raise SystemExit(1) from None
    if changed:
        print(
            f"params.yaml now holds {arguments[0]}: {len(changed)} keys changed. "
            "`git checkout params.yaml` takes it back."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
