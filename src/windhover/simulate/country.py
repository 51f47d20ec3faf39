"""The country around an airport: fields, woods, towns and roads in parcels, and a river; every view
shows the same.
"""

from __future__ import annotations

import math

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from windhover.simulate.airport import Airport
from windhover.simulate.outlines import Points, Shape, View, box, disc, join, mix, scale_color
from windhover.simulate.parcels import ASPHALT, Plot

REACH_M = 2600.0  # half side of the country around an airport


def country_of(site: Airport, view: View) -> Plot:
    """Lay out what a view shows around an airport: fields, woods, towns and roads in parcels, and a
    river.
    """
    plot = Plot(site.place.rng(2), site.place.climate)
    rng = plot.rng
    plot.area(box((0, 0), 4 * REACH_M, 4 * REACH_M), plot.dry, 44, pattern="mottle")
    parcels, roads = _split_country(rng)
    t, foot = (
        np.linspace(-2800, 2800, 60),
        rng.choice([-540, 1190]),
    )  # the river passes south or north of the airport
    bends = rng.uniform(60, 150) * np.sin(t / rng.uniform(260, 420)) + 40 * np.sin(
        t / 130 + rng.uniform(0, 6)
    )
    river = LineString(site.en(join(t, foot + np.sign(foot) * np.abs(bends)))).buffer(
        rng.uniform(18, 60)
    )
    plot.taken = shapely.union_all([Polygon(site.en(site.fence)).buffer(18), river.buffer(14)])
    shapely.prepare(plot.taken)
    for number, (low, high) in enumerate(parcels):
        corners = box((low + high) / 2, *(high - low))
        if shapely.box(*view).buffer(60).intersects(Polygon(plot.en(corners))):
            plot.rng = site.place.rng(2, number)  # so that every view shows the same
            _parcel(plot, low, high, corners)
    for bank, color, pattern in (
        (9, mix(plot.dry, plot.trees, 0.3), "mottle"),
        (0, plot.water, "water"),
    ):
        outline = np.asarray(river.buffer(bank).exterior.coords)
        plot.ground.append(Shape((outline,), color, 40 if bank else 3, pattern=pattern))
    plot.rng = site.place.rng(2, len(parcels))
    for road in roads:
        plot.road(*road, mix(scale_color(ASPHALT, 1.1), plot.dry, 0.2))
    return plot


def _split_country(
    rng: np.random.Generator,
) -> tuple[list[tuple[Points, Points]], list[tuple[Points, Points, float]]]:
    """Return parcels and the roads between the largest of them, from splitting a square again and
    again.
    """
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
    rng, kind, center = plot.rng, plot.rng.random(), (low + high) / 2
    if kind < plot.woods:
        plot.area(
            corners, scale_color(plot.trees, 1.08), 30, pattern="wood", period_m=rng.uniform(5, 8)
        )
    elif kind < plot.woods + (0.3 if np.hypot(*center) < 1500 else 0.15):
        _town(plot, low, high, corners)
    elif plot.woods < 0.05 and kind < 0.62:  # watered by a turning pipe
        tone = mix((88, 108, 58), plot.dry, rng.uniform(0, 0.7))
        plot.area(
            disc(center, 0.47 * float(np.min(high - low))), tone, 30, pattern="furrow", period_m=5.0
        )
    else:
        tone = scale_color(plot.fields[rng.integers(len(plot.fields))], rng.uniform(0.88, 1.14))
        angle, period = (
            plot.turn + rng.integers(2) * math.pi / 2 + rng.normal(0, 0.02),
            rng.uniform(3.2, 6),
        )
        pattern, times = (("furrow", 1), ("furrow", 1), ("furrow", 1), ("rows", 2), ("mottle", 1))[
            rng.integers(5)
        ]
        plot.area(corners, tone, 34, pattern=pattern, angle=angle, period_m=times * period)
        if rng.random() < 3 * plot.woods:  # hedges
            plot.plant(plot.spots(low, (high[0], low[1] + 1), (rng.uniform(5, 14), 2), 0.8, 1.2))
            plot.plant(plot.spots(low, (low[0] + 1, high[1]), (2, rng.uniform(5, 14)), 0.8, 1.2))


def _town(plot: Plot, low: Points, high: Points, corners: Points) -> None:
    """Fill a parcel with streets, houses, gardens and trees."""
    rng, surface = plot.rng, scale_color(ASPHALT, 1.2)
    plot.area(corners, mix(plot.grass, (140, 136, 128), 0.35), 70, pattern="mottle")
    color = plot.roofs[int(rng.integers(len(plot.roofs)))]
    for v in np.arange(low[1] + 22, high[1] - 20, 56.0):
        plot.line([(low[0], v), (high[0], v)], surface, 6.5, surface, 24)
        for spot in plot.spots(
            (low[0] + 10, v - 14), (high[0] - 8, v + 15), (rng.uniform(16, 22), 28), 0.85, 1.1
        ):
            tone = color if rng.random() < 0.7 else (150, 146, 140)
            plot.house(spot, rng.choice([0, 0, 0, math.pi / 2]), tone)
        plot.plant(plot.spots((low[0] + 8, v - 24), (high[0] - 8, v + 28), (14, 24), 0.6, 4.0))
