"""Which scenes touch or overlap on the ground, with a tolerance in meters.

Outlines are in longitude and latitude, whose rounding alone parts tiles that adjoin; distances are
measured on the ground.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.geometry.antimeridian import HALF_TURN_DEG, TURN_DEG
from windhover.geometry.arrays import Floats, Ints

ROUNDING_M = 0.05  # gap that coordinates of neighbors can have by rounding
METERS_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator
# outlines of adjoining tiles of different systems overlap a little, since sides are curves there
MIN_OVERLAP_PX = 8.0
MIN_COSINE = 1e-3  # of a latitude: beyond 89.94 degrees meridians meet anyway


def touching_pairs(
    footprints: Sequence[BaseGeometry | None], tolerances_m: Sequence[float]
) -> Ints:
    """Return the pairs (2, K) of outlines, by number, that touch or overlap on the ground.

    Args:
        footprints: in longitude and latitude, -180..180; None where one is not known.
        tolerances_m: gap of each outline to others that still counts as touching, m; of two the
            larger one counts.
    """
    outlines = np.array(footprints, dtype=object)
    number = np.flatnonzero(shapely.is_geometry(outlines))
    shapes = outlines[number]
    margins = np.maximum(np.asarray(tolerances_m, np.float64), ROUNDING_M)[number]
    # a scene that ends at 180 degrees has a neighbor that begins at -180
    near_east = shapely.bounds(shapes).reshape(-1, 4)[:, 2] > HALF_TURN_DEG - _to_degrees(
        margins, shapes
    )
    copies = [shapely.transform(shape, _one_turn_west) for shape in shapes[near_east]]
    shapes = np.array([*shapes, *copies], dtype=object)
    margins = np.concatenate([margins, margins[near_east]])
    number = np.concatenate([number, number[near_east]])
    first, second = _pairs_of_near_bounds(shapes, margins)
    touches = shapely.intersects(shapes[first], shapes[second])
    for pair in np.flatnonzero(~touches):
        one = first[pair]
        other = second[pair]
        tolerance_m = max(margins[one], margins[other])
        touches[pair] = _distance_m(shapes[one], shapes[other]) <= tolerance_m
    return np.stack([number[first[touches]], number[second[touches]]])


def overlapping_pairs(
    outlines: NDArray[np.object_], px_m: Sequence[float]
) -> list[tuple[int, int]]:
    """Return the pairs of outlines, by number, that have ground in common.

    Args:
        outlines: (N,) polygons in longitude and latitude.
        px_m: (N,) size of a px of each scene, m.
    """
    margins = MIN_OVERLAP_PX / 2 / METERS_PER_DEGREE * np.asarray(px_m, np.float64)
    shrunk = shapely.buffer(outlines, -margins)
    pairs = shapely.STRtree(shrunk).query(shrunk, predicate="intersects").T.tolist()
    return sorted((first, second) for first, second in pairs if first < second)


def _pairs_of_near_bounds(
    shapes: NDArray[np.object_], margins_m: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of shapes whose bounds, grown by their margins, have points in common."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    lon_margin = _to_degrees(margins_m, shapes)
    lat_margin = margins_m / METERS_PER_DEGREE
    grown = shapely.box(
        bounds[:, 0] - lon_margin,
        bounds[:, 1] - lat_margin,
        bounds[:, 2] + lon_margin,
        bounds[:, 3] + lat_margin,
    )
    first, second = shapely.STRtree(grown).query(grown)
    is_once = first < second
    return first[is_once], second[is_once]


def _to_degrees(lengths_m: Floats, shapes: NDArray[np.object_]) -> Floats:
    """Return lengths (N,) as degrees of longitude at the highest latitude of each shape."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    latitude = np.abs(bounds[:, [1, 3]]).max(axis=1, initial=0.0)
    cosine = np.maximum(np.cos(np.radians(latitude)), MIN_COSINE)
    return np.asarray(lengths_m / METERS_PER_DEGREE / cosine)


def _distance_m(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return the distance of two near shapes on the ground, m."""
    # the nearest points are between the nearest sides of the two, where both have latitudes
    south = max(one.bounds[1], other.bounds[1])
    north = min(one.bounds[3], other.bounds[3])
    latitude = (south + north) / 2
    cosine = max(float(np.cos(np.radians(latitude))), MIN_COSINE)
    scale = np.array([cosine * METERS_PER_DEGREE, METERS_PER_DEGREE])

    def to_meters(lonlat: Floats) -> Floats:
        return np.asarray(lonlat * scale)

    return float(
        shapely.distance(shapely.transform(one, to_meters), shapely.transform(other, to_meters))
    )


def _one_turn_west(lonlat: Floats) -> Floats:
    return np.asarray(lonlat - np.array([TURN_DEG, 0.0]))
