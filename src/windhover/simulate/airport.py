"""An invented airport: runways, taxiways, aprons, terminals, hangars, car parks, and where aircraft may stand.

All in metres from the place's origin. Draws nothing itself (see `drawing`) and knows nothing of scenes or files.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from windhover.simulate.drawing import Colour, Points, Shape, box, disc, mix, scale_colour, tree
from windhover.simulate.places import ASPHALT, CARS, WHITE, Layout, Place, lay_country

YELLOW: Colour = (206, 170, 60)  # of taxi lines


@lru_cache(maxsize=2)
def layout_of(place: Place) -> Layout:
    """Lay a place out: country first, then paving and paint, then what stands on it."""
    layout = Layout(place)
    lay_country(layout)
    layout.lay(layout.inner, layout.climate.grass, 44, pattern="mottle")
    _meadows(layout)
    _taxiways(layout)
    _runway(layout, 0.0)
    if layout.rng.random() < 0.4:
        _runway(layout, -210.0)
    _apron(layout)
    _terminal(layout)
    _landside(layout)
    sides = [_hangars, _cargo] if layout.rng.random() < 0.5 else [_cargo, _hangars]
    sides[0](layout, -1)
    sides[1](layout, 1)
    return layout


def _meadows(layout: Layout) -> None:
    rng, (low, high) = layout.rng, layout.runway_u
    for _ in range(26):  # dry and worn patches
        spot = layout.spot(rng.uniform(low - 200, high + 200), rng.uniform(-240, 240))
        patch = disc(spot, rng.uniform(25, 110), 14, rng.uniform(0.4, 1.3, 14))
        tone = mix(layout.climate.grass, layout.climate.dry, rng.uniform(0.3, 1.0))
        layout.ground.append(
            Shape((patch,), scale_colour(tone, rng.uniform(0.92, 1.08)), 44, pattern="mottle", soft=True)
        )
    for u in np.arange(low, high, rng.uniform(90, 160)):  # ditches and cable trenches
        if rng.random() < 0.35:
            layout.line(
                [(u, 40), (u + rng.uniform(-30, 30), 150)],
                scale_colour(layout.climate.grass, 0.7),
                1.2,
                layout.climate.grass,
            )
    v = layout.inner[:, 1].min() + 9
    layout.line(
        [(low - 240, v), (high + 240, v)], mix(layout.paving, layout.climate.dry, 0.3), 5, layout.climate.grass, 24
    )


def _runway(layout: Layout, v: float) -> None:
    rng, (low, high) = layout.rng, layout.runway_u
    tarmac = (
        scale_colour(ASPHALT, rng.uniform(0.7, 1.0)) if rng.random() < 0.75 else scale_colour(layout.concrete, 0.85)
    )
    layout.lay(
        [(low - 70, v - 31), (high + 70, v - 31), (high + 70, v + 31), (low - 70, v + 31)],
        scale_colour(tarmac, 1.18),
        30,
    )
    layout.lay([(low, v - 22.5), (high, v - 22.5), (high, v + 22.5), (low, v + 22.5)], tarmac, 26)
    paint = mix(WHITE, tarmac, rng.uniform(0.05, 0.2))
    for side in (-21.5, 21.5):
        layout.line([(low, v + side), (high, v + side)], paint, 0.9, tarmac)
    for u in np.arange(low + 110, high - 110, 50):
        layout.lay(box((u + 15, v), 30, 0.9), paint, 14)
    number = round(((90 - math.degrees(layout.turn)) % 360) / 10) or 36
    for end, sign, name in ((low, 1, number), (high, -1, (number + 18) % 36 or 36)):
        _threshold(layout, end, sign, v, f"{name:02d}", paint)
        for k in range(7):
            where = end + sign * (320 + 60 * k + rng.normal(0, 25))
            layout.stains.append(
                (
                    layout.en(box((where, v + rng.normal(0, 1.5)), rng.uniform(240, 420), rng.uniform(7, 14))),
                    rng.uniform(0.10, 0.22),
                )
            )
    layout.stains.append((layout.en(box(((low + high) / 2, v), high - low - 300, 9)), 0.13))
    for _ in range(int(rng.integers(2, 7))):  # patches of new surface
        u, length = rng.uniform(low, high), rng.uniform(20, 160)
        layout.lay(box((u, v + rng.choice([-11, 11])), length, 20), scale_colour(tarmac, rng.uniform(0.85, 1.12)), 26)
    for offset in (-2, 2):  # exits hold an aircraft now and then
        u = float(rng.uniform(low + 300, high - 300)) if offset < 0 else low + float(rng.uniform(60, 200))
        layout.stand(u, v, 0.0 if rng.random() < 0.7 else math.pi, 80.0, 0, "runway")


SEGMENTS = {
    "0": "abcdef",
    "1": "bc",
    "2": "abged",
    "3": "abgcd",
    "4": "fgbc",
    "5": "afgcd",
    "6": "afgedc",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
}
STROKES = {
    "a": (8.2, 0, 0.9, 3.6),
    "g": (4.5, 0, 0.9, 3.6),
    "d": (0.8, 0, 0.9, 3.6),
    "b": (6.5, -1.5, 4.2, 0.9),
    "f": (6.5, 1.5, 4.2, 0.9),
    "c": (2.5, -1.5, 4.2, 0.9),
    "e": (2.5, 1.5, 4.2, 0.9),
}


def _threshold(layout: Layout, end: float, sign: int, v: float, number: str, paint: Colour) -> None:
    """Paint a threshold: bars, number, touchdown zone and aiming point (ICAO Annex 14, chapter 5.2)."""
    for k in range(6):
        for side in (-1, 1):
            layout.lay(box((end + sign * 21, v + side * (2.7 + 3.4 * k)), 30, 1.8), paint, 14)
    for digit, shift in zip(number, (3.2, -3.2), strict=True):
        for segment in SEGMENTS[digit]:
            a, b, length, width = STROKES[segment]
            layout.lay(box((end + sign * (50 + a), v + sign * (shift + b)), length, width), paint, 14)
    layout_bars = (
        (150, 3, 22.5, 1.8),
        (300, 3, 22.5, 1.8),
        (400, 1, 60, 9.0),
        (600, 2, 22.5, 1.8),
        (750, 2, 22.5, 1.8),
        (900, 1, 22.5, 1.8),
    )
    for at, count, length, width in layout_bars:
        for side in (-1, 1):
            for k in range(count):
                layout.lay(
                    box((end + sign * (at + length / 2), v + side * (9 + width / 2 + 3.3 * k)), length, width),
                    paint,
                    14,
                )
    for k in range(5):  # chevrons before the threshold
        tip = end - sign * (8 + 12 * k)
        layout.line([(tip - sign * 16, v - 18), (tip, v), (tip - sign * 16, v + 18)], YELLOW, 0.9, (100, 100, 100))


def _bend(corner: tuple[float, float], start: tuple[float, float], stop: tuple[float, float]) -> Points:
    """Return a smooth curve from `start` to `stop` that leaves and arrives along the lines through `corner`."""
    t = np.linspace(0, 1, 12)[:, None]
    curve: Points = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(corner) + t**2 * np.array(stop)
    return curve


def _taxiways(layout: Layout) -> None:
    rng, (low, high) = layout.rng, layout.runway_u
    near, far = 172.0, 262.0
    lines = [LineString([(low + 10, near), (high - 10, near)]), LineString([(-1150, far), (1150, far)])]
    curves: list[Points] = []
    exits = np.unique(
        np.round(np.concatenate([[low + 14], np.arange(low + 420, high - 300, rng.uniform(380, 520)), [high - 14]]))
    )
    for k, u in enumerate(exits.tolist()):
        slant = (
            0.0
            if u in (exits[0], exits[-1]) or rng.random() < 0.4
            else float(rng.choice([-1, 1])) * rng.uniform(120, 240)
        )
        lines.append(LineString([(u, 0), (u + slant, near)]))
        for side in (-1, 1):
            curves.append(
                _bend((u + slant, near), (u + slant - slant * 0.35, near - 0.35 * near), (u + slant + side * 60, near))
            )
            curves.append(_bend((u, 0), (u + side * 70, 0), (u + slant * 0.4, near * 0.4)))
        if abs(u) < 1100 and k % 2 == 0:
            lines.append(LineString([(u + 90, near), (u + 90, far)]))
            curves += [
                _bend((u + 90, v), (u + 90 + side * 35, v), (u + 90, (near + far) / 2))
                for v in (near, far)
                for side in (-1, 1)
            ]
        layout.stand(
            u + slant * 0.55,
            near * 0.55,
            math.atan2(near, slant) + (math.pi if rng.random() < 0.5 else 0),
            66.0,
            0,
            "taxi",
        )
    area = shapely.union_all(
        [line.buffer(11.5, cap_style="square") for line in lines]
        + [Polygon(box((0.5 * (low + high), 0), high - low, 50))]
    )
    area = area.buffer(26).buffer(-26)
    surface = layout.paving if rng.random() < 0.6 else layout.concrete
    layout.lay_area(area.buffer(8.5), mix(surface, layout.climate.dry, 0.30), 34)
    layout.lay_area(area, surface, 24)
    for line in lines:
        layout.stains.append((layout.en(np.asarray(line.buffer(3.5, cap_style="flat").exterior.coords)), 0.10))
    for path in [np.asarray(line.coords) for line in lines] + curves:
        layout.line(path, YELLOW, 0.45, surface)
    for part in getattr(area, "geoms", [area]):  # the double edge line
        for ring in (part.exterior, *part.interiors):
            layout.line(ring.coords, mix(YELLOW, surface, 0.35), 0.3, surface)
    for v, reach in ((near, (low + 80, high - 80)), (far, (-1050, 1050))):
        for u in np.arange(reach[0], reach[1], 190):
            layout.stand(
                u + rng.uniform(-40, 40),
                v,
                0.0 if rng.random() < 0.5 else math.pi,
                80.0 if v == near else 66.0,
                0,
                "taxi",
            )


def _apron(layout: Layout) -> None:
    rng = layout.rng
    reach, top = 620.0, layout.terminal_v + 12
    outline = [(-reach, 250), (reach, 250), (reach, top), (-reach, top)]
    layout.lay(outline, layout.concrete, 26)
    for _ in range(70):  # slabs renewed at different times
        a, b = rng.uniform(20, 95, 2)
        u, v = rng.uniform(-reach + 50, reach - 50), rng.uniform(300, top - 50)
        tone = scale_colour(layout.concrete, rng.uniform(0.86, 1.08))
        layout.lay(box((u, v), a, b), mix(tone, layout.paving, 0.7 if rng.random() < 0.12 else 0.0), 26)
    joint = scale_colour(layout.concrete, 0.86)
    for u in np.arange(-reach, reach, 15):
        layout.line([(u, 250), (u, top)], joint, 0.25, layout.concrete)
    for v in np.arange(250, top, 15):
        layout.line([(-reach, v), (reach, v)], joint, 0.25, layout.concrete)
    layout.line([(-1150, 262), (1150, 262)], YELLOW, 0.5, layout.concrete)
    layout.line([(-reach, 284), (reach, 284)], mix(WHITE, layout.concrete, 0.3), 0.3, layout.concrete)
    for _ in range(60):
        spot = layout.spot(rng.uniform(-reach, reach), rng.uniform(265, top))
        layout.stains.append((disc(spot, rng.uniform(1, 9), 10, rng.uniform(0.4, 1.4, 10)), rng.uniform(0.1, 0.45)))


def _gate(layout: Layout, u: float, v: float, heading: float, span_m: float, row: int, bridge: bool) -> None:
    """Add a stand whose nose stops at (u, v): lead-in line, edges, oil, a jet bridge and vehicles around it."""
    rng = layout.rng
    ahead, left = np.array([math.cos(heading), math.sin(heading)]), np.array([-math.sin(heading), math.cos(heading)])
    nose, deep = np.array([u, v]), 1.12 * span_m + 6
    layout.line([nose + 2 * ahead, nose - (deep + 8) * ahead], YELLOW, 0.4, layout.concrete)
    for side in (-1, 1):
        edge = nose + side * (span_m / 2 + 2.2) * left
        colour = mix((186, 60, 50), WHITE, 0.3 if rng.random() < 0.5 else 1.0)
        layout.line(
            [edge + 4 * ahead, edge - 0.8 * deep * ahead, edge - deep * ahead - side * 0.16 * span_m * left],
            colour,
            0.3,
            layout.concrete,
        )
    for back, size in ((0.12, 3.0), (0.42, 6.0), (0.5, 9.0), (0.3, 4.0)):
        spot = layout.en([nose - back * deep * ahead + rng.normal(0, 1.6) * left])[0]
        layout.stains.append(
            (
                disc((spot[0], spot[1]), size * rng.uniform(0.6, 1.2), 9, rng.uniform(0.5, 1.4, 9)),
                rng.uniform(0.15, 0.5),
            )
        )
    root = nose + 7.5 * ahead + rng.uniform(0.28, 0.38) * span_m * left
    layout.stand(u, v, heading, span_m, row, "gate", (root[0], root[1]) if bridge else None)
    for _ in range(int(rng.integers(2, 6))):  # vehicles keep to the edges of the stand
        aside = rng.choice([-1, 1]) * (span_m / 2 + rng.uniform(-0.4, 1.4))
        spot = nose + aside * left - rng.uniform(0.05, 0.5) * deep * ahead
        _vehicle(layout, float(spot[0]), float(spot[1]), heading + math.pi)


def _vehicle(layout: Layout, u: float, v: float, angle: float) -> None:
    """Add a truck, a tug with its string of carts, a bus or a pile of containers."""
    rng = layout.rng
    kind = rng.random()
    if kind < 0.35:
        for k in range(int(rng.integers(3, 6))):
            a = u + (k * 4.1) * math.cos(angle), v + (k * 4.1) * math.sin(angle)
            layout.block(
                a[0],
                a[1],
                3.2,
                1.7,
                (226, 190, 70) if k == 0 else scale_colour((150, 152, 156), rng.uniform(0.7, 1.4)),
                1.6,
                angle,
            )
    elif kind < 0.75:
        colour = CARS[int(rng.integers(len(CARS)))] if rng.random() < 0.3 else (230, 230, 228)
        layout.block(u, v, rng.uniform(6, 9), 2.6, colour, 3.2, angle)
    elif kind < 0.85:
        layout.block(u, v, 13.5, 3.0, (222, 224, 222), 3.2, angle)
    else:
        for k in range(int(rng.integers(2, 7))):
            layout.block(
                u + 3.6 * (k % 3),
                v + 2.4 * (k // 3),
                3.2,
                1.6,
                scale_colour((176, 180, 184), rng.uniform(0.6, 1.3)),
                1.6,
                angle,
            )


def _terminal(layout: Layout) -> None:
    rng, style, v = layout.rng, layout.style, layout.terminal_v
    colour = scale_colour(mix((226, 226, 222), (170, 172, 176), rng.random()), rng.uniform(0.88, 1.06))
    length = rng.uniform(430, 620)
    if style == "linear":
        wide = rng.random() < 0.4
        pitch, span, row = (74.0, 66.0, layout.new_row()) if wide else (42.0, 37.0, layout.new_row())
        for u in np.arange(-length / 2 + pitch / 2, length / 2 - pitch / 2, pitch):
            _gate(layout, u, v - 14, math.pi / 2, span, row, True)
    else:
        count = 3 if style == "piers" else 4
        for k in range(count):
            _pier(layout, (k - (count - 1) / 2) * (210 if style == "piers" else 165), v, colour, style == "rounds")
    layout.building(0, v + 34, length, 68, 17, colour, 16)
    for side in (-1, 1):
        layout.building(side * length * 0.3, v + 40, length * 0.22, 38, 21, scale_colour(colour, 1.06), 9)
    tower = layout.spot(length / 2 + 60, v + 30)
    layout.objects.append(Shape((disc(tower, 5.5, 14),), (196, 196, 192), 8, 46))
    layout.objects.append(Shape((disc(tower, 3.5, 12),), (70, 82, 92), 8, 3, 46, under=(150, 150, 150)))


def _pier(layout: Layout, u: float, v: float, colour: Colour, rounded: bool) -> None:
    """Add a pier with its stands, which ends in a round head where `rounded`."""
    rng = layout.rng
    length, width = (150.0, 16.0) if rounded else (235.0, 30.0)
    layout.building(u, v - length / 2, width, length, 11, scale_colour(colour, 0.95), 10)
    if rounded:
        head = v - length
        tip = layout.spot(u, head)
        layout.objects.append(Shape((disc(tip, 27, 28),), colour, 12, 13))
        for radius, tone in ((21, 0.93), (14, 1.04), (6, 0.8)):
            layout.objects.append(Shape((disc(tip, radius, 24),), scale_colour(colour, tone), 12, base_m=13))
        row = layout.new_row()
        for turn in np.radians((-165, -120, -75, -30) if rng.random() < 0.5 else (-150, -105, -60, -15)):
            _gate(layout, u + 40 * math.cos(turn), head + 40 * math.sin(turn), turn + math.pi, 37.0, row, True)
        return
    for side in (-1, 1):
        row = layout.new_row()
        for along in np.arange(v - length + 20, v - 70, 42.0):
            _gate(layout, u + side * (width / 2 + 13), along, math.pi if side > 0 else 0.0, 37.0, row, True)


def _landside(layout: Layout) -> None:
    rng, v = layout.rng, layout.terminal_v + 82
    road = scale_colour(ASPHALT, rng.uniform(0.85, 1.1))
    layout.lay(box((0, v + 190), 1180, 380), mix(layout.climate.grass, layout.concrete, 0.25), 50, pattern="mottle")
    for at, width in ((v + 8, 22.0), (v + 150, 10.0), (v + 320, 13.0)):
        layout.line([(-590, at), (590, at)], road, width, road, 22)
        layout.line([(-590, at), (590, at)], mix(WHITE, road, 0.3), 0.3, road)
        for u in np.arange(-580, 580, 14.0):
            if rng.random() < 0.35:
                side = float(rng.choice([-1, 1]))
                _car(layout, u + rng.uniform(0, 7), at + side * width * 0.27, 0.0)
    for u in (-588, -200, 210, 588):
        layout.line([(u, v), (u, v + 380)], road, 9, road, 22)
    for low, high in ((-570, -215), (-185, 195), (225, 570)):
        for bottom, top in ((v + 30, v + 136), (v + 165, v + 305)):
            _landside_block(layout, (low, bottom), (high, top))


def _landside_block(layout: Layout, low: tuple[float, float], high: tuple[float, float]) -> None:
    rng = layout.rng
    middle, size = ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2), (high[0] - low[0], high[1] - low[1])
    kind = rng.random()
    if kind < 0.55:
        _car_park(layout, low, high)
    elif kind < 0.75:  # offices or a hotel among lawns and trees
        _scatter_trees(layout, low, high, 60)
        layout.building(
            middle[0] - 0.22 * size[0],
            middle[1],
            0.38 * size[0],
            0.4 * size[1],
            24,
            scale_colour((188, 186, 180), rng.uniform(0.7, 1.2)),
        )
        layout.building(
            middle[0] + 0.25 * size[0],
            middle[1],
            0.2 * size[0],
            0.6 * size[1],
            14,
            scale_colour((160, 120, 100), rng.uniform(0.8, 1.2)),
        )
    elif kind < 0.9:  # a car park of several storeys
        layout.building(middle[0], middle[1], 0.8 * size[0], 0.8 * size[1], 12, (170, 168, 162), 32)
        for u in np.arange(low[0] + 0.14 * size[0], high[0] - 0.14 * size[0], 2.9):
            for v in np.arange(low[1] + 0.16 * size[1], high[1] - 0.16 * size[1], 16.0):
                if rng.random() < 0.5:
                    _car(layout, u, v, math.pi / 2, 12.0)
    else:
        _scatter_trees(layout, low, high, 150)


def _car(layout: Layout, u: float, v: float, angle: float, base_m: float = 0.0) -> None:
    colour = CARS[int(layout.rng.integers(len(CARS)))]
    outline = box(layout.spot(u, v), layout.rng.uniform(4.1, 4.9), 1.85, angle + layout.turn)
    layout.objects.append(Shape((outline,), colour, 8, 1.5, base_m, under=(150, 148, 144)))


def _car_park(layout: Layout, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Add rows of marked stalls with cars and a few trees."""
    rng, full = layout.rng, layout.rng.uniform(0.35, 0.9)
    surface = scale_colour(ASPHALT, rng.uniform(0.85, 1.3))
    layout.lay([low, (high[0], low[1]), high, (low[0], high[1])], surface, 22)
    for v in np.arange(low[1] + 8, high[1] - 8, 16.5):
        layout.line([(low[0] + 5, v + 2.6), (high[0] - 5, v + 2.6)], mix(WHITE, surface, 0.3), 0.2, surface)
        for u in np.arange(low[0] + 8, high[0] - 8, 2.75):
            for shift in (0.0, 5.2):
                if rng.random() < full:
                    _car(layout, u, v + shift + rng.normal(0, 0.25), math.pi / 2)
        if rng.random() < 0.5:
            for u in np.arange(low[0] + 10, high[0] - 10, rng.uniform(18, 40)):
                layout.objects.append(tree(rng, layout.spot(u, v + 2.6), rng.uniform(1.6, 3.0), layout.climate.trees))


def _scatter_trees(layout: Layout, low: tuple[float, float], high: tuple[float, float], count: int) -> None:
    for _ in range(count):
        spot = layout.spot(layout.rng.uniform(low[0], high[0]), layout.rng.uniform(low[1], high[1]))
        layout.objects.append(tree(layout.rng, spot, layout.rng.uniform(2.0, 5.0), layout.climate.trees))


def _hangars(layout: Layout, side: int) -> None:
    """Add remote stands, hangars behind them, and small aircraft's tie-downs."""
    rng, middle = layout.rng, side * 880.0
    layout.lay(box((middle, 420), 480, 340), scale_colour(layout.concrete, 0.95), 26)
    for u in np.arange(middle - 240, middle + 240, 20):
        layout.line([(u, 250), (u, 590)], scale_colour(layout.concrete, 0.84), 0.25, layout.concrete)
    pitch, span = (74.0, 66.0) if rng.random() < 0.35 else (41.0, 36.5)
    row = layout.new_row()
    for u in np.arange(middle - 230 + pitch / 2, middle + 230 - pitch / 2, pitch):
        _gate(
            layout, u, 378, math.pi / 2 if rng.random() < 0.85 else -math.pi / 2, span, row, False
        ) if pitch > 50 else _gate(layout, u, 352, math.pi / 2, span, row, False)
    row = layout.new_row()
    for u in np.arange(middle - 215, middle + 215, 33.0):
        _gate(layout, u, 428 + (30 if pitch > 50 else 0), math.pi / 2, 29.5, row, False)
    for k, u in enumerate(np.arange(middle - 180, middle + 181, 120)):
        colour = scale_colour(
            ((226, 226, 222), (150, 156, 162), (206, 196, 176), (96, 116, 142))[int(rng.integers(4))],
            rng.uniform(0.9, 1.08),
        )
        layout.building(u, 640, rng.uniform(80, 105), rng.uniform(70, 95), 20, colour, 8)
        layout.lay(box((u, 578), 90, 30), scale_colour(layout.concrete, 1.04), 24)
        if k % 2:
            _vehicle(layout, u + 20, 580, 0.3)
    row = layout.new_row()
    layout.lay(box((side * 1240, 330), 200, 110), layout.paving, 24)
    for v in (300.0, 340.0, 375.0):
        for u in np.arange(side * 1240 - 85, side * 1240 + 86, 21.0):
            layout.line([(u, v), (u, v - 15)], YELLOW, 0.3, layout.paving)
            layout.stand(u, v, math.pi / 2 if v != 340 else -math.pi / 2, 18.2, row, "small")


def _cargo(layout: Layout, side: int) -> None:
    """Add warehouses with lorries at their docks, big stands, containers, tanks, a cross-shaped hall and a helipad."""
    rng, middle = layout.rng, side * 880.0
    layout.lay(box((middle, 400), 480, 300), scale_colour(layout.concrete, 1.03), 26)
    for u in np.arange(middle - 240, middle + 240, 15):
        layout.line([(u, 250), (u, 550)], scale_colour(layout.concrete, 0.88), 0.25, layout.concrete)
    row = layout.new_row()
    for u in np.arange(middle - 190, middle + 191, 88.0):
        _gate(layout, u, 395, math.pi / 2, 80.0, row, False)
    for u in np.arange(middle - 170, middle + 171, 170):
        layout.building(u, 500, 150, 60, 14, scale_colour((228, 228, 224), rng.uniform(0.75, 1.04)), 10)
        layout.lay(box((u, 556), 160, 50), scale_colour(ASPHALT, 1.05), 24)
        for dock in np.arange(u - 72, u + 72, 4.2):
            if rng.random() < 0.55:
                layout.block(
                    dock, 538.5, 13.0, 2.6, scale_colour((232, 232, 230), rng.uniform(0.6, 1.04)), 3.8, math.pi / 2
                )
    for _ in range(50):
        u, v = middle + rng.uniform(-230, 230), rng.uniform(410, 460)
        layout.block(
            u,
            v,
            3.2,
            2.4,
            scale_colour((190, 194, 198), rng.uniform(0.6, 1.25)),
            2.0,
            float(rng.choice([0.0, math.pi / 2])),
        )
    for k in range(6):
        tank = layout.spot(middle - side * 210 + 34 * (k % 3), 640 + 34 * (k // 3))
        layout.objects.append(Shape((disc(tank, 12, 22),), (226, 226, 222), 10, 11))
        layout.objects.append(Shape((disc(tank, 2, 8),), (150, 150, 150), 10, 1.0, 11, under=(210, 210, 210)))
    arm = rng.uniform(30, 44)  # a white hall with two wings: a cross, no aircraft
    for turn, length, width in ((0.4, arm, 7.0), (0.4 + math.pi / 2, 0.8 * arm, 6.0)):
        hall = box(layout.spot(middle + side * 120, 660), length, width, layout.turn + turn)
        layout.objects.append(Shape((hall,), (228, 228, 224), 10, 6.0))
    pad = layout.spot(middle + side * 30, 640)
    layout.ground.append(Shape((disc(pad, 13, 24),), scale_colour(ASPHALT, 1.1), 20))
    for offset, length, width in ((-3.0, 9.0, 1.2), (3.0, 9.0, 1.2), (0.0, 1.2, 6.0)):
        shift = (pad[0] - offset * math.sin(layout.turn), pad[1] + offset * math.cos(layout.turn))
        layout.ground.append(Shape((box(shift, length, width, layout.turn),), WHITE, 14))
