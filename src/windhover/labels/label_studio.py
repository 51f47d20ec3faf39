"""Labels from Label Studio: tasks as exported (JSON and JSON-MIN), and predictions.

Coordinates are percent of the image; a box is turned about its upper left corner.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import shapely
import shapely.affinity

from windhover.errors import FormatError
from windhover.labels.table import LabelRow, RawLabels, Space, box_geometry, labels_from_rows
from windhover.labels.text_files import read_json

# type of a result -> whether its shape is of points
SHAPES = {"rectanglelabels": False, "ellipselabels": False, "polygonlabels": True}
KINDS = ("rectanglelabels", "ellipselabels", "polygonlabels", "keypointlabels", "brushlabels")
UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # that Label Studio gives an uploaded file


def is_label_studio(document: Any) -> bool:
    """Return whether a JSON document is a list of tasks of Label Studio."""
    if not isinstance(document, list) or not document:
        return False
    return all(isinstance(task, dict) and _is_task(task) for task in document)


def _is_task(task: dict[str, Any]) -> bool:
    """Return whether an object is a task, also one that no one has seen."""
    is_waiting = "data" in task and isinstance(task.get("annotations"), list)
    return is_waiting or _results_of(task) is not None


def read_label_studio(path: Path, class_column: str | None = None) -> RawLabels:
    """Read boxes, ellipses (as boxes) and polygons of tasks.

    Of several annotations of a task the newest counts that was not cancelled; predictions count
    where there is none. A task with neither is of an image that no one has seen.

    Args:
        path: the file.
        class_column: not used, results have names.

    Raises:
        FormatError: it holds no tasks, or a result without class or place.
    """
    document = read_json(path)
    if not is_label_studio(document):
        raise FormatError(
            f"{path}: is no list of tasks of Label Studio. Export them there as JSON."
        )
    has_sizes = all(
        bool(result.get("original_width") and result.get("original_height"))
        for task in document
        for result in _results_of(task) or ()
    )
    rows: list[LabelRow] = []
    sizes: dict[str, tuple[int, int]] = {}
    images = []
    left_out: Counter[str] = Counter()
    for number, task in enumerate(document, 1):
        where = f"{path}: task {number}"
        results = _results_of(task)
        if results is None:
            continue
        image = _image_name(task, where)
        images.append(image)
        for result in results:
            value = _value_of(result)
            kind = next((name for name in KINDS if name in value), "")
            if kind not in SHAPES:
                left_out[kind or str(result.get("type"))] += 1
                continue
            size = (1, 1)
            if has_sizes:
                size = (int(result["original_width"]), int(result["original_height"]))
                sizes[image] = size
            class_name = _class_name(value, kind, where)
            geometry = _geometry(value, kind, size, is_px=has_sizes, where=where)
            rows.append(LabelRow(image, class_name, geometry))
    space: Space = "px" if has_sizes else "fraction"
    labels = labels_from_rows(path, rows, space, images=tuple(images), image_sizes_wh=sizes)
    if not left_out:
        return labels
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
    return replace(labels, notes=(f"results that are no boxes or polygons are left out: {kinds}",))


def _results_of(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the results of a task that count; None where no one has seen it."""
    annotations = task.get("annotations")
    if isinstance(annotations, list):
        kept = [
            one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")
        ]
        if kept:
            newest = max(kept, key=lambda one: str(one.get("updated_at") or one.get("created_at")))
            return _list_of_dicts(newest.get("result"))
    predictions = task.get("predictions")
    if isinstance(predictions, list) and predictions and isinstance(predictions[-1], dict):
        return _list_of_dicts(predictions[-1].get("result"))
    for value in task.values():  # JSON-MIN: the results are under the name of the control
        results = _list_of_dicts(value)
        if results and any(name in results[0] for name in KINDS):
            return results
    return None


def _list_of_dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, none of anything else."""
    if not isinstance(value, list):
        return []
    return [one for one in value if isinstance(one, dict)]


def _value_of(result: dict[str, Any]) -> dict[str, Any]:
    value = result.get("value", result)
    return value if isinstance(value, dict) else {}


def _image_name(task: dict[str, Any], where: str) -> str:
    """Return the name of a task's image, as a path without what Label Studio put before it.

    Raises:
        FormatError: it names none.
    """
    data = task.get("data", task)
    texts = [value for value in data.values() if isinstance(value, str)]
    address = data.get("image") if isinstance(data.get("image"), str) else next(iter(texts), "")
    if not address:
        raise FormatError(f"{where} names no image. Export the tasks with their `data`.")
    parts = urlsplit(address)
    name = unquote(parse_qs(parts.query).get("d", [parts.path])[0])
    folder, slash, file_name = name.rpartition("/")
    if "upload" in folder.split("/"):
        return UPLOAD_PREFIX.sub("", file_name)
    return f"{folder}{slash}{file_name}".lstrip("/")


def _class_name(value: dict[str, Any], kind: str, where: str) -> str:
    """Return the class of a result.

    Raises:
        FormatError: it has none.
    """
    names = value[kind]
    if not isinstance(names, list) or not names:
        raise FormatError(f"{where} has a result without a class. Choose one in Label Studio.")
    return str(names[0])


def _geometry(
    value: dict[str, Any], kind: str, size_wh: tuple[int, int], *, is_px: bool, where: str
) -> Any:
    """Return a result's shape, in px or as fractions of the image.

    Raises:
        FormatError: it has no sound place, or is turned and its image's size is unknown.
    """
    width, height = size_wh
    try:
        if SHAPES[kind]:
            points = np.asarray(value["points"], np.float64).reshape(-1, 2)
            return shapely.Polygon(points / 100 * [width, height])
        x, y = (float(value[name]) / 100 for name in ("x", "y"))
        if kind == "ellipselabels":
            reach_x, reach_y = (float(value[name]) / 100 for name in ("radiusX", "radiusY"))
            corners = (x - reach_x, y - reach_y, x + reach_x, y + reach_y)
        else:
            corners = (x, y, x + float(value["width"]) / 100, y + float(value["height"]) / 100)
        box = box_geometry(*(np.array(corners) * [width, height, width, height]))
        angle_deg = float(value.get("rotation") or 0)
    except (KeyError, TypeError, ValueError, shapely.GEOSException) as error:
        raise FormatError(
            f"{where} has a result without a sound place ({error!r}). Export it again."
        ) from None
    if not angle_deg or box is None:
        return box
    if not is_px:
        raise FormatError(
            f"{where} has a box that is turned, and no `original_width`. Export it again as JSON."
        )
    if kind == "ellipselabels":
        return shapely.affinity.rotate(box, angle_deg, origin="center")
    upper_left = (corners[0] * width, corners[1] * height)
    return shapely.affinity.rotate(box, angle_deg, origin=upper_left)
