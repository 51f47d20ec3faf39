"""What a model is made for, read before anything else is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from windhover.models.card import CARD


def task_of_model(folder: str | Path) -> str:
    """Return `coverage` or `objects`; `objects` for a card that cannot be read, whose fault is
    reported when the model is loaded.
    """
    try:
        card = json.loads((Path(folder) / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "objects"
    is_coverage = isinstance(card, dict) and card.get("task") == "coverage"
    return "coverage" if is_coverage else "objects"
