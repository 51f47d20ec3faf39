"""Changes of a batch on its device, new in every epoch: the eight symmetries of the square, and
light radiometry.

Each change is drawn from the generator it is given, so a batch depends on the seed and on nothing
else. What is costly or needs a library is done once by the `augment` stage. Interpolates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SYMMETRIES = 8
LEAST_BLUR_PX = 0.25  # below it a blur changes nothing that can be seen
SPOT_PX = (
    24  # side of the spots in which highlights are changed: a part of an object, not all of it
)
HIGHLIGHT_ABOVE_MEAN = 0.06  # share of the full range


@dataclass(frozen=True, kw_only=True)
class Radiometry:
    """How far pixels may be changed; each is a standard deviation, 0 switches it off.

    Attributes:
        brightness: of a shift of all bands, share of the full range.
        contrast: of the log of a factor about the picture's mean.
        gamma: of the log of an exponent.
        per_band_gain: of the log of a factor of each band by itself.
        per_band_contrast: of a factor about each band's own mean, itself drawn up to this for each
            picture. It may be 0 or turn a band over, so that what was white on grey becomes
            coloured or dark.
        highlights: how far what is brighter in a band than its mean is darkened, at most, in
            soft spots of some 24 px: 1 is down to the mean, 2 as far below it. Drawn for each
            picture and band, so that what is white becomes coloured or dark, and the ground stays.
        saturation: of a factor about the mean over the bands: 0 spread is grey.
        sharpness: of the weight of unsharp masking; below 0 it blurs.
        blur_px: largest sigma of a Gaussian blur, px; drawn as this times the square of an even
            number in 0..1, so that most pictures stay sharp and some look as a coarser sensor or a
            hazy day would show them.
        noise: of white noise, share of the full range; itself drawn evenly up to this.
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


def turn(pixels: Tensor, objects: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn and mirror each square picture of a batch, and what is known of its objects with it.

    Args:
        pixels: (B, C, S, S).
        objects: (B, ..., 5) float: class, x and y relative to the picture's centre, width, height.
        generator: on the CPU.
    """
    across, down, swap = (
        torch.rand(3, len(pixels), generator=generator).to(pixels.device) < 0.5
    )  # each (B,)
    cell = (..., None, None, None)
    pixels = torch.where(across[cell], pixels.flip(3), pixels)
    pixels = torch.where(down[cell], pixels.flip(2), pixels)
    pixels = torch.where(swap[cell], pixels.transpose(2, 3), pixels)  # (B, C, S, S)
    across, down, swap = (
        flag.view(-1, *[1] * (objects.dim() - 2)) for flag in (across, down, swap)
    )
    kind, x, y, width, height = objects.unbind(-1)
    x, y = torch.where(across, -x, x), torch.where(down, -y, y)
    x, y = torch.where(swap, y, x), torch.where(swap, x, y)
    width, height = torch.where(swap, height, width), torch.where(swap, width, height)
    return pixels, torch.stack([kind, x, y, width, height], -1)


class ValueRange(NamedTuple):
    """What counts as black and as white in each band, in units of the pixels as read."""

    low: tuple[float, ...]  # one for each band
    high: tuple[float, ...]


def value_range(dtype: str, mean: Sequence[float], std: Sequence[float]) -> ValueRange:
    """Return the range that radiometry is changed in: bytes have their own, others six deviations
    about their mean.

    Numbers that cannot be negative begin at 0 and share one white, so that a factor on them is one
    on the light; of signed ones and of floats (dB, elevation, an index) each band has a range of
    its own.
    """
    bands = len(mean)
    if dtype == "uint8":
        return ValueRange((0.0,) * bands, (255.0,) * bands)
    high = [m + 6 * s for m, s in zip(mean, std, strict=True)]
    if dtype == "uint16":
        return ValueRange((0.0,) * bands, (max(high),) * bands)
    low = [m - 6 * s for m, s in zip(mean, std, strict=True)]
    return ValueRange(tuple(low), tuple(high))


def blur_(pixels: Tensor, sigma_px: Tensor) -> None:
    """Blur each picture in place by a Gaussian of its own, mirrored at the border; below 0.25 px it
    stays as it is.

    Args:
        pixels: (B, C, H, W) float.
        sigma_px: (B,) on the CPU.
    """
    which = torch.nonzero(sigma_px >= LEAST_BLUR_PX)[:, 0]
    if not len(which):
        return
    sigma = sigma_px[which, None]
    reach = int((2.5 * sigma.max()).ceil())
    taps = (-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).exp()  # (N, K)
    bands = pixels.shape[1]
    taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(bands, 0).to(pixels)  # (N * C, K)
    part = pixels[which.to(pixels.device)].flatten(0, 1)[None]  # (1, N * C, H, W)
    with torch.autocast(
        pixels.device.type, enabled=False
    ):  # pixels have more digits than half precision holds
        part = F.conv2d(
            F.pad(part, (0, 0, reach, reach), "reflect"), taps[:, None, :, None], groups=len(taps)
        )
        part = F.conv2d(
            F.pad(part, (reach, reach, 0, 0), "reflect"), taps[:, None, None, :], groups=len(taps)
        )
    pixels[which.to(pixels.device)] = part.view(-1, bands, *part.shape[2:])


def mean_of_nine(x: Tensor) -> Tensor:
    """Return the mean of each pixel and its neighbours, of which a border has fewer; pictures (B,
    C, H, W) float.

    As `avg_pool2d` does, four times faster on few bands with channels last.
    """
    total = x
    for along in (2, 3):
        last = total.shape[along] - 1
        summed = total.clone()
        summed.narrow(along, 1, last).add_(total.narrow(along, 0, last))
        summed.narrow(along, 0, last).add_(total.narrow(along, 1, last))
        total = summed
    shares = []
    for side in x.shape[2:]:
        share = torch.full((side,), 1 / 3, device=x.device)
        share[0] = share[-1] = 1 / 2
        shares.append(share)
    return total.mul_(shares[0][:, None] * shares[1])


def darken_highlights_(
    x: Tensor, level: Tensor, strength: float, generator: torch.Generator
) -> None:
    """Darken in place, in soft spots, what is above a level: by up to `strength` times its height
    over it.

    Args:
        x: (B, C, H, W) float.
        level: (B, C, 1, 1), where highlights begin.
        strength: drawn evenly up to this for each picture, and up to that for each band.
        generator: on the CPU.
    """
    batch, bands = x.shape[:2]
    share = torch.rand(batch, 1, 1, 1, generator=generator) * torch.rand(
        batch, bands, 1, 1, generator=generator
    )
    cells = [math.ceil(side / SPOT_PX) + 1 for side in x.shape[2:]]
    spots = F.interpolate(
        torch.rand(batch, 1, *cells, generator=generator), x.shape[2:], mode="bilinear"
    )
    spots = (
        spots.mul_(4).sub_(1.5).clamp_(0, 1).to(x.device)
    )  # (B, 1, H, W): half of them clear, with soft borders
    x.addcmul_((x - level).clamp_min_(0).mul_(spots), share.to(x.device), value=-strength)


def change_radiometry(
    pixels: Tensor, between: ValueRange, strength: Radiometry, generator: torch.Generator
) -> Tensor:
    """Change brightness, contrast, gamma, colour, sharpness and noise of each picture; invalid
    pixels stay 0.

    Args:
        pixels: (B, C, H, W) as read, any dtype.
        between: what counts as black and as white.
        strength: how far.
        generator: on the CPU.

    Returns:
        float32 (B, C, H, W), still in the units of the pixels as read.
    """
    batch, bands = pixels.shape[:2]

    def normal(spread: float, channels: int = 1) -> Tensor:
        drawn = torch.randn(batch, channels, 1, 1, generator=generator).clamp_(-2.5, 2.5) * spread
        return drawn.to(pixels.device)

    invalid = (pixels == 0).all(1, keepdim=True)  # (B, 1, H, W)
    # in place from here on: fresh memory for every change would cost a CPU more than the arithmetic
    low, high = (
        torch.tensor(side, device=pixels.device)[:, None, None] for side in between
    )  # (C, 1, 1)
    span = (high - low).clamp_min_(1e-6)  # a band without any spread stays as it is
    x = ((pixels.to(torch.float32) - low) / span).contiguous(
        memory_format=torch.channels_last
    )  # (B, C, H, W)
    seen = (~invalid).sum((2, 3), keepdim=True).clamp_min(1)  # (B, 1, 1, 1)

    def means() -> Tensor:
        """Return the mean of each band over the valid pixels, (B, C, 1, 1)."""
        return x.masked_fill(invalid, 0.0).sum((2, 3), keepdim=True) / seen

    if strength.sharpness:
        x.lerp_(mean_of_nine(x), -normal(strength.sharpness).clamp_min_(-1.0))
    if strength.blur_px:
        blur_(x, strength.blur_px * torch.rand(batch, generator=generator).square_())
    if strength.gamma:
        x.clamp_min_(1e-4).pow_(normal(strength.gamma).exp())
    if strength.saturation and bands > 1:
        x.lerp_(x.mean(1, keepdim=True), -normal(strength.saturation).clamp_min_(-1.0))
    if strength.per_band_gain:
        x.mul_(normal(strength.per_band_gain, bands).exp())
    if strength.highlight_darkening:
        darken_highlights_(x, means() + HIGHLIGHT_ABOVE_MEAN, strength.highlight_darkening, generator)
    if strength.per_band_contrast:
        level = (
            torch.rand(batch, 1, 1, 1, generator=generator).to(x.device) * strength.per_band_contrast
        )
        change, mean = normal(1.0, bands) * level, means()
        x.mul_(1 + change).sub_(mean * change)
    if strength.contrast or strength.brightness:
        factor, mean = normal(strength.contrast).exp(), means().mean(1, keepdim=True)
        x.mul_(factor).add_(mean * (1 - factor) + normal(strength.brightness))
    if strength.noise:
        level = torch.rand(batch, 1, 1, 1, generator=generator).to(x.device) * strength.noise
        x.addcmul_(_white(x, generator), level)
    if pixels.dtype == torch.uint8:
        x.clamp_(0.0, 1.0)
    elif pixels.dtype == torch.uint16:
        x.clamp_min_(0.0)
    return x.mul_(span).add_(low).masked_fill_(invalid, 0.0)


def _white(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return white noise like `x`, drawn where it lies."""
    if x.device.type != "cpu":
        seed = int(torch.randint(2**62, (), generator=generator))
        generator = torch.Generator(x.device).manual_seed(seed)
    return torch.randn(x.shape, generator=generator, device=x.device).to(x)
