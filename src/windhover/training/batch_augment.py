"""Augmentation of a batch on its device, new in every epoch: symmetries of the square, radiometry.

Each change is drawn from the generator it is given, so a batch depends on the seed and on nothing
else. What is costly or needs a library is done once by the `augment` stage. Interpolates nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from windhover.patches.pixel_value_range import ValueRange
from windhover.training.object_table import CLASS, HEIGHT, WIDTH, X, Y

LEAST_BLUR_PX = 0.25  # a smaller sigma changes nothing that can be seen
# highlights are darkened in soft regions of this side: a part of an object, not all of it
DARKENED_REGION_PX = 24
HIGHLIGHT_ABOVE_MEAN = 0.06  # share of the full range
LARGEST_DEVIATIONS = 2.5  # normal draws are cut off here
LEAST_LERP_WEIGHT = -1.0


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """How far pixels may be changed; each is a standard deviation, 0 switches it off.

    Attributes:
        brightness: of a shift of all bands, share of the full range.
        contrast: of the log of a factor about the image's mean.
        gamma: of the log of an exponent.
        per_band_gain: of the log of a factor of each band by itself.
        per_band_contrast: of a factor about each band's own mean, itself drawn up to this for each
            image. It may be 0 or invert a band, so that what was white on gray becomes colored or
            dark.
        highlight_darkening: how far what is brighter in a band than its mean is darkened, at most,
            in soft regions of some 24 px: 1 is down to the mean, 2 as far below it. Drawn for each
            image and band, so that what is white becomes colored or dark, and the ground stays.
        saturation: of a factor about the mean over the bands: 0 spread is gray.
        sharpness: of the weight of unsharp masking; below 0 it blurs.
        blur_px: largest sigma of a Gaussian blur, px; drawn as this times the square of a uniform
            number in 0..1, so that most images stay sharp and some resemble those of a coarser
            sensor or a hazy day.
        noise: of white noise, share of the full range; itself drawn uniformly up to this.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    per_band_gain: float = 0.0
    per_band_contrast: float = 0.0
    highlight_darkening: float = 0.0
    saturation: float = 0.0
    sharpness: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0


def random_d4(pixels: Tensor, objects: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Apply one of the eight symmetries of the square to each image and to its objects.

    Args:
        pixels: (B, C, S, S).
        objects: (B, 5) or (B, M, 5), relative to the image's center; columns of `object_table`.
        generator: on the CPU.
    """
    flags = torch.rand(3, len(pixels), generator=generator).to(pixels.device) < 0.5  # (3, B)
    flip_x, flip_y, transpose = flags
    per_image = (..., None, None, None)
    pixels = torch.where(flip_x[per_image], pixels.flip(3), pixels)
    pixels = torch.where(flip_y[per_image], pixels.flip(2), pixels)
    pixels = torch.where(transpose[per_image], pixels.transpose(2, 3), pixels)  # (B, C, S, S)

    per_object = (-1, *[1] * (objects.dim() - 2))
    flip_x = flip_x.view(per_object)
    flip_y = flip_y.view(per_object)
    transpose = transpose.view(per_object)
    x = torch.where(flip_x, -objects[..., X], objects[..., X])
    y = torch.where(flip_y, -objects[..., Y], objects[..., Y])
    width = objects[..., WIDTH]
    height = objects[..., HEIGHT]
    moved = torch.empty_like(objects)
    moved[..., CLASS] = objects[..., CLASS]
    moved[..., X] = torch.where(transpose, y, x)
    moved[..., Y] = torch.where(transpose, x, y)
    moved[..., WIDTH] = torch.where(transpose, height, width)
    moved[..., HEIGHT] = torch.where(transpose, width, height)
    return pixels, moved


def random_radiometry(
    pixels: Tensor, value_range: ValueRange, strength: Radiometry, generator: torch.Generator
) -> Tensor:
    """Change brightness, contrast, gamma, color, sharpness and noise of each image.

    Invalid pixels (0 in every band) stay 0.

    Args:
        pixels: (B, C, H, W) as read, any dtype.
        value_range: what counts as black and as white.
        strength: how far.
        generator: on the CPU.

    Returns:
        float32 (B, C, H, W), still in the units of the pixels as read.
    """
    low = torch.tensor(value_range.low, device=pixels.device)[:, None, None]  # (C, 1, 1)
    high = torch.tensor(value_range.high, device=pixels.device)[:, None, None]
    span = (high - low).clamp_min_(1e-6)  # a band without any spread stays as it is
    invalid = (pixels == 0).all(1, keepdim=True)  # (B, 1, H, W)
    # in place from here on: fresh memory for every change would cost a CPU more than the arithmetic
    x = ((pixels.to(torch.float32) - low) / span).contiguous(
        memory_format=torch.channels_last
    )  # (B, C, H, W)
    _change_sharpness_(x, strength, generator)
    _change_color_(x, strength, generator)
    _change_contrast_(x, invalid, strength, generator)
    _add_noise_(x, strength, generator)
    if pixels.dtype == torch.uint8:
        x.clamp_(0.0, 1.0)
    elif pixels.dtype == torch.uint16:
        x.clamp_min_(0.0)
    return x.mul_(span).add_(low).masked_fill_(invalid, 0.0)


def _change_sharpness_(x: Tensor, strength: Radiometry, generator: torch.Generator) -> None:
    """Sharpen or blur images (B, C, H, W) in place."""
    if strength.sharpness:
        weight = -_normal(x, strength.sharpness, generator).clamp_min_(LEAST_LERP_WEIGHT)
        x.lerp_(mean_filter_3x3(x), weight)
    if strength.blur_px:
        draws = torch.rand(len(x), generator=generator).square_()
        gaussian_blur_(x, strength.blur_px * draws)


def _change_color_(x: Tensor, strength: Radiometry, generator: torch.Generator) -> None:
    """Change gamma, saturation and the gain of each band of images (B, C, H, W) in place."""
    n_bands = x.shape[1]
    if strength.gamma:
        x.clamp_min_(1e-4).pow_(_normal(x, strength.gamma, generator).exp())
    if strength.saturation and n_bands > 1:
        gray = x.mean(1, keepdim=True)
        x.lerp_(gray, -_normal(x, strength.saturation, generator).clamp_min_(LEAST_LERP_WEIGHT))
    if strength.per_band_gain:
        x.mul_(_normal(x, strength.per_band_gain, generator, channels=n_bands).exp())


def _change_contrast_(
    x: Tensor, invalid: Tensor, strength: Radiometry, generator: torch.Generator
) -> None:
    """Change highlights, contrast and brightness of images (B, C, H, W) in place.

    Means are those of the valid pixels.
    """
    if strength.highlight_darkening:
        level = _band_means(x, invalid) + HIGHLIGHT_ABOVE_MEAN
        darken_highlights_(x, level, strength.highlight_darkening, generator)
    if strength.per_band_contrast:
        draws = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device)
        spread = draws * strength.per_band_contrast
        change = _normal(x, 1.0, generator, channels=x.shape[1]) * spread
        mean = _band_means(x, invalid)
        x.mul_(1 + change).sub_(mean * change)
    if strength.contrast or strength.brightness:
        factor = _normal(x, strength.contrast, generator).exp()
        mean = _band_means(x, invalid).mean(1, keepdim=True)
        shift = mean * (1 - factor) + _normal(x, strength.brightness, generator)
        x.mul_(factor).add_(shift)


def _add_noise_(x: Tensor, strength: Radiometry, generator: torch.Generator) -> None:
    """Add white noise of a strength drawn for each image (B, C, H, W), in place."""
    if strength.noise:
        draws = torch.rand(len(x), 1, 1, 1, generator=generator).to(x.device)
        level = draws * strength.noise
        x.addcmul_(_white_noise_like(x, generator), level)


def _normal(
    like: Tensor, spread: float, generator: torch.Generator, *, channels: int = 1
) -> Tensor:
    """Return normal draws of a spread for each image, (B, channels, 1, 1), cut off at 2.5."""
    draws = torch.randn(len(like), channels, 1, 1, generator=generator)
    draws = draws.clamp_(-LARGEST_DEVIATIONS, LARGEST_DEVIATIONS) * spread
    return draws.to(like.device)


def _band_means(x: Tensor, invalid: Tensor) -> Tensor:
    """Return the mean of each band over the valid pixels, (B, C, 1, 1)."""
    n_valid = (~invalid).sum((2, 3), keepdim=True).clamp_min(1)  # (B, 1, 1, 1)
    return x.masked_fill(invalid, 0.0).sum((2, 3), keepdim=True) / n_valid


def gaussian_blur_(pixels: Tensor, sigma_px: Tensor) -> None:
    """Blur each image in place by a Gaussian of its own, mirrored at the border.

    Images of a sigma below 0.25 px stay as they are.

    Args:
        pixels: (B, C, H, W) float.
        sigma_px: (B,) on the CPU.
    """
    rows = torch.nonzero(sigma_px >= LEAST_BLUR_PX)[:, 0]
    if not len(rows):
        return
    sigma = sigma_px[rows, None]
    radius = int((2.5 * sigma.max()).ceil())
    taps = (-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2).exp()  # (N, K)
    n_bands = pixels.shape[1]
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(n_bands, 0)
    taps = taps.to(pixels)  # (N * C, K)
    rows = rows.to(pixels.device)
    planes = pixels[rows].flatten(0, 1)[None]  # (1, N * C, H, W)
    # pixels have more digits than half precision holds
    with torch.autocast(pixels.device.type, enabled=False):
        planes = F.pad(planes, (0, 0, radius, radius), "reflect")
        planes = F.conv2d(planes, taps[:, None, :, None], groups=len(taps))
        planes = F.pad(planes, (radius, radius, 0, 0), "reflect")
        planes = F.conv2d(planes, taps[:, None, None, :], groups=len(taps))
    pixels[rows] = planes.view(-1, n_bands, *planes.shape[2:])


def mean_filter_3x3(x: Tensor) -> Tensor:
    """Return the mean of each pixel and its neighbors, of which a border has fewer.

    As `avg_pool2d` does, four times faster on few bands with channels last.

    Args:
        x: (B, C, H, W) float.
    """
    total = x
    for axis in (2, 3):
        last = total.shape[axis] - 1
        summed = total.clone()
        summed.narrow(axis, 1, last).add_(total.narrow(axis, 0, last))
        summed.narrow(axis, 0, last).add_(total.narrow(axis, 1, last))
        total = summed
    weights = []
    for side in x.shape[2:]:
        weight = torch.full((side,), 1 / 3, device=x.device)
        weight[0] = 1 / 2
        weight[-1] = 1 / 2
        weights.append(weight)
    by_row, by_col = weights
    return total.mul_(by_row[:, None] * by_col)


def darken_highlights_(
    x: Tensor, level: Tensor, strength: float, generator: torch.Generator
) -> None:
    """Darken in place, in soft regions, what is above a level, by up to `strength` times as much.

    Args:
        x: (B, C, H, W) float.
        level: (B, C, 1, 1), where highlights begin.
        strength: drawn uniformly up to this for each image, and up to that for each band.
        generator: on the CPU.
    """
    batch, n_bands = x.shape[:2]
    of_image = torch.rand(batch, 1, 1, 1, generator=generator)
    of_band = torch.rand(batch, n_bands, 1, 1, generator=generator)
    share = of_image * of_band
    grid_hw = [math.ceil(side / DARKENED_REGION_PX) + 1 for side in x.shape[2:]]
    coarse = torch.rand(batch, 1, *grid_hw, generator=generator)
    mask = F.interpolate(coarse, x.shape[2:], mode="bilinear")
    # (B, 1, H, W): half of it clear, with soft borders
    mask = mask.mul_(4).sub_(1.5).clamp_(0, 1).to(x.device)
    x.addcmul_((x - level).clamp_min_(0).mul_(mask), share.to(x.device), value=-strength)


def _white_noise_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal noise of the shape of `x`, drawn on its device."""
    if x.device.type != "cpu":
        seed = int(torch.randint(2**62, (), generator=generator))
        generator = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(x.shape, generator=generator, device=x.device).to(x)
