"""Labels from Pascal VOC XML.

Coordinates are corners of pixels, from 0, half-open, as the tools of today write them: nothing is
shifted. XML is read without expanding entities.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from windhover.errors import FormatError
from windhover.labels.table import LabelRow, RawLabels, box_geometry, labels_from_rows

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, class_column: str | None = None) -> RawLabels:
    """Read one Pascal VOC file; objects marked `difficult` are ignored labels.

    Args:
        path: the file; its `filename` is the image, its own name where that is missing.
        class_column: not used, objects have names.

    Raises:
        FormatError: not XML, entities in it, or an object without a box.
    """
    root = _parse_xml(path)
    image = (root.findtext("filename") or "").strip() or path.stem
    rows = []
    for number, element in enumerate(root.findall("object"), 1):
        box = element.find("bndbox")
        corners = [_corner(box, name, where=f"{path}: object {number}") for name in CORNERS]
        class_name = (element.findtext("name") or "").strip()
        is_difficult = (element.findtext("difficult") or "0").strip() not in ("0", "")
        rows.append(LabelRow(image, class_name, box_geometry(*corners), is_difficult))
    size_wh = _image_size(root)
    sizes = {} if size_wh is None else {image: size_wh}
    return labels_from_rows(path, rows, "px", images=(image,), image_sizes_wh=sizes)


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
