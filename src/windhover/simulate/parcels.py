"""Ground being laid out: areas, lines, houses, trees, cars and roofs, in the colours of a climate."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry import Polygon

from windhover.simulate.outlines import (
    Color,
    Points,
    Shape,
    Size,
    blob,
    box,
    join,
    mix,
    palette,
    rotate,
    scale_color,
)

# grass, dry grass, trees, water; fields; roofs; share of woods
CLIMATES = {
    "green": (
        "5c6c3e 7e7a50 2e3e24 2c3e42",
        "60763e 4a6434 8a8254 9c8e62 76624a",
        "804838 68605c 8c5c46",
        0.2,
    ),
    "arid": (
        "b09876 c2a882 4e5434 385c60",
        "b69c78 a88e6c c6ae8a 687446",
        "c4b6a0 d6ccbc b0a08a",
        0.02,
    ),
    "dry": (
        "928258 a49264 424a2c 425046",
        "a08e60 b09e6e 847450 747a46 8c684c",
        "aa6e54 beb8b0 968c82",
        0.12,
    ),
    "tropical": (
        "546a36 707042 243a1e 54523c",
        "4e6c32 62763a 8e6042 425c2c",
        "a65e46 bcbab6 787470",
        0.38,
    ),
    "boreal": ("646c46 827c5a 243224 1e2a32", "687446 928a62 706654", "7a3a32 54565a 96928e", 0.45),
}
ASPHALT, CONCRETE, WHITE, YELLOW = (88, 88, 90), (158, 154, 146), (228, 228, 224), (206, 170, 60)
CARS = palette("e8e8e8 bec0c2 34363a 6e7074 8c2624 2e4270 e2e0d6")
HALLS = palette("e2e2de 969ca2 cec4b0 60748e")


class Slot(NamedTuple):
    """Where an aircraft may stand: its nose (m), heading (radians), largest span (m), row (0:
    single).
    """

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

    def area(self, points: ArrayLike, color: Color, texture: int = 24, **more: Any) -> None:
        """Add a flat area."""
        self.ground.append(Shape((self.en(points),), color, texture, **more))

    def region(self, region: Any, color: Color, texture: int) -> None:
        """Add a shapely area with its holes."""
        for part in getattr(region, "geoms", [region]):
            rings = tuple(self.en(ring.coords) for ring in (part.exterior, *part.interiors))
            self.ground.append(Shape(rings, color, texture))

    def line(
        self, points: ArrayLike, color: Color, width_m: float, under: Color, texture: int = 14
    ) -> None:
        """Add a line, painted or paved."""
        self.area(points, color, texture, width_m=width_m, under=under)

    def road(self, start: ArrayLike, stop: ArrayLike, width_m: float, surface: Color) -> None:
        """Add a road with its verge, its middle line and some traffic."""
        lines = (
            (mix(surface, self.grass, 0.5), width_m + 5),
            (surface, width_m),
            (mix(WHITE, surface, 0.4), 0.25),
        )
        for color, wide in lines:
            self.line(np.array([start, stop]), color, wide, surface, 30)
        ahead, across = np.subtract(stop, start)
        angle, along = math.atan2(across, ahead), np.arange(10, math.hypot(ahead, across), 24.0)
        spots = rotate(
            join(along, self.rng.choice([-0.24, 0.24], len(along)) * width_m), angle, start
        )
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
        self,
        low: ArrayLike,
        high: ArrayLike,
        step: tuple[float, float],
        share: float = 1.0,
        jitter: float = 0.0,
    ) -> Points:
        """Return points (N, 2) on rows between two corners, only a share of them, moved about by
        `jitter` (sigma, m).

        Those of cars, houses, trees and lorries alike; none lies where ground is `taken`.
        """
        (west, south), (east, north) = np.asarray(low, np.float64), np.asarray(high, np.float64)
        u, v = np.meshgrid(np.arange(west, east, step[0]), np.arange(south, north, step[1]))
        points = join(u.ravel(), v.ravel())
        points = points[self.rng.random(len(points)) < share]
        return self.free(points + self.rng.normal(0, 1, points.shape) * jitter)

    def put(
        self,
        spots: ArrayLike,
        size_m: Size,
        colors: tuple[Color, ...],
        angle: float = 0.0,
        base_m: float = 0.0,
    ) -> None:
        """Stand boxes of one length, width and height on spots (N, 2), each in one of the colours."""
        length, width, height = size_m
        for center in self.en(np.reshape(spots, (-1, 2))):
            outline, color = (
                box(center, length, width, angle + self.turn),
                colors[self.rng.integers(len(colors))],
            )
            self.objects.append(Shape((outline,), color, 8, height, base_m, under=(150, 148, 144)))

    def plant(self, spots: Points) -> None:
        """Stand trees on spots (N, 2)."""
        for spot, radius in zip(
            self.en(spots), self.rng.uniform(1.6, 4.4, len(spots)), strict=True
        ):
            outline, tone = (
                blob(self.rng, spot, radius),
                scale_color(self.trees, self.rng.uniform(0.8, 1.2)),
            )
            self.objects.append(Shape((outline,), tone, 60, height_m=1.6 * radius, pattern="crown"))

    def cars(self, spots: Points, angle: float, base_m: float = 0.0) -> None:
        """Park cars on spots (N, 2)."""
        self.put(spots, (4.5, 1.85, 1.5), CARS, angle, base_m)

    def house(self, center: ArrayLike, angle: float, color: Color) -> None:
        """Stand a house with a gabled roof, its two sides lit differently."""
        length, width, tone = (
            self.rng.uniform(10, 17),
            self.rng.uniform(7, 10),
            self.rng.uniform(0.75, 1.25),
        )
        for aside, wide, shade, high in ((0.0, width, 0.82, 6.0), (width / 4, width / 2, 1.2, 0.0)):
            outline = self.en(box(rotate((0, aside), angle, center), length, wide, angle))
            self.objects.append(
                Shape((outline,), scale_color(color, tone * shade), 16, high, 6.0 - high)
            )

    def build(self, center: ArrayLike, size_m: Size, color: Color, bay_m: float = 12.0) -> None:
        """Stand a large building: a roof in bays of slightly different tone, skylights or not, and
        machines on top.
        """
        rng, (length, width, height) = self.rng, size_m

        def part(at: ArrayLike, long: float, wide: float, tone: Color, high_m: float = 0.0) -> None:
            outline = self.en(box(np.add(center, at), long, wide))
            self.objects.append(Shape((outline,), tone, 12, high_m, height, under=color))

        self.objects.append(Shape((self.en(box(center, length, width)),), color, 14, height))
        bays, skylit = max(2, round(length / bay_m)), rng.random() < 0.5
        for k, at in enumerate((np.arange(bays) + 0.5) / bays * length - length / 2):
            tone = scale_color(color, 1 + (0.05 if k % 2 else -0.05) + rng.normal(0, 0.015))
            part((at, 0), 0.96 * length / bays, 0.97 * width, tone)
            if skylit:
                part((at, 0), 1.2, 0.7 * width, mix(color, (70, 80, 92), 0.6))
        part((0, 0), 0.98 * length, 0.8, scale_color(color, 0.75))
        for spot in rng.uniform(-0.43, 0.43, (int(length * width / 420), 2)) * (
            length,
            width,
        ):  # machines
            tone = scale_color((186, 188, 190), rng.uniform(0.75, 1.2))
            part(spot, rng.uniform(2, 6), rng.uniform(1.5, 3.5), tone, 2.0)

    def car_park(self, low: Points, high: Points) -> None:
        """Lay rows of marked stalls with cars and a few trees."""
        rng, full = self.rng, self.rng.uniform(0.35, 0.9)
        surface = scale_color(ASPHALT, rng.uniform(0.85, 1.3))
        self.area(box((low + high) / 2, *(high - low)), surface, 22)
        for v in np.arange(low[1] + 8, high[1] - 8, 16.5):
            self.line(
                [(low[0] + 5, v + 2.6), (high[0] - 5, v + 2.6)],
                mix(WHITE, surface, 0.3),
                0.2,
                surface,
            )
            parked = self.spots((low[0] + 8, v), (high[0] - 8, v + 6), (2.75, 5.2), full, 0.15)
            self.cars(parked, math.pi / 2)
            if rng.random() < 0.5:
                self.plant(
                    self.spots(
                        (low[0] + 10, v + 2.6), (high[0] - 10, v + 3), (rng.uniform(18, 40), 1)
                    )
                )

    def soil(self, points: ArrayLike, strength: float) -> None:
        """Leave a stain of oil or rubber, `strength` 0..1."""
        self.stains.append((self.en(points), strength))

    def stand(self, nose: Points, heading: float, span_m: float, row: int = 0) -> None:
        """Add a place for an aircraft."""
        self.slots.append(Slot(self.en(nose), heading + self.turn, span_m, row))
