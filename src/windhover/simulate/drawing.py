"""How the built-in world looks: a canvas in metres, ground textures, aircraft with true proportions, and the sensor.

Knows nothing of airports, places or files; what stands where is decided in `world`. Pictures are RGB throughout.
Every random number comes from a generator that the caller seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]
Colour = tuple[int, int, int]

SUBPIXELS = 2  # canvas pixels per scene pixel, along each side
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with
AIRCRAFT_STEP_M = 0.2  # grid on which aircraft are drawn before averaging


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw, in metres east and north of the place's origin.

    `rings`: outlines (N, 2), the later ones holes; for a line (`width_m` > 0) open polylines.
    `texture`: 0..255, how strongly the ground's grain shows. `height_m` casts a shadow; `base_m` is the roof it stands on.
    `pattern`: "" or one of furrow, rows, wood, water, mottle, drawn along `angle` (radians) with period `period_m`.
    """

    rings: tuple[Points, ...]
    colour: Colour
    texture: int = 20
    height_m: float = 0.0
    base_m: float = 0.0
    width_m: float = 0.0
    under: Colour = (120, 120, 120)
    pattern: str = ""
    angle: float = 0.0
    period_m: float = 6.0
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Light:
    """Where the sun and the sensor stand: metres of shadow and of lean (east, north) per metre of height."""

    shadow_en: tuple[float, float]
    lean_en: tuple[float, float]

    @staticmethod
    def of(sun_azimuth_deg: float, sun_elevation_deg: float, view_azimuth_deg: float, off_nadir_deg: float) -> Light:
        """Return the light for angles in degrees, azimuths clockwise from north."""
        sun, view = math.radians(sun_azimuth_deg), math.radians(view_azimuth_deg)
        long, lean = 1 / math.tan(math.radians(sun_elevation_deg)), math.tan(math.radians(off_nadir_deg))
        return Light((-math.sin(sun) * long, -math.cos(sun) * long), (math.sin(view) * lean, math.cos(view) * lean))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with `share` (0..1) of `second` in it."""
    return (
        round(first[0] + (second[0] - first[0]) * share),
        round(first[1] + (second[1] - first[1]) * share),
        round(first[2] + (second[2] - first[2]) * share),
    )


def scale_colour(colour: Colour, factor: float) -> Colour:
    """Return `colour` made darker or lighter, kept in 0..255."""
    return (
        max(0, min(255, round(colour[0] * factor))),
        max(0, min(255, round(colour[1] * factor))),
        max(0, min(255, round(colour[2] * factor))),
    )


def noise(rng: np.random.Generator, shape_hw: tuple[int, int], grain_px: float) -> Array:
    """Return smooth noise (H, W) of about unit variance whose blobs are `grain_px` wide."""
    height, width = shape_hw
    small = rng.standard_normal((math.ceil(height / grain_px) + 3, math.ceil(width / grain_px) + 3), dtype=np.float32)
    if grain_px <= 1:
        return small[:height, :width]
    size = (math.ceil(small.shape[1] * grain_px), math.ceil(small.shape[0] * grain_px))
    return np.ascontiguousarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)[:height, :width]) * np.float32(1.25)


class Canvas:
    """A picture being drawn: colour and grain, stains, shadows, then what stands on the ground."""

    def __init__(self, shape_hw: tuple[int, int], gsd_m: float, west_north: tuple[float, float], light: Light) -> None:
        height, width = shape_hw
        self.shape_hw, self.gsd_m, self.light = shape_hw, gsd_m, light
        self.west, self.north = west_north
        self.ground = np.zeros((height * SUBPIXELS, width * SUBPIXELS, 4), np.uint8)
        self.shade = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)
        self.stains = np.zeros((height // 2 + 1, width // 2 + 1), np.uint8)

    def fixed(self, points: Points, scale: float = SUBPIXELS) -> NDArray[np.int32]:
        """Return metres (N, 2) as OpenCV's fixed-point coordinates on a grid of `scale` pixels per scene pixel."""
        px = np.empty_like(points)
        px[:, 0] = (points[:, 0] - self.west) / self.gsd_m
        px[:, 1] = (self.north - points[:, 1]) / self.gsd_m
        return np.rint((px * scale - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)

    def lay(self, shape: Shape, rng: np.random.Generator) -> None:
        """Draw a shape flat on the ground."""
        if shape.pattern:
            self._lay_pattern(shape, rng)
        elif shape.width_m > 0:
            self._lay_line(shape)
        else:
            rings = [self.fixed(ring) for ring in shape.rings]
            cv2.fillPoly(self.ground, rings, (*shape.colour, shape.texture), cv2.LINE_AA, FRACTION_BITS)

    def _lay_line(self, shape: Shape) -> None:
        wide = shape.width_m / self.gsd_m * SUBPIXELS
        colour = mix(shape.under, shape.colour, min(1.0, wide))
        lines = [self.fixed(ring) for ring in shape.rings]
        cv2.polylines(self.ground, lines, False, (*colour, shape.texture), max(1, round(wide)), cv2.LINE_AA, FRACTION_BITS)

    def _lay_pattern(self, shape: Shape, rng: np.random.Generator) -> None:
        rings = [self.fixed(ring) for ring in shape.rings]
        left, top = np.maximum(rings[0].min(axis=0) // (1 << FRACTION_BITS) - 1, 0)
        right, bottom = rings[0].max(axis=0) // (1 << FRACTION_BITS) + 2
        area = self.ground[top:bottom, left:right]
        if area.size == 0:
            return
        mask = np.zeros(area.shape[:2], np.uint8)
        corner = np.array([left, top], np.int32) << FRACTION_BITS
        cv2.fillPoly(mask, [ring - corner for ring in rings], 255, cv2.LINE_AA, FRACTION_BITS)
        if shape.soft:
            mask = cv2.GaussianBlur(mask, (0, 0), 6 / self.gsd_m * SUBPIXELS)
        tone = self._tone(shape, mask.shape, (int(left), int(top)), rng)
        share = mask.astype(np.float32) * np.float32(1 / 255)
        for band in range(3):
            wanted = np.clip(tone * shape.colour[band], 0, 255)
            area[..., band] = area[..., band] + (wanted - area[..., band]) * share
        area[..., 3] = area[..., 3] + (shape.texture - area[..., 3]) * share

    def _tone(self, shape: Shape, shape_hw: tuple[int, ...], left_top: tuple[int, int], rng: np.random.Generator) -> Array:
        """Return the pattern's brightness (H, W) about 1."""
        step = self.gsd_m / SUBPIXELS
        size = (shape_hw[0], shape_hw[1])
        east = (self.west + (left_top[0] + np.arange(size[1], dtype=np.float32)) * step)[None, :].astype(np.float32)
        north = (self.north - (left_top[1] + np.arange(size[0], dtype=np.float32)) * step)[:, None].astype(np.float32)
        cos, sin = np.float32(math.cos(shape.angle)), np.float32(math.sin(shape.angle))
        across, turn = east * cos + north * sin, np.float32(2 * math.pi / shape.period_m)
        broad = noise(rng, size, 40 / step)
        if shape.pattern == "furrow":
            tram = np.abs(np.mod(across, np.float32(24)) - 12) < 0.7
            return 1 + 0.05 * np.sin(across * turn + broad * 0.6) + 0.07 * broad + 0.03 * noise(rng, size, 6 / step) - 0.10 * tram
        if shape.pattern == "rows":
            along = north * cos - east * sin
            return 0.95 + 0.28 * np.sin(across * turn) * (0.6 + 0.4 * np.sin(along * turn)) + 0.06 * broad
        if shape.pattern == "wood":
            crowns = noise(rng, size, shape.period_m / step) + 0.6 * noise(rng, size, 0.45 * shape.period_m / step)
            k = max(1, round(1.2 / step))
            lit = np.roll(crowns, (k, -k if self.light.shadow_en[0] < 0 else k), (0, 1)) - crowns
            if self.light.shadow_en[1] < 0:
                lit = np.roll(crowns, (-k, -k if self.light.shadow_en[0] < 0 else k), (0, 1)) - crowns
            return np.clip(0.95 - 0.30 * lit + 0.12 * crowns + 0.10 * broad, 0.35, 1.9)
        if shape.pattern == "water":
            return 1 + 0.06 * broad + 0.05 * noise(rng, size, 5 / step) + 0.04 * noise(rng, size, 2 / step)
        return 1 + 0.04 * broad + 0.04 * noise(rng, size, 12 / step) + 0.05 * noise(rng, size, 130 / step)

    def stain(self, points: Points, strength: float) -> None:
        """Darken (`strength` 0..1) the ground softly inside an outline in metres."""
        cv2.fillPoly(self.stains, [self.fixed(points, 0.5)], round(255 * strength), cv2.LINE_AA, FRACTION_BITS)

    def cast(self, points: Points, low_m: float, high_m: float) -> None:
        """Cast the shadow of a convex outline that reaches from `low_m` to `high_m` above the ground."""
        drop = np.array(self.light.shadow_en)
        both = np.concatenate([points + drop * low_m, points + drop * high_m])
        hull = cv2.convexHull(self.fixed(both).reshape(-1, 1, 2))
        cv2.fillConvexPoly(self.shade, hull, 255, cv2.LINE_AA, FRACTION_BITS)

    def settle_light(self, rng: np.random.Generator) -> None:
        """Apply stains and shadows to what lies on the ground; what is raised afterwards stands above them."""
        soft = cv2.GaussianBlur(self.stains, (0, 0), max(0.6, 1.5 / self.gsd_m)).astype(np.float32) / 255
        soft *= np.clip(0.8 + 0.45 * noise(rng, soft.shape, 6), 0, 1.6)
        size = (self.ground.shape[1], self.ground.shape[0])
        keep = cv2.resize(np.clip(255 * (1 - soft), 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        for band, loss in enumerate((0.66, 0.62, 0.52)):  # the sky lights shadows blue
            light = cv2.convertScaleAbs(self.shade, alpha=-loss, beta=0)
            factor = cv2.multiply(keep, cv2.subtract(np.full_like(light, 255), light), scale=1 / 255)
            self.ground[..., band] = cv2.multiply(np.ascontiguousarray(self.ground[..., band]), factor, scale=1 / 255)

    def lift(self, shape: Shape) -> None:
        """Draw a shape at its height above the ground: wall, then roof, both leaning away from the sensor."""
        lean = np.array(self.light.lean_en)
        if shape.pattern == "crown":
            self._lift_crown(shape)
            return
        top = shape.rings[0] + lean * (shape.base_m + shape.height_m)
        low = shape.rings[0] + lean * shape.base_m
        if shape.base_m > 0 and shape.height_m > 0:  # its shadow on the roof
            dark = scale_colour(shape.under, 0.5)
            fallen = self.fixed(np.concatenate([low, low + np.array(self.light.shadow_en) * shape.height_m]))
            cv2.fillConvexPoly(self.ground, cv2.convexHull(fallen.reshape(-1, 1, 2)), (*dark, 8), cv2.LINE_AA, FRACTION_BITS)
        if shape.height_m > 4:
            wall = cv2.convexHull(self.fixed(np.concatenate([low, top])).reshape(-1, 1, 2))
            cv2.fillConvexPoly(self.ground, wall, (*scale_colour(shape.colour, 0.55), 10), cv2.LINE_AA, FRACTION_BITS)
        cv2.fillPoly(self.ground, [self.fixed(top)], (*shape.colour, shape.texture), cv2.LINE_AA, FRACTION_BITS)

    def _lift_crown(self, shape: Shape) -> None:
        lean, sun = np.array(self.light.lean_en) * shape.height_m, -np.array(self.light.shadow_en)
        crown = shape.rings[0] + 0.6 * lean
        radius = float(np.ptp(crown[:, 0])) / 2
        lit = crown.mean(axis=0) + 0.62 * (crown - crown.mean(axis=0)) + sun / max(float(np.hypot(*sun)), 1e-9) * 0.28 * radius
        cv2.fillPoly(self.ground, [self.fixed(crown)], (*scale_colour(shape.colour, 0.78), shape.texture), cv2.LINE_AA, FRACTION_BITS)
        cv2.fillPoly(self.ground, [self.fixed(lit)], (*scale_colour(shape.colour, 1.35), shape.texture), cv2.LINE_AA, FRACTION_BITS)

    def flatten(self, rng: np.random.Generator) -> Array:
        """Return the picture (H, W, 3), 0..255, at scene pixels with the ground's grain in it."""
        height, width = self.shape_hw
        small = cv2.resize(self.ground, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        metre = 1 / self.gsd_m
        grain = 0.40 * noise(rng, self.shape_hw, 1) + 0.40 * noise(rng, self.shape_hw, max(1.5, 3 * metre))
        grain += 0.30 * noise(rng, self.shape_hw, 9 * metre) + 0.25 * noise(rng, self.shape_hw, 35 * metre)
        grain += 0.20 * noise(rng, self.shape_hw, 140 * metre)
        hue = 0.6 * noise(rng, self.shape_hw, 60 * metre) + 0.4 * noise(rng, self.shape_hw, 11 * metre)
        share = small[..., 3] * np.float32(1 / 255)
        grain *= share
        hue *= share
        picture = np.empty((height, width, 3), np.float32)
        for band, tint in enumerate((0.20, 0.0, -0.10)):
            picture[..., band] = small[..., band] * (1 + grain + tint * hue)
        return picture



# ------------------------------------------------------------------------------------------------------------------ things


def box(centre: tuple[float, float], length_m: float, width_m: float, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = np.array([cos, sin]) * length_m / 2, np.array([-sin, cos]) * width_m / 2
    middle = np.array(centre)
    return np.array([middle - along - across, middle + along - across, middle + along + across, middle - along + across])


def disc(centre: tuple[float, float], radius_m: float, corners: int = 20, rough: NDArray[np.float64] | None = None) -> Points:
    """Return a round outline; `rough` (corners,) scales the radius corner by corner."""
    turn = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    radius = radius_m * (rough if rough is not None else np.ones(corners))
    return np.stack([centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)], axis=1)


def tree(rng: np.random.Generator, centre: tuple[float, float], radius_m: float, colour: Colour) -> Shape:
    """Return one tree seen from above."""
    outline = disc(centre, radius_m, 9, rng.uniform(0.75, 1.2, 9))
    return Shape((outline,), scale_colour(colour, rng.uniform(0.8, 1.2)), 60, height_m=1.6 * radius_m, pattern="crown")


def house(rng: np.random.Generator, centre: tuple[float, float], angle: float, colour: Colour) -> list[Shape]:
    """Return a house with a gabled roof, its two sides lit differently."""
    length, width = rng.uniform(10, 17), rng.uniform(7, 10)
    tone = scale_colour(colour, rng.uniform(0.75, 1.25))
    side = (-math.sin(angle) * width / 4, math.cos(angle) * width / 4)
    half = box((centre[0] + side[0], centre[1] + side[1]), length, width / 2, angle)
    return [Shape((box(centre, length, width, angle),), scale_colour(tone, 0.82), 16, height_m=6.0),
            Shape((half,), scale_colour(tone, 1.2), 16, base_m=6.0)]  # fmt: skip


def roof(rng: np.random.Generator, centre: tuple[float, float], length_m: float, width_m: float, angle: float, height_m: float,
         colour: Colour, seams: int) -> list[Shape]:  # fmt: skip
    """Return a large building: a roof in bays of slightly different tone, skylights or not, and machines on top."""
    shapes = [Shape((box(centre, length_m, width_m, angle),), colour, 14, height_m=height_m)]
    cos, sin = math.cos(angle), math.sin(angle)

    def at(a: float, b: float) -> tuple[float, float]:
        return centre[0] + a * cos - b * sin, centre[1] + a * sin + b * cos

    bay = length_m / max(seams, 1)
    skylit = rng.random() < 0.5
    for k in range(seams):
        a = -length_m / 2 + (k + 0.5) * bay
        tone = scale_colour(colour, 1 + (0.05 if k % 2 else -0.05) + rng.normal(0, 0.015))
        shapes.append(Shape((box(at(a, 0), bay * 0.96, width_m * 0.97, angle),), tone, 14, base_m=height_m))
        if skylit:
            shapes.append(Shape((box(at(a, 0), 1.2, width_m * 0.7, angle),), mix(colour, (70, 80, 92), 0.6), 10, base_m=height_m))
    shapes.append(Shape((box(at(0, 0), length_m * 0.98, 0.8, angle),), scale_colour(colour, 0.75), 10, base_m=height_m))
    for _ in range(int(length_m * width_m / 420)):
        spot = at(rng.uniform(-0.45, 0.45) * length_m, rng.uniform(-0.42, 0.42) * width_m)
        machine = box(spot, rng.uniform(2, 6), rng.uniform(1.5, 3.5), angle)
        shapes.append(Shape((machine,), scale_colour((186, 188, 190), rng.uniform(0.75, 1.2)), 10, 2.0, height_m, under=colour))
    return shapes


# ---------------------------------------------------------------------------------------------------------------- aircraft


@dataclass(frozen=True, slots=True)
class AircraftType:
    """Plan of an aircraft type: overall length and span from the makers' airport planning manuals, the rest in shares.

    `wing_at`: leading edge of the wing root from the nose, share of the length. `root`, `tip`: chords, share of the length.
    `engines`: (lateral position as share of the half span, length m, width m) on each side; `engine_place`: wing, tail or prop.
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
    engines: tuple[tuple[float, float, float], ...]
    engine_place: str
    t_tail: bool
    weight: float


TYPES: dict[str, AircraftType] = {
    "A320": AircraftType(37.57, 35.80, 3.95, 27, 0.32, 0.185, 0.043, 0.35, 6.0, ((0.32, 4.4, 2.5),), "wing", False, 3.0),
    "A321": AircraftType(44.51, 35.80, 3.95, 27, 0.34, 0.16, 0.036, 0.35, 6.0, ((0.32, 4.4, 2.5),), "wing", False, 1.5),
    "B738": AircraftType(39.47, 35.79, 3.76, 27, 0.33, 0.19, 0.040, 0.40, 6.8, ((0.27, 4.6, 2.4),), "wing", False, 3.0),
    "A333": AircraftType(63.66, 60.30, 5.64, 31, 0.30, 0.175, 0.040, 0.32, 8.5, ((0.31, 6.6, 3.5),), "wing", False, 1.2),
    "B789": AircraftType(62.81, 60.12, 5.77, 34, 0.29, 0.185, 0.030, 0.33, 8.5, ((0.32, 6.2, 3.7),), "wing", False, 1.2),
    "B77W": AircraftType(73.86, 64.80, 6.20, 33, 0.31, 0.175, 0.035, 0.33, 9.2, ((0.30, 7.2, 4.2),), "wing", False, 1.2),
    "B744": AircraftType(70.66, 64.44, 6.50, 39, 0.26, 0.21, 0.052, 0.34, 9.8, ((0.36, 5.6, 2.9), (0.64, 5.6, 2.9)), "wing", False, 0.8),
    "A388": AircraftType(72.72, 79.75, 7.14, 36, 0.27, 0.245, 0.052, 0.38, 12.0, ((0.33, 6.8, 3.6), (0.65, 6.8, 3.6)), "wing", False, 0.6),
    "E190": AircraftType(36.24, 28.72, 3.01, 26, 0.34, 0.165, 0.040, 0.42, 5.2, ((0.33, 3.9, 2.0),), "wing", False, 1.8),
    "CRJ9": AircraftType(36.40, 24.85, 2.69, 27, 0.42, 0.145, 0.038, 0.34, 4.6, ((0.0, 4.3, 1.7),), "tail", True, 1.5),
    "AT72": AircraftType(27.17, 27.05, 2.87, 3, 0.42, 0.098, 0.060, 0.27, 4.4, ((0.30, 3.6, 1.2),), "prop", True, 1.8),
    "B350": AircraftType(14.22, 17.65, 1.55, 6, 0.33, 0.155, 0.085, 0.32, 2.2, ((0.30, 2.6, 0.9),), "prop", True, 1.5),
}

# livery: body, wings, tail, engines
LIVERIES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "white": ((244, 244, 242), (196, 199, 203), (240, 240, 240), (214, 216, 218)),
    "blue tail": ((242, 243, 244), (192, 196, 200), (32, 52, 112), (38, 56, 110)),
    "red tail": ((244, 243, 241), (198, 200, 203), (176, 30, 34), (212, 213, 214)),
    "dark tail": ((238, 238, 237), (190, 193, 197), (38, 40, 48), (60, 62, 68)),
    "green tail": ((240, 242, 240), (192, 196, 196), (24, 104, 72), (208, 210, 210)),
    "grey": ((168, 173, 178), (150, 154, 158), (150, 155, 160), (140, 143, 146)),
    "metal": ((204, 204, 198), (184, 184, 180), (196, 60, 50), (178, 178, 176)),
    "yellow": ((232, 190, 44), (200, 202, 202), (210, 40, 36), (226, 186, 50)),
    "blue": ((72, 126, 186), (190, 194, 198), (40, 74, 140), (70, 116, 170)),
    "navy": ((44, 54, 84), (172, 175, 178), (40, 48, 78), (52, 60, 84)),
    "red": ((190, 44, 40), (196, 198, 200), (236, 236, 234), (186, 48, 44)),
}


@dataclass(frozen=True, slots=True)
class Aircraft:
    """One aircraft on the ground: its nose (metres east, north), where it points (radians from east, anticlockwise), its paint."""

    kind: str
    livery: str
    nose_en: tuple[float, float]
    heading: float

    def outline(self, points: Points) -> Points:
        """Return points of the aircraft's frame (x forward from the nose, y to the left, m) in metres east and north."""
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return np.stack([self.nose_en[0] + points[:, 0] * cos - points[:, 1] * sin,
                         self.nose_en[1] + points[:, 0] * sin + points[:, 1] * cos], axis=1)  # fmt: skip

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
    aft = [Part(side, mix(wing, tail, 0.25), *((height + plan.fin_m - 1, height + plan.fin_m) if plan.t_tail else (height, height + 1)))
           for side in stabilisers]  # fmt: skip
    trunk = _body(plan, body, tail, lit_side, height)
    fin_x = np.array([0.835, 0.99]) * -plan.length_m
    fin = Part(np.array([[fin_x[0], 0.05], [fin_x[1] + 0.5, 0.35], [fin_x[1], 0.0], [fin_x[1] + 0.5, -0.35], [fin_x[0], -0.05]]),
               scale_colour(tail, 0.92), height, height + plan.fin_m)  # fmt: skip
    pods = [Part(side, engine, height - 2, height - 1) for pod in plan.engines for side in _mirror(_pod(plan, pod))]
    inlets = [Part(side, (58, 60, 64), 0, 0) for pod in plan.engines for side in _mirror(_inlet(plan, pod))]
    if plan.engine_place == "tail":
        return [*wings, *flaps, *pods, *trunk, fin, *aft]
    if plan.engine_place == "prop":
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
    return np.array([[front + 0.6, side], [tip_front + 0.3 * tip_chord, half - 0.5], [tip_front - 0.35 * tip_chord, half],
                     [tip_front - tip_chord, half - 0.1], [kink_back - 0.02 * plan.length_m, kink], [back, side]])  # fmt: skip


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
    last = max(back - 0.45 * chord, -plan.length_m)
    return np.array([[at, 0.0], [back, half], [last, half], [max(at - chord, -plan.length_m), 0.0]])


def _pod(plan: AircraftType, pod: tuple[float, float, float]) -> Points:
    """Return a nacelle: ahead of the wing's leading edge, or beside the rear body."""
    place, length, width = pod
    if plan.engine_place == "tail":
        front, middle = -0.70 * plan.length_m, plan.body_m / 2 + 0.65 * width
    else:
        middle = place * plan.span_m / 2
        edge = -plan.wing_at * plan.length_m - math.tan(math.radians(plan.sweep_deg)) * (middle - 0.35 * plan.body_m)
        front = edge + 0.66 * length
    r = width / 2
    return np.array([[front, middle + 0.8 * r], [front - 0.3 * length, middle + r], [front - 0.8 * length, middle + 0.75 * r],
                     [front - length, middle + 0.4 * r], [front - length, middle - 0.4 * r], [front - 0.8 * length, middle - 0.75 * r],
                     [front - 0.3 * length, middle - r], [front, middle - 0.8 * r]])  # fmt: skip


def _inlet(plan: AircraftType, pod: tuple[float, float, float]) -> Points:
    outline = _pod(plan, pod)
    front, middle, r = outline[0, 0], (outline[0, 1] + outline[-1, 1]) / 2, pod[2] / 2
    if plan.engine_place == "prop":  # the disc of a turning or standing propeller, thin from above
        return np.array([[front + 0.15, middle - 2.6 * r], [front + 0.15, middle + 2.6 * r], [front - 0.15, middle + 2.6 * r],
                         [front - 0.15, middle - 2.6 * r]])  # fmt: skip
    return np.array([[front, middle - 0.8 * r], [front, middle + 0.8 * r], [front - 0.45, middle + 0.8 * r], [front - 0.45, middle - 0.8 * r]])


def _body(plan: AircraftType, body: Colour, tail: Colour, lit_side: float, height: float) -> list[Part]:
    """Return the fuselage as strips along it, shaded like a lying cylinder, with the flight deck's windows and the painted tail."""
    length, radius = plan.length_m, plan.body_m / 2
    nose = min(1.7 * plan.body_m, 0.2 * length)
    x = np.array([0, 0.06 * nose, 0.2 * nose, 0.45 * nose, nose, 0.66 * length, 0.8 * length, 0.9 * length, 0.965 * length, length])
    r = radius * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])
    parts = []
    edges = np.array([-1.0, -0.72, -0.35, 0.35, 0.72, 1.0])
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        shade = 0.90 + 0.16 * lit_side * (low + high) / 2 - 0.20 * ((low + high) / 2) ** 2 + (0.10 if low < 0 < high else 0)
        strip = np.concatenate([np.stack([-x, r * low], axis=1), np.stack([-x, r * high], axis=1)[::-1]])
        parts.append(Part(strip, scale_colour(body, shade), height - plan.body_m, height))
    painted = x >= 0.8 * length
    rear = np.concatenate([np.stack([-x[painted], -r[painted]], axis=1), np.stack([-x[painted], r[painted]], axis=1)[::-1]])
    parts.append(Part(rear, mix(scale_colour(body, 0.92), tail, 0.7), height - 1, height))
    deck = np.array([[-0.22 * nose, -0.42 * radius], [-0.22 * nose, 0.42 * radius], [-0.34 * nose, 0.62 * radius], [-0.34 * nose, -0.62 * radius]])
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


# ------------------------------------------------------------------------------------------------------------------ sensor


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the air and the camera do to a picture: shares 0..1, blur in pixels (sigma), noise in 8-bit counts."""

    haze: float
    cloud: float
    blur_px: float
    noise_dn: float
    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    gamma: float


def expose(picture: Array, sensor: Sensor, gsd_m: float, rng: np.random.Generator) -> Array:
    """Return the picture (H, W, 3), 0..255, as the sensor delivers it: haze, thin cloud, blur, radiometry, noise."""
    shape_hw = picture.shape[0], picture.shape[1]
    veil = sensor.haze * np.clip(0.8 + 0.25 * noise(rng, shape_hw, 500 / gsd_m), 0.2, 1.6)
    if sensor.cloud > 0:
        cloud = sum(noise(rng, shape_hw, grain / gsd_m) * np.float32(share) for grain, share in ((420, 0.6), (160, 0.3), (60, 0.15)))
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    veil = np.clip(veil, 0, 0.75).astype(np.float32)
    out = np.empty_like(picture)
    for band, bright in enumerate((214, 220, 230)):
        value = picture[..., band] + (bright - picture[..., band]) * veil
        value = cv2.GaussianBlur(value, (0, 0), sensor.blur_px)
        value = np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma) * (255 * sensor.gain[band]) + sensor.offset[band]
        out[..., band] = value + rng.standard_normal(shape_hw, dtype=np.float32) * (sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160))
    return out


def near_infrared(picture: Array) -> Array:
    """Return a plausible near-infrared band (H, W) for an RGB picture: green plants bright, water dark."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    plants = np.clip(green - np.maximum(red, blue), 0, 40)
    water = np.clip(blue - red, 0, 60)
    return np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255)
