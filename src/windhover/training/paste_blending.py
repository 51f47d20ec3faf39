"""Blending: pixels set into an image so that their rim takes on the light of the ground there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATHER_PX = 2.0  # over which the edge of what is pasted fades
RIM_PARTS = 64  # parts of the rim of which the mean change is taken

Floats = NDArray[np.float32]


def blend(
    image: NDArray[Any],
    pasted: NDArray[Any],
    corner: tuple[int, int],
    boxes: NDArray[np.float64],
) -> None:
    """Set pixels into an image in place: the rim takes on the ground there, edges fade.

    The change along the rim is spread inwards by inverse squared distance (Shepard 1968). Where
    another object's box is under the rim nothing is taken on.

    Args:
        image: (H, W, C), changed in place.
        pasted: (h, w, C).
        corner: left and top in the image, px.
        boxes: (N, 4) xyxy of the image's objects, px.
    """
    left, top = corner
    height, width = pasted.shape[:2]
    ground = image[top : top + height, left : left + width]
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    to_row_edge = np.minimum(rows, height - 1 - rows)
    to_col_edge = np.minimum(cols, width - 1 - cols)
    depth = np.minimum(to_row_edge, to_col_edge) + 1.0  # (h, w) px from the edge
    is_clear = _clear_of_boxes(rows, cols, boxes - np.array([left, top, left, top]))
    rim = np.argwhere((depth == 1.0) & is_clear)  # (E, 2) row, col
    moved = pasted.astype(np.float32)
    if len(rim):
        moved = moved + _spread_rim_change(rim, ground, moved)
    opacity = np.clip(depth / (FEATHER_PX + 1.0), 0.0, 1.0)[..., None]
    mixed = opacity * moved + (1 - opacity) * ground.astype(np.float32)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        mixed = np.clip(np.rint(mixed), limits.min, limits.max)
    image[top : top + height, left : left + width] = mixed.astype(image.dtype)


def _clear_of_boxes(rows: Floats, cols: Floats, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (h, w) which pixels are outside all boxes."""
    is_clear = np.ones(rows.shape, bool)
    for x0, y0, x1, y1 in boxes:
        is_clear &= (cols + 1 <= x0) | (cols >= x1) | (rows + 1 <= y0) | (rows >= y1)
    return is_clear


def _spread_rim_change(rim: NDArray[np.int64], ground: NDArray[Any], pasted: Floats) -> Floats:
    """Return the change of every pixel (h, w, C) that brings the rim to the ground's values.

    Args:
        rim: (E, 2) row, col of the pixels of the rim.
        ground: (h, w, C) under what is pasted.
        pasted: (h, w, C).
    """
    height, width = pasted.shape[:2]
    around = np.arctan2(rim[:, 0] - height / 2, rim[:, 1] - width / 2)
    rim = rim[np.argsort(around, kind="stable")]
    change = ground[*rim.T].astype(np.float32) - pasted[*rim.T]  # (E, C)
    starts = np.unique(np.linspace(0, len(rim), RIM_PARTS, endpoint=False).astype(int))
    counts = np.diff(np.append(starts, len(rim)))[:, None].astype(np.float32)
    centers = np.add.reduceat(rim.astype(np.float32), starts) / counts  # (F, 2) row, col
    change = np.add.reduceat(change, starts) / counts  # (F, C)
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    row_distance = rows[..., None] - centers[:, 0]
    col_distance = cols[..., None] - centers[:, 1]
    weights = 1.0 / (row_distance**2 + col_distance**2 + 1.0)  # (h, w, F)
    spread: Floats = weights @ change / weights.sum(-1, keepdims=True)
    return spread
