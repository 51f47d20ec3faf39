"""Labels from YOLO text: a class number, then a box or corners in fractions of the image.

A YOLO file names no image and no class: it is of the image of its own name, and its classes are
numbers unless a `data.yaml` or `classes.txt` in its folder or above it names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import FormatError
from windhover.labels.table import LabelRow, RawLabels, box_geometry, labels_from_rows
from windhover.labels.text_files import is_number, read_label_lines, read_utf8

MAX_CLASS = 1_000_000
N_NUMBERS_SHOWN = 4  # of classes, in an error
MAX_BOX_NUMBERS = 4  # of a line after its class; more are corners or key points
EDGE = 0.01  # by which a box may leave the image by rounding
POSE_MARGIN = 0.1  # of a box's sides, by which key points may be outside it
MAX_FRACTION = 2.0  # larger numbers are px, not fractions
CLASS_LIST = "classes.txt"
NAME_LISTS = (CLASS_LIST, "obj.names")
NAME_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
YAML_SUFFIXES = (".yaml", ".yml")
NAMES_KEY = re.compile(r"^names\s*:", re.MULTILINE)
NO_NAMES = (
    "no file names its classes (classes.txt or data.yaml in its folder or up to two above it), so "
    "they are called by their numbers"
)


class YoloNames(NamedTuple):
    """What the files of names next to YOLO labels state."""

    classes: dict[int, str]  # by number; empty for none
    numbers_per_pose: int | None  # of key points in a line; None where no poses are stated
    file: Path | None = None  # of the classes
    others: tuple[tuple[Path, dict[int, str]], ...] = ()  # farther files of names, their classes


def read_yolo(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one YOLO file of boxes (centre and size), polygons (corners) or poses (their boxes).

    Args:
        path: the file; the image has its name.
        class_column: not used, the class is the first number of a line.

    Raises:
        FormatError: a line is of another form, or its class has no name.
    """
    lines = read_label_lines(path)
    names = _find_names(path) if lines else YoloNames({}, None)
    parsed = []
    for number, words in lines:
        where = f"{path}, line {number}"
        class_number, values = _parse_line(words, where, names.numbers_per_pose)
        parsed.append((_class_name(class_number, names, where), values))
    if names.numbers_per_pose is None and any(_is_like_pose(values) for _, values in parsed):
        raise FormatError(
            f"{path}: its lines are like poses (a box, then key points inside it), not like "
            "corners. Write kpt_shape: [points, numbers] into data.yaml beside `names`, or leave "
            "the four numbers of the box alone."
        )
    rows = [LabelRow(path.stem, name, _fraction_geometry(values)) for name, values in parsed]
    labels = labels_from_rows(path, rows, "fraction", images=(path.stem,))
    return labels if names.file is not None or not rows else replace(labels, notes=(NO_NAMES,))


def _is_like_pose(values: list[float]) -> bool:
    """Return whether numbers that could be corners are more like a box and key points inside it.

    Then the second pair is a size, far from all others, or the corners cross.
    """
    if len(values) <= MAX_BOX_NUMBERS:
        return False
    col, row, width, height = values[:4]
    left_top = np.array([col - width / 2, row - height / 2])
    right_bottom = left_top + np.array([width, height])
    is_in_image = bool((left_top >= -EDGE).all() and (right_bottom <= 1 + EDGE).all())
    points = np.array(values[4:]).reshape(-1, 2)
    margin = POSE_MARGIN * np.array([width, height])
    is_inside = (points >= left_top - margin) & (points <= right_bottom + margin)
    is_missing = (points == 0).all(axis=1)
    if not is_in_image or min(width, height) <= 0 or not (is_inside.all(axis=1) | is_missing).all():
        return False
    others = np.array([(col, row), *points[~is_missing].tolist()])
    span = np.ptp(others, axis=0)
    beyond = np.maximum(others.min(axis=0) - (width, height), (width, height) - others.max(axis=0))
    is_far = bool(np.hypot(*np.maximum(beyond, 0)) > np.hypot(*span))
    return is_far or not _fraction_geometry(values).is_valid


def _parse_line(
    words: list[str], where: str, numbers_per_pose: int | None
) -> tuple[int, list[float]]:
    """Return the class number and the coordinates of one line; of a pose those of its box.

    Lines with key points of three numbers are known by their visibility, which is 0, 1 or 2.

    Raises:
        FormatError: it is no YOLO line.
    """
    numbers = []
    if all(is_number(word) for word in words):
        numbers = [float(word) for word in words]
    count = len(numbers) - 1
    is_pose = count > MAX_BOX_NUMBERS and _has_visibilities(numbers[1:])
    if numbers_per_pose is not None and count > MAX_BOX_NUMBERS:
        is_pose = True
        if count != MAX_BOX_NUMBERS + numbers_per_pose:
            raise FormatError(
                f"{where}: has {count - MAX_BOX_NUMBERS} numbers of key points, but kpt_shape in "
                f"data.yaml makes {numbers_per_pose}. Correct one of them."
            )
    is_yolo = count >= MAX_BOX_NUMBERS and (count % 2 == 0 or is_pose)
    if not is_yolo or not 0 <= numbers[0] <= MAX_CLASS or numbers[0] != int(numbers[0]):
        raise FormatError(
            f"{where}: neither YOLO (a class number, then 4 numbers or corners) nor "
            f"DOTA: {' '.join(words)[:60]!r}. Correct the line."
        )
    values = numbers[1 : 1 + MAX_BOX_NUMBERS] if is_pose else numbers[1:]
    if max(abs(value) for value in values) > MAX_FRACTION:
        raise FormatError(
            f"{where}: YOLO numbers are fractions of the image, got {max(values):g}. "
            "Divide them by its size."
        )
    return int(numbers[0]), values


def _has_visibilities(values: list[float]) -> bool:
    """Return whether numbers are a box, then key points of x, y and a visibility of 0, 1 or 2."""
    col, row, width, height = values[:4]
    is_box = min(width, height) > 0
    is_box &= abs(col - 0.5) + width / 2 <= 0.5 + EDGE and abs(row - 0.5) + height / 2 <= 0.5 + EDGE
    points = values[4:]
    return is_box and len(points) % 3 == 0 and all(number in (0, 1, 2) for number in points[2::3])


def _class_name(class_number: int, names: YoloNames, where: str) -> str:
    """Return the name of a class, its number where there are no names.

    Raises:
        FormatError: it has none, or another one in another file.
    """
    if not names.classes:
        return str(class_number)
    if class_number not in names.classes:
        numbers = sorted(names.classes)
        named = ", ".join(map(str, numbers[:N_NUMBERS_SHOWN]))
        more = f", ... {numbers[-1]}" if len(numbers) > N_NUMBERS_SHOWN else ""
        raise FormatError(
            f"{where}: has the class {class_number}, but {names.file} names only {named}{more}. "
            "Bring the names that belong to these labels."
        )
    name = names.classes[class_number]
    for other, classes in names.others:
        if classes.get(class_number, name).strip() != name.strip():
            raise FormatError(
                f"{where}: the class {class_number} is {name.strip()!r} by {names.file} and "
                f"{classes[class_number].strip()!r} by {other}. Take out the file that does not "
                "belong to these labels."
            )
    return name


def _fraction_geometry(values: list[float]) -> Any:
    """Return the shape of a centre and a size, or of corners, in fractions of the image."""
    if len(values) == MAX_BOX_NUMBERS:
        col, row, width, height = values
        if not any((width, height)):  # rows that fill up a table
            return None
        return box_geometry(col - width / 2, row - height / 2, col + width / 2, row + height / 2)
    return shapely.Polygon(np.array(values).reshape(-1, 2))


def _find_names(path: Path) -> YoloNames:
    """Return the classes and poses of a file in the label's folder or up to two above it."""
    found: list[tuple[Path, dict[int, str]]] = []
    numbers_per_pose = None
    for folder in (path.parent, *list(path.parents)[1:3]):
        for name in NAME_LISTS:
            if (folder / name).is_file() and folder / name != path:
                lines = read_utf8(folder / name).rstrip().split("\n")
                found.append((folder / name, dict(enumerate(lines))))
        yaml = _yaml_of_names(folder, folder.stat().st_mtime_ns)
        if yaml is not None:
            if not found or found[0][0].parent == folder:
                numbers_per_pose = _numbers_per_pose(yaml)
            found.append((yaml, _names_from_yaml(yaml)))
    found = [(file, classes) for file, classes in found if classes]
    if not found:
        return YoloNames({}, numbers_per_pose)
    file, classes = found[0]
    return YoloNames(classes, numbers_per_pose, file, tuple(found[1:]))


@lru_cache(maxsize=64)
def _yaml_of_names(folder: Path, changed_ns: int) -> Path | None:
    """Return the YAML file of names of a folder, None without one or with several.

    Args:
        folder: is listed once while it does not change.
        changed_ns: when it was changed last.
    """
    for name in NAME_YAMLS:
        if (folder / name).is_file():
            return folder / name
    others = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in YAML_SUFFIXES]
    of_names = [path for path in others if path.is_file() and NAMES_KEY.search(_head_of(path))]
    return of_names[0] if len(of_names) == 1 else None


def _head_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(100_000).decode("utf-8", "replace")


def _numbers_per_pose(path: Path) -> int | None:
    """Return how many numbers of key points a line has, None without `kpt_shape`.

    Raises:
        FormatError: it is no pair of whole numbers.
    """
    shape = _read_yaml(path).get("kpt_shape")
    if shape is None:
        return None
    is_pair = isinstance(shape, list) and len(shape) == 2
    if not is_pair or not all(isinstance(number, int) and number > 0 for number in shape):
        raise FormatError(
            f"{path}: `kpt_shape` must be [points, numbers of each], got {str(shape)[:40]}. "
            "Correct it."
        )
    return int(shape[0] * shape[1])


def _read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file of names.

    Raises:
        FormatError: it is not YAML, or no mapping.
    """
    text = read_utf8(path)
    try:
        content = YAML(typ="safe", pure=True).load(text) or {}
    except (YAMLError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise _names_error(path, error) from None
    except RecursionError:
        raise _names_error(path, ValueError("nested too deep")) from None
    if not isinstance(content, dict):
        raise _names_error(path, TypeError(f"{type(content).__name__} is no mapping"))
    return content


def _names_from_yaml(path: Path) -> dict[int, str]:
    names = _read_yaml(path).get("names") or {}
    if not isinstance(names, (dict, list)):
        raise _names_error(path, TypeError(f"it is {str(names)[:40]!r}"))
    try:
        pairs: Iterable[Any] = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (AttributeError, TypeError, ValueError) as error:
        raise _names_error(path, error) from None


def _names_error(path: Path, error: Exception) -> FormatError:
    reason = " ".join(str(error).split())[:120]
    return FormatError(
        f"{path}: has no `names` by number ({reason}). Write names: [first, second]."
    )
