"""Two vector files, detections and truth, brought to one plane in metres: the door for results of
any tool, in any CRS.

Refuses to guess: files of which one has a coordinate system and the other none, extents too wide
for one plane, and columns that are not there are errors that say what to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from windhover.errors import DataError, MissingFileError
from windhover.geometry.georef import unit_m
from windhover.imagery.vector_files import read_layer
from windhover.metrics.ground_truth import Ground

WIDEST_DEG = 6.0  # of longitude, for one UTM plane: within it lengths are true to 0.1 %
BLOCK_M = 1000.0  # side of the blocks that stand for scenes where nobody names any
WHOLE = "all"
DETECTIONS, TRUTH, AOI = (
    "detections",
    "labels",
    "aoi",
)  # layers that are taken where a file has several


@dataclass(frozen=True)
class VectorTruth:
    """Both files in one plane.

    Attributes:
        found: as `windhover.metrics.match_detections.judge` takes it.
        ground: the truth; `km2` is NaN where the area searched is not known.
        notes: what was assumed, in sentences.
        blocks: whether scenes are squares of the ground rather than named ones.
    """

    found: pd.DataFrame
    ground: Ground
    notes: tuple[str, ...]
    blocks: bool


def load_pair(
    detections: Path,
    truth: Path,
    aoi: Path | None = None,
    score: str = "score",
    ignore: Sequence[str] = (),
) -> VectorTruth:
    """Read two vector files and bring them to metres.

    Args:
        detections: boxes, polygons or points, with the score in a column.
        truth: boxes, polygons or points. Rows whose column `role` is `ignore` are free of charge.
        aoi: polygons of the area that was searched and is wholly labelled; nothing outside counts.
        score: the detections' column of scores; without it every detection scores 1.
        ignore: classes of the truth that are free of charge.

    Raises:
        MissingFileError: a file is not there.
        FormatError: a file cannot be read.
        DataError: the files cannot be brought to one plane, or scores are no numbers.
    """
    tables = [
        _read(detections, DETECTIONS),
        _read(truth, TRUTH),
        *([_read(aoi, AOI)] if aoi else []),
    ]
    notes: list[str] = []
    tables = _in_one_plane(tables, [detections, truth, *([aoi] if aoi else [])], notes)
    found, there = tables[0], tables[1]
    area = shapely.union_all(tables[2].geometry.to_numpy()) if aoi else None
    if area is not None:
        shapely.prepare(area)
        found, there = (
            table[shapely.intersects_xy(area, *centers_and_sides(table.geometry)[0].T)]
            for table in (found, there)
        )
    else:
        notes.append(
            "the area searched is not known, so there are no rates per km2. Give it with --aoi."
        )
    classed = "class" in found and "class" in there
    if not classed:
        notes.append("one file has no column `class`: everything is taken as one class, `object`.")
    named = "scene" in found and "scene" in there
    if not named:
        notes.append(
            f"no column `scene` in both: intervals are drawn over blocks of {BLOCK_M:.0f} m."
        )
    columns = (classed, named)
    ignored = _is_ignored(there, ignore)
    judged_found = _table(found, *columns).assign(score=_scores(found, score, detections, notes))
    objects = _table(there[~ignored], *columns)
    free = _table(there[ignored], *columns)[["scene", "geometry"]]
    names = sorted({*judged_found["scene"], *objects["scene"], *free["scene"]}) or [WHOLE]
    km2 = float(area.area / 1e6 / len(names)) if area is not None else float("nan")
    scenes = pd.DataFrame({"scene": names, "place": names, "km2": km2})
    return VectorTruth(
        judged_found, Ground(scenes, objects, free.reset_index(drop=True)), tuple(notes), not named
    )


def _read(path: Path, layer: str) -> geopandas.GeoDataFrame:
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file. Give a vector file: GeoPackage, GeoParquet, GeoJSON, shapefile."
        )
    table = read_layer(path, layer)
    return table[~(table.geometry.isna() | table.geometry.is_empty)]


def _in_one_plane(
    tables: list[geopandas.GeoDataFrame], paths: list[Path], notes: list[str]
) -> list[geopandas.GeoDataFrame]:
    """Return the tables in metres, of the first one's plane where it is one."""
    with_crs = [table.crs is not None for table in tables]
    if not any(with_crs):
        notes.append("no file names a coordinate system: coordinates are taken as metres.")
        return tables
    if not all(with_crs):
        bare = paths[with_crs.index(False)]
        raise DataError(
            f"{bare}: has no coordinate system and another file has one. Write its system into it."
        )
    plane = _metric(tables[1].crs) or _metric(tables[0].crs)
    if plane is None:
        plane = _utm(tables)
    if any(table.crs != plane for table in tables):
        notes.append(f"compared in {plane.name} ({plane.to_string()}), in metres.")
    return [table.to_crs(plane) for table in tables]


def _metric(crs: Any) -> CRS | None:
    """Return a system as it is when its unit is a true metre on the ground, else None."""
    system = CRS.from_user_input(crs)
    unit = unit_m(system.to_wkt()) if system.is_projected else None
    mercator = (
        "mercator" in str(system.coordinate_operation or "").lower()
        and "transverse" not in str(system.coordinate_operation).lower()
    )
    return system if unit is not None and abs(unit - 1) < 1e-9 and not mercator else None


def _utm(tables: list[geopandas.GeoDataFrame]) -> CRS:
    bounds = [table.to_crs(4326).total_bounds for table in tables if len(table)]
    if not bounds:
        return CRS.from_epsg(3857)
    west, south = np.nanmin([bound[:2] for bound in bounds], axis=0)
    east, north = np.nanmax([bound[2:] for bound in bounds], axis=0)
    if east - west > WIDEST_DEG:
        raise DataError(
            f"the files reach over {east - west:.0f} degrees of longitude, more than the {WIDEST_DEG:.0f} that one "
            "plane in metres holds. Assess them by parts."
        )
    zone = geopandas.GeoSeries([shapely.box(west, south, east, north)], crs=4326)
    return CRS.from_user_input(zone.estimate_utm_crs())


def centers_and_sides(shapes: Any) -> tuple[Any, Any]:
    """Return (N, 2) centres and (N,) longer sides of the boxes that fit shapes closest; the side of
    a point is NaN.

    Most shapes are boxes already; those are read off their corners, which is a hundred times faster
    than fitting.
    """
    shapes = np.asarray(shapes, object)
    centers, sides = np.full((len(shapes), 2), np.nan), np.full(len(shapes), np.nan)
    points = shapely.get_type_id(shapes) == 0
    centers[points] = shapely.get_coordinates(shapes[points])
    four = (shapely.get_type_id(shapes) == 3) & (shapely.get_num_coordinates(shapes) == 5)
    corners = shapely.get_coordinates(shapes[four]).reshape(-1, 5, 2)
    tolerance = 1e-6 * np.hypot(*(corners[:, 2] - corners[:, 0]).T) + 1e-9
    skew = np.hypot(*(corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]).T)
    unlike = np.abs(
        np.hypot(*(corners[:, 2] - corners[:, 0]).T) - np.hypot(*(corners[:, 3] - corners[:, 1]).T)
    )
    boxes = np.flatnonzero(four)[(skew <= tolerance) & (unlike <= tolerance)]
    rest = np.ones(len(shapes), bool)
    rest[boxes] = rest[points] = False
    for rows, fitted in (
        (boxes, shapes[boxes]),
        (np.flatnonzero(rest), shapely.oriented_envelope(shapes[rest])),
    ):
        solid = (
            shapely.get_num_coordinates(fitted) == 5
        )  # a line or a point has no sides worth a name
        corners = shapely.get_coordinates(fitted[solid]).reshape(-1, 5, 2)
        centers[rows[solid]] = (corners[:, 0] + corners[:, 2]) / 2
        sides[rows[solid]] = np.hypot(*np.moveaxis(np.diff(corners[:, :3], axis=1), 2, 0)).max(
            axis=1
        )
        centers[rows[~solid]] = shapely.get_coordinates(shapely.centroid(fitted[~solid]))
    return centers, sides


def _table(table: geopandas.GeoDataFrame, classed: bool, named: bool) -> pd.DataFrame:
    """Return the columns that are judged."""
    shapes = np.asarray(table.geometry.to_numpy(), object)
    centers, sides = centers_and_sides(shapes)
    scene: Any = table["scene"].astype(str).to_numpy(object) if named else WHOLE
    kind: Any = table["class"].astype(str).to_numpy(object) if classed else "object"
    return pd.DataFrame(
        {
            "scene": pd.Series(np.broadcast_to(scene, len(table)), dtype=object),
            "class": pd.Series(np.broadcast_to(kind, len(table)), dtype=object),
            "x_m": centers[:, 0],
            "y_m": centers[:, 1],
            "longer_m": sides,
            "geometry": pd.Series(shapes, dtype=object),
        }
    )


def _is_ignored(truth: geopandas.GeoDataFrame, ignore: Sequence[str]) -> Any:
    ignored = np.zeros(len(truth), bool)
    if "role" in truth:
        ignored |= (truth["role"] == "ignore").to_numpy()
    if ignore and "class" in truth:
        ignored |= truth["class"].isin(list(ignore)).to_numpy()
    return ignored


def _scores(found: geopandas.GeoDataFrame, column: str, path: Path, notes: list[str]) -> Any:
    if column not in found:
        notes.append(
            f"{path.name} has no column `{column}`: every detection scores 1, so the curve has one point."
        )
        return np.ones(len(found))
    scores = pd.to_numeric(found[column], errors="coerce").to_numpy(np.float64)
    if np.isnan(scores).any():
        raise DataError(
            f"{path}: {int(np.isnan(scores).sum())} values of `{column}` are no numbers. Mend them or name another one."
        )
    return scores


def by_blocks(judged: pd.DataFrame, ground: Ground) -> tuple[pd.DataFrame, Ground]:
    """Return the same with squares of the ground as scenes; a hit belongs to the square of its
    object.

    The area searched is shared out evenly.
    """
    objects = ground.objects.assign(scene=_block(ground.objects))
    scene = _block(judged)
    hit = judged["hit"].to_numpy()
    scene[hit] = objects["scene"].to_numpy(object)[judged["truth"].to_numpy()[hit]]
    names = sorted({*objects["scene"], *scene}) or [WHOLE]
    km2 = float(ground.scenes["km2"].sum(min_count=1)) / len(names)
    scenes = pd.DataFrame({"scene": names, "place": names, "km2": km2})
    return judged.assign(scene=scene), Ground(scenes, objects, ground.ignored.iloc[:0])


def _block(table: pd.DataFrame) -> Any:
    x, y = (np.floor(table[name] / BLOCK_M).astype(int).astype(str) for name in ("x_m", "y_m"))
    return ("block " + x + " " + y).to_numpy(object)
