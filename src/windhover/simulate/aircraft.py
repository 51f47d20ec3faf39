"""Aircraft seen from above: real types with their length and span, liveries, shadows, drawn finely and averaged down.

Knows nothing of where aircraft stand (see `world`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from windhover.simulate.drawing import FRACTION_BITS, Array, Canvas, Colour, Points, mix, palette, scale_colour

AIRCRAFT_STEP_M = 0.2  # grid on which aircraft are drawn before averaging


@dataclass(frozen=True, slots=True)
class AircraftType:
    """Plan of an aircraft type: overall length and span from the makers' airport planning manuals, the rest in shares.

    `wing_at`: leading edge of the wing root from the nose; `root`, `tip`: chords; all three as shares of the length.
    `engines`: lateral positions on each side, share of the half span. `mount`: wing, tail or prop; the last two make a
    T-tail.
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

    @property
    def t_tail(self) -> bool:
        """Whether the tailplane sits on top of the fin."""
        return self.mount != "wing"


TYPES: dict[str, AircraftType] = {
    "A320": AircraftType(37.57, 35.80, 3.95, 27, 0.32, 0.185, 0.043, 0.35, 6.0, (0.32,), (4.4, 2.5), "wing", 3.0),
    "A321": AircraftType(44.51, 35.80, 3.95, 27, 0.34, 0.16, 0.036, 0.35, 6.0, (0.32,), (4.4, 2.5), "wing", 1.5),
    "B738": AircraftType(39.47, 35.79, 3.76, 27, 0.33, 0.19, 0.040, 0.40, 6.8, (0.27,), (4.6, 2.4), "wing", 3.0),
    "A333": AircraftType(63.66, 60.30, 5.64, 31, 0.30, 0.175, 0.040, 0.32, 8.5, (0.31,), (6.6, 3.5), "wing", 1.2),
    "B789": AircraftType(62.81, 60.12, 5.77, 34, 0.29, 0.185, 0.030, 0.33, 8.5, (0.32,), (6.2, 3.7), "wing", 1.2),
    "B77W": AircraftType(73.86, 64.80, 6.20, 33, 0.31, 0.175, 0.035, 0.33, 9.2, (0.3,), (7.2, 4.2), "wing", 1.2),
    "B744": AircraftType(70.66, 64.44, 6.50, 39, 0.26, 0.21, 0.052, 0.34, 9.8, (0.36, 0.64), (5.6, 2.9), "wing", 0.8),
    "A388": AircraftType(72.72, 79.75, 7.14, 36, 0.27, 0.245, 0.052, 0.38, 12.0, (0.33, 0.65), (6.8, 3.6), "wing", 0.6),
    "E190": AircraftType(36.24, 28.72, 3.01, 26, 0.34, 0.165, 0.040, 0.42, 5.2, (0.33,), (3.9, 2.0), "wing", 1.8),
    "CRJ9": AircraftType(36.40, 24.85, 2.69, 27, 0.42, 0.145, 0.038, 0.34, 4.6, (0.0,), (4.3, 1.7), "tail", 1.5),
    "AT72": AircraftType(27.17, 27.05, 2.87, 3, 0.42, 0.098, 0.060, 0.27, 4.4, (0.3,), (3.6, 1.2), "prop", 1.8),
    "B350": AircraftType(14.22, 17.65, 1.55, 6, 0.33, 0.155, 0.085, 0.32, 2.2, (0.3,), (2.6, 0.9), "prop", 1.5),
}

# body, wings, tail, engines
LIVERIES: dict[str, tuple[Colour, ...]] = {
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


@dataclass(frozen=True, slots=True)
class Aircraft:
    """One aircraft on the ground: its nose (m east, north), where it points (radians from east, anticlockwise)."""

    kind: str
    livery: str
    nose_en: tuple[float, float]
    heading: float

    def outline(self, points: Points) -> Points:
        """Return points of the aircraft's frame (x forward from the nose, y to the left, m) as m east and north."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return np.stack(
            [
                self.nose_en[0] + points[:, 0] * cos - points[:, 1] * sin,
                self.nose_en[1] + points[:, 0] * sin + points[:, 1] * cos,
            ],
            axis=1,
        )

    def bounds_en(self) -> tuple[float, float, float, float]:
        """Return west, south, east, north (m) of everything drawn of the aircraft, its shadow excepted."""
        every = np.concatenate([self.outline(part.points) for part in aircraft_parts(self.kind, self.livery)])
        return (*every.min(axis=0).tolist(), *every.max(axis=0).tolist())


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an aircraft in its own frame: outline (N, 2) m, colour, and its height above the ground (m)."""

    points: Points
    colour: Colour
    low_m: float
    high_m: float


def aircraft_parts(kind: str, livery: str, lit_side: float = 0.0) -> list[Part]:
    """Return the pieces of an aircraft in drawing order.

    Args:
        kind: key of `TYPES`.
        livery: key of `LIVERIES`.
        lit_side: -1..1, how far the sun stands to the left (+) or right (-) of the body, which shades the round of it.
    """
    plan = TYPES[kind]
    body, wing, tail, engine = LIVERIES[livery]
    height = 1.1 * plan.body_m + 0.4
    wings = [Part(side, wing, height - 1, height) for side in _mirror(_wing(plan))]
    flaps = [Part(side, scale_colour(wing, 0.86), height - 1, height) for side in _mirror(_flap(plan))]
    stabilisers = _mirror(_stabiliser(plan))
    aft = [
        Part(
            side,
            mix(wing, tail, 0.25),
            *((height + plan.fin_m - 1, height + plan.fin_m) if plan.t_tail else (height, height + 1)),
        )
        for side in stabilisers
    ]
    trunk = _body(plan, body, tail, lit_side, height)
    fin_x = np.array([0.835, 0.99]) * -plan.length_m
    fin = Part(
        np.array(
            [[fin_x[0], 0.05], [fin_x[1] + 0.5, 0.35], [fin_x[1], 0.0], [fin_x[1] + 0.5, -0.35], [fin_x[0], -0.05]]
        ),
        scale_colour(tail, 0.92),
        height,
        height + plan.fin_m,
    )
    pods = [Part(side, engine, height - 2, height - 1) for place in plan.engines for side in _mirror(_pod(plan, place))]
    inlets = [Part(side, (58, 60, 64), 0, 0) for place in plan.engines for side in _mirror(_inlet(plan, place))]
    if plan.mount == "tail":
        return [*wings, *flaps, *pods, *trunk, fin, *aft]
    if plan.mount == "prop":
        return [*trunk, *wings, *flaps, *pods, *inlets, fin, *aft]
    return [*pods, *inlets, *wings, *flaps, *aft, *trunk, fin]


def _mirror(points: Points) -> list[Points]:
    return [points, points * np.array([1.0, -1.0])]


def _wing(plan: AircraftType) -> Points:
    half, side = plan.span_m / 2, 0.35 * plan.body_m
    front, back = -plan.wing_at * plan.length_m, -(plan.wing_at + plan.root) * plan.length_m
    tip_front = front - math.tan(math.radians(plan.sweep_deg)) * (half - side)
    tip_chord = plan.tip * plan.length_m
    kink = side + 0.36 * (half - side)
    kink_back = back if plan.sweep_deg > 15 else back + 0.1 * (back - tip_front + tip_chord)
    return np.array(
        [
            [front + 0.6, side],
            [tip_front + 0.3 * tip_chord, half - 0.5],
            [tip_front - 0.35 * tip_chord, half],
            [tip_front - tip_chord, half - 0.1],
            [kink_back - 0.02 * plan.length_m, kink],
            [back, side],
        ]
    )


def _flap(plan: AircraftType) -> Points:
    wing = _wing(plan)
    tip, kink, root = wing[3], wing[4], wing[5]
    inward = np.array([0.18 * plan.root * plan.length_m, 0.0])
    return np.array([tip + 0.5 * inward * plan.tip / plan.root, kink + inward, root + inward, root, kink, tip])


def _stabiliser(plan: AircraftType) -> Points:
    half = plan.tail_span * plan.span_m / 2
    chord = (0.075 if plan.length_m > 20 else 0.095) * plan.length_m
    at = -(0.915 if plan.t_tail else 0.865) * plan.length_m
    back = at - math.tan(math.radians(max(plan.sweep_deg + 4, 8))) * half
    back = max(back, 0.4 * chord - 0.985 * plan.length_m)
    last = max(back - 0.45 * chord, -0.985 * plan.length_m)
    return np.array([[at, 0.0], [back, half], [last, half], [max(at - chord, -plan.length_m), 0.0]])


def _pod(plan: AircraftType, place: float) -> Points:
    """Return a nacelle: ahead of the wing's leading edge, or beside the rear body."""
    length, width = plan.pod_m
    if plan.mount == "tail":
        front, middle = -0.70 * plan.length_m, plan.body_m / 2 + 0.65 * width
    else:
        middle = place * plan.span_m / 2
        edge = -plan.wing_at * plan.length_m - math.tan(math.radians(plan.sweep_deg)) * (middle - 0.35 * plan.body_m)
        front = edge + 0.66 * length
    r = width / 2
    return np.array(
        [
            [front, middle + 0.8 * r],
            [front - 0.3 * length, middle + r],
            [front - 0.8 * length, middle + 0.75 * r],
            [front - length, middle + 0.4 * r],
            [front - length, middle - 0.4 * r],
            [front - 0.8 * length, middle - 0.75 * r],
            [front - 0.3 * length, middle - r],
            [front, middle - 0.8 * r],
        ]
    )


def _inlet(plan: AircraftType, place: float) -> Points:
    outline = _pod(plan, place)
    front, middle, r = outline[0, 0], (outline[0, 1] + outline[-1, 1]) / 2, plan.pod_m[1] / 2
    if plan.mount == "prop":  # the disc of a turning or standing propeller, thin from above
        return np.array(
            [
                [front + 0.15, middle - 2.6 * r],
                [front + 0.15, middle + 2.6 * r],
                [front - 0.15, middle + 2.6 * r],
                [front - 0.15, middle - 2.6 * r],
            ]
        )
    return np.array(
        [
            [front, middle - 0.8 * r],
            [front, middle + 0.8 * r],
            [front - 0.45, middle + 0.8 * r],
            [front - 0.45, middle - 0.8 * r],
        ]
    )


def _body(plan: AircraftType, body: Colour, tail: Colour, lit_side: float, height: float) -> list[Part]:
    """Return the fuselage as strips, shaded like a lying cylinder, with the flight deck and the painted tail."""
    length, radius = plan.length_m, plan.body_m / 2
    nose = min(1.7 * plan.body_m, 0.2 * length)
    x = np.array(
        [
            0,
            0.06 * nose,
            0.2 * nose,
            0.45 * nose,
            nose,
            0.66 * length,
            0.8 * length,
            0.9 * length,
            0.965 * length,
            length,
        ]
    )
    r = radius * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])
    parts = []
    edges = np.array([-1.0, -0.72, -0.35, 0.35, 0.72, 1.0])
    for low, high in pairwise(edges):
        shade = (
            0.90 + 0.16 * lit_side * (low + high) / 2 - 0.20 * ((low + high) / 2) ** 2 + (0.10 if low < 0 < high else 0)
        )
        strip = np.concatenate([np.stack([-x, r * low], axis=1), np.stack([-x, r * high], axis=1)[::-1]])
        parts.append(Part(strip, scale_colour(body, shade), height - plan.body_m, height))
    painted = x >= 0.8 * length
    rear = np.concatenate(
        [np.stack([-x[painted], -r[painted]], axis=1), np.stack([-x[painted], r[painted]], axis=1)[::-1]]
    )
    parts.append(Part(rear, mix(scale_colour(body, 0.92), tail, 0.7), height - 1, height))
    deck = np.array(
        [
            [-0.22 * nose, -0.42 * radius],
            [-0.22 * nose, 0.42 * radius],
            [-0.34 * nose, 0.62 * radius],
            [-0.34 * nose, -0.62 * radius],
        ]
    )
    parts.append(Part(deck, (52, 56, 64), height - 1, height))
    return parts


def cast_aircraft(canvas: Canvas, aircraft: Aircraft) -> None:
    """Cast an aircraft's shadow; its pieces are near enough convex."""
    for part in aircraft_parts(aircraft.kind, aircraft.livery):
        if part.high_m > 0:
            _cast_piece(canvas, aircraft.outline(part.points), part)


def _cast_piece(canvas: Canvas, points: Points, part: Part) -> None:
    if part.high_m - part.low_m > 1.5:
        canvas.cast(points, max(part.low_m, 0.5), part.high_m)
        return
    fallen = canvas.fixed(points + np.array(canvas.light.shadow_en) * part.high_m)
    cv2.fillPoly(canvas.shade, [fallen], 255, cv2.LINE_AA, FRACTION_BITS)


def stamp_aircraft(picture: Array, canvas: Canvas, aircraft: Aircraft) -> None:
    """Draw an aircraft onto a flattened picture (H, W, 3), in place, averaged down from a grid of 0.2 m."""
    sun = (-canvas.light.shadow_en[0], -canvas.light.shadow_en[1])
    left = (-math.sin(aircraft.heading), math.cos(aircraft.heading))
    lit = (sun[0] * left[0] + sun[1] * left[1]) / max(math.hypot(*sun), 1e-9)
    west, south, east, north = aircraft.bounds_en()
    x0, y0 = math.floor((west - canvas.west) / canvas.gsd_m) - 1, math.floor((canvas.north - north) / canvas.gsd_m) - 1
    x1, y1 = math.ceil((east - canvas.west) / canvas.gsd_m) + 1, math.ceil((canvas.north - south) / canvas.gsd_m) + 1
    fine = max(2, math.ceil(canvas.gsd_m / AIRCRAFT_STEP_M))
    sprite = np.zeros(((y1 - y0) * fine, (x1 - x0) * fine, 4), np.uint8)
    shift = np.array([x0, y0], np.int32) * (fine << FRACTION_BITS)
    for part in aircraft_parts(aircraft.kind, aircraft.livery, lit):
        outline = canvas.fixed(aircraft.outline(part.points), fine) - shift
        cv2.fillPoly(sprite, [outline], (*part.colour, 255), cv2.LINE_AA, FRACTION_BITS)
    small = cv2.resize(sprite.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    top, bottom, first, last = max(y0, 0), min(y1, picture.shape[0]), max(x0, 0), min(x1, picture.shape[1])
    if top >= bottom or first >= last:
        return
    small = small[top - y0 : bottom - y0, first - x0 : last - x0]
    area = picture[top:bottom, first:last]
    area[...] = area * (1 - small[..., 3:] / 255) + small[..., :3]
