"""Shapes across the antimeridian: wrapped, unwrapped and cut."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from windhover.geometry.antimeridian import (
    joined_at_antimeridian,
    nearest_longitudes,
    polygon_from_ring,
    spans_half_globe,
    split_small_polygon,
    unwrap_ring,
    with_wrapped_copies,
)


def wrap(lon: np.ndarray) -> np.ndarray:
    return (lon + 180) % 360 - 180


@given(center=st.floats(-180, 180), width=st.floats(0.1, 170), north=st.floats(-60, 60))
def test_a_ring_written_in_wrapped_longitudes_keeps_its_area(
    center: float, width: float, north: float
) -> None:
    lon = center + np.array([-0.5, 0.5, 0.5, -0.5]) * width
    lat = north + np.array([0.0, 0.0, 5.0, 5.0])
    polygon = polygon_from_ring(wrap(lon), lat)
    assert polygon.area == pytest.approx(5 * width, rel=1e-6)
    assert -180 <= polygon.bounds[0] <= polygon.bounds[2] <= 180


def test_unwrapped_longitudes_are_continuous() -> None:
    unwrapped, is_around_pole = unwrap_ring(np.array([179.0, -179.0, -179.0, 179.0]))
    assert unwrapped.tolist() == [179.0, 181.0, 181.0, 179.0]
    assert not is_around_pole
    assert unwrap_ring(np.array([0.0, 120.0, -120.0]))[1]


def test_a_ring_round_a_pole_gives_the_cap() -> None:
    lon = np.array([0.0, 120.0, -120.0])
    assert polygon_from_ring(lon, np.array([70.0, 75, 80])).bounds == (-180, 70, 180, 90)
    assert polygon_from_ring(lon, np.array([-70.0, -75, -80])).bounds == (-180, -90, 180, -70)


@pytest.mark.parametrize("west", [179.5, -180.5])
def test_a_small_polygon_is_cut_in_two(west: float) -> None:
    box = shapely.box(west, 10, west + 1, 11)
    wrapped = shapely.transform(box, lambda xy: np.stack([wrap(xy[:, 0]), xy[:, 1]], 1))
    for polygon in (box, wrapped):
        parts = split_small_polygon(polygon)
        assert len(parts.geoms) == 2
        assert parts.area == pytest.approx(1)
        assert parts.contains(shapely.MultiPoint([(179.9, 10.5), (-179.9, 10.5)]))


def test_a_polygon_away_from_it_is_returned_as_it_is() -> None:
    box = shapely.box(10, 10, 11, 11)
    assert split_small_polygon(box) is box


def test_wide_shapes_are_told_from_narrow_ones() -> None:
    shapes = np.array([shapely.box(-179.9, 0, 179.9, 1), shapely.box(0, 0, 1, 1)])
    assert spans_half_globe(shapes).tolist() == [True, False]


def test_longitudes_are_taken_to_the_turn_of_the_reference() -> None:
    lon = np.array([-179.0, 179.0, 10.0])
    assert nearest_longitudes(lon, 180.0).tolist() == [181.0, 179.0, 10.0]


def test_wrapped_copies_meet_the_same_place_written_otherwise() -> None:
    copies = with_wrapped_copies(shapely.box(179, 0, 181, 1))
    assert copies.contains(shapely.Point(-179.5, 0.5))
    assert not copies.contains(shapely.Point(0, 0.5))


@pytest.mark.parametrize(("center", "kind"), [(20.0, "Polygon"), (179.0, "MultiPolygon")])
def test_only_a_ring_across_the_antimeridian_has_parts(center: float, kind: str) -> None:
    lon = center + np.array([-3.0, 3.0, 3.0, -3.0])
    lat = np.array([10.0, 10.0, 12.0, 12.0])
    assert polygon_from_ring(wrap(lon), lat).geom_type == kind


@given(
    centers=st.lists(st.floats(-20, 20), min_size=1, max_size=8),
    middle=st.floats(-180, 180),
    turn=st.sampled_from([-360.0, 0.0, 360.0]),
)
def test_shapes_near_each_other_on_earth_are_joined_wherever_they_are(
    centers: list[float], middle: float, turn: float
) -> None:
    boxes = [shapely.box(lon - 1, 10, lon + 1, 12) for lon in centers]
    west_to_east = np.array([shapely.affinity.translate(one, middle) for one in boxes])
    cut = [split_small_polygon(one) for one in west_to_east]  # in -180..180, in parts
    cut[0] = shapely.affinity.translate(west_to_east[0], turn)
    joined = joined_at_antimeridian(np.array(cut, dtype=object), 45.0)
    shift = shapely.bounds(joined)[:, 0] - shapely.bounds(west_to_east)[:, 0]
    np.testing.assert_allclose(shift, shift[0], atol=1e-9)
    np.testing.assert_allclose(shapely.area(joined), 4.0)


def test_shapes_far_from_the_antimeridian_stay_as_they_are() -> None:
    boxes = np.array([shapely.box(lon, 0, lon + 1, 1) for lon in (170, -170, 5)])
    assert (joined_at_antimeridian(boxes, 0.1) == boxes).all()
    assert len(joined_at_antimeridian(boxes[:0], 0.1)) == 0
