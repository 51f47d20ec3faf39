"""Named sets of parameters and single settings, written into `params.yaml`.

Only the changed keys are written and comments are kept. Checks that every key exists; the values
are checked by the stage that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from windhover.errors import MissingFileError, ParameterError
from windhover.files import atomic_file
from windhover.params import parse_yaml, read_yaml, value_at
from windhover.params.renamed_keys import (
    current_key,
    current_setting,
    report_renames,
    with_current_names,
)

LEAST_FOLLOWED = 0.6  # of the keys of a set, where a parameter file follows it


def set_parameters(
    params_file: Path, settings: Sequence[str], like: Path | None = None
) -> list[str]:
    """Write a parameter set, then single settings, into a parameter file.

    Old names are read, and those in `params_file` are replaced by the current ones.

    Args:
        params_file: the file to change, such as `params.yaml`.
        settings: `section.key=value`, the value in YAML.
        like: parameter set: YAML with sections and only the keys that differ;
            `batch_augment.contrast` is a key inside one. None for no set.

    Returns:
        The keys that now have another value, as `section.key`, each once.

    Raises:
        MissingFileError: a file, or the folder that `scenes.raw` names, is not there.
        ParameterError: a key that `params_file` does not have, or a setting without `=`.
    """
    pairs: list[tuple[str, Any]] = []
    if like is not None:
        pairs += read_parameter_set(like)
    pairs += [_parse_section_setting(setting) for setting in settings]
    read_yaml(params_file)  # a clear sentence when it is missing or broken
    yaml = layout_keeping_yaml()
    try:
        document: Any = yaml.load(params_file.read_text(encoding="utf-8"))
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{params_file}: not valid YAML: {reason}. Correct it.") from None
    _rename_keys_in_place(document)
    before = deepcopy(document)
    for name, value in pairs:
        mapping, leaf = _find_mapping(document, name, params_file)
        mapping[leaf] = value
    names = dict.fromkeys(name for name, _ in pairs)
    if "scenes.raw" in names:
        _check_raw_folder(document)
    text = StringIO()
    yaml.dump(document, text)
    with atomic_file(params_file) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return [name for name in names if value_at(document, name) != value_at(before, name)]


def describe_parameters(params_file: Path, folder: Path) -> str:
    """Return the name of the parameter set that a parameter file follows, `defaults` for none.

    Keys of the set with another value are named after it.

    Args:
        params_file: such as `params.yaml`.
        folder: of the parameter sets; of several that fit, the one with most keys counts.
    """
    if not params_file.is_file():
        return "defaults"
    values = read_yaml(params_file)
    best = (0, "defaults")
    for path in sorted(folder.glob("*.yaml")):
        pairs = read_parameter_set(path)
        changed = [name for name, value in pairs if value_at(values, name) != value]
        n_same = len(pairs) - len(changed)
        if n_same > max(best[0], LEAST_FOLLOWED * len(pairs)):
            text = path.stem
            if changed:
                text += f", other {', '.join(changed)}"
            best = (n_same, text)
    return best[1]


def layout_keeping_yaml() -> YAML:
    """Return a reader and writer that keeps comments, indentation and the word `null`."""
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None),
        lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
    )
    return yaml


def read_parameter_set(path: Path) -> list[tuple[str, Any]]:
    """Return the settings of a parameter set as (current name, value), in the file's order."""
    pairs = []
    all_renames: dict[str, str] = {}
    for section, keys in read_yaml(path).items():
        if not isinstance(keys, Mapping | None):
            raise ParameterError(
                f"{path}: `{section}` must hold `key: value` lines, got {str(keys)[:60]!r}."
            )
        for key, given_value in (keys or {}).items():
            name, value, renames = current_setting(f"{section}.{key}", given_value)
            pairs.append((name, value))
            all_renames |= renames
    report_renames(str(path), all_renames)
    return pairs


def _rename_keys_in_place(document: Any) -> None:
    """Give the keys and values of a parameter file their current names; comments stay."""
    all_renames: dict[str, str] = {}
    for section in list(document):
        _, renames = with_current_names(section, document[section])
        all_renames |= renames
        _rename_mapping(document, section, section)
    report_renames("params.yaml", all_renames)


def _rename_mapping(parent: Any, key: str, path: str) -> None:
    """Rename the keys below `parent[key]`, or its value where that has a new name."""
    mapping = parent[key]
    if not isinstance(mapping, CommentedMap):
        value, renames = with_current_names(path, mapping)
        if renames:
            parent[key] = value
        return
    for position, old_key in enumerate(list(mapping)):
        new_key = current_key(path, old_key)
        if new_key != old_key:
            comment = mapping.ca.items.pop(old_key, None)
            mapping.insert(position, new_key, mapping.pop(old_key))
            if comment is not None:
                mapping.ca.items[new_key] = comment
        _rename_mapping(mapping, new_key, f"{path}.{new_key}")


def _find_mapping(document: Any, name: str, params_file: Path) -> tuple[Any, str]:
    """Return the mapping that holds a parameter, and the last part of the parameter's name."""
    outer, _, leaf = name.rpartition(".")
    mapping = value_at(document, outer)
    if not isinstance(mapping, Mapping) or leaf not in mapping:
        raise ParameterError(
            f"`{name}` is not in {params_file}. Correct the name; the sections are "
            f"{', '.join(document)}."
        )
    return mapping, leaf


def _check_raw_folder(document: Any) -> None:
    raw = Path(str(document["scenes"]["raw"]))
    if not raw.is_dir():
        raise MissingFileError(
            f"`scenes.raw` must be a folder that exists, got {raw}. Name the folder of your scenes."
        )


def parse_setting(setting: str) -> tuple[str, Any]:
    """Return the name and the value of `name=value`, the value read as YAML.

    Raises:
        ParameterError: it has another form.
    """
    name, equals, text = setting.partition("=")
    is_valid = bool(equals and name.strip())
    value = None
    try:
        value = parse_yaml(text)
    except ParameterError:
        is_valid = False
    if not is_valid:
        raise ParameterError(f"A setting must read name=value, got {setting!r}.")
    return name.strip(), value


def _parse_section_setting(setting: str) -> tuple[str, Any]:
    """Return the current name and the value of `section.key=value`."""
    given_name, equals, _ = setting.partition("=")
    _, dot, key = given_name.strip().partition(".")
    if not (equals and dot and key):
        raise ParameterError(f"A setting must read section.key=value, got {setting!r}.")
    name, value, renames = current_setting(*parse_setting(setting))
    report_renames("settings", renames)
    return name, value
