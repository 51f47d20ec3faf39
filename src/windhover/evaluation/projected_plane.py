"""One plane in metres for vector files of any coordinate system."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from windhover.errors import DataError
from windhover.geometry.antimeridian import joined_at_antimeridian
from windhover.geometry.georef import PLANAR_TOLERANCE, is_true_metric

# longitude that one UTM plane holds: within it lengths are true to 0.1 %
MAX_WIDTH_DEG = 6.0
# longitude without anything that parts two regions, and how far apart their planes are put
MIN_GAP_DEG = 0.1
# latitude from which on a region is laid on a plane around the pole: UTM ends at 84 and -80
UTM_END_DEG = 79.9
REGION_DISTANCE_M = 2e7
POLAR_PLANE = "a plane around the pole"


def to_metric_plane(
    tables: Sequence[geopandas.GeoDataFrame], paths: Sequence[Path]
) -> tuple[list[geopandas.GeoDataFrame], list[str]]:
    """Return tables in one plane in metres, and what was assumed, in sentences.

    Args:
        tables: detections, ground truth, and more.
        paths: of their files, for messages.

    Raises:
        DataError: some have a coordinate system and others none, or they reach too far for a
            plane.
    """
    with_crs = [table.crs is not None for table in tables]
    if not any(with_crs):
        note = "no file names a coordinate system: coordinates are taken as metres."
        return list(tables), [note]
    tables, notes = _without_system(tables, paths)
    made_for_lengths = [crs for crs in (tables[1].crs, tables[0].crs) if _is_metric(crs)]
    # objects can only be matched where there is truth
    ground = tables[1:] if len(tables[1]) else tables
    plane = next((crs for crs in made_for_lengths if _is_metric(crs, ground)), None)
    if plane is None:
        try:
            moved, note = _to_utm(tables)
        except DataError:
            if not made_for_lengths:
                raise
            plane = made_for_lengths[0]
            notes.append(_note_on_scale(plane))
        else:
            return moved, [*notes, note]
    if any(table.crs != plane for table in tables):
        notes.append(f"compared in {plane.name} ({plane.to_string()}), in metres.")
    return [table.to_crs(plane) for table in tables], notes


def _without_system(
    tables: Sequence[geopandas.GeoDataFrame], paths: Sequence[Path]
) -> tuple[list[geopandas.GeoDataFrame], list[str]]:
    """Return the tables, those of CSV files in the system of the others: CSV cannot name one.

    Raises:
        DataError: a file of another format has none.
    """
    known = next(table.crs for table in tables if table.crs is not None)
    taken = []
    notes = []
    for table, path in zip(tables, paths, strict=True):
        if table.crs is None and path.suffix.lower() == ".csv":
            table = table.set_crs(known)
            name = CRS.from_user_input(known).name
            notes.append(f"{path.name} names no coordinate system: taken as {name}, as the others.")
        elif table.crs is None:
            raise DataError(
                f"{path}: has no coordinate system and another file has one. "
                "Write its system into it."
            )
        taken.append(table)
    return taken, notes


def _is_metric(crs: Any, tables: Sequence[geopandas.GeoDataFrame] = ()) -> bool:
    """Return whether a system is made for lengths, and its unit a true metre on some ground.

    Args:
        crs: the system.
        tables: that cover the ground; none asks for the kind of system alone.
    """
    system = CRS.from_user_input(crs)
    if not tables:
        return is_true_metric(system.to_wkt())
    bounds = np.array([table.to_crs(system).total_bounds for table in tables if len(table)])
    if not len(bounds):
        return True
    extent = (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())
    return bool(np.isfinite(extent).all()) and is_true_metric(system.to_wkt(), extent)


def _note_on_scale(plane: CRS) -> str:
    """Return a sentence on a plane that is not true to scale, where no other holds the ground."""
    return (
        f"lengths in {plane.name} ({plane.to_string()}) are more than "
        f"{PLANAR_TOLERANCE:.0%} off those on this ground, and the files reach too far for one "
        "UTM zone: assess them by parts for true metres."
    )


def _to_utm(
    tables: Sequence[geopandas.GeoDataFrame],
) -> tuple[list[geopandas.GeoDataFrame], str]:
    """Return the tables in UTM, each region of ground in the zone of its middle; and a note.

    Regions stand so far apart in the plane that nothing of one is near anything of another.

    Raises:
        DataError: a region is too wide for a plane, or no region is in both of the first two.
    """
    lonlat = _joined([table.to_crs(4326) for table in tables])
    bounds = np.concatenate([table.geometry.bounds.to_numpy(np.float64) for table in lonlat])
    if not len(bounds):
        return list(tables), "nothing is in the files."
    regions = [(-np.inf, np.inf)]
    if np.abs(bounds[:, 1::2]).min() < UTM_END_DEG:
        regions = _split_by_longitude(bounds)
    names = []
    parts: list[list[geopandas.GeoDataFrame]] = [[] for _ in tables]
    is_shared = False
    for number, (west, east) in enumerate(regions):
        inside = [_between(table, west, east) for table in lonlat]
        is_shared |= bool(len(inside[0]) and len(inside[1]))
        extent = np.concatenate([part.geometry.bounds.to_numpy() for part in inside])
        middle = (extent[:, :2].min(axis=0) + extent[:, 2:].max(axis=0)) / 2
        plane = _plane_around(*middle.tolist())
        name = POLAR_PLANE if plane.name == "unknown" else plane.name
        names.append(f"{name} ({plane.to_string()})")
        for table_parts, part in zip(parts, inside, strict=True):
            moved = part.to_crs(plane).geometry.translate(xoff=number * REGION_DISTANCE_M)
            table_parts.append(part.set_geometry(moved).set_crs(None, allow_override=True))
    width = bounds[:, 2].max() - bounds[:, 0].min()
    if width > MAX_WIDTH_DEG and not is_shared and len(tables[0]) and len(tables[1]):
        raise DataError(
            f"the files reach over {width:.0f} degrees of longitude and have no ground in common"
            f"{_swapped_hint(lonlat)}. Give files of the same ground."
        )
    joined = [
        geopandas.GeoDataFrame(pd.concat(part)).loc[t.index]
        for part, t in zip(parts, tables, strict=True)
    ]
    return joined, f"compared in {', '.join(dict.fromkeys(names))}, in metres."


def _joined(tables: Sequence[geopandas.GeoDataFrame]) -> list[geopandas.GeoDataFrame]:
    """Return tables in longitude and latitude, ground across the antimeridian in one piece."""
    shapes = np.concatenate([table.geometry.to_numpy() for table in tables])
    shapes = joined_at_antimeridian(shapes, MIN_GAP_DEG)
    ends = np.cumsum([len(table) for table in tables])
    parts = np.split(shapes, ends[:-1])
    return [
        table.set_geometry(geopandas.GeoSeries(part, index=table.index, crs=4326))
        for table, part in zip(tables, parts, strict=True)
    ]


def _plane_around(lon: float, lat: float) -> CRS:
    """Return the UTM system of a point; near a pole, where UTM ends, a plane around the pole."""
    if abs(lat) >= UTM_END_DEG:
        pole = math.copysign(90, lat)
        return CRS.from_user_input(f"+proj=laea +lat_0={pole:g} +lon_0=0 +datum=WGS84 +units=m")
    middle = shapely.Point((lon + 180) % 360 - 180, lat)
    return CRS.from_user_input(geopandas.GeoSeries([middle], crs=4326).estimate_utm_crs())


def _swapped_hint(lonlat: Sequence[geopandas.GeoDataFrame]) -> str:
    """Return a hint where the ground would be common with x and y of one file swapped."""
    west, south, east, north = lonlat[0].total_bounds
    other = lonlat[1].total_bounds
    if west <= other[3] and other[1] <= east and south <= other[2] and other[0] <= north:
        return ": they would have with x and y of one of them swapped"
    return ""


def _split_by_longitude(bounds: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return west and east of the regions that gaps of longitude part; one where all fits a plane.

    Raises:
        DataError: a region is too wide for a plane.
    """
    west, east = float(bounds[:, 0].min()), float(bounds[:, 2].max())
    if east - west <= MAX_WIDTH_DEG:
        return [(west, east)]
    regions: list[tuple[float, float]] = []
    for left, right in sorted(map(tuple, bounds[:, [0, 2]])):
        if regions and left <= regions[-1][1] + MIN_GAP_DEG:
            regions[-1] = (regions[-1][0], max(regions[-1][1], right))
        else:
            regions.append((left, right))
    widest = max(right - left for left, right in regions)
    if widest > MAX_WIDTH_DEG:
        raise DataError(
            f"the files reach over {widest:.0f} degrees of longitude without a gap, more than the "
            f"{MAX_WIDTH_DEG:.0f} that one plane in metres holds. Assess them by parts."
        )
    return regions


def _between(table: geopandas.GeoDataFrame, west: float, east: float) -> geopandas.GeoDataFrame:
    bounds = table.geometry.bounds
    return table[(bounds["minx"] >= west) & (bounds["maxx"] <= east)]
