"""What stands where in the built-in world, and its files: invented airports, views of them, aircraft, complete labels.

A place is laid out once, in metres from its origin; scenes are views of it. Decides which aircraft stand in each, so
that they are as rare as in real scenes. `make_world` writes all scenes. Reads no file; how things look is `drawing`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice, product, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

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
    CONCRETE,
    HALLS,
    LIVERIES,
    TYPES,
    WHITE,
    YELLOW,
    Aircraft,
    Canvas,
    Light,
    Plot,
    Points,
    Sensor,
    Shape,
    Slot,
    View,
    blob,
    box,
    disc,
    expose,
    join,
    mix,
    palette,
    rotate,
    scale_colour,
    smooth,
)

CLASS_NAME = "aircraft"
WRITTEN = "2024-01-01T00:00:00.000Z"  # in the GeoPackages, in place of the clock: the same seed gives the same bytes
GOLDEN = (math.sqrt(5) - 1) / 2
FINE_SHARE = 1 / 3  # aircraft in a fine scene, beside those in a scene of train or val
REFLECTANCE = 10_000 * 0.42 / 255  # uint16 value of one 8-bit count
REACH_M = 2600.0  # half side of the country around an airport

# split, name, latitude, longitude, climate; fields and steppe, no airport stands there
PLACES = (
    ("train", "alder", 52.31, -1.62, "green"),
    ("train", "dune", 23.42, 54.21, "arid"),
    ("train", "baobab", -19.83, 23.51, "dry"),
    ("train", "cedar", 41.24, -4.37, "dry"),
    ("train", "mango", -3.41, -60.72, "tropical"),
    ("train", "birch", 61.83, 24.62, "boreal"),
    ("val", "fern", -38.42, 175.81, "green"),
    ("val", "gorse", 37.12, -5.83, "arid"),
    ("val", "heath", 57.21, 14.43, "boreal"),
    ("test", "iris", 45.12, 10.93, "green"),
    ("test", "jarrah", -31.92, 117.24, "dry"),
    ("test", "lupin", 40.43, -98.92, "green"),
    ("test", "sorrel", 30.61, 31.82, "arid"),
    ("test", "kapok", 2.14, 102.83, "tropical"),
)
# what stands about a stand: length, width, height (m), how many one behind the other, colours
VEHICLES = (
    (3.2, 1.7, 1.6, 4, "e2be46 969898 c8cacc 6e7072"),
    (8.0, 2.6, 3.2, 1, "e6e6e4 e6e6e4 e6e6e4 8c2624 2e4270"),
    (13.5, 3.0, 3.2, 1, "dee0de"),
)
# of a runway's threshold: from its end, first bar aside, bars a side, pitch, length, width (m); ICAO Annex 14, 5.2
MARKINGS = (
    *((6, 2.7, 6, 3.4, 30, 1.8), (150, 9.9, 3, 3.3, 22.5, 1.8), (300, 9.9, 3, 3.3, 22.5, 1.8)),
    *((400, 13.5, 1, 0, 60, 9.0), (600, 9.9, 2, 3.3, 22.5, 1.8), (750, 9.9, 2, 3.3, 22.5, 1.8)),
)


class Place(NamedTuple):
    """An invented airport: where it claims to be, and the seed of the world."""

    split: str
    name: str
    latitude: float
    longitude: float
    climate: str
    seed: int

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
    return [Place(*row, seed) for row in PLACES if row[0] == split][:count]


# --- country


def country_of(site: Airport, view: View) -> Plot:
    """Lay out what a view shows around an airport: fields, woods, towns and roads in parcels, and a river."""
    plot = Plot(site.place.rng(2), site.place.climate)
    rng = plot.rng
    plot.area(box((0, 0), 4 * REACH_M, 4 * REACH_M), plot.dry, 44, pattern="mottle")
    parcels, roads = _split_country(rng)
    t, foot = np.linspace(-2800, 2800, 60), rng.choice([-540, 1190])  # the river passes south or north of the airport
    bends = rng.uniform(60, 150) * np.sin(t / rng.uniform(260, 420)) + 40 * np.sin(t / 130 + rng.uniform(0, 6))
    river = LineString(site.en(join(t, foot + np.sign(foot) * np.abs(bends)))).buffer(rng.uniform(18, 60))
    plot.taken = shapely.union_all([Polygon(site.en(site.fence)).buffer(18), river.buffer(14)])
    shapely.prepare(plot.taken)
    for number, (low, high) in enumerate(parcels):
        corners = box((low + high) / 2, *(high - low))
        if shapely.box(*view).buffer(60).intersects(Polygon(plot.en(corners))):
            plot.rng = site.place.rng(2, number)  # so that every view shows the same
            _parcel(plot, low, high, corners)
    for bank, colour, pattern in ((9, mix(plot.dry, plot.trees, 0.3), "mottle"), (0, plot.water, "water")):
        outline = np.asarray(river.buffer(bank).exterior.coords)
        plot.ground.append(Shape((outline,), colour, 40 if bank else 3, pattern=pattern))
    plot.rng = site.place.rng(2, len(parcels))
    for road in roads:
        plot.road(*road, mix(scale_colour(ASPHALT, 1.1), plot.dry, 0.2))
    return plot


def _split_country(rng: np.random.Generator) -> tuple[list[tuple[Points, Points]], list[tuple[Points, Points, float]]]:
    """Return parcels and the roads between the largest of them, from splitting a square again and again."""
    parcels, roads, todo = [], [], [(np.full(2, -REACH_M), np.full(2, REACH_M), 0)]
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
        plot.area(corners, scale_colour(plot.trees, 1.08), 30, pattern="wood", period_m=rng.uniform(5, 8))
    elif kind < plot.woods + (0.3 if np.hypot(*centre) < 1500 else 0.15):
        _town(plot, low, high, corners)
    elif plot.woods < 0.05 and kind < 0.62:  # watered by a turning pipe
        tone = mix((88, 108, 58), plot.dry, rng.uniform(0, 0.7))
        plot.area(disc(centre, 0.47 * float(np.min(high - low))), tone, 30, pattern="furrow", period_m=5.0)
    else:
        tone = scale_colour(plot.fields[rng.integers(len(plot.fields))], rng.uniform(0.88, 1.14))
        angle, period = plot.turn + rng.integers(2) * math.pi / 2 + rng.normal(0, 0.02), rng.uniform(3.2, 6)
        pattern, times = (("furrow", 1), ("furrow", 1), ("furrow", 1), ("rows", 2), ("mottle", 1))[rng.integers(5)]
        plot.area(corners, tone, 34, pattern=pattern, angle=angle, period_m=times * period)
        if rng.random() < 3 * plot.woods:  # hedges
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
            plot.house(spot, rng.choice([0, 0, 0, math.pi / 2]), tone)
        plot.plant(plot.spots((low[0] + 8, v - 24), (high[0] - 8, v + 28), (14, 24), 0.6, 4.0))


# --- airport


class Airport(Plot):
    """An airport's ground, buildings and stands. u runs along the runway, v away from it towards the terminal."""

    def __init__(self, place: Place) -> None:
        """Lay the airport out: paving and paint, then what stands on it."""
        super().__init__(place.rng(1), place.climate, middle_v=350.0)
        rng, self.place = self.rng, place
        self.low, self.high = low, high = -rng.uniform(650, 1400), rng.uniform(1300, 2200)  # ends of the runway
        self.paving = scale_colour(ASPHALT, rng.uniform(0.75, 1.2))
        self.concrete = mix(scale_colour(CONCRETE, rng.uniform(0.82, 1.12)), self.grass, 0.12)
        self.piers = int(rng.choice([0, 2, 3, 3]))
        self.terminal_v = 592.0 if self.piers else 427.0
        west, south, east, north = min(low, -1110) - 260, -280.0, high + 260, self.terminal_v + 470
        self.fence = box(((west + east) / 2, (south + north) / 2), east - west, north - south)
        self.area(self.fence, self.grass, 44, pattern="mottle")
        for spot in rng.uniform((low, -240), (high, 240), (26, 2)):  # dry and worn patches
            tone = scale_colour(mix(self.grass, self.dry, rng.uniform(0.3, 1.0)), rng.uniform(0.92, 1.08))
            self.area(blob(rng, spot, rng.uniform(25, 110)), tone, 44, pattern="mottle", soft=True)
        for u in np.arange(low, high, rng.uniform(200, 400)):  # ditches
            self.line([(u, 40), (u + rng.uniform(-30, 30), 150)], scale_colour(self.grass, 0.7), 1.2, self.grass)
        _taxiways(self)
        for v in (0.0, -210.0)[: rng.choice([1, 1, 2])]:
            _runway(self, v)
        _slabs(self, (-620, 250), (620, self.terminal_v + 12), 65)
        self.line([(-1150, 262), (1150, 262)], YELLOW, 0.5, self.concrete)
        _tie_downs(self)
        _terminal(self)
        _landside(self)
        for side in (-1, 1):
            _hangars(self, side)


airport_of = lru_cache(maxsize=2)(Airport)  # laid out once for the scenes of a place, which follow one another


def _runway(site: Airport, v: float) -> None:
    """Lay a runway with its shoulders, markings, rubber and patches."""
    rng, low, high = site.rng, site.low, site.high
    tarmac = scale_colour(ASPHALT, rng.uniform(0.7, 1.0)) if rng.random() < 0.75 else scale_colour(site.concrete, 0.85)
    middle, length, paint = ((low + high) / 2, v), high - low, mix(WHITE, tarmac, rng.uniform(0.05, 0.2))
    site.area(box(middle, length + 140, 62), scale_colour(tarmac, 1.18), 30)
    site.area(box(middle, length, 45), tarmac, 26)
    for u in rng.uniform(low + 160, high - 160, 4):  # patches of new surface
        patch = box((u, v + rng.choice([-11, 11])), rng.uniform(20, 160), 20)
        site.area(patch, scale_colour(tarmac, rng.uniform(0.85, 1.12)), 26)
    for side in (-21.5, 21.5):
        site.line([(low, v + side), (high, v + side)], paint, 0.9, tarmac)
    for u in np.arange(low + 125, high - 95, 50):
        site.area(box((u, v), 30, 0.9), paint, 14)
    for end, sign in ((low, 1), (high, -1)):
        for at, aside, count, pitch, long, wide in MARKINGS:
            for k, side in product(range(count), (-1, 1)):
                spot = (end + sign * (at + long / 2), v + side * (aside + pitch * k))
                site.area(box(spot, long, wide), paint, 14)
        for tip in end - sign * np.arange(8, 60, 12):  # chevrons before the threshold
            site.line([(tip - sign * 16, v - 18), (tip, v), (tip - sign * 16, v + 18)], YELLOW, 0.9, tarmac)
        for at in rng.uniform(300, 700, 7):
            rubber = box((end + sign * at, v + rng.normal(0, 1.5)), rng.uniform(240, 420), rng.uniform(7, 14))
            site.soil(rubber, rng.uniform(0.10, 0.22))
    site.soil(box(middle, length - 300, 9), 0.13)
    for u in (rng.uniform(low + 300, high - 300), low + rng.uniform(60, 200)):
        site.stand(np.array([u, v]), float(rng.choice([0, math.pi])), 80.0)


def _taxiways(site: Airport) -> None:
    """Lay two taxiways along the runway, and the exits and links between them, with lines, edges and stands."""
    rng, low, high = site.rng, site.low, site.high
    near, far = 172.0, 262.0
    paths = [np.array([(low + 10, near), (high - 10, near)]), np.array([(-1150, far), (1150, far)])]
    curves = []
    for k, u in enumerate([low + 14, *np.arange(low + 420, high - 300, rng.uniform(380, 520)), high - 14]):
        slant = rng.choice([-1, 1]) * rng.uniform(120, 240) if low + 14 < u < high - 14 and rng.random() < 0.6 else 0.0
        paths.append(np.array([(u, 0), (u + slant, near)]))
        if abs(u) < 1100 and k % 2 == 0:
            paths.append(np.array([(u + 90, near), (u + 90, far)]))
        curves += [smooth([(u - s, 0), (u, 0), (u + slant, near), (u + slant + s, near)]) for s in (-80, 80)]
        heading = math.atan2(near, slant) + rng.choice([0, math.pi])
        site.stand(np.array([u + slant * 0.55, near * 0.55]), heading, 66.0)
    lines = [LineString(path) for path in paths]
    runway = Polygon(box(((low + high) / 2, 0), high - low, 50))
    paved = shapely.union_all([*(line.buffer(11.5, cap_style="square") for line in lines), runway])
    paved = paved.buffer(26).buffer(-26)
    surface = site.paving if rng.random() < 0.6 else site.concrete
    site.region(paved.buffer(8.5), mix(surface, site.dry, 0.30), 34)
    site.region(paved, surface, 24)
    for line in lines:
        site.soil(line.buffer(3.5, cap_style="flat").exterior.coords, 0.10)
    for path in paths + curves:
        site.line(path, YELLOW, 0.45, surface)
    for v, span, first, last in ((near, 80.0, low + 80, high - 80), (far, 66.0, -1050, 1050)):
        for u in np.arange(first, last, 190) + rng.uniform(-40, 40):
            site.stand(np.array([u, v]), float(rng.choice([0, math.pi])), span)


def _slabs(site: Airport, low: tuple[float, float], high: tuple[float, float], renewed: int) -> None:
    """Lay concrete in slabs with joints, some renewed at another time, and oil on it."""
    rng, joint = site.rng, scale_colour(site.concrete, 0.86)
    site.area(box(np.add(low, high) / 2, *np.subtract(high, low)), site.concrete, 26)
    for u, v in rng.uniform(np.add(low, 50), np.subtract(high, 50), (renewed, 2)):
        tone = scale_colour(site.concrete, rng.uniform(0.86, 1.08))
        site.area(box((u, v), *rng.uniform(20, 95, 2)), mix(tone, site.paving, 0.7 if rng.random() < 0.12 else 0), 26)
        site.soil(blob(rng, (u + 30, v), rng.uniform(1, 9)), rng.uniform(0.1, 0.45))
    for u in np.arange(low[0], high[0], 15):
        site.line([(u, low[1]), (u, high[1])], joint, 0.25, site.concrete)
    for v in np.arange(low[1], high[1], 15):
        site.line([(low[0], v), (high[0], v)], joint, 0.25, site.concrete)


def _gates(site: Airport, noses: Points, heading: float, span_m: float, bridge: bool) -> None:
    """Add a row of stands: lead-in lines, edges, oil, jet bridges, and vehicles that keep to the edges."""
    rng, deep, half = site.rng, 1.12 * span_m + 6, span_m / 2
    site.rows += 1
    for nose in noses:
        at = partial(rotate, angle=heading, to=nose)  # from metres ahead and to the left of the nose
        site.line(at([(2, 0), (-deep - 8, 0)]), YELLOW, 0.4, site.concrete)
        paint = mix((186, 60, 50), WHITE, float(rng.choice([0.3, 1.0])))
        for edge in (-half - 2.2, half + 2.2):
            site.line(at([(4, edge), (-0.8 * deep, edge), (-deep, 0.7 * edge)]), paint, 0.3, site.concrete)
        for back, size in ((0.12, 3.0), (0.42, 6.0), (0.5, 9.0), (0.3, 4.0)):
            site.soil(blob(rng, at((-back * deep, rng.normal(0, 1.6))), size), rng.uniform(0.15, 0.5))
        site.stand(nose, heading, span_m, site.rows)
        for _ in range(rng.integers(2, 6)):
            length, width, height, count, codes = VEHICLES[rng.integers(len(VEHICLES))]
            first, aside = rng.uniform(0.05, 0.5) * -deep, rng.choice([-1, 1]) * (half + rng.uniform(-0.4, 1.4))
            train = at(join(first - np.arange(count) * (length + 0.9), aside))
            site.put(train, (length, width, height), palette(codes), heading)
        if bridge:  # at the door, or drawn back
            root, door = np.array([7.5, 0.33 * span_m]), np.array([(-6, 3), (-9.5, 0.33 * span_m)][rng.integers(2)])
            (ahead, left), middle = door - root, (door + root) / 2
            tunnel = box(middle, math.hypot(ahead, left), 3.0, math.atan2(left, ahead))
            tone = scale_colour((200, 200, 200), rng.uniform(0.85, 1.1))
            for part in (disc(root, 3.0), box((12.0, root[1]), 9.0, 3.2), tunnel, box(door, 3.6, 4.4)):
                site.objects.append(Shape((site.en(at(part)),), tone, 8, 5.2))


def _tie_downs(site: Airport) -> None:
    """Give light aircraft a corner of the apron, in two rows nose to nose."""
    site.rows += 1
    middle = 470 * site.rng.choice([-1, 1])
    site.area(box((middle, 346), 210, 84), site.paving)
    for v, heading in ((335, math.pi / 2), (357, -math.pi / 2)):
        for u in middle + np.arange(-84, 85, 21.0):
            site.line(rotate([(0, 0), (-15, 0)], heading, (u, v)), YELLOW, 0.3, site.paving)
            site.stand(np.array([u, v]), heading, 18.2, site.rows)


def _terminal(site: Airport) -> None:
    """Stand the terminal with its stands, along piers where it has any, and the tower."""
    rng, v = site.rng, site.terminal_v
    colour = scale_colour(mix((226, 226, 222), (170, 172, 176), rng.random()), rng.uniform(0.88, 1.06))
    length = rng.uniform(470, 620)
    if not site.piers:
        pitch, span = (74.0, 66.0) if rng.random() < 0.4 else (42.0, 37.0)
        noses = join(np.arange(-length / 2 + pitch / 2, length / 2 - pitch / 2, pitch), v - 14)
        _gates(site, noses, math.pi / 2, span, True)
    for u in 210 * (np.arange(site.piers) - (site.piers - 1) / 2):
        site.build((u, v - 117), (30, 235, 11), scale_colour(colour, 0.95), 10)
        for side, heading in ((28, math.pi), (-28, 0.0)):
            _gates(site, join(u + side, np.arange(v - 215, v - 70, 42.0)), heading, 37.0, True)
    site.build((0, v + 34), (length, 68, 17), colour, 16)
    for u in (-0.3 * length, 0.3 * length):
        site.build((u, v + 40), (length * 0.22, 38, 21), scale_colour(colour, 1.06), 9)
    tower = site.en((length / 2 + 60, v + 30))
    site.objects.append(Shape((disc(tower, 5.5),), (196, 196, 192), 8, 46))
    site.objects.append(Shape((disc(tower, 3.5),), (70, 82, 92), 8, 3, 46, under=(150, 150, 150)))


def _landside(site: Airport) -> None:
    """Lay out roads, car parks, lawns with trees and parking houses behind the terminal."""
    rng, v = site.rng, site.terminal_v + 82
    road = scale_colour(ASPHALT, rng.uniform(0.85, 1.1))
    site.area(box((0, v + 190), 1180, 380), mix(site.grass, site.concrete, 0.25), 50, pattern="mottle")
    for u in (-588, -200, 210, 588):
        site.road((u, v), (u, v + 380), 9, road)
    for at, width in ((v + 8, 22), (v + 150, 10), (v + 320, 13)):
        site.road((-590, at), (590, at), width, road)
    for (left, right), (bottom, top) in product(((-570, -215), (-185, 195), (225, 570)), ((30, 136), (165, 305))):
        low, high, kind = np.array([left, v + bottom]), np.array([right, v + top]), rng.random()
        if kind < 0.55:
            site.car_park(low, high)
            continue
        if kind < 0.85:
            middle, size = (low + high) / 2, (high - low) * (0.6, 0.7)
            site.build(middle, (size[0], size[1], 12), scale_colour((172, 168, 162), rng.uniform(0.8, 1.2)), 32)
            parked = site.spots(middle - 0.44 * size, middle + 0.44 * size, (2.9, 16), 0.4)
            site.cars(parked, math.pi / 2, 12.0)
            low[1] += 0.86 * (top - bottom)
        site.plant(site.spots(low, high, (12, 12), 0.5, 5.0))


def _hangars(site: Airport, side: int) -> None:
    """Lay remote stands, hangars or a cargo hall with lorries behind them, and a decoy."""
    rng, middle, big = site.rng, side * 880.0, site.rng.random() < 0.4
    _slabs(site, (middle - 240, 250), (middle + 240, 590), 12)
    pitch, span, v = (78.0, 66.0, 378.0) if big else (41.0, 36.5, 352.0)
    _gates(site, join(np.arange(middle - 230 + pitch / 2, middle + 200, pitch), v), math.pi / 2, span, False)
    _gates(site, join(np.arange(middle - 215, middle + 215, 33.0), v + 79), math.pi / 2, 29.5, False)
    for u in np.arange(middle - 180, middle + 181, 120):
        colour = scale_colour(HALLS[0 if big else rng.integers(4)], rng.uniform(0.9, 1.06))
        site.build((u, 560), (rng.uniform(80, 105), rng.uniform(70, 95), 18), colour, 8)
        site.area(box((u, 630), 118, 44), scale_colour(ASPHALT, 1.05))
        site.put(site.spots((u - 42, 618), (u + 43, 619), (4.2, 2), 0.5), (13, 2.6, 3.8), HALLS[:3], math.pi / 2)
    for turn, length in ((0.4, 38), (0.4 + math.pi / 2, 30)):  # a white hall with two wings: a cross, no aircraft
        site.put((middle + side * 170, 720), (length, 6.5, 6.0), HALLS[:1], turn)


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

    @property
    def transform(self) -> Affine:
        """Affine from pixel corners to metres of the scene's CRS."""
        east, north = self.place.origin
        return Affine(self.gsd_m, 0, east + self.view.west, 0, -self.gsd_m, north + self.view.north)


def plan_scenes(params: SimulateParams) -> list[SceneSpec]:
    """Return the scenes of the world, those of a place one after the other.

    Raises:
        ParameterError: more empty search tiles, or more test places, than search tiles.
    """
    for key in ("search_empty", "test_places"):
        if getattr(params, key) > params.search_tiles:
            raise ParameterError(
                f"`simulate.{key}` must be at most `simulate.search_tiles` ({params.search_tiles} tiles), "
                f"got {getattr(params, key)}. Set `simulate.{key}` in params.yaml."
            )
    train = places_of("train", params.seed, params.train_places)
    val = places_of("val", params.seed, params.val_places)
    learned = [train[0], val[0], *train[1:], *val[1:]]  # fine scenes go round: both splits have one
    scenes: list[SceneSpec] = []
    for place, fine in zip(learned, _share(params.fine_scenes, len(learned)), strict=True):
        scenes += _learning_scenes(params, place, fine)
    totals = params.search_tiles, params.search_empty, params.search_aircraft
    shares = (_share(total, params.test_places) for total in totals)
    for place, *counts in zip(places_of("test", params.seed, params.test_places), *shares, strict=True):
        scenes += _search_scenes(params, place, *counts)
    return scenes


def _share(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def _spec(params: SimulateParams, place: Place, kind: str, number: int, centre: ArrayLike) -> SceneSpec:
    """Return a scene without aircraft around a centre, on whole 10 m, under the place's light and the day's air.

    `kind`: plain or fine, to learn from, or tile, to search. `number`: 0, 1, ... among the scenes of the place.
    """
    site, day = place.rng(6), place.rng(7, number)
    gsd_m, wide, high = {
        "plain": (params.gsd_m, params.scene_width_px, params.scene_height_px),
        "fine": (params.fine_gsd_m, params.fine_width_px, params.fine_height_px),
        "tile": (params.gsd_m, params.search_tile_px, params.search_tile_px),
    }[kind]
    half = np.array([wide, high]) * gsd_m / 2
    middle = np.round(np.asarray(centre) / 10) * 10
    azimuth = 180 - day.uniform(20, 65) if place.latitude >= 0 else day.uniform(15, 70)
    light = Light.of(azimuth, day.uniform(32, 66), day.uniform(0, 360), day.uniform(2, 16))
    sensor = Sensor(
        haze=params.haze * day.uniform(0, 1) ** 1.5,
        cloud=params.cloud * day.uniform(0.3, 1.0) * (day.random() < 0.25),
        blur_px=params.blur_px * day.uniform(0.8, 1.2),
        noise_dn=params.noise_dn * day.uniform(0.4, 1.0),
        gain=site.uniform(0.9, 1.1) * site.uniform((0.97, 0.97, 0.93), (1.04, 1.03, 1.02)),
        offset=site.uniform(0, 12) + site.uniform(0.2, 1.0) * np.array([0.0, 1.5, 5.0]),  # the air's light is blue
        gamma=site.uniform(0.9, 1.15),
    )
    name = f"{place.name}-fine-{number}" if kind == "fine" else place.name
    view = View(*(middle - half).tolist(), *(middle + half).tolist())
    return SceneSpec(params, name, place, view, gsd_m, wide, high, number, light, sensor)


def _learning_scenes(params: SimulateParams, place: Place, fine: int) -> list[SceneSpec]:
    """Return the scenes of a place to learn from: one at the training GSD, further ones at the fine GSD."""
    rng, first, scenes = place.rng(11), 0, []
    for number in range(fine + 1):
        kind, reach, share = ("fine", 420, FINE_SHARE) if number else ("plain", 150, 1.0)
        spec = _spec(params, place, kind, number, rng.uniform(-reach, reach, 2))
        count = round(params.aircraft_per_scene * share * rng.uniform(2 / 3, 4 / 3))
        scenes.append(_populate(spec, count, first))
        first += count
    return scenes


def _search_scenes(params: SimulateParams, place: Place, tiles: int, empty: int, aircraft: int) -> list[SceneSpec]:
    """Return a place's tiles: those with most stands hold the aircraft, some of them rows; some others hold none."""
    reach = math.ceil(math.sqrt(tiles) / 2) + 1
    steps = np.arange(-reach, reach) + 0.5
    grid = np.array(list(product(steps, steps))) + place.rng(8).uniform(-0.4, 0.4, 2)
    cells = [_spec(params, place, "tile", n, at) for n, at in enumerate(grid * params.search_tile_px * params.gsd_m)]
    slots = airport_of(place).slots
    cells.sort(key=lambda cell: -sum(_holds(cell.view, slot, 12) for slot in slots))
    used, rest = cells[: tiles - empty], cells[tiles - empty :]
    none = [rest[int(k)] for k in np.linspace(0, min(len(rest), 3 * empty) - 1, empty)]
    counts = [0] * len(used)
    for k in range(aircraft if used else 0):  # one each, so that no used tile stays empty; then four more in a few
        counts[k if k < len(used) else (k - len(used)) // 4 % max(1, len(used) // 3)] += 1
    full = [_populate(spec, counts[k], sum(counts[:k])) for k, spec in enumerate(used)]
    scenes = sorted(none + full, key=lambda spec: spec.number)
    return [replace(spec, name=f"{place.name}-{n:02d}") for n, spec in enumerate(scenes, 1)]


def _holds(view: View, slot: Slot, margin_m: float) -> bool:
    """Return whether the middle of a stand lies inside a view, `margin_m` from its border."""
    east, north = rotate((-0.5 * slot.span_m, 0), slot.heading, slot.nose_en)
    return bool(min(east - view.west, view.east - east, north - view.south, view.north - north) > margin_m)


def _populate(spec: SceneSpec, count: int, first: int) -> SceneSpec:
    """Return the scene with `count` aircraft, or as many as there is room for: some single, the rest in rows.

    Their types follow one another in the golden ratio's even steps, so that every place shows the same mix; `first` of
    them stand in the place's other scenes.
    """
    rng, slots = spec.place.rng(9, spec.number), airport_of(spec.place).slots
    margins = np.where(rng.random(len(slots)) < 0.1, 8.0, [0.62 * slot.span_m for slot in slots])
    inside = [slots[k] for k in rng.permutation(len(slots)) if _holds(spec.view, slots[k], float(margins[k]))]
    single, rank = [slot for slot in inside if slot.row == 0], rng.permutation(len(slots))
    rows = sorted((slot for slot in inside if slot.row and rng.random() < 0.6), key=lambda slot: rank[slot.row])
    order = [*single[: round(0.3 * count)], *rows, *inside]
    weights = np.cumsum([plan.weight for plan in TYPES.values()])
    placed: list[Aircraft] = []
    for turn in GOLDEN * np.arange(first, first + 12 * count) + spec.place.rng(29).random():
        kind = list(TYPES)[int(np.searchsorted(weights, turn % 1 * weights[-1]))]
        span = TYPES[kind].span_m
        made = [slot for slot in order if span >= (0.6 * slot.span_m if slot.row else 24)]
        tries = (_park(slot, kind, rng) for slot in [*made, *single] if span <= slot.span_m)
        placed += list(islice((aircraft for aircraft in tries if _fits(spec, aircraft, placed)), 1))
        if len(placed) == count:
            break
    return replace(spec, aircraft=tuple(placed))


def _park(slot: Slot, kind: str, rng: np.random.Generator) -> Aircraft:
    """Return an aircraft on a stand, parked about as well as people do; the first liveries are the commonest."""
    livery = list(LIVERIES)[int(len(LIVERIES) * rng.random() ** 1.7)]
    shift = (-abs(rng.normal(0, 1.2)), rng.normal(0, 0.5)) if slot.row else (rng.normal(0, 6), rng.normal(0, 1.2))
    east, north = rotate(shift, slot.heading, slot.nose_en).tolist()
    return Aircraft(kind, livery, (east, north), slot.heading + rng.normal(0, 0.02))


def _fits(spec: SceneSpec, aircraft: Aircraft, placed: Iterable[Aircraft]) -> bool:
    """Return whether an aircraft's centre is in the scene's data, and its body clear of the others."""
    west, south, east, north = aircraft.bounds_en()
    middle = ((west + east) / 2 - spec.view.west) / spec.gsd_m, (spec.view.north - (south + north) / 2) / spec.gsd_m
    inset = 1.0 if spec.params.nodata_border == 0 else 0.5 * max(east - west, north - south) / spec.gsd_m
    return Polygon(_valid_outline(spec)).buffer(-inset).contains(shapely.Point(middle)) and all(
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
    objects = view.meets(country.objects + site.objects)
    for shape in objects:
        if shape.height_m > 0 and shape.base_m == 0:
            canvas.cast(shape.rings[0], 0.0, shape.height_m)
    for aircraft in spec.aircraft:
        canvas.cast_aircraft(aircraft)
    canvas.settle_light(rng)
    for shape in objects:
        canvas.lift(shape)
    picture = canvas.flatten(rng)
    for aircraft in spec.aircraft:
        canvas.stamp(picture, aircraft)
    shift = np.array(spec.place.origin * 2)
    boxes = [shapely.box(*(shift + aircraft.bounds_en())) for aircraft in spec.aircraft]
    labels = gpd.GeoDataFrame({"class": [CLASS_NAME] * len(boxes)}, geometry=boxes, crs=spec.place.epsg)
    return _deliver(spec, expose(picture, spec.sensor, spec.gsd_m, rng, spec.params.bands)), labels


def _deliver(spec: SceneSpec, picture: NDArray[np.float32]) -> NDArray[Any]:
    """Return a picture (bands, H, W) in the scene's dtype, with a nodata border where the scene has one."""
    scale, most = (REFLECTANCE, 65535) if spec.params.dtype == "uint16" else (1.0, 255)
    delivered: NDArray[Any] = np.clip(np.rint(picture * np.float32(scale)), 1, most).astype(
        spec.params.dtype
    )  # 0 is kept for nodata
    if spec.params.nodata_border > 0:
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
    scenes = plan_scenes(params)
    workers = min(len(scenes), workers or os.cpu_count() or 1)
    with (
        atomic_folder(folder) as target,
        ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool,
    ):
        (target / "labels").mkdir()
        for _ in track(
            (map if workers == 1 else pool.map)(write_scene, scenes, repeat(target)), "drawing", len(scenes)
        ):
            pass
        lines = [f"{spec.name},{spec.place.name},{spec.place.split}" for spec in scenes]
        (target / "places.csv").write_text("\n".join(["scene,place,split", *lines]) + "\n", encoding="utf-8")
    return sum(len(spec.aircraft) for spec in scenes)


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
