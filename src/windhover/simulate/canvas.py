"""An image being drawn: the ground, stains and shadows on it, then raised objects and aircraft.

Knows nothing of what stands where. Images are RGB throughout, positions metres east and north.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from windhover.simulate.aircraft import Aircraft, aircraft_parts
from windhover.simulate.patterns import pattern_brightness, smooth_noise
from windhover.simulate.shapes import (
    Color,
    FloatImage,
    Points,
    Shape,
    mix_colors,
    rotate,
    scale_color,
)

ByteImage = NDArray[np.uint8]
SUBPIXELS = 2  # canvas pixels per scene pixel, along each side
FRACTION_BITS = 4  # of the fixed-point coordinates that OpenCV draws with
AIRCRAFT_STEP_M = 0.2  # grid on which aircraft are drawn before averaging
# noise of the ground's brightness, then of its hue: width of the grains (m), weight
BRIGHTNESS_NOISE = ((1, 0.4), (3, 0.3), (9, 0.3), (35, 0.25), (140, 0.2))
HUE_NOISE = ((60, 0.6), (11, 0.4))
HUE_NOISE_OF_BANDS = (0.20, 0.0, -0.10)
SHADOW_OF_BANDS = (0.66, 0.62, 0.52)  # fraction of light that is lost: the sky lights shadows blue
MIN_WALL_M = 4  # lower objects are drawn without walls


class Light(NamedTuple):
    """Directions of sun and sensor.

    Attributes:
        shadow_en: metres of shadow, east and north, per metre of height.
        lean_en: metres that the top of an object is displaced, per metre of height.
    """

    shadow_en: Points
    lean_en: Points

    @staticmethod
    def from_angles(
        sun_azimuth_deg: float,
        sun_elevation_deg: float,
        *,
        view_azimuth_deg: float,
        off_nadir_deg: float,
    ) -> Light:
        """Return the light for angles in degrees, azimuths clockwise from north."""
        sun_azimuth, sun_elevation, view_azimuth, off_nadir = np.radians(
            (sun_azimuth_deg, sun_elevation_deg, view_azimuth_deg, off_nadir_deg)
        )
        shadow_en = rotate((0, -1 / math.tan(sun_elevation)), -sun_azimuth)
        lean_en = rotate((0, math.tan(off_nadir)), -view_azimuth)
        return Light(shadow_en, lean_en)


class Canvas:
    """An image being drawn, of `SUBPIXELS` pixels per scene pixel.

    Draw flat shapes, stains and shadows first, then `apply_light`, then raised shapes, then
    `to_image` and aircraft.
    """

    def __init__(
        self,
        shape_hw: tuple[int, int],
        gsd_m: float,
        *,
        west_north: tuple[float, float],
        light: Light,
    ) -> None:
        """Begin with black ground.

        Args:
            shape_hw: rows and columns of the scene, px.
            gsd_m: metres per px.
            west_north: position of its top left corner, m.
            light: directions of sun and sensor.
        """
        height, width = shape_hw
        self.shape_hw = shape_hw
        self.gsd_m = gsd_m
        self.west_north = west_north
        self.step_m = gsd_m / SUBPIXELS
        self.shadow_en, self.lean_en = light
        fine_hw = (height * SUBPIXELS, width * SUBPIXELS)
        self.ground: ByteImage = np.zeros((*fine_hw, 4), np.uint8)  # RGB and level of the noise
        self.shadows: ByteImage = np.zeros(fine_hw, np.uint8)
        self.stains: ByteImage = np.zeros((height // 2 + 1, width // 2 + 1), np.uint8)

    def to_fixed_point(self, points: Points, scale: float = SUBPIXELS) -> NDArray[np.int32]:
        """Return points (N, 2) in metres as OpenCV's fixed-point coordinates.

        Args:
            points: metres east and north.
            scale: pixels of the grid per scene pixel.
        """
        px = (points - self.west_north) * (1, -1) / self.gsd_m
        return np.rint((px * scale - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)

    def fill(
        self,
        rings: tuple[Points, ...],
        color: Color,
        noise_level: int = 10,
        *,
        hull: bool = False,
    ) -> None:
        """Fill outlines in metres, or their convex hull, on the ground."""
        outlines = [self.to_fixed_point(ring) for ring in rings]
        _fill_outlines(self.ground, outlines, (*color, noise_level), hull=hull)

    def draw_flat(self, shape: Shape, rng: np.random.Generator) -> None:
        """Draw a shape flat on the ground."""
        if shape.pattern:
            self._draw_pattern(shape, rng)
        elif shape.width_m > 0:
            self._draw_line(shape)
        else:
            self.fill(shape.rings, shape.color, shape.noise_level)

    def _draw_line(self, shape: Shape) -> None:
        """Draw lines; those narrower than a pixel are mixed with their background."""
        width_px = shape.width_m / self.gsd_m * SUBPIXELS
        color = mix_colors(shape.background, shape.color, min(1.0, width_px))
        lines = [self.to_fixed_point(ring) for ring in shape.rings]
        cv2.polylines(
            self.ground,
            lines,
            isClosed=False,
            color=(*color, shape.noise_level),
            thickness=max(1, round(width_px)),
            lineType=cv2.LINE_AA,
            shift=FRACTION_BITS,
        )

    def _draw_pattern(self, shape: Shape, rng: np.random.Generator) -> None:
        rings = [self.to_fixed_point(ring) for ring in shape.rings]
        left, top = np.maximum((rings[0].min(axis=0) >> FRACTION_BITS) - 1, 0)
        right, bottom = np.maximum((rings[0].max(axis=0) >> FRACTION_BITS) + 2, 0)
        area = self.ground[top:bottom, left:right]
        if area.size == 0:
            return
        mask: ByteImage = np.zeros(area.shape[:2], np.uint8)
        corner = np.array([left, top], np.int32) << FRACTION_BITS
        _fill_outlines(mask, [ring - corner for ring in rings], 255)
        if shape.soft:
            sigma_px = 6 / self.gsd_m * SUBPIXELS
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.uint8)
        brightness = pattern_brightness(
            shape,
            (area.shape[0], area.shape[1]),
            self.step_m,
            shadow_en=self.shadow_en,
            rng=rng,
        )
        opacity = mask.astype(np.float32) / 255
        layers = [np.clip(brightness * value, 0, 255) for value in shape.color]
        layers.append(np.full_like(brightness, shape.noise_level))
        for band, layer in enumerate(layers):
            area[..., band] = area[..., band] + (layer - area[..., band]) * opacity

    def add_stain(self, points: Points, opacity: float) -> None:
        """Darken (`opacity` 0..1) the ground softly inside an outline in metres."""
        _fill_outlines(self.stains, [self.to_fixed_point(points, 0.5)], round(255 * opacity))

    def cast_shadow(self, points: Points, low_m: float, high_m: float) -> None:
        """Cast the shadow of an outline.

        Args:
            points: outline (N, 2) in metres.
            low_m: height of its lower side; thick objects cast the hull from there to the top.
            high_m: height of its upper side.
        """
        top = self.to_fixed_point(points + self.shadow_en * high_m)
        if high_m - low_m > 1.3:
            bottom = self.to_fixed_point(points + self.shadow_en * low_m)
            _fill_outlines(self.shadows, [bottom, top], 255, hull=True)
        else:
            _fill_outlines(self.shadows, [top], 255)

    def apply_light(self, rng: np.random.Generator) -> None:
        """Apply stains and shadows to the ground; what is drawn afterwards stands above them."""
        remaining = self._light_of_stains(rng)
        for band, loss in enumerate(SHADOW_OF_BANDS):
            lost = cv2.convertScaleAbs(self.shadows, alpha=-loss, beta=0)
            light = cv2.subtract(np.full_like(lost, 255), lost)
            factor = cv2.multiply(remaining, light, scale=1 / 255)
            color = np.ascontiguousarray(self.ground[..., band])
            self.ground[..., band] = cv2.multiply(color, factor, scale=1 / 255)

    def _light_of_stains(self, rng: np.random.Generator) -> ByteImage:
        """Return what stains leave of the ground's brightness, 0..255 at canvas pixels."""
        sigma_px = max(0.6, 1.5 / self.gsd_m)
        opacity = cv2.GaussianBlur(self.stains, (0, 0), sigma_px).astype(np.float32) / 255
        opacity *= np.clip(0.8 + 0.45 * smooth_noise(rng, opacity.shape, 6), 0, 1.6)
        remaining = np.clip(255 * (1 - opacity), 0, 255).astype(np.uint8)
        size_wh = (self.ground.shape[1], self.ground.shape[0])
        return np.asarray(cv2.resize(remaining, size_wh, interpolation=cv2.INTER_LINEAR))

    def draw_raised(self, shape: Shape) -> None:
        """Draw a shape at its height: wall, then roof, both leaning away from the sensor."""
        if shape.pattern == "crown":
            self._draw_tree(shape)
            return
        bottom = shape.rings[0] + self.lean_en * shape.base_m
        top = shape.rings[0] + self.lean_en * (shape.base_m + shape.height_m)
        if shape.base_m > 0 and shape.height_m > 0:  # its shadow on the roof
            shadow = bottom + self.shadow_en * shape.height_m
            self.fill((bottom, shadow), scale_color(shape.background, 0.5), 8, hull=True)
        if shape.height_m > MIN_WALL_M:
            self.fill((bottom, top), scale_color(shape.color, 0.55), hull=True)
        self.fill((top,), shape.color, shape.noise_level)

    def _draw_tree(self, shape: Shape) -> None:
        """Draw a crown, bright on the side of the sun."""
        crown = shape.rings[0] + 0.6 * self.lean_en * shape.height_m
        center = crown.mean(axis=0)
        shadow_length = max(math.hypot(*self.shadow_en), 1e-9)
        shift = 0.14 * float(np.ptp(crown[:, 0])) / shadow_length
        self.fill((crown,), scale_color(shape.color, 0.78), shape.noise_level)
        bright = center + 0.62 * (crown - center) - self.shadow_en * shift
        self.fill((bright,), scale_color(shape.color, 1.35), shape.noise_level)

    def to_image(self, rng: np.random.Generator) -> FloatImage:
        """Return the image (H, W, 3), 0..255, at scene pixels with the ground's noise in it."""
        height, width = self.shape_hw
        averaged = cv2.resize(self.ground, (width, height), interpolation=cv2.INTER_AREA)
        color = averaged.astype(np.float32)
        brightness_noise = self._ground_noise(BRIGHTNESS_NOISE, rng)
        hue_noise = self._ground_noise(HUE_NOISE, rng)
        noise_level = color[..., 3] / 255
        image = np.empty((height, width, 3), np.float32)
        for band, weight in enumerate(HUE_NOISE_OF_BANDS):
            noise = brightness_noise + np.float32(weight) * hue_noise
            image[..., band] = color[..., band] * (1 + noise_level * noise)
        return image

    def _ground_noise(
        self, layers: tuple[tuple[int, float], ...], rng: np.random.Generator
    ) -> FloatImage:
        """Return the weighted sum (H, W) of noise of several widths."""
        total: FloatImage | int = 0
        for width_m, weight in layers:
            noise = smooth_noise(rng, self.shape_hw, max(1.0, width_m / self.gsd_m))
            total = total + noise * np.float32(weight)
        return np.asarray(total)

    def cast_aircraft_shadow(self, aircraft: Aircraft) -> None:
        """Cast an aircraft's shadow; its thick parts are convex."""
        for part in aircraft_parts(aircraft.type_name, aircraft.livery):
            outline = aircraft.to_ground(part.points)
            self.cast_shadow(outline, max(part.low_m, 0.5), part.high_m)

    def draw_aircraft(self, image: FloatImage, aircraft: Aircraft) -> None:
        """Draw an aircraft onto an image (H, W, 3) of `to_image`, in place.

        It is drawn on a grid of 0.2 m and averaged to scene pixels.
        """
        shadow_length = max(math.hypot(*self.shadow_en), 1e-9)
        light_side = float(rotate(self.shadow_en, -aircraft.heading)[1]) / -shadow_length
        first, last = self._pixels_of(aircraft)
        cols, rows = (last - first).tolist()
        fine = max(2, math.ceil(self.gsd_m / AIRCRAFT_STEP_M))
        corner = first * (fine << FRACTION_BITS)
        sprite: ByteImage = np.zeros((rows * fine, cols * fine, 4), np.uint8)
        for part in aircraft_parts(aircraft.type_name, aircraft.livery, light_side):
            outline = self.to_fixed_point(aircraft.to_ground(part.points), fine) - corner
            _fill_outlines(sprite, [outline.astype(np.int32)], (*part.color, 255))
        averaged = cv2.resize(sprite.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
        area = image[first[1] : last[1], first[0] : last[0]]
        area[...] = area * (1 - averaged[..., 3:] / 255) + averaged[..., :3]

    def _pixels_of(self, aircraft: Aircraft) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first pixel (col, row) that an aircraft may cover, and one past the last."""
        bounds = np.array(aircraft.bounds_en()).reshape(2, 2)
        corners = (bounds - self.west_north) * (1, -1) / self.gsd_m
        limits = [corners.min(axis=0) - 1, corners.max(axis=0) + 2]
        first, last = np.clip(limits, 0, self.shape_hw[::-1]).astype(int)
        return first, last


def _fill_outlines(
    target: ByteImage,
    outlines: list[NDArray[np.int32]],
    color: int | tuple[int, ...],
    *,
    hull: bool = False,
) -> None:
    """Fill fixed-point outlines, or their convex hull, with a color of the target's bands."""
    if hull:
        corners = np.concatenate(outlines).reshape(-1, 1, 2)
        outlines = [np.asarray(cv2.convexHull(corners), np.int32)]
    cv2.fillPoly(target, outlines, color, cv2.LINE_AA, FRACTION_BITS)
