"""Small patches of a class map taken away, window by window.

A patch is all pixels of one class that are joined by their sides. One of fewer pixels than asked,
of a class or of the background, takes the class that most of its border has, of the patches that
stay; equal ones: the first. Where it borders on small patches alone it is tried again, three times
in all; what borders on nothing known stays. The result does not depend on the windows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from windhover.errors import ParameterError
from windhover.geometry.arrays import Ints
from windhover.metrics.coverage_curves import UNKNOWN

N_PASSES = 3
MAX_SPECK_PX = 200  # windows are read with a halo of six times as many px


def check_speck_size(min_speck_px: int) -> None:
    """Check the smallest patch that stays.

    Raises:
        ParameterError: it is out of range.
    """
    if not 0 <= min_speck_px <= MAX_SPECK_PX:
        raise ParameterError(
            f"`min_speck_px` must be in 0..{MAX_SPECK_PX} px, got {min_speck_px}. Set "
            "`evaluate.coverage.min_speck_px`."
        )


def speck_halo_px(min_speck_px: int) -> int:
    """Return how many px around a window its result depends on.

    In each pass a small patch reaches so far, and a large one that is cut off by the window's edge
    may pass for a small one as far again.
    """
    return N_PASSES * 2 * (min_speck_px + 1)


def without_specks(classes: NDArray[np.uint8], min_speck_px: int) -> NDArray[np.uint8]:
    """Return a class map without patches of fewer than `min_speck_px` pixels.

    Args:
        classes: (rows, cols) class map; right where it is as far from the edge as the halo, and at
            the edges of the raster.
        min_speck_px: smallest patch that stays.
    """
    result = classes.copy()
    for _ in range(N_PASSES):
        labels, class_of = label_patches(result)
        size = np.bincount(labels.ravel(), minlength=len(class_of))
        is_small = (size < min_speck_px) & (class_of != UNKNOWN)
        if not is_small.any():
            break
        votes = _border_votes(labels, class_of, is_small)
        found = is_small & (votes.max(axis=1, initial=0) > 0)
        new_class = class_of.copy()
        new_class[found] = votes[found].argmax(axis=1)
        result = new_class[labels].astype(np.uint8)
    return result


def label_patches(classes: NDArray[np.uint8]) -> tuple[NDArray[np.int32], Ints]:
    """Return a number for each pixel's patch, from 0, and the class of each patch.

    Args:
        classes: (rows, cols) class map.

    Returns:
        (rows, cols) labels, and (P,) classes, 255 for unknown ground too.
    """
    labels = np.zeros(classes.shape, np.int32)
    class_of: list[int] = []
    for number in np.unique(classes):
        of_class, count = ndimage.label(classes == number)
        labels[of_class > 0] = of_class[of_class > 0] + len(class_of) - 1
        class_of += [int(number)] * count
    return labels, np.asarray(class_of, np.int64)


def _border_votes(labels: NDArray[np.int32], class_of: Ints, is_small: NDArray[np.bool_]) -> Any:
    """Return (P, 255) how much of each small patch's border has each class of larger patches."""
    n_classes = int(class_of[class_of != UNKNOWN].max(initial=0)) + 1
    is_voter = ~is_small & (class_of != UNKNOWN)
    votes = np.zeros(len(class_of) * n_classes, np.int64)
    vertical = (labels[1:].ravel(), labels[:-1].ravel())
    horizontal = (labels[:, 1:].ravel(), labels[:, :-1].ravel())
    for one, other in (vertical, vertical[::-1], horizontal, horizontal[::-1]):
        counted = is_small[one] & is_voter[other]
        cells = one[counted].astype(np.int64) * n_classes + class_of[other[counted]]
        votes += np.bincount(cells, minlength=len(votes))
    return votes.reshape(len(class_of), n_classes)
