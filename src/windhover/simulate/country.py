"""The country around an airport: fields, woods, towns and roads in parcels, and a river.

Every view of an airport shows the same country.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from windhover.simulate.airport import Airport
from windhover.simulate.landscape import ASPHALT, Landscape
from windhover.simulate.shapes import (
    Color,
    Pattern,
    Points,
    Shape,
    View,
    circle,
    mix_colors,
    points_from_xy,
    rectangle,
    scale_color,
)

HALF_SIDE_M = 2600.0  # of the country around an airport
MARGIN_M = 60  # around a view, from which shadows come


class Parcel(NamedTuple):
    """A rectangle of country by two corners (2,), m."""

    low: Points
    high: Points

    @property
    def center(self) -> Points:
        """Its middle (2,), m."""
        return (self.low + self.high) / 2

    @property
    def corners(self) -> Points:
        """Its corners (4, 2), m."""
        return rectangle(self.center, *(self.high - self.low))


class Road(NamedTuple):
    """A straight road between two points (2,), m."""

    start: Points
    stop: Points
    width_m: float


def country_around(airport: Airport, view: View) -> Landscape:
    """Return the layout of what a view shows around an airport."""
    place = airport.place
    country = Landscape(place.rng(2), place.climate)
    climate = country.climate
    everything = rectangle((0, 0), 4 * HALF_SIDE_M, 4 * HALF_SIDE_M)
    country.add_area(everything, climate.dry_grass, 44, pattern="mottle")
    parcels, roads = _split_country(country.rng)
    river = _river(airport, country.rng)
    fence = Polygon(airport.to_en(airport.fence))
    country.occupied = shapely.union_all([fence.buffer(18), river.buffer(14)])
    shapely.prepare(country.occupied)
    view_box = shapely.box(*view).buffer(MARGIN_M)
    for number, parcel in enumerate(parcels):
        if view_box.intersects(Polygon(country.to_en(parcel.corners))):
            country.rng = place.rng(2, number)  # so that every view shows the same
            _fill_parcel(country, parcel)
    bank_color = mix_colors(climate.dry_grass, climate.trees, 0.3)
    country.ground.append(_buffered(river, 9, bank_color, 40, pattern="mottle"))
    country.ground.append(_buffered(river, 0, climate.water, 3, pattern="water"))
    country.rng = place.rng(2, len(parcels))
    surface = mix_colors(scale_color(ASPHALT, 1.1), climate.dry_grass, 0.2)
    for road in roads:
        country.add_road(road.start, road.stop, road.width_m, surface=surface)
    return country


def _river(airport: Airport, rng: np.random.Generator) -> Polygon:
    """Return the river (m east and north), which passes south or north of the airport."""
    u = np.linspace(-2800, 2800, 60)
    center_v = rng.choice([-540, 1190])
    bends = rng.uniform(60, 150) * np.sin(u / rng.uniform(260, 420))
    bends = bends + 40 * np.sin(u / 130 + rng.uniform(0, 6))
    v = center_v + np.sign(center_v) * np.abs(bends)
    line = LineString(airport.to_en(points_from_xy(u, v)))
    return line.buffer(rng.uniform(18, 60))


def _buffered(
    river: Polygon, distance_m: float, color: Color, noise_level: int, *, pattern: Pattern
) -> Shape:
    outline = np.asarray(river.buffer(distance_m).exterior.coords)
    return Shape((outline,), color, noise_level, pattern=pattern)


def _split_country(rng: np.random.Generator) -> tuple[list[Parcel], list[Road]]:
    """Return parcels and the roads between the largest of them, from halving a square."""
    parcels: list[Parcel] = []
    roads: list[Road] = []
    pending = [(np.full(2, -HALF_SIDE_M), np.full(2, HALF_SIDE_M), 0)]
    while pending:
        low, high, depth = pending.pop()
        side = float(np.max(high - low))
        axis = int(np.argmax(high - low))
        if side < 330 or (side < 520 and rng.random() < 0.3):
            gap = 3.0 if depth > 5 else 7.0
            parcels.append(Parcel(low + gap, high - gap))
            continue
        border = low[axis] + rng.uniform(0.36, 0.64) * side
        first_high = high.copy()
        second_low = low.copy()
        first_high[axis] = border
        second_low[axis] = border
        pending += [(low, first_high, depth + 1), (second_low, high, depth + 1)]
        if depth < 5:
            roads.append(Road(second_low, first_high, 14.0 if depth < 2 else 7.0))
    return parcels, roads


def _fill_parcel(country: Landscape, parcel: Parcel) -> None:
    """Fill one parcel of the country: a wood, a town, or a field with hedges."""
    climate = country.climate
    wood_fraction = climate.wood_fraction
    kind = country.rng.random()
    town_fraction = 0.3 if np.hypot(*parcel.center) < 1500 else 0.15
    if kind < wood_fraction:
        color = scale_color(climate.trees, 1.08)
        width_m = country.rng.uniform(5, 8)
        country.add_area(parcel.corners, color, 30, pattern="wood", period_m=width_m)
    elif kind < wood_fraction + town_fraction:
        _fill_town(country, parcel)
    elif wood_fraction < 0.05 and kind < 0.62:
        _fill_irrigated_field(country, parcel)
    else:
        _fill_field(country, parcel)


def _fill_irrigated_field(country: Landscape, parcel: Parcel) -> None:
    """Fill a parcel with a round field, watered by a turning pipe."""
    color = mix_colors((88, 108, 58), country.climate.dry_grass, country.rng.uniform(0, 0.7))
    outline = circle(parcel.center, 0.47 * float(np.min(parcel.high - parcel.low)))
    country.add_area(outline, color, 30, pattern="furrow", period_m=5.0)


def _fill_field(country: Landscape, parcel: Parcel) -> None:
    """Fill a parcel with a field, and hedges where the country is wooded."""
    rng = country.rng
    fields = country.climate.fields
    color = scale_color(fields[rng.integers(len(fields))], rng.uniform(0.88, 1.14))
    angle = country.turn + rng.integers(2) * math.pi / 2 + rng.normal(0, 0.02)
    period_m = rng.uniform(3.2, 6)
    patterns: tuple[Pattern, ...] = ("furrow", "furrow", "furrow", "rows", "mottle")
    pattern = patterns[rng.integers(5)]
    if pattern == "rows":
        period_m = 2 * period_m
    country.add_area(parcel.corners, color, 34, pattern=pattern, angle=angle, period_m=period_m)
    if rng.random() < 3 * country.climate.wood_fraction:
        low, high = parcel
        south_edge = (high[0], low[1] + 1)
        _plant_hedge(country, low, south_edge, (rng.uniform(5, 14), 2))
        west_edge = (low[0] + 1, high[1])
        _plant_hedge(country, low, west_edge, (2, rng.uniform(5, 14)))


def _plant_hedge(
    country: Landscape, low: Points, high: tuple[float, float], step: tuple[float, float]
) -> None:
    country.add_trees(country.scatter_points(low, high, step, fraction=0.8, jitter_m=1.2))


def _fill_town(country: Landscape, parcel: Parcel) -> None:
    """Fill a parcel with streets, houses, gardens and trees."""
    rng = country.rng
    low, high = parcel
    surface = scale_color(ASPHALT, 1.2)
    garden_color = mix_colors(country.climate.grass, (140, 136, 128), 0.35)
    country.add_area(parcel.corners, garden_color, 70, pattern="mottle")
    roofs = country.climate.roofs
    roof_color = roofs[int(rng.integers(len(roofs)))]
    for v in np.arange(low[1] + 22, high[1] - 20, 56.0):
        street = [(low[0], v), (high[0], v)]
        country.add_line(street, surface, 6.5, background=surface, noise_level=24)
        houses = country.scatter_points(
            (low[0] + 10, v - 14),
            (high[0] - 8, v + 15),
            (rng.uniform(16, 22), 28),
            fraction=0.85,
            jitter_m=1.1,
        )
        for center in houses:
            color = roof_color if rng.random() < 0.7 else (150, 146, 140)
            country.add_house(center, rng.choice([0, 0, 0, math.pi / 2]), color)
        gardens = country.scatter_points(
            (low[0] + 8, v - 24), (high[0] - 8, v + 28), (14, 24), fraction=0.6, jitter_m=4.0
        )
        country.add_trees(gardens)
