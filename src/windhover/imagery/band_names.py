"""What the bands of a raster are called."""

from __future__ import annotations

import re
from typing import Any


def band_names(dataset: Any, indexes: list[int]) -> tuple[str, ...]:
    """Return the bands' descriptions where they name all of them, else the known colors."""
    descriptions = [(dataset.descriptions[index - 1] or "").strip() for index in indexes]
    are_complete = all(descriptions) and len(set(descriptions)) == len(descriptions)
    if are_complete and not all(map(is_numbered_band_name, descriptions)):
        return tuple(descriptions)
    colors = [dataset.colorinterp[index - 1].name for index in indexes]
    known = [color for color in colors if color not in ("undefined", "gray")]
    has_unique_colors = len(known) > 0 and len(set(known)) == len(known)
    names = []
    for index, color in zip(indexes, colors, strict=True):
        is_named = has_unique_colors and color in known
        names.append(color if is_named else f"band{index}")
    return tuple(names)


def is_numbered_band_name(name: str) -> bool:
    """Return whether a band's name is a number alone: `3`, `band3`, `Band_3` or `Layer 3`."""
    return re.fullmatch(r"((band|layer)[ _-]?)?\d+", name, re.IGNORECASE) is not None
