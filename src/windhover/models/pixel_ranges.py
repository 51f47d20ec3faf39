"""Ranges of the pixels that a model learned from; plain data for its card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# share of the pixels that may be left out at either end: a few are broken
RARE_SHARE = 1e-4


@dataclass(frozen=True)
class PixelRanges:
    """Ranges of the pixels of training pictures.

    Attributes:
        bands: lowest and highest pixel of each band, as read.
        maps: highest number after each layer, in cards of earlier versions, which computed in 8-bit
            integers by them; empty since.
    """

    bands: tuple[tuple[float, float], ...]
    maps: tuple[float, ...] = ()


def measure_pixel_ranges(pictures: Sequence[NDArray[np.generic]]) -> PixelRanges:
    """Return the ranges of the pixels of pictures, rare ones at both ends left out.

    Pixels that are 0 in every band are missing, and do not count.

    Args:
        pictures: (B, C, H, W) each, pixels as read.
    """
    pixels = np.concatenate(
        [np.moveaxis(part, 1, -1).reshape(-1, part.shape[1]) for part in pictures]
    )  # (N, C)
    pixels = pixels[pixels.any(axis=1)]
    return PixelRanges(tuple(_clipped_range(values) for values in pixels.T))


def _clipped_range(values: NDArray[np.generic]) -> tuple[float, float]:
    """Return the lowest and highest value of one band, rare ones at both ends left out."""
    if not len(values):
        return 0.0, 1.0
    n_rare = int(RARE_SHARE * len(values))
    low = float(np.partition(values, n_rare)[n_rare])
    high = float(np.partition(values, -1 - n_rare)[-1 - n_rare])
    return low, max(high, low + 1.0)
