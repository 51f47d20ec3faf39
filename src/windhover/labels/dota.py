"""Labels from DOTA text: 8 numbers, a class, a difficulty; one file an image.

Corners are points in px of the image; nothing is shifted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from windhover.errors import FormatError
from windhover.labels.table import LabelRow, RawLabels, is_true, labels_from_rows
from windhover.labels.text_files import is_number, read_label_lines


def read_dota(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one DOTA file; objects of a difficulty other than 0 are ignored labels.

    Args:
        path: the file; the image has its name.
        class_column: not used, the class is the ninth word of a line.

    Raises:
        FormatError: a line is of another form.
    """
    rows = [_label_row(path, number, words) for number, words in read_label_lines(path)]
    return labels_from_rows(path, rows, "px", images=(path.stem,))


def is_dota(path: Path) -> bool:
    """Return whether any line of a text file has a class where DOTA has it.

    Raises:
        FormatError: the file is not text.
    """
    lines = read_label_lines(path)
    return any(len(words) in (9, 10) and not is_number(words[8]) for _, words in lines)


def _label_row(path: Path, number: int, words: list[str]) -> LabelRow:
    if len(words) not in (9, 10) or not all(is_number(word) for word in words[:8]):
        raise FormatError(
            f"{path}, line {number}: not DOTA (8 numbers, a class, a difficulty): "
            f"{' '.join(words)[:60]!r}. Correct the line."
        )
    polygon = shapely.Polygon(np.array(words[:8], np.float64).reshape(4, 2))
    is_difficult = len(words) == 10 and is_true(words[9], f"{path}, line {number}, difficulty")
    return LabelRow(path.stem, words[8], polygon, is_difficult)
