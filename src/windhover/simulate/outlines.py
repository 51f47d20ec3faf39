"""What everything in the built-in world is made of: outlines in metres east and north, colours, and
shapes to be drawn.

Draws nothing, and draws lots only from the generator that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]
Color = tuple[int, int, int]
Size = tuple[float, float, float]  # length, width, height (m)


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw, in metres east and north of the place's origin.

    `rings`: outlines (N, 2), the later ones holes; for a line (`width_m` > 0) open polylines.
    `texture`: 0..255, how strongly the ground's grain shows. `height_m` casts a shadow; `base_m`:
    of its roof. `pattern`: "" or one of furrow, rows, wood, water, mottle, drawn along `angle`
    (radians) with period `period_m`; crown for a tree. `under`: what it lies on.
    """

    rings: tuple[Points, ...]
    color: Color
    texture: int = 20
    height_m: float = 0.0
    base_m: float = 0.0
    width_m: float = 0.0
    under: Color = (120, 120, 120)
    pattern: str = ""
    angle: float = 0.0
    period_m: float = 6.0
    soft: bool = False


class View(NamedTuple):
    """A rectangle of ground, metres from the place's origin."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, shapes: Iterable[Shape], margin_m: float = 60.0) -> list[Shape]:
        """Return the shapes that touch this view or its margin, where shadows come from."""
        low, high = np.array(self[:2]) - margin_m, np.array(self[2:]) + margin_m
        boxes = [
            (shape, shape.rings[0].min(axis=0), shape.rings[0].max(axis=0)) for shape in shapes
        ]
        return [
            shape for shape, least, most in boxes if (least < high).all() and (most > low).all()
        ]


def palette(codes: str) -> tuple[Color, ...]:
    """Return colours from hexadecimal codes separated by spaces, such as "5c6c3e 7e7a50"."""
    return tuple(
        (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in codes.split()
    )


def mix(first: Color, second: Color, share: float) -> Color:
    """Return `first` with `share` (0..1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def scale_color(color: Color, factor: float) -> Color:
    """Return `colour` made darker or lighter, kept in 0..255."""
    red, green, blue = (max(0, min(255, round(value * factor))) for value in color)
    return red, green, blue


def join(x: ArrayLike, y: ArrayLike) -> Points:
    """Return points (N, 2) from their coordinates."""
    return np.stack(
        np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64)), axis=1
    )


def rotate(points: ArrayLike, angle: float, to: ArrayLike = (0.0, 0.0)) -> Points:
    """Return points (..., 2) turned about the origin by `angle` (radians, anticlockwise), then
    moved by `to`.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    turned: Points = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])
    return turned + np.asarray(to, np.float64)


def box(center: ArrayLike, length_m: float, width_m: float, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    return rotate(
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length_m / 2, width_m / 2), angle, center
    )


def disc(center: ArrayLike, radius_m: float, rough: ArrayLike = (1.0,) * 40) -> Points:
    """Return a round outline; `rough` (N,) scales its radius corner by corner."""
    radius = radius_m * np.asarray(rough, np.float64)
    turn = np.linspace(0, 2 * math.pi, len(radius), endpoint=False)
    return np.asarray(center, np.float64) + join(radius * np.cos(turn), radius * np.sin(turn))


def smooth(points: ArrayLike) -> Points:
    """Return a polyline (N, 2) with its corners cut again and again (Chaikin 1974)."""
    line = np.asarray(points, np.float64)
    for _ in range(3):
        line = np.stack(
            [0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1
        ).reshape(-1, 2)
    return line


def blob(rng: np.random.Generator, center: ArrayLike, radius_m: float) -> Points:
    """Return a round outline that nobody drew with compasses."""
    return disc(center, radius_m, rng.uniform(0.6, 1.25, 11))
