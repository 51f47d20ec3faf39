"""Parameters of the stages: read once, checked whole, frozen.

One module per stage holds one model, so that a parameter of `export` never re-runs `train`.
`load_params` accepts only what `dvc.yaml` declares for the stage: what is not declared cannot
change a result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import MissingFileError, ParameterError
from windhover.files import MAX_JSON_DEPTH, nesting_depth
from windhover.params.renamed_keys import current_setting, report_renames, with_current_names


class StageParams(BaseModel):
    """Base of every stage's parameters: no unknown key, no coercion, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Params = TypeVar("Params", bound=StageParams)


def load_params(stage: str, model: type[Params], root: str | Path = ".") -> Params:
    """Read the parameters that `dvc.yaml` declares for `stage` from `params.yaml` and check them.

    A key that `params.yaml` does not have takes the model's default. Old names are read too.

    Args:
        stage: name of the stage and of its section in `params.yaml`.
        model: the stage's parameter model.
        root: folder of `dvc.yaml` and `params.yaml`.

    Raises:
        MissingFileError: one of the two files is not there.
        ParameterError: a key is misspelt, undeclared, of another type or out of its range.
    """
    root = Path(root)
    section = read_yaml(root / "params.yaml").get(stage)
    if not isinstance(section, dict):
        raise ParameterError(
            f"params.yaml has no section `{stage}`. Add it, or copy it from the repository's "
            "params.yaml."
        )
    strange = [key for key in section if not isinstance(key, str)]
    if strange:
        raise ParameterError(
            f"`{stage}` in params.yaml has the key {strange[0]!r}, and keys are names. Remove it."
        )
    section, renames = with_current_names(stage, section)
    report_renames("params.yaml", renames)
    known = sorted(model.model_fields)
    declared = declared_keys(stage, model, root)
    for key in sorted(section):
        if key not in known:
            raise ParameterError(_unknown_key_message(stage, key, known))
        if key not in declared:
            raise ParameterError(
                f"`{stage}.{key}` is in params.yaml but not declared by the stage in dvc.yaml, so "
                f"`dvc repro` would not notice its change. Add `{stage}.{key}` to its `params`."
            )
    return check_params(stage, model, section)


def check_params(stage: str, model: type[Params], section: dict[str, Any]) -> Params:
    """Return one section validated by its model.

    Raises:
        ParameterError: with the first fault as one sentence that names the key.
    """
    section, _ = with_current_names(stage, section)
    try:
        # through JSON, because strict mode refuses YAML's lists for tuples
        return model.model_validate_json(json.dumps(section, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (stage, *first["loc"]))
        rule = first["msg"].removeprefix("Value error, ").rstrip(".")
        value = ""
        # a rule between keys has the whole section as its input
        if first["type"] != "missing" and not isinstance(first["input"], dict):
            value = f", got {first['input']!r}"
        n_more = len(error.errors()) - 1
        more = f" ({n_more} more like it.)" if n_more else ""
        raise ParameterError(f"`{key}`: {rule}{value}. Set `{key}` in params.yaml.{more}") from None


def change_params(stage: str, params: Params, changes: Mapping[str, Any]) -> Params:
    """Return parameters with some of them changed, checked again.

    Args:
        stage: name of the section, for the sentence of an error.
        params: the parameters to start from; they stay as they are.
        changes: key -> value; `batch_augment.contrast` is a key inside one. Old names are read.

    Raises:
        ParameterError: an unknown key, or a value out of its range.
    """
    section = params.model_dump(mode="json")
    for given_name, given_value in changes.items():
        full_name, value, renames = current_setting(f"{stage}.{given_name}", given_value)
        report_renames("settings", renames)
        name = full_name.removeprefix(f"{stage}.")
        outer, _, leaf = name.rpartition(".")
        mapping: Any = value_at(section, outer) if outer else section
        if not isinstance(mapping, dict) or (not outer and leaf not in section):
            raise ParameterError(_unknown_key_message(stage, name, sorted(section)))
        mapping[leaf] = value
    return check_params(stage, type(params), section)


def declared_keys(stage: str, model: type[StageParams], root: str | Path) -> set[str]:
    """Return the keys of section `stage` that `dvc.yaml` declares for that stage.

    The stage's name alone declares the whole section, which `dvc repro` compares as one value.

    Raises:
        MissingFileError: there is no `dvc.yaml`.
        ParameterError: `dvc.yaml` has no such stage.
    """
    stages = read_yaml(Path(root) / "dvc.yaml").get("stages")
    section = stages.get(stage) if isinstance(stages, dict) else None
    if not isinstance(section, dict):
        raise ParameterError(f"dvc.yaml has no stage `{stage}`. Restore the file: git checkout.")
    listed = section.get("params")
    declared = [key for key in listed if isinstance(key, str)] if isinstance(listed, list) else []
    if stage in declared:
        return set(model.model_fields)
    prefix = f"{stage}."
    return {key.removeprefix(prefix) for key in declared if key.startswith(prefix)}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping as plain Python (`1e-3` is a number, as for DVC; no object is ever
    built from a tag).

    Raises:
        MissingFileError: no such file.
        ParameterError: not YAML, or not a mapping.
    """
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file. Run from the project's root, which holds dvc.yaml and "
            "params.yaml."
        )
    try:
        value = parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8, or restore it."
        ) from None
    except ParameterError as error:
        raise ParameterError(f"{path}: {error} Correct that line, or restore the file.") from None
    if not isinstance(value, dict):
        raise ParameterError(f"{path}: must hold `key: value` lines, got {type(value).__name__}.")
    return value


def parse_yaml(text: str) -> Any:
    """Return what a YAML 1.2 text holds, as plain Python.

    Raises:
        ParameterError: it is not YAML, or its lists and mappings stand too deep in one another.
    """
    too_deep = "not valid YAML: its lists and mappings stand too deep in one another."
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, AttributeError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"not valid YAML: {reason}.") from None
    except RecursionError:
        raise ParameterError(too_deep) from None
    if nesting_depth(value) > MAX_JSON_DEPTH:
        raise ParameterError(too_deep)
    return value


def _unknown_key_message(stage: str, key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    hint = f"Did you mean `{stage}.{close[0]}`?" if close else f"Known keys: {', '.join(known)}."
    return (
        f"`{stage}.{key}` in params.yaml is not a parameter of this stage. {hint} "
        "Rename or remove it."
    )


def value_at(values: Any, path: str) -> Any:
    """Return the value at a path of nested mappings, such as `batch_augment.contrast`; None if
    there is none.
    """
    for name in path.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping, with keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
