"""Class maps and shares drawn over pictures, for people to check; nothing here is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from windhover.rendering.images import Color

# of background (not drawn), then of the classes in their order; apart also for the color-blind
CLASS_COLORS: tuple[Color, ...] = (
    (230, 75, 53),
    (0, 114, 178),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (86, 180, 233),
    (213, 94, 0),
    (120, 90, 40),
)
UNKNOWN_COLOR: Color = (90, 60, 120)
UNKNOWN = 255  # in a class map
OPACITY = 0.45
LEGEND_PX = 16
LETTER_PX = 7
INK: Color = (30, 30, 30)
WHITE: Color = (255, 255, 255)
# of a heat map, from 0 to 1
HEAT_STOPS = (
    (0.0, (20, 20, 60)),
    (0.5, (200, 60, 90)),
    (0.8, (250, 160, 60)),
    (1.0, (255, 250, 200)),
)


def color_of_class(number: int) -> Color:
    """Return the color of a class by its index in a class map, 1 or more."""
    return CLASS_COLORS[(number - 1) % len(CLASS_COLORS)]


def overlay_classes(rgb: NDArray[np.uint8], classes: NDArray[np.uint8]) -> Image.Image:
    """Return a picture with each class in its color over it, its borders drawn full.

    Args:
        rgb: (H, W, 3).
        classes: (H, W) class map; background stays as it is.
    """
    picture = rgb.astype(np.float64)
    for number in np.unique(classes):
        if number == 0:
            continue
        color = UNKNOWN_COLOR if number == UNKNOWN else color_of_class(int(number))
        inside = classes == number
        picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * np.array(color)
        if number != UNKNOWN:
            picture[_edges(inside)] = color
    return Image.fromarray(np.rint(picture).astype(np.uint8))


def _edges(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the px of a mask that have a neighbor outside of it."""
    padded = np.pad(inside, 1, mode="edge")
    whole = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~whole


def heat_map(shares: NDArray[np.floating[Any]]) -> Image.Image:
    """Return probabilities (H, W) in 0..1 as a picture, dark to light; NaN is gray."""
    known = np.isfinite(shares)
    values = np.where(known, shares, 0.0)
    stops = [stop for stop, _ in HEAT_STOPS]
    bands = []
    for band in range(3):
        levels = [color[band] for _, color in HEAT_STOPS]
        bands.append(np.interp(values, stops, levels))
    picture = np.stack(bands, axis=-1)
    picture[~known] = 128
    return Image.fromarray(np.rint(picture).astype(np.uint8))


def with_legend(picture: Image.Image, names: Sequence[str]) -> Image.Image:
    """Return a picture with the names of its classes below it, each by its color.

    Args:
        picture: with the classes drawn on it.
        names: of the classes, in their order, without background.
    """
    entries = [(color_of_class(number), name) for number, name in enumerate(names, 1)]
    entries.append((UNKNOWN_COLOR, "unknown"))
    width = max(picture.width, sum(LEGEND_PX + LETTER_PX * (len(name) + 2) for _, name in entries))
    sheet = Image.new("RGB", (width, picture.height + LEGEND_PX), WHITE)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    left = 2
    for color, name in entries:
        top = picture.height + 3
        draw.rectangle((left, top, left + 9, top + 9), fill=color)
        draw.text((left + 13, top - 1), name, fill=INK)
        left += LEGEND_PX + LETTER_PX * (len(name) + 2)
    return sheet
