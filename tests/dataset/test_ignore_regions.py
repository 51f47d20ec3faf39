"""Silent ground: its windows, and no other, lie in the boxes that training crops carry."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from windhover.dataset.ignore_regions import silent_boxes


@pytest.mark.parametrize("seed", range(20))
def test_boxes_of_silence_hold_the_silent_windows_and_no_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    silent = shapely.union_all(
        [shapely.box(*low, *(low + size)) for low, size in random.uniform(0, 90, (4, 2, 2))]
    )
    side, left, top = int(64 + 8 * random.integers(0, 12)), 7, -13
    boxes = silent_boxes(silent, left, top, side, 8)
    centers = np.arange(32.0, side - 31.0, 8) - side / 2
    x, y = np.meshgrid(centers, centers)
    held = np.zeros(x.shape, int)
    for col, row, width, height in boxes:
        held += (np.abs(x - col) <= width / 2) & (np.abs(y - row) <= height / 2)
    expected = shapely.contains_xy(silent, x + side / 2 + left, y + side / 2 + top)
    assert np.array_equal(held, expected.astype(int))
    assert len(boxes) <= 40, "few boxes, however many windows"
