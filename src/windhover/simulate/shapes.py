"""What the built-in world is made of: outlines in metres east and north, colors, shapes to draw.

Draws nothing, and takes random numbers only from the generator that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from windhover.geometry.arrays import Floats

FloatImage = NDArray[np.float32]  # (H, W) or (H, W, 3)
Points = Floats  # (N, 2) or (2,)
Color = tuple[int, int, int]  # red, green, blue
Size = tuple[float, float, float]  # length, width, height (m)
Pattern = Literal["", "furrow", "rows", "wood", "water", "mottle", "crown"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw, in metres east and north of the place's origin.

    Attributes:
        rings: outlines (N, 2), the later ones holes; for a line (`width_m` > 0) open polylines.
        color: of its surface.
        noise_level: 0..255, how strongly the noise of the ground shows on it.
        height_m: above its base; casts a shadow.
        base_m: height of what it stands on.
        width_m: of a line; 0 for an area.
        background: color of what it is on.
        pattern: of an area, drawn along `angle` with `period_m`; `crown` for a tree.
        angle: radians.
        period_m: of the pattern.
        soft: whether its border is blurred.
    """

    rings: tuple[Points, ...]
    color: Color
    noise_level: int = 20
    height_m: float = 0.0
    base_m: float = 0.0
    width_m: float = 0.0
    background: Color = (120, 120, 120)
    pattern: Pattern = ""
    angle: float = 0.0
    period_m: float = 6.0
    soft: bool = False


class View(NamedTuple):
    """A rectangle of ground, metres from the place's origin."""

    west: float
    south: float
    east: float
    north: float

    def select(self, shapes: Iterable[Shape], margin_m: float = 60.0) -> list[Shape]:
        """Return the shapes that touch this view or its margin, where shadows come from."""
        low = np.array(self[:2]) - margin_m
        high = np.array(self[2:]) + margin_m
        selected = []
        for shape in shapes:
            outline = shape.rings[0]
            if (outline.min(axis=0) < high).all() and (outline.max(axis=0) > low).all():
                selected.append(shape)
        return selected


def parse_colors(codes: str) -> tuple[Color, ...]:
    """Return colors from hexadecimal codes separated by spaces, such as "5c6c3e 7e7a50"."""
    return tuple(
        (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in codes.split()
    )


def mix_colors(first: Color, second: Color, fraction: float) -> Color:
    """Return `first` with a fraction (0..1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * fraction) for a, b in zip(first, second, strict=True))
    return red, green, blue


def scale_color(color: Color, factor: float) -> Color:
    """Return a color made darker or lighter, kept in 0..255."""
    red, green, blue = (max(0, min(255, round(value * factor))) for value in color)
    return red, green, blue


def points_from_xy(x: ArrayLike, y: ArrayLike) -> Points:
    """Return points (N, 2) from their coordinates."""
    columns = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    return np.stack(columns, axis=1)


def rotate(points: ArrayLike, angle: float, offset: ArrayLike = (0.0, 0.0)) -> Points:
    """Return points (..., 2) turned about the origin by `angle` (radians, anticlockwise) and moved.

    Args:
        points: (..., 2).
        angle: radians, anticlockwise.
        offset: (2,) added after the turn.
    """
    cos = math.cos(angle)
    sin = math.sin(angle)
    turned: Points = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])
    return turned + np.asarray(offset, np.float64)


def rectangle(center: ArrayLike, length_m: float, width_m: float, *, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length_m / 2, width_m / 2)
    return rotate(corners, angle, center)


def circle(center: ArrayLike, radius_m: float, factors: ArrayLike = (1.0,) * 40) -> Points:
    """Return a round outline (N, 2); `factors` (N,) scale its radius corner by corner."""
    radius = radius_m * np.asarray(factors, np.float64)
    turn = np.linspace(0, 2 * math.pi, len(radius), endpoint=False)
    return np.asarray(center, np.float64) + points_from_xy(
        radius * np.cos(turn), radius * np.sin(turn)
    )


def smooth_line(points: ArrayLike) -> Points:
    """Return a polyline (N, 2) with its corners cut three times (Chaikin 1974)."""
    line = np.asarray(points, np.float64)
    for _ in range(3):
        first = 0.75 * line[:-1] + 0.25 * line[1:]
        second = 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.stack([first, second], axis=1).reshape(-1, 2)
    return line


def irregular_circle(rng: np.random.Generator, center: ArrayLike, radius_m: float) -> Points:
    """Return a round outline (11, 2) of random radii."""
    return circle(center, radius_m, rng.uniform(0.6, 1.25, 11))
