"""CSV boxes and polygons to the last digit; broken lines are named or counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import FormatError
from windhover.labels.csv_labels import parse_polygon
from windhover.labels.formats import read_labels

BOX = (10.5, 20.0, 40.25, 60.0)
PAIRS = "[(10.5, 20), (40.25, 20), (40.25, 60), (10.5, 60), (10.5, 20)]"
WKT = "POLYGON ((10.5 20, 40.25 20, 40.25 60, 10.5 60, 10.5 20))"
numbers = st.floats(-1e5, 1e5, allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "image_path,xmin,ymin,xmax,ymax,label\na.tif,10.5,20,40.25,60,ship\n",
        "image_path,xmin,xmax,ymin,ymax,label\na.tif,10.5,40.25,20,60,ship\n",
        "filename, x, y, w, h, class\na.tif, 10.5, 20, 29.75, 40, ship\n",
        f'image_id,geometry,class\na.tif,"{PAIRS}",ship\n',
        f'image_id,geometry,class\na.tif,"{WKT}",ship\n',
    ],
)
def test_csv_boxes_and_polygons(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    labels = read_labels(tmp_path / "labels.csv")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX)]
    assert (labels.image.tolist(), labels.class_name.tolist()) == (["a.tif"], ["ship"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_what_spreadsheets_save_as_text_is_read(
    tmp_path: Path, encoding: str, newline: str, separator: str
) -> None:
    lines = [["image", "xmin", "ymin", "xmax", "ymax", "class"]]
    lines.append(["å.tif", "10.5", "20", "40.25", "60", "bateau à voile"])
    text = newline.join(separator.join(line) for line in [*lines, [""]])
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    labels = read_labels(tmp_path / "labels.csv")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX)]
    assert (labels.image.tolist(), labels.class_name.tolist()) == (["å.tif"], ["bateau à voile"])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-be"])
def test_text_in_an_encoding_that_nothing_names_is_refused(tmp_path: Path, encoding: str) -> None:
    text = "image,xmin,ymin,xmax,ymax,class\na.tif,1,2,3,4,bateau à voile\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    with pytest.raises(FormatError, match=r"labels\.csv: cannot be read as CSV.*UTF-8 text"):
        read_labels(tmp_path / "labels.csv")


def test_csv_lines_without_numbers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "image,xmin,ymin,xmax,ymax\na.tif,1,2,3,4\na.tif,,,,\na.tif,x,2,3,4\n"
    )
    labels = read_labels(tmp_path / "labels.csv")
    assert (len(labels), labels.dropped) == (1, {"empty or reversed geometry": 2})
    assert labels.class_name.tolist() == ["object"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "image,colour\na.tif,red\n",
            "has no columns for boxes or polygons; its columns are image, colour",
        ),
        ("image,geometry\na.tif,__import__('os')\n", "line 2: .* is neither a list of"),
        ('image,geometry\na.tif,"[(1, 2), (3,)]"\n', "line 2: .* is neither a list of"),
        ("", "cannot be read as CSV"),
        (",,,\n,,,\n", r"labels\.csv: cannot be read as CSV \(all its columns are empty\)"),
    ],
)
def test_broken_csv_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "labels.csv")


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=20))
def test_polygons_written_by_python_are_read_to_the_last_digit(
    points: list[tuple[float, float]],
) -> None:
    shape = parse_polygon(repr(points), "here")
    assert shape is not None
    assert np.array_equal(shapely.get_coordinates(shape)[: len(points)], points)


def test_a_wanted_class_column_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax,kind\na.tif,1,2,3,4,x\n")
    assert read_labels(tmp_path / "labels.csv", "kind").class_name.tolist() == ["x"]
    with pytest.raises(
        FormatError, match="has no column 'species' for the class; its columns are image"
    ):
        read_labels(tmp_path / "labels.csv", "species")
