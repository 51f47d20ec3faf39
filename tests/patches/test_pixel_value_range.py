"""The value range: bytes have their own, counts of light share black and white, others do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from windhover.patches.albumentations_pipeline import augment_patch, build_transforms
from windhover.patches.pixel_value_range import value_range
from windhover.training.batch_augment import Radiometry, random_radiometry

MEAN = [400.0, 900.0, 2500.0]  # of a multispectral scene: blue is dark, near infrared bright
STD = [60.0, 150.0, 500.0]


def test_bytes_range_over_their_type() -> None:
    found = value_range("uint8", MEAN, STD)
    assert found.low.tolist() == [0.0, 0.0, 0.0]
    assert found.high.tolist() == [255.0, 255.0, 255.0]


def test_counts_of_light_share_black_and_white() -> None:
    found = value_range(np.uint16, MEAN, STD)
    assert found.low.tolist() == [0.0, 0.0, 0.0]
    assert found.high.tolist() == [5500.0, 5500.0, 5500.0]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_signed_and_float_bands_have_ranges_of_their_own(dtype: str) -> None:
    found = value_range(dtype, [-12.0, 300.0], [2.0, 40.0])
    assert found.low.tolist() == [-24.0, 60.0]
    assert found.high.tolist() == [0.0, 540.0]


def test_offline_and_batch_augmentation_shift_light_alike_in_all_bands() -> None:
    """A shift of brightness is the same number of counts in every band, and no bright pixel of a
    dark band is cut off.
    """
    limits = value_range("uint16", MEAN, STD)
    bright_in_first_band = np.array([1200, 1500, 2500], np.uint16)
    pixels = np.tile(bright_in_first_band, (8, 10, 1))
    brighter = build_transforms(
        [{"name": "RandomBrightnessContrast", "brightness_limit": [0.1, 0.1],
          "contrast_limit": [0.0, 0.0], "p": 1.0}], 3
    )  # fmt: skip
    record = {"dx_px": np.nan, "dy_px": np.nan, "w_px": np.nan, "h_px": np.nan}
    picture, _, _ = augment_patch(pixels, record, brighter, scale=limits)
    shift = picture.astype(float) - pixels
    assert np.ptp(shift) <= 1.0, "no tint"
    assert shift[0, 0, 0] == pytest.approx(550, abs=1)

    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].repeat(4, 1, 1, 1)
    changed = random_radiometry(
        batch, limits, Radiometry(brightness=0.1), torch.Generator().manual_seed(0)
    )
    shifts = (changed - batch).amax((2, 3))
    assert torch.allclose(shifts, shifts[:, :1].expand_as(shifts), atol=1.0)
