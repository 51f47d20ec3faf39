"""An invented airport, laid out once: paving, markings, buildings, and stands for aircraft.

Coordinates are metres: u along the runway, v away from it towards the terminal.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike
from shapely.geometry import LineString, Polygon

from windhover.simulate.landscape import (
    ASPHALT,
    CONCRETE,
    HALL_COLORS,
    WHITE,
    YELLOW,
    Landscape,
)
from windhover.simulate.places import Place
from windhover.simulate.shapes import (
    Color,
    Points,
    Shape,
    Size,
    circle,
    irregular_circle,
    mix_colors,
    parse_colors,
    points_from_xy,
    rectangle,
    rotate,
    scale_color,
    smooth_line,
)

NEAR_TAXIWAY_V = 172.0
FAR_TAXIWAY_V = 262.0
FAR_TAXIWAY_END_U = 1150
SLAB_M = 15  # side of a concrete slab


class Vehicle(NamedTuple):
    """A kind of vehicle around aircraft; of some, several stand one behind the other."""

    size_m: Size
    n_in_train: int
    colors: tuple[Color, ...]


VEHICLES = (
    Vehicle((3.2, 1.7, 1.6), 4, parse_colors("e2be46 969898 c8cacc 6e7072")),
    Vehicle((8.0, 2.6, 3.2), 1, parse_colors("e6e6e4 e6e6e4 e6e6e4 8c2624 2e4270")),
    Vehicle((13.5, 3.0, 3.2), 1, parse_colors("dee0de")),
)


class Marking(NamedTuple):
    """Bars on both sides of a runway's middle line (ICAO Annex 14, 5.2), metres."""

    from_end: float
    from_middle: float  # of the first bar
    bars_per_side: int
    spacing: float
    length: float
    width: float


# in the order of the fields of `Marking`
_BARS = (
    (6, 2.7, 6, 3.4, 30, 1.8),
    (150, 9.9, 3, 3.3, 22.5, 1.8),
    (300, 9.9, 3, 3.3, 22.5, 1.8),
    (400, 13.5, 1, 0, 60, 9.0),
    (600, 9.9, 2, 3.3, 22.5, 1.8),
    (750, 9.9, 2, 3.3, 22.5, 1.8),
)
MARKINGS = tuple(Marking(*bars) for bars in _BARS)


class Airport(Landscape):
    """An airport's ground, buildings and stands.

    Attributes:
        place: where it is.
        low_u: first end of the runway.
        high_u: other end of the runway.
        paving: color of asphalt.
        concrete: color of concrete.
        n_piers: of the terminal.
        terminal_v: front of the terminal.
        fence: corners (4, 2) of its ground.
    """

    def __init__(self, place: Place) -> None:
        """Build the layout: paving and markings, then what stands on it."""
        super().__init__(place.rng(1), place.climate, center_v=350.0)
        rng = self.rng
        self.place = place
        self.low_u: float = -rng.uniform(650, 1400)
        self.high_u: float = rng.uniform(1300, 2200)
        self.paving = scale_color(ASPHALT, rng.uniform(0.75, 1.2))
        concrete = scale_color(CONCRETE, rng.uniform(0.82, 1.12))
        self.concrete = mix_colors(concrete, self.climate.grass, 0.12)
        self.n_piers = int(rng.choice([0, 2, 3, 3]))
        self.terminal_v = 592.0 if self.n_piers else 427.0
        self.fence = self._fence()
        _add_grassland(self)
        _add_taxiways(self)
        runways_v = (0.0, -210.0)[: rng.choice([1, 1, 2])]
        for v in runways_v:
            _add_runway(self, v)
        _add_slabs(self, (-620, 250), (620, self.terminal_v + 12), n_renewed=65)
        apron_line = [(-FAR_TAXIWAY_END_U, 262), (FAR_TAXIWAY_END_U, 262)]
        self.add_line(apron_line, YELLOW, 0.5, background=self.concrete)
        _add_light_aircraft_stands(self)
        _add_terminal(self)
        _add_landside(self)
        for side in (-1, 1):
            _add_hangars(self, side)

    def _fence(self) -> Points:
        west = min(self.low_u, -1110) - 260
        east = self.high_u + 260
        south = -280.0
        north = self.terminal_v + 470
        center = ((west + east) / 2, (south + north) / 2)
        return rectangle(center, east - west, north - south)


@lru_cache(maxsize=2)
def airport_at(place: Place) -> Airport:
    """Return the airport of a place, laid out once for its scenes, which follow one another."""
    return Airport(place)


def _add_grassland(airport: Airport) -> None:
    """Add grass with dry and worn patches, and ditches."""
    rng = airport.rng
    grass = airport.climate.grass
    airport.add_area(airport.fence, grass, 44, pattern="mottle")
    for center in rng.uniform((airport.low_u, -240), (airport.high_u, 240), (26, 2)):
        dry_color = mix_colors(grass, airport.climate.dry_grass, rng.uniform(0.3, 1.0))
        color = scale_color(dry_color, rng.uniform(0.92, 1.08))
        outline = irregular_circle(rng, center, rng.uniform(25, 110))
        airport.add_area(outline, color, 44, pattern="mottle", soft=True)
    for u in np.arange(airport.low_u, airport.high_u, rng.uniform(200, 400)):
        ditch = [(u, 40), (u + rng.uniform(-30, 30), 150)]
        airport.add_line(ditch, scale_color(grass, 0.7), 1.2, background=grass)


def _add_runway(airport: Airport, v: float) -> None:
    """Add a runway with its shoulders, markings, rubber and patches."""
    rng = airport.rng
    low = airport.low_u
    high = airport.high_u
    if rng.random() < 0.75:
        surface = scale_color(ASPHALT, rng.uniform(0.7, 1.0))
    else:
        surface = scale_color(airport.concrete, 0.85)
    middle = ((low + high) / 2, v)
    length = high - low
    marking_color = mix_colors(WHITE, surface, rng.uniform(0.05, 0.2))
    airport.add_area(rectangle(middle, length + 140, 62), scale_color(surface, 1.18), 30)
    airport.add_area(rectangle(middle, length, 45), surface, 26)
    for u in rng.uniform(low + 160, high - 160, 4):  # patches of new surface
        center = (u, v + rng.choice([-11, 11]))
        patch = rectangle(center, rng.uniform(20, 160), 20)
        airport.add_area(patch, scale_color(surface, rng.uniform(0.85, 1.12)), 26)
    for side in (-21.5, 21.5):
        edge = [(low, v + side), (high, v + side)]
        airport.add_line(edge, marking_color, 0.9, background=surface)
    for u in np.arange(low + 125, high - 95, 50):
        airport.add_area(rectangle((u, v), 30, 0.9), marking_color, 14)
    for end_u, direction in ((low, 1), (high, -1)):
        _add_threshold(airport, (end_u, v), direction, marking_color=marking_color, surface=surface)
    airport.add_stain(rectangle(middle, length - 300, 9), 0.13)
    for u in (rng.uniform(low + 300, high - 300), low + rng.uniform(60, 200)):
        airport.add_stand(np.array([u, v]), float(rng.choice([0, math.pi])), 80.0)


def _add_threshold(
    airport: Airport,
    end: tuple[float, float],
    direction: int,
    *,
    marking_color: Color,
    surface: Color,
) -> None:
    """Add the markings of one end of a runway, chevrons before it and rubber behind it.

    Args:
        airport: to be added to.
        end: u, v of the runway's end.
        direction: 1 or -1, of the runway from this end along u.
        marking_color: of the bars.
        surface: color of the runway.
    """
    rng = airport.rng
    end_u, v = end
    for marking in MARKINGS:
        u = end_u + direction * (marking.from_end + marking.length / 2)
        for number, side in product(range(marking.bars_per_side), (-1, 1)):
            center = (u, v + side * (marking.from_middle + marking.spacing * number))
            bar = rectangle(center, marking.length, marking.width)
            airport.add_area(bar, marking_color, 14)
    for tip_u in end_u - direction * np.arange(8, 60, 12):
        back_u = tip_u - direction * 16
        chevron = [(back_u, v - 18), (tip_u, v), (back_u, v + 18)]
        airport.add_line(chevron, YELLOW, 0.9, background=surface)
    for distance in rng.uniform(300, 700, 7):
        center = (end_u + direction * distance, v + rng.normal(0, 1.5))
        rubber = rectangle(center, rng.uniform(240, 420), rng.uniform(7, 14))
        airport.add_stain(rubber, rng.uniform(0.10, 0.22))


class TaxiwayPaths(NamedTuple):
    """Middle lines (N, 2) of taxiways: those to pave, and curves that are only painted."""

    paths: list[Points]
    curves: list[Points]


def _add_taxiways(airport: Airport) -> None:
    """Add two taxiways along the runway, exits and links between them, with lines and stands."""
    rng = airport.rng
    low = airport.low_u
    high = airport.high_u
    paths, curves = _taxiway_paths(airport)
    lines = [LineString(path) for path in paths]
    runway = Polygon(rectangle(((low + high) / 2, 0), high - low, 50))
    paved = shapely.union_all([*(line.buffer(11.5, cap_style="square") for line in lines), runway])
    paved = paved.buffer(26).buffer(-26)
    surface = airport.paving if rng.random() < 0.6 else airport.concrete
    shoulder_color = mix_colors(surface, airport.climate.dry_grass, 0.30)
    airport.add_region(paved.buffer(8.5), shoulder_color, 34)
    airport.add_region(paved, surface, 24)
    for line in lines:
        airport.add_stain(line.buffer(3.5, cap_style="flat").exterior.coords, 0.10)
    for path in paths + curves:
        airport.add_line(path, YELLOW, 0.45, background=surface)
    rows = ((NEAR_TAXIWAY_V, 80.0, low + 80, high - 80), (FAR_TAXIWAY_V, 66.0, -1050, 1050))
    for v, max_span_m, first_u, last_u in rows:
        for u in np.arange(first_u, last_u, 190) + rng.uniform(-40, 40):
            airport.add_stand(np.array([u, v]), float(rng.choice([0, math.pi])), max_span_m)


def _taxiway_paths(airport: Airport) -> TaxiwayPaths:
    """Return the middle lines of the taxiways; stands are added to the exits on the way."""
    rng = airport.rng
    low = airport.low_u
    high = airport.high_u
    near = NEAR_TAXIWAY_V
    paths = [
        np.array([(low + 10, near), (high - 10, near)]),
        np.array([(-FAR_TAXIWAY_END_U, FAR_TAXIWAY_V), (FAR_TAXIWAY_END_U, FAR_TAXIWAY_V)]),
    ]
    curves = []
    inner_exits = np.arange(low + 420, high - 300, rng.uniform(380, 520))
    for number, u in enumerate([low + 14, *inner_exits, high - 14]):
        slant = 0.0
        if low + 14 < u < high - 14 and rng.random() < 0.6:  # a rapid exit
            slant = rng.choice([-1, 1]) * rng.uniform(120, 240)
        paths.append(np.array([(u, 0), (u + slant, near)]))
        if abs(u) < 1100 and number % 2 == 0:
            paths.append(np.array([(u + 90, near), (u + 90, FAR_TAXIWAY_V)]))
        for length in (-80, 80):
            turn = [(u - length, 0), (u, 0), (u + slant, near), (u + slant + length, near)]
            curves.append(smooth_line(turn))
        heading = math.atan2(near, slant) + rng.choice([0, math.pi])
        airport.add_stand(np.array([u + slant * 0.55, near * 0.55]), heading, 66.0)
    return TaxiwayPaths(paths, curves)


def _add_slabs(
    airport: Airport, low: tuple[float, float], high: tuple[float, float], *, n_renewed: int
) -> None:
    """Add concrete slabs with joints between two corners, some renewed, with oil on them."""
    rng = airport.rng
    concrete = airport.concrete
    joint_color = scale_color(concrete, 0.86)
    apron = rectangle(np.add(low, high) / 2, *np.subtract(high, low))
    airport.add_area(apron, concrete, 26)
    for u, v in rng.uniform(np.add(low, 50), np.subtract(high, 50), (n_renewed, 2)):
        color = scale_color(concrete, rng.uniform(0.86, 1.08))
        patch = rectangle((u, v), *rng.uniform(20, 95, 2))
        asphalt_fraction = 0.7 if rng.random() < 0.12 else 0
        airport.add_area(patch, mix_colors(color, airport.paving, asphalt_fraction), 26)
        oil = irregular_circle(rng, (u + 30, v), rng.uniform(1, 9))
        airport.add_stain(oil, rng.uniform(0.1, 0.45))
    for u in np.arange(low[0], high[0], SLAB_M):
        joint = [(u, low[1]), (u, high[1])]
        airport.add_line(joint, joint_color, 0.25, background=concrete)
    for v in np.arange(low[1], high[1], SLAB_M):
        joint = [(low[0], v), (high[0], v)]
        airport.add_line(joint, joint_color, 0.25, background=concrete)


def _add_gates(
    airport: Airport, noses: Points, heading: float, *, max_span_m: float, has_bridges: bool
) -> None:
    """Add a row of stands: lead-in lines, edges, oil, jet bridges, and vehicles at the edges.

    Args:
        airport: to be added to.
        noses: (N, 2) where noses of aircraft are.
        heading: of the aircraft, radians.
        max_span_m: largest span that has room.
        has_bridges: whether each stand has a jet bridge.
    """
    rng = airport.rng
    depth = 1.12 * max_span_m + 6
    half_span = max_span_m / 2
    airport.n_rows += 1
    for nose in noses:
        lead_in = _at_stand([(2, 0), (-depth - 8, 0)], nose, heading)
        airport.add_line(lead_in, YELLOW, 0.4, background=airport.concrete)
        edge_color = mix_colors((186, 60, 50), WHITE, float(rng.choice([0.3, 1.0])))
        for side in (-half_span - 2.2, half_span + 2.2):
            corners = [(4, side), (-0.8 * depth, side), (-depth, 0.7 * side)]
            edge = _at_stand(corners, nose, heading)
            airport.add_line(edge, edge_color, 0.3, background=airport.concrete)
        for distance, radius_m in ((0.12, 3.0), (0.42, 6.0), (0.5, 9.0), (0.3, 4.0)):
            center = _at_stand((-distance * depth, rng.normal(0, 1.6)), nose, heading)
            oil = irregular_circle(rng, center, radius_m)
            airport.add_stain(oil, rng.uniform(0.15, 0.5))
        airport.add_stand(nose, heading, max_span_m, row=airport.n_rows)
        for _ in range(rng.integers(2, 6)):
            _add_vehicles(airport, nose, heading, depth=depth, half_span=half_span)
        if has_bridges:
            _add_jet_bridge(airport, nose, heading, max_span_m=max_span_m)


def _at_stand(points: ArrayLike, nose: Points, heading: float) -> Points:
    """Return points in metres ahead and to the left of a nose as u, v."""
    return rotate(points, heading, nose)


def _add_vehicles(
    airport: Airport, nose: Points, heading: float, *, depth: float, half_span: float
) -> None:
    """Add a vehicle, or a train of them, at an edge of a stand."""
    rng = airport.rng
    vehicle = VEHICLES[rng.integers(len(VEHICLES))]
    first = rng.uniform(0.05, 0.5) * -depth
    side = rng.choice([-1, 1]) * (half_span + rng.uniform(-0.4, 1.4))
    along = first - np.arange(vehicle.n_in_train) * (vehicle.size_m[0] + 0.9)
    centers = _at_stand(points_from_xy(along, side), nose, heading)
    airport.add_boxes(centers, vehicle.size_m, vehicle.colors, angle=heading)


def _add_jet_bridge(airport: Airport, nose: Points, heading: float, *, max_span_m: float) -> None:
    """Add a jet bridge, at the door of an aircraft or drawn back."""
    rng = airport.rng
    root = np.array([7.5, 0.33 * max_span_m])
    doors = ((-6, 3), (-9.5, 0.33 * max_span_m))
    door = np.array(doors[rng.integers(2)])
    along, across = door - root
    angle = math.atan2(across, along)
    tunnel = rectangle((door + root) / 2, math.hypot(along, across), 3.0, angle=angle)
    color = scale_color((200, 200, 200), rng.uniform(0.85, 1.1))
    parts = (
        circle(root, 3.0),
        rectangle((12.0, root[1]), 9.0, 3.2),
        tunnel,
        rectangle(door, 3.6, 4.4),
    )
    for part in parts:
        outline = airport.to_en(_at_stand(part, nose, heading))
        airport.objects.append(Shape((outline,), color, 8, height_m=5.2))


def _add_light_aircraft_stands(airport: Airport) -> None:
    """Add a corner of the apron for light aircraft, in two rows nose to nose."""
    airport.n_rows += 1
    center_u = 470 * airport.rng.choice([-1, 1])
    airport.add_area(rectangle((center_u, 346), 210, 84), airport.paving)
    for v, heading in ((335, math.pi / 2), (357, -math.pi / 2)):
        for u in center_u + np.arange(-84, 85, 21.0):
            line = rotate([(0, 0), (-15, 0)], heading, (u, v))
            airport.add_line(line, YELLOW, 0.3, background=airport.paving)
            airport.add_stand(np.array([u, v]), heading, 18.2, row=airport.n_rows)


def _add_terminal(airport: Airport) -> None:
    """Add the terminal with its stands, along piers where it has any, and the tower."""
    rng = airport.rng
    v = airport.terminal_v
    base_color = mix_colors((226, 226, 222), (170, 172, 176), rng.random())
    color = scale_color(base_color, rng.uniform(0.88, 1.06))
    length = rng.uniform(470, 620)
    if not airport.n_piers:
        spacing, max_span_m = (74.0, 66.0) if rng.random() < 0.4 else (42.0, 37.0)
        noses_u = np.arange(-length / 2 + spacing / 2, length / 2 - spacing / 2, spacing)
        noses = points_from_xy(noses_u, v - 14)
        _add_gates(airport, noses, math.pi / 2, max_span_m=max_span_m, has_bridges=True)
    for u in 210 * (np.arange(airport.n_piers) - (airport.n_piers - 1) / 2):
        airport.add_building((u, v - 117), (30, 235, 11), scale_color(color, 0.95), bay_m=10)
        for side, heading in ((28, math.pi), (-28, 0.0)):
            noses = points_from_xy(u + side, np.arange(v - 215, v - 70, 42.0))
            _add_gates(airport, noses, heading, max_span_m=37.0, has_bridges=True)
    airport.add_building((0, v + 34), (length, 68, 17), color, bay_m=16)
    hall_color = scale_color(color, 1.06)
    for u in (-0.3 * length, 0.3 * length):
        airport.add_building((u, v + 40), (length * 0.22, 38, 21), hall_color, bay_m=9)
    tower = airport.to_en((length / 2 + 60, v + 30))
    airport.objects.append(Shape((circle(tower, 5.5),), (196, 196, 192), 8, height_m=46))
    cab = Shape(
        (circle(tower, 3.5),),
        (70, 82, 92),
        noise_level=8,
        height_m=3,
        base_m=46,
        background=(150, 150, 150),
    )
    airport.objects.append(cab)


def _add_landside(airport: Airport) -> None:
    """Add roads, car parks, lawns with trees and parking houses behind the terminal."""
    rng = airport.rng
    v = airport.terminal_v + 82
    surface = scale_color(ASPHALT, rng.uniform(0.85, 1.1))
    ground_color = mix_colors(airport.climate.grass, airport.concrete, 0.25)
    airport.add_area(rectangle((0, v + 190), 1180, 380), ground_color, 50, pattern="mottle")
    for u in (-588, -200, 210, 588):
        airport.add_road((u, v), (u, v + 380), 9, surface=surface)
    for road_v, width_m in ((v + 8, 22), (v + 150, 10), (v + 320, 13)):
        airport.add_road((-590, road_v), (590, road_v), width_m, surface=surface)
    columns = ((-570, -215), (-185, 195), (225, 570))
    rows = ((30, 136), (165, 305))
    for (left, right), (bottom, top) in product(columns, rows):
        low = np.array([left, v + bottom])
        high = np.array([right, v + top])
        kind = rng.random()
        if kind < 0.55:
            airport.add_car_park(low, high)
            continue
        if kind < 0.85:
            _add_parking_house(airport, low, high)
            low[1] += 0.86 * (top - bottom)
        trees = airport.scatter_points(low, high, (12, 12), fraction=0.5, jitter_m=5.0)
        airport.add_trees(trees)


def _add_parking_house(airport: Airport, low: Points, high: Points) -> None:
    """Add a parking house between two corners, with cars on its roof."""
    middle = (low + high) / 2
    size = (high - low) * (0.6, 0.7)
    color = scale_color((172, 168, 162), airport.rng.uniform(0.8, 1.2))
    airport.add_building(middle, (size[0], size[1], 12), color, bay_m=32)
    corners = (middle - 0.44 * size, middle + 0.44 * size)
    cars = airport.scatter_points(*corners, (2.9, 16), fraction=0.4)
    airport.add_cars(cars, math.pi / 2, 12.0)


def _add_hangars(airport: Airport, side: int) -> None:
    """Add remote stands, hangars or a cargo hall with trucks behind them, and a decoy.

    Args:
        airport: to be added to.
        side: -1 or 1, of the terminal.
    """
    rng = airport.rng
    center_u = side * 880.0
    is_cargo = rng.random() < 0.4
    _add_slabs(airport, (center_u - 240, 250), (center_u + 240, 590), n_renewed=12)
    spacing, max_span_m, v = (78.0, 66.0, 378.0) if is_cargo else (41.0, 36.5, 352.0)
    front_u = np.arange(center_u - 230 + spacing / 2, center_u + 200, spacing)
    back_u = np.arange(center_u - 215, center_u + 215, 33.0)
    add_remote_gates = partial(_add_gates, airport, heading=math.pi / 2, has_bridges=False)
    add_remote_gates(points_from_xy(front_u, v), max_span_m=max_span_m)
    add_remote_gates(points_from_xy(back_u, v + 79), max_span_m=29.5)
    for u in np.arange(center_u - 180, center_u + 181, 120):
        hall_color = HALL_COLORS[0 if is_cargo else rng.integers(4)]
        color = scale_color(hall_color, rng.uniform(0.9, 1.06))
        size_m = (rng.uniform(80, 105), rng.uniform(70, 95), 18)
        airport.add_building((u, 560), size_m, color, bay_m=8)
        airport.add_area(rectangle((u, 630), 118, 44), scale_color(ASPHALT, 1.05))
        trucks = airport.scatter_points((u - 42, 618), (u + 43, 619), (4.2, 2), fraction=0.5)
        airport.add_boxes(trucks, (13, 2.6, 3.8), HALL_COLORS[:3], angle=math.pi / 2)
    # a white hall with two wings: a cross, no aircraft
    for angle, length_m in ((0.4, 38), (0.4 + math.pi / 2, 30)):
        center = (center_u + side * 170, 720)
        airport.add_boxes(center, (length_m, 6.5, 6.0), HALL_COLORS[:1], angle=angle)
