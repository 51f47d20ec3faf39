"""Labels from YOLO text: a class number, then a box or corners in fractions of the image.

A YOLO file names no image and no class: it is of the image of its own name, and its classes are
numbers unless a `data.yaml` or `classes.txt` in its folder or above it names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import FormatError
from windhover.labels.table import LabelRow, RawLabels, box_geometry, labels_from_rows
from windhover.labels.text_files import is_number, read_label_lines, read_utf8

MAX_CLASS = 1_000_000
MAX_FRACTION = 2.0  # larger numbers are px, not fractions
CLASS_LIST = "classes.txt"
NAME_LISTS = (CLASS_LIST, "obj.names")
NAME_YAMLS = ("data.yaml", "dataset.yaml")


def read_yolo(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one YOLO file of boxes (centre and size) or polygons (corners).

    Args:
        path: the file; the image has its name.
        class_column: not used, the class is the first number of a line.

    Raises:
        FormatError: a line is of another form, or its class has no name.
    """
    lines = read_label_lines(path)
    class_names = _find_class_names(path) if lines else {}
    rows = []
    for number, words in lines:
        where = f"{path}, line {number}"
        class_number, values = _parse_line(words, where)
        class_name = _class_name(class_number, class_names, where)
        rows.append(LabelRow(path.stem, class_name, _fraction_geometry(values)))
    return labels_from_rows(path, rows, "fraction", images=(path.stem,))


def _parse_line(words: list[str], where: str) -> tuple[int, list[float]]:
    """Return the class number and the coordinates of one line.

    Raises:
        FormatError: it is no YOLO line.
    """
    numbers = []
    if all(is_number(word) for word in words):
        numbers = [float(word) for word in words]
    count = len(numbers) - 1
    is_yolo = count >= 4 and count % 2 == 0
    if not is_yolo or not 0 <= numbers[0] <= MAX_CLASS or numbers[0] != int(numbers[0]):
        raise FormatError(
            f"{where}: neither YOLO (a class number, then 4 numbers or corners) nor "
            f"DOTA: {' '.join(words)[:60]!r}. Correct the line."
        )
    values = numbers[1:]
    if max(abs(value) for value in values) > MAX_FRACTION:
        raise FormatError(
            f"{where}: YOLO numbers are fractions of the image, got {max(values):g}. "
            "Divide them by its size."
        )
    return int(numbers[0]), values


def _class_name(class_number: int, class_names: dict[int, str], where: str) -> str:
    if class_names and class_number not in class_names:
        raise FormatError(
            f"{where}: has the class {class_number}, but the file of class names ends at "
            f"{max(class_names)}. Bring the names that belong to these labels."
        )
    return class_names.get(class_number, str(class_number))


def _fraction_geometry(values: list[float]) -> Any:
    """Return the shape of a centre and a size, or of corners, in fractions of the image."""
    if len(values) == 4:
        col, row, width, height = values
        return box_geometry(col - width / 2, row - height / 2, col + width / 2, row + height / 2)
    return shapely.Polygon(np.array(values).reshape(-1, 2))


def _find_class_names(path: Path) -> dict[int, str]:
    """Return number -> class from a file of names in the label's folder or up to two above it."""
    for folder in (path.parent, *list(path.parents)[1:3]):
        for name in NAME_LISTS:
            if (folder / name).is_file() and folder / name != path:
                return dict(enumerate(read_utf8(folder / name).rstrip().split("\n")))
        for name in NAME_YAMLS:
            if (folder / name).is_file():
                return _names_from_yaml(folder / name)
    return {}


def _names_from_yaml(path: Path) -> dict[int, str]:
    text = read_utf8(path)
    try:
        names = (YAML(typ="safe", pure=True).load(text) or {}).get("names", {})
        pairs: Iterable[Any] = names.items() if isinstance(names, dict) else enumerate(names or [])
        return {int(number): str(name) for number, name in pairs}
    except (YAMLError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{path}: has no `names` by number ({reason}). Write names: [first, second]."
        ) from None
