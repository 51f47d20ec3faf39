"""Windows cover every pixel; blocks tile without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.geometry.windows import blocks, count_windows, starts_px


@given(st.integers(1, 400), st.integers(1, 64), st.data())
def test_windows_cover_every_pixel_and_stay_inside(
    length: int, window: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, window))
    starts = starts_px(length, window, stride)
    covered = np.zeros(max(length, window), bool)
    for start in starts:
        covered[start : start + window] = True
    assert covered[:length].all()
    assert (np.diff(starts) > 0).all()
    assert starts[0] == 0
    assert starts[-1] == max(length - window, 0)


def test_a_stride_beyond_the_window_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"must be in 1\.\.64 px \(the window\), got 128 px"):
        starts_px(500, 64, 128)


def test_count_of_windows_is_that_of_the_dense_pass() -> None:
    assert count_windows((512, 512), 64, 8) == 3249
    assert count_windows((63, 512), 64, 8) == 0


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 40), st.integers(1, 40))
def test_blocks_tile_the_grid_once(
    height: int, width: int, block_height: int, block_width: int
) -> None:
    seen = np.zeros((height, width), int)
    for row, col, rows, cols in blocks((height, width), (block_height, block_width)):
        seen[row : row + rows, col : col + cols] += 1
    assert (seen == 1).all()


def test_a_block_of_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="at least 1 px a side"):
        list(blocks((3, 3), (0, 4)))
