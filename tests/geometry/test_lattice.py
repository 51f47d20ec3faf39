"""The lattice leaves nothing blind, blocks share it out, the padding is a padding."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.geometry.lattice import (
    Lattice,
    mirrored_indices,
    outside_scene,
    read_mirrored,
    read_padded,
    windows_with_data,
)

sides = st.integers(1, 700)


@given(height=sides, width=sides, stride=st.sampled_from([4, 8, 16]))
def test_every_point_of_a_scene_is_within_half_a_stride_of_a_windows_center(
    height: int, width: int, stride: int
) -> None:
    lattice = Lattice((height, width), 64, stride)
    for (first, stop), length in ((lattice.rows, height), (lattice.cols, width)):
        centers = np.arange(first, stop) * stride + 32
        assert np.abs(np.arange(length + 1)[:, None] - centers).min(axis=1).max() <= stride / 2
        assert -32 <= centers.min() - 32 <= 0


@given(
    height=sides,
    width=sides,
    block_hw=st.tuples(st.integers(1, 900), st.integers(8, 900)),
    file_block_hw=st.tuples(st.floats(0.3, 900), st.floats(0.3, 900)),
    margin=st.integers(0, 2),
)
def test_each_cell_belongs_to_one_block(
    height: int,
    width: int,
    block_hw: tuple[int, int],
    file_block_hw: tuple[float, float],
    margin: int,
) -> None:
    lattice = Lattice((height, width), 64, 8)
    owners = np.zeros(lattice.shape_cells, int)
    for number, block in enumerate(lattice.blocks(block_hw, file_block_hw, margin=margin)):
        assert block.row0 < block.row1
        assert block.col0 < block.col1
        assert block.number == number
        owners[
            block.row0 - lattice.rows[0] : block.row1 - lattice.rows[0],
            block.col0 - lattice.cols[0] : block.col1 - lattice.cols[0],
        ] += 1
    assert (owners == 1).all()


@given(
    length=st.integers(1, 9000),
    block_px=st.integers(256, 2048),
    file_block=st.sampled_from([128, 256, 512, 300.7]),
    margin=st.integers(0, 2),
    stride=st.sampled_from([4, 8]),
)
def test_a_seam_costs_one_row_of_the_files_blocks(
    length: int, block_px: int, file_block: float, margin: int, stride: int
) -> None:
    lattice = Lattice((length, 64), 64, stride)
    blocks = list(lattice.blocks((block_px, 64), (file_block, 64), margin=margin))
    reads = [
        lattice.extent_px(block._replace(row0=block.row0 - margin, row1=block.row1 + margin))
        for block in blocks
    ]
    rows = [
        set(range(int(max(top, 0) // file_block), int((stop - 1) // file_block) + 1))
        for top, stop, *_ in reads
    ]
    for one, other in pairwise(rows):
        assert len(one & other) == 1
    assert all(
        stop - top <= max(block_px, file_block) + 2 * 64 + 3 * stride for top, stop, *_ in reads
    )


@given(length=st.integers(1, 40), start=st.integers(-90, 60), count=st.integers(1, 90))
def test_mirrored_is_what_numpy_pads(length: int, start: int, count: int) -> None:
    padded = np.pad(np.arange(length), 200, mode="symmetric")
    assert np.array_equal(
        mirrored_indices(length, start, start + count), padded[200 + start : 200 + start + count]
    )


@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    origin=st.tuples(st.integers(-40, 45), st.integers(-40, 45)),
)
def test_a_mirrored_block_is_that_of_the_padded_scene(
    shape: tuple[int, int], origin: tuple[int, int]
) -> None:
    scene = np.random.default_rng(0).integers(0, 255, (2, *shape), dtype=np.uint8)

    def read(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        assert row >= 0
        assert row + height <= shape[0]
        part = scene[:, row : row + height, col : col + width]
        return part, part[0] > 100

    row, col = origin
    pixels, valid = read_mirrored(read, shape, (row, row + 23, col, col + 31))
    padded = np.pad(scene, ((0, 0), (100, 100), (100, 100)), mode="symmetric")[
        :, 100 + row : 123 + row, 100 + col : 131 + col
    ]
    assert np.array_equal(pixels, padded)
    assert np.array_equal(valid, padded[0] > 100)


@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    origin=st.tuples(st.integers(-40, 45), st.integers(-40, 45)),
)
def test_a_padded_block_is_that_of_the_padded_scene(
    shape: tuple[int, int], origin: tuple[int, int]
) -> None:
    scene = np.random.default_rng(0).integers(0, 255, (2, *shape), dtype=np.uint8)

    def read(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        part = scene[:, row : row + height, col : col + width]
        return part, part[0] > 100

    row, col = origin
    extent = (row, row + 23, col, col + 31)
    before = scene.copy()
    pixels, valid = read_padded(read, shape, extent, (7.0, 9.0))
    for band, value in enumerate((7, 9)):
        padded = np.pad(scene[band], 100, constant_values=value)
        assert np.array_equal(pixels[band], padded[100 + row : 123 + row, 100 + col : 131 + col])
    is_light = np.pad(scene[0] > 100, 100)
    assert np.array_equal(valid, is_light[100 + row : 123 + row, 100 + col : 131 + col])
    inside = np.pad(np.ones(shape, bool), 100)[100 + row : 123 + row, 100 + col : 131 + col]
    assert np.array_equal(outside_scene(shape, extent), ~inside)
    assert np.array_equal(scene, before)
    mirrored = read_padded(read, shape, extent, None)
    for one, other in zip(mirrored, read_mirrored(read, shape, extent), strict=True):
        assert np.array_equal(one, other)


@given(seed=st.integers(0, 1000), share=st.sampled_from([0.0, 0.0005, 0.01, 1.0]))
def test_seen_windows_hold_a_valid_pixel(seed: int, share: float) -> None:
    valid = np.random.default_rng(seed).random((97, 131)) < share
    seen = windows_with_data(valid, 64, 8)
    expected = [
        [valid[i * 8 : i * 8 + 64, j * 8 : j * 8 + 64].any() for j in range(9)] for i in range(5)
    ]
    assert np.array_equal(seen, expected)


@pytest.mark.parametrize(
    "bounds", [(0.0, 0.0, 40.0, 24.0), (-500, -500, 900, 900), (100, 60, 101, 61)]
)
def test_a_narrowed_block_holds_the_cells_whose_centers_are_inside(
    bounds: tuple[float, float, float, float],
) -> None:
    lattice = Lattice((200, 300), 64, 8)
    block = next(lattice.blocks((10_000, 10_000)))
    part = lattice.clip_block(block, bounds)
    rows = [i for i in range(*lattice.rows) if bounds[1] <= i * 8 + 32 <= bounds[3]]
    cols = [j for j in range(*lattice.cols) if bounds[0] <= j * 8 + 32 <= bounds[2]]
    assert (part is None) == (not rows or not cols)
    if part is not None:
        assert (part.row0, part.row1, part.col0, part.col1) == (
            rows[0],
            rows[-1] + 1,
            cols[0],
            cols[-1] + 1,
        )
