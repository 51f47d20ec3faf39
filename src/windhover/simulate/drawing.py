"""How the built-in world looks: a canvas in metres, textures, houses, trees and roofs, aircraft, and the sensor.

Knows nothing of what stands where, nor of files (see `world`). Pictures are RGB throughout, metres east and north.
Every random number comes from a generator that the caller seeds.
"""

from __future__ import annotations

import math
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
        large = cv2.resize(small, (small.shape[1] * 8, small.shape[0] * 8), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[:height, :width], np.float32)
    small = rng.standard_normal((math.ceil(height / grain_px) + 3, math.ceil(width / grain_px) + 3), dtype=np.float32)
    if grain_px <= 1:
        return small[:height, :width]
    size = (math.ceil(small.shape[1] * grain_px), math.ceil(small.shape[0] * grain_px))
    return np.asarray(cv2.resize(small * 1.25, size, interpolation=cv2.INTER_CUBIC)[:height, :width], np.float32)


class Canvas:
    """A picture being drawn: colour and grain, stains, shadows, then what stands on the ground."""

    def __init__(self, shape_hw: tuple[int, int], gsd_m: float, west_north: tuple[float, float], light: Light) -> None:
        height, width = shape_hw
        self.shape_hw, self.gsd_m, self.light = shape_hw, gsd_m, light
        self.west, self.north = west_north
        self.shadow, self.lean = np.array(light.shadow_en), np.array(light.lean_en)
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
        left, top = np.maximum(rings[0].min(axis=0) // (1 << FRACTION_BITS) - 1, 0)
        right, bottom = rings[0].max(axis=0) // (1 << FRACTION_BITS) + 2
        area = self.ground[top : max(bottom, 0), left : max(right, 0)]
        if area.size == 0:
            return
        mask: NDArray[np.uint8] = np.zeros(area.shape[:2], np.uint8)
        corner = np.array([left, top], np.int32) << FRACTION_BITS
        _fill(mask, [ring - corner for ring in rings], 255)
        if shape.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 6 / self.gsd_m * SUBPIXELS), np.uint8)
        tone = self._tone(shape, (area.shape[0], area.shape[1]), (int(left), int(top)), rng)
        share = mask.astype(np.float32) * np.float32(1 / 255)
        for band in range(3):
            wanted = np.clip(tone * shape.colour[band], 0, 255)
            area[..., band] = area[..., band] + (wanted - area[..., band]) * share
        area[..., 3] = area[..., 3] + (shape.texture - area[..., 3]) * share

    def _tone(self, shape: Shape, size: tuple[int, int], left_top: tuple[int, int], rng: np.random.Generator) -> Array:
        """Return the pattern's brightness (H, W) about 1."""
        step = self.gsd_m / SUBPIXELS
        east = (self.west + (left_top[0] + np.arange(size[1])) * step)[None, :].astype(np.float32)
        north = (self.north - (left_top[1] + np.arange(size[0])) * step)[:, None].astype(np.float32)
        cos, sin = np.float32(math.cos(shape.angle)), np.float32(math.sin(shape.angle))
        across, turn = east * cos + north * sin, np.float32(2 * math.pi / shape.period_m)
        tone = noise(rng, size, 40 / step)
        if shape.pattern == "furrow":
            lanes = np.abs(np.mod(across, np.float32(24)) - 12) < 0.7
            ridges = 0.05 * np.sin(across * turn + tone * 0.6) - 0.10 * lanes
            tone = 1 + ridges + 0.07 * tone + 0.03 * noise(rng, size, 6 / step)
        elif shape.pattern == "rows":
            plants = np.sin(across * turn) * (0.6 + 0.4 * np.sin((north * cos - east * sin) * turn))
            tone = 0.95 + 0.22 * plants + 0.06 * tone
        elif shape.pattern == "wood":
            crowns = noise(rng, size, shape.period_m / step) + 0.6 * noise(rng, size, 0.45 * shape.period_m / step)
            k = max(1, round(1.2 / step))  # each crown is bright towards the sun
            toward = (k if self.shadow[1] < 0 else -k, -k if self.shadow[0] < 0 else k)
            lit = crowns - np.roll(crowns, toward, (0, 1))
            tone = np.clip(0.95 + 0.30 * lit + 0.12 * crowns + 0.10 * tone, 0.35, 1.9)
        else:
            fine, coarse = (2.0, 5.0) if shape.pattern == "water" else (12.0, 130.0)
            tone = 1 + 0.05 * tone + 0.04 * noise(rng, size, fine / step) + 0.05 * noise(rng, size, coarse / step)
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
        metre = 1 / self.gsd_m
        grain, hue = np.zeros(self.shape_hw, np.float32), np.zeros(self.shape_hw, np.float32)
        for size, share in ((1, 0.4), (max(1.5, 3 * metre), 0.3), (9 * metre, 0.3), (35 * metre, 0.25)):
            grain += np.float32(share) * noise(rng, self.shape_hw, size)
        grain += np.float32(0.2) * noise(rng, self.shape_hw, 140 * metre)
        for size, share in ((60 * metre, 0.6), (11 * metre, 0.4)):
            hue += np.float32(share) * noise(rng, self.shape_hw, size)
        shown = small[..., 3] * np.float32(1 / 255)
        picture = np.empty((height, width, 3), np.float32)
        for band, tint in enumerate((0.20, 0.0, -0.10)):
            picture[..., band] = small[..., band] * (1 + shown * (grain + np.float32(tint) * hue))
        return picture


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


def rotate(points: ArrayLike, angle: float) -> Points:
    """Return points (..., 2) turned about the origin by `angle` (radians, anticlockwise)."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: Points = np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])
    return turned


def box(centre: ArrayLike, length_m: float, width_m: float, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    corners = join(np.array([-0.5, 0.5, 0.5, -0.5]) * length_m, np.array([-0.5, -0.5, 0.5, 0.5]) * width_m)
    return np.asarray(centre, np.float64) + rotate(corners, angle)


def disc(centre: ArrayLike, radius_m: float, corners: int = 20, rough: ArrayLike = 1.0) -> Points:
    """Return a round outline; `rough` (corners,) scales the radius corner by corner."""
    turn, radius = np.linspace(0, 2 * math.pi, corners, endpoint=False), radius_m * np.asarray(rough, np.float64)
    return np.asarray(centre, np.float64) + join(radius * np.cos(turn), radius * np.sin(turn))


def tree(rng: np.random.Generator, centre: ArrayLike, colour: Colour) -> Shape:
    """Return one tree seen from above."""
    radius = rng.uniform(1.6, 4.4)
    outline = disc(centre, radius, 9, rng.uniform(0.75, 1.2, 9))
    return Shape((outline,), scale_colour(colour, rng.uniform(0.8, 1.2)), 60, height_m=1.6 * radius, pattern="crown")


def house(rng: np.random.Generator, centre: ArrayLike, angle: float, colour: Colour) -> list[Shape]:
    """Return a house with a gabled roof, its two sides lit differently."""
    length, width = rng.uniform(10, 17), rng.uniform(7, 10)
    tone = scale_colour(colour, rng.uniform(0.75, 1.25))
    side = np.asarray(centre) + np.array([-math.sin(angle), math.cos(angle)]) * width / 4
    half = Shape((box(side, length, width / 2, angle),), scale_colour(tone, 1.2), 16, base_m=6.0)
    return [Shape((box(centre, length, width, angle),), scale_colour(tone, 0.82), 16, height_m=6.0), half]


def roof(
    rng: np.random.Generator, centre: ArrayLike, size_m: Size, angle: float, colour: Colour, bay_m: float
) -> list[Shape]:
    """Return a large building: a roof in bays of slightly different tone, skylights or not, and machines on top."""
    length_m, width_m, height_m = size_m

    def part(a: float, b: float, long: float, wide: float, tone: Colour, high_m: float = 0.0) -> Shape:
        outline = box(np.asarray(centre) + rotate((a, b), angle), long, wide, angle)
        return Shape((outline,), tone, 12, high_m, height_m, under=colour)

    shapes = [Shape((box(centre, length_m, width_m, angle),), colour, 14, height_m)]
    bays, skylit = max(2, round(length_m / bay_m)), rng.random() < 0.5
    for k in range(bays):
        at, bay = (k + 0.5) / bays * length_m - length_m / 2, 0.96 * length_m / bays
        tone = scale_colour(colour, 1 + (0.05 if k % 2 else -0.05) + rng.normal(0, 0.015))
        shapes.append(part(at, 0, bay, 0.97 * width_m, tone))
        if skylit:
            shapes.append(part(at, 0, 1.2, 0.7 * width_m, mix(colour, (70, 80, 92), 0.6)))
    shapes.append(part(0, 0, 0.98 * length_m, 0.8, scale_colour(colour, 0.75)))
    for _ in range(int(length_m * width_m / 420)):  # machines
        a, b = rng.uniform(-0.45, 0.45) * length_m, rng.uniform(-0.42, 0.42) * width_m
        tone = scale_colour((186, 188, 190), rng.uniform(0.75, 1.2))
        shapes.append(part(a, b, rng.uniform(2, 6), rng.uniform(1.5, 3.5), tone, 2.0))
    return shapes


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
    """Where an aircraft may stand: its nose (m), heading (radians), largest span (m), row (0: single), jet bridge."""

    nose_en: Points
    heading: float
    span_m: float
    row: int
    bridge_en: Points | None = None


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

    def road(self, start: Points, stop: Points, width_m: float, surface: Colour) -> None:
        """Add a road with its verge, its middle line and some traffic."""
        lines = ((mix(surface, self.grass, 0.5), width_m + 5), (surface, width_m), (mix(WHITE, surface, 0.4), 0.25))
        for colour, wide in lines:
            self.line([start, stop], colour, wide, surface, 30)
        far, angle = float(np.hypot(*(stop - start))), math.atan2(stop[1] - start[1], stop[0] - start[0])
        along = np.arange(10, far, 24.0)
        along += self.rng.normal(0, 5, len(along))
        spots = start + rotate(join(along, self.rng.choice([-0.24, 0.24], len(along)) * width_m), angle)
        for size, share in (((4.5, 1.85, 1.5), 0.35), ((12.0, 2.5, 3.5), 0.08)):
            self.put(self.free(spots[self.rng.random(len(spots)) < share]), size, CARS, angle)

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
        for centre, k in zip(
            self.en(np.asarray(spots).reshape(-1, 2)), self.rng.integers(1 << 30, size=np.size(spots) // 2), strict=True
        ):
            outline = box(centre, length, width, angle + self.turn)
            self.objects.append(Shape((outline,), colours[k % len(colours)], 8, height, base_m, under=(150, 148, 144)))

    def plant(self, spots: Points) -> None:
        """Stand trees on spots (N, 2)."""
        self.objects += [tree(self.rng, spot, self.trees) for spot in self.en(spots)]

    def hall(self, u: float, v: float, size_m: Size, colour: Colour, bay_m: float = 12.0) -> None:
        """Stand a large building."""
        self.objects += roof(self.rng, self.en((u, v)), size_m, self.turn, colour, bay_m)

    def soil(self, u: float, v: float, radius_m: float, strength: float) -> None:
        """Leave a stain of oil."""
        outline = disc(self.en((u, v)), radius_m, 10, self.rng.uniform(0.4, 1.4, 10))
        self.stains.append((outline, strength))

    def stand(self, u: float, v: float, heading: float, span_m: float, row: int, bridge: Points | None = None) -> None:
        """Add a place for an aircraft whose nose is at (u, v)."""
        root = None if bridge is None else self.en(bridge)
        self.slots.append(Slot(self.en((u, v)), heading + self.turn, span_m, row, root))


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
        return np.array(self.nose_en) + rotate(points, self.heading)

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
    wings, flaps = _wing(plan)
    lifting = _both(wings, wing, height - 1, height) + _both(flaps, scale_colour(wing, 0.86), height - 1, height)
    aft = _both(_stabiliser(plan), mix(wing, tail, 0.25), *aft_m)
    fin_x = np.array([-0.835 * long, 0.5 - 0.99 * long, -0.99 * long, 0.5 - 0.99 * long, -0.835 * long])
    fin = Part(join(fin_x, [0.05, 0.35, 0, -0.35, -0.05]), scale_colour(tail, 0.92), height, height + plan.fin_m)
    pods, inlets = [], []
    for place in plan.engines:
        pod, inlet = _pod(plan, place)
        pods += _both(pod, engine, height - 2, height - 1)
        inlets += _both(inlet, (58, 60, 64), 0, 0)
    trunk = _body(plan, body, tail, lit_side, height)
    if plan.mount == "tail":
        return [*lifting, *pods, *trunk, fin, *aft]
    if plan.mount == "prop":
        return [*trunk, *lifting, *pods, *inlets, fin, *aft]
    return [*pods, *inlets, *lifting, *aft, *trunk, fin]


def _both(points: Points, colour: Colour, low_m: float, high_m: float) -> list[Part]:
    return [Part(points * (1.0, side), colour, low_m, high_m) for side in (1.0, -1.0)]


def _wing(plan: AircraftType) -> tuple[Points, Points]:
    """Return the left wing, with a kink in its trailing edge, and its flap."""
    half, side, long = plan.span_m / 2, 0.35 * plan.body_m, plan.length_m
    front, back, chord = -plan.wing_at * long, -(plan.wing_at + plan.root) * long, plan.tip * long
    tip = front - math.tan(math.radians(plan.sweep_deg)) * (half - side)
    kink = side + 0.36 * (half - side)
    kink_back = (back if plan.sweep_deg > 15 else back + 0.1 * (back - tip + chord)) - 0.02 * long
    x = [front + 0.6, tip + 0.3 * chord, tip - 0.35 * chord, tip - chord, kink_back, back]
    wing = join(x, [side, half - 0.5, half, half - 0.1, kink, side])
    end, knee, root = wing[3], wing[4], wing[5]
    inward = np.array([0.18 * plan.root * long, 0.0])
    return wing, np.array([end + 0.5 * inward * plan.tip / plan.root, knee + inward, root + inward, root, knee, end])


def _stabiliser(plan: AircraftType) -> Points:
    half, long = plan.tail_span * plan.span_m / 2, plan.length_m
    chord, at = (0.075 if long > 20 else 0.095) * long, -(0.865 if plan.mount == "wing" else 0.915) * long
    back = max(at - math.tan(math.radians(max(plan.sweep_deg + 4, 8))) * half, 0.4 * chord - 0.985 * long)
    return join([at, back, max(back - 0.45 * chord, -0.985 * long), max(at - chord, -long)], [0, half, half, 0])


def _pod(plan: AircraftType, place: float) -> tuple[Points, Points]:
    """Return a nacelle, ahead of the wing's leading edge or beside the rear body, and its inlet or propeller."""
    (length, width), middle = plan.pod_m, place * plan.span_m / 2
    edge = -plan.wing_at * plan.length_m - math.tan(math.radians(plan.sweep_deg)) * (middle - 0.35 * plan.body_m)
    front = edge + 0.66 * length
    if plan.mount == "tail":
        front, middle = -0.70 * plan.length_m, plan.body_m / 2 + 0.65 * width
    along, half = np.array([0, 0.3, 0.8, 1.0]) * length, np.array([0.8, 1.0, 0.75, 0.4]) * width / 2
    pod = join(front - np.concatenate([along, along[::-1]]), middle + np.concatenate([half, -half[::-1]]))
    if plan.mount == "prop":  # the disc of a propeller, thin from above
        return pod, box((front, middle), 0.3, 2.6 * width)
    return pod, box((front - 0.225, middle), 0.45, 0.8 * width)


def _body(plan: AircraftType, body: Colour, tail: Colour, lit_side: float, height: float) -> list[Part]:
    """Return the fuselage as strips, shaded like a lying cylinder, with the flight deck and the painted tail."""
    length, radius = plan.length_m, plan.body_m / 2
    nose = min(1.7 * plan.body_m, 0.2 * length)
    x = np.concatenate([np.array([0, 0.06, 0.2, 0.45, 1.0]) * nose, np.array([0.66, 0.8, 0.9, 0.965, 1.0]) * length])
    r = radius * np.array([0.0, 0.30, 0.58, 0.85, 1.0, 1.0, 0.78, 0.48, 0.24, 0.06])

    def strip(low: float, high: float, first: int = 0) -> Points:
        ahead, half = -x[first:], r[first:]
        return join(np.concatenate([ahead, ahead[::-1]]), np.concatenate([half * low, half[::-1] * high]))

    parts = []
    for low, high in pairwise((-1.0, -0.72, -0.35, 0.35, 0.72, 1.0)):
        middle = (low + high) / 2
        shade = 0.90 + 0.16 * lit_side * middle - 0.20 * middle**2 + (0.10 if low < 0 < high else 0)
        parts.append(Part(strip(low, high), scale_colour(body, shade), height - plan.body_m, height))
    parts.append(Part(strip(-1, 1, 6), mix(scale_colour(body, 0.92), tail, 0.7), height - 1, height))
    deck = join(np.array([0.22, 0.22, 0.34, 0.34]) * -nose, np.array([-0.42, 0.42, 0.62, -0.62]) * radius)
    return [*parts, Part(deck, (52, 56, 64), height - 1, height)]


def cast_aircraft(canvas: Canvas, aircraft: Aircraft) -> None:
    """Cast an aircraft's shadow; its thick pieces are convex."""
    for part in aircraft_parts(aircraft.kind, aircraft.livery):
        if part.high_m > 0:
            canvas.cast(aircraft.outline(part.points), max(part.low_m, 0.5), part.high_m)


def stamp_aircraft(picture: Array, canvas: Canvas, aircraft: Aircraft) -> None:
    """Draw an aircraft onto a flattened picture (H, W, 3), in place, averaged down from a grid of 0.2 m."""
    east, north = canvas.light.shadow_en
    lit = (east * math.sin(aircraft.heading) - north * math.cos(aircraft.heading)) / max(math.hypot(east, north), 1e-9)
    bounds, gsd, (rows, cols) = aircraft.bounds_en(), canvas.gsd_m, picture.shape[:2]
    x0, y0 = math.floor((bounds[0] - canvas.west) / gsd) - 1, math.floor((canvas.north - bounds[3]) / gsd) - 1
    x1, y1 = math.ceil((bounds[2] - canvas.west) / gsd) + 1, math.ceil((canvas.north - bounds[1]) / gsd) + 1
    fine = max(2, math.ceil(gsd / AIRCRAFT_STEP_M))
    sprite: NDArray[np.uint8] = np.zeros(((y1 - y0) * fine, (x1 - x0) * fine, 4), np.uint8)
    shift = np.array([x0, y0], np.int32) * (fine << FRACTION_BITS)
    for part in aircraft_parts(aircraft.kind, aircraft.livery, lit):
        _fill(sprite, [canvas.fixed(aircraft.outline(part.points), fine) - shift], (*part.colour, 255))
    small = cv2.resize(sprite.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    top, bottom, first, last = max(y0, 0), min(y1, rows), max(x0, 0), min(x1, cols)
    if top < bottom and first < last:
        small = small[top - y0 : bottom - y0, first - x0 : last - x0]
        area = picture[top:bottom, first:last]
        area[...] = area * (1 - small[..., 3:] / 255) + small[..., :3]


# --- sensor


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the air and the camera do to a picture: shares 0..1, blur in pixels (sigma), noise in 8-bit counts."""

    haze: float
    cloud: float
    blur_px: float
    noise_dn: float
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    gamma: float


def expose(picture: Array, sensor: Sensor, gsd_m: float, rng: np.random.Generator) -> Array:
    """Return the picture (H, W, 3), 0..255, as the sensor delivers it: haze, thin cloud, blur, radiometry, noise."""
    shape_hw = picture.shape[0], picture.shape[1]
    veil = sensor.haze * np.clip(0.8 + 0.25 * noise(rng, shape_hw, 500 / gsd_m), 0.2, 1.6)
    if sensor.cloud > 0:
        layers = ((420, 0.6), (160, 0.3), (60, 0.15))
        cloud = sum(noise(rng, shape_hw, grain / gsd_m) * np.float32(share) for grain, share in layers)
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    veil = np.clip(veil, 0, 0.75).astype(np.float32)
    out = np.empty_like(picture)
    for band, bright in enumerate((214, 220, 230)):
        value = cv2.GaussianBlur(picture[..., band] + (bright - picture[..., band]) * veil, (0, 0), sensor.blur_px)
        value = np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma)
        value = value * (255 * sensor.gain[band]) + sensor.offset[band]
        grains = rng.standard_normal(shape_hw, dtype=np.float32)
        out[..., band] = value + grains * sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160)
    return out


def near_infrared(picture: Array) -> Array:
    """Return a plausible near-infrared band (H, W) for an RGB picture: green plants bright, water dark."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    plants = np.clip(green - np.maximum(red, blue), 0, 40)
    water = np.clip(blue - red, 0, 60)
    return np.asarray(np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255), np.float32)
