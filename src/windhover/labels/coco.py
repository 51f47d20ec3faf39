"""Labels from COCO JSON.

Coordinates are corners of pixels, from 0, half-open, as COCO defines them: nothing is shifted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from windhover.errors import FormatError
from windhover.labels.table import (
    LabelRow,
    RawLabels,
    box_geometry,
    is_true,
    labels_from_rows,
    turned_box,
)
from windhover.labels.text_files import read_json
from windhover.progress import counted

VERSION_KEY = "windhover_labels"  # of `info`: number of a reviewed version of the labels
UNCLEAR_ANGLES = ("angle", "theta")
MIN_RING_NUMBERS = 6  # of three corners


def read_coco(path: Path, class_column: str | None = None) -> RawLabels:
    """Read COCO JSON: `bbox` is the box; without one, the outline of `segmentation` polygons.

    Crowds (`iscrowd`) are ignored labels, unless every annotation is one: some tools mark each
    run-length mask so. In a reviewed version of this program's own they are always ignored, and
    what is marked by `ignore` is everywhere.

    Args:
        path: the file.
        class_column: not used, categories have names.

    Raises:
        FormatError: not COCO, or an annotation without box, image or category.
    """
    document = read_json(path)
    if not isinstance(document, dict) or not {"images", "annotations"} <= set(document):
        raise FormatError(
            f"{path}: is JSON but not COCO: it has no `images` and `annotations`. "
            "Export the labels as COCO."
        )
    images = _names_by_id(path, document, "images", name_key="file_name")
    categories = _names_by_id(path, document, "categories", name_key="name")
    annotations = document["annotations"]
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise FormatError(f"{path}: `annotations` is no list of objects. Export the labels again.")
    crowds = [is_true(one.get("iscrowd"), f"{path}: `iscrowd`") for one in annotations]
    info = document.get("info")
    is_version = isinstance(info, dict) and VERSION_KEY in info
    crowds_are_ignored = is_version or not all(crowds)
    rows = []
    for number, (annotation, is_crowd) in enumerate(zip(annotations, crowds, strict=True), 1):
        where = f"{path}: annotation {number} (id {annotation.get('id')!r})"
        row = _label_row(annotation, images, categories, where=where)
        is_ignored = is_true(annotation.get("ignore"), f"{where}, `ignore`")
        rows.append(row._replace(ignored=is_ignored or (is_crowd and crowds_are_ignored)))
    labels = labels_from_rows(
        path,
        rows,
        "px",
        images=tuple(images.values()),
        image_sizes_wh=_image_sizes(images, document["images"]),
    )
    return replace(labels, notes=(*_notes_on_images(images), *_notes_on_outlines(annotations)))


def _notes_on_outlines(annotations: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return a sentence where outlines lie beside their boxes, as after one of them was scaled."""
    n_apart = sum(map(_is_outline_apart, annotations))
    if not n_apart:
        return ()
    note = (
        f"{counted(n_apart, 'annotation')} with an outline that lies beside its box: the box is "
        "taken, look whether it is the right one"
    )
    return (note,)


def _is_outline_apart(annotation: dict[str, Any]) -> bool:
    """Return whether an annotation's box and the first ring of its outline have no px in common."""
    bbox = annotation.get("bbox")
    rings = annotation.get("segmentation")
    if not bbox or not any(bbox) or not isinstance(rings, list) or len(rings) != 1:
        return False
    if len(rings[0]) < MIN_RING_NUMBERS:
        return False
    left, top, width, height = map(float, bbox)
    x0, y0, x1, y1 = _polygon(rings[0]).bounds
    return x1 < left or y1 < top or x0 > left + width or y0 > top + height


def _notes_on_images(images: dict[str, str]) -> tuple[str, ...]:
    """Return a sentence where several images have one name, as after a merge of two sets."""
    repeated = [name for name, count in Counter(images.values()).items() if count > 1]
    if not repeated:
        return ()
    note = (
        f"{len(repeated)} file names are of several images ({repeated[0]!r} is one), whose labels "
        "are put together: write their folders too if they are not one picture"
    )
    return (note,)


def _names_by_id(
    path: Path, document: dict[str, Any], key: str, *, name_key: str
) -> dict[str, str]:
    """Return id -> name of one list of a COCO document.

    Ids are compared as text, since some tools write them so.

    Raises:
        FormatError: it is no list, an entry lacks id or name, or an id has two names.
    """
    names: dict[str, str] = {}
    entries = document.get(key) or []
    if not isinstance(entries, list):
        entries = [None]
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("id") is None or entry.get(name_key) is None:
            raise FormatError(
                f"{path}: an entry of `{key}` has no `id` or no `{name_key}`. "
                "Export the labels again."
            )
        name = str(entry[name_key])
        if names.setdefault(_id_text(entry["id"]), name) != name:
            raise FormatError(
                f"{path}: `{key}` has the id {entry['id']!r} twice. "
                "Give every entry an id of its own."
            )
    return names


def _id_text(value: Any) -> str:
    """Return an id as text; 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _image_sizes(
    images: dict[str, str], entries: list[dict[str, Any]]
) -> dict[str, tuple[int, int]]:
    """Return image -> width and height in px, for images that have both."""
    sizes = {}
    for entry in entries:
        sides = (entry.get("width"), entry.get("height"))
        if all(isinstance(side, (int, float)) and 0 < side < 1e9 for side in sides):
            sizes[images[_id_text(entry["id"])]] = (int(entry["width"]), int(entry["height"]))
    return sizes


def _label_row(
    annotation: dict[str, Any], images: dict[str, str], categories: dict[str, str], *, where: str
) -> LabelRow:
    """Return one annotation as a label that counts.

    Raises:
        FormatError: its image, category or geometry is missing or broken.
    """
    image_id = _id_text(annotation.get("image_id"))
    category_id = _id_text(annotation.get("category_id"))
    _check_reference(annotation, "image_id", images, where=where)
    # a file without categories has classes named by their numbers
    _check_reference(annotation, "category_id", categories or {category_id: ""}, where=where)
    try:
        geometry = _annotation_geometry(annotation)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            f"{where} has no sound box or outline ({error}). Export the labels again."
        ) from None
    return LabelRow(images[image_id], categories.get(category_id, category_id), geometry)


def _check_reference(
    annotation: dict[str, Any], key: str, known: dict[str, str], *, where: str
) -> None:
    value = annotation.get(key)
    if value is None or _id_text(value) not in known:
        raise FormatError(
            f"{where} has the {key} {value!r}, which the file lacks. Export it again."
        )


def _annotation_geometry(annotation: dict[str, Any]) -> Any:
    """Return an annotation's shape; None where it has none.

    Raises:
        ValueError: the box or the outline cannot be read.
    """
    bbox = annotation.get("bbox")
    rings = annotation.get("segmentation") or []
    if bbox and not (rings and bbox == [0, 0, 0, 0]):  # zeros fill in for a box
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise ValueError(f"`bbox` must be 4 numbers, got {str(bbox)[:40]}")
        left, top, width, height = (float(number) for number in bbox)
        box_xyxy = (left, top, left + width, top + height)
        angle_deg = _rotation_deg(annotation)
        if angle_deg:
            return turned_box(box_geometry(*box_xyxy), angle_deg)
        outline = _outline_of_box(annotation, box_xyxy)
        return outline if outline is not None else box_geometry(*box_xyxy)
    if isinstance(rings, dict):
        raise ValueError("it has no `bbox`, and a run-length mask alone is not read")
    polygons = [_polygon(ring) for ring in rings if len(ring) >= MIN_RING_NUMBERS]
    if not polygons:
        return None
    if len(polygons) > 1:
        return shapely.MultiPolygon(polygons).envelope
    return polygons[0]


def _rotation_deg(annotation: dict[str, Any]) -> float:
    """Return by how much a box is turned clockwise (CVAT's attribute `rotation`), 0 for none.

    Raises:
        ValueError: it is turned by an angle of another kind.
    """
    if annotation.get("segmentation"):  # it tells the outline anyway
        return 0.0
    attributes = annotation.get("attributes")
    places = [annotation, attributes if isinstance(attributes, dict) else {}]
    for place in places:
        for key in UNCLEAR_ANGLES:
            if place.get(key):
                raise ValueError(
                    f"it is turned by `{key}`, which may be of any kind: write corners"
                )
        if place.get("rotation"):
            return float(place["rotation"])
    return 0.0


def _outline_of_box(annotation: dict[str, Any], box_xyxy: tuple[float, float, float, float]) -> Any:
    """Return the annotation's one polygon, or a point, where it spans just its box; else None."""
    left, top, right, bottom = box_xyxy
    if left == right and top == bottom:
        return shapely.Point(left, top)
    rings = annotation.get("segmentation")
    if not isinstance(rings, list) or len(rings) != 1 or len(rings[0]) < MIN_RING_NUMBERS:
        return None
    polygon = _polygon(rings[0])
    return polygon if np.allclose(polygon.bounds, box_xyxy, atol=1e-3) else None


def _polygon(ring: list[float]) -> shapely.Polygon:
    """Return the polygon of x1, y1, x2, y2, ..."""
    return shapely.Polygon(np.asarray(ring, np.float64).reshape(-1, 2))
