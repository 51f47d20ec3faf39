"""Scenes that adjoin are one place, measured on the ground and not in rounded degrees."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from windhover.dataset.splits import join_places
from windhover.dataset.touching_scenes import touching_pairs
from windhover.geometry.georef import footprint_4326


def outline(x: float, y: float, gsd: float, crs: str, side: int = 200) -> BaseGeometry:
    shape = footprint_4326(Affine(gsd, 0, x, 0, -gsd, y), crs, (side, side))
    assert shape is not None
    return shape


def are_touching(shapes: list[BaseGeometry | None], tolerance_m: float) -> bool:
    return touching_pairs(shapes, [tolerance_m] * len(shapes)).shape[1] > 0


@given(
    st.floats(2.5e5, 7.5e5),
    st.floats(1e5, 9e6),
    st.sampled_from([0.07, 0.3, 2.0, 10.0]),
    st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_tiles_side_by_side_always_touch(x: float, y: float, gsd: float, side: int) -> None:
    step = 200 * gsd
    shift = [(step, 0.0), (0.0, step), (-step, 0.0), (step, step)][side]  # the last: by a corner
    pair: list[BaseGeometry | None] = [
        outline(x, y, gsd, "EPSG:32720"),
        outline(x + shift[0], y + shift[1], gsd, "EPSG:32720"),
    ]
    assert set(join_places(["a", "b"], pair)[0]) == {"a"}


@pytest.mark.parametrize(("gap_px", "touches"), [(0.9, True), (1.5, False), (-3.0, True)])
def test_a_gap_of_less_than_a_px_is_none(gap_px: float, touches: bool) -> None:
    for crs, x, y in (("EPSG:25832", 6e5, 7.7e6), ("EPSG:32631", 4e5, 1e4)):
        gsd = 0.4
        pair: list[BaseGeometry | None] = [
            outline(x, y, gsd, crs),
            outline(x + (200 + gap_px) * gsd, y, gsd, crs),
        ]
        assert are_touching(pair, gsd) is touches


def test_neighbors_in_two_systems_touch_to_a_px_of_the_coarser_one() -> None:
    x, y, gsd = 5.6e5, 5.3e6, 2.0
    first = outline(x, y, gsd, "EPSG:32632")
    east = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform(x + 401.2, y)
    second = footprint_4326(
        Affine(2e-5, 0, east[0], 0, -2e-5, east[1] - 5e-4), "EPSG:4326", (50, 50)
    )
    assert touching_pairs([first, second], [2.0, 1.5]).shape[1] == 1
    assert touching_pairs([first, second], [0.5, 0.5]).shape[1] == 0


def test_scenes_of_several_degrees_touch_wherever_they_are() -> None:
    north = footprint_4326(Affine(0.1, 0, 0, 0, -0.1, 6.0), "EPSG:4326", (10, 100))
    west = footprint_4326(Affine(0.1, 0, -3, 0, -0.1, 5.5), "EPSG:4326", (25, 40))
    assert are_touching([north, west], 10.0)


def test_neighbors_at_the_antimeridian_touch() -> None:
    west = footprint_4326(Affine(1e-4, 0, 179.98, 0, -1e-4, -17.0), "EPSG:4326", (100, 200))
    east = footprint_4326(Affine(1e-4, 0, -180.0, 0, -1e-4, -17.0), "EPSG:4326", (100, 200))
    far = footprint_4326(Affine(1e-4, 0, -179.9, 0, -1e-4, -17.0), "EPSG:4326", (100, 200))
    pairs = touching_pairs([west, None, east, far], [10.0] * 4)
    assert np.sort(pairs, axis=0).T.tolist() == [[0, 2]]
