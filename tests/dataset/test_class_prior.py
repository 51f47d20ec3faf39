"""The class prior: windows are counted where everything is labeled, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from windhover.dataset.class_prior import count_positive_windows
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.objects import Objects
from windhover.params.allowed_values import RadiusShape


def test_the_prior_is_that_of_the_ground_where_all_is_labeled() -> None:
    objects = Objects.from_xyxy(
        np.array([[90.0, 90, 110, 110], [290, 90, 310, 110]]), np.zeros(2, np.int64)
    )
    coverage = LabelCoverage(
        complete=shapely.box(0, 0, 203, 240), ignore=shapely.box(0, 163, 500, 240)
    )
    rule = LabelRule(8.0, 15.0, "square")
    centers = np.stack(
        np.meshgrid(np.arange(32, 400 - 31, 8), np.arange(32, 240 - 31, 8)), axis=-1
    ).reshape(-1, 2)
    known = (centers[:, 0] < 203) & (centers[:, 1] < 163)
    near = (np.abs(centers - objects.centers_xy[0]) <= 8).all(axis=1)
    counted = count_positive_windows((240, 400), objects, coverage, rule)
    assert counted == ((near & known).sum(), known.sum())
    assert counted.positive > 0
    nothing = count_positive_windows((240, 400), Objects.empty(), coverage, rule)
    assert nothing == (0, known.sum())


def test_ignored_objects_are_not_counted() -> None:
    boxes = np.array([[90.0, 90, 110, 110]])
    ignored = Objects.from_xyxy(boxes, np.zeros(1, np.int64), np.ones(1, np.int8))
    rule = LabelRule(8.0, 15.0, "square")
    assert count_positive_windows((240, 400), ignored, LabelCoverage(), rule).positive == 0


@pytest.mark.parametrize("shape", ["square", "circle"])
@given(
    places=st.lists(
        st.tuples(st.floats(0, 300), st.floats(0, 170)), min_size=1, max_size=6, unique=True
    ),
    radius=st.floats(1, 30),
)
def test_positive_windows_are_those_of_comparing_every_window_with_every_object(
    shape: RadiusShape, places: list[tuple[float, float]], radius: float
) -> None:
    centers = np.array(places)
    half_wh = np.array([9.0, 4.0])
    boxes = np.concatenate([centers - half_wh, centers + half_wh], axis=1)
    objects = Objects.from_xyxy(boxes, np.zeros(len(boxes), np.int64))
    rule = LabelRule(radius, radius, shape)
    windows = np.stack(
        np.meshgrid(np.arange(32, 300 - 31, 8), np.arange(32, 170 - 31, 8)), axis=-1
    ).reshape(-1, 2)
    offset = objects.centers_xy[None] - windows[:, None]
    distance = np.hypot(*offset.transpose(2, 0, 1))
    if shape == "square":
        distance = np.abs(offset).max(axis=2)
    expected = int((distance <= radius).any(axis=1).sum())
    counted = count_positive_windows((170, 300), objects, LabelCoverage(), rule)
    assert counted == (expected, len(windows))
