"""Training targets: what the network should answer in every cell of a training image.

A patch is an image of one cell, a large patch an image of many; both become the same `Targets`, so
that one loss serves both. Holds no loss and no data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from windhover.geometry.windows import STRIDE_PX, WINDOW_PX
from windhover.training.object_table import CENTER_XY, CLASS, HEIGHT, IGNORED, SIZE_WH, WIDTH, X, Y

LEAST_SIZE_PX = 1e-3  # a smaller size has no useful logarithm


@dataclass(frozen=True)
class ObjectTensor:
    """The objects of a batch on its device: names for the columns of a tensor (..., 5).

    Attributes:
        table: float32 (..., 5): class index or `PAD` or `IGNORED`, center x, y, width, height in
            px; sizes are NaN where unknown.
    """

    table: Tensor

    @property
    def class_index(self) -> Tensor:
        """(...) class index, or one of the codes `PAD` and `IGNORED`."""
        return self.table[..., CLASS]

    @property
    def is_object(self) -> Tensor:
        """(...) bool: which rows are objects of a class."""
        return self.class_index >= 0

    @property
    def is_ignored(self) -> Tensor:
        """(...) bool: which rows are areas in which background is not known."""
        return self.class_index == IGNORED

    @property
    def centers_xy(self) -> Tensor:
        """(..., 2) center x, y in px."""
        return self.table[..., CENTER_XY]

    @property
    def sizes_wh(self) -> Tensor:
        """(..., 2) width and height in px, NaN where unknown."""
        return self.table[..., SIZE_WH]

    def shifted(self, dx: float, dy: float) -> ObjectTensor:
        """Return the objects moved by some px."""
        shift = self.table.new_zeros(self.table.shape[-1])
        shift[X] = dx
        shift[Y] = dy
        return ObjectTensor(self.table + shift)


class Targets(NamedTuple):
    """What each cell should answer; float32, (h, w) is (1, 1) for a patch."""

    classes: Tensor  # (B, K, h, w): 1 where the cell shows an object of the class
    weights: Tensor  # (B, 1, h, w): 0 where the cell is ignored
    offsets_px: Tensor  # (B, 2, h, w): dx, dy to the center of the nearest object
    log_sizes: Tensor  # (B, 2, h, w): log of its width and height in px
    has_offset: Tensor  # (B, 1, h, w): 1 where offsets are known
    has_size: Tensor  # (B, 1, h, w): 1 where sizes are known


def cell_targets(
    objects: ObjectTensor,
    size_hw: tuple[int, int],
    n_classes: int,
    *,
    positive_px: float,
    ignore_px: float,
    circle: bool = False,
    window_px: int = WINDOW_PX,
    stride_px: int = STRIDE_PX,
) -> Targets:
    """Label every window of an image by the objects whose centers are near its own center.

    Args:
        objects: (B, M) of each image, in px of the image, corner convention.
        size_hw: height and width of the image in px.
        n_classes: number of classes.
        positive_px: a window is positive up to this distance of the two centers, along each
            axis or as a radius.
        ignore_px: beyond it a window is background; between the two it is ignored.
        circle: whether distance is Euclidean; else the larger of |dx| and |dy|.
        window_px: side of a window.
        stride_px: distance between windows.
    """
    height, width = size_hw
    y = _window_centers(height, window_px, stride_px, objects.table.device)  # (h,)
    x = _window_centers(width, window_px, stride_px, objects.table.device)  # (w,)
    per_cell = objects.table[..., None, None]  # (B, M, 5, 1, 1)
    class_index = per_cell[:, :, CLASS]  # (B, M, 1, 1)
    dx = (per_cell[:, :, X] - x[None, None, None, :]).expand(-1, -1, len(y), -1)  # (B, M, h, w)
    dy = (per_cell[:, :, Y] - y[None, None, :, None]).expand(-1, -1, -1, len(x))  # (B, M, h, w)
    if circle:
        distance = torch.hypot(dx, dy)
    else:
        distance = torch.maximum(dx.abs(), dy.abs())
    distance = torch.where(class_index >= 0, distance, torch.inf)  # (B, M, h, w)

    is_near = distance <= positive_px  # (B, M, h, w)
    shows_class = [(is_near & (class_index == index)).any(1) for index in range(n_classes)]
    classes = torch.stack(shows_class, 1)  # (B, K, h, w)

    nearest, which = distance.min(1, keepdim=True)  # (B, 1, h, w)
    positive = nearest <= positive_px  # (B, 1, h, w)
    inside_box = (dx.abs() <= per_cell[:, :, WIDTH] / 2) & (dy.abs() <= per_cell[:, :, HEIGHT] / 2)
    in_ignored_area = ((class_index == IGNORED) & inside_box).any(1, keepdim=True)  # (B, 1, h, w)
    ignored = ~positive & ((nearest <= ignore_px) | in_ignored_area)  # (B, 1, h, w)

    widths = per_cell[:, :, WIDTH].expand_as(dx).gather(1, which)
    heights = per_cell[:, :, HEIGHT].expand_as(dx).gather(1, which)
    sizes = torch.cat([widths, heights], 1)  # (B, 2, h, w)
    offsets = torch.cat([dx.gather(1, which), dy.gather(1, which)], 1)  # (B, 2, h, w)
    has_size = positive & (sizes > 0).all(1, keepdim=True)  # False for NaN
    return Targets(
        classes=classes.float(),
        weights=(~ignored).float(),
        offsets_px=torch.where(positive, offsets, 0.0),
        log_sizes=torch.where(has_size, sizes.clamp_min(LEAST_SIZE_PX), 1.0).log(),
        has_offset=positive.float(),
        has_size=has_size.float(),
    )


def _window_centers(length_px: int, window_px: int, stride_px: int, device: torch.device) -> Tensor:
    """Return the centers of the windows along one axis of an image, (n,) px."""
    count = (length_px - window_px) // stride_px + 1
    return torch.arange(count, device=device) * stride_px + window_px / 2


def patch_targets(objects: ObjectTensor, n_classes: int) -> Targets:
    """Label patches, whose one object was chosen when they were cut.

    Args:
        objects: (B,) one row a patch, its center relative to the window's; `PAD` is background.
        n_classes: number of classes.
    """
    class_index = objects.class_index
    offsets = objects.centers_xy
    sizes = objects.sizes_wh
    classes = torch.stack([(class_index == k).float() for k in range(n_classes)], 1)  # (B, K)
    has_offset = objects.is_object & offsets.isfinite().all(1)
    has_size = objects.is_object & (sizes > 0).all(1)
    log_sizes = torch.where(has_size[:, None], sizes, 1.0).clamp_min(LEAST_SIZE_PX).log()
    to_cells = (..., None, None)
    to_planes = (slice(None), None, None, None)
    return Targets(
        classes=classes[to_cells],  # (B, K, 1, 1)
        weights=torch.ones_like(class_index)[to_planes],  # (B, 1, 1, 1)
        offsets_px=torch.where(has_offset[:, None], offsets, 0.0)[to_cells],  # (B, 2, 1, 1)
        log_sizes=log_sizes[to_cells],  # (B, 2, 1, 1)
        has_offset=has_offset.float()[to_planes],
        has_size=has_size.float()[to_planes],
    )
