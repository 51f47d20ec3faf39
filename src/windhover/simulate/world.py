"""What stands where in the built-in world, and its files: invented airports, views of them, aircraft, complete labels.

A place is laid out once, in metres from its origin; scenes are views of it. Decides which aircraft stand in each, so
that they are as rare as in real scenes. `make_world` writes all scenes. Reads no file; how things look is `drawing`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer
from shapely.geometry import LineString, Polygon

from windhover.errors import ParameterError
from windhover.files import atomic_folder
from windhover.params.simulate import SimulateParams
from windhover.progress import track
from windhover.simulate.drawing import (
    ASPHALT,
    CARS,
    CONCRETE,
    HALLS,
    LIVERIES,
    TYPES,
    WHITE,
    YELLOW,
    Aircraft,
    Canvas,
    Colour,
    Light,
    Plot,
    Points,
    Sensor,
    Shape,
    Slot,
    box,
    cast_aircraft,
    disc,
    expose,
    house,
    join,
    mix,
    near_infrared,
    palette,
    scale_colour,
    stamp_aircraft,
)

CLASS_NAME = "aircraft"
WRITTEN = "2024-01-01T00:00:00.000Z"  # in the GeoPackages, in place of the clock: the same seed gives the same bytes
FINE_SHARE = 1 / 3  # aircraft in a fine scene, beside those in a scene of train or val
REFLECTANCE = 10_000 * 0.42 / 255  # uint16 value of one 8-bit count
REACH_M = 2600.0  # half side of the country around an airport

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
# what stands about a stand: length, width, height (m), how many one behind the other, colours
VEHICLES: tuple[tuple[float, float, float, int, tuple[Colour, ...]], ...] = (
    (3.2, 1.7, 1.6, 4, palette("e2be46 969898 c8cacc 6e7072")),
    (8.0, 2.6, 3.2, 1, palette("e6e6e4 e6e6e4 e6e6e4 8c2624 2e4270")),
    (13.5, 3.0, 3.2, 1, palette("dee0de")),
)
# of a runway's threshold: from its end, first bar aside, bars a side, pitch, length, width (m); ICAO Annex 14, 5.2
MARKINGS = (
    *((6, 2.7, 6, 3.4, 30, 1.8), (150, 9.9, 3, 3.3, 22.5, 1.8), (300, 9.9, 3, 3.3, 22.5, 1.8)),
    *((400, 13.5, 1, 0, 60, 9.0), (600, 9.9, 2, 3.3, 22.5, 1.8), (750, 9.9, 2, 3.3, 22.5, 1.8)),
)


@dataclass(frozen=True)
class View:
    """A rectangle of ground, metres from the place's origin: west, south, east, north."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, shapes: Sequence[Shape], margin_m: float = 60.0) -> list[Shape]:
        """Return the shapes that touch this view or its margin, where shadows come from."""
        low, high = np.array((self.west, self.south)) - margin_m, np.array((self.east, self.north)) + margin_m
        boxes = [(shape, shape.rings[0].min(axis=0), shape.rings[0].max(axis=0)) for shape in shapes]
        return [shape for shape, least, most in boxes if (least < high).all() and (most > low).all()]


@dataclass(frozen=True)
class Place:
    """An invented airport: its name, split, seed, climate and where it claims to be."""

    name: str
    split: str
    seed: int
    latitude: float
    longitude: float
    climate: str

    @property
    def epsg(self) -> int:
        """EPSG code of the UTM zone."""
        return (32600 if self.latitude >= 0 else 32700) + int((self.longitude + 180) // 6) + 1

    @property
    def origin(self) -> tuple[float, float]:
        """Its origin in the UTM zone, on whole 10 m (a multiple of the pixel for usual sizes)."""
        east, north = Transformer.from_crs(4326, self.epsg, always_xy=True).transform(self.longitude, self.latitude)
        return round(east / 10) * 10.0, round(north / 10) * 10.0

    def rng(self, *salt: int) -> np.random.Generator:
        """Return a generator for one purpose at this place."""
        return np.random.default_rng([self.seed, *self.name.encode(), *salt])


def places_of(split: str, seed: int, count: int) -> list[Place]:
    """Return the first places of a split."""
    rows = [line.split()[1:] for line in PLACES.split("\n") if line.startswith(split)]
    return [Place(name, split, seed, float(lat), float(lon), climate) for name, lat, lon, climate in rows[:count]]


# --- country


def country_of(site: Airport, view: View) -> Plot:
    """Lay out what a view shows around an airport: fields, woods, towns and roads in parcels, and a river."""
    plot = Plot(site.place.rng(2), site.place.climate)
    rng = plot.rng
    plot.area(box((0, 0), 4 * REACH_M, 4 * REACH_M), plot.dry, 44, pattern="mottle")
    parcels, roads = _split_country(rng)
    t, side = np.linspace(-2800, 2800, 60), float(rng.choice([-1, 1]))
    bends = rng.uniform(60, 150) * np.sin(t / rng.uniform(260, 420)) + 40 * np.sin(t / 130 + rng.uniform(0, 6))
    river_v = (1130 if side > 0 else -480) + side * (60 + np.abs(bends))
    river = LineString(site.en(join(t, river_v))).buffer(rng.uniform(18, 60))
    plot.taken = shapely.union_all([Polygon(site.en(site.fence)).buffer(18), river.buffer(14)])
    shapely.prepare(plot.taken)
    frame = shapely.box(view.west - 60, view.south - 60, view.east + 60, view.north + 60)
    for number, (low, high) in enumerate(parcels):
        corners = join([low[0], high[0], high[0], low[0]], [low[1], low[1], high[1], high[1]])
        if frame.intersects(Polygon(plot.en(corners))):
            plot.rng = site.place.rng(2, number)
            _parcel(plot, low, high, corners)
    for bank, colour, pattern in ((9, mix(plot.dry, plot.trees, 0.3), "mottle"), (0, plot.water, "water")):
        outline = np.asarray(river.buffer(bank).exterior.coords)
        plot.ground.append(Shape((outline,), colour, 40 if bank else 3, pattern=pattern))
    plot.rng = site.place.rng(2, len(parcels))
    for start, stop, width in roads:
        plot.road(start, stop, width, mix(scale_colour(ASPHALT, 1.1), plot.dry, 0.2))
    return plot


def _split_country(rng: np.random.Generator) -> tuple[list[tuple[Points, Points]], list[tuple[Points, Points, float]]]:
    """Return parcels and the roads between the largest of them, from splitting a square again and again."""
    parcels, roads = [], []
    todo = [(np.full(2, -REACH_M), np.full(2, REACH_M), 0)]
    while todo:
        low, high, depth = todo.pop()
        side, axis = float(np.max(high - low)), int(np.argmax(high - low))
        if side < 330 or (side < 520 and rng.random() < 0.3):
            gap = 3.0 if depth > 5 else 7.0
            parcels.append((low + gap, high - gap))
            continue
        first, second = high.copy(), low.copy()
        first[axis] = second[axis] = low[axis] + rng.uniform(0.36, 0.64) * side
        todo += [(low, first, depth + 1), (second, high, depth + 1)]
        if depth < 5:
            roads.append((second, first, 14.0 if depth < 2 else 7.0))
    return parcels, roads


def _parcel(plot: Plot, low: Points, high: Points, corners: Points) -> None:
    """Fill one parcel of the country: a wood, a town, or a field with hedges."""
    rng, kind, centre = plot.rng, plot.rng.random(), (low + high) / 2
    if kind < plot.woods:
        tone = scale_colour(plot.trees, rng.uniform(0.95, 1.2))
        plot.area(corners, tone, 30, pattern="wood", period_m=rng.uniform(5, 8))
    elif kind < plot.woods + (0.3 if np.hypot(*centre) < 1500 else 0.15):
        _town(plot, low, high, corners)
    elif plot.woods < 0.05 and kind < 0.62:  # watered by a turning pipe
        tone = mix((88, 108, 58), plot.dry, rng.uniform(0, 0.7))
        plot.area(disc(centre, 0.47 * float(np.min(high - low)), 60), tone, 30, pattern="furrow", period_m=5.0)
    else:
        tone = scale_colour(plot.fields[int(rng.integers(len(plot.fields)))], rng.uniform(0.88, 1.14))
        pattern = ("furrow", "furrow", "furrow", "rows", "mottle")[int(rng.integers(5))]
        angle, period = plot.turn + rng.choice([0, math.pi / 2]) + rng.normal(0, 0.02), rng.uniform(3.2, 6)
        period = 2 * period if pattern == "rows" else period
        plot.area(corners, tone, 34, pattern=pattern, angle=float(angle), period_m=period)
        if rng.random() < 3 * plot.woods:
            plot.plant(plot.spots(low, (high[0], low[1] + 1), (rng.uniform(5, 14), 2), 0.8, 1.2))
            plot.plant(plot.spots(low, (low[0] + 1, high[1]), (2, rng.uniform(5, 14)), 0.8, 1.2))


def _town(plot: Plot, low: Points, high: Points, corners: Points) -> None:
    """Fill a parcel with streets, houses, gardens and trees."""
    rng, surface = plot.rng, scale_colour(ASPHALT, 1.2)
    plot.area(corners, mix(plot.grass, (140, 136, 128), 0.35), 70, pattern="mottle")
    colour = plot.roofs[int(rng.integers(len(plot.roofs)))]
    for v in np.arange(low[1] + 22, high[1] - 20, 56.0):
        plot.line([(low[0], v), (high[0], v)], surface, 6.5, surface, 24)
        for spot in plot.spots((low[0] + 10, v - 14), (high[0] - 8, v + 15), (rng.uniform(16, 22), 28), 0.85, 1.1):
            tone = colour if rng.random() < 0.7 else (150, 146, 140)
            plot.objects += house(rng, plot.en(spot), plot.turn + rng.choice([0, 0, 0, math.pi / 2]), tone)
        plot.plant(plot.spots((low[0] + 8, v - 24), (high[0] - 8, v + 28), (14, 24), 0.6, 4.0))


# --- airport


class Airport(Plot):
    """An airport's ground, buildings and stands. u runs along the runway, v away from it towards the terminal."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.rng(1), place.climate, middle_v=350.0)
        rng, self.place = self.rng, place
        self.low, self.high = -rng.uniform(650, 1400), rng.uniform(1300, 2200)  # ends of the runway
        self.paving = scale_colour(ASPHALT, rng.uniform(0.75, 1.2))
        self.concrete = mix(scale_colour(CONCRETE, rng.uniform(0.82, 1.12)), self.grass, 0.12)
        self.piers = int(rng.choice([0, 2, 3, 3]))
        self.terminal_v = 592.0 if self.piers else 427.0
        west, south, east, north = min(self.low, -1110) - 260, -280.0, self.high + 260, self.terminal_v + 470
        self.fence = box(((west + east) / 2, (south + north) / 2), east - west, north - south)


@lru_cache(maxsize=2)
def airport_of(place: Place) -> Airport:
    """Lay an airport out: paving and paint, then what stands on it."""
    site = Airport(place)
    rng, low, high = site.rng, site.low, site.high
    site.area(site.fence, site.grass, 44, pattern="mottle")
    for _ in range(26):  # dry and worn patches
        patch = disc(
            (rng.uniform(low, high), rng.uniform(-240, 240)), rng.uniform(25, 110), 14, rng.uniform(0.4, 1.3, 14)
        )
        tone = scale_colour(mix(site.grass, site.dry, rng.uniform(0.3, 1.0)), rng.uniform(0.92, 1.08))
        site.area(patch, tone, 44, pattern="mottle", soft=True)
    for u in np.arange(low, high, rng.uniform(200, 400)):  # ditches
        site.line([(u, 40), (u + rng.uniform(-30, 30), 150)], scale_colour(site.grass, 0.7), 1.2, site.grass)
    _taxiways(site)
    for v in (0.0, -210.0)[: 1 if rng.random() < 0.6 else 2]:
        _runway(site, v)
    _slabs(site, (-620, 250), (620, site.terminal_v + 12), 65)
    site.line([(-1150, 262), (1150, 262)], YELLOW, 0.5, site.concrete)
    site.line([(-620, 284), (620, 284)], mix(WHITE, site.concrete, 0.3), 0.3, site.concrete)
    _terminal(site)
    _landside(site)
    for side in (-1, 1):
        _hangars(site, side)
    return site


def _runway(site: Airport, v: float) -> None:
    """Lay a runway with its shoulders, markings, rubber and patches."""
    rng, low, high = site.rng, site.low, site.high
    tarmac = scale_colour(ASPHALT, rng.uniform(0.7, 1.0)) if rng.random() < 0.75 else scale_colour(site.concrete, 0.85)
    middle, length, paint = ((low + high) / 2, v), high - low, mix(WHITE, tarmac, rng.uniform(0.05, 0.2))
    site.area(box(middle, length + 140, 62), scale_colour(tarmac, 1.18), 30)
    site.area(box(middle, length, 45), tarmac, 26)
    for _ in range(int(rng.integers(2, 7))):  # patches of new surface
        patch = box((rng.uniform(low + 160, high - 160), v + rng.choice([-11, 11])), rng.uniform(20, 160), 20)
        site.area(patch, scale_colour(tarmac, rng.uniform(0.85, 1.12)), 26)
    for side in (-21.5, 21.5):
        site.line([(low, v + side), (high, v + side)], paint, 0.9, tarmac)
    for u in np.arange(low + 125, high - 95, 50):
        site.area(box((u, v), 30, 0.9), paint, 14)
    for end, sign in ((low, 1), (high, -1)):
        for at, aside, count, pitch, long, wide in MARKINGS:
            for k in range(2 * count):
                spot = (end + sign * (at + long / 2), v + (-1) ** k * (aside + pitch * (k // 2)))
                site.area(box(spot, long, wide), paint, 14)
        for tip in end - sign * np.arange(8, 60, 12):  # chevrons before the threshold
            site.line([(tip - sign * 16, v - 18), (tip, v), (tip - sign * 16, v + 18)], YELLOW, 0.9, tarmac)
        for at in rng.uniform(300, 700, 7):
            rubber = box((end + sign * at, v + rng.normal(0, 1.5)), rng.uniform(240, 420), rng.uniform(7, 14))
            site.stains.append((site.en(rubber), rng.uniform(0.10, 0.22)))
    site.stains.append((site.en(box(middle, length - 300, 9)), 0.13))
    for u in (rng.uniform(low + 300, high - 300), low + rng.uniform(60, 200)):
        site.stand(u, v, float(rng.choice([0, 0, math.pi])), 80.0, 0)


def _bend(corner: tuple[float, float], start: tuple[float, float], stop: tuple[float, float]) -> Points:
    """Return a smooth curve from `start` to `stop` that leaves and arrives along the lines through `corner`."""
    t = np.linspace(0, 1, 12)[:, None]
    curve: Points = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(corner) + t**2 * np.array(stop)
    return curve


def _taxiways(site: Airport) -> None:
    """Lay two taxiways along the runway, and the exits and links between them, with lines, edges and stands."""
    rng, low, high = site.rng, site.low, site.high
    near, far = 172.0, 262.0
    paths = [np.array([(low + 10, near), (high - 10, near)]), np.array([(-1150, far), (1150, far)])]
    curves: list[Points] = []
    exits = [low + 14, *np.arange(low + 420, high - 300, rng.uniform(380, 520)).tolist(), high - 14]
    for k, u in enumerate(exits):
        slant = rng.choice([-1, 1]) * rng.uniform(120, 240) if 0 < k < len(exits) - 1 and rng.random() < 0.6 else 0.0
        paths.append(np.array([(u, 0), (u + slant, near)]))
        for side in (-1, 1):
            curves.append(_bend((u + slant, near), (u + 0.65 * slant, 0.65 * near), (u + slant + side * 60, near)))
            curves.append(_bend((u, 0), (u + side * 70, 0), (u + 0.4 * slant, 0.4 * near)))
        if abs(u) < 1100 and k % 2 == 0:
            paths.append(np.array([(u + 90, near), (u + 90, far)]))
        heading = math.atan2(near, slant) + float(rng.choice([0, math.pi]))
        site.stand(u + slant * 0.55, near * 0.55, heading, 66.0, 0)
    lines = [LineString(path) for path in paths]
    runway = Polygon(box(((low + high) / 2, 0), high - low, 50))
    paved = shapely.union_all([*(line.buffer(11.5, cap_style="square") for line in lines), runway])
    paved = paved.buffer(26).buffer(-26)
    surface = site.paving if rng.random() < 0.6 else site.concrete
    site.region(paved.buffer(8.5), mix(surface, site.dry, 0.30), 34)
    site.region(paved, surface, 24)
    for line in lines:
        site.stains.append((site.en(line.buffer(3.5, cap_style="flat").exterior.coords), 0.10))
    for path in paths + curves:
        site.line(path, YELLOW, 0.45, surface)
    for part in getattr(paved, "geoms", [paved]):
        for ring in (part.exterior, *part.interiors):
            site.line(ring.coords, mix(YELLOW, surface, 0.35), 0.3, surface)
    for v, span, first, last in ((near, 80.0, low + 80, high - 80), (far, 66.0, -1050, 1050)):
        for u in np.arange(first, last, 190) + rng.uniform(-40, 40):
            site.stand(u, v, float(rng.choice([0, math.pi])), span, 0)


def _slabs(site: Airport, low: tuple[float, float], high: tuple[float, float], renewed: int) -> None:
    """Lay concrete in slabs with joints, some renewed at another time, and oil on it."""
    rng, joint = site.rng, scale_colour(site.concrete, 0.86)
    centre, size = np.add(low, high) / 2, np.subtract(high, low)
    site.area(box(centre, *size), site.concrete, 26)
    for u, v in rng.uniform(np.add(low, 50), np.subtract(high, 50), (renewed, 2)):
        tone = scale_colour(site.concrete, rng.uniform(0.86, 1.08))
        site.area(box((u, v), *rng.uniform(20, 95, 2)), mix(tone, site.paving, 0.7 if rng.random() < 0.12 else 0), 26)
        site.soil(u + 30, v, rng.uniform(1, 9), rng.uniform(0.1, 0.45))
    for u in np.arange(low[0], high[0], 15):
        site.line([(u, low[1]), (u, high[1])], joint, 0.25, site.concrete)
    for v in np.arange(low[1], high[1], 15):
        site.line([(low[0], v), (high[0], v)], joint, 0.25, site.concrete)


def _gates(site: Airport, noses: Points, heading: float, span_m: float, bridge: bool) -> None:
    """Add a row of stands: lead-in lines, edges, oil, jet bridges and vehicles around them."""
    rng, deep = site.rng, 1.12 * span_m + 6
    site.rows += 1
    ahead, left = np.array([math.cos(heading), math.sin(heading)]), np.array([-math.sin(heading), math.cos(heading)])
    for nose in noses:
        site.line([nose + 2 * ahead, nose - (deep + 8) * ahead], YELLOW, 0.4, site.concrete)
        for side in (-1, 1):
            edge, turn = nose + side * (span_m / 2 + 2.2) * left, side * 0.16 * span_m * left
            bounds = [edge + 4 * ahead, edge - 0.8 * deep * ahead, edge - deep * ahead - turn]
            site.line(bounds, mix((186, 60, 50), WHITE, float(rng.choice([0.3, 1.0]))), 0.3, site.concrete)
        for back, size in ((0.12, 3.0), (0.42, 6.0), (0.5, 9.0), (0.3, 4.0)):
            u, v = nose - back * deep * ahead + rng.normal(0, 1.6) * left
            site.soil(u, v, size * rng.uniform(0.6, 1.2), rng.uniform(0.15, 0.5))
        root = nose + 7.5 * ahead + rng.uniform(0.28, 0.38) * span_m * left
        site.stand(nose[0], nose[1], heading, span_m, site.rows, root if bridge else None)
        for _ in range(int(rng.integers(2, 6))):  # vehicles keep to the edges of the stand
            aside = rng.choice([-1, 1]) * (span_m / 2 + rng.uniform(-0.4, 1.4))
            first = nose + aside * left - rng.uniform(0.05, 0.5) * deep * ahead
            length, width, height, count, colours = VEHICLES[int(rng.integers(len(VEHICLES)))]
            train = first - np.arange(count)[:, None] * (length + 0.9) * ahead
            site.put(train, (length, width, height), colours, heading)


def _terminal(site: Airport) -> None:
    """Stand the terminal with its stands, along piers where it has any, and the tower."""
    rng, v = site.rng, site.terminal_v
    colour = scale_colour(mix((226, 226, 222), (170, 172, 176), rng.random()), rng.uniform(0.88, 1.06))
    length = rng.uniform(470, 620)
    if not site.piers:
        pitch, span = (74.0, 66.0) if rng.random() < 0.4 else (42.0, 37.0)
        noses = join(np.arange(-length / 2 + pitch / 2, length / 2 - pitch / 2, pitch), v - 14)
        _gates(site, noses, math.pi / 2, span, True)
    for k in range(site.piers):
        u = (k - (site.piers - 1) / 2) * 210
        site.hall(u, v - 117, (30, 235, 11), scale_colour(colour, 0.95), 10)
        for side in (-1, 1):
            noses = join(u + side * 28, np.arange(v - 215, v - 70, 42.0))
            _gates(site, noses, math.pi if side > 0 else 0.0, 37.0, True)
    site.hall(0, v + 34, (length, 68, 17), colour, 16)
    for side in (-1, 1):
        site.hall(side * length * 0.3, v + 40, (length * 0.22, 38, 21), scale_colour(colour, 1.06), 9)
    tower = site.en((length / 2 + 60, v + 30))
    site.objects.append(Shape((disc(tower, 5.5, 14),), (196, 196, 192), 8, 46))
    site.objects.append(Shape((disc(tower, 3.5, 12),), (70, 82, 92), 8, 3, 46, under=(150, 150, 150)))


def _landside(site: Airport) -> None:
    """Lay out roads, car parks, lawns with trees and parking houses behind the terminal."""
    rng, v = site.rng, site.terminal_v + 82
    road = scale_colour(ASPHALT, rng.uniform(0.85, 1.1))
    site.area(box((0, v + 190), 1180, 380), mix(site.grass, site.concrete, 0.25), 50, pattern="mottle")
    for u in (-588.0, -200.0, 210.0, 588.0):
        site.road(np.array([u, v]), np.array([u, v + 380]), 9, road)
    for at, width in ((v + 8, 22.0), (v + 150, 10.0), (v + 320, 13.0)):
        site.road(np.array([-590, at]), np.array([590, at]), width, road)
    for left, right in ((-570, -215), (-185, 195), (225, 570)):
        for bottom, top in ((v + 30, v + 136), (v + 165, v + 305)):
            low, high, kind = np.array([left, bottom]), np.array([right, top]), rng.random()
            if kind < 0.55:
                _car_park(site, low, high)
                continue
            (u, w), (long, deep) = (low + high) / 2, (high - low) * (0.6, 0.7)
            if kind < 0.85:
                site.hall(u, w, (long, deep, 12), scale_colour((172, 168, 162), rng.uniform(0.8, 1.2)), 32)
                corner = np.array([0.45 * long, 0.42 * deep])
                parked = site.spots(np.array([u, w]) - corner, np.array([u, w]) + corner, (2.9, 16), 0.4)
                site.put(parked, (4.5, 1.85, 1.5), CARS, math.pi / 2, 12.0)
                low = np.array([left, bottom + 0.86 * (top - bottom)])
            site.plant(site.spots(low, high, (12, 12), 0.5, 5.0))


def _car_park(site: Airport, low: Points, high: Points) -> None:
    """Lay rows of marked stalls with cars and a few trees."""
    rng, full = site.rng, site.rng.uniform(0.35, 0.9)
    surface = scale_colour(ASPHALT, rng.uniform(0.85, 1.3))
    site.area(box((low + high) / 2, *(high - low)), surface, 22)
    for v in np.arange(low[1] + 8, high[1] - 8, 16.5):
        site.line([(low[0] + 5, v + 2.6), (high[0] - 5, v + 2.6)], mix(WHITE, surface, 0.3), 0.2, surface)
        parked = site.spots((low[0] + 8, v), (high[0] - 8, v + 6), (2.75, 5.2), full, 0.15)
        site.put(parked, (4.5, 1.85, 1.5), CARS, math.pi / 2)
        if rng.random() < 0.5:
            site.plant(site.spots((low[0] + 10, v + 2.6), (high[0] - 10, v + 3), (rng.uniform(18, 40), 1)))


def _hangars(site: Airport, side: int) -> None:
    """Lay remote stands, hangars or a cargo hall with lorries behind them, small aircraft's tie-downs, and a decoy."""
    rng, middle, big = site.rng, side * 880.0, site.rng.random() < 0.4
    _slabs(site, (middle - 240, 250), (middle + 240, 590), 12)
    pitch, span, v = (78.0, 66.0, 378.0) if big else (41.0, 36.5, 352.0)
    _gates(site, join(np.arange(middle - 230 + pitch / 2, middle + 200, pitch), v), math.pi / 2, span, False)
    _gates(site, join(np.arange(middle - 215, middle + 215, 33.0), v + 79), math.pi / 2, 29.5, False)
    for u in np.arange(middle - 180, middle + 181, 120):
        colour = scale_colour(HALLS[0 if big else int(rng.integers(4))], rng.uniform(0.9, 1.06))
        site.hall(u, 560, (rng.uniform(80, 105), rng.uniform(70, 95), 18), colour, 8)
        site.area(box((u, 630), 118, 44), scale_colour(ASPHALT, 1.05))
        site.put(site.spots((u - 42, 618), (u + 43, 619), (4.2, 2), 0.5), (13, 2.6, 3.8), HALLS[:3], math.pi / 2)
    site.rows += 1
    site.area(box((side * 1240, 330), 200, 110), site.paving)
    for v, heading in ((300.0, 0.5 * math.pi), (340.0, -0.5 * math.pi), (375.0, 0.5 * math.pi)):
        for u in np.arange(side * 1240 - 85, side * 1240 + 86, 21.0):
            site.line([(u, v), (u, v - 15)], YELLOW, 0.3, site.paving)
            site.stand(u, v, heading, 18.2, site.rows)
    for turn, length in ((0.4, 38), (0.4 + math.pi / 2, 30)):  # a white hall with two wings: a cross, no aircraft
        site.put([(middle + side * 170, 720)], (length, 6.5, 6.0), HALLS[:1], turn)


# --- scenes


@dataclass(frozen=True)
class SceneSpec:
    """Everything that decides the pixels of one scene."""

    params: SimulateParams
    name: str
    place: Place
    view: View
    gsd_m: float
    width_px: int
    height_px: int
    number: int
    light: Light
    sensor: Sensor
    aircraft: tuple[Aircraft, ...] = ()
    docked: tuple[int, ...] = ()

    @property
    def transform(self) -> Affine:
        """Affine from pixel corners to metres of the scene's CRS."""
        east, north = self.place.origin
        return Affine(self.gsd_m, 0, east + self.view.west, 0, -self.gsd_m, north + self.view.north)


def plan_scenes(params: SimulateParams) -> list[list[SceneSpec]]:
    """Return the scenes of the world, one list a place.

    Raises:
        ParameterError: more empty search tiles than search tiles, or fewer tiles than test places.
    """
    if params.search_empty > params.search_tiles:
        raise ParameterError(
            f"`simulate.search_empty` must be at most `simulate.search_tiles` ({params.search_tiles} tiles), "
            f"got {params.search_empty} tiles. Set `simulate.search_empty` in params.yaml."
        )
    if params.search_tiles < params.test_places:
        raise ParameterError(
            f"`simulate.search_tiles` must be at least `simulate.test_places` ({params.test_places}), "
            f"got {params.search_tiles} tiles. Set `simulate.search_tiles` in params.yaml."
        )
    train = places_of("train", params.seed, params.train_places)
    val = places_of("val", params.seed, params.val_places)
    order = [train[0], val[0], *train[1:], *val[1:]]  # of the fine scenes: both splits have one
    fine = _share(params.fine_scenes, len(order))
    scenes = [_learning_scenes(params, place, fine[order.index(place)]) for place in [*train, *val]]
    totals = params.search_tiles, params.search_empty, params.search_aircraft
    shares = zip(*(_share(total, params.test_places) for total in totals), strict=True)
    for place, (tiles, empty, aircraft) in zip(
        places_of("test", params.seed, params.test_places), shares, strict=False
    ):
        scenes.append(_search_scenes(params, place, tiles, empty, aircraft))
    return scenes


def _share(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def _spec(
    params: SimulateParams,
    place: Place,
    name: str,
    number: int,
    centre: ArrayLike,
    gsd_m: float,
    size_px: tuple[int, int],
) -> SceneSpec:
    """Return a scene without aircraft around a centre, on whole 10 m, under the place's light and the day's air."""
    site, day, (wide, high) = place.rng(6), place.rng(7, number), size_px
    east, north = (np.round(np.asarray(centre) / 10) * 10.0).tolist()
    half_wide, half_high = wide * gsd_m / 2, high * gsd_m / 2
    view = View(east - half_wide, north - half_high, east + half_wide, north + half_high)
    gain = site.uniform(0.9, 1.1) * site.uniform((0.97, 0.97, 0.93), (1.04, 1.03, 1.02))
    air = site.uniform(0, 12) + np.array([0.0, 1.5, 5.0]) * site.uniform(0.2, 1.0)  # light of the air, mostly blue
    azimuth = 180 - day.uniform(20, 65) if place.latitude >= 0 else day.uniform(15, 70)
    light = Light.of(azimuth, day.uniform(32, 66), day.uniform(0, 360), day.uniform(2, 16))
    sensor = Sensor(
        haze=params.haze * day.uniform(0, 1) ** 1.5,
        cloud=params.cloud * day.uniform(0.3, 1.0) * (day.random() < 0.25),
        blur_px=params.blur_px * day.uniform(0.8, 1.2),
        noise_dn=params.noise_dn * day.uniform(0.4, 1.0),
        gain=tuple(gain.tolist()),
        offset=tuple(air.tolist()),
        gamma=site.uniform(0.9, 1.15),
    )
    return SceneSpec(params, name, place, view, gsd_m, wide, high, number, light, sensor)


def _learning_scenes(params: SimulateParams, place: Place, fine: int) -> list[SceneSpec]:
    """Return the scenes of a place to learn from: one at the training GSD, further ones at the fine GSD."""
    rng = place.rng(8)
    size = (params.scene_width_px, params.scene_height_px)
    specs = [_spec(params, place, place.name, 0, rng.uniform(-150, 150, 2), params.gsd_m, size)]
    size = (params.fine_width_px, params.fine_height_px)
    for k in range(1, fine + 1):
        centre = rng.uniform(-420, 420, 2)
        specs.append(_spec(params, place, f"{place.name}-fine-{k}", k, centre, params.fine_gsd_m, size))
    wanted = params.aircraft_per_scene * rng.uniform(2 / 3, 4 / 3, len(specs))
    return [
        _populate(spec, round(n * (FINE_SHARE if spec.number else 1))) for spec, n in zip(specs, wanted, strict=True)
    ]


def _search_scenes(params: SimulateParams, place: Place, tiles: int, empty: int, aircraft: int) -> list[SceneSpec]:
    """Return a place's tiles: those with most stands hold the aircraft, one of them a row; some others hold none."""
    side, size = params.search_tile_px * params.gsd_m, (params.search_tile_px, params.search_tile_px)
    reach = math.ceil(math.sqrt(tiles) / 2) + 1
    shift = place.rng(8).uniform(-0.4, 0.4, 2)
    steps = np.arange(-reach, reach) + 0.5
    cells = [
        _spec(params, place, "", n, (np.array([u, v]) + shift) * side, params.gsd_m, size)
        for n, (v, u) in enumerate((v, u) for v in steps[::-1] for u in steps)
    ]
    slots = airport_of(place).slots
    stands = [sum(_holds(cell.view, slot, 12) for slot in slots) for cell in cells]
    ranked = sorted(range(len(cells)), key=lambda k: (-stands[k], k))
    used, rest = ranked[: tiles - empty], ranked[tiles - empty :]
    none = {rest[round(k * (min(len(rest), 3 * empty) - 1) / max(empty - 1, 1))] for k in range(empty)}
    counts = dict.fromkeys(used, 0)
    crowded = used[int(place.rng(8, 1).integers(min(3, len(used)))) :] if used else []
    for k in range(aircraft if used else 0):  # one each, so that no used tile stays empty; then rows in a few
        counts[used[k] if k < len(used) else crowded[(k // 4) % max(1, len(crowded) // 3)]] += 1
    chosen = sorted({*used, *none})
    named = [replace(cells[k], name=f"{place.name}-{n:02d}") for n, k in enumerate(chosen, 1)]
    return [_populate(spec, counts.get(k, 0)) for spec, k in zip(named, chosen, strict=True)]


def _holds(view: View, slot: Slot, margin_m: float) -> bool:
    """Return whether the middle of a stand lies inside a view, `margin_m` from its border."""
    east, north = slot.nose_en - 0.5 * slot.span_m * np.array([math.cos(slot.heading), math.sin(slot.heading)])
    clear = min(east - view.west, view.east - east, north - view.south, view.north - north)
    return bool(clear > margin_m)


def _populate(spec: SceneSpec, count: int) -> SceneSpec:
    """Return the scene with `count` aircraft, or as many as there is room for: some single, the rest in rows."""
    rng, slots = spec.place.rng(9, spec.number), airport_of(spec.place).slots
    margins = np.where(rng.random(len(slots)) < 0.1, 8.0, [0.62 * slot.span_m for slot in slots])
    inside = [k for k, slot in enumerate(slots) if _holds(spec.view, slot, float(margins[k]))]
    rows: dict[int, list[int]] = {}
    for k in inside:
        rows.setdefault(slots[k].row, []).append(k)
    order = [int(k) for k in rng.permutation(rows.pop(0, []))][: round(0.3 * count)]
    for row in rng.permutation(sorted(rows)).tolist():
        start = int(rng.integers(len(rows[row])))
        run = rows[row][start:] + rows[row][:start]
        order += [k for k in run[: max(2, round(0.6 * count))] if rng.random() < 0.85]
    order += [k for k in rng.permutation(inside).tolist() if k not in order]
    placed: dict[int, Aircraft] = {}
    for k in order:
        aircraft = _park(slots[k], rng)
        if len(placed) < count and _fits(spec, aircraft, placed.values()):
            placed[k] = aircraft
    docked = tuple(k for k in placed if slots[k].bridge_en is not None)
    return replace(spec, aircraft=tuple(placed.values()), docked=docked)


def _park(slot: Slot, rng: np.random.Generator) -> Aircraft:
    """Return an aircraft of a type that fits a stand, parked about as well as people do."""
    least = 0.6 * slot.span_m if slot.row else 24.0
    weights = np.array([plan.weight * (least <= plan.span_m <= slot.span_m) for plan in TYPES.values()])
    kind = str(rng.choice(list(TYPES), p=weights / weights.sum()))
    common = {"white": 4.0, "blue tail": 3.0, "red tail": 2.0, "dark tail": 1.5, "green tail": 1.2}
    liveries = np.array([common.get(name, 0.7) for name in LIVERIES])
    livery = str(rng.choice(list(LIVERIES), p=liveries / liveries.sum()))
    aside, along = (
        (rng.normal(0, 0.5), -abs(rng.normal(0, 1.2))) if slot.row else (rng.normal(0, 1.2), rng.normal(0, 6))
    )
    cos, sin = math.cos(slot.heading), math.sin(slot.heading)
    east, north = (slot.nose_en + along * np.array([cos, sin]) + aside * np.array([-sin, cos])).tolist()
    return Aircraft(kind, livery, (east, north), slot.heading + rng.normal(0, 0.02))


def _fits(spec: SceneSpec, aircraft: Aircraft, placed: Iterable[Aircraft]) -> bool:
    """Return whether an aircraft's centre is in the scene's data, and its body clear of the others."""
    west, south, east, north = aircraft.bounds_en()
    middle = ((west + east) / 2 - spec.view.west) / spec.gsd_m, (spec.view.north - (south + north) / 2) / spec.gsd_m
    inset = 1.0 if spec.params.nodata_border == 0 else 0.5 * max(east - west, north - south) / spec.gsd_m
    if not Polygon(_valid_outline(spec)).buffer(-inset).contains(shapely.Point(middle)):
        return False
    return all(
        np.hypot(*(aircraft.middle_en - other.middle_en)) > (TYPES[aircraft.kind].span_m + TYPES[other.kind].span_m) / 2
        for other in placed
    )


# --- pixels and files


def render_scene(spec: SceneSpec) -> tuple[NDArray[Any], gpd.GeoDataFrame]:
    """Return one scene and its labels.

    Returns:
        The picture (bands, H, W) in the scene's dtype, 0 where there is no data when it has a nodata border.
        The labels in the scene's CRS: column `class`, and each aircraft's box in the pixel grid as a polygon, which may
        leave the picture where the border cuts an aircraft whose centre is inside.
    """
    site, view, rng = airport_of(spec.place), spec.view, spec.place.rng(3, spec.number)
    country = country_of(site, view)
    canvas = Canvas((spec.height_px, spec.width_px), spec.gsd_m, (view.west, view.north), spec.light)
    for shape in view.meets(country.ground + site.ground):
        canvas.lay(shape, rng)
    for points, strength in site.stains:
        canvas.stain(points, strength)
    objects = view.meets(country.objects + site.objects + _bridges(site, spec.docked))
    for shape in objects:
        if shape.height_m > 0 and shape.base_m == 0:
            canvas.cast(shape.rings[0], 0.0, shape.height_m)
    for aircraft in spec.aircraft:
        cast_aircraft(canvas, aircraft)
    canvas.settle_light(rng)
    for shape in objects:
        canvas.lift(shape)
    picture = canvas.flatten(rng)
    for aircraft in spec.aircraft:
        stamp_aircraft(picture, canvas, aircraft)
    shift = np.array(spec.place.origin * 2)
    boxes = [shapely.box(*(shift + aircraft.bounds_en())) for aircraft in spec.aircraft]
    geometry = gpd.GeoSeries(boxes, crs=spec.place.epsg)
    labels = gpd.GeoDataFrame({"class": [CLASS_NAME] * len(boxes)}, geometry=geometry)
    return _deliver(spec, expose(picture, spec.sensor, spec.gsd_m, rng)), labels


def _bridges(site: Airport, docked: tuple[int, ...]) -> list[Shape]:
    """Return the jet bridges: at the door where an aircraft is docked, else drawn back."""
    rng, shapes = site.place.rng(4), []
    for number, slot in enumerate(site.slots):
        tone, back, aside = int(rng.integers(170, 226)), rng.uniform(15, 19), rng.uniform(-0.5, 4)
        if slot.bridge_en is None:
            continue
        ahead = np.array([math.cos(slot.heading), math.sin(slot.heading)])
        left, root = np.array([-ahead[1], ahead[0]]), slot.bridge_en
        door = slot.nose_en - 6 * ahead + 3 * left if number in docked else root - back * ahead + aside * left
        run = door - root
        angle, far = math.atan2(run[1], run[0]), float(np.hypot(*run))
        outlines = (
            (disc(root, 3.0, 12), -12),
            (box(root + 4.5 * ahead, 9.0, 3.2, slot.heading), 0),
            (box(root + 0.5 * run, far, 3.0, angle), 0),
            (box(door, 3.6, 4.4, angle), -40),
        )
        shapes += [Shape((outline,), (tone + k, tone + k, tone + k), 8, 5.2) for outline, k in outlines]
    return shapes


def _deliver(spec: SceneSpec, picture: NDArray[np.float32]) -> NDArray[Any]:
    """Return the picture as the sensor's bands (bands, H, W), with a nodata border where the scene has one."""
    bands = [picture[..., 0], picture[..., 1], picture[..., 2]]
    if spec.params.bands == 4:
        bands.append(near_infrared(picture))
    delivered: NDArray[Any] = np.stack(bands)
    bordered = spec.params.nodata_border > 0
    if spec.params.dtype == "uint16":
        delivered = np.clip(np.rint(delivered * np.float32(REFLECTANCE)), 1, 65535).astype(np.uint16)
    else:
        delivered = np.clip(np.rint(delivered), 1 if bordered else 0, 255).astype(np.uint8)
    if bordered:
        valid: NDArray[np.uint8] = np.zeros((spec.height_px, spec.width_px), np.uint8)
        cv2.fillPoly(valid, [np.rint(_valid_outline(spec)).astype(np.int32)], 1)
        delivered *= valid.astype(delivered.dtype)
    return delivered


def _valid_outline(spec: SceneSpec) -> Points:
    """Return the corners (4, 2) in px of the part of a scene that holds data: a swath that runs aslant through it."""
    rng, wide, high = spec.place.rng(5, spec.number), spec.width_px, spec.height_px
    cut = spec.params.nodata_border * wide * rng.uniform(0.3, 1.0, 4)
    return join([cut[0], wide - cut[1], wide - cut[2], cut[3]], [0, 0, high, high])


def make_world(params: SimulateParams, folder: str | Path, workers: int | None = None) -> int:
    """Write the built-in world: tiles, one GeoPackage of labels a tile, and `places.csv`. The same for any `workers`.

    Returns:
        The number of aircraft.

    Raises:
        ParameterError: counts that contradict one another.
    """
    places = plan_scenes(params)
    scenes = [spec for place in places for spec in place]
    workers = min(len(places), workers or os.cpu_count() or 1)
    with atomic_folder(folder) as target, ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        (target / "labels").mkdir()
        write = partial(_write_place, folder=target)
        for _ in track((map if workers == 1 else pool.map)(write, places), "drawing places", len(places)):
            pass
        lines = [f"{spec.name},{spec.place.name},{spec.place.split}" for spec in scenes]
        (target / "places.csv").write_text("\n".join(["scene,place,split", *lines]) + "\n", encoding="utf-8")
    return sum(len(spec.aircraft) for spec in scenes)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _write_place(scenes: list[SceneSpec], folder: Path) -> None:
    for spec in scenes:
        write_scene(spec, folder)


def write_scene(spec: SceneSpec, folder: Path) -> None:
    """Write one scene as a tiled, compressed GeoTIFF, and its labels as a GeoPackage with a layer `labels`."""
    picture, labels = render_scene(spec)
    count, height, width = picture.shape
    profile: dict[str, Any] = {"driver": "GTiff", "count": count, "height": height, "width": width}
    profile |= {"dtype": picture.dtype, "crs": f"EPSG:{spec.place.epsg}", "transform": spec.transform}
    profile |= {"nodata": 0 if spec.params.nodata_border > 0 else None, "photometric": "RGB"}
    profile |= {"compress": "deflate", "predictor": 2, "zlevel": 6}
    if min(height, width) >= 256:
        profile |= {"blockxsize": 256, "blockysize": 256, "tiled": True}
    with rasterio.open(folder / f"{spec.name}.tif", "w", **profile) as dataset:
        dataset.write(picture)
        for band, name in enumerate(("red", "green", "blue", "nir")[:count], 1):
            dataset.set_band_description(band, name)
    path, options = folder / "labels" / f"{spec.name}.gpkg", {"driver": "GPKG", "engine": "pyogrio"}
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": WRITTEN})
    labels.to_file(path, layer="labels", geometry_type="Polygon", **options)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
