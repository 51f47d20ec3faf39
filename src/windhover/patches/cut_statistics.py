"""Running totals while patches are cut: windows, pixels, and what was left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.splits import SPLITS
from windhover.geometry.arrays import Floats
from windhover.patches.patch_summary import SplitPrior

MIN_STD = 1e-6  # a band without any spread keeps a divisor above 0
DIGITS = 6  # of pixel statistics in the summary


@dataclass
class WindowTotals:
    """Windows of one split's labeled scenes at the stride of the search."""

    total: int = 0
    positive: int = 0  # by the label rule
    positive_central: int = 0  # by the central 32 x 32 px
    positive_by_class: Counter[str] = field(default_factory=Counter)

    def to_prior(self, sampled: float | None) -> SplitPrior:
        """Return the shares of windows with an object; None where there is no window.

        Args:
            sampled: share of positives among the patches.
        """
        if not self.total:
            return SplitPrior(windows=0, sampled=sampled)
        by_class = {}
        for name, positive in sorted(self.positive_by_class.items()):
            by_class[name] = positive / self.total
        return SplitPrior(
            windows=self.total,
            true=self.positive / self.total,
            true_central_32_px=self.positive_central / self.total,
            by_class=by_class,
            sampled=sampled,
        )


class PixelMoments:
    """Mean and standard deviation of pixels by band, added up window by window."""

    def __init__(self) -> None:
        self._sums: Floats | None = None  # (3, C): count, sum, sum of squares

    @property
    def is_empty(self) -> bool:
        """Whether no pixel was added."""
        return self._sums is None

    def add(self, pixels: NDArray[Any]) -> None:
        """Add (C, N) pixels."""
        values = pixels.astype(np.float64)
        count = np.full(len(values), values.shape[1])
        sums = np.stack([count, values.sum(axis=1), (values**2).sum(axis=1)])
        self._sums = sums if self._sums is None else self._sums + sums

    def mean_and_std(self) -> tuple[Floats, Floats]:
        """Return mean and standard deviation, (C,) each.

        Raises:
            ValueError: no pixel was added.
        """
        if self._sums is None:
            raise ValueError("no pixel was added")
        count, total, squares = self._sums
        mean = total / count
        return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


@dataclass
class CutStatistics:
    """What was cut and what was left out, over all scenes."""

    skipped: Counter[str] = field(default_factory=Counter)  # reason -> patches left out
    windows: dict[str, WindowTotals] = field(
        default_factory=lambda: {split: WindowTotals() for split in SPLITS}
    )
    training_pixels: PixelMoments = field(default_factory=PixelMoments)
    identical_across_splits: int = 0
    _split_of_pixels: dict[bytes, str] = field(default_factory=dict)  # digest -> split

    def select_new(self, images: NDArray[Any], split: str) -> NDArray[np.bool_]:
        """Return which patches' pixels are new, and remember them.

        Patches that repeat pixels of their own split are counted as skipped; those that repeat
        pixels of another split stay and are counted apart.

        Args:
            images: (N, H, W, C) patches.
            split: of the patches.
        """
        is_new = np.ones(len(images), bool)
        for number, image in enumerate(images):
            digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            earlier = self._split_of_pixels.get(digest)
            if earlier is None:
                self._split_of_pixels[digest] = split
            elif earlier == split:
                self.skipped["same pixels as another patch"] += 1
                is_new[number] = False
            else:
                self.identical_across_splits += 1
        return is_new


def padding_value_of(mean: Floats, dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return what each band holds beyond a scene's border: its mean (C,), rounded for integers."""
    if np.issubdtype(dtype, np.integer):
        mean = np.rint(mean)
    return tuple(rounded_mean(mean))


def rounded_mean(mean: Floats) -> list[float]:
    """Return the mean of the pixels by band (C,), rounded; below 0 of decibels and the like."""
    return [round(float(value), DIGITS) for value in mean]


def rounded_std(std: Floats) -> list[float]:
    """Return the standard deviation of the pixels by band (C,), rounded, above 0."""
    return rounded_mean(np.maximum(std, MIN_STD))
