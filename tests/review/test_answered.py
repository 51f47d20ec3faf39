"""Detections that the labels answer are asked last; the rule is that of a verdict."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from windhover.review.answered import is_answered
from windhover.review.label_state import Area, Label, LabelState
from windhover.review.review_record import ReviewScene
from windhover.review.search_result import SearchResult

WIDTH, HEIGHT = 300, 200


def scene(name: str) -> ReviewScene:
    return ReviewScene(
        scene=name,
        path=f"{name}.tif",
        width_px=WIDTH,
        height_px=HEIGHT,
        crs=None,
        transform=(1, 0, 0, 0, -1, 0),
        gsd_m=(1.0, 1.0),
        acquired=None,
    )


def found_at(centers: list[tuple[float, float]], scenes: list[int]) -> SearchResult:
    """Detections of 20 x 10 px."""
    middle = np.array(centers, float)
    half = np.array([10.0, 5.0])
    return SearchResult(
        summary=None,
        scenes=[scene("field"), scene("harbor")],
        searched={},
        id=np.array([f"{n}" for n in range(len(middle))], object),
        scene=np.array(scenes, np.int64),
        class_name=np.full(len(middle), "ship", object),
        score=np.linspace(0.9, 0.1, len(middle)),
        threshold=np.full(len(middle), 0.5),
        box=np.hstack([middle - half, middle + half]),
    )


def with_label(shape: shapely.Geometry) -> LabelState:
    state = LabelState(scenes={name: scene(name) for name in ("field", "harbor")})
    state.labels["a"] = Label("a", "field", "ship", shape)
    return state


@pytest.mark.parametrize("shape", [shapely.box(40, 45, 60, 55), shapely.Point(50, 50)])
def test_a_detection_within_half_of_the_longer_side_is_the_label(shape: shapely.Geometry) -> None:
    detections = found_at([(50, 50), (59, 50), (61, 50), (50, 50)], [0, 0, 0, 1])
    answered = is_answered(detections, with_label(shape))
    assert answered.tolist() == [True, True, False, False]


def test_ground_where_all_labels_are_known_answers_and_other_ground_does_not() -> None:
    state = LabelState(scenes={name: scene(name) for name in ("field", "harbor")})
    detections = found_at([(50, 50), (250, 150), (250, 150)], [0, 0, 1])
    assert not is_answered(detections, state).any()
    state.covered = {"field"}  # a scene with labels and no areas is labelled as a whole
    assert is_answered(detections, state).tolist() == [True, True, False]
    assert not is_answered(detections, state, around_labels=True).any()
    rest = shapely.box(100, 0, WIDTH, HEIGHT)
    state.areas = [Area("field", "positive_only", rest)]
    assert is_answered(detections, state).tolist() == [True, False, False]
    state.areas = [
        Area("field", "positive_only", rest),
        Area("field", "presumed_empty", shapely.box(0, 0, 100, HEIGHT)),
    ]
    assert not is_answered(detections, state).any()  # a presumption answers nothing
