"""Labels from Pascal VOC XML.

Coordinates are corners of pixels, from 0, half-open, as the tools of today write them: nothing is
shifted. XML is read without expanding entities.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import shapely
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from windhover.errors import FormatError
from windhover.labels.table import (
    LabelRow,
    RawLabels,
    box_geometry,
    is_true,
    labels_from_rows,
    turned_box,
)

CORNERS = ("xmin", "ymin", "xmax", "ymax")
TURNED_BOX = ("cx", "cy", "w", "h", "angle")
SHAPE_TAGS = ("bndbox", "robndbox", "points", "polygon")
MIN_CORNERS = 3
DELETED = "marked as deleted"


def read_voc(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one Pascal VOC file; objects marked `difficult` are ignored labels.

    Objects may be nested (FAIR1M), and be boxes, corners, or boxes turned by an angle (roLabelImg,
    CVAT).

    Args:
        path: the file; its `filename` is the image, its own name where that is missing.
        class_column: not used, objects have names.

    Raises:
        FormatError: not XML, entities in it, an object without a shape, or shapes outside objects.
    """
    root = _parse_xml(path)
    image = (root.findtext("filename") or root.findtext("source/filename") or "").strip()
    image = image or path.stem
    rows = []
    n_deleted = 0
    elements = [element for element in root.iter() if _tag(element) == "object"]
    if not elements and any(_tag(element) in SHAPE_TAGS for element in root.iter()):
        raise FormatError(
            f"{path}: has shapes but no <object> around them, so nothing is known of the image. "
            "Export the labels as Pascal VOC."
        )
    for number, element in enumerate(elements, 1):
        where = f"{path}: object {number}"
        if is_true(element.findtext("deleted"), f"{where}, <deleted>"):  # of LabelMe
            n_deleted += 1
            continue
        name = element.findtext("name") or element.findtext("possibleresult/name") or ""
        is_difficult = is_true(element.findtext("difficult"), f"{where}, <difficult>")
        rows.append(LabelRow(image, name.strip(), _shape(element, where), is_difficult))
    size_wh = _image_size(root)
    sizes = {} if size_wh is None else {image: size_wh}
    labels = labels_from_rows(path, rows, "px", images=(image,), image_sizes_wh=sizes)
    if n_deleted:
        labels = replace(labels, dropped=labels.dropped | {DELETED: n_deleted})
    return labels


def _tag(element: Element) -> str:
    return str(element.tag).lower()


def _shape(element: Element, where: str) -> Any:
    """Return the shape of an object: its box, turned where it says so, or its corners.

    Raises:
        FormatError: it has none, a corner is no number, or it is not in px.
    """
    coordinate = (element.findtext("coordinate") or "pixel").strip().lower()
    if coordinate != "pixel":
        raise FormatError(
            f"{where} has coordinates in {coordinate!r}, only px are read. Export it in px."
        )
    corners = _corners(element, where)
    if corners and element.find("bndbox") is None:
        return shapely.Polygon(corners)
    turned = element.find("robndbox")
    if turned is not None:
        col, row, width, height, angle_rad = (
            _corner(turned, name, where=where) for name in TURNED_BOX
        )
        box = box_geometry(col - width / 2, row - height / 2, col + width / 2, row + height / 2)
        return turned_box(box, math.degrees(angle_rad))
    boxes = element.findall("bndbox")
    if len(boxes) > 1:
        raise FormatError(f"{where} has {len(boxes)} boxes. Write an <object> around each of them.")
    bndbox = boxes[0] if boxes else None
    box = box_geometry(*(_corner(bndbox, name, where=where) for name in CORNERS))
    return turned_box(box, _rotation_deg(element, where))


def _corners(element: Element, where: str) -> list[tuple[float, float]]:
    """Return the corners of a polygon: points of `x,y`, or of <x> and <y>; empty for none."""
    points = element.findall("points/point") + element.findall("polygon/pt")
    corners = []
    for point in points:
        texts = (point.text or "").split(",")
        if point.find("x") is not None:
            texts = [point.findtext("x") or "", point.findtext("y") or ""]
        try:
            x, y = map(float, texts)
        except ValueError:
            raise FormatError(
                f"{where} has the corner {','.join(texts)[:40]!r}, which is no x,y. "
                "Export the labels again."
            ) from None
        corners.append((x, y))
    if points and len(corners) < MIN_CORNERS:
        raise FormatError(f"{where} has {len(corners)} corners, at least 3 make an outline.")
    return corners


def _rotation_deg(element: Element, where: str) -> float:
    """Return by how much a box is turned clockwise (CVAT's attribute), 0 for none."""
    for attribute in element.findall("attributes/attribute"):
        if (attribute.findtext("name") or "").strip() == "rotation":
            return _corner(attribute, "value", where=where)
    return 0.0


def _parse_xml(path: Path) -> Element:
    """Return the root of a Pascal VOC document.

    Raises:
        FormatError: not XML, entities in it, or of another root.
    """
    try:
        root: Element | None = SafeTree.parse(path, forbid_dtd=True).getroot()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        reason = str(error)
        if isinstance(error, DefusedXmlException):
            reason = "it declares entities or a DTD"
        raise FormatError(
            f"{path}: cannot be read as Pascal VOC ({reason}). Export the labels again."
        ) from None
    if root is None or root.tag != "annotation":
        raise FormatError(
            f"{path}: is XML but not Pascal VOC: it has no <annotation>. "
            "Export the labels as Pascal VOC."
        )
    return root


def _image_size(root: Element) -> tuple[int, int] | None:
    """Return width and height in px, None where they are missing."""
    width = (root.findtext("size/width") or "").strip()
    height = (root.findtext("size/height") or "").strip()
    if all(side.isdecimal() and int(side) for side in (width, height)):
        return int(width), int(height)
    return None


def _corner(box: Element | None, name: str, *, where: str) -> float:
    text = None if box is None else box.findtext(name)
    try:
        return float(text or "")
    except ValueError:
        raise FormatError(
            f"{where} has no number in <{name}> ({text!r}). Export the labels again."
        ) from None
