"""Arrays at another pixel size, exactly: a pixel never depends on the block it is computed in.

Target pixel k covers source [k r, (k + 1) r) of the WHOLE raster (r = target GSD / source GSD, one
per axis). For r > 1 the result is the area average, for r < 1 bilinear; invalid source pixels carry
no weight. Rows and columns are two sparse banded matrices whose entries follow from absolute
indices alone, so every pixel is the same float operations in the same order. Reads no file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# ratios nearer to 1 are 1: the nominal GSD of two deliveries of one sensor differs by less
SNAP = 0.01
VALID_SHARE = 0.5  # of a target pixel's weight that must be valid
# of the last pixel along an axis that must be covered: in the corner, its square is still valid
LAST_SHARE = 0.7072


def snap_ratio(ratio: float) -> float:
    """Return the ratio, or exactly 1 where it is within 1 % of it."""
    return 1.0 if abs(ratio - 1.0) < SNAP else ratio


def exact_ratio(ratio: float) -> float:
    """Return the ratio, or exactly 1 where only rounding keeps it from that."""
    return 1.0 if math.isclose(ratio, 1.0, rel_tol=1e-9) else ratio


def target_length(source_length: int, ratio: float) -> int:
    """Return how many target pixels a source length fills, at least 1.

    A last pixel that the raster covers by less than `LAST_SHARE` is left out: it would be a hole,
    and a line of holes along a border, mirrored, resembles an object in the corner.
    """
    return max(math.floor(source_length / ratio + 1.0 - LAST_SHARE), 1)


def source_span(start: int, stop: int, ratio: float) -> tuple[int, int]:
    """Return the half-open range of source pixels that target pixels [start, stop) depend on.

    It may leave the raster.
    """
    if ratio == 1.0:
        return start, stop
    if ratio > 1.0:
        return math.floor(start * ratio), math.ceil(stop * ratio)
    return math.floor((start + 0.5) * ratio - 0.5), math.floor((stop - 0.5) * ratio - 0.5) + 2


def axis_weights(start: int, stop: int, ratio: float, source_length: int) -> csr_array:
    """Return the matrix from source pixels to target pixels along one axis.

    Args:
        start: first target pixel, absolute.
        stop: one past the last.
        ratio: source pixels per target pixel.
        source_length: of the whole raster; bilinear weights beyond its ends are given to its
            end pixels.

    Returns:
        (stop - start, span) float32, where span is `source_span(start, stop, ratio)`; rows sum to 1
        up to rounding.
    """
    first, last = source_span(start, stop, ratio)
    target = np.arange(start, stop, dtype=np.float64)[:, None]
    if ratio > 1.0:
        source, weight = _area_weights(target, ratio)
    else:
        source, weight = _bilinear_weights(target, ratio, source_length)
    from scipy.sparse import csr_array  # loads slowly, and many scenes are at the GSD already

    kept = weight > 0
    rows = np.broadcast_to(np.arange(stop - start)[:, None], weight.shape)[kept]
    cols = (source[kept] - first).astype(np.int32)
    matrix = csr_array(
        (weight[kept].astype(np.float32), (rows, cols)), shape=(stop - start, last - first)
    )
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix


def _area_weights(target: Floats, ratio: float) -> tuple[Floats, Floats]:
    """Return source pixels and weights (targets, taps) of the area average."""
    taps = math.ceil(ratio) + 1
    source: Floats = np.floor(target * ratio) + np.arange(taps)
    overlap = np.minimum(source + 1, (target + 1) * ratio) - np.maximum(source, target * ratio)
    return source, np.maximum(overlap, 0.0) / ratio


def _bilinear_weights(target: Floats, ratio: float, source_length: int) -> tuple[Floats, Floats]:
    """Return source pixels and weights (targets, 2) of bilinear interpolation."""
    center = (target + 0.5) * ratio - 0.5
    source: Floats = np.floor(center) + np.arange(2)
    fraction = center - source[:, :1]
    weight = np.concatenate([1.0 - fraction, fraction], axis=1)
    inside = ((target + 0.5) * ratio >= 0) & ((target + 0.5) * ratio < source_length)
    # beyond the raster's ends its end pixels are repeated
    clipped: Floats = np.clip(source, 0, source_length - 1)
    return np.where(inside, clipped, source), weight


def apply_weights(
    rows: csr_array | None, cols: csr_array | None, plane: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return rows @ plane @ cols.T as float32, rows first; None is the identity.

    Args:
        rows: (h, H) weights.
        cols: (w, W) weights.
        plane: (H, W) any real dtype.
    """
    result = np.asarray(plane, np.float32)
    if rows is not None:
        result = rows @ result
    if cols is not None:
        # cv2 copies a transpose six times faster than numpy
        result = cv2.transpose(cols @ cv2.transpose(result))
    return result


def resample_block(
    array: NDArray[np.generic],
    valid: NDArray[np.bool_],
    rows: csr_array | None,
    *,
    cols: csr_array | None,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return a block at the target pixel size, in the dtype of the input.

    Args:
        array: (C, H, W) source pixels; 0 where invalid.
        valid: (H, W).
        rows: weights down the columns, None where the ratio is 1.
        cols: weights along the rows, None where the ratio is 1.

    Returns:
        (C, h, w) values, 0 where invalid, integers rounded to the nearest; (h, w) valid where at
        least half the weight is.
    """
    if valid.all():
        planes = [apply_weights(rows, cols, plane) for plane in array]
        shape_hw = (planes[0] if planes else apply_weights(rows, cols, valid)).shape
        is_valid = np.ones(shape_hw, bool)
        return _to_dtype(planes, is_valid, array.dtype), is_valid
    missing = apply_weights(rows, cols, ~valid)
    is_valid = missing <= 1.0 - VALID_SHARE
    # unchanged where nothing is missing: a pixel must not depend on holes elsewhere in its block
    share = np.where((missing > 0) & is_valid, 1.0 - missing, np.float32(1.0))
    planes = [
        np.divide(apply_weights(rows, cols, plane), share, dtype=np.float32) for plane in array
    ]
    return _to_dtype(planes, is_valid, array.dtype), is_valid


def _to_dtype(
    planes: list[NDArray[np.float32]], valid: NDArray[np.bool_], dtype: np.dtype[np.generic]
) -> NDArray[np.generic]:
    """Return planes as (C, h, w) of a dtype, rounded and clipped; 0 where invalid."""
    result = np.zeros((len(planes), *valid.shape), dtype)
    for plane, target in zip(planes, result, strict=True):
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)  # type: ignore[type-var]
            np.clip(np.rint(plane, out=plane), limits.min, limits.max, out=plane)
        np.copyto(target, plane, casting="unsafe", where=valid)
    return result
