"""YOLO boxes and corners in fractions, and the names of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from windhover.errors import FormatError
from windhover.labels.formats import read_labels


def test_yolo_boxes_and_corners_are_fractions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n\n")
    labels = read_labels(tmp_path / "a.txt")
    assert np.allclose(
        shapely.bounds(labels.geometry), [[0.25, 0, 0.75, 0.5], [0.1, 0.1, 0.2, 0.3]]
    )
    assert labels.space == "fraction"
    assert labels.class_name.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [ship, tug]"),
        ("data.yaml", "names: {0: ship, 1: tug}"),
        ("classes.txt", "ship\ntug\n"),
    ],
)
def test_yolo_classes_have_the_names_of_the_file_above(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.25 0.5 0.5")
    assert read_labels(tmp_path / "labels" / "a.txt").class_name.tolist() == ["tug"]


def test_a_yolo_class_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("ship\r\ntug\r\n")
    (tmp_path / "a.txt").write_text("2 0.5 0.25 0.5 0.5")
    with pytest.raises(
        FormatError, match=r"a\.txt, line 1: has the class 2, but .*classes\.txt names only 0, 1\."
    ):
        read_labels(tmp_path / "a.txt")


def test_an_empty_text_is_an_image_without_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n")
    labels = read_labels(tmp_path / "a.txt")
    assert (len(labels), labels.images) == (0, ("a",))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello there", r"a\.txt, line 1: neither YOLO .* nor DOTA"),
        ("0 0.5 0.5 0.1", "line 1: neither YOLO"),
        ("0 300 200 10 20", "YOLO numbers are fractions of the image, got 300"),
        ("10 20 30 20 30 50 10 50 plane 0\n1 2 3", "line 2: not DOTA"),
    ],
)
def test_broken_text_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "a.txt")


def test_a_gap_in_the_class_numbers_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: ship, 7: tug}")
    (tmp_path / "a.txt").write_text("5 0.5 0.25 0.5 0.5")
    with pytest.raises(FormatError, match=r"has the class 5, but .*data\.yaml names only 0, 7\."):
        read_labels(tmp_path / "a.txt")


def test_names_that_are_one_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: ship")
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.5")
    with pytest.raises(FormatError, match=r"data\.yaml: has no `names` by number \(it is 'ship'\)"):
        read_labels(tmp_path / "a.txt")


def test_two_files_of_names_must_agree_on_the_classes_that_are_used(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/classes.txt").write_text("dog\ntug\n")
    (tmp_path / "data.yaml").write_text("names: [ship, tug]")
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.25 0.5 0.5")
    assert read_labels(tmp_path / "labels/a.txt").class_name.tolist() == ["tug"]
    (tmp_path / "labels/b.txt").write_text("0 0.5 0.25 0.5 0.5")
    with pytest.raises(FormatError, match=r"class 0 is 'dog' by .*classes\.txt and 'ship' by"):
        read_labels(tmp_path / "labels/b.txt")


@pytest.mark.parametrize("name", ["data.yml", "harbour.yaml"])
def test_the_only_yaml_with_names_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    (tmp_path / name).write_text("path: .\nnames: [ship, tug]\n")
    (tmp_path / "a.txt").write_text("1 0.5 0.25 0.5 0.5")
    labels = read_labels(tmp_path / "a.txt")
    assert (labels.class_name.tolist(), labels.notes) == (["tug"], ())


def test_classes_without_names_are_told(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("names: [ship]")
    (tmp_path / "two.yaml").write_text("names: [tug]")  # which of them is not known
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.5")
    labels = read_labels(tmp_path / "a.txt")
    assert labels.class_name.tolist() == ["0"]
    assert labels.notes[0].startswith("no file names its classes (classes.txt or data.yaml")
