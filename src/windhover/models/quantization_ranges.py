"""Ranges of a network's numbers, by which it is brought to 8-bit integers; plain data."""

from __future__ import annotations

from dataclasses import dataclass

MAX_UINT8 = 255  # largest value of a feature map in 8 bits; the smallest is 0


@dataclass(frozen=True)
class QuantizationRanges:
    """Ranges of pixels and feature maps on training pictures; values beyond are clipped."""

    bands: tuple[tuple[float, float], ...]  # lowest and highest pixel of each band, as read
    maps: tuple[float, ...]  # highest number after each ReLU of the trunk, in order

    @property
    def is_uint8(self) -> bool:
        """Whether pixels are bytes already, so that none is rounded or clipped."""
        return all(tuple(pair) == (0.0, float(MAX_UINT8)) for pair in self.bands)
