"""Random points in polygons."""

from __future__ import annotations

import geopandas
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.geometry.arrays import Floats


def points_in_region(
    region: BaseGeometry, count: int, random: np.random.Generator, *, min_area: float = 0.0
) -> Floats:
    """Return random points in a region, in random order: its parts by their areas.

    Args:
        region: polygons; other parts hold no point.
        count: of points.
        random: of the draws.
        min_area: which a smaller part counts as, so that it is not left out.

    Returns:
        (count, 2), or (0, 2) where the region has no area.
    """
    parts = parts_with_area(region)
    if not len(parts) or not count:
        return np.zeros((0, 2))
    weights = np.maximum(shapely.area(parts), min_area)
    counts = random.multinomial(count, weights / weights.sum())
    drawn = geopandas.GeoSeries(parts[counts > 0]).sample_points(counts[counts > 0], rng=random)
    points: Floats = shapely.get_coordinates(drawn.to_numpy())
    return points[random.permutation(len(points))]


def parts_with_area(region: BaseGeometry) -> np.ndarray:
    """Return the polygons of a region, without those of no area."""
    parts = shapely.get_parts(region)
    return np.asarray(parts[shapely.area(parts) > 0], object)
