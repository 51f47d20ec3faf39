"""Parts spread evenly over a whole scene, of which statistics of it are computed.

What follows from them does not depend on the block being read, so that no block changes a score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError
from windhover.geometry.lattice import ReadBlock

SAMPLE_PX = 256  # side of a sampled part
SAMPLES_PER_SIDE = 7  # of a raster: three million pixels at most


def sampled_parts(
    read: ReadBlock, shape_hw: tuple[int, int]
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Yield pixels (C, h, w) as read and valid (h, w) of parts of a scene.

    Damaged parts are left out: the search reports the damage.

    Args:
        read: (row, col, height, width) -> pixels and valid.
        shape_hw: rows and columns of the scene, px.
    """
    height, width = (min(length, SAMPLE_PX) for length in shape_hw)
    for row in _sample_starts(shape_hw[0]):
        for col in _sample_starts(shape_hw[1]):
            try:
                pixels, valid = read(row, col, height, width)
            except FormatError:
                continue
            yield pixels, valid


def _sample_starts(length: int) -> list[int]:
    """Return the first px of sampled parts along an axis of `length` px."""
    count = min(SAMPLES_PER_SIDE, -(-length // SAMPLE_PX))
    starts = np.linspace(0, max(length - SAMPLE_PX, 0), count)
    return [round(start) for start in starts]
