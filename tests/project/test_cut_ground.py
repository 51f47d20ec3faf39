"""Guarded cuts: nothing in the strip is kept, and the cut lies where it loses fewest objects."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.project.cut_ground import Rectangle, best_cut

AREA = Rectangle(0.0, 0.0, 1200.0, 700.0)


def test_a_gap_between_two_groups_is_found_along_either_axis() -> None:
    rng = np.random.default_rng(0)
    left = rng.uniform((0, 0), (450, 700), (40, 2))
    right = rng.uniform((620, 0), (1200, 700), (60, 2))
    cut = best_cut(AREA, np.concatenate([left, right]), guard_m=100.0, min_side_m=100.0)
    assert cut is not None
    assert cut.lost == 0
    first, second = cut.parts
    assert first.right >= left[:, 0].max()
    assert second.left <= right[:, 0].min()
    turned = np.concatenate([left, right])[:, ::-1]
    area = Rectangle(0.0, 0.0, 700.0, 1200.0)
    other = best_cut(area, turned, guard_m=100.0, min_side_m=100.0)
    assert other is not None
    assert other.lost == 0
    assert other.parts[0].bottom >= left[:, 0].max()


def test_an_object_on_the_border_of_two_parts_is_in_one() -> None:
    corners = np.array([(600.0, 0.0), (0.0, 300.0), (600.0, 300.0), (1200.0, 300.0), (0.0, 700.0)])
    parts = [
        Rectangle(0.0, 0.0, 600.0, 300.0),
        Rectangle(600.0, 0.0, 1200.0, 300.0),
        Rectangle(0.0, 300.0, 600.0, 700.0),
        Rectangle(600.0, 300.0, 1200.0, 700.0),
    ]
    inside = [np.flatnonzero(part.contains(corners)).tolist() for part in parts]
    assert inside == [[], [0], [1], [2]]


def test_objects_on_one_spot_cannot_be_parted() -> None:
    points = np.full((9, 2), 333.0)
    assert best_cut(AREA, points, guard_m=50.0, min_side_m=50.0) is None


def test_ground_that_is_smaller_than_its_guard_is_not_cut() -> None:
    points = np.random.default_rng(1).uniform(0, 100, (20, 2))
    small = Rectangle(0.0, 0.0, 100.0, 90.0)
    assert best_cut(small, points, guard_m=64.0, min_side_m=64.0) is None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 60),
    guard_m=st.floats(5, 200),
    side=st.floats(5, 200),
)
def test_parts_are_a_guard_apart_and_every_object_is_in_one_or_lost(
    seed: int, count: int, guard_m: float, side: float
) -> None:
    points = np.random.default_rng(seed).uniform((0, 0), (1200, 700), (count, 2))
    cut = best_cut(AREA, points, guard_m=guard_m, min_side_m=side)
    if cut is None:
        return
    first, second = cut.parts
    gap_x = second.left - first.right
    gap_y = second.top - first.bottom
    assert max(gap_x, gap_y) >= guard_m - 1e-6
    inside = [int(part.contains(points).sum()) for part in cut.parts]
    assert min(inside) > 0
    assert sum(inside) + cut.lost == count
    for part in cut.parts:
        assert part.left >= AREA.left
        assert part.right <= AREA.right
        assert min(part.right - part.left, part.bottom - part.top) >= min(side, 700) - 1e-6
