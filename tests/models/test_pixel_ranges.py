"""The ranges of training pixels leave out rare ones and those that are missing."""

from __future__ import annotations

import numpy as np

from windhover.models.pixel_ranges import measure_pixel_ranges


def test_rare_and_missing_pixels_do_not_count() -> None:
    pixels = np.random.default_rng(0).integers(100, 900, (2, 3, 160, 128)).astype(np.uint16)
    pixels[0, :, :40] = 0  # missing in every band
    pixels[1, 1, 0, 0] = 60_000  # one of 32,768
    ranges = measure_pixel_ranges([pixels[:1], pixels[1:]])
    assert ranges.bands[0] == (100, 899)
    assert ranges.bands[1][1] < 900


def test_a_band_of_one_value_has_a_range() -> None:
    ranges = measure_pixel_ranges([np.full((1, 2, 64, 70), 7, np.uint8)])
    assert ranges.bands == ((7, 8), (7, 8))
    nothing = measure_pixel_ranges([np.zeros((1, 2, 64, 70), np.uint8)])
    assert nothing.bands == ((0, 1), (0, 1))
