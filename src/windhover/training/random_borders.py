"""Borders of scenes drawn at random through training images, so that borders are learned anywhere.

A scene has few objects at its borders, and an image delivered in small tiles has little else. Each
axis of an image ends, with some probability, at a border: what is beyond holds the padding value,
as in a search. An object keeps its label wherever its center is, and its offset leads there; one of
which no quarter is left beyond its center is background.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from windhover.geometry.windows import STRIDE_PX, WINDOW_PX
from windhover.training.object_table import CENTER_XY, CLASS, PAD, SIZE_WH
from windhover.training.targets import Targets

# the lattice of a search has centers up to this far outside the scene
OUTSIDE_PX = STRIDE_PX // 2
# an object whose center is farther outside than this share of its size is not shown
LARGEST_HIDDEN_SHARE = 0.25


class Borders(NamedTuple):
    """Where the scene of each image begins and ends, px from the image's center; inf for nowhere.

    Attributes:
        low_xy: (B, 2) x of the left border and y of the upper one.
        high_xy: (B, 2) x of the right border and y of the lower one.
    """

    low_xy: Tensor
    high_xy: Tensor

    def hidden_px(self, xy: Tensor) -> Tensor:
        """Return how far points (B, ..., 2) are outside along each axis; below 0 inside."""
        shape = (len(self.low_xy), *[1] * (xy.dim() - 2), 2)
        return torch.maximum(self.low_xy.view(shape) - xy, xy - self.high_xy.view(shape))


def draw_borders(
    n_images: int, side_px: int, prob: float, generator: torch.Generator, *, device: torch.device
) -> Borders:
    """Draw at which borders images end; a window is left in each.

    Args:
        n_images: number of images.
        side_px: their side.
        prob: of a border across each axis.
        generator: on the CPU.
        device: of the result.
    """
    half = side_px // 2
    farthest = half - WINDOW_PX // 2 + OUTSIDE_PX  # from the center, so that a window is left
    draws = torch.rand(3, n_images, 2, generator=generator)
    position = (draws[0] * (farthest + half)).floor() - (half - 1)  # (B, 2)
    has_border = draws[1] < prob
    is_low = draws[2] < 0.5
    low = torch.where(has_border & is_low, position, -torch.inf)
    high = torch.where(has_border & ~is_low, -position, torch.inf)
    return Borders(low.to(device), high.to(device))


def pad_beyond(pixels: Tensor, borders: Borders, padding_value: tuple[float, ...]) -> Tensor:
    """Return images (B, C, S, S) with the padding value of each band beyond their borders."""
    side = pixels.shape[-1]
    position = torch.arange(side, device=pixels.device) + 0.5 - side / 2
    along_axes = position[None, :, None].expand(len(pixels), -1, 2)  # (B, S, 2)
    is_hidden = borders.hidden_px(along_axes) > 0
    outside = is_hidden[:, None, :, None, 1] | is_hidden[:, None, None, :, 0]  # (B, 1, S, S)
    value = torch.tensor(padding_value, device=pixels.device).to(pixels.dtype)
    return torch.where(outside, value[:, None, None], pixels)


def drop_hidden_objects(objects: Tensor, borders: Borders) -> Tensor:
    """Return objects (B, 5) or (B, M, 5) without those whose center is too far outside.

    Of unknown size, any center outside is too far.
    """
    largest = LARGEST_HIDDEN_SHARE * objects[..., SIZE_WH].nan_to_num(0.0)
    is_hidden = (borders.hidden_px(objects[..., CENTER_XY]) > largest).any(-1)
    kept = objects.clone()
    is_dropped = is_hidden & (objects[..., CLASS] >= 0)
    kept[..., CLASS] = torch.where(is_dropped, PAD, objects[..., CLASS])
    return kept


def ignore_windows_beyond(targets: Targets, borders: Borders, *, stride_px: int) -> Targets:
    """Return targets without windows centered beyond a border, which no search has."""
    height, width = targets.weights.shape[-2:]
    device = targets.weights.device
    x = (torch.arange(width, device=device) - (width - 1) / 2) * stride_px
    y = (torch.arange(height, device=device) - (height - 1) / 2) * stride_px
    centers = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (h, w, 2)
    centers = centers[None].expand(len(targets.weights), -1, -1, -1)
    is_searched = (borders.hidden_px(centers) <= OUTSIDE_PX).all(-1)[:, None].float()
    return targets._replace(
        classes=targets.classes * is_searched,
        weights=targets.weights * is_searched,
        has_offset=targets.has_offset * is_searched,
        has_size=targets.has_size * is_searched,
    )
