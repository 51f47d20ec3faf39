"""The value range of pixels: what counts as black and as white in each band.

Augmentation works on pixels scaled to 0..1 between the two; the offline transforms of the augment
stage and the augmentation of batches in training share this one definition. Reads no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

DEVIATIONS = 6.0  # half the range of 16-bit and float pixels, in standard deviations


@dataclass(frozen=True)
class ValueRange:
    """Black and white of each band, in units of the pixels as read.

    Attributes:
        low: (C,) black.
        high: (C,) white.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]


def value_range(dtype: DTypeLike, mean: Sequence[float], std: Sequence[float]) -> ValueRange:
    """Return the value range of pixels of a number type with the statistics of the patches.

    * uint8: 0 to 255 in every band.
    * uint16: counts of light. 0 is no light in every band, and all bands share one white, six
      standard deviations above the mean of the brightest band. A change by a share of the range
      is then the same amount of light in every band, as it is for uint8: it brightens or darkens
      a picture and does not tint it.
    * signed and float pixels (decibels, elevation, an index) have no common zero: six standard
      deviations on both sides of the mean of each band.

    Args:
        dtype: of the pixels as read.
        mean: (C,) of each band over the training patches.
        std: (C,) of each band over the training patches.
    """
    n_bands = len(mean)
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return _shared_range(255.0, n_bands)
    middle = np.asarray(mean, np.float64)
    half = DEVIATIONS * np.asarray(std, np.float64)
    high = middle + half
    if dtype == np.uint16:
        return _shared_range(float(high.max()), n_bands)
    return ValueRange(_as_float32(middle - half), _as_float32(high))


def _shared_range(white: float, n_bands: int) -> ValueRange:
    """Return black at 0 and the same white for all bands."""
    return ValueRange(np.zeros(n_bands, np.float32), np.full(n_bands, white, np.float32))


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32)
