"""An invented airport, laid out once in metres from its origin: paving, paint, buildings, and
stands for aircraft.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from windhover.simulate.outlines import (
    Points,
    Shape,
    blob,
    box,
    disc,
    join,
    mix,
    palette,
    rotate,
    scale_color,
    smooth,
)
from windhover.simulate.parcels import ASPHALT, CONCRETE, HALLS, WHITE, YELLOW, Plot
from windhover.simulate.sites import Place

# what stands about a stand: length, width, height (m), how many one behind the other, colours
VEHICLES = (
    (3.2, 1.7, 1.6, 4, "e2be46 969898 c8cacc 6e7072"),
    (8.0, 2.6, 3.2, 1, "e6e6e4 e6e6e4 e6e6e4 8c2624 2e4270"),
    (13.5, 3.0, 3.2, 1, "dee0de"),
)
# of a runway's threshold: from its end, first bar aside, bars a side, pitch, length, width (m);
# ICAO Annex 14, 5.2
MARKINGS = (
    *((6, 2.7, 6, 3.4, 30, 1.8), (150, 9.9, 3, 3.3, 22.5, 1.8), (300, 9.9, 3, 3.3, 22.5, 1.8)),
    *((400, 13.5, 1, 0, 60, 9.0), (600, 9.9, 2, 3.3, 22.5, 1.8), (750, 9.9, 2, 3.3, 22.5, 1.8)),
)


class Airport(Plot):
    """An airport's ground, buildings and stands. u runs along the runway, v away from it towards
    the terminal.
    """

    def __init__(self, place: Place) -> None:
        """Lay the airport out: paving and paint, then what stands on it."""
        super().__init__(place.rng(1), place.climate, middle_v=350.0)
        rng, self.place = self.rng, place
        self.low, self.high = low, high = (
            -rng.uniform(650, 1400),
            rng.uniform(1300, 2200),
        )  # ends of the runway
        self.paving = scale_color(ASPHALT, rng.uniform(0.75, 1.2))
        self.concrete = mix(scale_color(CONCRETE, rng.uniform(0.82, 1.12)), self.grass, 0.12)
        self.piers = int(rng.choice([0, 2, 3, 3]))
        self.terminal_v = 592.0 if self.piers else 427.0
        west, south, east, north = min(low, -1110) - 260, -280.0, high + 260, self.terminal_v + 470
        self.fence = box(((west + east) / 2, (south + north) / 2), east - west, north - south)
        self.area(self.fence, self.grass, 44, pattern="mottle")
        for spot in rng.uniform((low, -240), (high, 240), (26, 2)):  # dry and worn patches
            tone = scale_color(
                mix(self.grass, self.dry, rng.uniform(0.3, 1.0)), rng.uniform(0.92, 1.08)
            )
            self.area(blob(rng, spot, rng.uniform(25, 110)), tone, 44, pattern="mottle", soft=True)
        for u in np.arange(low, high, rng.uniform(200, 400)):  # ditches
            self.line(
                [(u, 40), (u + rng.uniform(-30, 30), 150)],
                scale_color(self.grass, 0.7),
                1.2,
                self.grass,
            )
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


airport_of = lru_cache(maxsize=2)(
    Airport
)  # laid out once for the scenes of a place, which follow one another


def _runway(site: Airport, v: float) -> None:
    """Lay a runway with its shoulders, markings, rubber and patches."""
    rng, low, high = site.rng, site.low, site.high
    tarmac = (
        scale_color(ASPHALT, rng.uniform(0.7, 1.0))
        if rng.random() < 0.75
        else scale_color(site.concrete, 0.85)
    )
    middle, length, paint = (
        ((low + high) / 2, v),
        high - low,
        mix(WHITE, tarmac, rng.uniform(0.05, 0.2)),
    )
    site.area(box(middle, length + 140, 62), scale_color(tarmac, 1.18), 30)
    site.area(box(middle, length, 45), tarmac, 26)
    for u in rng.uniform(low + 160, high - 160, 4):  # patches of new surface
        patch = box((u, v + rng.choice([-11, 11])), rng.uniform(20, 160), 20)
        site.area(patch, scale_color(tarmac, rng.uniform(0.85, 1.12)), 26)
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
            site.line(
                [(tip - sign * 16, v - 18), (tip, v), (tip - sign * 16, v + 18)],
                YELLOW,
                0.9,
                tarmac,
            )
        for at in rng.uniform(300, 700, 7):
            rubber = box(
                (end + sign * at, v + rng.normal(0, 1.5)), rng.uniform(240, 420), rng.uniform(7, 14)
            )
            site.soil(rubber, rng.uniform(0.10, 0.22))
    site.soil(box(middle, length - 300, 9), 0.13)
    for u in (rng.uniform(low + 300, high - 300), low + rng.uniform(60, 200)):
        site.stand(np.array([u, v]), float(rng.choice([0, math.pi])), 80.0)


def _taxiways(site: Airport) -> None:
    """Lay two taxiways along the runway, and the exits and links between them, with lines, edges
    and stands.
    """
    rng, low, high = site.rng, site.low, site.high
    near, far = 172.0, 262.0
    paths = [np.array([(low + 10, near), (high - 10, near)]), np.array([(-1150, far), (1150, far)])]
    curves = []
    for k, u in enumerate(
        [low + 14, *np.arange(low + 420, high - 300, rng.uniform(380, 520)), high - 14]
    ):
        slant = (
            rng.choice([-1, 1]) * rng.uniform(120, 240)
            if low + 14 < u < high - 14 and rng.random() < 0.6
            else 0.0
        )
        paths.append(np.array([(u, 0), (u + slant, near)]))
        if abs(u) < 1100 and k % 2 == 0:
            paths.append(np.array([(u + 90, near), (u + 90, far)]))
        curves += [
            smooth([(u - s, 0), (u, 0), (u + slant, near), (u + slant + s, near)])
            for s in (-80, 80)
        ]
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


def _slabs(
    site: Airport, low: tuple[float, float], high: tuple[float, float], renewed: int
) -> None:
    """Lay concrete in slabs with joints, some renewed at another time, and oil on it."""
    rng, joint = site.rng, scale_color(site.concrete, 0.86)
    site.area(box(np.add(low, high) / 2, *np.subtract(high, low)), site.concrete, 26)
    for u, v in rng.uniform(np.add(low, 50), np.subtract(high, 50), (renewed, 2)):
        tone = scale_color(site.concrete, rng.uniform(0.86, 1.08))
        site.area(
            box((u, v), *rng.uniform(20, 95, 2)),
            mix(tone, site.paving, 0.7 if rng.random() < 0.12 else 0),
            26,
        )
        site.soil(blob(rng, (u + 30, v), rng.uniform(1, 9)), rng.uniform(0.1, 0.45))
    for u in np.arange(low[0], high[0], 15):
        site.line([(u, low[1]), (u, high[1])], joint, 0.25, site.concrete)
    for v in np.arange(low[1], high[1], 15):
        site.line([(low[0], v), (high[0], v)], joint, 0.25, site.concrete)


def _gates(site: Airport, noses: Points, heading: float, span_m: float, bridge: bool) -> None:
    """Add a row of stands: lead-in lines, edges, oil, jet bridges, and vehicles that keep to the
    edges.
    """
    rng, deep, half = site.rng, 1.12 * span_m + 6, span_m / 2
    site.rows += 1
    for nose in noses:
        at = partial(
            rotate, angle=heading, to=nose
        )  # from metres ahead and to the left of the nose
        site.line(at([(2, 0), (-deep - 8, 0)]), YELLOW, 0.4, site.concrete)
        paint = mix((186, 60, 50), WHITE, float(rng.choice([0.3, 1.0])))
        for edge in (-half - 2.2, half + 2.2):
            site.line(
                at([(4, edge), (-0.8 * deep, edge), (-deep, 0.7 * edge)]), paint, 0.3, site.concrete
            )
        for back, size in ((0.12, 3.0), (0.42, 6.0), (0.5, 9.0), (0.3, 4.0)):
            site.soil(
                blob(rng, at((-back * deep, rng.normal(0, 1.6))), size), rng.uniform(0.15, 0.5)
            )
        site.stand(nose, heading, span_m, site.rows)
        for _ in range(rng.integers(2, 6)):
            length, width, height, count, codes = VEHICLES[rng.integers(len(VEHICLES))]
            first, aside = (
                rng.uniform(0.05, 0.5) * -deep,
                rng.choice([-1, 1]) * (half + rng.uniform(-0.4, 1.4)),
            )
            train = at(join(first - np.arange(count) * (length + 0.9), aside))
            site.put(train, (length, width, height), palette(codes), heading)
        if bridge:  # at the door, or drawn back
            root, door = (
                np.array([7.5, 0.33 * span_m]),
                np.array([(-6, 3), (-9.5, 0.33 * span_m)][rng.integers(2)]),
            )
            (ahead, left), middle = door - root, (door + root) / 2
            tunnel = box(middle, math.hypot(ahead, left), 3.0, math.atan2(left, ahead))
            tone = scale_color((200, 200, 200), rng.uniform(0.85, 1.1))
            for part in (
                disc(root, 3.0),
                box((12.0, root[1]), 9.0, 3.2),
                tunnel,
                box(door, 3.6, 4.4),
            ):
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
    color = scale_color(
        mix((226, 226, 222), (170, 172, 176), rng.random()), rng.uniform(0.88, 1.06)
    )
    length = rng.uniform(470, 620)
    if not site.piers:
        pitch, span = (74.0, 66.0) if rng.random() < 0.4 else (42.0, 37.0)
        noses = join(np.arange(-length / 2 + pitch / 2, length / 2 - pitch / 2, pitch), v - 14)
        _gates(site, noses, math.pi / 2, span, True)
    for u in 210 * (np.arange(site.piers) - (site.piers - 1) / 2):
        site.build((u, v - 117), (30, 235, 11), scale_color(color, 0.95), 10)
        for side, heading in ((28, math.pi), (-28, 0.0)):
            _gates(site, join(u + side, np.arange(v - 215, v - 70, 42.0)), heading, 37.0, True)
    site.build((0, v + 34), (length, 68, 17), color, 16)
    for u in (-0.3 * length, 0.3 * length):
        site.build((u, v + 40), (length * 0.22, 38, 21), scale_color(color, 1.06), 9)
    tower = site.en((length / 2 + 60, v + 30))
    site.objects.append(Shape((disc(tower, 5.5),), (196, 196, 192), 8, 46))
    site.objects.append(Shape((disc(tower, 3.5),), (70, 82, 92), 8, 3, 46, under=(150, 150, 150)))


def _landside(site: Airport) -> None:
    """Lay out roads, car parks, lawns with trees and parking houses behind the terminal."""
    rng, v = site.rng, site.terminal_v + 82
    road = scale_color(ASPHALT, rng.uniform(0.85, 1.1))
    site.area(
        box((0, v + 190), 1180, 380), mix(site.grass, site.concrete, 0.25), 50, pattern="mottle"
    )
    for u in (-588, -200, 210, 588):
        site.road((u, v), (u, v + 380), 9, road)
    for at, width in ((v + 8, 22), (v + 150, 10), (v + 320, 13)):
        site.road((-590, at), (590, at), width, road)
    for (left, right), (bottom, top) in product(
        ((-570, -215), (-185, 195), (225, 570)), ((30, 136), (165, 305))
    ):
        low, high, kind = np.array([left, v + bottom]), np.array([right, v + top]), rng.random()
        if kind < 0.55:
            site.car_park(low, high)
            continue
        if kind < 0.85:
            middle, size = (low + high) / 2, (high - low) * (0.6, 0.7)
            site.build(
                middle,
                (size[0], size[1], 12),
                scale_color((172, 168, 162), rng.uniform(0.8, 1.2)),
                32,
            )
            parked = site.spots(middle - 0.44 * size, middle + 0.44 * size, (2.9, 16), 0.4)
            site.cars(parked, math.pi / 2, 12.0)
            low[1] += 0.86 * (top - bottom)
        site.plant(site.spots(low, high, (12, 12), 0.5, 5.0))


def _hangars(site: Airport, side: int) -> None:
    """Lay remote stands, hangars or a cargo hall with lorries behind them, and a decoy."""
    rng, middle, big = site.rng, side * 880.0, site.rng.random() < 0.4
    _slabs(site, (middle - 240, 250), (middle + 240, 590), 12)
    pitch, span, v = (78.0, 66.0, 378.0) if big else (41.0, 36.5, 352.0)
    _gates(
        site,
        join(np.arange(middle - 230 + pitch / 2, middle + 200, pitch), v),
        math.pi / 2,
        span,
        False,
    )
    _gates(
        site, join(np.arange(middle - 215, middle + 215, 33.0), v + 79), math.pi / 2, 29.5, False
    )
    for u in np.arange(middle - 180, middle + 181, 120):
        color = scale_color(HALLS[0 if big else rng.integers(4)], rng.uniform(0.9, 1.06))
        site.build((u, 560), (rng.uniform(80, 105), rng.uniform(70, 95), 18), color, 8)
        site.area(box((u, 630), 118, 44), scale_color(ASPHALT, 1.05))
        site.put(
            site.spots((u - 42, 618), (u + 43, 619), (4.2, 2), 0.5),
            (13, 2.6, 3.8),
            HALLS[:3],
            math.pi / 2,
        )
    for turn, length in (
        (0.4, 38),
        (0.4 + math.pi / 2, 30),
    ):  # a white hall with two wings: a cross, no aircraft
        site.put((middle + side * 170, 720), (length, 6.5, 6.0), HALLS[:1], turn)
