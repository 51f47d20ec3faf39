"""A layout of ground: areas, lines, houses, trees, cars and roofs, in the colors of a climate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry import Polygon

from windhover.simulate.shapes import (
    Color,
    Points,
    Shape,
    Size,
    irregular_circle,
    mix_colors,
    parse_colors,
    points_from_xy,
    rectangle,
    rotate,
    scale_color,
)


class Climate(NamedTuple):
    """Colors of a climate, and how much of its country is wooded."""

    grass: Color
    dry_grass: Color
    trees: Color
    water: Color
    fields: tuple[Color, ...]
    roofs: tuple[Color, ...]
    wood_fraction: float


def _climate(ground: str, fields: str, roofs: str, *, wood_fraction: float) -> Climate:
    grass, dry_grass, trees, water = parse_colors(ground)
    return Climate(
        grass=grass,
        dry_grass=dry_grass,
        trees=trees,
        water=water,
        fields=parse_colors(fields),
        roofs=parse_colors(roofs),
        wood_fraction=wood_fraction,
    )


CLIMATES = {
    "green": _climate(
        "5c6c3e 7e7a50 2e3e24 2c3e42",
        "60763e 4a6434 8a8254 9c8e62 76624a",
        "804838 68605c 8c5c46",
        wood_fraction=0.2,
    ),
    "arid": _climate(
        "b09876 c2a882 4e5434 385c60",
        "b69c78 a88e6c c6ae8a 687446",
        "c4b6a0 d6ccbc b0a08a",
        wood_fraction=0.02,
    ),
    "dry": _climate(
        "928258 a49264 424a2c 425046",
        "a08e60 b09e6e 847450 747a46 8c684c",
        "aa6e54 beb8b0 968c82",
        wood_fraction=0.12,
    ),
    "tropical": _climate(
        "546a36 707042 243a1e 54523c",
        "4e6c32 62763a 8e6042 425c2c",
        "a65e46 bcbab6 787470",
        wood_fraction=0.38,
    ),
    "boreal": _climate(
        "646c46 827c5a 243224 1e2a32",
        "687446 928a62 706654",
        "7a3a32 54565a 96928e",
        wood_fraction=0.45,
    ),
}
ASPHALT = (88, 88, 90)
CONCRETE = (158, 154, 146)
WHITE = (228, 228, 224)
YELLOW = (206, 170, 60)
CAR_COLORS = parse_colors("e8e8e8 bec0c2 34363a 6e7074 8c2624 2e4270 e2e0d6")
HALL_COLORS = parse_colors("e2e2de 969ca2 cec4b0 60748e")
CAR_SIZE_M = (4.5, 1.85, 1.5)
TRUCK_SIZE_M = (12.0, 2.5, 3.5)


class AircraftStand(NamedTuple):
    """Where an aircraft may stand.

    Attributes:
        nose_en: position of its nose, m.
        heading: radians.
        max_span_m: largest span that has room.
        row: number of its row of stands, 0 for a single one.
    """

    nose_en: Points
    heading: float
    max_span_m: float
    row: int


@dataclass(frozen=True)
class Stain:
    """A stain of oil or rubber: its outline (m east and north) and its opacity 0..1."""

    outline: Points
    opacity: float


class Landscape:
    """A layout of ground in its own coordinates: u, v in metres, turned against east and north.

    Attributes:
        rng: of everything that is placed.
        turn: angle of u from east, radians.
        climate: its colors.
        ground: flat shapes, in drawing order.
        objects: raised shapes, in drawing order.
        stains: on the ground.
        stands: where aircraft may stand.
        n_rows: number of rows of stands so far.
        occupied: area (m east and north) where nothing is scattered.
    """

    def __init__(self, rng: np.random.Generator, climate: str, center_v: float = 0.0) -> None:
        """Begin without shapes.

        Args:
            rng: of the turn and of everything that is placed.
            climate: key of `CLIMATES`.
            center_v: v of the point that it is turned about.
        """
        self.rng = rng
        self.turn: float = rng.uniform(0, math.pi)
        self.center_v = center_v
        self.climate = CLIMATES[climate]
        self.ground: list[Shape] = []
        self.objects: list[Shape] = []
        self.stains: list[Stain] = []
        self.stands: list[AircraftStand] = []
        self.n_rows = 0
        self.occupied: Any = Polygon()

    def to_en(self, points: ArrayLike) -> Points:
        """Return points (N, 2) or one point (2,) as metres east and north."""
        return rotate(np.asarray(points, np.float64) - (0, self.center_v), self.turn)

    def add_area(
        self, points: ArrayLike, color: Color, noise_level: int = 24, **options: Any
    ) -> None:
        """Add a flat area with corners `points` (N, 2); `options` are fields of `Shape`."""
        self.ground.append(Shape((self.to_en(points),), color, noise_level, **options))

    def add_region(self, region: Any, color: Color, noise_level: int) -> None:
        """Add a shapely area with its holes."""
        for part in getattr(region, "geoms", [region]):
            rings = tuple(self.to_en(ring.coords) for ring in (part.exterior, *part.interiors))
            self.ground.append(Shape(rings, color, noise_level))

    def add_line(
        self,
        points: ArrayLike,
        color: Color,
        width_m: float,
        *,
        background: Color,
        noise_level: int = 14,
    ) -> None:
        """Add a line, painted or paved."""
        self.add_area(points, color, noise_level, width_m=width_m, background=background)

    def add_road(
        self, start: ArrayLike, stop: ArrayLike, width_m: float, *, surface: Color
    ) -> None:
        """Add a road with its verge, its middle line and some traffic."""
        lines = (
            (mix_colors(surface, self.climate.grass, 0.5), width_m + 5),
            (surface, width_m),
            (mix_colors(WHITE, surface, 0.4), 0.25),
        )
        for color, line_width_m in lines:
            self.add_line(
                np.array([start, stop]), color, line_width_m, background=surface, noise_level=30
            )
        along, across = np.subtract(stop, start)
        angle = math.atan2(across, along)
        distances = np.arange(10, math.hypot(along, across), 24.0)
        lanes = self.rng.choice([-0.24, 0.24], len(distances)) * width_m
        points = rotate(points_from_xy(distances, lanes), angle, start)
        points += self.rng.normal(0, 3, (len(distances), 1)) * rotate((1, 0), angle)
        kind = self.rng.random(len(points))
        self.add_cars(self.unoccupied(points[kind < 0.33]), angle)
        trucks = self.unoccupied(points[kind > 0.93])
        self.add_boxes(trucks, TRUCK_SIZE_M, CAR_COLORS, angle=angle)

    def unoccupied(self, points: Points) -> Points:
        """Return those of the points (N, 2) that are not on occupied ground."""
        east, north = self.to_en(points).T
        clear: Points = points[~shapely.contains_xy(self.occupied, east, north)]
        return clear

    def scatter_points(
        self,
        low: ArrayLike,
        high: ArrayLike,
        step: tuple[float, float],
        *,
        fraction: float = 1.0,
        jitter_m: float = 0.0,
    ) -> Points:
        """Return a random part of the points of a grid, none on occupied ground.

        Args:
            low: lower corner of the grid, m.
            high: upper corner.
            step: between points along u and v, m.
            fraction: of the points to keep.
            jitter_m: sigma by which they are moved.

        Returns:
            (N, 2).
        """
        west, south = np.asarray(low, np.float64)
        east, north = np.asarray(high, np.float64)
        u, v = np.meshgrid(np.arange(west, east, step[0]), np.arange(south, north, step[1]))
        points = points_from_xy(u.ravel(), v.ravel())
        points = points[self.rng.random(len(points)) < fraction]
        return self.unoccupied(points + self.rng.normal(0, 1, points.shape) * jitter_m)

    def add_boxes(
        self,
        centers: ArrayLike,
        size_m: Size,
        colors: tuple[Color, ...],
        *,
        angle: float,
        base_m: float = 0.0,
    ) -> None:
        """Add boxes of one size at centers (N, 2), each in one of the colors."""
        length, width, height = size_m
        for center in self.to_en(np.reshape(centers, (-1, 2))):
            outline = rectangle(center, length, width, angle=angle + self.turn)
            color = colors[self.rng.integers(len(colors))]
            shape = Shape(
                (outline,),
                color,
                noise_level=8,
                height_m=height,
                base_m=base_m,
                background=(150, 148, 144),
            )
            self.objects.append(shape)

    def add_trees(self, centers: Points) -> None:
        """Add trees at centers (N, 2)."""
        positions = self.to_en(centers)
        radii = self.rng.uniform(1.6, 4.4, len(centers))
        for center, radius in zip(positions, radii, strict=True):
            outline = irregular_circle(self.rng, center, radius)
            color = scale_color(self.climate.trees, self.rng.uniform(0.8, 1.2))
            crown = Shape((outline,), color, 60, height_m=1.6 * radius, pattern="crown")
            self.objects.append(crown)

    def add_cars(self, centers: Points, angle: float, base_m: float = 0.0) -> None:
        """Add cars at centers (N, 2)."""
        self.add_boxes(centers, CAR_SIZE_M, CAR_COLORS, angle=angle, base_m=base_m)

    def add_house(self, center: ArrayLike, angle: float, color: Color) -> None:
        """Add a house with a gabled roof, its two sides lit differently."""
        length = self.rng.uniform(10, 17)
        width = self.rng.uniform(7, 10)
        brightness = self.rng.uniform(0.75, 1.25)
        dark_color = scale_color(color, brightness * 0.82)
        house = rectangle(rotate((0, 0.0), angle, center), length, width, angle=angle)
        self.objects.append(Shape((self.to_en(house),), dark_color, 16, height_m=6.0))
        bright_color = scale_color(color, brightness * 1.2)
        roof_center = rotate((0, width / 4), angle, center)
        roof = rectangle(roof_center, length, width / 2, angle=angle)
        self.objects.append(Shape((self.to_en(roof),), bright_color, 16, base_m=6.0))

    def add_building(self, center: ArrayLike, size_m: Size, color: Color, *, bay_m: float) -> None:
        """Add a large building: a roof in bays, with skylights or not, and machines on top."""
        rng = self.rng
        length, width, height = size_m

        def add_part(
            offset: ArrayLike, size: tuple[float, float], part_color: Color, height_m: float = 0.0
        ) -> None:
            outline = self.to_en(rectangle(np.add(center, offset), *size))
            part = Shape(
                (outline,),
                part_color,
                noise_level=12,
                height_m=height_m,
                base_m=height,
                background=color,
            )
            self.objects.append(part)

        walls = self.to_en(rectangle(center, length, width))
        self.objects.append(Shape((walls,), color, 14, height_m=height))
        n_bays = max(2, round(length / bay_m))
        has_skylights = rng.random() < 0.5
        bay_centers = (np.arange(n_bays) + 0.5) / n_bays * length - length / 2
        for number, bay_u in enumerate(bay_centers):
            contrast = 0.05 if number % 2 else -0.05
            bay_color = scale_color(color, 1 + contrast + rng.normal(0, 0.015))
            add_part((bay_u, 0), (0.96 * length / n_bays, 0.97 * width), bay_color)
            if has_skylights:
                glass = mix_colors(color, (70, 80, 92), 0.6)
                add_part((bay_u, 0), (1.2, 0.7 * width), glass)
        add_part((0, 0), (0.98 * length, 0.8), scale_color(color, 0.75))
        n_machines = int(length * width / 420)
        for offset in rng.uniform(-0.43, 0.43, (n_machines, 2)) * (length, width):
            machine_color = scale_color((186, 188, 190), rng.uniform(0.75, 1.2))
            size = (rng.uniform(2, 6), rng.uniform(1.5, 3.5))
            add_part(offset, size, machine_color, 2.0)

    def add_car_park(self, low: Points, high: Points) -> None:
        """Add rows of marked stalls with cars and a few trees between two corners."""
        rng = self.rng
        car_fraction = rng.uniform(0.35, 0.9)
        surface = scale_color(ASPHALT, rng.uniform(0.85, 1.3))
        self.add_area(rectangle((low + high) / 2, *(high - low)), surface, 22)
        for v in np.arange(low[1] + 8, high[1] - 8, 16.5):
            marking = [(low[0] + 5, v + 2.6), (high[0] - 5, v + 2.6)]
            self.add_line(marking, mix_colors(WHITE, surface, 0.3), 0.2, background=surface)
            cars = self.scatter_points(
                (low[0] + 8, v),
                (high[0] - 8, v + 6),
                (2.75, 5.2),
                fraction=car_fraction,
                jitter_m=0.15,
            )
            self.add_cars(cars, math.pi / 2)
            if rng.random() < 0.5:
                spacing = (rng.uniform(18, 40), 1)
                self.add_trees(
                    self.scatter_points((low[0] + 10, v + 2.6), (high[0] - 10, v + 3), spacing)
                )

    def add_stain(self, points: ArrayLike, opacity: float) -> None:
        """Add a stain of oil or rubber, `opacity` 0..1."""
        self.stains.append(Stain(self.to_en(points), opacity))

    def add_stand(self, nose: Points, heading: float, max_span_m: float, *, row: int = 0) -> None:
        """Add a place for an aircraft."""
        self.stands.append(AircraftStand(self.to_en(nose), heading + self.turn, max_span_m, row))
