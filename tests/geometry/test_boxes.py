"""Duplicates go, neighbours stay; the same in any order."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.geometry import boxes as boxes_module
from windhover.geometry.boxes import iou, merge_duplicates, to_xyxy

RULE = {"center_distance": 0.5, "iou_threshold": 0.3}


def random_candidates(
    count: int, side: float, seed: int, labels: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    center = rng.uniform(0, side, (2, count))
    size = np.exp(rng.normal(np.log(30), 0.6, (2, count)))
    boxes = to_xyxy(*center, *size)
    return boxes, np.round(rng.normal(size=count), 1), rng.integers(0, labels, count)


def greedy_over_all_pairs(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    distances: np.ndarray,
    iou_threshold: float,
) -> list[int]:
    """The definition, written as a loop over all pairs."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = boxes[:, 2:] - boxes[:, :2]
    order = np.lexsort((size[:, 1], size[:, 0], labels, center[:, 0], center[:, 1], -scores))
    kept: list[int] = []
    for index in order:
        for other in kept:
            smaller = np.sqrt(min(size[index].prod(), size[other].prod()))
            reach = max(distances[index], distances[other]) * smaller
            near = np.hypot(*(center[index] - center[other])) < reach
            overlap = iou(boxes[[index]], boxes[[other]])[0]
            if labels[index] == labels[other] and (near or overlap > iou_threshold):
                break
        else:
            kept.append(int(index))
    return kept


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(0, 120),
    side=st.sampled_from([50.0, 300.0]),
    seed=st.integers(0, 10**6),
    distance=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    iou_threshold=st.sampled_from([0.05, 0.3, 0.5, 1.0]),
    most_pairs=st.sampled_from([0, 2_000, boxes_module.MAX_COMPARED_PAIRS]),
)
def test_merging_is_the_greedy_loop(
    count: int, side: float, seed: int, distance: float, iou_threshold: float, most_pairs: int
) -> None:
    """By trees and by all pairs alike."""
    candidates = random_candidates(count, side, seed)
    own = np.random.default_rng(seed).choice([0.0, distance, 0.7], count)
    for center_distance in (distance, own):
        with patch.object(boxes_module, "MAX_COMPARED_PAIRS", most_pairs):
            kept = merge_duplicates(
                *candidates, center_distance=center_distance, iou_threshold=iou_threshold
            )
        expected = greedy_over_all_pairs(
            *candidates,
            distances=np.broadcast_to(center_distance, count),
            iou_threshold=iou_threshold,
        )
        assert list(kept) == expected


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_input_changes_nothing(seed: int) -> None:
    boxes, scores, labels = random_candidates(200, 250, seed)
    shuffled = np.random.default_rng(seed).permutation(200)
    one = boxes[merge_duplicates(boxes, scores, labels, **RULE)]
    boxes = boxes[shuffled]
    two = boxes[merge_duplicates(boxes, scores[shuffled], labels[shuffled], **RULE)]
    assert np.array_equal(one, two)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), floor=st.floats(-1.5, 1.5))
def test_a_higher_floor_gives_the_upper_part(seed: int, floor: float) -> None:
    boxes, scores, labels = random_candidates(200, 250, seed)
    kept = merge_duplicates(boxes, scores, labels, **RULE)
    above = np.nonzero(scores >= floor)[0]
    assert list(kept[scores[kept] >= floor]) == list(
        above[merge_duplicates(boxes[above], scores[above], labels[above], **RULE)]
    )


@pytest.mark.parametrize(
    ("apart", "sizes", "kept"),
    [
        ((0, 0), (30, 30), 1),  # the same box
        ((8, 0), (30, 30), 1),  # two cells of one plateau
        ((14, 0), (30, 30), 1),
        ((0, 31), (30, 30), 2),  # wing to wing
        ((26, 26), (30, 30), 2),  # corner over corner: overlap 0.01
        ((22, 0), (30, 30), 2),  # overlap 0.15: parked close
        # a small one 20 px from the centre of a large one: half of the small is 10
        ((20, 0), (60, 20), 2),
        ((9, 0), (60, 20), 1),  # a part of the large one
    ],
)
def test_truth_table_of_neighbors(
    apart: tuple[float, float], sizes: tuple[float, float], kept: int
) -> None:
    side = np.array(sizes, float)
    boxes = to_xyxy(100 + np.array([0.0, apart[0]]), 80 + np.array([0.0, apart[1]]), side, side)
    assert len(merge_duplicates(boxes, np.array([2.0, 1.0]), np.zeros(2, int), **RULE)) == kept


def test_classes_do_not_remove_one_another() -> None:
    boxes = to_xyxy(*np.full((2, 2), 50.0), *np.full((2, 2), 20.0))
    assert len(merge_duplicates(boxes, np.array([2.0, 1.0]), np.array([0, 1]), **RULE)) == 2


def test_boxes_without_area_are_kept_apart_and_raise_no_warning() -> None:
    boxes = np.array([[10.0, 10, 10, 10], [10.0, 10, 10, 10], [40.0, 40, 45, 45]])
    assert len(merge_duplicates(boxes, np.ones(3), np.zeros(3, int), **RULE)) == 3


@pytest.mark.parametrize(
    ("one", "two", "value"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
    ],
)
def test_iou(one: tuple, two: tuple, value: float) -> None:
    assert iou(np.array([one], float), np.array([two], float)) == pytest.approx([value])


@pytest.mark.parametrize("side", [6400.0, 900.0])
def test_a_crowd_is_merged(side: float) -> None:
    boxes, scores, labels = random_candidates(60_000, side, 1)
    kept = merge_duplicates(boxes, scores, labels, **RULE)
    assert 100 < len(kept) < 60_000
