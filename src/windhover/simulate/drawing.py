"""How the built-in world looks: a canvas in metres, ground textures, houses, trees and roofs, and the sensor.

Knows nothing of what stands where, nor of files (see `places`, `airport`, `world`). Pictures are RGB throughout.
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


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing to draw, in metres east and north of the place's origin.

    `rings`: outlines (N, 2), the later ones holes; for a line (`width_m` > 0) open polylines.
    `texture`: 0..255, how strongly the ground's grain shows. `height_m` casts a shadow; `base_m`: of its roof.
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
        cv2.polylines(
            self.ground, lines, False, (*colour, shape.texture), max(1, round(wide)), cv2.LINE_AA, FRACTION_BITS
        )

    def _lay_pattern(self, shape: Shape, rng: np.random.Generator) -> None:
        rings = [self.fixed(ring) for ring in shape.rings]
        left, top = np.maximum(rings[0].min(axis=0) // (1 << FRACTION_BITS) - 1, 0)
        right, bottom = rings[0].max(axis=0) // (1 << FRACTION_BITS) + 2
        area = self.ground[top:bottom, left:right]
        if area.size == 0:
            return
        mask: NDArray[np.uint8] = np.zeros(area.shape[:2], np.uint8)
        corner = np.array([left, top], np.int32) << FRACTION_BITS
        cv2.fillPoly(mask, [ring - corner for ring in rings], 255, cv2.LINE_AA, FRACTION_BITS)
        if shape.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 6 / self.gsd_m * SUBPIXELS), np.uint8)
        tone = self._tone(shape, mask.shape, (int(left), int(top)), rng)
        share = mask.astype(np.float32) * np.float32(1 / 255)
        for band in range(3):
            wanted = np.clip(tone * shape.colour[band], 0, 255)
            area[..., band] = area[..., band] + (wanted - area[..., band]) * share
        area[..., 3] = area[..., 3] + (shape.texture - area[..., 3]) * share

    def _tone(
        self, shape: Shape, shape_hw: tuple[int, ...], left_top: tuple[int, int], rng: np.random.Generator
    ) -> Array:
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
            ridges = 0.05 * np.sin(across * turn + broad * 0.6) - 0.10 * tram
            return np.asarray(1 + ridges + 0.07 * broad + 0.03 * noise(rng, size, 6 / step), np.float32)
        if shape.pattern == "rows":
            plants = np.sin(across * turn) * (0.6 + 0.4 * np.sin((north * cos - east * sin) * turn))
            return np.asarray(0.95 + 0.22 * plants + 0.06 * broad, np.float32)
        if shape.pattern == "wood":
            crowns = noise(rng, size, shape.period_m / step) + 0.6 * noise(rng, size, 0.45 * shape.period_m / step)
            k = max(1, round(1.2 / step))  # each crown is bright towards the sun
            toward = (k if self.light.shadow_en[1] < 0 else -k, -k if self.light.shadow_en[0] < 0 else k)
            lit = crowns - np.roll(crowns, toward, (0, 1))
            return np.asarray(np.clip(0.95 + 0.30 * lit + 0.12 * crowns + 0.10 * broad, 0.35, 1.9), np.float32)
        fine, coarse = (2.0, 5.0) if shape.pattern == "water" else (12.0, 130.0)
        tone = 1 + 0.05 * broad + 0.04 * noise(rng, size, fine / step) + 0.05 * noise(rng, size, coarse / step)
        return np.asarray(tone, np.float32)

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
            cv2.fillConvexPoly(
                self.ground, cv2.convexHull(fallen.reshape(-1, 1, 2)), (*dark, 8), cv2.LINE_AA, FRACTION_BITS
            )
        if shape.height_m > 4:
            wall = cv2.convexHull(self.fixed(np.concatenate([low, top])).reshape(-1, 1, 2))
            cv2.fillConvexPoly(self.ground, wall, (*scale_colour(shape.colour, 0.55), 10), cv2.LINE_AA, FRACTION_BITS)
        cv2.fillPoly(self.ground, [self.fixed(top)], (*shape.colour, shape.texture), cv2.LINE_AA, FRACTION_BITS)

    def _lift_crown(self, shape: Shape) -> None:
        lean, sun = np.array(self.light.lean_en) * shape.height_m, -np.array(self.light.shadow_en)
        crown = shape.rings[0] + 0.6 * lean
        radius = float(np.ptp(crown[:, 0])) / 2
        lit = (
            crown.mean(axis=0)
            + 0.62 * (crown - crown.mean(axis=0))
            + sun / max(float(np.hypot(*sun)), 1e-9) * 0.28 * radius
        )
        cv2.fillPoly(
            self.ground,
            [self.fixed(crown)],
            (*scale_colour(shape.colour, 0.78), shape.texture),
            cv2.LINE_AA,
            FRACTION_BITS,
        )
        cv2.fillPoly(
            self.ground,
            [self.fixed(lit)],
            (*scale_colour(shape.colour, 1.35), shape.texture),
            cv2.LINE_AA,
            FRACTION_BITS,
        )

    def flatten(self, rng: np.random.Generator) -> Array:
        """Return the picture (H, W, 3), 0..255, at scene pixels with the ground's grain in it."""
        height, width = self.shape_hw
        small = cv2.resize(self.ground, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        metre = 1 / self.gsd_m
        grain = 0.40 * noise(rng, self.shape_hw, 1) + 0.30 * noise(rng, self.shape_hw, max(1.5, 3 * metre))
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


# --- things


def box(centre: tuple[float, float], length_m: float, width_m: float, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of a rectangle, its length along `angle` (radians)."""
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = np.array([cos, sin]) * length_m / 2, np.array([-sin, cos]) * width_m / 2
    middle = np.array(centre)
    return np.array(
        [middle - along - across, middle + along - across, middle + along + across, middle - along + across]
    )


def disc(
    centre: tuple[float, float], radius_m: float, corners: int = 20, rough: NDArray[np.float64] | None = None
) -> Points:
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
    return [
        Shape((box(centre, length, width, angle),), scale_colour(tone, 0.82), 16, height_m=6.0),
        Shape((half,), scale_colour(tone, 1.2), 16, base_m=6.0),
    ]


def roof(
    rng: np.random.Generator,
    centre: tuple[float, float],
    length_m: float,
    width_m: float,
    angle: float,
    height_m: float,
    colour: Colour,
    seams: int,
) -> list[Shape]:
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
            shapes.append(
                Shape((box(at(a, 0), 1.2, width_m * 0.7, angle),), mix(colour, (70, 80, 92), 0.6), 10, base_m=height_m)
            )
    shapes.append(Shape((box(at(0, 0), length_m * 0.98, 0.8, angle),), scale_colour(colour, 0.75), 10, base_m=height_m))
    for _ in range(int(length_m * width_m / 420)):
        spot = at(rng.uniform(-0.45, 0.45) * length_m, rng.uniform(-0.42, 0.42) * width_m)
        machine = box(spot, rng.uniform(2, 6), rng.uniform(1.5, 3.5), angle)
        shapes.append(
            Shape((machine,), scale_colour((186, 188, 190), rng.uniform(0.75, 1.2)), 10, 2.0, height_m, under=colour)
        )
    return shapes


# --- sensor


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
        cloud = sum(
            noise(rng, shape_hw, grain / gsd_m) * np.float32(share)
            for grain, share in ((420, 0.6), (160, 0.3), (60, 0.15))
        )
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    veil = np.clip(veil, 0, 0.75).astype(np.float32)
    out = np.empty_like(picture)
    for band, bright in enumerate((214, 220, 230)):
        value = picture[..., band] + (bright - picture[..., band]) * veil
        value = cv2.GaussianBlur(value, (0, 0), sensor.blur_px)
        value = (
            np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma) * (255 * sensor.gain[band])
            + sensor.offset[band]
        )
        out[..., band] = value + rng.standard_normal(shape_hw, dtype=np.float32) * (
            sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160)
        )
    return out


def near_infrared(picture: Array) -> Array:
    """Return a plausible near-infrared band (H, W) for an RGB picture: green plants bright, water dark."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    plants = np.clip(green - np.maximum(red, blue), 0, 40)
    water = np.clip(blue - red, 0, 60)
    return np.asarray(np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255), np.float32)
