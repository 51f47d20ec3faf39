"""Old names of parameters and of their values, which are still read.

A `params.yaml`, a parameter set or a setting with old names works as before; one line reports
which keys have new names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from windhover.errors import ParameterError

logger = logging.getLogger(__name__)

# path of a mapping, in current names -> old key -> current key
RENAMED_KEYS: dict[str, dict[str, str]] = {
    "scenes": {"repeat_iou": "duplicate_iou", "block_m": "spatial_block_m"},
    "patches.negatives_per_positive": {"offcentre": "offcenter"},
    "train": {
        "distil_weight": "distillation_weight",
        "freeze": "freeze_fraction",
        "trunk_rate": "trunk_lr_factor",
        "stage_rate": "layer_lr_decay",
        "warmup": "warmup_fraction",
        "clip_norm": "gradient_clip_norm",
        "precision": "training_precision",
        "balance_beta": "class_balanced_beta",
        "adjust_tau": "logit_adjustment_tau",
        "mined_share": "mined_fraction",
        "jitter": "batch_augment",
        "mining": "hard_negative_mining",
        "crops": "large_patches",
    },
    "train.batch_augment": {
        "symmetries": "d4",
        "band_gain": "per_band_gain",
        "band_contrast": "per_band_contrast",
        "highlights": "highlight_darkening",
    },
    "train.hard_negative_mining": {
        "cap_per_scene": "max_per_scene",
        "missed_copies": "patches_per_miss",
    },
    "train.large_patches": {"crowded": "copy_paste_prob", "around_objects": "object_fraction"},
    "evaluate": {
        "floor_logit": "min_logit",
        "peak_looks": "peak_tta",
        "peak_looks_from": "rescore_min_logit",
        "second_look": "second_stage",
        "point_reach_m": "point_match_radius_m",
        "rule": "threshold_rule",
        "rule_value": "threshold_rule_value",
        "draws": "n_bootstrap",
    },
    "detect": {"precision": "inference_precision"},
}
# current name of a parameter -> old value -> current value
RENAMED_VALUES: dict[str, dict[str | int, str]] = {
    "train.network": {"course": "baseline_cnn"},
    "evaluate.match_by": {"metres": "distance"},
    "evaluate.peak_tta": {0: "none", 1: "recenter", 8: "d4"},
}

_reported: set[str] = set()


def current_key(path: str, key: str) -> str:
    """Return the current name of a key inside the mapping at `path` (in current names)."""
    return RENAMED_KEYS.get(path, {}).get(key, key)


def current_name(name: str) -> str:
    """Return the current dotted name of a parameter, such as `train.batch_augment.noise`."""
    path = ""
    for key in name.split("."):
        path = f"{path}.{current_key(path, key)}".removeprefix(".")
    return path


def with_current_names(
    name: str, value: Any, old_name: str | None = None
) -> tuple[Any, dict[str, str]]:
    """Return a parameter's value with current names of all keys and values inside it.

    Args:
        name: current dotted name of the parameter or section.
        value: its value; mappings are renamed inside.
        old_name: name by which it was given; None for `name`.

    Returns:
        The value, and what was renamed: old text -> current text.

    Raises:
        ParameterError: a mapping holds both the old and the current name of a key.
    """
    old_name = old_name or name
    if not isinstance(value, Mapping):
        current = value
        if isinstance(value, str | int) and not isinstance(value, bool):
            current = RENAMED_VALUES.get(name, {}).get(value, value)
        return current, ({} if current == value else {f"{old_name}={value}": str(current)})
    section: dict[str, Any] = {}
    renames: dict[str, str] = {}
    for key, inner in value.items():
        new_key = current_key(name, key)
        if new_key != key:
            if new_key in value:
                raise ParameterError(
                    f"`{name}.{new_key}` is also given by its old name `{old_name}.{key}`. "
                    "Remove the old one."
                )
            renames[f"{old_name}.{key}"] = f"{name}.{new_key}"
        section[new_key], inner_renames = with_current_names(
            f"{name}.{new_key}", inner, f"{old_name}.{key}"
        )
        renames |= inner_renames
    return section, renames


def current_setting(name: str, value: Any) -> tuple[str, Any, dict[str, str]]:
    """Return one setting under its current names, and what was renamed: old text -> current text.

    Args:
        name: dotted name, such as `train.jitter.noise`.
        value: its value, which may be a mapping.

    Raises:
        ParameterError: a mapping holds both the old and the current name of a key.
    """
    new_name = current_name(name)
    current, renames = with_current_names(new_name, value, name)
    if new_name != name:
        renames = {name: new_name} | renames
    return new_name, current, renames


def report_renames(source: str, renames: Mapping[str, str]) -> None:
    """Log one line that lists renamed keys; once per process for each source.

    Args:
        source: where the old names stand, such as `params.yaml`.
        renames: old name -> current name; empty for no line.
    """
    if not renames or source in _reported:
        return
    _reported.add(source)
    pairs = ", ".join(f"{old} -> {new}" for old, new in renames.items())
    logger.warning("%s: old names are still read, these have new ones: %s", source, pairs)
