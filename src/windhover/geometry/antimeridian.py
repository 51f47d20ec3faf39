"""Longitudes at the antimeridian: 181 degrees east is 179 degrees west.

The one place that knows of it. Shapes and arrays are in degrees of longitude (x) and latitude (y).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon, affinity, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from windhover.geometry.arrays import Bools, Floats

TURN_DEG = 360.0
HALF_TURN_DEG = 180.0
GLOBE = box(-180.0, -90.0, 180.0, 90.0)


def with_wrapped_copies(shape: BaseGeometry) -> BaseGeometry:
    """Return the union of a shape and its copies 360 degrees west and east."""
    offsets = (-TURN_DEG, 0.0, TURN_DEG)
    return unary_union([affinity.translate(shape, offset) for offset in offsets])


def nearest_longitudes(lon: Floats, reference_deg: float | Floats) -> Floats:
    """Return longitudes (N,), shifted by whole turns so that they are nearest to a reference."""
    return lon + TURN_DEG * np.round((reference_deg - lon) / TURN_DEG)


def spans_half_globe(shapes: np.ndarray) -> Bools:
    """Return which shapes (N,) are wider than 180 degrees: they cross it, or hold a pole."""
    return np.asarray(np.ptp(shapely.bounds(shapes)[:, ::2], axis=1) > HALF_TURN_DEG)


def joined_at_antimeridian(shapes: np.ndarray, min_gap_deg: float) -> np.ndarray:
    """Return shapes (N,) whose longitudes go on beyond 180 where they lie on both sides of it.

    They begin at the widest gap of longitude, so that ground across the antimeridian is in one
    piece; unchanged where nothing is near it.

    Args:
        shapes: each narrower than 180 degrees, also in parts on both sides of the antimeridian, or
            counted a turn away.
        min_gap_deg: shapes farther apart across the antimeridian are not brought together.
    """
    if not len(shapes):
        return shapes
    shapes = shapes.copy()
    for index in np.flatnonzero(spans_half_globe(shapes)):
        shapes[index] = shapely.transform(shapes[index], _move_west_to_east)
    west, _, east, _ = shapely.bounds(shapes).T
    turns = -np.floor((west + HALF_TURN_DEG) / TURN_DEG)
    west = west + turns * TURN_DEG
    east = east + turns * TURN_DEG
    if east.max() - TURN_DEG > west.min() - min_gap_deg:
        order = np.argsort(west, kind="stable")
        covered_to = np.maximum.accumulate([east.max() - TURN_DEG, *east[order][:-1]])
        first = int(np.argmax(west[order] - covered_to))
        turns[order[:first]] += 1
    for turn in set(turns.tolist()) - {0.0}:
        moved = turns == turn
        shapes[moved] = shapely.transform(shapes[moved], partial(np.add, [turn * TURN_DEG, 0.0]))
    return shapes


def unwrap_ring(lon: Floats) -> tuple[Floats, bool]:
    """Make the longitudes of a closed ring continuous.

    Args:
        lon: (N,) corners in order, the first not repeated at the end.

    Returns:
        (N,) longitudes that may leave -180..180, each step the shorter way round; and whether the
        ring goes round a pole.
    """
    steps = np.diff(np.append(lon, lon[0]))
    steps = (steps + HALF_TURN_DEG) % TURN_DEG - HALF_TURN_DEG
    unwrapped = lon[0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    return unwrapped, bool(abs(steps.sum()) > HALF_TURN_DEG)


def polygon_from_ring(lon: Floats, lat: Floats) -> BaseGeometry:
    """Return the polygon (in parts where it crosses the antimeridian) inside a ring.

    Args:
        lon: (N,) longitudes of the corners in order.
        lat: (N,) latitudes.

    Returns:
        Longitudes in -180..180. A ring round a pole gives everything poleward of its latitude
        farthest from the pole.
    """
    unwrapped, is_around_pole = unwrap_ring(lon)
    if is_around_pole:
        return _polar_cap(lat)
    polygon = Polygon(np.stack([unwrapped, lat], axis=1))
    if not polygon.is_valid:
        polygon = polygon.buffer(0)
    parts = _parts_on_globe(polygon, (-720.0, -360.0, 0.0, 360.0, 720.0))
    if not parts:
        return polygon
    if len(parts) == 1:
        return parts[0]
    singles: list[Polygon] = []
    for part in parts:
        singles.extend(getattr(part, "geoms", [part]))
    return MultiPolygon(singles)


def split_small_polygon(polygon: BaseGeometry) -> BaseGeometry:
    """Return a small polygon with longitudes in -180..180, in two parts where it crosses.

    It must be narrower than 180 degrees, or hold a pole: then it is everything poleward of its
    corner farthest from the pole. Its corners may be written on either side.
    """
    left, _, right, _ = polygon.bounds
    if right - left > HALF_TURN_DEG:
        lon, lat = shapely.get_coordinates(polygon)[:-1].T
        if polygon.geom_type == "Polygon" and unwrap_ring(lon)[1]:
            return _polar_cap(lat)
        polygon = shapely.transform(polygon, _move_west_to_east)
    elif right <= HALF_TURN_DEG and left >= -HALF_TURN_DEG:
        return polygon
    parts = _parts_on_globe(polygon, (-360.0, 0.0, 360.0))
    if len(parts) == 1:
        return parts[0]
    joined: Any = shapely.multipolygons(np.array(parts))
    whole: BaseGeometry = joined
    return whole


def _polar_cap(lat: Floats) -> BaseGeometry:
    """Return everything poleward of a ring's latitude that is farthest from the pole."""
    if lat.mean() > 0:
        return box(-180.0, min(float(lat.min()), 90.0), 180.0, 90.0)
    return box(-180.0, -90.0, 180.0, max(float(lat.max()), -90.0))


def _parts_on_globe(polygon: BaseGeometry, offsets: tuple[float, ...]) -> list[BaseGeometry]:
    """Return what of a polygon is in -180..180 when it is shifted by each of some offsets."""
    parts = []
    west, _, east, _ = polygon.bounds
    for offset in offsets:
        if west + offset >= HALF_TURN_DEG or east + offset <= -HALF_TURN_DEG:
            continue
        part = affinity.translate(polygon, offset).intersection(GLOBE)
        if part.area > 0:
            parts.append(part)
    return parts


def _move_west_to_east(lonlat: Floats) -> Floats:
    """Return points (N, 2) with western longitudes written as 180..360."""
    lon = lonlat[:, 0]
    return np.stack([np.where(lon < 0, lon + TURN_DEG, lon), lonlat[:, 1]], 1)
