"""One plane in metres for vector files of any coordinate system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from pyproj import CRS

from windhover.errors import DataError
from windhover.geometry.georef import meters_per_unit

# longitude that one UTM plane holds: within it lengths are true to 0.1 %
MAX_WIDTH_DEG = 6.0


def to_metric_plane(
    tables: Sequence[geopandas.GeoDataFrame], paths: Sequence[Path]
) -> tuple[list[geopandas.GeoDataFrame], list[str]]:
    """Return tables in one plane in metres, and what was assumed, in sentences.

    Args:
        tables: detections, ground truth, and more.
        paths: of their files, for messages.

    Raises:
        DataError: some have a coordinate system and others none, or they reach too far for one
            plane.
    """
    with_crs = [table.crs is not None for table in tables]
    if not any(with_crs):
        note = "no file names a coordinate system: coordinates are taken as metres."
        return list(tables), [note]
    if not all(with_crs):
        path = paths[with_crs.index(False)]
        raise DataError(
            f"{path}: has no coordinate system and another file has one. Write its system into it."
        )
    plane = _metric_crs(tables[1].crs) or _metric_crs(tables[0].crs) or _utm_crs(tables)
    notes = []
    if any(table.crs != plane for table in tables):
        notes.append(f"compared in {plane.name} ({plane.to_string()}), in metres.")
    return [table.to_crs(plane) for table in tables], notes


def _metric_crs(crs: Any) -> CRS | None:
    """Return a system whose unit is a true metre on the ground as it is; None for others."""
    system = CRS.from_user_input(crs)
    if not system.is_projected or _is_mercator(system):
        return None
    meters = meters_per_unit(system.to_wkt())
    if meters is None or abs(meters - 1) >= 1e-9:
        return None
    return system


def _is_mercator(system: CRS) -> bool:
    """Return whether a system is Mercator but not transverse: its metres grow with latitude."""
    operation = str(system.coordinate_operation or "").lower()
    return "mercator" in operation and "transverse" not in operation


def _utm_crs(tables: Sequence[geopandas.GeoDataFrame]) -> CRS:
    """Return the UTM system in the middle of all tables.

    Raises:
        DataError: they reach too far for one plane.
    """
    bounds = [table.to_crs(4326).total_bounds for table in tables if len(table)]
    if not bounds:
        return CRS.from_epsg(3857)
    west, south = np.nanmin([bound[:2] for bound in bounds], axis=0)
    east, north = np.nanmax([bound[2:] for bound in bounds], axis=0)
    if east - west > MAX_WIDTH_DEG:
        raise DataError(
            f"the files reach over {east - west:.0f} degrees of longitude, more than the "
            f"{MAX_WIDTH_DEG:.0f} that one plane in metres holds. Assess them by parts."
        )
    extent = geopandas.GeoSeries([shapely.box(west, south, east, north)], crs=4326)
    return CRS.from_user_input(extent.estimate_utm_crs())
