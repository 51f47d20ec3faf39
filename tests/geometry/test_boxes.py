"""Duplicates go, neighbours stay; the same whatever the order."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.geometry.boxes import iou, merge, to_xyxy


def random_candidates(
    count: int, side: float, seed: int, labels: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    center, size = rng.uniform(0, side, (2, count)), np.exp(rng.normal(np.log(30), 0.6, (2, count)))
    boxes = to_xyxy(*center, *size)
    return boxes, np.round(rng.normal(size=count), 1), rng.integers(0, labels, count)


def one_by_one(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, distances: np.ndarray, overlap: float
) -> list[int]:
    """The definition, written as a loop over all pairs."""
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    order = np.lexsort((size[:, 1], size[:, 0], labels, center[:, 0], center[:, 1], -scores))
    kept: list[int] = []
    for index in order:
        for other in kept:
            least = np.sqrt(min(size[index].prod(), size[other].prod()))
            near = (
                np.hypot(*(center[index] - center[other]))
                < max(distances[index], distances[other]) * least
            )
            if labels[index] == labels[other] and (
                near or iou(boxes[[index]], boxes[[other]])[0] > overlap
            ):
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
    overlap=st.sampled_from([0.05, 0.3, 0.5, 1.0]),
)
def test_merge_is_the_greedy_loop(
    count: int, side: float, seed: int, distance: float, overlap: float
) -> None:
    candidates = random_candidates(count, side, seed)
    assert list(merge(*candidates, distance, overlap)) == one_by_one(
        *candidates, np.full(count, distance), overlap
    )
    own = np.random.default_rng(seed).choice([0.0, distance, 0.7], count)
    assert list(merge(*candidates, own, overlap)) == one_by_one(*candidates, own, overlap)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_input_changes_nothing(seed: int) -> None:
    boxes, scores, labels = random_candidates(200, 250, seed)
    shuffled = np.random.default_rng(seed).permutation(200)
    one = boxes[merge(boxes, scores, labels, 0.5, 0.3)]
    two = boxes[shuffled][merge(boxes[shuffled], scores[shuffled], labels[shuffled], 0.5, 0.3)]
    assert np.array_equal(one, two)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), floor=st.floats(-1.5, 1.5))
def test_a_higher_floor_gives_the_upper_part(seed: int, floor: float) -> None:
    boxes, scores, labels = random_candidates(200, 250, seed)
    kept = merge(boxes, scores, labels, 0.5, 0.3)
    above = np.nonzero(scores >= floor)[0]
    assert list(kept[scores[kept] >= floor]) == list(
        above[merge(boxes[above], scores[above], labels[above], 0.5, 0.3)]
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
        (
            (20, 0),
            (60, 20),
            2,
        ),  # a small one beside the centre of a large one: 20 px apart, half of the small is 10
        ((9, 0), (60, 20), 1),  # a part of the large one
    ],
)
def test_truth_table_of_neighbors(
    apart: tuple[float, float], sizes: tuple[float, float], kept: int
) -> None:
    side = np.array(sizes, float)
    boxes = to_xyxy(100 + np.array([0.0, apart[0]]), 80 + np.array([0.0, apart[1]]), side, side)
    assert len(merge(boxes, np.array([2.0, 1.0]), np.zeros(2, int), 0.5, 0.3)) == kept


def test_classes_do_not_remove_one_another() -> None:
    boxes = to_xyxy(*np.full((2, 2), 50.0), *np.full((2, 2), 20.0))
    assert len(merge(boxes, np.array([2.0, 1.0]), np.array([0, 1]), 0.5, 0.3)) == 2


def test_boxes_without_area_are_kept_apart_and_raise_no_warning() -> None:
    boxes = np.array([[10.0, 10, 10, 10], [10.0, 10, 10, 10], [40.0, 40, 45, 45]])
    assert len(merge(boxes, np.ones(3), np.zeros(3, int), 0.5, 0.3)) == 3


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
def test_a_crowd_is_merged_in_seconds(side: float) -> None:
    boxes, scores, labels = random_candidates(60_000, side, 1)
    started = time.process_time()
    kept = merge(boxes, scores, labels, 0.5, 0.3)
    assert 100 < len(kept) < 60_000
    assert time.process_time() - started < 10
