"""Windows chosen on one scene, compared with the rule spelled out, on both sides of each radius."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.objects import Objects
from windhover.patches import sampling
from windhover.patches.sampling import SceneLabels

SQUARE = LabelRule(8.0, 15.0, "square")
CIRCLE = LabelRule(8.0, 15.0, "circle")
NO_BOXES = np.zeros((0, 4))
CENTERS = np.array([[100.0, 60.0], [300.0, 220.0], [120.0, 330.0]])
SHAPE_HW = (400, 500)


def labels_of(
    rule: LabelRule = SQUARE,
    *,
    centers: np.ndarray = CENTERS,
    ignored: np.ndarray = NO_BOXES,
    coverage: LabelCoverage | None = None,
) -> SceneLabels:
    half = np.array([10.0, 4.0])
    boxes = np.concatenate([centers - half, centers + half], axis=1)
    objects = Objects.from_xyxy(boxes, np.arange(len(centers)))
    return SceneLabels(objects, ignored, coverage or LabelCoverage(), rule)


def moved(dx: float, dy: float) -> np.ndarray:
    return CENTERS + np.array([dx, dy])


def distances(points: np.ndarray, rule: LabelRule, centers: np.ndarray = CENTERS) -> np.ndarray:
    """The distance of each point from the nearest center, spelled out."""
    nearest = []
    for x, y in points:
        dx, dy = np.abs(centers - (x, y)).T
        each = np.maximum(dx, dy) if rule.shape == "square" else np.sqrt(dx**2 + dy**2)
        nearest.append(each.min())
    return np.array(nearest)


@pytest.mark.parametrize("rule", [SQUARE, CIRCLE])
def test_background_begins_beyond_the_ignore_radius(rule: LabelRule) -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.integers(0, 400, (3000, 2)), moved(11, -13)]).astype(float)
    expected = distances(points, rule) > 15
    assert np.array_equal(sampling.is_negative(points, labels_of(rule)), expected)
    for on_x in (True, False):
        for apart, negative in ((14.99, False), (15.0, False), (15.01, True)):
            step = (apart, 0.0) if on_x else (0.0, -apart)
            assert sampling.is_negative(CENTERS[:1] + step, labels_of(rule))[0] == negative


@pytest.mark.parametrize("rule", [SQUARE, CIRCLE])
@pytest.mark.parametrize("box", [(200, 100, 260, 110), (200, 100, 200, 100), (230, 150, 234, 151)])
def test_no_background_within_the_ignore_radius_of_an_ignored_label(
    rule: LabelRule, box: tuple[float, float, float, float]
) -> None:
    labels = labels_of(rule, ignored=np.array([box, (20.0, 300.0, 20.0, 300.0)]))
    left, top, right, bottom = box
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    for apart, negative in ((0.0, False), (14.99, False), (15.0, False), (15.01, True)):
        beside = [
            (left - apart, middle_y),
            (right + apart, middle_y),
            (middle_x, top - apart),
            (middle_x, bottom + apart),
        ]
        found = sampling.is_negative(np.array(beside, float), labels)
        assert found.tolist() == [negative] * 4
    corner = np.array([[right + 12.0, bottom + 12.0]])
    assert sampling.is_negative(corner, labels)[0] == (rule.shape == "circle")
    assert not sampling.is_negative(np.array([[middle_x, middle_y]]), labels)[0]


def test_the_nearest_object_is_numbered_and_none_is_infinitely_far() -> None:
    distance, number = sampling.nearest_object(moved(3, -5)[::-1], labels_of().objects, SQUARE)
    assert number.tolist() == [2, 1, 0]
    assert distance.tolist() == [5, 5, 5]
    distance, number = sampling.nearest_object(CENTERS, Objects.empty(), SQUARE)
    assert np.isinf(distance).all()
    assert (number == -1).all()


def test_many_windows_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).uniform(0, 400, (100, 2))
    whole = sampling.nearest_object(points, labels_of().objects, CIRCLE)
    monkeypatch.setattr(sampling, "CHUNK", 21)
    parts = sampling.nearest_object(points, labels_of().objects, CIRCLE)
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


@pytest.mark.parametrize("rule", [SQUARE, CIRCLE, LabelRule(8.5, 8.5, "square")])
def test_positive_windows_fill_the_positive_radius_of_their_object(rule: LabelRule) -> None:
    labels = labels_of(rule, centers=moved(0.3, 0.6))
    repeats = np.array([600, 0, 900])
    corners = sampling.positive_windows(labels, repeats, np.random.default_rng(0))
    centers = corners + 32
    distance, number = sampling.nearest_object(centers.astype(float), labels.objects, rule)
    assert distance.max() <= rule.positive_px
    assert distance.max() > rule.positive_px - 1.2, "up to the radius"
    counts = np.bincount(number, minlength=3)
    assert counts.tolist() == repeats.tolist()
    offsets = centers - labels.objects.centers_xy[number]
    assert np.abs(offsets.mean(axis=0)).max() < 0.8
    assert (np.abs(offsets).max(axis=0) > rule.positive_px - 1.5).all()


@pytest.mark.parametrize("rule", [SQUARE, CIRCLE])
def test_offcenter_windows_show_an_object_beyond_its_ignore_radius(rule: LabelRule) -> None:
    corners = sampling.offcenter_windows(
        SHAPE_HW, labels_of(rule), 400, rng=np.random.default_rng(0)
    )
    assert len(corners) == 400
    distance = distances(corners + 32.0, rule)
    assert distance.min() > 15
    assert distance.min() < 16.5
    assert 31 < distance.max() <= 33


def test_offcenter_windows_are_centered_on_the_scene() -> None:
    """Beyond the border a window shows the mirror image of an object that is not background."""
    at_borders = np.array([[3.0, 200.0], [497.0, 100.0], [250.0, 2.0], [130.0, 398.0]])
    labels = labels_of(centers=at_borders)
    rng = np.random.default_rng(0)
    centers = sampling.offcenter_windows(SHAPE_HW, labels, 600, rng=rng) + 32
    assert (centers >= 0).all()
    assert (centers <= (500, 400)).all()
    assert len(centers) == 600


def test_random_windows_are_centered_anywhere_on_the_scene_and_nowhere_else() -> None:
    centers = (
        sampling.random_windows(SHAPE_HW, labels_of(), 3000, rng=np.random.default_rng(0)) + 32
    )
    assert len(centers) == 3000
    assert centers.min(axis=0).tolist() == pytest.approx([0, 0], abs=4)
    assert centers.max(axis=0).tolist() == pytest.approx([499, 399], abs=4)
    assert (distances(centers, SQUARE) > 15).all()


@pytest.mark.parametrize(
    "area",
    [
        (200.0, 0.0, 200.3, 400.0),
        (0.0, 399.7, 500.0, 400.0),
        (-0.2, 10.0, 0.2, 300.0),
        (10.0, 10.0, 70.0, 400.0),
        (600.0, 0.0, 900.0, 400.0),
    ],
)
def test_a_complete_area_that_holds_no_window_gives_no_background(
    area: tuple[float, float, float, float],
) -> None:
    labels = labels_of(coverage=LabelCoverage(complete=shapely.box(*area)))
    rng = np.random.default_rng(0)
    assert len(sampling.random_windows(SHAPE_HW, labels, 50, rng=rng)) == 0
    assert len(sampling.offcenter_windows(SHAPE_HW, labels, 50, rng=rng)) == 0
    structure = np.ones((50, 62), np.float32)
    assert len(sampling.lookalike_windows(structure, labels, 50, rng=rng)) == 0


def test_random_windows_of_a_block_stay_on_it_where_an_area_reaches_beyond() -> None:
    coverage = LabelCoverage(complete=shapely.box(-700.0, -900.0, 1500.0, 1200.0))
    labels = labels_of(coverage=coverage)
    centers = sampling.random_windows(SHAPE_HW, labels, 800, rng=np.random.default_rng(0)) + 32
    assert len(centers) == 800
    assert (centers >= 0).all()
    assert (centers <= (500, 400)).all()


def test_windows_lie_wholly_in_complete_areas_and_clear_of_the_others() -> None:
    coverage = LabelCoverage(
        complete=shapely.box(50, 40, 450, 300), ignore=shapely.box(200, 100, 230, 180)
    )
    labels = labels_of(coverage=coverage)
    rng = np.random.default_rng(0)
    corners = sampling.random_windows(SHAPE_HW, labels, 500, rng=rng)
    assert corners.min(axis=0).tolist() == pytest.approx([50, 40], abs=6)
    assert (corners >= (50, 40)).all()
    assert (corners + 64 <= (450, 300)).all()
    left, top = corners.T
    assert ((left + 64 < 200) | (left > 230) | (top + 64 < 100) | (top > 180)).all()


def test_lookalikes_are_where_there_is_structure() -> None:
    image = np.zeros((2, 400, 500), np.uint8)
    image[:, 64:96, 320:400] = np.random.default_rng(0).integers(0, 255, (2, 32, 80))
    structure = sampling.structure_map(image)
    assert structure.shape == (50, 62)
    labels = labels_of()
    rng = np.random.default_rng(0)
    centers = sampling.lookalike_windows(structure, labels, 200, rng=rng) + 32
    x, y = centers.T
    # smoothed over three cells
    assert (x.min(), x.max()) == pytest.approx((312, 407), abs=8)
    assert (y.min(), y.max()) == pytest.approx((56, 103), abs=8)
    assert len(np.unique(centers, axis=0)) == len(centers) == 200
    assert (np.unique(x % 8), np.unique(y % 8)) == (
        pytest.approx(np.arange(8)),
        pytest.approx(np.arange(8)),
    )
    near = replace(labels, ignored_xyxy=np.array([(330.0, 70.0, 390.0, 90.0)]))
    centers = sampling.lookalike_windows(structure, near, 200, rng=rng) + 32
    assert (sampling.is_negative(centers.astype(float), near)).all()
    flat = np.zeros_like(structure)
    assert len(sampling.lookalike_windows(flat, labels, 5, rng=rng)) == 0
    assert len(sampling.lookalike_windows(structure, labels, 0, rng=rng)) == 0


def test_structure_is_the_squared_mean_gradient_of_a_cell() -> None:
    image = np.zeros((1, 40, 64), np.float32)
    image[0] = np.arange(64) * 3.0
    inner = sampling.structure_map(image)[1:-1, 1:-2]
    assert inner == pytest.approx(np.full_like(inner, 9.0))
