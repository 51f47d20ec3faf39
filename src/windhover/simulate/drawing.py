"""How the built-in world looks: a canvas in metres, textures, houses, trees and roofs, aircraft, and the sensor.

Knows nothing of what stands where, nor of files (see `world`). Pictures are RGB throughout, metres east and north.
Every random number comes from a generator that the caller seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import Polygon

Array = NDArray[np.float32]
Points = NDArray[np.float64]
Colour = tuple[int, int, int]
Size = tuple[float, float, float]  # length, width, height (m)

SUBPIXELS = 2  # canvas pixels per scene pixel, along each side
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with
AIRCRAFT_STEP_M = 0.2  # grid on which aircraft are drawn before averaging
# of the ground's brightness, then of its hue: width of the grains (m) and their share
GRAINS = (((1, 0.4), (3, 0.3), (9, 0.3), (35, 0.25), (140, 0.2)), ((60, 0.6), (11, 0.4)))


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw, in metres east and north of the place's origin.

    `rings`: outlines (N, 2), the later ones holes; for a line (`width_m` > 0) open polylines.
    `texture`: 0..255, how strongly the ground's grain shows. `height_m` casts a shadow; `base_m`: of its roof.
    `pattern`: "" or one of furrow, rows, wood, water, mottle, drawn along `angle` (radians) with period `period_m`;
    crown for a tree. `under`: what it lies on.
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


class View(NamedTuple):
    """A rectangle of ground, metres from the place's origin."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, shapes: Iterable[Shape], margin_m: float = 60.0) -> list[Shape]:
        """Return the shapes that touch this view or its margin, where shadows come from."""
        low, high = np.array(self[:2]) - margin_m, np.array(self[2:]) + margin_m
        boxes = [(shape, shape.rings[0].min(axis=0), shape.rings[0].max(axis=0)) for shape in shapes]
        return [shape for shape, least, most in boxes if (least < high).all() and (most > low).all()]


class Light(NamedTuple):
    """Where the sun and the sensor stand: metres of shadow and of lean (east, north) per metre of height."""

    shadow_en: Points
    lean_en: Points

    @staticmethod
    def of(sun_azimuth_deg: float, sun_elevation_deg: float, view_azimuth_deg: float, off_nadir_deg: float) -> Light:
        """Return the light for angles in degrees, azimuths clockwise from north."""
        sun, height, view, slant = np.radians((sun_azimuth_deg, sun_elevation_deg, view_azimuth_deg, off_nadir_deg))
        return Light(rotate((0, -1 / math.tan(height)), -sun), rotate((0, math.tan(slant)), -view))


def palette(codes: str) -> tuple[Colour, ...]:
    """Return colours from hexadecimal codes separated by spaces, such as "5c6c3e 7e7a50"."""
    return tuple((int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in codes.split())


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with `share` (0..1) of `second` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def scale_colour(colour: Colour, factor: float) -> Colour:
    """Return `colour` made darker or lighter, kept in 0..255."""
    red, green, blue = (max(0, min(255, round(value * factor))) for value in colour)
    return red, green, blue


def noise(rng: np.random.Generator, shape_hw: tuple[int, int], grain_px: float) -> Array:
    """Return smooth noise (H, W) of about unit variance whose blobs are `grain_px` wide."""
    height, width = shape_hw
    if grain_px > 16:  # smooth enough to be made at an eighth of the size
        small = noise(rng, (height // 8 + 2, width // 8 + 2), grain_px / 8)
        return np.asarray(cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)[:height, :width])
    small = rng.standard_normal((math.ceil(height / grain_px) + 3, math.ceil(width / grain_px) + 3), dtype=np.float32)
    if grain_px > 1:
        size = (math.ceil(small.shape[1] * grain_px), math.ceil(small.shape[0] * grain_px))
        small = np.asarray(cv2.resize(small * 1.25, size, interpolation=cv2.INTER_CUBIC), np.float32)
    return small[:height, :width]


class Canvas:
    """A picture being drawn: colour and grain, stains, shadows, then what stands on the ground."""

    def __init__(self, shape_hw: tuple[int, int], gsd_m: float, west_north: tuple[float, float], light: Light) -> None:
        height, width = shape_hw
        self.shape_hw, self.gsd_m = shape_hw, gsd_m
        self.west, self.north = west_north
        self.step_m = gsd_m / SUBPIXELS
        self.shadow, self.lean = light
        self.ground: NDArray[np.uint8] = np.zeros((height * SUBPIXELS, width * SUBPIXELS, 4), np.uint8)
        self.shade: NDArray[np.uint8] = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)
        self.stains: NDArray[np.uint8] = np.zeros((height // 2 + 1, width // 2 + 1), np.uint8)

    def fixed(self, points: Points, scale: float = SUBPIXELS) -> NDArray[np.int32]:
        """Return metres (N, 2) as OpenCV's fixed-point coordinates on a grid of `scale` pixels per scene pixel."""
        px = (points - (self.west, self.north)) * (1, -1) / self.gsd_m
        return np.rint((px * scale - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)

    def fill(self, rings: tuple[Points, ...], colour: Colour, texture: int = 10, hull: bool = False) -> None:
        """Fill outlines in metres, or their convex hull, on the ground."""
        _fill(self.ground, [self.fixed(ring) for ring in rings], (*colour, texture), hull)

    def lay(self, shape: Shape, rng: np.random.Generator) -> None:
        """Draw a shape flat on the ground."""
        if shape.pattern:
            self._lay_pattern(shape, rng)
        elif shape.width_m > 0:
            wide = shape.width_m / self.gsd_m * SUBPIXELS
            ink = (*mix(shape.under, shape.colour, min(1.0, wide)), shape.texture)
            lines = [self.fixed(ring) for ring in shape.rings]
            cv2.polylines(self.ground, lines, False, ink, max(1, round(wide)), cv2.LINE_AA, FRACTION_BITS)
        else:
            self.fill(shape.rings, shape.colour, shape.texture)

    def _lay_pattern(self, shape: Shape, rng: np.random.Generator) -> None:
        rings = [self.fixed(ring) for ring in shape.rings]
        left, top = np.maximum((rings[0].min(axis=0) >> FRACTION_BITS) - 1, 0)
        right, bottom = np.maximum((rings[0].max(axis=0) >> FRACTION_BITS) + 2, 0)
        area = self.ground[top:bottom, left:right]
        if area.size == 0:
            return
        mask: NDArray[np.uint8] = np.zeros(area.shape[:2], np.uint8)
        _fill(mask, [ring - (np.array([left, top], np.int32) << FRACTION_BITS) for ring in rings], 255)
        if shape.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 6 / self.gsd_m * SUBPIXELS), np.uint8)
        tone = self._tone(shape, (area.shape[0], area.shape[1]), rng)
        share = mask.astype(np.float32) / 255
        inks = [*(np.clip(tone * value, 0, 255) for value in shape.colour), np.full_like(tone, shape.texture)]
        for band, wanted in enumerate(inks):
            area[..., band] = area[..., band] + (wanted - area[..., band]) * share

    def _tone(self, shape: Shape, size_hw: tuple[int, int], rng: np.random.Generator) -> Array:
        """Return the pattern's brightness (H, W) about 1."""

        def grain(metres: float) -> Array:
            return noise(rng, size_hw, metres / self.step_m)

        east, south = (self.step_m * np.arange(size, dtype=np.float32) for size in size_hw[::-1])
        cos, sin, turn = math.cos(shape.angle), math.sin(shape.angle), 2 * math.pi / shape.period_m
        across, along = east * cos - south[:, None] * sin, east * sin + south[:, None] * cos
        tone = grain(40)
        if shape.pattern == "furrow":
            lanes = np.abs(np.mod(across, 24) - 12) < 0.7
            tone = 1 + 0.05 * np.sin(across * turn + tone * 0.6) - 0.10 * lanes + 0.07 * tone + 0.03 * grain(6)
        elif shape.pattern == "rows":
            tone = 0.95 + 0.22 * np.sin(across * turn) * (0.6 + 0.4 * np.sin(along * turn)) + 0.06 * tone
        elif shape.pattern == "wood":
            crowns = grain(shape.period_m) + 0.6 * grain(0.45 * shape.period_m)
            k = max(1, round(1.2 / self.step_m))  # each crown is bright towards the sun
            lit = crowns - np.roll(crowns, np.where(self.shadow[::-1] < 0, (k, -k), (-k, k)), (0, 1))
            tone = np.clip(0.95 + 0.30 * lit + 0.12 * crowns + 0.10 * tone, 0.35, 1.9)
        else:
            fine, coarse = (2.0, 5.0) if shape.pattern == "water" else (12.0, 130.0)
            tone = 1 + 0.05 * tone + 0.04 * grain(fine) + 0.05 * grain(coarse)
        return np.asarray(tone, np.float32)

    def stain(self, points: Points, strength: float) -> None:
        """Darken (`strength` 0..1) the ground softly inside an outline in metres."""
        _fill(self.stains, [self.fixed(points, 0.5)], round(255 * strength))

    def cast(self, points: Points, low_m: float, high_m: float) -> None:
        """Cast the shadow of an outline; where it is thicker than it is high, of the hull from `low_m` to `high_m`."""
        if high_m - low_m > 1.3:
            fallen = [self.fixed(points + self.shadow * height) for height in (low_m, high_m)]
            _fill(self.shade, fallen, 255, hull=True)
        else:
            _fill(self.shade, [self.fixed(points + self.shadow * high_m)], 255)

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
        ring, grain = shape.rings[0], shape.texture
        if shape.pattern == "crown":
            crown = ring + 0.6 * self.lean * shape.height_m
            middle, reach = crown.mean(axis=0), 0.14 * float(np.ptp(crown[:, 0])) / max(math.hypot(*self.shadow), 1e-9)
            self.fill((crown,), scale_colour(shape.colour, 0.78), grain)
            lit = middle + 0.62 * (crown - middle) - self.shadow * reach
            self.fill((lit,), scale_colour(shape.colour, 1.35), grain)
            return
        low, top = (ring + self.lean * height for height in (shape.base_m, shape.base_m + shape.height_m))
        if shape.base_m > 0 and shape.height_m > 0:  # its shadow on the roof
            self.fill((low, low + self.shadow * shape.height_m), scale_colour(shape.under, 0.5), 8, hull=True)
        if shape.height_m > 4:
            self.fill((low, top), scale_colour(shape.colour, 0.55), hull=True)
        self.fill((top,), shape.colour, grain)

    def flatten(self, rng: np.random.Generator) -> Array:
        """Return the picture (H, W, 3), 0..255, at scene pixels with the ground's grain in it."""
        height, width = self.shape_hw
        small = cv2.resize(self.ground, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        grain, hue = (
            sum(noise(rng, self.shape_hw, max(1.0, size / self.gsd_m)) * np.float32(share) for size, share in layers)
            for layers in GRAINS
        )
        shown = small[..., 3] / 255
        picture = np.empty((height, width, 3), np.float32)
        for band, tint in enumerate((0.20, 0.0, -0.10)):
            picture[..., band] = small[..., band] * (1 + shown * (grain + np.float32(tint) * hue))
        return picture

    def cast_aircraft(self, aircraft: Aircraft) -> None:
        """Cast an aircraft's shadow; its thick pieces are convex."""
        for part in aircraft_parts(aircraft.kind, aircraft.livery):
            self.cast(aircraft.outline(part.points), max(part.low_m, 0.5), part.high_m)

    def stamp(self, picture: Array, aircraft: Aircraft) -> None:
        """Draw an aircraft onto the flattened picture (H, W, 3), in place, averaged down from a grid of 0.2 m."""
        lit = float(rotate(self.shadow, -aircraft.heading)[1]) / -max(math.hypot(*self.shadow), 1e-9)
        corners = (np.array(aircraft.bounds_en()).reshape(2, 2) - (self.west, self.north)) * (1, -1) / self.gsd_m
        first, last = np.clip([corners.min(axis=0) - 1, corners.max(axis=0) + 2], 0, self.shape_hw[::-1]).astype(int)
        (cols, rows), fine = (last - first).tolist(), max(2, math.ceil(self.gsd_m / AIRCRAFT_STEP_M))
        sprite: NDArray[np.uint8] = np.zeros((rows * fine, cols * fine, 4), np.uint8)
        for part in aircraft_parts(aircraft.kind, aircraft.livery, lit):
            outline = self.fixed(aircraft.outline(part.points), fine) - first * (fine << FRACTION_BITS)
            _fill(sprite, [outline.astype(np.int32)], (*part.colour, 255))
        small = cv2.resize(sprite.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        area = picture[first[1] : last[1], first[0] : last[0]]
        area[...] = area * (1 - small[..., 3:] / 255) + small[..., :3]


def _fill(
    target: NDArray[np.uint8], rings: list[NDArray[np.int32]], ink: int | tuple[int, ...], hull: bool = False
) -> None:
    """Fill fixed-point outlines, or their convex hull."""
    outlines = [cv2.convexHull(np.concatenate(rings).reshape(-1, 1, 2))] if hull else rings
    cv2.fillPoly(target, outlines, ink, cv2.LINE_AA, FRACTION_BITS)


# --- things


def join(x: ArrayLike, y: ArrayLike) -> Points:
    """Return points (N, 2) from their coordinates."""
    return np.stack(np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64)), axis=1)


def rotate(points: ArrayLike, angle: float, to: ArrayLike = (0.0, 0.0)) -> Points:
    """Return points (..., 2) turned about the origin by `angle` (radians, anticlockwise), then moved by `to`."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: Points = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])
    return turned + np.asarray(to, np.float64)


def box(centre: ArrayLike, length_m: float, width_m: float, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    return rotate(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length_m / 2, width_m / 2), angle, centre)


def disc(centre: ArrayLike, radius_m: float, rough: ArrayLike = (1.0,) * 40) -> Points:
    """Return a round outline; `rough` (N,) scales its radius corner by corner."""
    radius = radius_m * np.asarray(rough, np.float64)
    turn = np.linspace(0, 2 * math.pi, len(radius), endpoint=False)
    return np.asarray(centre, np.float64) + join(radius * np.cos(turn), radius * np.sin(turn))


def smooth(points: ArrayLike) -> Points:
    """Return a polyline (N, 2) with its corners cut again and again (Chaikin 1974)."""
    line = np.asarray(points, np.float64)
    for _ in range(3):
        line = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1).reshape(-1, 2)
    return line


def blob(rng: np.random.Generator, centre: ArrayLike, radius_m: float) -> Points:
    """Return a round outline that nobody drew with compasses."""
    return disc(centre, radius_m, rng.uniform(0.6, 1.25, 11))


# --- plots

# grass, dry grass, trees, water; fields; roofs; share of woods
CLIMATES = {
    "green": ("5c6c3e 7e7a50 2e3e24 2c3e42", "60763e 4a6434 8a8254 9c8e62 76624a", "804838 68605c 8c5c46", 0.2),
    "arid": ("b09876 c2a882 4e5434 385c60", "b69c78 a88e6c c6ae8a 687446", "c4b6a0 d6ccbc b0a08a", 0.02),
    "dry": ("928258 a49264 424a2c 425046", "a08e60 b09e6e 847450 747a46 8c684c", "aa6e54 beb8b0 968c82", 0.12),
    "tropical": ("546a36 707042 243a1e 54523c", "4e6c32 62763a 8e6042 425c2c", "a65e46 bcbab6 787470", 0.38),
    "boreal": ("646c46 827c5a 243224 1e2a32", "687446 928a62 706654", "7a3a32 54565a 96928e", 0.45),
}
ASPHALT, CONCRETE, WHITE, YELLOW = (88, 88, 90), (158, 154, 146), (228, 228, 224), (206, 170, 60)
CARS = palette("e8e8e8 bec0c2 34363a 6e7074 8c2624 2e4270 e2e0d6")
HALLS = palette("e2e2de 969ca2 cec4b0 60748e")


class Slot(NamedTuple):
    """Where an aircraft may stand: its nose (m), heading (radians), largest span (m), row (0: single)."""

    nose_en: Points
    heading: float
    span_m: float
    row: int


class Plot:
    """Ground being laid out in its own coordinates: u, v in metres, turned against east and north."""

    def __init__(self, rng: np.random.Generator, climate: str, middle_v: float = 0.0) -> None:
        self.rng, self.turn, self.middle_v = rng, rng.uniform(0, math.pi), middle_v
        ground, fields, roofs, self.woods = CLIMATES[climate]
        self.grass, self.dry, self.trees, self.water = palette(ground)
        self.fields, self.roofs = palette(fields), palette(roofs)
        self.ground: list[Shape] = []
        self.objects: list[Shape] = []
        self.stains: list[tuple[Points, float]] = []
        self.slots: list[Slot] = []
        self.rows = 0
        self.taken: Any = Polygon()  # east, north: nothing is scattered there

    def en(self, points: ArrayLike) -> Points:
        """Return points (N, 2) or one point (2,) as metres east and north."""
        return rotate(np.asarray(points, np.float64) - (0, self.middle_v), self.turn)

    def area(self, points: ArrayLike, colour: Colour, texture: int = 24, **more: Any) -> None:
        """Add a flat area."""
        self.ground.append(Shape((self.en(points),), colour, texture, **more))

    def region(self, region: Any, colour: Colour, texture: int) -> None:
        """Add a shapely area with its holes."""
        for part in getattr(region, "geoms", [region]):
            rings = tuple(self.en(ring.coords) for ring in (part.exterior, *part.interiors))
            self.ground.append(Shape(rings, colour, texture))

    def line(self, points: ArrayLike, colour: Colour, width_m: float, under: Colour, texture: int = 14) -> None:
        """Add a line, painted or paved."""
        self.area(points, colour, texture, width_m=width_m, under=under)

    def road(self, start: ArrayLike, stop: ArrayLike, width_m: float, surface: Colour) -> None:
        """Add a road with its verge, its middle line and some traffic."""
        lines = ((mix(surface, self.grass, 0.5), width_m + 5), (surface, width_m), (mix(WHITE, surface, 0.4), 0.25))
        for colour, wide in lines:
            self.line(np.array([start, stop]), colour, wide, surface, 30)
        ahead, across = np.subtract(stop, start)
        angle, along = math.atan2(across, ahead), np.arange(10, math.hypot(ahead, across), 24.0)
        spots = rotate(join(along, self.rng.choice([-0.24, 0.24], len(along)) * width_m), angle, start)
        spots += self.rng.normal(0, 3, (len(along), 1)) * rotate((1, 0), angle)
        seen = self.rng.random(len(spots))
        self.cars(self.free(spots[seen < 0.33]), angle)
        self.put(self.free(spots[seen > 0.93]), (12.0, 2.5, 3.5), CARS, angle)

    def free(self, points: Points) -> Points:
        """Return those of the points (N, 2) that lie where the ground is not `taken`."""
        east, north = self.en(points).T
        clear: Points = points[~shapely.contains_xy(self.taken, east, north)]
        return clear

    def spots(
        self, low: ArrayLike, high: ArrayLike, step: tuple[float, float], share: float = 1.0, jitter: float = 0.0
    ) -> Points:
        """Return points (N, 2) on rows between two corners, only a share of them, moved about by `jitter` (sigma, m).

        Those of cars, houses, trees and lorries alike; none lies where ground is `taken`.
        """
        (west, south), (east, north) = np.asarray(low, np.float64), np.asarray(high, np.float64)
        u, v = np.meshgrid(np.arange(west, east, step[0]), np.arange(south, north, step[1]))
        points = join(u.ravel(), v.ravel())
        points = points[self.rng.random(len(points)) < share]
        return self.free(points + self.rng.normal(0, 1, points.shape) * jitter)

    def put(
        self, spots: ArrayLike, size_m: Size, colours: tuple[Colour, ...], angle: float = 0.0, base_m: float = 0.0
    ) -> None:
        """Stand boxes of one length, width and height on spots (N, 2), each in one of the colours."""
        length, width, height = size_m
        for centre in self.en(np.reshape(spots, (-1, 2))):
            outline, colour = box(centre, length, width, angle + self.turn), colours[self.rng.integers(len(colours))]
            self.objects.append(Shape((outline,), colour, 8, height, base_m, under=(150, 148, 144)))

    def plant(self, spots: Points) -> None:
        """Stand trees on spots (N, 2)."""
        for spot, radius in zip(self.en(spots), self.rng.uniform(1.6, 4.4, len(spots)), strict=True):
            outline, tone = blob(self.rng, spot, radius), scale_colour(self.trees, self.rng.uniform(0.8, 1.2))
            self.objects.append(Shape((outline,), tone, 60, height_m=1.6 * radius, pattern="crown"))

    def cars(self, spots: Points, angle: float, base_m: float = 0.0) -> None:
        """Park cars on spots (N, 2)."""
        self.put(spots, (4.5, 1.85, 1.5), CARS, angle, base_m)

    def house(self, centre: ArrayLike, angle: float, colour: Colour) -> None:
        """Stand a house with a gabled roof, its two sides lit differently."""
        length, width, tone = self.rng.uniform(10, 17), self.rng.uniform(7, 10), self.rng.uniform(0.75, 1.25)
        for aside, wide, shade, high in ((0.0, width, 0.82, 6.0), (width / 4, width / 2, 1.2, 0.0)):
            outline = self.en(box(rotate((0, aside), angle, centre), length, wide, angle))
            self.objects.append(Shape((outline,), scale_colour(colour, tone * shade), 16, high, 6.0 - high))

    def build(self, centre: ArrayLike, size_m: Size, colour: Colour, bay_m: float = 12.0) -> None:
        """Stand a large building: a roof in bays of slightly different tone, skylights or not, and machines on top."""
        rng, (length, width, height) = self.rng, size_m

        def part(at: ArrayLike, long: float, wide: float, tone: Colour, high_m: float = 0.0) -> None:
            outline = self.en(box(np.add(centre, at), long, wide))
            self.objects.append(Shape((outline,), tone, 12, high_m, height, under=colour))

        self.objects.append(Shape((self.en(box(centre, length, width)),), colour, 14, height))
        bays, skylit = max(2, round(length / bay_m)), rng.random() < 0.5
        for k, at in enumerate((np.arange(bays) + 0.5) / bays * length - length / 2):
            tone = scale_colour(colour, 1 + (0.05 if k % 2 else -0.05) + rng.normal(0, 0.015))
            part((at, 0), 0.96 * length / bays, 0.97 * width, tone)
            if skylit:
                part((at, 0), 1.2, 0.7 * width, mix(colour, (70, 80, 92), 0.6))
        part((0, 0), 0.98 * length, 0.8, scale_colour(colour, 0.75))
        for spot in rng.uniform(-0.43, 0.43, (int(length * width / 420), 2)) * (length, width):  # machines
            tone = scale_colour((186, 188, 190), rng.uniform(0.75, 1.2))
            part(spot, rng.uniform(2, 6), rng.uniform(1.5, 3.5), tone, 2.0)

    def car_park(self, low: Points, high: Points) -> None:
        """Lay rows of marked stalls with cars and a few trees."""
        rng, full = self.rng, self.rng.uniform(0.35, 0.9)
        surface = scale_colour(ASPHALT, rng.uniform(0.85, 1.3))
        self.area(box((low + high) / 2, *(high - low)), surface, 22)
        for v in np.arange(low[1] + 8, high[1] - 8, 16.5):
            self.line([(low[0] + 5, v + 2.6), (high[0] - 5, v + 2.6)], mix(WHITE, surface, 0.3), 0.2, surface)
            parked = self.spots((low[0] + 8, v), (high[0] - 8, v + 6), (2.75, 5.2), full, 0.15)
            self.cars(parked, math.pi / 2)
            if rng.random() < 0.5:
                self.plant(self.spots((low[0] + 10, v + 2.6), (high[0] - 10, v + 3), (rng.uniform(18, 40), 1)))

    def soil(self, points: ArrayLike, strength: float) -> None:
        """Leave a stain of oil or rubber, `strength` 0..1."""
        self.stains.append((self.en(points), strength))

    def stand(self, nose: Points, heading: float, span_m: float, row: int = 0) -> None:
        """Add a place for an aircraft."""
        self.slots.append(Slot(self.en(nose), heading + self.turn, span_m, row))


# --- aircraft


class AircraftType(NamedTuple):
    """Plan of an aircraft type: overall length and span from the makers' airport planning manuals, the rest in shares.

    `wing_at`: leading edge of the wing root from the nose; `root`, `tip`: chords; all three as shares of the length.
    `engines`: lateral positions on each side, share of the half span. `mount`: wing, tail or prop; the last two make a
    T-tail. `weight`: how common it is.
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
    "B350": AircraftType(14.22, 17.65, 1.55, 6, 0.33, 0.155, 0.085, 0.32, 2.2, (0.3,), (2.6, 0.9), "prop", 4.4),
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


class Part(NamedTuple):
    """A piece of an aircraft in its own frame: outline (N, 2) m, colour, and its height above the ground (m)."""

    points: Points
    colour: Colour
    low_m: float
    high_m: float


@dataclass(frozen=True, slots=True)
class Aircraft:
    """One aircraft on the ground: its nose (m east, north), where it points (radians from east, anticlockwise)."""

    kind: str
    livery: str
    nose_en: tuple[float, float]
    heading: float

    def outline(self, points: Points) -> Points:
        """Return points of the aircraft's frame (x forward from the nose, y to the left, m) as m east and north."""
        return rotate(points, self.heading, self.nose_en)

    @property
    def middle_en(self) -> Points:
        """Half way between nose and tail, m east and north."""
        return self.outline(np.array([-TYPES[self.kind].length_m / 2, 0.0]))

    def bounds_en(self) -> tuple[float, float, float, float]:
        """Return west, south, east, north (m) of everything drawn of the aircraft, its shadow excepted."""
        every = np.concatenate([self.outline(part.points) for part in aircraft_parts(self.kind, self.livery)])
        return (*every.min(axis=0).tolist(), *every.max(axis=0).tolist())


def aircraft_parts(kind: str, livery: str, lit_side: float = 0.0) -> list[Part]:
    """Return the pieces of an aircraft of `TYPES` and `LIVERIES` in drawing order.

    `lit_side`: -1..1, how far the sun stands to the left (+) or right (-) of the body, which shades the round of it.
    """
    plan = TYPES[kind]
    body, wing, tail, engine = LIVERIES[livery]
    height, long = 1.1 * plan.body_m + 0.4, plan.length_m
    aft_m = (height + plan.fin_m - 1, height + plan.fin_m) if plan.mount != "wing" else (height, height + 1)
    lifting = _both(_wing(plan), wing, height - 1, height)
    aft = _both(_stabiliser(plan), mix(wing, tail, 0.25), *aft_m)
    fin_x = np.array([-0.835 * long, 0.5 - 0.99 * long, -0.99 * long, 0.5 - 0.99 * long, -0.835 * long])
    fin = Part(join(fin_x, [0.05, 0.35, 0, -0.35, -0.05]), scale_colour(tail, 0.92), height, height + plan.fin_m)
    pods = [part for place in plan.engines for part in _both(_pod(plan, place), engine, height - 2, height - 1)]
    trunk = _body(plan, body, tail, lit_side, height)
    if plan.mount == "wing":
        return [*pods, *lifting, *aft, *trunk, fin]
    if plan.mount == "tail":
        return [*lifting, *pods, *trunk, fin, *aft]
    return [*trunk, *lifting, *pods, fin, *aft]


def _both(points: Points, colour: Colour, low_m: float, high_m: float) -> list[Part]:
    return [Part(points * (1.0, side), colour, low_m, high_m) for side in (1.0, -1.0)]


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
    chord, at = (0.075 if long > 20 else 0.095) * long, -(0.865 if plan.mount == "wing" else 0.915) * long
    back = max(at - math.tan(math.radians(max(plan.sweep_deg + 4, 8))) * half, 0.4 * chord - 0.985 * long)
    return join([at, back, max(back - 0.45 * chord, -0.985 * long), max(at - chord, -long)], [0, half, half, 0])


def _strip(x: Points, low: Points, high: Points) -> Points:
    """Return the outline (2 N, 2) between two lines along a body."""
    return join(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]]))


def _pod(plan: AircraftType, place: float) -> Points:
    """Return a nacelle ahead of the wing's leading edge, with a propeller's disc or not, or beside the rear body."""
    (length, width), middle = plan.pod_m, place * plan.span_m / 2
    edge = -plan.wing_at * plan.length_m - math.tan(math.radians(plan.sweep_deg)) * (middle - 0.35 * plan.body_m)
    front, face = edge + 0.66 * length, 2.6 if plan.mount == "prop" else 0.8
    if plan.mount == "tail":
        front, middle = -0.70 * plan.length_m, plan.body_m / 2 + 0.65 * width
    half = np.array([face, face, 0.8, 1.0, 0.75, 0.4]) * width / 2
    return _strip(front - np.array([0, 0.1, 0.1, 0.3, 0.8, 1.0]) * length, middle + half, middle - half)


def _body(plan: AircraftType, body: Colour, tail: Colour, lit_side: float, height: float) -> list[Part]:
    """Return the fuselage as strips, shaded like a lying cylinder, with the painted tail."""
    length, nose = plan.length_m, min(1.7 * plan.body_m, 0.2 * plan.length_m)
    x = -np.concatenate([np.array([0, 0.06, 0.2, 0.45, 1.0]) * nose, np.array([0.66, 0.8, 0.9, 0.965, 1.0]) * length])
    r = plan.body_m / 2 * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])
    parts = []
    for low, high in pairwise((-1.0, -0.72, -0.35, 0.35, 0.72, 1.0)):
        middle = (low + high) / 2
        shade = 0.90 + 0.16 * lit_side * middle - 0.20 * middle**2 + (0.10 if low < 0 < high else 0)
        parts.append(Part(_strip(x, low * r, high * r), scale_colour(body, shade), height - plan.body_m, height))
    return [*parts, Part(_strip(x[6:], -r[6:], r[6:]), mix(body, tail, 0.7), height - 1, height)]


# --- sensor


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the air and the camera do to a picture: shares 0..1, blur in pixels (sigma), noise in 8-bit counts."""

    haze: float
    cloud: float
    blur_px: float
    noise_dn: float
    gain: Points
    offset: Points
    gamma: float


def expose(picture: Array, sensor: Sensor, gsd_m: float, rng: np.random.Generator, bands: int) -> Array:
    """Return the picture (H, W, 3), 0..255, as the sensor delivers it: haze, thin cloud, blur, radiometry, noise.

    Returns:
        Its bands (bands, H, W): red, green, blue, and the fourth a plausible near infrared, plants bright, water dark.
    """
    shape_hw = picture.shape[0], picture.shape[1]
    veil = sensor.haze * np.clip(0.8 + 0.25 * noise(rng, shape_hw, 500 / gsd_m), 0.2, 1.6)
    if sensor.cloud > 0:
        layers = ((420, 0.6), (160, 0.3), (60, 0.15))
        cloud = sum(noise(rng, shape_hw, grain / gsd_m) * np.float32(share) for grain, share in layers)
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    veil = np.clip(veil, 0, 0.75).astype(np.float32)
    out = np.empty((bands, *shape_hw), np.float32)
    for band, bright in enumerate((214, 220, 230)):
        value = cv2.GaussianBlur(picture[..., band] + (bright - picture[..., band]) * veil, (0, 0), sensor.blur_px)
        value = np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma)
        value = value * (255 * sensor.gain[band]) + sensor.offset[band]
        grains = rng.standard_normal(shape_hw, dtype=np.float32)
        out[band] = value + grains * sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160)
    if bands == 4:
        red, green, blue = out[:3]
        plants, water = np.clip(green - np.maximum(red, blue), 0, 40), np.clip(blue - red, 0, 60)
        out[3] = np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255)
    return out
