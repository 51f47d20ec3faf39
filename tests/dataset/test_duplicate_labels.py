"""Labels that mark one object again, against every pair compared by hand."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely

from windhover.dataset.catalog_tables import BOX_COLUMNS
from windhover.dataset.duplicate_labels import drop_near_duplicates


def labels_of(boxes: np.ndarray, scenes: list[str], classes: list[str]) -> geopandas.GeoDataFrame:
    table = geopandas.GeoDataFrame(
        {"scene": scenes, "class": classes, **dict(zip(BOX_COLUMNS, boxes.T, strict=True))},
        geometry=list(shapely.box(*boxes.T)),
    )
    return table.set_index(np.arange(len(table)) + 5)


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    a, b = shapely.box(*one), shapely.box(*two)
    return float(a.intersection(b).area / a.union(b).area)


@pytest.mark.parametrize("iou", [0.1, 0.2, 0.35])
@pytest.mark.parametrize("seed", [0, 1])
def test_of_two_boxes_of_one_object_the_first_stays(iou: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (80, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (80, 2))], axis=1)
    scenes = rng.choice(["a", "b"], 80).tolist()
    classes = rng.choice(["jet", "prop"], 80).tolist()
    labels = labels_of(boxes, scenes, classes)
    stays: list[int] = []
    for number in range(80):
        same = [n for n in stays if (scenes[n], classes[n]) == (scenes[number], classes[number])]
        if all(overlap(boxes[n], boxes[number]) <= iou for n in same):
            stays.append(number)
    kept, n_dropped = drop_near_duplicates(labels, iou)
    assert 0 < n_dropped == 80 - len(stays)
    assert np.array_equal(kept[list(BOX_COLUMNS)].to_numpy(), boxes[stays])
    assert list(kept.columns) == list(labels.columns)
    assert kept.index.tolist() == list(range(len(stays)))


def test_an_overlap_of_just_the_limit_is_two_objects() -> None:
    boxes = np.array([[0.0, 0, 20, 10], [5.0, 0, 25, 10]])  # 150 of 250 shared
    labels = labels_of(boxes, ["a", "a"], ["jet", "jet"])
    assert drop_near_duplicates(labels, 0.6)[1] == 0
    assert drop_near_duplicates(labels, 0.59)[1] == 1
    twice = labels_of(boxes[[0, 0]], ["a", "a"], ["jet", "jet"])
    assert drop_near_duplicates(twice, 0.99)[1] == 1
    assert drop_near_duplicates(twice, 1.0)[1] == 0
