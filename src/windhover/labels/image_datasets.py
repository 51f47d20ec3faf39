"""Labels in the formats of picture data sets: COCO JSON, Pascal VOC XML, YOLO text and DOTA text.

Pixel coordinates are taken as corners of pixels, from 0, half-open: COCO says so, the tools that
write VOC today do so, and DOTA's corners are points in the picture. Nothing is shifted by half a
pixel or by one. XML is read without expanding entities.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import shapely
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import FormatError
from windhover.labels.table import RawLabels, Space, boxes_geometry, objects_array, without_empty

MAX_BYTES = 1_000_000_000
MAX_CLASS = 1_000_000  # of YOLO's numbers
SHAPES = ("Point", "MultiPoint", "Polygon", "MultiPolygon", "GeometryCollection")
HEAD = re.compile(r"[A-Za-z ]+:")  # of DOTA: imagesource:, gsd:, acquisition dates:
Row = tuple[str, str, Any, bool]  # image, class, geometry, ignored


def read_coco(path: Path, class_from: str | None = None) -> RawLabels:
    """Read COCO JSON: `bbox` is the box; without one, the outline of `segmentation` polygons.

    A crowd (`iscrowd`) costs nothing, unless every annotation is one: tools mark each run-length
    mask so.

    Args:
        path: the file.
        class_from: not used, a category has its name.

    Raises:
        FormatError: not COCO, or an annotation without box, image or category.
    """
    document = _json(path)
    if not isinstance(document, dict) or not {"images", "annotations"} <= set(document):
        raise FormatError(
            f"{path}: is JSON but not COCO: it has no `images` and `annotations`. Export the labels as COCO."
        )
    images = _by_id(path, document, "images", "file_name")
    names = _by_id(path, document, "categories", "name")
    annotations = document["annotations"]
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise FormatError(f"{path}: `annotations` is no list of objects. Export the labels again.")
    crowds = [bool(one.get("iscrowd", 0)) for one in annotations]
    crowded = not all(crowds)
    rows: list[Row] = []
    for number, (one, crowd) in enumerate(zip(annotations, crowds, strict=True), 1):
        where = f"{path}: annotation {number} (id {one.get('id')!r})"
        image, kind = (str(one.get(key)) for key in ("image_id", "category_id"))
        for key, value, known in (
            ("image_id", image, images),
            ("category_id", kind, names or {kind: kind}),
        ):
            if one.get(key) is None or value not in known:
                raise FormatError(
                    f"{where} has the {key} {one.get(key)!r}, which the file lacks. Export it again."
                )
        try:
            shape = _coco_shape(one)
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(
                f"{where} has no sound box or outline ({error}). Export the labels again."
            ) from None
        rows.append((images[image], names.get(kind, kind), shape, crowd and crowded))
    read = _labels(path, rows, "px", tuple(images.values()))
    return replace(read, sizes=_stated_sizes(images, document["images"]))


def _by_id(path: Path, document: dict[str, Any], part: str, name: str) -> dict[str, str]:
    """Return id -> name of a list of COCO; ids are compared as text, since some tools write them
    so.

    Raises:
        FormatError: it is no list, an entry lacks id or name, or an id means two things.
    """
    found: dict[str, str] = {}
    entries = document.get(part) or []
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or entry.get("id") is None or entry.get(name) is None:
            raise FormatError(
                f"{path}: an entry of `{part}` has no `id` or no `{name}`. Export the labels again."
            )
        if found.setdefault(str(entry["id"]), str(entry[name])) != str(entry[name]):
            raise FormatError(
                f"{path}: `{part}` has the id {entry['id']!r} twice. Give every entry an id of its own."
            )
    return found


def _stated_sizes(
    images: dict[str, str], entries: list[dict[str, Any]]
) -> dict[str, tuple[int, int]]:
    """Return the sizes that COCO states of its images, where it does."""
    return {
        images[str(one["id"])]: (int(one["width"]), int(one["height"]))
        for one in entries
        if all(
            isinstance(one.get(side), (int, float)) and 0 < one[side] < 1e9
            for side in ("width", "height")
        )
    }


def _coco_shape(annotation: dict[str, Any]) -> Any:
    box = annotation.get("bbox")
    if box:
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError(f"`bbox` must be 4 numbers, got {str(box)[:40]}")
        left, top, width, height = (float(number) for number in box)
        shape = _outline_in(annotation, (left, top, left + width, top + height))
        return shape if shape is not None else _box(left, top, left + width, top + height)
    parts = annotation.get("segmentation") or []
    if isinstance(parts, dict):
        raise ValueError("it has no `bbox`, and a run-length mask alone is not read")
    polygons = [
        shapely.Polygon(np.asarray(part, np.float64).reshape(-1, 2))
        for part in parts
        if len(part) >= 6
    ]
    return (
        shapely.MultiPolygon(polygons).envelope
        if len(polygons) > 1
        else (polygons[0] if polygons else None)
    )


def _box(left: float, top: float, right: float, bottom: float) -> Any:
    """Return a box; None for one that ends before it begins."""
    return boxes_geometry(np.array([[left, top, right, bottom]]))[0]


def _outline_in(annotation: dict[str, Any], box: tuple[float, float, float, float]) -> Any:
    """Return the annotation's one polygon, or a point, where it spans exactly its box; None where
    the box counts.
    """
    if box[0] == box[2] and box[1] == box[3]:
        return shapely.Point(box[0], box[1])
    parts = annotation.get("segmentation")
    if not isinstance(parts, list) or len(parts) != 1 or len(parts[0]) < 6:
        return None
    shape = shapely.Polygon(np.asarray(parts[0], np.float64).reshape(-1, 2))
    return shape if np.allclose(shape.bounds, box, atol=1e-3) else None


def _json(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(
            f"{path}: has {path.stat().st_size / 1e9:.1f} GB, at most 1 GB of JSON is read. Split it by scene."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not valid JSON ({error}). Export the labels again.") from None


def is_geojson(path: Path) -> bool:
    """Tell whether a .json file is GeoJSON: a collection, a single feature, or a shape alone."""
    document = _json(path)
    return isinstance(document, dict) and document.get("type") in (
        "FeatureCollection",
        "Feature",
        *SHAPES,
    )


def read_voc(path: Path, class_from: str | None = None) -> RawLabels:
    """Read one Pascal VOC file; objects marked `difficult` cost nothing.

    Args:
        path: the file; its `filename` says the image, its own name where that is missing.
        class_from: not used, an object has its name.

    Raises:
        FormatError: not XML, entities in it, or an object without a box.
    """
    try:
        root = SafeTree.parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        reason = (
            "it declares entities or a DTD"
            if isinstance(error, DefusedXmlException)
            else str(error)
        )
        raise FormatError(
            f"{path}: cannot be read as Pascal VOC ({reason}). Export the labels again."
        ) from None
    if root is None or root.tag != "annotation":
        raise FormatError(
            f"{path}: is XML but not Pascal VOC: it has no <annotation>. Export the labels as Pascal VOC."
        )
    image = (root.findtext("filename") or "").strip() or path.stem
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    sizes = (
        {image: (int(sides[0]), int(sides[1]))}
        if all(side.isdecimal() and int(side) for side in sides)
        else {}
    )
    rows: list[Row] = []
    for number, one in enumerate(root.findall("object"), 1):
        left, top, right, bottom = (
            _number(one.find("bndbox"), name, path, number)
            for name in ("xmin", "ymin", "xmax", "ymax")
        )
        difficult = (one.findtext("difficult") or "0").strip() not in ("0", "")
        rows.append(
            (image, (one.findtext("name") or "").strip(), _box(left, top, right, bottom), difficult)
        )
    return replace(_labels(path, rows, "px", (image,)), sizes=sizes)


def _number(box: Element | None, name: str, path: Path, number: int) -> float:
    text = None if box is None else box.findtext(name)
    try:
        return float(text or "")
    except ValueError:
        raise FormatError(
            f"{path}: object {number} has no number in <{name}> ({text!r}). Export the labels again."
        ) from None


def read_text(path: Path, class_from: str | None = None) -> RawLabels:
    """Read YOLO (class, then centre and size or corners, fractions of the image) or DOTA (corners
    in px, class).

    DOTA's objects of a difficulty other than 0 cost nothing.

    A YOLO file names no image and no class: it speaks of the image of its own name, and its classes
    are numbers unless a `data.yaml` or `classes.txt` beside it or above it names them.

    Raises:
        FormatError: a line is neither.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FormatError(
            f"{path}: is not text. Take it out, or name the label files in `scenes.labels`."
        ) from None
    words = [(number, line.replace(",", " ").split()) for number, line in enumerate(lines, 1)]
    words = [(number, line) for number, line in words if line and not HEAD.match(" ".join(line))]
    if any(len(line) in (9, 10) and not _is_number(line[8]) for _, line in words):
        rows = [_dota_row(path, number, line) for number, line in words]
        return _labels(path, rows, "px", (path.stem,))
    names = _yolo_names(path) if words else {}
    return _labels(
        path,
        [_yolo_row(path, number, line, names) for number, line in words],
        "fraction",
        (path.stem,),
    )


def _dota_row(path: Path, number: int, words: list[str]) -> Row:
    if len(words) not in (9, 10) or not all(_is_number(word) for word in words[:8]):
        raise FormatError(
            f"{path}, line {number}: not DOTA (8 numbers, a class, a difficulty): {' '.join(words)[:60]!r}. Mend it."
        )
    shape = shapely.Polygon(np.array(words[:8], np.float64).reshape(4, 2))
    return path.stem, words[8], shape, words[9:] not in ([], ["0"])


def _yolo_row(path: Path, number: int, words: list[str], names: dict[int, str]) -> Row:
    values = [float(word) for word in words] if all(_is_number(word) for word in words) else []
    count = len(values) - 1
    if count < 4 or count % 2 or not 0 <= values[0] <= MAX_CLASS or values[0] != int(values[0]):
        raise FormatError(
            f"{path}, line {number}: neither YOLO (a class number, then 4 numbers or corners) nor "
            f"DOTA: {' '.join(words)[:60]!r}. Mend it."
        )
    if max(abs(value) for value in values[1:]) > 2:
        raise FormatError(
            f"{path}, line {number}: YOLO numbers are fractions of the image, got "
            f"{max(values[1:]):g}. Divide them by its size."
        )
    if names and int(values[0]) not in names:
        raise FormatError(
            f"{path}, line {number}: has the class {int(values[0])}, but the file of class names ends at {max(names)}. "
            "Bring the names that belong to these labels."
        )
    name = names.get(int(values[0]), str(int(values[0])))
    if count == 4:
        col, row, width, height = values[1:]
        return (
            path.stem,
            name,
            _box(col - width / 2, row - height / 2, col + width / 2, row + height / 2),
            False,
        )
    return path.stem, name, shapely.Polygon(np.array(values[1:]).reshape(-1, 2)), False


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _yolo_names(path: Path) -> dict[int, str]:
    """Return number -> class from `classes.txt` or the `names` of `data.yaml`, here or up to two
    folders above.
    """
    for folder in (path.parent, *list(path.parents)[1:3]):
        for name in ("classes.txt", "obj.names"):
            if (folder / name).is_file() and folder / name != path:
                return dict(enumerate(_text(folder / name).rstrip().split("\n")))
        for name in ("data.yaml", "dataset.yaml"):
            if (folder / name).is_file():
                return _names_of_yaml(folder / name)
    return {}


def _names_of_yaml(path: Path) -> dict[int, str]:
    text = _text(path)
    try:
        names = (YAML(typ="safe", pure=True).load(text) or {}).get("names", {})
        pairs: Iterable[Any] = names.items() if isinstance(names, dict) else enumerate(names or [])
        return {int(number): str(name) for number, name in pairs}
    except (YAMLError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{path}: has no `names` by number ({reason}). Write names: [first, second]."
        ) from None


def _text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        FormatError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text ({error}). Save it as UTF-8.") from None


def _labels(path: Path, rows: list[Row], space: Space, images: tuple[str, ...]) -> RawLabels:
    columns: list[NDArray[Any]] = [
        objects_array([row[column] for row in rows]) for column in range(3)
    ]
    return without_empty(
        RawLabels(
            source=path.name,
            image=columns[0],
            klass=columns[1],
            geometry=columns[2] if rows else boxes_geometry(np.zeros((0, 4))),
            space=space,
            images=images,
            ignored=np.array([row[3] for row in rows], bool),
        )
    )
