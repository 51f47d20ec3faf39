"""COCO boxes, crowds and outlines; what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from windhover.errors import FormatError
from windhover.labels.formats import read_labels

BOX = (10.5, 20.0, 40.25, 60.0)


def test_coco_boxes_are_corner_and_size(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "a.tif"}, {"id": 8, "file_name": "empty.tif"}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10.5, 20.0, 29.75, 40.0], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "coco.json")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX), [1, 2, 4, 6]]
    assert labels.images == ("a.tif", "empty.tif")
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]


def test_coco_where_every_annotation_is_a_crowd_has_none(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "a.tif"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "coco.json")
    assert labels.ignored is not None
    assert not labels.ignored.any()
    assert labels.class_name.tolist() == ["1"]


def test_coco_polygons_stand_in_for_a_missing_box(tmp_path: Path) -> None:
    annotation = {"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 8, 0, 8]]}
    document = {"images": [{"id": 7, "file_name": "a.tif"}], "annotations": [annotation]}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    assert shapely.bounds(read_labels(tmp_path / "coco.json").geometry).tolist() == [[0, 0, 4, 8]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "is JSON but not COCO"),
        (
            '{"images": [], "annotations": [{"image_id": 1}]}',
            r"annotation 1 \(id None\) has the image_id 1, which the",
        ),
    ],
)
def test_broken_json_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(FormatError, match=f"coco.json.*{sentence}"):
        read_labels(tmp_path / "coco.json")


def read_one(tmp_path: Path, **annotation: Any) -> Any:
    """Return the geometry of a file's only annotation."""
    whole = {"image_id": 7, "category_id": 1, **annotation}
    document = {"images": [{"id": 7, "file_name": "a.tif"}], "annotations": [whole]}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    (geometry,) = read_labels(tmp_path / "coco.json").geometry
    return geometry


def test_a_triangle_is_an_outline_with_and_without_its_box(tmp_path: Path) -> None:
    ring = [2.0, 1.0, 12.0, 1.0, 2.0, 21.0]
    for box in ({}, {"bbox": [2, 1, 10, 20]}):
        assert read_one(tmp_path, segmentation=[ring], **box).area == pytest.approx(100)


def test_an_outline_is_not_turned_again_by_the_rotation_of_its_box(tmp_path: Path) -> None:
    ring = [2.0, 6.0, 7.0, 1.0, 22.0, 16.0, 17.0, 21.0]
    box = {"bbox": [2, 1, 20, 20], "attributes": {"rotation": 45.0}}
    outline = read_one(tmp_path, segmentation=[ring], **box)
    assert outline.equals(shapely.Polygon(np.reshape(ring, (-1, 2))))
    turned = read_one(tmp_path, **box)
    assert turned.area == pytest.approx(400)
    assert turned.bounds[2] - turned.bounds[0] == pytest.approx(20 * 2**0.5)


@pytest.mark.parametrize(
    ("bbox", "bounds"),
    [([5, 6, 0, 0], [5, 6, 5, 6]), ([5, 6, 0, 9], [5, 6, 5, 15]), ([5, 6, 9, 0], [5, 6, 14, 6])],
)
def test_only_a_box_without_width_and_height_is_a_point(
    tmp_path: Path, bbox: list[float], bounds: list[float]
) -> None:
    shape = read_one(tmp_path, bbox=bbox)
    assert list(shape.bounds) == bounds
    assert (shape.geom_type == "Point") == (bbox[2:] == [0, 0])


def test_a_box_of_zeros_beside_an_outline_is_no_box(tmp_path: Path) -> None:
    shape = read_one(tmp_path, bbox=[0, 0, 0, 0], segmentation=[[2.0, 1.0, 12.0, 1.0, 2.0, 21.0]])
    assert list(shape.bounds) == [2, 1, 12, 21]


def test_annotations_to_ignore_and_outlines_beside_their_boxes_are_told(tmp_path: Path) -> None:
    ring = [2.0, 1.0, 12.0, 1.0, 2.0, 21.0]
    one = {"image_id": 7, "category_id": 1, "bbox": [2, 1, 10, 20], "segmentation": [ring]}
    document = {
        "images": [{"id": 7, "file_name": "a.tif"}],
        "annotations": [one, one | {"ignore": 1}, one | {"bbox": [30, 1, 10, 20]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "coco.json")
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True, False]
    assert labels.notes[0].startswith("1 annotation with an outline that lies beside its box")
