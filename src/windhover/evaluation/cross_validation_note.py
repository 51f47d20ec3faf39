"""The sentence on a cross-validation that stands for a model which learned from every scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from windhover.errors import FormatError
from windhover.files import read_json
from windhover.rendering.text import format_value

AGAIN = "Run `windhover kfold` again, or set `evaluate.cross_validation` to null."
MEASURES = {"ap": "AP", "f1": "F1", "precision": "precision", "recall": "recall"}


def cross_validation_note(path: Path) -> str:
    """Return what the folds of a cross-validation measured, in one sentence.

    Args:
        path: JSON of `windhover kfold`.

    Raises:
        MissingFileError: no such file.
        FormatError: it is not the result of a cross-validation.
    """
    content: Any = read_json(path, missing=AGAIN, broken=AGAIN)
    try:
        n_folds = len(content["folds"])
        summary = content["summary"]
        parts = []
        for key, name in MEASURES.items():
            if key in summary:
                one = summary[key]
                low, high = format_value(one["min"]), format_value(one["max"])
                parts.append(f"{name} {format_value(one['mean'])} ({low} to {high})")
    except (KeyError, TypeError):
        raise FormatError(f"{path}: is no result of a cross-validation. {AGAIN}") from None
    return (
        f"cross-validation: {n_folds} models, each tested on ground that it had not seen, have "
        f"{', '.join(parts)}; this model learned from all of it."
    )
