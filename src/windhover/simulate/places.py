"""Invented places in both hemispheres and the country around their airports: fields, woods, towns, roads, water.

All in metres from the origin of the place. No airport stands at these coordinates: they only give real projections.
Knows nothing of airports' insides (see `airport`), scenes or files (see `world`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon

from windhover.simulate.drawing import Colour, Points, Shape, box, disc, house, mix, palette, roof, scale_colour, tree

REACH_M = 2600.0  # half side of the country around an airport


@dataclass(frozen=True)
class Climate:
    """Colours of the ground: grass, dry grass, trees, water, several for fields and roofs; and the share of woods."""

    grass: Colour
    dry: Colour
    trees: Colour
    water: Colour
    fields: tuple[Colour, ...]
    roofs: tuple[Colour, ...]
    woods: float

    @staticmethod
    def of(ground: str, fields: str, roofs: str, woods: float) -> Climate:
        """Return a climate from codes such as "5c6c3e", separated by spaces."""
        grass, dry, trees, water = palette(ground)
        return Climate(grass, dry, trees, water, palette(fields), palette(roofs), woods)


CLIMATES = {
    "green": Climate.of(
        "5c6c3e 7e7a50 2e3e24 2c3e42", "60763e 4a6434 8a8254 9c8e62 76624a", "804838 68605c 8c5c46", 0.2
    ),
    "arid": Climate.of("b09876 c2a882 4e5434 385c60", "b69c78 a88e6c c6ae8a 687446", "c4b6a0 d6ccbc b0a08a", 0.02),
    "dry": Climate.of(
        "928258 a49264 424a2c 425046", "a08e60 b09e6e 847450 747a46 8c684c", "aa6e54 beb8b0 968c82", 0.12
    ),
    "tropical": Climate.of("546a36 707042 243a1e 54523c", "4e6c32 62763a 8e6042 425c2c", "a65e46 bcbab6 787470", 0.38),
    "boreal": Climate.of("646c46 827c5a 243224 1e2a32", "687446 928a62 706654", "7a3a32 54565a 96928e", 0.45),
}

# split, name, latitude, longitude, climate; fields and steppe, no airport stands there
PLACES = """
train alder 52.31 -1.62 green
train dune 23.42 54.21 arid
train baobab -19.83 23.51 dry
train cedar 41.24 -4.37 dry
train mango -3.41 -60.72 tropical
train birch 61.83 24.62 boreal
val fern -38.42 175.81 green
val gorse 37.12 -5.83 arid
val heath 57.21 14.43 boreal
test iris 45.12 10.93 green
test jarrah -31.92 117.24 dry
test lupin 40.43 -98.92 green
test sorrel 30.61 31.82 arid
test kapok 2.14 102.83 tropical
"""

ASPHALT, CONCRETE, WHITE = (88, 88, 90), (158, 154, 146), (228, 228, 224)
CARS = palette("e8e8e8 bec0c2 34363a 6e7074 8c2624 2e4270 e2e0d6")


@dataclass(frozen=True)
class View:
    """A rectangle of ground, metres from the place's origin: west, south, east, north."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, bounds: NDArray[np.float64], margin_m: float = 40.0) -> NDArray[np.bool_]:
        """Return which rows (west, south, east, north) touch this view or its margin, where shadows come from."""
        return (
            (bounds[:, 0] < self.east + margin_m)
            & (bounds[:, 2] > self.west - margin_m)
            & (bounds[:, 1] < self.north + margin_m)
            & (bounds[:, 3] > self.south - margin_m)
        )


@dataclass(frozen=True)
class Place:
    """An invented airport: its name, seed, climate, projection and the views that scenes will have of it."""

    name: str
    split: str
    seed: int
    latitude: float
    longitude: float
    climate: str
    views: tuple[View, ...] = ()

    @property
    def epsg(self) -> int:
        """EPSG code of the UTM zone."""
        return (32600 if self.latitude >= 0 else 32700) + int((self.longitude + 180) // 6) + 1

    def rng(self, *salt: int) -> np.random.Generator:
        """Return a generator for one purpose at this place."""
        return np.random.default_rng([self.seed, *self.name.encode(), *salt])


def places_of(split: str, seed: int) -> list[Place]:
    """Return the places of a split, in the order in which a world takes them."""
    rows = [line.split() for line in PLACES.split("\n") if line.startswith(split)]
    return [
        Place(name, split, seed, float(latitude), float(longitude), climate)
        for _, name, latitude, longitude, climate in rows
    ]


@dataclass(frozen=True)
class Slot:
    """Where an aircraft may stand: its nose (m), heading (radians), the largest span (m), the root of a jet bridge."""

    nose_en: tuple[float, float]
    heading: float
    span_m: float
    row: int
    kind: str
    bridge_en: tuple[float, float] | None = None


def bounds_of(shapes: list[Shape]) -> NDArray[np.float64]:
    """Return west, south, east, north of each shape (N, 4)."""
    rows = [(*shape.rings[0].min(axis=0), *shape.rings[0].max(axis=0)) for shape in shapes]
    return np.array(rows, np.float64).reshape(-1, 4)


class Layout:
    """All that stands at one place, in drawing order. Airport coordinates: u along the runway, v away from it, m."""

    def __init__(self, place: Place) -> None:
        self.place, self.climate = place, CLIMATES[place.climate]
        self.rng = place.rng(1)
        self.turn = self.rng.uniform(0, math.pi) if self.rng.random() < 0.9 else 0.0
        self.ground: list[Shape] = []
        self.objects: list[Shape] = []
        self.stains: list[tuple[Points, float]] = []
        self.slots: list[Slot] = []
        self.wet: Any = Polygon()
        self.rows = 0
        self.runway_u = (-self.rng.uniform(650, 1400), self.rng.uniform(1300, 2200))
        self.paving: Colour = scale_colour(ASPHALT, self.rng.uniform(0.75, 1.2))
        self.concrete: Colour = mix(scale_colour(CONCRETE, self.rng.uniform(0.82, 1.12)), self.climate.grass, 0.12)
        self.style = ("piers", "linear", "rounds")[int(self.rng.integers(3))]
        self.terminal_v = 427.0 if self.style == "linear" else 592.0
        south, north = -280.0, self.terminal_v + 470
        self.inner = box(
            (0.5 * sum(self.runway_u), (south + north) / 2), self.runway_u[1] - self.runway_u[0] + 520, north - south
        )

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return west, south, east, north of each shape on the ground and of each object, rows in drawing order."""
        return bounds_of(self.ground), bounds_of(self.objects)

    def en(self, points: Any) -> Points:
        """Return airport coordinates (N, 2) as metres east and north."""
        uv = np.asarray(points, np.float64).reshape(-1, 2) - (0.0, 350.0)
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return np.stack([uv[:, 0] * cos - uv[:, 1] * sin, uv[:, 0] * sin + uv[:, 1] * cos], axis=1)

    def spot(self, u: float, v: float) -> tuple[float, float]:
        """Return one point as metres east and north."""
        point = self.en([(u, v)])[0]
        return float(point[0]), float(point[1])

    def inside(self, east: float, north: float, margin_m: float = 15.0) -> bool:
        """Return whether a point lies within the airport's fence or in water: no place for a house or a tree."""
        if shapely.contains_xy(self.wet, east, north):
            return True
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        u, v = east * cos + north * sin, north * cos - east * sin + 350.0
        low, high = self.inner.min(axis=0) - margin_m, self.inner.max(axis=0) + margin_m
        return bool(low[0] < u < high[0] and low[1] < v < high[1])

    def lay(self, points: Any, colour: Colour, texture: int = 20, **more: Any) -> None:
        """Add a flat area in airport coordinates."""
        self.ground.append(Shape((self.en(points),), colour, texture, **more))

    def lay_area(self, area: Any, colour: Colour, texture: int) -> None:
        """Add a shapely area in airport coordinates."""
        for part in getattr(area, "geoms", [area]):
            rings = [self.en(ring.coords) for ring in (part.exterior, *part.interiors)]
            self.ground.append(Shape(tuple(rings), colour, texture))

    def line(self, points: Any, colour: Colour, width_m: float, under: Colour, texture: int = 14) -> None:
        """Add a painted line in airport coordinates."""
        self.ground.append(Shape((self.en(points),), colour, texture, width_m=width_m, under=under))

    def block(
        self, u: float, v: float, length_m: float, width_m: float, colour: Colour, height_m: float, angle: float = 0.0
    ) -> None:
        """Add a plain box, such as a vehicle or a jet bridge, in airport coordinates."""
        self.objects.append(Shape((box(self.spot(u, v), length_m, width_m, angle + self.turn),), colour, 8, height_m))

    def building(
        self, u: float, v: float, length_m: float, width_m: float, height_m: float, colour: Colour, bay_m: float = 12.0
    ) -> None:
        """Add a large roof in airport coordinates."""
        angle, seams = self.turn, max(2, round(length_m / bay_m))
        self.objects.extend(roof(self.rng, self.spot(u, v), length_m, width_m, angle, height_m, colour, seams))

    def stand(
        self,
        u: float,
        v: float,
        heading: float,
        span_m: float,
        row: int,
        kind: str,
        bridge: tuple[float, float] | None = None,
    ) -> None:
        """Add a place for an aircraft whose nose is at (u, v)."""
        self.slots.append(
            Slot(self.spot(u, v), heading + self.turn, span_m, row, kind, self.spot(*bridge) if bridge else None)
        )

    def new_row(self) -> int:
        """Return the number of a new row of stands."""
        self.rows += 1
        return self.rows


def lay_country(layout: Layout) -> None:
    """Lay out what surrounds the airport: fields, woods, towns and roads in parcels, and a river or a lake."""
    rng, climate = layout.rng, layout.climate
    layout.ground.append(Shape((box((0, 0), 4 * REACH_M, 4 * REACH_M),), climate.dry, 44, pattern="mottle"))
    turn = rng.uniform(0, math.pi)
    shapely_views = [
        shapely.box(view.west - 60, view.south - 60, view.east + 60, view.north + 60) for view in layout.place.views
    ]
    seen = shapely.union_all(shapely_views) if shapely_views else None
    parcels, roads = _split_country(rng, turn)
    water = _water(layout)
    for number, parcel in enumerate(parcels):
        if seen is not None and seen.intersects(Polygon(parcel)):
            _parcel(layout, parcel, turn, layout.place.rng(2, number))
    layout.ground.extend(water)
    surface = mix(scale_colour(ASPHALT, 1.1), climate.dry, 0.2)
    for start, stop, width in roads:
        layout.ground.append(
            Shape((np.stack([start, stop]),), mix(surface, climate.grass, 0.5), 40, width_m=width + 5, under=surface)
        )
        layout.ground.append(Shape((np.stack([start, stop]),), surface, 24, width_m=width, under=surface))
        layout.ground.append(
            Shape((np.stack([start, stop]),), mix(WHITE, surface, 0.4), 14, width_m=0.25, under=surface)
        )
        far, along = float(np.hypot(*(stop - start))), math.atan2(stop[1] - start[1], stop[0] - start[0])
        for where in np.arange(0, far, 35.0):
            spot = start + (stop - start) * (where + rng.uniform(0, 30)) / far
            spot = spot + rng.choice([-1, 1]) * 0.24 * width * np.array([-math.sin(along), math.cos(along)])
            if rng.random() < 0.4 and not layout.inside(spot[0], spot[1], 0):
                lorry = rng.random() < 0.2
                outline = box((spot[0], spot[1]), 12.0 if lorry else 4.4, 2.5 if lorry else 1.8, along)
                layout.objects.append(Shape((outline,), CARS[int(rng.integers(len(CARS)))], 8, 3.5 if lorry else 1.5))


def _split_country(rng: np.random.Generator, turn: float) -> tuple[list[Points], list[tuple[Points, Points, float]]]:
    """Return parcels (4, 2) and the roads between the largest of them, from splitting a square again and again."""
    parcels, roads = [], []
    todo = [(-REACH_M, -REACH_M, REACH_M, REACH_M, 0)]
    frame = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    while todo:
        west, south, east, north, depth = todo.pop()
        wide, high = east - west, north - south
        if max(wide, high) < 330 or (max(wide, high) < 520 and rng.random() < 0.3):
            gap = 3.0 if depth > 5 else 7.0
            corners = np.array(
                [
                    (west + gap, south + gap),
                    (east - gap, south + gap),
                    (east - gap, north - gap),
                    (west + gap, north - gap),
                ]
            )
            parcels.append(corners @ frame)
            continue
        share = rng.uniform(0.36, 0.64)
        if wide > high:
            cut = west + share * wide
            todo += [(west, south, cut, north, depth + 1), (cut, south, east, north, depth + 1)]
            ends = np.array([(cut, south), (cut, north)])
        else:
            cut = south + share * high
            todo += [(west, south, east, cut, depth + 1), (west, cut, east, north, depth + 1)]
            ends = np.array([(west, cut), (east, cut)])
        if depth < 5:
            turned = ends @ frame
            roads.append((turned[0], turned[1], 14.0 if depth < 2 else 7.0))
    return parcels, roads


def _parcel(layout: Layout, parcel: Points, turn: float, rng: np.random.Generator) -> None:
    """Fill one parcel of the country."""
    climate, near = layout.climate, float(np.hypot(*parcel.mean(axis=0))) < 1500
    kind, woods = rng.random(), climate.woods
    if kind < woods:
        layout.ground.append(
            Shape(
                (parcel,),
                scale_colour(climate.trees, rng.uniform(0.95, 1.2)),
                30,
                pattern="wood",
                period_m=rng.uniform(5, 8),
            )
        )
    elif kind < woods + (0.22 if near else 0.12):
        _town(layout, parcel, turn, rng)
    elif kind < woods + (0.34 if near else 0.18):
        _industry(layout, parcel, turn, rng)
    elif layout.place.climate == "arid" and kind < 0.62:
        centre = parcel.mean(axis=0)
        tone = mix((88, 108, 58), climate.dry, rng.uniform(0, 0.7))
        radius = 0.47 * min(np.hypot(*(parcel[1] - parcel[0])), np.hypot(*(parcel[2] - parcel[1])))
        layout.ground.append(
            Shape((disc((centre[0], centre[1]), radius, 60),), tone, 30, pattern="furrow", period_m=5.0)
        )
    else:
        tone = scale_colour(climate.fields[int(rng.integers(len(climate.fields)))], rng.uniform(0.88, 1.14))
        pattern = ("furrow", "furrow", "furrow", "rows", "mottle")[int(rng.integers(5))]
        period = rng.uniform(7, 10) if pattern == "rows" else rng.uniform(3.2, 6)
        angle = turn + (math.pi / 2 if rng.random() < 0.5 else 0) + rng.normal(0, 0.02)
        layout.ground.append(Shape((parcel,), tone, 34, pattern=pattern, angle=angle, period_m=period))
        for k in range(4):  # a hedge on some sides
            if rng.random() < 0.35 * min(1.0, 5 * woods):
                for share in np.arange(0, 1, rng.uniform(0.015, 0.05)):
                    spot = parcel[k] + (parcel[(k + 1) % 4] - parcel[k]) * share + rng.normal(0, 1.2, 2)
                    if not layout.inside(spot[0], spot[1]):
                        layout.objects.append(tree(rng, (spot[0], spot[1]), rng.uniform(1.8, 4.2), climate.trees))


def _town(layout: Layout, parcel: Points, turn: float, rng: np.random.Generator) -> None:
    """Fill a parcel with streets, houses, gardens and trees."""
    climate = layout.climate
    layout.ground.append(Shape((parcel,), mix(climate.grass, (140, 136, 128), 0.35), 70, pattern="mottle"))
    across, up = parcel[1] - parcel[0], parcel[3] - parcel[0]
    wide, high = float(np.hypot(*across)), float(np.hypot(*up))
    colour = climate.roofs[int(rng.integers(len(climate.roofs)))]
    surface = scale_colour(ASPHALT, 1.2)
    for b in np.arange(22, high - 10, 56.0):
        street = np.stack([parcel[0] + up * b / high, parcel[1] + up * b / high])
        layout.ground.append(Shape((street,), surface, 24, width_m=6.5, under=surface))
        for a in np.arange(10, wide - 8, rng.uniform(16, 22)):
            for side in (-1, 1):
                spot = (
                    parcel[0]
                    + across * (a + rng.normal(0, 1)) / wide
                    + up * (b + side * (14 + rng.normal(0, 1.2))) / high
                )
                if layout.inside(spot[0], spot[1], 25):
                    continue
                if rng.random() < 0.85:
                    angle = turn + (math.pi / 2 if rng.random() < 0.25 else 0.0)
                    layout.objects.extend(
                        house(rng, (spot[0], spot[1]), angle, colour if rng.random() < 0.7 else (150, 146, 140))
                    )
                if rng.random() < 0.6:
                    at = spot + rng.normal(0, 7, 2)
                    layout.objects.append(tree(rng, (at[0], at[1]), rng.uniform(1.6, 4.0), climate.trees))


def _industry(layout: Layout, parcel: Points, turn: float, rng: np.random.Generator) -> None:
    """Fill a parcel with yards, halls and lorries."""
    layout.ground.append(Shape((parcel,), mix(ASPHALT, layout.concrete, rng.uniform(0.2, 0.9)), 36))
    across, up = parcel[1] - parcel[0], parcel[3] - parcel[0]
    wide, high = float(np.hypot(*across)), float(np.hypot(*up))
    columns, lines = max(1, round(wide / 110)), max(1, round(high / 90))
    for i in range(columns):
        for j in range(lines):
            spot = parcel[0] + across * (i + 0.5) / columns + up * (j + 0.5) / lines
            if layout.inside(spot[0], spot[1], 60):
                continue
            length, width = wide / columns * rng.uniform(0.4, 0.78), high / lines * rng.uniform(0.4, 0.72)
            colour = scale_colour(
                ((224, 224, 220), (164, 168, 172), (120, 132, 150), (176, 120, 96))[int(rng.integers(4))],
                rng.uniform(0.85, 1.08),
            )
            layout.objects.extend(
                roof(
                    rng, (spot[0], spot[1]), length, width, turn, rng.uniform(7, 14), colour, max(2, round(length / 11))
                )
            )
            for _ in range(int(rng.integers(3, 16))):
                side = np.array([rng.choice([-0.46, 0.46]) * wide / columns, rng.uniform(-0.4, 0.4) * high / lines])
                at = spot + side[0] * across / wide + side[1] * up / high
                lorry = rng.random() < 0.4
                outline = box((at[0], at[1]), 12 if lorry else 4.4, 2.5 if lorry else 1.8, turn)
                layout.objects.append(Shape((outline,), CARS[int(rng.integers(len(CARS)))], 8, 3.5 if lorry else 1.5))


def _water(layout: Layout) -> list[Shape]:
    """Return a winding river past the airport, or a lake, with its bank; nothing will be built in it."""
    rng, colour = layout.rng, scale_colour(layout.climate.water, layout.rng.uniform(0.85, 1.2))
    bank = mix(layout.climate.dry, layout.climate.trees, 0.3)
    if rng.random() < 0.5:
        t = np.linspace(-2800, 2800, 60)
        side = float(rng.choice([-1, 1]))
        bends = rng.uniform(60, 150) * np.sin(t / rng.uniform(260, 420)) + rng.uniform(20, 60) * np.sin(
            t / 130 + rng.uniform(0, 6)
        )
        v = (1130 if side > 0 else -480) + side * (60 + np.abs(bends))
        course = LineString(np.stack([t, v], axis=1)).buffer(rng.uniform(18, 45))
        outer, inner = layout.en(course.buffer(9).exterior.coords), layout.en(course.exterior.coords)
    else:
        centre = layout.spot(rng.uniform(-900, 900), float(rng.choice([-600.0, 1250.0])))
        rough = (
            1
            + 0.35 * np.sin(np.linspace(0, 4 * math.pi, 40, endpoint=False) + rng.uniform(0, 6))
            + rng.normal(0, 0.05, 40)
        )
        radius = rng.uniform(110, 260)
        outer, inner = disc(centre, radius + 10, 40, rough), disc(centre, radius, 40, rough)
    layout.wet = Polygon(outer).buffer(6)
    shapely.prepare(layout.wet)
    return [Shape((outer,), bank, 40, pattern="mottle"), Shape((inner,), colour, 3, pattern="water")]
