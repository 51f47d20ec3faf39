"""Every object on the lattice is a candidate: lone, large, and parked side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from windhover.geometry.lattice import Lattice
from windhover.inference.candidates import (
    SECONDARY_PEAK_DISTANCE,
    Candidates,
    merge_candidates,
)
from windhover.inference.peaks import Rescorer, find_peaks, margin_cells
from windhover.inference.scorer import RawScores
from windhover.inference.search_settings import SearchSettings

STRIDE, WINDOW = 8, 64
LATTICE = Lattice((200, 264), WINDOW, STRIDE)
BLOCK = next(LATTICE.blocks((10_000, 10_000), (1, 264), margin=margin_cells(STRIDE)))


def centers() -> tuple[np.ndarray, np.ndarray]:
    """Of all windows of the lattice, x and y, px."""
    rows, cols = np.mgrid[BLOCK.row0 : BLOCK.row1, BLOCK.col0 : BLOCK.col1]
    return cols * STRIDE + WINDOW / 2, rows * STRIDE + WINDOW / 2


def network_outputs(objects_xy: np.ndarray, size_px: float, logits: np.ndarray) -> RawScores:
    """Return outputs of a network with a plateau around each object, and no valley between them."""
    x, y = centers()
    dx, dy = (at[:, None, None] - grid for at, grid in zip(objects_xy.T, (x, y), strict=True))
    away = np.hypot(dx, dy)
    nearest_object = away.argmin(axis=0)[None]  # that each cell votes for
    nearest, *offsets = (np.take_along_axis(part, nearest_object, 0)[0] for part in (away, dx, dy))
    height = logits[nearest_object[0]] - nearest / STRIDE
    sizes = np.full((2, *x.shape), np.log(size_px))
    maps = (height[None], np.stack(offsets), sizes)
    return RawScores(*(plane.astype(np.float32) for plane in maps))


def find_candidates(maps: RawScores, min_logit: float) -> Candidates:
    """Return the candidates of the whole lattice."""
    return find_peaks(
        maps,
        lattice=LATTICE,
        scored=BLOCK,
        owned=BLOCK,
        min_logits=np.array([min_logit]),
    )


def find_objects(maps: RawScores, min_logit: float = 0.0) -> np.ndarray:
    """Where objects are, (N, 2) x, y px, after duplicates are merged."""
    candidates = find_candidates(maps, min_logit)
    return merge_candidates([candidates], SearchSettings(STRIDE)).objects.centers_xy


@settings(max_examples=60, deadline=None)
@given(
    size=st.floats(12, 40),
    angle=st.floats(0, 6.28),
    apart=st.floats(0.8, 1.5),
    fainter=st.floats(0, 4),
    at=st.tuples(st.floats(70, 150), st.floats(70, 130)),
)
def test_neighbors_are_two_whatever_the_lattice(
    size: float, angle: float, apart: float, fainter: float, at: tuple[float, float]
) -> None:
    step = apart * size * np.array([np.cos(angle), np.sin(angle)])
    assume(apart * size > STRIDE * 2**0.5)  # else the cell of one may speak for the other
    objects = np.array([at, at + step])
    found = find_objects(network_outputs(objects, size, np.array([6.0, 6.0 - fainter])))
    assert len(found) == 2
    assert np.hypot(*(found[:, None] - objects[None]).transpose(2, 0, 1)).min(axis=0).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(
    size=st.floats(12, 60),
    seed=st.integers(0, 10**6),
    at=st.tuples(st.floats(70, 150), st.floats(70, 130)),
)
def test_one_object_stays_one_where_votes_scatter(
    size: float, seed: int, at: tuple[float, float]
) -> None:
    logits, offsets, sizes = network_outputs(np.array([at]), size, np.array([6.0]))
    offsets += (
        np.random.default_rng(seed).uniform(-0.2, 0.2, offsets.shape).astype(np.float32) * size
    )
    assert len(find_objects(RawScores(logits, offsets, sizes), min_logit=3.0)) == 1


def test_a_secondary_peak_too_near_is_a_duplicate() -> None:
    apart_px = 16.8
    objects = np.array([[96.0, 96.0], [96.0 + apart_px, 96.0]])
    for share, count in ((SECONDARY_PEAK_DISTANCE - 0.05, 1), (SECONDARY_PEAK_DISTANCE + 0.05, 2)):
        assert (
            len(find_objects(network_outputs(objects, apart_px / share, np.array([6.0, 3.0]))))
            == count
        )


def test_only_secondary_peaks_are_marked() -> None:
    objects = np.array([[96.0, 96.0], [113.0, 96.0], [200.0, 100.0]])
    maps = network_outputs(objects, 20.0, np.array([6.0, 3.0, 5.0]))
    candidates = find_candidates(maps, min_logit=2.5)
    x = candidates.objects.centers_xy[:, 0].round()
    marked = dict(zip(x.tolist(), candidates.is_secondary.tolist(), strict=True))
    assert marked == {96: False, 113: True, 200: False}


def test_a_size_seen_again_may_be_a_single_px() -> None:
    maps = network_outputs(np.array([[100.0, 100.0]]), 20.0, np.array([6.0]))

    def small(rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(rows)
        log_sizes = np.stack([np.full(count, 0.05), np.full(count, -3.0)])
        return np.full((1, count), 5.0), np.zeros((2, count)), log_sizes

    found = find_peaks(
        maps,
        lattice=LATTICE,
        scored=BLOCK,
        owned=BLOCK,
        min_logits=np.array([0.0]),
        rescorer=Rescorer(small, 0.0),
    )
    assert found.objects.sizes_wh[0] == pytest.approx([np.exp(0.05), 1.0])
