"""How many objects are to be expected among detections, from their calibrated scores.

Each detection is an object with the probability of its score, apart from the others, so their
number has the Poisson-binomial distribution (exact up to `MAX_EXACT`, beyond it nearly normal).
Objects that were not detected are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.errors import DataError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.scene_layers import footprint_in
from windhover.imagery.vector_files import read_layer

MAX_EXACT = 1000
TAIL = 0.025  # on each side of a 95 % interval
NORMAL_QUANTILE = 1.959964
NO_DATE = "unknown"
AREAS_LAYER = "aoi"
VALUES = ("detections", "expected", "low", "high")


class ExpectedCount(NamedTuple):
    """Objects to be expected among some detections.

    Attributes:
        detections: their number.
        expected: sum of their scores.
        low: lower end of the 95 % interval, a whole number.
        high: its upper end.
    """

    detections: int
    expected: float
    low: int
    high: int


def expected_count(scores: NDArray[np.float64]) -> ExpectedCount:
    """Return how many of detections (N,) are objects, with a 95 % interval."""
    n = len(scores)
    expected = float(scores.sum())
    if n <= MAX_EXACT:
        below = np.cumsum(_poisson_binomial(scores))
        low = int(np.searchsorted(below, TAIL))
        high = int(np.searchsorted(below, 1 - TAIL))
    else:
        half = NORMAL_QUANTILE * float(np.sqrt((scores * (1 - scores)).sum())) + 0.5
        low = int(np.floor(expected - half))
        high = int(np.ceil(expected + half))
    return ExpectedCount(n, round(expected, 3), max(low, 0), min(high, n))


def _poisson_binomial(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability (N + 1,) of each number of successes, one trial after another."""
    chances = np.zeros(len(scores) + 1)
    chances[0] = 1.0
    for score in scores:
        chances[1:] = chances[1:] * (1 - score) + chances[:-1] * score
        chances[0] *= 1 - score
    return chances


def count_by_scene(table: pd.DataFrame, summary: DetectionSummary) -> pd.DataFrame:
    """Return a row for each scene: what was found, how many objects that is, and km2 searched."""
    rows = []
    for scene in summary.scenes:
        scores = table.loc[table["scene"] == scene.scene, "score"].to_numpy(np.float64)
        row: dict[str, Any] = {"scene": scene.scene, "date": _date(scene.acquired)}
        rows.append(row | _values(scores) | {"km2": scene.km2})
    return pd.DataFrame(rows, columns=["scene", "date", *VALUES, "km2"])


def count_by_date(table: pd.DataFrame, summary: DetectionSummary) -> pd.DataFrame:
    """Return a row for each day on which scenes were taken; `unknown` where rasters have none."""
    date_of = {scene.scene: _date(scene.acquired) for scene in summary.scenes}
    dates = table["scene"].map(date_of)
    rows = []
    for date in sorted(set(date_of.values())):
        scenes = [scene for scene in summary.scenes if date_of[scene.scene] == date]
        scores = table.loc[dates == date, "score"].to_numpy(np.float64)
        row: dict[str, Any] = {"date": date, "scenes": len(scenes)}
        known = [scene.km2 for scene in scenes if scene.km2 is not None]
        rows.append(row | _values(scores) | {"km2": round(sum(known), 6)})
    return pd.DataFrame(rows, columns=["date", "scenes", *VALUES, "km2"])


def _date(acquired: str | None) -> str:
    return NO_DATE if acquired is None else acquired[:10]


def _values(scores: NDArray[np.float64]) -> dict[str, Any]:
    return expected_count(scores)._asdict()


def read_areas(path: Path) -> geopandas.GeoDataFrame:
    """Return the polygons of a layer that objects are counted in.

    Raises:
        FormatError: the file cannot be read.
        DataError: it holds no polygon, or has no coordinate system.
    """
    areas = read_layer(path, AREAS_LAYER)
    areas = areas[areas.geometry.notna() & ~areas.geometry.is_empty].reset_index(drop=True)
    if areas.crs is None:
        raise DataError(
            f"{path}: has no coordinate system, so it is not known where its polygons are. "
            "State it: ogr2ogr -a_srs EPSG:... OUT.gpkg IN."
        )
    if not len(areas) or not (areas.geometry.area > 0).any():
        raise DataError(f"{path}: holds no polygon. Draw the areas as polygons.")
    return areas


def count_by_area(
    table: pd.DataFrame, summary: DetectionSummary, areas_path: Path
) -> geopandas.GeoDataFrame:
    """Return the polygons of a layer, each with the detections whose centres are in it.

    Args:
        table: of detections on Earth.
        summary: of the search.
        areas_path: vector file of polygons.

    Returns:
        its columns, and `detections`, `expected`, `low`, `high`, and `share_searched`: how much of
        the polygon is in the scenes, 0..1.

    Raises:
        FormatError: the file cannot be read.
        DataError: it holds no polygon, or has no coordinate system.
    """
    areas = read_areas(areas_path)
    areas = areas.drop(columns=[name for name in (*VALUES, "share_searched") if name in areas])
    on_earth = table[table["lon"].notna()]
    centers = geopandas.points_from_xy(on_earth["lon"], on_earth["lat"], crs=4326).to_crs(areas.crs)
    tree = shapely.STRtree(np.asarray(centers))
    scores = on_earth["score"].to_numpy(np.float64)
    footprints = [
        footprint_in(scene, geopandas.GeoSeries([], crs=4326).crs)
        for scene in summary.scenes
        if scene.crs is not None
    ]
    searched = geopandas.GeoSeries(footprints, crs=4326).to_crs(areas.crs).union_all()
    rows = []
    for shape in shapely.make_valid(areas.geometry.to_numpy()):
        inside = tree.query(shape, predicate="intersects")
        share = shapely.area(shapely.intersection(shape, searched)) / max(shape.area, 1e-30)
        rows.append(_values(scores[np.sort(inside)]) | {"share_searched": round(float(share), 6)})
    counts = pd.DataFrame(rows, columns=[*VALUES, "share_searched"])
    return geopandas.GeoDataFrame(pd.concat([areas, counts], axis=1), crs=areas.crs)


def named_counters() -> dict[str, Callable[[pd.DataFrame, DetectionSummary], pd.DataFrame]]:
    """Return the tables of counts that need no other file, by name."""
    return {"counts_by_scene": count_by_scene, "counts_by_date": count_by_date}


def count_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of a table of areas that go into a table without shapes."""
    return [name for name in names if name != "geometry"]
