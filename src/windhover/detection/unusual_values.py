"""Rasters whose pixel values cannot be those that a model learned from: told before their search.

One value everywhere, a mask of zeros and ones, fractions in place of digital numbers. A few small
windows are read; the search itself is not changed.
"""

from __future__ import annotations

import itertools
import logging

import numpy as np

from windhover.errors import FormatError
from windhover.geometry.arrays import Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.scenes import Scene
from windhover.models.card import Card

logger = logging.getLogger(__name__)

MAX_TOLD = 3  # rasters of one search that are named
SMALL_PX = 4 * WINDOW_PX  # side up to which a scene is read whole
N_FIRST, N_ALL = 3, 12  # windows along a side that are read; all of them only of a doubtful scene
TOP_PERCENT = 99.0  # of a scene's pixels, what counts as its highest
N_RANKED = 2_000  # of a scene's pixels that are ranked: a search of small tiles must not wait
FLAT_SHARE = 0.02  # of the training's range, which two values that are told apart reach
DARK_SHARE = 0.05  # of the way from the training's lowest to its mean, which bright pixels reach
RANGE_STDS = 3.0  # on both sides of the mean, in cards without ranges


def log_unusual_values(scene: Scene, card: Card, n_told: int) -> int:
    """Warn where a scene's pixels cannot be what a model learned from.

    Args:
        scene: as the model sees it.
        card: of the model.
        n_told: scenes of the same search that were warned of before.

    Returns:
        The number of scenes that were warned of, this one included.
    """
    sentence = describe_unusual_values(scene, card)
    if sentence is None:
        return n_told
    if n_told < MAX_TOLD:
        logger.warning("%s: %s", scene.info.name, sentence)
    elif n_told == MAX_TOLD:
        logger.warning("more rasters have values that the model cannot know; they are not named")
    return n_told + 1


def describe_unusual_values(scene: Scene, card: Card) -> str | None:
    """Return a sentence on values that a model cannot have learned from; None where they fit.

    Args:
        scene: as the model sees it.
        card: of the model.
    """
    sentence = None
    for n_windows in (N_FIRST, N_ALL):
        try:
            pixels = _sample(scene, n_windows)
        except FormatError:  # the search names what cannot be read
            return None
        if not pixels.size:
            return None
        sentence = _sentence(pixels, card)
        if sentence is None:
            return None
    return sentence


def _sample(scene: Scene, n_windows: int) -> Floats:
    """Return valid pixels (C, N) of windows on a regular grid; of a small scene all of them."""
    height, width = scene.shape_hw
    if max(height, width) <= SMALL_PX:
        pixels = scene.read(0, 0, height, width)
        return np.asarray(pixels.array[:, pixels.valid], np.float64)
    side_hw = min(height, WINDOW_PX), min(width, WINDOW_PX)
    rows, cols = (
        np.linspace(0, length - side, n_windows).round().astype(int).tolist()
        for length, side in zip(scene.shape_hw, side_hw, strict=True)
    )
    parts = []
    for row, col in itertools.product(dict.fromkeys(rows), dict.fromkeys(cols)):
        pixels = scene.read(row, col, *side_hw)
        parts.append(pixels.array[:, pixels.valid])
    return np.concatenate(parts, axis=1).astype(np.float64)


def _sentence(pixels: Floats, card: Card) -> str | None:
    """Return what is odd about pixels (C, N); None where nothing is."""
    low, high = _learned_ranges(card)
    lowest = pixels.min(axis=1)
    highest = pixels.max(axis=1)
    learned = f"the model learned from {low.min():.4g} to {high.max():.4g}"
    if (lowest == highest).all():
        values = ", ".join(f"{value:.6g}" for value in dict.fromkeys(lowest.tolist()))
        return (
            f"every pixel that was looked at is {values}, and {learned}: nothing can be found in "
            "it. Is it the right raster, and its nodata value the right one?"
        )
    some = pixels[:, :: max(pixels.shape[1] // N_RANKED, 1)]
    middle, top = np.percentile(some, (50.0, TOP_PERCENT), axis=1)
    is_dark = top < low + DARK_SHARE * (np.asarray(card.mean) - low)
    is_flat = _are_two_values(pixels) and (highest - lowest < FLAT_SHARE * (high - low)).all()
    if not (is_dark.all() or is_flat or (middle > high).all()):
        return None
    return (
        f"its pixels are {lowest.min():.4g} to {highest.max():.4g}, and {learned}: what is found "
        "in it means little. Scale it as the training scenes were (gdal_translate -scale), or try "
        "--match-radiometry."
    )


def _learned_ranges(card: Card) -> tuple[Floats, Floats]:
    """Return the lowest and the highest pixel of each band (C,) that a model learned from."""
    if card.ranges is not None:
        low, high = np.asarray(card.ranges.bands, np.float64).T
        return low, high
    reach = RANGE_STDS * np.asarray(card.std)
    mean = np.asarray(card.mean)
    return mean - reach, mean + reach


def _are_two_values(pixels: Floats) -> bool:
    """Return whether each band of pixels (C, N) holds two values alone."""
    return all(bool(((band == band.min()) | (band == band.max())).all()) for band in pixels)
