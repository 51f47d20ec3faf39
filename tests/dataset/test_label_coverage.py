"""Label coverage: what is known of the ground, and boxes that hold the ignored windows."""

from __future__ import annotations

import geopandas
import numpy as np
import pytest
import shapely

from windhover.dataset.label_coverage import LabelCoverage, ignored_window_boxes
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX

EXTENT = shapely.box(0, 0, 400, 300)


def coverage_of(*areas: tuple[str, shapely.Polygon]) -> LabelCoverage:
    table = geopandas.GeoDataFrame(
        {"role": [role for role, _ in areas]}, geometry=[shape for _, shape in areas]
    )
    return LabelCoverage.from_areas(table)


def test_a_scene_without_areas_is_labeled_everywhere() -> None:
    coverage = LabelCoverage()
    points = np.array([[5.0, 5.0], [399.0, 200.0]])
    assert coverage.is_whole_scene
    assert coverage.is_background_known(points).all()
    assert coverage.is_window_known(points, HALF_WINDOW_PX).all()
    assert not coverage.is_ignored(points).any()
    assert coverage.ignored_region(EXTENT).is_empty
    assert coverage.known_region(EXTENT, 20.0).equals(EXTENT)


def test_background_is_known_in_complete_areas_less_the_others() -> None:
    coverage = coverage_of(
        ("complete", shapely.box(0, 0, 200, 200)), ("ignore", shapely.box(100, 0, 150, 200))
    )
    points = np.array([[50.0, 100.0], [120.0, 100.0], [300.0, 100.0]])
    assert coverage.is_background_known(points).tolist() == [True, False, False]
    assert coverage.is_ignored(points).tolist() == [False, True, False]
    near_the_border = np.array([[50.0, 100.0], [80.0, 100.0]])
    assert coverage.is_window_known(near_the_border, HALF_WINDOW_PX).tolist() == [True, False]
    known = shapely.box(0, 0, 100, 200) | shapely.box(150, 0, 200, 200)
    assert coverage.known_region(EXTENT).equals(known)
    shrunk = shapely.box(0, 0, 90, 190) | shapely.box(160, 0, 190, 190)
    assert coverage.known_region(EXTENT, 10.0).equals(shrunk), "but not at the scene's border"


def test_a_detection_is_ignored_where_not_everything_is_labeled() -> None:
    coverage = coverage_of(
        ("complete", shapely.box(0, 0, 200, 300)), ("positive_only", shapely.box(200, 0, 300, 300))
    )
    assert coverage.ignored_region(EXTENT).equals(shapely.box(200, 0, 400, 300))
    assert coverage.unlabeled_region(EXTENT).equals(shapely.box(300, 0, 400, 300))
    grown = coverage.ignored_region(EXTENT, margin=10.0)
    assert grown.equals(shapely.box(190, -10, 410, 310))
    assert grown.equals(coverage.ignored_region_of_grid((300, 400), margin_px=10.0))


def test_an_ignore_area_inside_a_complete_one_is_ignored() -> None:
    coverage = coverage_of(("complete", EXTENT), ("ignore", shapely.box(0, 0, 10, 10)))
    assert coverage.ignored_region(EXTENT).equals(shapely.box(0, 0, 10, 10))


def test_planes_differ_by_their_unit_alone() -> None:
    areas = geopandas.GeoDataFrame({"role": ["ignore"]}, geometry=[shapely.box(10, 20, 30, 60)])
    in_grid = LabelCoverage.in_grid(areas, (2.0, 4.0))
    in_meters = LabelCoverage.in_meters(areas, (0.5, 0.25))
    assert in_grid.ignore.equals(shapely.box(5, 5, 15, 15))
    assert in_meters.ignore.equals(in_grid.ignore)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_hold_the_ignored_windows_and_no_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    region = shapely.union_all(
        [shapely.box(*low, *(low + size)) for low, size in random.uniform(0, 90, (4, 2, 2))]
    )
    side = int(WINDOW_PX + STRIDE_PX * random.integers(0, 12))
    left, top = 7, -13
    boxes = ignored_window_boxes(region, left=left, top=top, side_px=side, stride_px=STRIDE_PX)
    centers = np.arange(HALF_WINDOW_PX, side - HALF_WINDOW_PX + 1.0, STRIDE_PX) - side / 2
    x, y = np.meshgrid(centers, centers)
    n_boxes = np.zeros(x.shape, int)
    for center_x, center_y, width, height in boxes:
        n_boxes += (np.abs(x - center_x) <= width / 2) & (np.abs(y - center_y) <= height / 2)
    expected = shapely.contains_xy(region, x + side / 2 + left, y + side / 2 + top)
    assert np.array_equal(n_boxes, expected.astype(int))
    assert len(boxes) <= 40, "few boxes, however many windows"


@pytest.mark.parametrize("ratio", [2.5, 1.37, 0.31])
def test_ground_without_many_windows_can_be_cut_in_every_plane(ratio: float) -> None:
    extent = shapely.box(0, 0, 1600, 1200)
    corners = np.random.default_rng(3).uniform((0, 0), (1600, 1200), (400, 2))
    windows = shapely.union_all(shapely.box(*corners.T, *(corners + 70).T))
    areas = geopandas.GeoDataFrame(
        {"role": ["complete", "positive_only"]},
        geometry=[extent.difference(windows), windows & extent],
    )
    coverage = LabelCoverage.in_grid(areas, (ratio, ratio))
    plane = shapely.box(0, 0, 1600 / ratio, 1200 / ratio)
    known = coverage.known_region(plane)
    assert known.area == pytest.approx(extent.difference(windows).area / ratio**2, rel=1e-6)
    assert coverage.known_region(plane, 5.0).area < known.area
