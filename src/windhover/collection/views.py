"""Views: detections of many rasters as plain arrays on the ground, in metres on any place of Earth.

Positions are geocentric, so that neither zones, nor the antimeridian, nor the poles part what is
near. Holds no text and no shape.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.georef import (
    is_engineering,
    meters_per_unit,
    parse_crs,
    transformer,
)
from windhover.inference.detection_columns import SCENE_CRS

GEODETIC = "EPSG:4979"  # longitude, latitude and height of WGS 84
GEOCENTRIC = "EPSG:4978"
EARTH = 0  # the frame of all views with longitude and latitude
CORNERS = 4
MIN_SIDE_M = 1e-3  # of a box, so that distances in its sizes are finite


@dataclass(frozen=True)
class Views:
    """Detections, each one view of an object in one raster.

    Attributes:
        frame: (N,) number of the space of `xyz`: 0 is Earth, others are local grids.
        xyz: (N, 3) centres, m: geocentric on the ellipsoid, or x, y and 0 of a local grid.
        lonlat: (N, 2) centres, degrees; x and y of a local grid.
        sides_m: (N, 2) extent of the box to the east and to the north, or along x and y.
        size_m: (N,) root of the box's area.
        class_index: (N,) number of the class.
        scene: (N,) number of the raster.
        score: (N,) calibrated probability, 0..1.
        edge: (N,) whether a window about it leaves the raster, or its box reaches the border.
    """

    frame: Ints
    xyz: Floats
    lonlat: Floats
    sides_m: Floats
    size_m: Floats
    class_index: Ints
    scene: Ints
    score: Floats
    edge: Bools

    def __len__(self) -> int:
        return len(self.score)

    def select(self, rows: NDArray[np.integer] | Bools) -> Views:
        """Return the views of `rows`, a mask (N,) or indices."""
        return Views(*(getattr(self, field.name)[rows] for field in fields(self)))


class Numbering:
    """Numbers of texts, in the order in which they come."""

    def __init__(self, *texts: str) -> None:
        """Number some texts from 0."""
        self.texts: list[str] = []
        self._number: dict[str, int] = {}
        self.numbers_of(np.array(texts, object))

    def numbers_of(self, texts: NDArray[np.object_]) -> Ints:
        """Return the number (N,) of each text; new ones get the next."""
        numbers = np.empty(len(texts), np.int64)
        for index, text in enumerate(texts.tolist()):
            number = self._number.setdefault(text, len(self.texts))
            if number == len(self.texts):
                self.texts.append(text)
            numbers[index] = number
        return numbers


def views_of_table(
    table: geopandas.GeoDataFrame, scenes: Ints, *, classes: Numbering, frames: Numbering
) -> Views:
    """Return the views of detections of any coordinate systems.

    Args:
        table: of `result_table`, each box in the system `scene_crs`.
        scenes: (N,) number of each row's raster.
        classes: numbers of classes; new ones are added.
        frames: numbers of local grids from 1 on, since 0 is Earth; new ones are added.
    """
    count = len(table)
    frame = np.zeros(count, np.int64)
    xyz = np.zeros((count, 3))
    lonlat = np.zeros((count, 2))
    sides = np.zeros((count, 2))
    systems = table[SCENE_CRS].astype(object).where(table[SCENE_CRS].notna(), "")
    for crs, rows in table.groupby(systems.to_numpy(object), sort=False).indices.items():
        part = table.iloc[rows]
        if crs and not is_engineering(str(crs)):
            lonlat[rows] = part[["lon", "lat"]].to_numpy(np.float64)
            xyz[rows] = _geocentric(lonlat[rows])
            sides[rows] = _sides_on_earth(part, str(crs), lonlat[rows], xyz[rows])
            continue
        scale = 1.0
        names = part["scene"].astype(object).to_numpy()  # a grid of each raster's own
        if crs:
            scale = meters_per_unit(str(crs)) or 1.0
            names = np.full(len(rows), parse_crs(str(crs)).to_wkt(), object)
        frame[rows] = frames.numbers_of(names)
        lonlat[rows] = part[["x", "y"]].to_numpy(np.float64)
        xyz[rows, :2] = lonlat[rows] * scale
        bounds = shapely.bounds(part.geometry.to_numpy())
        sides[rows] = (bounds[:, 2:] - bounds[:, :2]) * scale
    sides = np.maximum(sides, MIN_SIDE_M)
    return Views(
        frame=frame,
        xyz=xyz,
        lonlat=lonlat,
        sides_m=sides,
        size_m=_sizes(table, sides),
        class_index=classes.numbers_of(table["class"].astype(object).to_numpy()),
        scene=np.asarray(scenes, np.int64),
        score=table["score"].to_numpy(np.float64),
        edge=table["edge"].to_numpy(bool),
    )


def directions(lonlat: Floats) -> tuple[Floats, Floats]:
    """Return the unit vectors (N, 3) to the east and to the north at places (N, 2), degrees."""
    lon, lat = np.radians(lonlat).T
    zero = np.zeros_like(lon)
    east = np.stack([-np.sin(lon), np.cos(lon), zero], axis=1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=1)
    return east, north


def _geocentric(lonlat: Floats) -> Floats:
    """Return places (N, 2) in degrees as (N, 3) metres from the middle of Earth."""
    zero = np.zeros(len(lonlat))
    project = transformer(GEODETIC, GEOCENTRIC)
    return np.stack(project.transform(lonlat[:, 0], lonlat[:, 1], zero), axis=1)


def _sides_on_earth(
    part: geopandas.GeoDataFrame, crs: str, lonlat: Floats, center_xyz: Floats
) -> Floats:
    """Return how far boxes (N, 2) reach to the east and to the north, metres."""
    boxes = part.geometry.to_numpy()
    has_corners = shapely.get_num_coordinates(boxes) == CORNERS + 1  # others were cut somewhere
    corners = shapely.get_coordinates(np.where(has_corners, boxes, shapely.envelope(boxes)))
    corners = corners.reshape(len(part), CORNERS + 1, 2)[:, :CORNERS].reshape(-1, 2)
    corners_lonlat = np.stack(
        transformer(crs, "EPSG:4326").transform(corners[:, 0], corners[:, 1]), axis=1
    )
    offsets = _geocentric(corners_lonlat).reshape(-1, CORNERS, 3) - center_xyz[:, None]
    sides = []
    for direction in directions(lonlat):
        along = (offsets * direction[:, None]).sum(axis=2)
        sides.append(np.ptp(along, axis=1))
    return np.stack(sides, axis=1)


def _sizes(table: geopandas.GeoDataFrame, sides_m: Floats) -> Floats:
    """Return the root of each box's area (N,), m; of a box of unknown sides, that of its extent."""
    area = table["area_m2"].to_numpy(np.float64)
    extent = sides_m.prod(axis=1)
    return np.asarray(np.sqrt(np.where(np.isfinite(area) & (area > 0), area, extent)))
