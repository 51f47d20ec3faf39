"""Aircraft as seen from above: dimensions of types, liveries, and the parts that are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from windhover.simulate.shapes import (
    Color,
    Points,
    mix_colors,
    parse_colors,
    points_from_xy,
    rotate,
    scale_color,
)

Mount = Literal["wing", "tail", "prop"]


class AircraftType(NamedTuple):
    """Dimensions of an aircraft type; length and span from the makers' airport planning manuals.

    Attributes:
        length_m: overall.
        span_m: overall.
        body_m: width of the fuselage.
        sweep_deg: of the wing.
        wing_position: leading edge of the wing root from the nose, fraction of the length.
        root_chord: of the wing, fraction of the length.
        tip_chord: of the wing, fraction of the length.
        tail_span: of the stabilizer, fraction of the span.
        fin_height_m: above the fuselage.
        engine_positions: on each side, fraction of the half span.
        engine_size_m: length and width.
        engine_mount: jets at the wing or the tail, or propellers; the last two have a T-tail.
        frequency: how common the type is, relative to the others.
    """

    length_m: float
    span_m: float
    body_m: float
    sweep_deg: float
    wing_position: float
    root_chord: float
    tip_chord: float
    tail_span: float
    fin_height_m: float
    engine_positions: tuple[float, ...]
    engine_size_m: tuple[float, float]
    engine_mount: Mount
    frequency: float


TYPES: dict[str, AircraftType] = {
    "A320": AircraftType(
        length_m=37.57,
        span_m=35.80,
        body_m=3.95,
        sweep_deg=27,
        wing_position=0.32,
        root_chord=0.185,
        tip_chord=0.043,
        tail_span=0.35,
        fin_height_m=6.0,
        engine_positions=(0.32,),
        engine_size_m=(4.4, 2.5),
        engine_mount="wing",
        frequency=3.0,
    ),
    "A321": AircraftType(
        length_m=44.51,
        span_m=35.80,
        body_m=3.95,
        sweep_deg=27,
        wing_position=0.34,
        root_chord=0.16,
        tip_chord=0.036,
        tail_span=0.35,
        fin_height_m=6.0,
        engine_positions=(0.32,),
        engine_size_m=(4.4, 2.5),
        engine_mount="wing",
        frequency=1.5,
    ),
    "B738": AircraftType(
        length_m=39.47,
        span_m=35.79,
        body_m=3.76,
        sweep_deg=27,
        wing_position=0.33,
        root_chord=0.19,
        tip_chord=0.040,
        tail_span=0.40,
        fin_height_m=6.8,
        engine_positions=(0.27,),
        engine_size_m=(4.6, 2.4),
        engine_mount="wing",
        frequency=3.0,
    ),
    "A333": AircraftType(
        length_m=63.66,
        span_m=60.30,
        body_m=5.64,
        sweep_deg=31,
        wing_position=0.30,
        root_chord=0.175,
        tip_chord=0.040,
        tail_span=0.32,
        fin_height_m=8.5,
        engine_positions=(0.31,),
        engine_size_m=(6.6, 3.5),
        engine_mount="wing",
        frequency=1.2,
    ),
    "B789": AircraftType(
        length_m=62.81,
        span_m=60.12,
        body_m=5.77,
        sweep_deg=34,
        wing_position=0.29,
        root_chord=0.185,
        tip_chord=0.030,
        tail_span=0.33,
        fin_height_m=8.5,
        engine_positions=(0.32,),
        engine_size_m=(6.2, 3.7),
        engine_mount="wing",
        frequency=1.2,
    ),
    "B77W": AircraftType(
        length_m=73.86,
        span_m=64.80,
        body_m=6.20,
        sweep_deg=33,
        wing_position=0.31,
        root_chord=0.175,
        tip_chord=0.035,
        tail_span=0.33,
        fin_height_m=9.2,
        engine_positions=(0.3,),
        engine_size_m=(7.2, 4.2),
        engine_mount="wing",
        frequency=1.2,
    ),
    "B744": AircraftType(
        length_m=70.66,
        span_m=64.44,
        body_m=6.50,
        sweep_deg=39,
        wing_position=0.26,
        root_chord=0.21,
        tip_chord=0.052,
        tail_span=0.34,
        fin_height_m=9.8,
        engine_positions=(0.36, 0.64),
        engine_size_m=(5.6, 2.9),
        engine_mount="wing",
        frequency=0.8,
    ),
    "A388": AircraftType(
        length_m=72.72,
        span_m=79.75,
        body_m=7.14,
        sweep_deg=36,
        wing_position=0.27,
        root_chord=0.245,
        tip_chord=0.052,
        tail_span=0.38,
        fin_height_m=12.0,
        engine_positions=(0.33, 0.65),
        engine_size_m=(6.8, 3.6),
        engine_mount="wing",
        frequency=0.6,
    ),
    "E190": AircraftType(
        length_m=36.24,
        span_m=28.72,
        body_m=3.01,
        sweep_deg=26,
        wing_position=0.34,
        root_chord=0.165,
        tip_chord=0.040,
        tail_span=0.42,
        fin_height_m=5.2,
        engine_positions=(0.33,),
        engine_size_m=(3.9, 2.0),
        engine_mount="wing",
        frequency=1.8,
    ),
    "CRJ9": AircraftType(
        length_m=36.40,
        span_m=24.85,
        body_m=2.69,
        sweep_deg=27,
        wing_position=0.42,
        root_chord=0.145,
        tip_chord=0.038,
        tail_span=0.34,
        fin_height_m=4.6,
        engine_positions=(0.0,),
        engine_size_m=(4.3, 1.7),
        engine_mount="tail",
        frequency=1.5,
    ),
    "AT72": AircraftType(
        length_m=27.17,
        span_m=27.05,
        body_m=2.87,
        sweep_deg=3,
        wing_position=0.42,
        root_chord=0.098,
        tip_chord=0.060,
        tail_span=0.27,
        fin_height_m=4.4,
        engine_positions=(0.3,),
        engine_size_m=(3.6, 1.2),
        engine_mount="prop",
        frequency=1.8,
    ),
    "B350": AircraftType(
        length_m=14.22,
        span_m=17.65,
        body_m=1.55,
        sweep_deg=6,
        wing_position=0.33,
        root_chord=0.155,
        tip_chord=0.085,
        tail_span=0.32,
        fin_height_m=2.2,
        engine_positions=(0.3,),
        engine_size_m=(2.6, 0.9),
        engine_mount="prop",
        frequency=4.4,
    ),
}
# body, wings, tail, engines
LIVERIES: dict[str, tuple[Color, ...]] = {
    "white": parse_colors("f4f4f2 c4c7cb f0f0f0 d6d8da"),
    "blue tail": parse_colors("f2f3f4 c0c4c8 203470 26386e"),
    "red tail": parse_colors("f4f3f1 c6c8cb b01e22 d4d5d6"),
    "dark tail": parse_colors("eeeeed bec1c5 262830 3c3e44"),
    "green tail": parse_colors("f0f2f0 c0c4c4 186848 d0d2d2"),
    "grey": parse_colors("a8adb2 969a9e 969ba0 8c8f92"),
    "metal": parse_colors("ccccc6 b8b8b4 c43c32 b2b2b0"),
    "yellow": parse_colors("e8be2c c8caca d22824 e2ba32"),
    "blue": parse_colors("487eba bec2c6 284a8c 4674aa"),
    "navy": parse_colors("2c3654 acafb2 28304e 343c54"),
    "red": parse_colors("be2c28 c4c6c8 ececea ba302c"),
}


class Part(NamedTuple):
    """A part of an aircraft in its own frame: x forward from the nose, y to the left, metres.

    Attributes:
        points: outline (N, 2).
        color: of its surface.
        low_m: height of its lower side above the ground.
        high_m: height of its upper side above the ground.
    """

    points: Points
    color: Color
    low_m: float
    high_m: float


@dataclass(frozen=True, slots=True)
class Aircraft:
    """One aircraft on the ground.

    Attributes:
        type_name: key of `TYPES`.
        livery: key of `LIVERIES`.
        nose_en: position of its nose, m east and north.
        heading: of its nose, radians from east, anticlockwise.
    """

    type_name: str
    livery: str
    nose_en: tuple[float, float]
    heading: float

    def to_ground(self, points: Points) -> Points:
        """Return points (N, 2) of the aircraft's frame as m east and north."""
        return rotate(points, self.heading, self.nose_en)

    @property
    def center_en(self) -> Points:
        """Half way between nose and tail, m east and north."""
        return self.to_ground(np.array([-TYPES[self.type_name].length_m / 2, 0.0]))

    def bounds_en(self) -> tuple[float, float, float, float]:
        """Return west, south, east, north (m) of all that is drawn but the shadow."""
        parts = aircraft_parts(self.type_name, self.livery)
        points = np.concatenate([self.to_ground(part.points) for part in parts])
        return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def aircraft_parts(type_name: str, livery: str, light_side: float = 0.0) -> list[Part]:
    """Return the parts of an aircraft in drawing order.

    Args:
        type_name: key of `TYPES`.
        livery: key of `LIVERIES`.
        light_side: -1..1, how far the sun is to the left (+) or right (-) of the body, which
            shades its curve.
    """
    spec = TYPES[type_name]
    body, wing, tail, engine = LIVERIES[livery]
    height = 1.1 * spec.body_m + 0.4
    if spec.engine_mount == "wing":
        tail_low = height
        tail_high = height + 1
    else:  # a T-tail
        tail_low = height + spec.fin_height_m - 1
        tail_high = height + spec.fin_height_m
    wings = _both_sides(_wing(spec), wing, low_m=height - 1, high_m=height)
    stabilizers = _both_sides(
        _stabilizer(spec), mix_colors(wing, tail, 0.25), low_m=tail_low, high_m=tail_high
    )
    fin = Part(_fin(spec), scale_color(tail, 0.92), height, height + spec.fin_height_m)
    engines: list[Part] = []
    for position in spec.engine_positions:
        outline = _engine(spec, position)
        engines += _both_sides(outline, engine, low_m=height - 2, high_m=height - 1)
    fuselage = _fuselage(spec, body, tail, light_side=light_side, height=height)
    if spec.engine_mount == "wing":
        return [*engines, *wings, *stabilizers, *fuselage, fin]
    if spec.engine_mount == "tail":
        return [*wings, *engines, *fuselage, fin, *stabilizers]
    return [*fuselage, *wings, *engines, fin, *stabilizers]


def _both_sides(points: Points, color: Color, *, low_m: float, high_m: float) -> list[Part]:
    return [Part(points * (1.0, side), color, low_m, high_m) for side in (1.0, -1.0)]


def _fin(spec: AircraftType) -> Points:
    length = spec.length_m
    front = -0.835 * length
    x = np.array([front, 0.5 - 0.99 * length, -0.99 * length, 0.5 - 0.99 * length, front])
    return points_from_xy(x, [0.05, 0.35, 0, -0.35, -0.05])


def _wing(spec: AircraftType) -> Points:
    """Return the left wing, with a kink in its trailing edge."""
    half_span = spec.span_m / 2
    root = 0.35 * spec.body_m
    length = spec.length_m
    front = -spec.wing_position * length
    back = -(spec.wing_position + spec.root_chord) * length
    chord = spec.tip_chord * length
    tip = front - math.tan(math.radians(spec.sweep_deg)) * (half_span - root)
    kink = root + 0.36 * (half_span - root)
    kink_back = back
    if spec.sweep_deg <= 15:
        kink_back = back + 0.1 * (back - tip + chord)
    kink_back = kink_back - 0.02 * length
    x = [front + 0.6, tip + 0.3 * chord, tip - 0.35 * chord, tip - chord, kink_back, back]
    return points_from_xy(x, [root, half_span - 0.5, half_span, half_span - 0.1, kink, root])


def _stabilizer(spec: AircraftType) -> Points:
    half_span = spec.tail_span * spec.span_m / 2
    length = spec.length_m
    chord = (0.075 if length > 20 else 0.095) * length
    front = -(0.865 if spec.engine_mount == "wing" else 0.915) * length
    sweep = math.tan(math.radians(max(spec.sweep_deg + 4, 8)))
    tip = max(front - sweep * half_span, 0.4 * chord - 0.985 * length)
    tip_back = max(tip - 0.45 * chord, -0.985 * length)
    x = [front, tip, tip_back, max(front - chord, -length)]
    return points_from_xy(x, [0, half_span, half_span, 0])


def _outline_between(x: Points, low: Points, high: Points) -> Points:
    """Return the outline (2 N, 2) between two lines along a body."""
    return points_from_xy(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))


def _engine(spec: AircraftType, position: float) -> Points:
    """Return the left engine, ahead of the wing or at the rear body; propellers are wide in front.

    Args:
        spec: the type.
        position: of the engine, fraction of the half span.
    """
    length, width = spec.engine_size_m
    if spec.engine_mount == "tail":
        front = -0.70 * spec.length_m
        middle = spec.body_m / 2 + 0.65 * width
    else:
        middle = position * spec.span_m / 2
        sweep = math.tan(math.radians(spec.sweep_deg))
        wing_edge = -spec.wing_position * spec.length_m - sweep * (middle - 0.35 * spec.body_m)
        front = wing_edge + 0.66 * length
    face = 2.6 if spec.engine_mount == "prop" else 0.8
    half_width = np.array([face, face, 0.8, 1.0, 0.75, 0.4]) * width / 2
    x = front - np.array([0, 0.1, 0.1, 0.3, 0.8, 1.0]) * length
    return _outline_between(x, middle + half_width, middle - half_width)


def _fuselage(
    spec: AircraftType, body: Color, tail: Color, *, light_side: float, height: float
) -> list[Part]:
    """Return the fuselage as lengthwise parts, shaded like a cylinder, with the painted tail."""
    length = spec.length_m
    nose = min(1.7 * spec.body_m, 0.2 * spec.length_m)
    front_x = np.array([0, 0.06, 0.2, 0.45, 1.0]) * nose
    back_x = np.array([0.66, 0.8, 0.9, 0.965, 1.0]) * length
    x = -np.concatenate([front_x, back_x])
    radius = spec.body_m / 2 * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])
    parts = []
    for low, high in pairwise((-1.0, -0.72, -0.35, 0.35, 0.72, 1.0)):
        middle = (low + high) / 2
        ridge = 0.10 if low < 0 < high else 0
        shade = 0.90 + 0.16 * light_side * middle - 0.20 * middle**2 + ridge
        outline = _outline_between(x, low * radius, high * radius)
        parts.append(Part(outline, scale_color(body, shade), height - spec.body_m, height))
    tail_outline = _outline_between(x[6:], -radius[6:], radius[6:])
    parts.append(Part(tail_outline, mix_colors(body, tail, 0.7), height - 1, height))
    return parts
