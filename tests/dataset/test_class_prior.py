"""The class prior: the windows that are searched, counted one by one on a small scene."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from windhover.dataset.class_prior import WindowCount, count_positive_windows, searched_windows
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.lattice import mirrored_indices
from windhover.geometry.objects import Objects
from windhover.params.allowed_values import RadiusShape

SHAPE_HW = (235, 401)
BOXES = np.array([[90.0, 90, 110, 110], [290, 90, 310, 110], [0, 0, 6, 8], [391, 100, 401, 120]])
# a box whose object may be anywhere on it, and a point
IGNORED = np.array([[200.0, 40, 230, 47], [330.3, 200.2, 330.3, 200.2]])


def valid_pixels() -> NDArray[np.bool_]:
    """Return where the scene has data: not in its upper right part, nor in its lowest rows."""
    valid = np.ones(SHAPE_HW, bool)
    valid[:77, 240:] = False
    valid[170:] = False
    return valid


def brute_force(
    valid: NDArray[np.bool_], objects: Objects, coverage: LabelCoverage, rule: LabelRule
) -> WindowCount:
    """Count window by window, as a search goes over a scene."""
    height, width = valid.shape
    positive = total = 0
    for top in range(-32, height - 32 + 4, 8):
        for left in range(-32, width - 32 + 4, 8):
            rows = mirrored_indices(height, top, top + 64)
            cols = mirrored_indices(width, left, left + 64)
            center = np.array([left + 32.0, top + 32.0])
            if not valid[np.ix_(rows, cols)].any():
                continue
            if not coverage.is_background_known(center[None])[0]:
                continue
            offsets = objects.centers_xy - center
            shows = (rule.distance(*offsets.T) <= rule.positive_px).any()
            nearest = np.clip(center[None], IGNORED[:, :2], IGNORED[:, 2:])
            near_ignored = (rule.distance(*(nearest - center).T) <= rule.positive_px).any()
            positive += bool(shows)
            total += bool(shows or not near_ignored)
    return WindowCount(positive, total)


@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize("has_areas", [False, True])
def test_the_prior_is_that_of_the_windows_that_are_searched(
    shape: RadiusShape, has_areas: bool
) -> None:
    objects = Objects.from_xyxy(BOXES, np.zeros(4, np.int64))
    coverage = LabelCoverage()
    if has_areas:
        ignore = shapely.box(0, 163, 500, 240)
        coverage = LabelCoverage(complete=shapely.box(-9, -9, 305, 240), ignore=ignore)
    valid = valid_pixels()
    rule = LabelRule(9.0, 15.0, shape)

    def read(row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], Any]:
        part = valid[row : row + height, col : col + width]
        return np.zeros((1, *part.shape)), part

    counted = count_positive_windows(
        SHAPE_HW,
        objects,
        coverage,
        rule,
        ignored_xyxy=IGNORED,
        has_data=searched_windows(read, SHAPE_HW),
    )
    assert counted == brute_force(valid, objects, coverage, rule)
    # an object at a corner, where windows reach beyond the scene, is among those that are found
    corner = objects.select(np.array([2]))
    assert count_positive_windows(SHAPE_HW, corner, coverage, rule).positive >= 2


def test_ground_without_data_or_with_ignored_labels_is_not_counted() -> None:
    rule = LabelRule(8.0, 15.0, "square")
    everything = count_positive_windows(SHAPE_HW, Objects.empty(), LabelCoverage(), rule)
    assert everything == (0, 30 * 51)
    has_data = np.ones((30, 51), bool)
    has_data[:, 20:] = False
    with_data = count_positive_windows(
        SHAPE_HW, Objects.empty(), LabelCoverage(), rule, has_data=has_data
    )
    assert with_data.total == 30 * 20
    ignored = count_positive_windows(
        SHAPE_HW, Objects.empty(), LabelCoverage(), rule, ignored_xyxy=np.array([[80.0] * 4])
    )
    assert ignored.total == 30 * 51 - 9


def test_ignored_objects_are_not_counted() -> None:
    ignored = Objects.from_xyxy(BOXES[:1], np.zeros(1, np.int64), np.ones(1, np.int8))
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
        np.meshgrid(np.arange(0, 300 + 5, 8), np.arange(0, 170 + 4, 8)), axis=-1
    ).reshape(-1, 2)
    offset = objects.centers_xy[None] - windows[:, None]
    distance = np.hypot(*offset.transpose(2, 0, 1))
    if shape == "square":
        distance = np.abs(offset).max(axis=2)
    expected = int((distance <= radius).any(axis=1).sum())
    counted = count_positive_windows((170, 300), objects, LabelCoverage(), rule)
    assert counted == (expected, len(windows))
