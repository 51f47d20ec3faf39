"""Pascal VOC boxes; entities are not expanded."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely

from windhover.errors import FormatError
from windhover.labels.formats import read_labels

BOX = (10.5, 20.0, 40.25, 60.0)


def voc(objects: str, head: str = "") -> str:
    return f"{head}<annotation><filename>a.tif</filename>{objects}</annotation>"


def voc_object(difficult: int = 0) -> str:
    sides = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    )
    head = f"<name>ship</name><difficult>{difficult}</difficult>"
    return f"<object>{head}<bndbox>{sides}</bndbox></object>"


def test_voc_boxes_are_corners(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc(voc_object() + voc_object(1)))
    labels = read_labels(tmp_path / "a.xml")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX)] * 2
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]
    assert labels.image.tolist() == ["a.tif"] * 2


def test_voc_entities_are_refused_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>'
    (tmp_path / "a.xml").write_text(voc("<object><name>&y;</name></object>", bomb))
    with pytest.raises(FormatError, match="declares entities or a DTD"):
        read_labels(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation>", "cannot be read as Pascal VOC"),
        ("<x/>", "has no <annotation>"),
        (voc("<object/>"), "object 1 has no number in <xmin>"),
    ],
)
def test_broken_voc_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "a.xml")


def test_deleted_objects_are_counted_and_left_out(tmp_path: Path) -> None:
    deleted = voc_object().replace("<difficult>", "<deleted>1</deleted><difficult>")
    (tmp_path / "a.xml").write_text(voc(voc_object() + deleted))
    labels = read_labels(tmp_path / "a.xml")
    assert (len(labels), labels.dropped) == (1, {"marked as deleted": 1})


def test_an_object_of_two_boxes_is_refused(tmp_path: Path) -> None:
    twice = voc_object().replace("</bndbox>", "</bndbox><bndbox><xmin>1</xmin></bndbox>")
    (tmp_path / "a.xml").write_text(voc(twice))
    with pytest.raises(FormatError, match=r"a\.xml: object 1 has 2 boxes\. Write an <object>"):
        read_labels(tmp_path / "a.xml")
