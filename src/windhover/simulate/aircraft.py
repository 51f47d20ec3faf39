"""Aircraft as seen from above: plans of types, liveries, and the pieces that are drawn of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from windhover.simulate.outlines import Color, Points, join, mix, palette, rotate, scale_color


class AircraftType(NamedTuple):
    """Plan of an aircraft type: overall length and span from the makers' airport planning manuals,
    the rest in shares.

    `wing_at`: leading edge of the wing root from the nose; `root`, `tip`: chords; all three as
    shares of the length. `engines`: lateral positions on each side, share of the half span.
    `mount`: wing, tail or prop; the last two make a T-tail. `weight`: how common it is.
    """

    length_m: float
    span_m: float
    body_m: float
    sweep_deg: float
    wing_at: float
    root: float
    tip: float
    tail_span: float
    fin_m: float
    engines: tuple[float, ...]
    pod_m: tuple[float, float]
    mount: str
    weight: float


TYPES: dict[str, AircraftType] = {
    "A320": AircraftType(
        37.57, 35.80, 3.95, 27, 0.32, 0.185, 0.043, 0.35, 6.0, (0.32,), (4.4, 2.5), "wing", 3.0
    ),
    "A321": AircraftType(
        44.51, 35.80, 3.95, 27, 0.34, 0.16, 0.036, 0.35, 6.0, (0.32,), (4.4, 2.5), "wing", 1.5
    ),
    "B738": AircraftType(
        39.47, 35.79, 3.76, 27, 0.33, 0.19, 0.040, 0.40, 6.8, (0.27,), (4.6, 2.4), "wing", 3.0
    ),
    "A333": AircraftType(
        63.66, 60.30, 5.64, 31, 0.30, 0.175, 0.040, 0.32, 8.5, (0.31,), (6.6, 3.5), "wing", 1.2
    ),
    "B789": AircraftType(
        62.81, 60.12, 5.77, 34, 0.29, 0.185, 0.030, 0.33, 8.5, (0.32,), (6.2, 3.7), "wing", 1.2
    ),
    "B77W": AircraftType(
        73.86, 64.80, 6.20, 33, 0.31, 0.175, 0.035, 0.33, 9.2, (0.3,), (7.2, 4.2), "wing", 1.2
    ),
    "B744": AircraftType(
        70.66, 64.44, 6.50, 39, 0.26, 0.21, 0.052, 0.34, 9.8, (0.36, 0.64), (5.6, 2.9), "wing", 0.8
    ),
    "A388": AircraftType(
        72.72,
        79.75,
        7.14,
        36,
        0.27,
        0.245,
        0.052,
        0.38,
        12.0,
        (0.33, 0.65),
        (6.8, 3.6),
        "wing",
        0.6,
    ),
    "E190": AircraftType(
        36.24, 28.72, 3.01, 26, 0.34, 0.165, 0.040, 0.42, 5.2, (0.33,), (3.9, 2.0), "wing", 1.8
    ),
    "CRJ9": AircraftType(
        36.40, 24.85, 2.69, 27, 0.42, 0.145, 0.038, 0.34, 4.6, (0.0,), (4.3, 1.7), "tail", 1.5
    ),
    "AT72": AircraftType(
        27.17, 27.05, 2.87, 3, 0.42, 0.098, 0.060, 0.27, 4.4, (0.3,), (3.6, 1.2), "prop", 1.8
    ),
    "B350": AircraftType(
        14.22, 17.65, 1.55, 6, 0.33, 0.155, 0.085, 0.32, 2.2, (0.3,), (2.6, 0.9), "prop", 4.4
    ),
}
# body, wings, tail, engines
LIVERIES: dict[str, tuple[Color, ...]] = {
    "white": palette("f4f4f2 c4c7cb f0f0f0 d6d8da"),
    "blue tail": palette("f2f3f4 c0c4c8 203470 26386e"),
    "red tail": palette("f4f3f1 c6c8cb b01e22 d4d5d6"),
    "dark tail": palette("eeeeed bec1c5 262830 3c3e44"),
    "green tail": palette("f0f2f0 c0c4c4 186848 d0d2d2"),
    "grey": palette("a8adb2 969a9e 969ba0 8c8f92"),
    "metal": palette("ccccc6 b8b8b4 c43c32 b2b2b0"),
    "yellow": palette("e8be2c c8caca d22824 e2ba32"),
    "blue": palette("487eba bec2c6 284a8c 4674aa"),
    "navy": palette("2c3654 acafb2 28304e 343c54"),
    "red": palette("be2c28 c4c6c8 ececea ba302c"),
}


class Part(NamedTuple):
    """A piece of an aircraft in its own frame: outline (N, 2) m, colour, and its height above the
    ground (m).
    """

    points: Points
    color: Color
    low_m: float
    high_m: float


@dataclass(frozen=True, slots=True)
class Aircraft:
    """One aircraft on the ground: its nose (m east, north), where it points (radians from east,
    anticlockwise).
    """

    kind: str
    livery: str
    nose_en: tuple[float, float]
    heading: float

    def outline(self, points: Points) -> Points:
        """Return points of the aircraft's frame (x forward from the nose, y to the left, m) as m
        east and north.
        """
        return rotate(points, self.heading, self.nose_en)

    @property
    def middle_en(self) -> Points:
        """Half way between nose and tail, m east and north."""
        return self.outline(np.array([-TYPES[self.kind].length_m / 2, 0.0]))

    def bounds_en(self) -> tuple[float, float, float, float]:
        """Return west, south, east, north (m) of everything drawn of the aircraft, its shadow
        excepted.
        """
        every = np.concatenate(
            [self.outline(part.points) for part in aircraft_parts(self.kind, self.livery)]
        )
        return (*every.min(axis=0).tolist(), *every.max(axis=0).tolist())


def aircraft_parts(kind: str, livery: str, lit_side: float = 0.0) -> list[Part]:
    """Return the pieces of an aircraft of `TYPES` and `LIVERIES` in drawing order.

    `lit_side`: -1..1, how far the sun stands to the left (+) or right (-) of the body, which shades
    the round of it.
    """
    plan = TYPES[kind]
    body, wing, tail, engine = LIVERIES[livery]
    height, long = 1.1 * plan.body_m + 0.4, plan.length_m
    aft_m = (
        (height + plan.fin_m - 1, height + plan.fin_m)
        if plan.mount != "wing"
        else (height, height + 1)
    )
    lifting = _both(_wing(plan), wing, height - 1, height)
    aft = _both(_stabiliser(plan), mix(wing, tail, 0.25), *aft_m)
    fin_x = np.array(
        [-0.835 * long, 0.5 - 0.99 * long, -0.99 * long, 0.5 - 0.99 * long, -0.835 * long]
    )
    fin = Part(
        join(fin_x, [0.05, 0.35, 0, -0.35, -0.05]),
        scale_color(tail, 0.92),
        height,
        height + plan.fin_m,
    )
    pods = [
        part
        for place in plan.engines
        for part in _both(_pod(plan, place), engine, height - 2, height - 1)
    ]
    trunk = _body(plan, body, tail, lit_side, height)
    if plan.mount == "wing":
        return [*pods, *lifting, *aft, *trunk, fin]
    if plan.mount == "tail":
        return [*lifting, *pods, *trunk, fin, *aft]
    return [*trunk, *lifting, *pods, fin, *aft]


def _both(points: Points, color: Color, low_m: float, high_m: float) -> list[Part]:
    return [Part(points * (1.0, side), color, low_m, high_m) for side in (1.0, -1.0)]


def _wing(plan: AircraftType) -> Points:
    """Return the left wing, with a kink in its trailing edge."""
    half, side, long = plan.span_m / 2, 0.35 * plan.body_m, plan.length_m
    front, back, chord = -plan.wing_at * long, -(plan.wing_at + plan.root) * long, plan.tip * long
    tip = front - math.tan(math.radians(plan.sweep_deg)) * (half - side)
    kink = side + 0.36 * (half - side)
    kink_back = (back if plan.sweep_deg > 15 else back + 0.1 * (back - tip + chord)) - 0.02 * long
    x = [front + 0.6, tip + 0.3 * chord, tip - 0.35 * chord, tip - chord, kink_back, back]
    return join(x, [side, half - 0.5, half, half - 0.1, kink, side])


def _stabiliser(plan: AircraftType) -> Points:
    half, long = plan.tail_span * plan.span_m / 2, plan.length_m
    chord, at = (
        (0.075 if long > 20 else 0.095) * long,
        -(0.865 if plan.mount == "wing" else 0.915) * long,
    )
    back = max(
        at - math.tan(math.radians(max(plan.sweep_deg + 4, 8))) * half, 0.4 * chord - 0.985 * long
    )
    return join(
        [at, back, max(back - 0.45 * chord, -0.985 * long), max(at - chord, -long)],
        [0, half, half, 0],
    )


def _strip(x: Points, low: Points, high: Points) -> Points:
    """Return the outline (2 N, 2) between two lines along a body."""
    return join(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))


def _pod(plan: AircraftType, place: float) -> Points:
    """Return a nacelle ahead of the wing's leading edge, with a propeller's disc or not, or beside
    the rear body.
    """
    (length, width), middle = plan.pod_m, place * plan.span_m / 2
    edge = -plan.wing_at * plan.length_m - math.tan(math.radians(plan.sweep_deg)) * (
        middle - 0.35 * plan.body_m
    )
    front, face = edge + 0.66 * length, 2.6 if plan.mount == "prop" else 0.8
    if plan.mount == "tail":
        front, middle = -0.70 * plan.length_m, plan.body_m / 2 + 0.65 * width
    half = np.array([face, face, 0.8, 1.0, 0.75, 0.4]) * width / 2
    return _strip(
        front - np.array([0, 0.1, 0.1, 0.3, 0.8, 1.0]) * length, middle + half, middle - half
    )


def _body(
    plan: AircraftType, body: Color, tail: Color, lit_side: float, height: float
) -> list[Part]:
    """Return the fuselage as strips, shaded like a lying cylinder, with the painted tail."""
    length, nose = plan.length_m, min(1.7 * plan.body_m, 0.2 * plan.length_m)
    x = -np.concatenate(
        [
            np.array([0, 0.06, 0.2, 0.45, 1.0]) * nose,
            np.array([0.66, 0.8, 0.9, 0.965, 1.0]) * length,
        ]
    )
    r = plan.body_m / 2 * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])
    parts = []
    for low, high in pairwise((-1.0, -0.72, -0.35, 0.35, 0.72, 1.0)):
        middle = (low + high) / 2
        shade = 0.90 + 0.16 * lit_side * middle - 0.20 * middle**2 + (0.10 if low < 0 < high else 0)
        parts.append(
            Part(
                _strip(x, low * r, high * r), scale_color(body, shade), height - plan.body_m, height
            )
        )
    return [*parts, Part(_strip(x[6:], -r[6:], r[6:]), mix(body, tail, 0.7), height - 1, height)]
