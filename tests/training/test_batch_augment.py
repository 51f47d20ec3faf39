"""Changes on the device: symmetries carry their objects, radiometry stays in range and leaves
nodata alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from windhover.patches.pixel_value_range import value_range
from windhover.training.batch_augment import (
    Radiometry,
    gaussian_blur_,
    mean_filter_3x3,
    random_d4,
    random_radiometry,
)

STRONG = Radiometry(
    brightness=0.1,
    contrast=0.3,
    gamma=0.3,
    per_band_gain=0.1,
    per_band_contrast=0.3,
    saturation=0.5,
    sharpness=0.05,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_lit_pixel(x: int, y: int, side: int = 9) -> torch.Tensor:
    image = torch.zeros(1, 1, side, side)
    image[0, 0, y, x] = 1
    return image


def test_a_marked_pixel_and_its_coordinates_move_together() -> None:
    side = 9
    pixels = one_lit_pixel(6, 1).repeat(64, 1, 1, 1)
    objects = torch.tensor([0.0, 6.5 - side / 2, 1.5 - side / 2, 4.0, 2.0]).repeat(64, 1)
    moved, moved_objects = random_d4(pixels, objects, generator(0))
    places = moved.flatten(1).argmax(1)
    assert torch.equal(moved_objects[:, 1] + side / 2 - 0.5, (places % side).float())
    assert torch.equal(moved_objects[:, 2] + side / 2 - 0.5, (places // side).float())
    assert len(places.unique()) == 8
    swapped = moved_objects[:, 3] == 2
    assert swapped.any()
    assert not swapped.all()
    assert torch.equal(moved_objects[swapped, 4], torch.full_like(moved_objects[swapped, 4], 4.0))


def test_large_patches_carry_every_object() -> None:
    objects = torch.randn(5, 3, 5)
    _, moved = random_d4(torch.zeros(5, 2, 8, 8), objects, generator(1))
    assert moved.shape == objects.shape
    assert torch.allclose(
        moved[..., 1:3].abs().sort(-1).values, objects[..., 1:3].abs().sort(-1).values
    )


def test_the_same_seed_gives_the_same_change_and_another_another() -> None:
    pixels = torch.randint(1, 255, (4, 3, 16, 16), dtype=torch.uint8, generator=generator(0))
    first, again, other = (
        random_radiometry(
            pixels,
            value_range("uint8", [0.0] * pixels.shape[1], [1.0] * pixels.shape[1]),
            STRONG,
            generator(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_values_stay_in_range_and_nodata_stays_nodata() -> None:
    pixels = torch.randint(1, 255, (8, 4, 16, 16), dtype=torch.uint8, generator=generator(0))
    pixels[:, :, :4] = 0
    changed = random_radiometry(
        pixels,
        value_range("uint8", [0.0] * pixels.shape[1], [1.0] * pixels.shape[1]),
        STRONG,
        generator(3),
    )
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    assert bool((changed[:, :, :4] == 0).all())


def test_no_strength_changes_nothing() -> None:
    pixels = torch.randint(0, 4000, (2, 1, 8, 8)).to(torch.uint16)
    assert torch.allclose(
        random_radiometry(
            pixels,
            value_range("uint16", [500.0] * pixels.shape[1], [100.0] * pixels.shape[1]),
            Radiometry(),
            generator(0),
        ),
        pixels.float(),
    )


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_pixels_below_zero_keep_their_contrast(dtype: str) -> None:
    """Decibels are negative throughout; elevation and an index beside them have ranges of their
    own.
    """
    mean, std = [-1000.0, 300.0], [300.0, 40.0]
    noise = torch.randn((6, 2, 32, 24), generator=generator(4))
    pixels = (noise * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]).to(
        getattr(torch, dtype)
    )
    mild = Radiometry(brightness=0.02, contrast=0.1, gamma=0.1, per_band_gain=0.02, noise=0.005)
    changed = random_radiometry(pixels, value_range(dtype, mean, std), mild, generator(5))
    assert changed.isfinite().all()
    ratio = changed.std((2, 3)) / pixels.float().std((2, 3))
    assert ((ratio > 0.5) & (ratio < 2.0)).all()


def test_missing_pixels_do_not_move_the_others() -> None:
    """Half of a image is missing: what is left is changed as if it stood alone."""
    left = torch.randint(60, 200, (5, 3, 16, 8), dtype=torch.uint8, generator=generator(6))
    pixels = torch.cat([left, torch.zeros_like(left)], 3)
    strength, between = (
        Radiometry(per_band_contrast=1.0, contrast=0.3),
        value_range("uint8", [0.0] * 3, [1.0] * 3),
    )
    alone, beside = (
        random_radiometry(each, between, strength, generator(7)) for each in (left, pixels)
    )
    assert torch.allclose(alone, beside[..., :8], atol=1e-2)
    assert not beside[..., 8:].any()


def test_a_band_without_spread_stays_a_number() -> None:
    pixels = torch.full((3, 2, 16, 12), 1000.0)
    changed = random_radiometry(
        pixels, value_range("float32", [1000.0, 1000.0], [1e-6, 1e-6]), STRONG, generator(8)
    )
    assert torch.allclose(changed, pixels, rtol=1e-3)


def test_blur_is_the_gaussian_of_each_images_own_sigma() -> None:
    """Against scipy's; images below the least sigma keep their bytes."""
    images = torch.rand(4, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    sigma = torch.tensor([0.0, 0.2, 0.9, 2.0])
    blurred = images.clone()
    with torch.autocast("cpu", torch.bfloat16):  # as in training: the pixels keep their digits
        gaussian_blur_(blurred, sigma)
    assert torch.equal(blurred[:2], images[:2])
    for row in (2, 3):
        for band in range(3):
            expected = gaussian_filter(
                images[row, band].numpy(), float(sigma[row]), mode="mirror", radius=5
            )
            assert np.abs(blurred[row, band].numpy() - expected).max() < 1e-6


def test_most_images_stay_sharp_under_blur() -> None:
    images = torch.randint(
        1, 255, (64, 3, 24, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    between = value_range("uint8", [0.0] * 3, [1.0] * 3)
    made = random_radiometry(
        images, between, Radiometry(blur_px=2.0), torch.Generator().manual_seed(2)
    )
    kept = (made - images).abs().amax((1, 2, 3)) < 1e-3
    assert 0.2 < float(kept.float().mean()) < 0.6
    assert torch.allclose(made.mean((2, 3)), images.float().mean((2, 3)), atol=6.0)


def test_highlights_darken_what_is_bright_and_leave_the_ground() -> None:
    """White squares on grey: no ground pixel moves, no white one gets brighter, some become
    colored, some dark.
    """
    images = torch.full((200, 3, 40, 56), 100, dtype=torch.uint8)
    white = torch.zeros(40, 56, dtype=torch.bool)
    white[12:28, 20:36] = True
    images[..., white] = 230
    between, strength = (
        value_range("uint8", [0.0] * 3, [1.0] * 3),
        Radiometry(highlight_darkening=3.0),
    )
    changed = random_radiometry(images, between, strength, generator(1))
    assert torch.allclose(changed[..., ~white], images[..., ~white].float(), atol=1e-3)
    bright = changed[..., white]  # (200, 3, n)
    assert bright.max() <= 230.001
    assert (bright.amin((1, 2)) < 90).float().mean() > 0.15, "darker than the ground"
    assert ((bright.amax(1) - bright.amin(1)).amax(1) > 60).float().mean() > 0.3, "colored"
    assert (bright.amin((1, 2)) > 200).float().mean() > 0.05, "some hardly change"


def test_the_mean_of_nine_is_the_pool_of_torch() -> None:
    images = torch.rand(3, 2, 17, 23, generator=generator(1)).contiguous(
        memory_format=torch.channels_last
    )
    expected = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(mean_filter_3x3(images), expected, atol=1e-6)
