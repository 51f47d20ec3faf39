"""Objects of a collection counted by date and by area, each once a date, with 95 % intervals.

An object that several rasters of one date show is one trial, with the score of its best view of
that date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Geod
from shapely.geometry.base import BaseGeometry

from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.export.expected_counts import (
    NO_DATE,
    count_by_area,
    count_columns,
    expected_count,
)
from windhover.export.scene_layers import searched_in
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.georef import WGS84, is_engineering

ALL_DATES = "all"


class FoundOnDates(NamedTuple):
    """Objects and dates on which they were found; one entry an object and date.

    Attributes:
        object_index: (K,) number of the object.
        date: (K,) number of the date.
        score: (K,) of its best view of that date.
    """

    object_index: Ints
    date: Ints
    score: Floats


def scene_dates(scenes: Sequence[SceneSummary]) -> tuple[list[str], Ints]:
    """Return the days (UTC) of all scenes in their order, and the number of each scene's day.

    The last one is `NO_DATE` where a raster holds no time.
    """
    days = [NO_DATE if scene.acquired is None else scene.acquired[:10] for scene in scenes]
    names = sorted(set(days), key=lambda day: (day == NO_DATE, day))
    number = {day: index for index, day in enumerate(names)}
    return names, np.array([number[day] for day in days], np.int64)


def ground_km2(scenes: Sequence[SceneSummary]) -> float | None:
    """Return the area of the searched outlines together, km2; None where one is a local grid."""
    shape = searched_ground(scenes)
    if shape is None:
        return None
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(shape))
    return round(abs(area) / 1e6, 6)


def searched_ground(scenes: Sequence[SceneSummary]) -> BaseGeometry | None:
    """Return the searched outlines together, in longitude and latitude; None with a local grid."""
    if any(scene.crs is None or is_engineering(scene.crs) for scene in scenes):
        return None
    crs = CRS.from_user_input(WGS84)
    shapes = [searched_in(scene, crs) for scene in scenes]
    union: BaseGeometry = shapely.union_all(shapely.make_valid(np.array(shapes, object)))
    return union


def count_by_date(
    found: FoundOnDates, scores: Floats, scenes: Sequence[SceneSummary]
) -> pd.DataFrame:
    """Return a row for each day, and one for all together.

    Args:
        found: objects and dates.
        scores: (M,) of the objects' best views.
        scenes: all that were searched.

    Returns:
        date, scenes, detections (objects found that day), expected, low, high, km2 (searched),
        km2_ground (each place once).
    """
    names, number = scene_dates(scenes)
    rows = []
    for index, name in enumerate([*names, ALL_DATES]):
        if name == ALL_DATES:
            chosen = list(scenes)
            values = scores
        else:
            chosen = [scenes[row] for row in np.flatnonzero(number == index).tolist()]
            values = found.score[found.date == index]
        km2 = sum(scene.km2 for scene in chosen if scene.km2 is not None)
        row: dict[str, Any] = {"date": name, "scenes": len(chosen)}
        row |= expected_count(np.sort(values))._asdict()
        rows.append(row | {"km2": round(km2, 6), "km2_ground": ground_km2(chosen)})
    return pd.DataFrame(rows).rename(columns={"detections": "objects"})


def count_by_area_and_date(
    found: FoundOnDates,
    objects: tuple[Floats, Floats, Bools],
    summary: DetectionSummary,
    areas: Path,
) -> pd.DataFrame:
    """Return a row for each polygon of a layer and each day, and one for all days together.

    Args:
        found: objects and dates.
        objects: longitude and latitude (M, 2), score (M,), and whether (M,) they are on Earth.
        summary: of the search, with all its scenes.
        areas: vector file of polygons.

    Raises:
        FormatError: the file cannot be read.
        DataError: it holds no polygon, or has no coordinate system.
    """
    lonlat, scores, on_earth = objects
    names, number = scene_dates(summary.scenes)
    parts = []
    for index, name in enumerate([*names, ALL_DATES]):
        rows = np.flatnonzero(on_earth)
        values = scores[rows]
        chosen = summary
        if name != ALL_DATES:
            is_of_date = (found.date == index) & on_earth[found.object_index]
            rows = found.object_index[is_of_date]
            values = found.score[is_of_date]
            scenes = [summary.scenes[row] for row in np.flatnonzero(number == index)]
            chosen = summary.of(scenes)
        order = np.lexsort((lonlat[rows, 1], lonlat[rows, 0], values))
        columns = {"lon": lonlat[rows, 0], "lat": lonlat[rows, 1], "score": values}
        counts = count_by_area(pd.DataFrame(columns).iloc[order], chosen, areas)
        counts = pd.DataFrame(counts[count_columns(counts.columns)])
        counts.insert(0, "date", name)
        parts.append(counts)
    return pd.concat(parts, ignore_index=True).rename(columns={"detections": "objects"})
