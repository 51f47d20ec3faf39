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
