"""Matching against a plain loop over detections, and against shapely for IoU."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.geometry.pairing import (
    Pairs,
    assign_one_to_one,
    inside_any,
    pairs_by_center,
    pairs_by_iou,
)


def plain_greedy(detections: np.ndarray, truth: np.ndarray, reach: np.ndarray) -> list[int]:
    """The rule in a loop: each detection takes the nearest unassigned object in its reach."""
    unassigned = np.ones(len(truth), bool)
    assigned = []
    for x, y in detections:
        distance = np.hypot(truth[:, 0] - x, truth[:, 1] - y)
        near = np.flatnonzero(unassigned & (distance <= reach))
        index = int(near[distance[near].argmin()]) if len(near) else -1
        if index >= 0:
            unassigned[index] = False
        assigned.append(index)
    return assigned


def box_polygons(boxes_xyxy: list[list[float]] | np.ndarray) -> np.ndarray:
    """Return (N,) polygons of (N, 4) boxes."""
    return shapely.box(*np.asarray(boxes_xyxy, float).T)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10**6), n=st.integers(0, 60), m=st.integers(0, 25), side=st.integers(3, 200)
)
def test_center_matching_is_the_plain_greedy_one(seed: int, n: int, m: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    # whole numbers on purpose: equal distances and coinciding points occur
    found = rng.integers(0, side, (n, 2)).astype(float)
    truth = rng.integers(0, side, (m, 2)).astype(float)
    reach = rng.uniform(0.5, 12, m)
    assigned = assign_one_to_one(pairs_by_center(found, truth, reach), n, m)
    assert assigned.tolist() == plain_greedy(found, truth, reach)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 30), m=st.integers(0, 12))
def test_assignment_of_any_costs_is_the_greedy_one(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(0, 5, (n, m)).astype(float)
    detection, truth = np.nonzero(rng.random((n, m)) < 0.6)
    shuffle = rng.permutation(len(truth))
    pairs = Pairs(detection[shuffle], truth[shuffle], cost[detection, truth][shuffle])
    unassigned = np.ones(m, bool)
    expected = []
    for index in range(n):
        options = [(cost[index, j], j) for j in truth[detection == index] if unassigned[j]]
        expected.append(int(min(options)[1]) if options else -1)
        if options:
            unassigned[expected[-1]] = False
    assert assign_one_to_one(pairs, n, m).tolist() == expected


def test_the_reach_is_inclusive_and_each_objects_own() -> None:
    pairs = pairs_by_center([[3.0, 4.0], [0.0, 5.001]], [[0.0, 0.0], [100.0, 0.0]], [5.0, 1000.0])
    assert sorted(zip(pairs.detection.tolist(), pairs.truth.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (1, 1),
    ]


def random_rectangles(rng: np.random.Generator, count: int) -> list[shapely.Polygon]:
    """Return turned rectangles at map coordinates."""
    centers = np.array([4e5, 5e6]) + rng.uniform(0, 25, (count, 2))
    halves = rng.uniform(1, 6, (count, 2))
    angles = rng.choice([0, 90, 17, 45], count)
    rectangles = []
    for (x, y), (w, h), angle in zip(centers, halves, angles, strict=True):
        rectangles.append(shapely.affinity.rotate(shapely.box(x - w, y - h, x + w, y + h), angle))
    return rectangles


def test_iou_of_boxes_and_of_turned_polygons() -> None:
    truth = box_polygons([[0, 0, 10, 4], [100, 100, 104, 110]])
    found = box_polygons([[0, 0, 10, 2], [5, 0, 15, 4], [100, 100, 104, 110]])
    pairs = pairs_by_iou(found, truth, 1 / 3)
    costs = {(int(d), int(t)): c for d, t, c in zip(*pairs, strict=True)}
    assert costs == {
        (0, 0): pytest.approx(0.5),
        (1, 0): pytest.approx(2 / 3),
        (2, 1): pytest.approx(0.0),
    }
    turned = shapely.Polygon([(0, 0), (3, 4), (-1, 7), (-4, 3)])  # a square of side 5
    assert pairs_by_iou([turned], [turned], 1.0).cost.tolist() == pytest.approx([0.0], abs=1e-12)
    in_its_bounds_only = shapely.box(-4, 6.9, -3, 7)
    assert len(pairs_by_iou([turned], [in_its_bounds_only], 1e-9).cost) == 0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 40),
    m=st.integers(0, 15),
    min_iou=st.floats(0.01, 1),
)
def test_pairs_by_iou_are_those_of_every_pair_intersected(
    seed: int, n: int, m: int, min_iou: float
) -> None:
    rng = np.random.default_rng(seed)
    found, truth = (random_rectangles(rng, count) for count in (n, m))
    for axis_aligned in (False, True):
        pairs = pairs_by_iou(found, truth, min_iou, axis_aligned=axis_aligned)
        got = {(int(d), int(t)): 1 - c for d, t, c in zip(*pairs, strict=True)}
        for i, one in enumerate(found):
            for j, two in enumerate(truth):
                a, b = (one.envelope, two.envelope) if axis_aligned else (one, two)
                iou = a.intersection(b).area / a.union(b).area
                if (i, j) in got:
                    assert got[i, j] == pytest.approx(iou, abs=1e-6)
                else:
                    assert iou < min_iou + 1e-6


def test_equal_boxes_anywhere_on_the_map_overlap_wholly() -> None:
    one = box_polygons(0.1 + np.array([[4e5, 5e6, 4e5 + 30.3, 5e6 + 20.7]]))
    same = box_polygons(np.array([[4e5 + 0.1, 5e6 + 0.1, 4e5 + 30.4, 5e6 + 20.8]]))
    for axis_aligned in (False, True):
        assert len(pairs_by_iou(one, same, 1.0, axis_aligned=axis_aligned).cost) == 1


def test_a_box_without_area_matches_nothing() -> None:
    point = box_polygons([[1, 1, 1, 1]])
    assert len(pairs_by_iou(point, box_polygons([[0, 0, 4, 4]]), 0.1).cost) == 0


def test_points_on_the_border_of_an_area_are_inside() -> None:
    areas = box_polygons([[0, 0, 10, 6], [90, 90, 91, 99]])
    inside = inside_any([[0, 0], [5, 5], [10, 3], [10.001, 3]], areas)
    assert inside.tolist() == [True, True, True, False]
    assert inside_any(np.zeros((0, 2)), box_polygons([[0, 0, 1, 2]])).tolist() == []
    assert inside_any([[1, 1]], []).tolist() == [False]


def test_nothing_matches_nothing() -> None:
    empty = np.zeros((0, 2))
    one = np.zeros((1, 2))
    assert assign_one_to_one(pairs_by_center(empty, one, 5.0), 0, 1).tolist() == []
    assert assign_one_to_one(pairs_by_center(one, empty, 5.0), 1, 0).tolist() == [-1]
    assert (
        assign_one_to_one(pairs_by_iou([], box_polygons([[0, 0, 1, 1]]), 0.5), 0, 1).tolist() == []
    )


def test_a_long_chain_of_displacements_ends_right() -> None:
    n = 3_000  # detection i reaches objects i-1 (nearer) and i; the last detection is the best one
    truth = np.c_[np.arange(n) * 10.0, np.zeros(n)]
    found = (truth - [5.5, 0])[::-1]
    assigned = assign_one_to_one(pairs_by_center(found, truth, 6.0), n, n)
    assert assigned.tolist() == plain_greedy(found, truth, np.full(n, 6.0))


def test_200_000_detections_are_assigned_once() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(0, 20_000, (20_000, 2))
    found = np.concatenate(
        [truth + rng.normal(0, 5, truth.shape), rng.uniform(0, 20_000, (180_000, 2))]
    )
    assigned = assign_one_to_one(pairs_by_center(found, truth, 30.0), len(found), len(truth))
    held = assigned[assigned >= 0]
    assert len(held) == len(set(held.tolist())) > 19_000
