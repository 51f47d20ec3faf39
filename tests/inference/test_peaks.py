"""Every object on the lattice is a candidate: the lone, the large, and those parked side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from windhover.geometry.lattice import Lattice
from windhover.inference.detector import SHOULDER_DISTANCE, merged
from windhover.inference.multi_scale import SearchSettings
from windhover.inference.peaks import find_peaks, margin_cells

STRIDE, WINDOW = 8, 64
LATTICE = Lattice((200, 264), WINDOW, STRIDE)
BLOCK = next(LATTICE.blocks((10_000, 10_000), (1, 264), margin_cells(STRIDE), 0))
Maps = tuple[np.ndarray, np.ndarray, np.ndarray]


def centers() -> tuple[np.ndarray, np.ndarray]:
    """Of all windows of the lattice, x and y, px."""
    rows, cols = np.mgrid[BLOCK.row0 : BLOCK.row1, BLOCK.col0 : BLOCK.col1]
    return cols * STRIDE + WINDOW / 2, rows * STRIDE + WINDOW / 2


def said_of(objects_xy: np.ndarray, size_px: float, logits: np.ndarray) -> Maps:
    """What a network says that is sure of objects in a plateau about each, and leaves no valley
    between them.
    """
    x, y = centers()
    dx, dy = (at[:, None, None] - grid for at, grid in zip(objects_xy.T, (x, y), strict=True))
    away = np.hypot(dx, dy)
    speaks = away.argmin(axis=0)[None]  # for whom a cell speaks
    nearest, *offsets = (np.take_along_axis(part, speaks, 0)[0] for part in (away, dx, dy))
    height = logits[speaks[0]] - nearest / STRIDE
    sizes = np.full((2, *x.shape), np.log(size_px))
    return tuple(part.astype(np.float32) for part in (height[None], np.stack(offsets), sizes))  # type: ignore[return-value]


def found_in(maps: Maps, floor: float = 0.0) -> np.ndarray:
    """Where objects are, (N, 2) x, y px, after duplicates are merged."""
    candidates = find_peaks(LATTICE, BLOCK, BLOCK, maps, np.array([floor]))
    table = merged([candidates], None, SearchSettings(STRIDE))  # type: ignore[arg-type]  # no area: no scene is asked
    return table[["col", "row"]].to_numpy()


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
    found = found_in(said_of(objects, size, np.array([6.0, 6.0 - fainter])))
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
    logits, offsets, sizes = said_of(np.array([at]), size, np.array([6.0]))
    offsets += (
        np.random.default_rng(seed).uniform(-0.2, 0.2, offsets.shape).astype(np.float32) * size
    )
    assert len(found_in((logits, offsets, sizes), floor=3.0)) == 1


def test_a_shoulder_too_near_is_no_object_of_its_own() -> None:
    apart_px = 16.8
    objects = np.array([[96.0, 96.0], [96.0 + apart_px, 96.0]])
    for share, count in ((SHOULDER_DISTANCE - 0.05, 1), (SHOULDER_DISTANCE + 0.05, 2)):
        assert len(found_in(said_of(objects, apart_px / share, np.array([6.0, 3.0])))) == count


def test_only_shoulders_are_marked() -> None:
    objects = np.array([[96.0, 96.0], [113.0, 96.0], [200.0, 100.0]])
    candidates = find_peaks(
        LATTICE, BLOCK, BLOCK, said_of(objects, 20.0, np.array([6.0, 3.0, 5.0])), np.array([2.5])
    )
    assert {(round(one["col"]), bool(one["shoulder"])) for one in candidates} == {
        (96, False),
        (113, True),
        (200, False),
    }
