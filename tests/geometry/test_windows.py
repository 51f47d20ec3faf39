"""Blocks tile a grid without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.geometry.windows import block_windows


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 40), st.integers(1, 40))
def test_blocks_tile_the_grid_once(
    height: int, width: int, block_height: int, block_width: int
) -> None:
    seen = np.zeros((height, width), int)
    for row, col, rows, cols in block_windows((height, width), (block_height, block_width)):
        seen[row : row + rows, col : col + cols] += 1
    assert (seen == 1).all()


def test_a_block_of_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="at least 1 px a side"):
        list(block_windows((3, 3), (0, 4)))
