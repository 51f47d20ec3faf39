"""Pixel <-> map: the full affine, ground sample distance, footprints and lengths in metres.

GDAL corner convention throughout: pixel (col, row) covers [col, col + 1) x [row, row + 1), so a
centre is at + 0.5. Opens no file; a coordinate system comes as text (`EPSG:32631`, or WKT) or as
None for a local grid in metres.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely import MultiPoint, box
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, FormatError
from windhover.geometry.antimeridian import polygon_from_ring, unwrap_ring
from windhover.geometry.arrays import Floats

WGS84 = "EPSG:4326"
# UTM is off by up to 0.0004 (its k0), equal-area and Mercator grids by much more
PLANAR_TOLERANCE = 0.01
POLE_DEG = 90 * (1 + 1e-9)
MIN_SINE = 1e-3  # of the angle between rows and columns on the map
# of a footprint: the side of a projected scene is a curve in longitude and latitude
POINTS_PER_SIDE = 21
POINTS_PER_EXTENT_SIDE = 9


def pixel_to_world(transform: Affine, col: ArrayLike, row: ArrayLike) -> tuple[Floats, Floats]:
    """Return map x and y of pixel positions.

    Args:
        transform: pixel -> world.
        col: columns, px, any shape.
        row: rows, px, same shape.
    """
    col = np.asarray(col, np.float64)
    row = np.asarray(row, np.float64)
    x = transform.a * col + transform.b * row + transform.c
    y = transform.d * col + transform.e * row + transform.f
    return x, y


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
            f"The transform {tuple(transform)[:6]} has no inverse: a pixel covers no ground. "
            "Correct the raster's georeference."
        )
    x = np.asarray(x, np.float64) - transform.c
    y = np.asarray(y, np.float64) - transform.f
    col = (transform.e * x - transform.b * y) / determinant
    row = (transform.a * y - transform.d * x) / determinant
    return col, row


def local_transform(gsd_m: float) -> Affine:
    """Return the grid of a scene without georeference: x = col * gsd, y = -row * gsd, metres."""
    return Affine(gsd_m, 0.0, 0.0, 0.0, -gsd_m, 0.0)


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
            f"{crs[:80]!r} is not a coordinate system that PROJ knows ({error}). "
            "Give an EPSG code or WKT."
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
        advice = "Reproject the file first."
        if is_engineering(source_crs) or is_engineering(target_crs):
            advice = (
                "One of them is a local system (LOCAL_CS) without a place on Earth, which cannot "
                "be reprojected: take the system out of the file, and state the GSD."
            )
        raise DataError(
            f"There is no way from {source_crs[:60]!r} to {target_crs[:60]!r} ({error}). {advice}"
        ) from None


def same_crs(first: str | None, second: str | None) -> bool:
    """Return whether two coordinate systems agree but for axis order; None equals only None."""
    if first is None or second is None:
        return first is second
    return first == second or parse_crs(first).equals(parse_crs(second), ignore_axis_order=True)


def gsd_m(transform: Affine, crs: str | None, shape_hw: tuple[int, int]) -> tuple[float, float]:
    """Return the ground sample distance along a row and down a column, metres, at the centre.

    Args:
        transform: pixel -> world.
        crs: coordinate system, None for a local grid in metres.
        shape_hw: rows and columns, px.

    Raises:
        DataError: the result is not positive and finite.
    """
    col = shape_hw[1] / 2
    row = shape_hw[0] / 2
    _check_on_earth(transform, crs, float(pixel_to_world(transform, col, row)[1]))
    sides = box_sides_m(np.array([[col - 0.5, row - 0.5, col + 0.5, row + 0.5]]), transform, crs)[0]
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise DataError(
            f"A pixel of the transform {tuple(transform)[:6]} has no size in metres. "
            "Correct the raster's georeference."
        )
    return float(sides[0]), float(sides[1])


def _check_on_earth(transform: Affine, crs: str | None, y: float) -> None:
    """Check that a raster with this transform and coordinate system is on Earth.

    Raises:
        DataError: the transform holds infinity or NaN or has no inverse, y is a latitude beyond a
            pole, or the system is geocentric.
    """
    if not np.isfinite(tuple(transform)[:6]).all():
        raise DataError(
            f"Its transform {tuple(transform)[:6]} is not finite. "
            "Correct the raster's georeference."
        )
    width, height = (math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e))
    area = abs(transform.a * transform.e - transform.b * transform.d)
    if width > 0 and height > 0 and area < MIN_SINE * width * height:
        raise DataError(
            f"Its transform {tuple(transform)[:6]} lays rows and columns along one line, so that a "
            "pixel covers no ground. Correct the raster's georeference."
        )
    if crs is not None and parse_crs(crs).is_geocentric:
        raise DataError(
            f"Its coordinate system {crs[:40]} is geocentric, and no map. "
            "Reproject it: gdalwarp -t_srs."
        )
    if crs is not None and is_geographic(crs) and abs(y) * degrees_per_unit(crs) > POLE_DEG:
        raise DataError(
            f"Its centre is at latitude {y:g}, beyond the pole. Its coordinate system is not "
            "longitude and latitude, or x and y are swapped: correct the georeference."
        )


def box_sides_m(boxes_xyxy: ArrayLike, transform: Affine, crs: str | None) -> Floats:
    """Return the lengths on the ground of boxes' two middle lines, metres.

    Planar where the coordinate system is metric there to 1 %; geodesic on its ellipsoid elsewhere
    (geographic systems, Mercator, which stretches by 1 / cos(latitude); Karney 2013, as in pyproj).

    Args:
        boxes_xyxy: (N, 4) boxes, px of the grid of `transform`.
        transform: pixel -> world.
        crs: coordinate system, None for a local grid in metres.

    Returns:
        (N, 2) metres [along the row, down the column].
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    along_row = (boxes[:, 2] - boxes[:, 0]) * math.hypot(transform.a, transform.d)
    down_column = (boxes[:, 3] - boxes[:, 1]) * math.hypot(transform.b, transform.e)
    planar = np.stack([along_row, down_column], axis=1)
    if crs is None:
        return planar
    unit = meters_per_unit(crs)
    if unit is not None and not parse_crs(crs).is_projected:
        return planar * (unit or 1.0)
    geodesic = _geodesic_sides(boxes, transform, crs)
    if unit is None or _is_mercator(crs):
        return geodesic
    planar = planar * unit
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (np.abs(geodesic / planar - 1) < PLANAR_TOLERANCE) | ~np.isfinite(geodesic)
    return np.where(near.all(axis=1, keepdims=True), planar, geodesic)


def _geodesic_sides(boxes: Floats, transform: Affine, crs: str) -> Floats:
    """Return (N, 2) geodesic lengths of the boxes' middle lines, metres; inf outside the system."""
    left, top, right, bottom = boxes.T
    col = (left + right) / 2
    row = (top + bottom) / 2
    geographic_crs, geod = _ellipsoid_of(crs)
    if geographic_crs is None:
        return np.full((len(boxes), 2), np.inf)
    to_lonlat = transformer(crs, geographic_crs)
    to_degrees = degrees_per_unit(geographic_crs)
    lengths = []
    middle_lines = (((left, row), (right, row)), ((col, top), (col, bottom)))
    for start_px, end_px in middle_lines:
        start = np.array(to_lonlat.transform(*pixel_to_world(transform, *start_px))) * to_degrees
        end = np.array(to_lonlat.transform(*pixel_to_world(transform, *end_px))) * to_degrees
        known = np.isfinite(start).all(axis=0) & np.isfinite(end).all(axis=0)
        length = np.full(len(boxes), np.inf)
        if known.any():
            length[known] = geod.inv(*start[:, known], *end[:, known])[2]
        lengths.append(length)
    return np.stack(lengths, axis=1)


@lru_cache(maxsize=256)
def _ellipsoid_of(crs: str) -> tuple[str | None, Geod]:
    """Return the geographic system of a coordinate system, None for none, and its ellipsoid."""
    system = parse_crs(crs)
    geographic = system.geodetic_crs
    geod = system.get_geod() or Geod(ellps="WGS84")
    return None if geographic is None else geographic.to_wkt(), geod


@lru_cache(maxsize=256)
def meters_per_unit(crs: str) -> float | None:
    """Return metres per unit of the axes, or None where the axes are angles."""
    system = parse_crs(crs)
    horizontal = system.sub_crs_list[0] if system.is_compound else system
    axes = horizontal.axis_info
    if system.is_geographic or not axes:
        return None
    return float(axes[0].unit_conversion_factor)


@lru_cache(maxsize=256)
def degrees_per_unit(crs: str) -> float:
    """Return degrees per unit of a geographic system's axes: 1, or 0.9 where they are in grads."""
    axes = parse_crs(crs).axis_info
    if not axes:
        return 1.0
    degrees = math.degrees(axes[0].unit_conversion_factor)
    # a factor that is written with few digits is still that of degrees
    return 1.0 if abs(degrees - 1) < 1e-9 else degrees


@lru_cache(maxsize=256)
def _is_mercator(crs: str) -> bool:
    """Return whether a system is normal (pseudo-)Mercator, not to scale off the equator."""
    operation = parse_crs(crs).coordinate_operation
    if operation is None:
        return False
    name = operation.method_name.lower()
    return "mercator" in name and "transverse" not in name and "oblique" not in name


def box_polygons(boxes_xyxy: ArrayLike, transform: Affine) -> NDArray[np.object_]:
    """Return boxes (N, 4) xyxy px as map quadrilaterals (N,), corners in pixel order."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    cols = boxes[:, [0, 2, 2, 0, 0]]
    rows = boxes[:, [1, 1, 3, 3, 1]]
    x, y = pixel_to_world(transform, cols, rows)
    return np.asarray(shapely.polygons(np.stack([x, y], axis=-1)), dtype=object)


def is_engineering(crs: str) -> bool:
    """Return whether a system is a local one without a place on Earth."""
    return bool(parse_crs(crs).is_engineering)


def is_true_metric(crs: str, bounds_xyxy: tuple[float, float, float, float] | None = None) -> bool:
    """Return whether a unit of both axes is a true metre on the ground, to `PLANAR_TOLERANCE`.

    Not so in systems of angles or feet, in Mercator (whatever its name) and equirectangular ones
    away from their true parallels, in equal-area cylinders, ...: measured, not read off the name.

    Args:
        crs: coordinate system.
        bounds_xyxy: left, bottom, right, top of the ground in question, in the system; None asks
            for the kind of system alone: whether it is made for lengths, as UTM is.
    """
    unit = meters_per_unit(crs)
    if unit is None or abs(unit - 1) >= 1e-9:
        return False
    system = parse_crs(crs)
    if not system.is_projected:
        return bool(system.is_engineering)
    if bounds_xyxy is None:
        return not _is_cylindrical(crs)
    if _is_mercator(crs):
        return False
    left, bottom, right, top = bounds_xyxy
    for x in (left, (left + right) / 2, right):
        for y in (bottom, (bottom + top) / 2, top):
            square = Affine(1, 0, x, 0, -1, y)
            sides = _geodesic_sides(np.array([[-0.5, -0.5, 0.5, 0.5]]), square, crs)
            if not (np.abs(sides - 1) < PLANAR_TOLERANCE).all():
                return False
    return True


@lru_cache(maxsize=256)
def _is_cylindrical(crs: str) -> bool:
    """Return whether a system has straight meridians and parallels, so that its scale varies."""
    operation = parse_crs(crs).coordinate_operation
    if operation is None:
        return False
    name = operation.method_name.lower()
    straight = ("equidistant cylindrical", "equal area cylindrical", "plate carr", "miller")
    return _is_mercator(crs) or any(word in name for word in straight) or "cylindrical" in name


def is_geographic(crs: str | None) -> bool:
    """Return whether a system's axes are longitude and latitude."""
    return crs is not None and bool(parse_crs(crs).is_geographic)


def extent_in_crs(
    transform: Affine, shape_hw: tuple[int, int], *, scene_crs: str | None, crs: str | None
) -> BaseGeometry | None:
    """Return a rectangle in another system around a scene, 2 % larger; None where it is unbounded.

    Longitudes go on beyond 180 where a scene crosses the antimeridian: compare with
    `antimeridian.with_wrapped_copies` of other shapes.

    Args:
        transform: pixel -> world of the scene.
        shape_hw: its rows and columns, px.
        scene_crs: its coordinate system.
        crs: the other system; None takes the scene's.
    """
    cols, rows = _border_px(shape_hw)
    x, y = pixel_to_world(transform, cols, rows)
    if crs is not None and not same_crs(crs, scene_crs):
        x, y = transformer(str(scene_crs), crs).transform(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    if is_geographic(crs):
        x, is_around_pole = unwrap_ring(x)
        if is_around_pole:
            return None
    extent: BaseGeometry = box(x.min(), y.min(), x.max(), y.max())
    return extent


def _border_px(shape_hw: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return columns and rows of points around a scene, 2 % and 2 px outside its border."""
    height, width = shape_hw
    margin_x = 0.02 * width + 2
    margin_y = 0.02 * height + 2
    side = np.linspace(0, 1, POINTS_PER_EXTENT_SIDE)
    low = np.zeros(POINTS_PER_EXTENT_SIDE)
    high = np.ones(POINTS_PER_EXTENT_SIDE)
    cols = np.concatenate([side, high, side, low]) * (width + 2 * margin_x) - margin_x
    rows = np.concatenate([low, side, high, side]) * (height + 2 * margin_y) - margin_y
    return cols, rows


@lru_cache(maxsize=4096)  # asked for at opening, for overlaps, and for every file of results
def footprint_4326(
    transform: Affine, crs: str | None, shape_hw: tuple[int, int]
) -> BaseGeometry | None:
    """Return a scene's outline in longitude and latitude; None for a local grid.

    It is in two parts where the scene crosses the antimeridian. Where the corners of a scene are
    not on Earth (a whole disc seen from space), it is the hull of what is.

    Raises:
        DataError: no part of the scene has longitude and latitude.
    """
    if crs is None:
        return None
    side = np.linspace(0.0, 1.0, POINTS_PER_SIDE)[:-1]
    zero = np.zeros_like(side)
    one = np.ones_like(side)
    cols = np.concatenate([side, one, side[::-1] + side[1], zero]) * shape_hw[1]
    rows = np.concatenate([zero, side, one, side[::-1] + side[1]]) * shape_hw[0]
    lon, lat = transformer(crs, WGS84).transform(*pixel_to_world(transform, cols, rows))
    is_on_earth = np.isfinite(lon) & np.isfinite(lat)
    if is_on_earth.sum() < 3:
        return _hull_on_earth(transform, crs, shape_hw)
    return polygon_from_ring(lon[is_on_earth], lat[is_on_earth])


def _hull_on_earth(transform: Affine, crs: str, shape_hw: tuple[int, int]) -> BaseGeometry:
    """Return the hull in longitude and latitude of those points of a scene that are on Earth.

    Raises:
        DataError: there are none.
    """
    steps = np.linspace(0.0, 1.0, POINTS_PER_SIDE)
    cols, rows = np.meshgrid(steps * shape_hw[1], steps * shape_hw[0])
    world_xy = pixel_to_world(transform, cols.ravel(), rows.ravel())
    lonlat = np.stack(transformer(crs, WGS84).transform(*world_xy), axis=1)
    hull: BaseGeometry = MultiPoint(lonlat[np.isfinite(lonlat).all(axis=1)]).convex_hull
    if hull.area > 0:
        return hull
    raise DataError(
        f"The scene's corners have no longitude and latitude in {crs[:60]}. "
        "Correct the raster's georeference."
    )
