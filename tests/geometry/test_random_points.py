"""Random points lie in their region, its parts by area, in no order."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from windhover.geometry.random_points import points_in_region

SMALL = shapely.box(0, 0, 10, 20)
LARGE = shapely.box(100, 0, 180, 30).difference(shapely.box(120, 5, 160, 25))


def test_points_lie_in_the_parts_by_their_area() -> None:
    points = points_in_region(SMALL | LARGE, 6000, np.random.default_rng(0))
    assert points.shape == (6000, 2)
    in_small = shapely.intersects_xy(SMALL, *points.T)
    assert (in_small | shapely.intersects_xy(LARGE, *points.T)).all()
    share = SMALL.area / (SMALL.area + LARGE.area)
    assert in_small.mean() == pytest.approx(share, abs=0.02)
    assert in_small[:1000].mean() == pytest.approx(share, abs=0.04), "in random order"


def test_a_part_counts_as_the_least_area() -> None:
    points = points_in_region(SMALL | LARGE, 4000, np.random.default_rng(1), min_area=LARGE.area)
    assert shapely.intersects_xy(SMALL, *points.T).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("region", [shapely.Polygon(), shapely.LineString([(0, 0), (9, 3)])])
def test_a_region_without_area_has_none(region: shapely.Geometry) -> None:
    assert points_in_region(region, 5, np.random.default_rng(0)).shape == (0, 2)


def test_the_same_seed_gives_the_same_points() -> None:
    first, second, other = (
        points_in_region(LARGE, 9, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
