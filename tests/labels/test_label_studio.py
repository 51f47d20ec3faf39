"""Label Studio: tasks read as labels, and detections that go there and come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from toy_results import BOX, searched
from windhover.errors import FormatError
from windhover.export.export_map import ExportRequest, export_result
from windhover.labels.formats import read_labels


def task(*results: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a task with one annotation."""
    return {"id": 1, "data": {"image": "/data/upload/3/0a1b2c3d-a.png"}, **keys} | (
        {"annotations": [{"result": list(results)}]} if "annotations" not in keys else {}
    )


def box(x: float, y: float, width: float, height: float, **value: Any) -> dict[str, Any]:
    return {
        "type": "rectanglelabels",
        "original_width": 400,
        "original_height": 200,
        "value": {
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "rectanglelabels": ["plane"],
            **value,
        },
    }


def read(folder: Path, *tasks: dict[str, Any]) -> Any:
    path = folder / "tasks.json"
    path.write_text(json.dumps(tasks))
    return read_labels(path)


def test_boxes_are_percent_of_the_image(tmp_path: Path) -> None:
    labels = read(tmp_path, task(box(10, 20, 5, 10)))
    assert labels.space == "px"
    assert list(labels.image) == ["a.png"]
    assert list(labels.class_name) == ["plane"]
    assert labels.geometry[0].bounds == pytest.approx((40, 40, 60, 60))


def test_a_turned_box_turns_about_its_upper_left_corner_in_px(tmp_path: Path) -> None:
    (shape,) = read(tmp_path, task(box(50, 50, 10, 10, rotation=90))).geometry
    # 40 x 20 px from (200, 100): a quarter turn clockwise goes to the left and down
    assert shape.bounds == pytest.approx((180, 100, 200, 140))


def test_the_newest_annotation_counts_and_an_empty_one_is_of_an_empty_image(
    tmp_path: Path,
) -> None:
    old = {"result": [box(1, 1, 5, 5), box(20, 20, 5, 5)], "created_at": "2026-01-01T00:00:00Z"}
    new = {"result": [], "created_at": "2026-02-01T00:00:00Z"}
    cancelled = {"result": [box(1, 1, 5, 5)], "created_at": "2026-03-01", "was_cancelled": True}
    labels = read(tmp_path, task(annotations=[old, new, cancelled]))
    assert len(labels) == 0
    assert labels.images == ("a.png",)


def test_a_task_that_nobody_looked_at_covers_no_image(tmp_path: Path) -> None:
    labels = read(tmp_path, task(box(1, 1, 5, 5)), task(annotations=[]))
    assert labels.images == ("a.png",)


def test_polygons_without_the_image_size_are_fractions_and_masks_are_told(tmp_path: Path) -> None:
    polygon = {"value": {"points": [[10, 10], [20, 10], [20, 40]], "polygonlabels": ["hut"]}}
    mask = {"type": "brushlabels", "value": {"rle": [1], "brushlabels": ["hut"]}}
    labels = read(tmp_path, task(polygon, mask))
    assert labels.space == "fraction"
    assert labels.geometry[0].bounds == pytest.approx((0.1, 0.1, 0.2, 0.4))
    assert "1 brushlabels" in labels.notes[0]


@pytest.mark.parametrize(
    ("result", "match"),
    [
        ({"value": {"rectanglelabels": ["a"], "x": 1}}, "without a sound place"),
        ({"value": {"rectanglelabels": [], "x": 1}}, "a result without a class"),
        (
            {"value": {"x": 1, "y": 1, "width": 2, "height": 2, "rotation": 5,
                       "rectanglelabels": ["a"]}},
            "turned, and no `original_width`",
        ),
    ],
)  # fmt: skip
def test_broken_results_are_one_sentence(
    tmp_path: Path, result: dict[str, Any], match: str
) -> None:
    with pytest.raises(FormatError, match=match):
        read(tmp_path, task(result))


@pytest.mark.parametrize(
    ("name", "file"), [("label-studio", "label-studio.json"), ("coco", "detections.json")]
)
def test_detections_go_out_with_scores_and_come_back_as_labels(
    make_scene: Any, tmp_path: Path, name: str, file: str
) -> None:
    paths = [make_scene("a.tif"), make_scene("b.tif", crs="EPSG:32632")]
    table, summary = searched(paths, BOX, (100, 40, 12, 8))
    request = ExportRequest(out_folder=tmp_path / "map", formats=[name])
    export_result(table, summary, request)
    text = (tmp_path / "map" / file).read_text()
    assert '"score"' in text
    labels = read_labels(tmp_path / "map" / file)
    assert sorted(set(labels.image)) == ["a.tif", "b.tif"]
    assert list(labels.class_name) == ["plane"] * 4
    expected = shapely.bounds([shapely.box(45, 50, 55, 70), shapely.box(94, 36, 106, 44)])
    found = shapely.bounds(labels.geometry[labels.image == "a.tif"])
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected, atol=0.01)
