"""Candidates are kept as bytes exactly, and selected, scaled and joined as one table."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from windhover.geometry.objects import Objects
from windhover.inference.candidates import (
    SECONDARY_PEAK_DISTANCE,
    Candidates,
    concatenate,
    merge_candidates,
    secondary_peak_distance,
)
from windhover.inference.search_settings import SearchSettings


def candidates_of(seed: int, count: int) -> Candidates:
    random = np.random.default_rng(seed)
    objects = Objects(
        random.normal(0, 1e5, (count, 2)),
        random.exponential(30, (count, 2)),
        random.integers(0, 70_000, count),
        np.zeros(count, np.int8),
        random.normal(0, 5, count),
    )
    return Candidates(objects, random.random(count) < 0.5, random.random(count) < 0.5)


TABLES = st.builds(candidates_of, st.integers(0, 1000), st.integers(0, 5))


@given(TABLES)
def test_bytes_hold_every_number_exactly(candidates: Candidates) -> None:
    read = Candidates.from_bytes(candidates.to_bytes())
    np.testing.assert_array_equal(read.objects.centers_xy, candidates.objects.centers_xy)
    np.testing.assert_array_equal(read.objects.sizes_wh, candidates.objects.sizes_wh)
    np.testing.assert_array_equal(read.class_index, candidates.class_index)
    np.testing.assert_array_equal(read.logits, candidates.logits)
    np.testing.assert_array_equal(read.touches_edge, candidates.touches_edge)
    np.testing.assert_array_equal(read.is_secondary, candidates.is_secondary)


@given(TABLES, TABLES)
def test_parts_of_a_whole_are_the_parts(one: Candidates, two: Candidates) -> None:
    whole = concatenate([one, two])
    rows = np.arange(len(whole))
    assert whole.select(rows < len(one)).to_bytes() == one.to_bytes()
    assert whole.select(rows[len(one) :]).to_bytes() == two.to_bytes()


def test_another_grid_changes_places_and_sizes_alone() -> None:
    objects = Objects(
        np.array([[10.0, 20.0]]),
        np.array([[4.0, 6.0]]),
        np.array([1]),
        np.zeros(1, np.int8),
        np.ones(1),
    )
    scaled = Candidates(objects, np.array([True]), np.array([False])).scaled((2.0, 3.0))
    assert scaled.objects.centers_xy.tolist() == [[20.0, 60.0]]
    assert scaled.objects.sizes_wh.tolist() == [[8.0, 18.0]]
    assert (scaled.class_index[0], scaled.logits[0], scaled.touches_edge[0]) == (1, 1.0, True)


def test_no_candidates_are_a_table_too() -> None:
    nothing = concatenate([])
    assert len(nothing) == len(Candidates.from_bytes(b"")) == 0
    assert nothing.logits.shape == (0,)


def test_in_crowds_secondary_peaks_are_kept_apart_too() -> None:
    """Two objects of 12 px, the second, a secondary peak, 0.6 of a size from the first."""
    objects = Objects(
        np.array([[50.0, 50.0], [57.2, 50.0]]),
        np.full((2, 2), 12.0),
        np.zeros(2, np.int64),
        np.zeros(2, np.int8),
        np.array([5.0, 4.0]),
    )
    candidates = Candidates(objects, np.zeros(2, bool), np.array([False, True]))
    default = SearchSettings(merge_iou=0.9)
    crowded = SearchSettings(merge_iou=0.9, merge_distance=0.35)
    assert len(merge_candidates([candidates], default)) == 1
    assert len(merge_candidates([candidates], crowded)) == 2
    assert secondary_peak_distance(0.5) == SECONDARY_PEAK_DISTANCE
    assert secondary_peak_distance(0.9) == 0.9


def test_candidates_outside_an_area_are_dropped() -> None:
    objects = Objects(
        np.array([[10.0, 20.0], [60.0, 20.0], [10.0, 80.0]]),
        np.full((3, 2), 5.0),
        np.zeros(3, np.intp),
        np.zeros(3, np.int8),
        np.array([3.0, 2.0, 1.0]),
    )
    candidates = Candidates(objects, np.zeros(3, bool), np.zeros(3, bool))
    transform = Affine(2, 0, 500, 0, -2, 900)
    area = shapely.box(500, 780, 560, 900)  # the left 30 px, the upper 60
    kept = merge_candidates([candidates], SearchSettings(8), aoi=area, transform=transform)
    assert kept.objects.centers_xy.tolist() == [[10.0, 20.0]]
    everywhere = merge_candidates([candidates], SearchSettings(8), transform=transform)
    assert len(everywhere) == 3
