"""Two vector files, detections and ground truth, in one plane: results of any tool, in any CRS.

Nothing is guessed: files of which one has a coordinate system and the other none, extents too wide
for one plane, and columns that are missing are errors or notes.
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
from numpy.typing import NDArray

from windhover.errors import DataError, MissingFileError
from windhover.evaluation.metric_plane import to_metric_plane
from windhover.geometry.arrays import Bools, Floats
from windhover.imagery.vector_files import read_layer
from windhover.metrics.ground_truth import GroundTruth

# side of the grid cells that stand for scenes in files without a column of them
GRID_CELL_M = 1000.0
# the scene of all rows of a file without scenes
WHOLE = "all"
# the class of all rows of a file without classes
ANY_CLASS = "object"
# the layers that are read of a file with several
DETECTIONS_LAYER = "detections"
TRUTH_LAYER = "labels"
AOI_LAYER = "aoi"
# shapely's type ids
POINT = 0
POLYGON = 3
# coordinates of a closed outline with four corners
BOX_COORDINATES = 5


@dataclass(frozen=True)
class VectorPair:
    """Detections and ground truth in one plane.

    Attributes:
        detections: as `windhover.metrics.match_detections` takes them.
        ground_truth: `km2` is NaN if the area searched is not known.
        notes: what was assumed, in sentences.
        has_scenes: whether both files name the scene of each row.
    """

    detections: pd.DataFrame
    ground_truth: GroundTruth
    notes: tuple[str, ...]
    has_scenes: bool


def load_vector_pair(
    detections: Path,
    truth: Path,
    aoi: Path | None = None,
    *,
    score_column: str = "score",
    ignored_classes: Sequence[str] = (),
) -> VectorPair:
    """Read two vector files and bring them to metres.

    Args:
        detections: boxes, polygons or points, with the score in a column.
        truth: boxes, polygons or points. Rows whose column `role` is `ignore` are ignore regions.
        aoi: polygons of the area that was searched and is wholly labelled; nothing outside counts.
        score_column: of the detections; without it every detection scores 1.
        ignored_classes: classes of the ground truth that are ignore regions.

    Raises:
        MissingFileError: a file is not there.
        FormatError: a file cannot be read.
        DataError: the files cannot be brought to one plane, or scores are no numbers.
    """
    paths = [detections, truth]
    tables = [_read_shapes(detections, DETECTIONS_LAYER), _read_shapes(truth, TRUTH_LAYER)]
    if aoi is not None:
        paths.append(aoi)
        tables.append(_read_shapes(aoi, AOI_LAYER))
    tables, notes = to_metric_plane(tables, paths)
    found, true = tables[:2]
    area_km2 = float("nan")
    if aoi is not None:
        area = shapely.union_all(tables[2].geometry.to_numpy())
        area_km2 = float(area.area / 1e6)
        found, true = (_centered_within(table, area) for table in (found, true))
    has_classes = "class" in found and "class" in true
    has_scenes = "scene" in found and "scene" in true
    notes += _missing_notes(aoi=aoi, has_classes=has_classes, has_scenes=has_scenes)
    scores, score_notes = _read_scores(found, score_column, detections)
    is_ignored = _is_ignored(true, ignored_classes)
    ignored = _metric_table(true[is_ignored], has_classes, has_scenes)
    objects = _metric_table(true[~is_ignored], has_classes, has_scenes)
    found_table = _metric_table(found, has_classes, has_scenes).assign(score=scores)
    names = sorted({*found_table["scene"], *objects["scene"], *ignored["scene"]}) or [WHOLE]
    ground_truth = GroundTruth(
        scenes=_scenes(names, area_km2),
        objects=objects,
        ignored=ignored[["scene", "geometry"]].reset_index(drop=True),
    )
    return VectorPair(found_table, ground_truth, tuple(notes + score_notes), has_scenes)


def _read_shapes(path: Path, layer: str) -> geopandas.GeoDataFrame:
    """Return the rows of a vector file that have a geometry."""
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file. Give a vector file: GeoPackage, GeoParquet, GeoJSON, shapefile."
        )
    table = read_layer(path, layer)
    return table[~(table.geometry.isna() | table.geometry.is_empty)]


def _centered_within(table: geopandas.GeoDataFrame, area: Any) -> geopandas.GeoDataFrame:
    """Return the rows whose centre is in an area, borders included."""
    shapely.prepare(area)
    x, y = centers_and_sides(table.geometry)[0].T
    return table[shapely.intersects_xy(area, x, y)]


def _missing_notes(*, aoi: Path | None, has_classes: bool, has_scenes: bool) -> list[str]:
    """Return a sentence for each thing that the files do not have."""
    notes = []
    if aoi is None:
        notes.append(
            "the area searched is not known, so there are no rates per km2. Give it with --aoi."
        )
    if not has_classes:
        notes.append(
            f"one file has no column `class`: everything is taken as one class, `{ANY_CLASS}`."
        )
    if not has_scenes:
        notes.append(
            f"no column `scene` in both: intervals are over grid cells of {GRID_CELL_M:.0f} m."
        )
    return notes


def centers_and_sides(shapes: Any) -> tuple[Floats, Floats]:
    """Return (N, 2) centres and (N,) longer sides of the closest-fitting boxes of shapes.

    The side of a point is NaN. Most shapes are boxes already; those are read off their corners,
    which is a hundred times faster than fitting.
    """
    shapes = np.asarray(shapes, object)
    centers = np.full((len(shapes), 2), np.nan)
    sides = np.full(len(shapes), np.nan)
    is_point = shapely.get_type_id(shapes) == POINT
    centers[is_point] = shapely.get_coordinates(shapes[is_point])
    is_box = _is_box(shapes)
    is_other = ~(is_box | is_point)
    fitted_boxes = (
        (np.flatnonzero(is_box), shapes[is_box]),
        (np.flatnonzero(is_other), shapely.oriented_envelope(shapes[is_other])),
    )
    for rows, boxes in fitted_boxes:
        # a line or a point has no sides
        has_sides = shapely.get_num_coordinates(boxes) == BOX_COORDINATES
        corners = _corners(boxes[has_sides])
        edges = np.moveaxis(np.diff(corners[:, :3], axis=1), 2, 0)  # (2, M, 2)
        centers[rows[has_sides]] = (corners[:, 0] + corners[:, 2]) / 2
        sides[rows[has_sides]] = np.hypot(*edges).max(axis=1)
        centers[rows[~has_sides]] = shapely.get_coordinates(shapely.centroid(boxes[~has_sides]))
    return centers, sides


def _corners(shapes: NDArray[Any]) -> Floats:
    """Return (M, 5, 2) corners of shapes with four, the first one again at the end."""
    return np.asarray(shapely.get_coordinates(shapes).reshape(-1, BOX_COORDINATES, 2), np.float64)


def _is_box(shapes: NDArray[Any]) -> Bools:
    """Return (N,) which shapes are rectangles, turned ones too: their diagonals are alike."""
    is_polygon = shapely.get_type_id(shapes) == POLYGON
    has_four = is_polygon & (shapely.get_num_coordinates(shapes) == BOX_COORDINATES)
    corners = _corners(shapes[has_four])
    first_diagonal = np.hypot(*(corners[:, 2] - corners[:, 0]).T)
    second_diagonal = np.hypot(*(corners[:, 3] - corners[:, 1]).T)
    between_middles = corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]
    tolerance = 1e-6 * first_diagonal + 1e-9
    is_rectangle = np.hypot(*between_middles.T) <= tolerance
    is_rectangle &= np.abs(first_diagonal - second_diagonal) <= tolerance
    is_box = np.zeros(len(shapes), bool)
    is_box[np.flatnonzero(has_four)[is_rectangle]] = True
    return is_box


def _metric_table(
    table: geopandas.GeoDataFrame, has_classes: bool, has_scenes: bool
) -> pd.DataFrame:
    """Return the columns that are matched, in the plane's metres."""
    shapes = np.asarray(table.geometry.to_numpy(), object)
    centers, sides = centers_and_sides(shapes)
    scene: Any = WHOLE
    if has_scenes:
        scene = table["scene"].astype(str).to_numpy(object)
    class_name: Any = ANY_CLASS
    if has_classes:
        class_name = table["class"].astype(str).to_numpy(object)
    return pd.DataFrame(
        {
            "scene": pd.Series(np.broadcast_to(scene, len(table)), dtype=object),
            "class": pd.Series(np.broadcast_to(class_name, len(table)), dtype=object),
            "x_m": centers[:, 0],
            "y_m": centers[:, 1],
            "longer_m": sides,
            "geometry": pd.Series(shapes, dtype=object),
        }
    )


def _is_ignored(truth: geopandas.GeoDataFrame, ignored_classes: Sequence[str]) -> Bools:
    ignored = np.zeros(len(truth), bool)
    if "role" in truth:
        ignored |= (truth["role"] == "ignore").to_numpy()
    if ignored_classes and "class" in truth:
        ignored |= truth["class"].isin(list(ignored_classes)).to_numpy()
    return ignored


def _read_scores(
    found: geopandas.GeoDataFrame, column: str, path: Path
) -> tuple[Floats, list[str]]:
    """Return the score of each detection, and a sentence if the file has none."""
    if column not in found:
        note = (
            f"{path.name} has no column `{column}`: every detection scores 1, so the curve has one "
            "point."
        )
        return np.ones(len(found)), [note]
    scores = pd.to_numeric(found[column], errors="coerce").to_numpy(np.float64)
    n_missing = int(np.isnan(scores).sum())
    if n_missing:
        raise DataError(
            f"{path}: {n_missing} values of `{column}` are no numbers. Correct them, or name "
            "another column."
        )
    return scores, []


def _scenes(names: list[str], total_km2: float) -> pd.DataFrame:
    """Return scenes that share an area evenly, each a place of its own."""
    return pd.DataFrame({"scene": names, "place": names, "km2": total_km2 / len(names)})


def group_by_grid_cell(
    matches: pd.DataFrame, ground_truth: GroundTruth
) -> tuple[pd.DataFrame, GroundTruth]:
    """Return the same with grid cells as scenes; a true positive is in the cell of its object.

    The area searched is divided evenly.
    """
    objects = ground_truth.objects.assign(scene=_grid_cell(ground_truth.objects))
    scene = _grid_cell(matches)
    is_tp = matches["is_tp"].to_numpy()
    object_index = matches["object_index"].to_numpy()
    scene[is_tp] = objects["scene"].to_numpy(object)[object_index[is_tp]]
    names = sorted({*objects["scene"], *scene}) or [WHOLE]
    total_km2 = float(ground_truth.scenes["km2"].sum(min_count=1))
    grouped = GroundTruth(_scenes(names, total_km2), objects, ground_truth.ignored.iloc[:0])
    return matches.assign(scene=scene), grouped


def _grid_cell(table: pd.DataFrame) -> NDArray[Any]:
    """Return (N,) the name of the cell of each row."""
    column = np.floor(table["x_m"] / GRID_CELL_M).astype(int).astype(str)
    row = np.floor(table["y_m"] / GRID_CELL_M).astype(int).astype(str)
    names: NDArray[Any] = ("cell " + column + " " + row).to_numpy(object)
    return names
