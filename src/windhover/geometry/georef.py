"""Pixel <-> map: the full affine, ground sample distance, footprints and lengths in metres.

GDAL corner convention throughout: pixel (col, row) covers [col, col + 1) x [row, row + 1), so a
centre is at + 0.5. Opens no file; a coordinate system comes as text (`EPSG:32631`, or WKT) or as
None for a local grid in metres.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely import MultiPoint, MultiPolygon, Polygon, affinity, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from windhover.errors import DataError, FormatError

Floats = NDArray[np.float64]
WGS84 = "EPSG:4326"
PLANAR_TOLERANCE = (
    0.01  # UTM is off by up to 0.0004 (its k0), equal-area and Mercator grids by much more
)
POINTS_PER_SIDE = (
    21  # of a footprint: the side of a projected scene is a curve in longitude and latitude
)


def pixel_to_world(transform: Affine, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
    """Return map x and y of pixel positions.

    Args:
        transform: pixel -> world.
        col: columns, px, any shape.
        row: rows, px, same shape.
    """
    col, row = np.asarray(col, np.float64), np.asarray(row, np.float64)
    return (
        transform.a * col + transform.b * row + transform.c,
        transform.d * col + transform.e * row + transform.f,
    )


def world_to_pixel(transform: Affine, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return columns and rows (px, float) of map positions.

    The origin is subtracted before the matrix is inverted: with UTM northings of 5e6 m this keeps
    1e-6 px.

    Raises:
        DataError: the transform has no inverse.
    """
    determinant = transform.a * transform.e - transform.b * transform.d
    if determinant == 0.0 or not math.isfinite(determinant):
        raise DataError(
            f"The transform {tuple(transform)[:6]} has no inverse: a pixel covers no ground. Mend the "
            "raster's georeference."
        )
    x = np.asarray(x, np.float64) - transform.c
    y = np.asarray(y, np.float64) - transform.f
    return (transform.e * x - transform.b * y) / determinant, (
        transform.a * y - transform.d * x
    ) / determinant


def local_transform(gsd_x_m: float, gsd_y_m: float | None = None) -> Affine:
    """Return the local grid of a scene without georeference: x = col * gsd, y = -row * gsd, metres."""
    return Affine(gsd_x_m, 0.0, 0.0, 0.0, -(gsd_y_m or gsd_x_m), 0.0)


@lru_cache(maxsize=256)
def parse_crs(crs: str) -> CRS:
    """Return the coordinate system that a text names.

    Raises:
        FormatError: pyproj does not know it.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise FormatError(
            f"{crs[:80]!r} is not a coordinate system that PROJ knows ({error}). Give an EPSG code or WKT."
        ) from None


@lru_cache(maxsize=256)
def transformer(source_crs: str, target_crs: str) -> Transformer:
    """Return the transformation between two coordinate systems, always x (east) before y (north).

    Raises:
        FormatError: one of them is unknown.
        DataError: there is no way from one to the other.
    """
    try:
        return Transformer.from_crs(parse_crs(source_crs), parse_crs(target_crs), always_xy=True)
    except ProjError as error:
        raise DataError(
            f"There is no way from {source_crs[:60]!r} to {target_crs[:60]!r} ({error}). Reproject the file first."
        ) from None


def same_crs(first: str | None, second: str | None) -> bool:
    """Tell whether two coordinate systems are the same, whatever their axis order; None equals only
    None.
    """
    if first is None or second is None:
        return first is second
    return first == second or parse_crs(first).equals(parse_crs(second), ignore_axis_order=True)


def gsd_m(transform: Affine, crs: str | None, shape_hw: tuple[int, int]) -> tuple[float, float]:
    """Return metres on the ground of one step along a row and of one step down a column, at the
    scene's centre.

    Args:
        transform: pixel -> world.
        crs: coordinate system, None for a local grid in metres.
        shape_hw: rows and columns, px.

    Raises:
        DataError: the result is not positive and finite.
    """
    col, row = shape_hw[1] / 2, shape_hw[0] / 2
    _check_on_earth(transform, crs, float(pixel_to_world(transform, col, row)[1]))
    sides = box_sides_m(np.array([[col - 0.5, row - 0.5, col + 0.5, row + 0.5]]), transform, crs)[0]
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise DataError(
            f"A pixel of the transform {tuple(transform)[:6]} has no size in metres. Mend the raster's georeference."
        )
    return float(sides[0]), float(sides[1])


def _check_on_earth(transform: Affine, crs: str | None, y: float) -> None:
    """Refuse a transform or a system in which a raster has no place on Earth.

    Raises:
        DataError: the transform holds infinity or NaN, y is a latitude beyond a pole, or the
            system is geocentric.
    """
    if not np.isfinite(tuple(transform)[:6]).all():
        raise DataError(
            f"Its transform {tuple(transform)[:6]} is not finite. Mend the raster's georeference."
        )
    if crs is not None and parse_crs(crs).is_geocentric:
        raise DataError(
            f"Its coordinate system {crs[:40]} is geocentric, and no map. Reproject it: gdalwarp -t_srs."
        )
    if crs is not None and parse_crs(crs).is_geographic and abs(y) > 90 * (1 + 1e-9):
        raise DataError(
            f"Its centre is at latitude {y:g}, beyond the pole. Its coordinate system is not longitude and latitude, "
            "or x and y are swapped: mend the georeference."
        )


def box_sides_m(boxes_xyxy: ArrayLike, transform: Affine, crs: str | None) -> Floats:
    """Return the two sides of boxes on the ground: through the box's centre, along a row and down a
    column.

    Planar where the coordinate system is metric at the place to 1 %; geodesic on its ellipsoid
    elsewhere (geographic systems, Mercator, which stretches by 1 / cos(latitude); Karney 2013, as
    in pyproj).

    Args:
        boxes_xyxy: (N, 4) boxes, px of the grid of `transform`.
        transform: pixel -> world.
        crs: coordinate system, None for a local grid in metres.

    Returns:
        (N, 2) metres [along the row, down the column].
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    unit = 1.0 if crs is None else unit_m(crs)
    planar = np.stack(
        [
            width * math.hypot(transform.a, transform.d),
            height * math.hypot(transform.b, transform.e),
        ],
        axis=1,
    )
    if crs is None or (unit is not None and not parse_crs(crs).is_projected):
        return planar * (unit or 1.0)
    geodesic = _geodesic_sides(boxes, transform, crs)
    if unit is None or _is_mercator(crs):
        return geodesic
    planar = planar * unit
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (np.abs(geodesic / planar - 1) < PLANAR_TOLERANCE) | ~np.isfinite(geodesic)
    return np.where(near.all(axis=1, keepdims=True), planar, geodesic)


def _geodesic_sides(boxes: Floats, transform: Affine, crs: str) -> Floats:
    """Return (N, 2) geodesic lengths of the lines through the boxes' centres; inf where PROJ has no
    answer.
    """
    col, row = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    geographic = parse_crs(crs).geodetic_crs
    if geographic is None:
        return np.full((len(boxes), 2), np.inf)
    to_lonlat = transformer(crs, geographic.to_wkt())
    geod = parse_crs(crs).get_geod() or Geod(ellps="WGS84")
    lengths = []
    for ends in ((boxes[:, 0], row, boxes[:, 2], row), (col, boxes[:, 1], col, boxes[:, 3])):
        start = to_lonlat.transform(*pixel_to_world(transform, ends[0], ends[1]))
        end = to_lonlat.transform(*pixel_to_world(transform, ends[2], ends[3]))
        known = np.isfinite(np.array([*start, *end])).all(axis=0)
        length = np.full(len(boxes), np.inf)
        if known.any():
            length[known] = geod.inv(
                start[0][known], start[1][known], end[0][known], end[1][known]
            )[2]
        lengths.append(length)
    return np.stack(lengths, axis=1)


@lru_cache(maxsize=256)
def unit_m(crs: str) -> float | None:
    """Return metres per unit of the axes, or None where the axes are angles."""
    system = parse_crs(crs)
    axes = (system.sub_crs_list[0] if system.is_compound else system).axis_info
    if system.is_geographic or not axes:
        return None
    return float(axes[0].unit_conversion_factor)


@lru_cache(maxsize=256)
def _is_mercator(crs: str) -> bool:
    """Tell whether a system is (pseudo-)Mercator, cylindrical upright: its scale is far from true
    off the equator.
    """
    operation = parse_crs(crs).coordinate_operation
    name = operation.method_name.lower() if operation is not None else ""
    return "mercator" in name and "transverse" not in name and "oblique" not in name


def box_polygons(boxes_xyxy: ArrayLike, transform: Affine) -> NDArray[np.object_]:
    """Return boxes as map polygons through the full affine: (N,) quadrilaterals, corners in pixel
    order.
    """
    import shapely

    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    cols = boxes[:, [0, 2, 2, 0, 0]]
    rows = boxes[:, [1, 1, 3, 3, 1]]
    x, y = pixel_to_world(transform, cols, rows)
    return np.asarray(shapely.polygons(np.stack([x, y], axis=-1)), dtype=object)


def is_geographic(crs: str | None) -> bool:
    """Tell whether a system's axes are longitude and latitude."""
    return crs is not None and bool(parse_crs(crs).is_geographic)


def with_turns(shape: BaseGeometry) -> BaseGeometry:
    """Return a shape of longitudes and latitudes with its copies one turn west and east: 181 is
    -179.
    """
    return unary_union([affinity.translate(shape, turn) for turn in (-360.0, 0.0, 360.0)])


def outline_in(
    transform: Affine, shape_hw: tuple[int, int], scene_crs: str | None, crs: str | None
) -> BaseGeometry | None:
    """Return the rectangle about a scene in another system, a little larger; None where it cannot
    be bounded there.

    Longitudes go on beyond 180 where a scene crosses the antimeridian: the area to be cut needs its
    turns.
    """
    height, width = shape_hw
    margin_x, margin_y = 0.02 * width + 2, 0.02 * height + 2
    side = np.linspace(0, 1, 9)
    cols = np.concatenate([side, np.ones(9), side, np.zeros(9)]) * (width + 2 * margin_x) - margin_x
    rows = (
        np.concatenate([np.zeros(9), side, np.ones(9), side]) * (height + 2 * margin_y) - margin_y
    )
    x, y = pixel_to_world(transform, cols, rows)
    if crs is not None and not same_crs(crs, scene_crs):
        x, y = transformer(str(scene_crs), crs).transform(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    if is_geographic(crs):
        steps = (
            np.diff(np.append(x, x[0])) + 180.0
        ) % 360.0 - 180.0  # each step the short way round
        if abs(steps.sum()) > 180.0:
            return None  # around a pole
        x = x[0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    around: BaseGeometry = box(x.min(), y.min(), x.max(), y.max())
    return around


def footprint_4326(
    transform: Affine, crs: str | None, shape_hw: tuple[int, int]
) -> BaseGeometry | None:
    """Return the scene's outline in longitude and latitude, cut in two at the antimeridian; None
    for a local grid.

    Raises:
        DataError: the corners have no longitude and latitude.
    """
    if crs is None:
        return None
    side = np.linspace(0.0, 1.0, POINTS_PER_SIDE)[:-1]
    zero, one = np.zeros_like(side), np.ones_like(side)
    cols = np.concatenate([side, one, side[::-1] + side[1], zero]) * shape_hw[1]
    rows = np.concatenate([zero, side, one, side[::-1] + side[1]]) * shape_hw[0]
    lon, lat = transformer(crs, WGS84).transform(*pixel_to_world(transform, cols, rows))
    known = np.isfinite(lon) & np.isfinite(lat)
    if (
        known.sum() < 3
    ):  # a whole disc seen from space has its corners in the sky: the hull of what lies on Earth
        steps = np.linspace(0.0, 1.0, POINTS_PER_SIDE)
        cols, rows = (
            part.ravel() for part in np.meshgrid(steps * shape_hw[1], steps * shape_hw[0])
        )
        points = np.stack(
            transformer(crs, WGS84).transform(*pixel_to_world(transform, cols, rows)), axis=1
        )
        hull = MultiPoint(points[np.isfinite(points).all(axis=1)]).convex_hull
        if hull.area > 0:
            return hull
        raise DataError(
            f"The scene's corners have no longitude and latitude in {crs[:60]}. Mend the raster's georeference."
        )
    return _polygon_on_globe(lon[known], lat[known])


def _polygon_on_globe(lon: Floats, lat: Floats) -> BaseGeometry:
    """Return the polygon of a ring whose longitudes may cross the antimeridian or go round a pole."""
    steps = np.diff(np.append(lon, lon[0]))
    steps = (steps + 180.0) % 360.0 - 180.0  # each step the short way round
    unrolled = lon[0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    if (
        abs(steps.sum()) > 180.0
    ):  # the ring goes round a pole: everything poleward of its lowest latitude
        pole = 90.0 if lat.mean() > 0 else -90.0
        edge = float(lat.min() if pole > 0 else lat.max())
        return box(-180.0, min(edge, pole), 180.0, max(edge, pole))
    polygon = Polygon(np.stack([unrolled, lat], axis=1))
    if not polygon.is_valid:
        polygon = polygon.buffer(0)
    parts = []
    for turn in (-720.0, -360.0, 0.0, 360.0, 720.0):
        part = affinity.translate(polygon, turn).intersection(box(-180.0, -90.0, 180.0, 90.0))
        if part.area > 0:
            parts.append(part)
    if not parts:
        return polygon
    return (
        parts[0]
        if len(parts) == 1
        else MultiPolygon([single for part in parts for single in getattr(part, "geoms", [part])])
    )
