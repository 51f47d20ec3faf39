"""A picture being drawn: colour and grain, stains, shadows, then what stands on the ground, and
aircraft.

Knows nothing of what stands where. Pictures are RGB throughout, metres east and north.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from windhover.simulate.aircraft import Aircraft, aircraft_parts
from windhover.simulate.outlines import Array, Color, Points, Shape, mix, rotate, scale_color

SUBPIXELS = 2  # canvas pixels per scene pixel, along each side
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with
AIRCRAFT_STEP_M = 0.2  # grid on which aircraft are drawn before averaging
# of the ground's brightness, then of its hue: width of the grains (m) and their share
GRAINS = (((1, 0.4), (3, 0.3), (9, 0.3), (35, 0.25), (140, 0.2)), ((60, 0.6), (11, 0.4)))


class Light(NamedTuple):
    """Where the sun and the sensor stand: metres of shadow and of lean (east, north) per metre of
    height.
    """

    shadow_en: Points
    lean_en: Points

    @staticmethod
    def of(
        sun_azimuth_deg: float,
        sun_elevation_deg: float,
        view_azimuth_deg: float,
        off_nadir_deg: float,
    ) -> Light:
        """Return the light for angles in degrees, azimuths clockwise from north."""
        sun, height, view, slant = np.radians(
            (sun_azimuth_deg, sun_elevation_deg, view_azimuth_deg, off_nadir_deg)
        )
        return Light(rotate((0, -1 / math.tan(height)), -sun), rotate((0, math.tan(slant)), -view))


def noise(rng: np.random.Generator, shape_hw: tuple[int, int], grain_px: float) -> Array:
    """Return smooth noise (H, W) of about unit variance whose blobs are `grain_px` wide."""
    height, width = shape_hw
    if grain_px > 16:  # smooth enough to be made at an eighth of the size
        small = noise(rng, (height // 8 + 2, width // 8 + 2), grain_px / 8)
        return np.asarray(
            cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)[:height, :width]
        )
    small = rng.standard_normal(
        (math.ceil(height / grain_px) + 3, math.ceil(width / grain_px) + 3), dtype=np.float32
    )
    if grain_px > 1:
        size = (math.ceil(small.shape[1] * grain_px), math.ceil(small.shape[0] * grain_px))
        small = np.asarray(
            cv2.resize(small * 1.25, size, interpolation=cv2.INTER_CUBIC), np.float32
        )
    return small[:height, :width]


class Canvas:
    """A picture being drawn: colour and grain, stains, shadows, then what stands on the ground."""

    def __init__(
        self, shape_hw: tuple[int, int], gsd_m: float, west_north: tuple[float, float], light: Light
    ) -> None:
        height, width = shape_hw
        self.shape_hw, self.gsd_m = shape_hw, gsd_m
        self.west, self.north = west_north
        self.step_m = gsd_m / SUBPIXELS
        self.shadow, self.lean = light
        self.ground: NDArray[np.uint8] = np.zeros(
            (height * SUBPIXELS, width * SUBPIXELS, 4), np.uint8
        )
        self.shade: NDArray[np.uint8] = np.zeros((height * SUBPIXELS, width * SUBPIXELS), np.uint8)
        self.stains: NDArray[np.uint8] = np.zeros((height // 2 + 1, width // 2 + 1), np.uint8)

    def fixed(self, points: Points, scale: float = SUBPIXELS) -> NDArray[np.int32]:
        """Return metres (N, 2) as OpenCV's fixed-point coordinates on a grid of `scale` pixels per
        scene pixel.
        """
        px = (points - (self.west, self.north)) * (1, -1) / self.gsd_m
        return np.rint((px * scale - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)

    def fill(
        self, rings: tuple[Points, ...], color: Color, texture: int = 10, hull: bool = False
    ) -> None:
        """Fill outlines in metres, or their convex hull, on the ground."""
        _fill(self.ground, [self.fixed(ring) for ring in rings], (*color, texture), hull)

    def lay(self, shape: Shape, rng: np.random.Generator) -> None:
        """Draw a shape flat on the ground."""
        if shape.pattern:
            self._lay_pattern(shape, rng)
        elif shape.width_m > 0:
            wide = shape.width_m / self.gsd_m * SUBPIXELS
            ink = (*mix(shape.under, shape.color, min(1.0, wide)), shape.texture)
            lines = [self.fixed(ring) for ring in shape.rings]
            cv2.polylines(
                self.ground, lines, False, ink, max(1, round(wide)), cv2.LINE_AA, FRACTION_BITS
            )
        else:
            self.fill(shape.rings, shape.color, shape.texture)

    def _lay_pattern(self, shape: Shape, rng: np.random.Generator) -> None:
        rings = [self.fixed(ring) for ring in shape.rings]
        left, top = np.maximum((rings[0].min(axis=0) >> FRACTION_BITS) - 1, 0)
        right, bottom = np.maximum((rings[0].max(axis=0) >> FRACTION_BITS) + 2, 0)
        area = self.ground[top:bottom, left:right]
        if area.size == 0:
            return
        mask: NDArray[np.uint8] = np.zeros(area.shape[:2], np.uint8)
        _fill(
            mask, [ring - (np.array([left, top], np.int32) << FRACTION_BITS) for ring in rings], 255
        )
        if shape.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 6 / self.gsd_m * SUBPIXELS), np.uint8)
        tone = self._tone(shape, (area.shape[0], area.shape[1]), rng)
        share = mask.astype(np.float32) / 255
        inks = [
            *(np.clip(tone * value, 0, 255) for value in shape.color),
            np.full_like(tone, shape.texture),
        ]
        for band, wanted in enumerate(inks):
            area[..., band] = area[..., band] + (wanted - area[..., band]) * share

    def _tone(self, shape: Shape, size_hw: tuple[int, int], rng: np.random.Generator) -> Array:
        """Return the pattern's brightness (H, W) about 1."""

        def grain(meters: float) -> Array:
            return noise(rng, size_hw, meters / self.step_m)

        east, south = (self.step_m * np.arange(size, dtype=np.float32) for size in size_hw[::-1])
        cos, sin, turn = math.cos(shape.angle), math.sin(shape.angle), 2 * math.pi / shape.period_m
        across, along = east * cos - south[:, None] * sin, east * sin + south[:, None] * cos
        tone = grain(40)
        if shape.pattern == "furrow":
            lanes = np.abs(np.mod(across, 24) - 12) < 0.7
            tone = (
                1
                + 0.05 * np.sin(across * turn + tone * 0.6)
                - 0.10 * lanes
                + 0.07 * tone
                + 0.03 * grain(6)
            )
        elif shape.pattern == "rows":
            tone = (
                0.95
                + 0.22 * np.sin(across * turn) * (0.6 + 0.4 * np.sin(along * turn))
                + 0.06 * tone
            )
        elif shape.pattern == "wood":
            crowns = grain(shape.period_m) + 0.6 * grain(0.45 * shape.period_m)
            k = max(1, round(1.2 / self.step_m))  # each crown is bright towards the sun
            lit = crowns - np.roll(
                crowns, np.where(self.shadow[::-1] < 0, (k, -k), (-k, k)), (0, 1)
            )
            tone = np.clip(0.95 + 0.30 * lit + 0.12 * crowns + 0.10 * tone, 0.35, 1.9)
        else:
            fine, coarse = (2.0, 5.0) if shape.pattern == "water" else (12.0, 130.0)
            tone = 1 + 0.05 * tone + 0.04 * grain(fine) + 0.05 * grain(coarse)
        return np.asarray(tone, np.float32)

    def stain(self, points: Points, strength: float) -> None:
        """Darken (`strength` 0..1) the ground softly inside an outline in metres."""
        _fill(self.stains, [self.fixed(points, 0.5)], round(255 * strength))

    def cast(self, points: Points, low_m: float, high_m: float) -> None:
        """Cast the shadow of an outline; where it is thicker than it is high, of the hull from
        `low_m` to `high_m`.
        """
        if high_m - low_m > 1.3:
            fallen = [self.fixed(points + self.shadow * height) for height in (low_m, high_m)]
            _fill(self.shade, fallen, 255, hull=True)
        else:
            _fill(self.shade, [self.fixed(points + self.shadow * high_m)], 255)

    def settle_light(self, rng: np.random.Generator) -> None:
        """Apply stains and shadows to what lies on the ground; what is raised afterwards stands
        above them.
        """
        soft = (
            cv2.GaussianBlur(self.stains, (0, 0), max(0.6, 1.5 / self.gsd_m)).astype(np.float32)
            / 255
        )
        soft *= np.clip(0.8 + 0.45 * noise(rng, soft.shape, 6), 0, 1.6)
        size = (self.ground.shape[1], self.ground.shape[0])
        keep = cv2.resize(
            np.clip(255 * (1 - soft), 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR
        )
        for band, loss in enumerate((0.66, 0.62, 0.52)):  # the sky lights shadows blue
            light = cv2.convertScaleAbs(self.shade, alpha=-loss, beta=0)
            factor = cv2.multiply(
                keep, cv2.subtract(np.full_like(light, 255), light), scale=1 / 255
            )
            self.ground[..., band] = cv2.multiply(
                np.ascontiguousarray(self.ground[..., band]), factor, scale=1 / 255
            )

    def lift(self, shape: Shape) -> None:
        """Draw a shape at its height above the ground: wall, then roof, both leaning away from the
        sensor.
        """
        ring, grain = shape.rings[0], shape.texture
        if shape.pattern == "crown":
            crown = ring + 0.6 * self.lean * shape.height_m
            middle, reach = (
                crown.mean(axis=0),
                0.14 * float(np.ptp(crown[:, 0])) / max(math.hypot(*self.shadow), 1e-9),
            )
            self.fill((crown,), scale_color(shape.color, 0.78), grain)
            lit = middle + 0.62 * (crown - middle) - self.shadow * reach
            self.fill((lit,), scale_color(shape.color, 1.35), grain)
            return
        low, top = (
            ring + self.lean * height for height in (shape.base_m, shape.base_m + shape.height_m)
        )
        if shape.base_m > 0 and shape.height_m > 0:  # its shadow on the roof
            self.fill(
                (low, low + self.shadow * shape.height_m),
                scale_color(shape.under, 0.5),
                8,
                hull=True,
            )
        if shape.height_m > 4:
            self.fill((low, top), scale_color(shape.color, 0.55), hull=True)
        self.fill((top,), shape.color, grain)

    def flatten(self, rng: np.random.Generator) -> Array:
        """Return the picture (H, W, 3), 0..255, at scene pixels with the ground's grain in it."""
        height, width = self.shape_hw
        small = cv2.resize(self.ground, (width, height), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        grain, hue = (
            sum(
                noise(rng, self.shape_hw, max(1.0, size / self.gsd_m)) * np.float32(share)
                for size, share in layers
            )
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
        """Draw an aircraft onto the flattened picture (H, W, 3), in place, averaged down from a
        grid of 0.2 m.
        """
        lit = float(rotate(self.shadow, -aircraft.heading)[1]) / -max(
            math.hypot(*self.shadow), 1e-9
        )
        corners = (
            (np.array(aircraft.bounds_en()).reshape(2, 2) - (self.west, self.north))
            * (1, -1)
            / self.gsd_m
        )
        first, last = np.clip(
            [corners.min(axis=0) - 1, corners.max(axis=0) + 2], 0, self.shape_hw[::-1]
        ).astype(int)
        (cols, rows), fine = (
            (last - first).tolist(),
            max(2, math.ceil(self.gsd_m / AIRCRAFT_STEP_M)),
        )
        sprite: NDArray[np.uint8] = np.zeros((rows * fine, cols * fine, 4), np.uint8)
        for part in aircraft_parts(aircraft.kind, aircraft.livery, lit):
            outline = self.fixed(aircraft.outline(part.points), fine) - first * (
                fine << FRACTION_BITS
            )
            _fill(sprite, [outline.astype(np.int32)], (*part.color, 255))
        small = cv2.resize(sprite.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        area = picture[first[1] : last[1], first[0] : last[0]]
        area[...] = area * (1 - small[..., 3:] / 255) + small[..., :3]


def _fill(
    target: NDArray[np.uint8],
    rings: list[NDArray[np.int32]],
    ink: int | tuple[int, ...],
    hull: bool = False,
) -> None:
    """Fill fixed-point outlines, or their convex hull."""
    outlines = [cv2.convexHull(np.concatenate(rings).reshape(-1, 1, 2))] if hull else rings
    cv2.fillPoly(target, outlines, ink, cv2.LINE_AA, FRACTION_BITS)
