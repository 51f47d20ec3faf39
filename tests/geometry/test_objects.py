"""The table of objects: moving, scaling and choosing change what they should and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from windhover.geometry.objects import Objects, Role, concatenate

EXACT = st.integers(-1000, 1000).map(lambda number: number / 4)  # halves are exact in binary


@st.composite
def tables(draw: st.DrawFn) -> Objects:
    count = draw(st.integers(0, 8))
    role = draw(npst.arrays(np.int8, count, elements=st.sampled_from([0, 1])))
    return Objects(
        centers_xy=draw(npst.arrays(np.float64, (count, 2), elements=EXACT)),
        sizes_wh=np.abs(draw(npst.arrays(np.float64, (count, 2), elements=EXACT))),
        class_index=draw(npst.arrays(np.int64, count, elements=st.integers(0, 3))),
        role=role,
        scores=draw(npst.arrays(np.float64, count, elements=st.floats(0, 1))),
    )


def assert_same(one: Objects, other: Objects) -> None:
    assert np.array_equal(one.centers_xy, other.centers_xy)
    assert np.array_equal(one.sizes_wh, other.sizes_wh, equal_nan=True)
    assert np.array_equal(one.class_index, other.class_index)
    assert np.array_equal(one.role, other.role)
    for first, second in ((one.scores, other.scores), (one.angles_rad, other.angles_rad)):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert np.array_equal(first, second)


@given(tables())
def test_boxes_and_back_are_the_same_objects(objects: Objects) -> None:
    again = Objects.from_xyxy(
        objects.to_xyxy(), objects.class_index, objects.role, scores=objects.scores
    )
    assert_same(again, objects)


@given(tables(), EXACT, EXACT)
def test_a_shift_moves_boxes_and_back(objects: Objects, dx: float, dy: float) -> None:
    moved = objects.shifted(dx, dy)
    assert np.array_equal(moved.to_xyxy(), objects.to_xyxy() + np.array([dx, dy, dx, dy]))
    assert_same(moved.shifted(-dx, -dy), objects)


@given(tables(), st.sampled_from([0.25, 0.5, 2.0, 8.0]), st.sampled_from([0.5, 1.0, 4.0]))
def test_a_scale_is_one_factor_or_one_an_axis(objects: Objects, x: float, y: float) -> None:
    scaled = objects.scaled((x, y))
    assert np.array_equal(scaled.to_xyxy(), objects.to_xyxy() * [x, y, x, y])
    assert_same(scaled.scaled((1 / x, 1 / y)), objects)
    assert_same(objects.scaled(x), objects.scaled((x, x)))


@given(tables(), tables())
def test_tables_joined_and_chosen_apart_are_the_same(one: Objects, other: Objects) -> None:
    joined = concatenate([one, other])
    rows = np.arange(len(joined))
    assert_same(joined.select(rows < len(one)), one)
    assert_same(joined.select(rows[len(one) :]), other)


def test_scores_are_kept_only_where_all_tables_have_them() -> None:
    boxes = np.array([[0.0, 0, 4, 2]])
    scored = Objects.from_xyxy(boxes, np.zeros(1, np.int64), scores=np.array([0.5]))
    unscored = Objects.from_xyxy(boxes, np.zeros(1, np.int64))
    assert concatenate([scored, unscored]).scores is None
    assert len(concatenate([])) == 0
    assert_same(concatenate([]), Objects.empty())


def test_points_and_ignored_objects_are_marked() -> None:
    objects = Objects(
        centers_xy=np.array([[10.0, 20.0], [30.0, 40.0]]),
        sizes_wh=np.array([[4.0, 6.0], [np.nan, np.nan]]),
        class_index=np.array([0, -1]),
        role=np.array([Role.OBJECT, Role.IGNORE], np.int8),
    )
    assert objects.is_ignored.tolist() == [False, True]
    assert objects.longer_side[0] == 6
    assert np.isnan(objects.longer_side[1])
    assert np.isnan(objects.to_xyxy()[1]).all()
    assert Objects.empty().longer_side.shape == (0,)


@pytest.mark.parametrize(
    ("margin", "inside"), [(0.0, [True, True, False]), (5.0, [True, True, True])]
)
def test_centers_on_the_border_are_within(margin: float, inside: list[bool]) -> None:
    centers = np.array([[0.0, 0.0], [100.0, 50.0], [105.0, 20.0]])
    zeros = np.zeros(3, np.int64)
    objects = Objects(centers, np.ones((3, 2)), zeros, zeros.astype(np.int8))
    assert objects.within((0, 0, 100, 50), margin).tolist() == inside
