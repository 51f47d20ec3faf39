"""Two vector files, detections and ground truth, in one plane: results of any tool, in any CRS.

Nothing is guessed: files of which one has a coordinate system and the other none, extents too wide
for one plane, columns that are missing, outlines that cross themselves and files that have nothing
in common are errors or notes.
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

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.evaluation.projected_plane import to_metric_plane
from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.objects import Objects
from windhover.imagery.vector_files import read_layer
from windhover.inference.detection_columns import SCENE_CRS
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.matching_table import matching_table

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
# no coordinate in degrees is larger
MAX_LONLAT = 361.0
# a text that a spreadsheet would compute, with the sign before it that CSV files of detections have
TEXT_OF_FORMULA = r"^'([=+\-@\t\r])"


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
    layers = {detections: DETECTIONS_LAYER, truth: TRUTH_LAYER}
    paths = [detections, truth]
    read = [_read_shapes(path, layers[path]) for path in paths]
    if aoi is not None:
        paths.append(aoi)
        read.append(_read_area(aoi))
    shape_notes = [note for _, part in read for note in part]
    tables, notes = to_metric_plane([table for table, _ in read], paths)
    notes = shape_notes + notes
    found, true = tables[:2]
    notes += _ground_notes(found, true, detections, truth)
    area_km2 = float("nan")
    if aoi is not None:
        area = shapely.union_all(tables[2].geometry.to_numpy())
        area_km2 = float(area.area / 1e6)
        found, true = (_centered_within(table, area) for table in (found, true))
    has_classes = "class" in found and "class" in true
    has_scenes = "scene" in found and "scene" in true
    notes += _missing_notes(aoi=aoi, has_classes=has_classes, has_scenes=has_scenes)
    for column, is_there in (("scene", has_scenes), ("class", has_classes)):
        if is_there:
            notes += _name_notes(found, true, column)
    scores, score_notes = _read_scores(found, score_column, detections)
    notes += _ignored_notes(true, ignored_classes)
    is_ignored = _is_ignored(true, ignored_classes)
    ignored = _metric_table(true[is_ignored], has_classes, has_scenes)
    objects = _metric_table(true[~is_ignored], has_classes, has_scenes)
    found_table = _metric_table(found, has_classes, has_scenes).assign(score=scores)
    names = sorted({*found_table["scene"], *objects["scene"], *ignored["scene"]}) or [WHOLE]
    ground_truth = GroundTruth(
        scenes=_scenes(names, area_km2),
        objects=objects,
        ignored=ignored[["scene", "geometry", "longer_m"]].reset_index(drop=True),
    )
    return VectorPair(found_table, ground_truth, tuple(notes + score_notes), has_scenes)


def _read_shapes(path: Path, layer: str) -> tuple[geopandas.GeoDataFrame, list[str]]:
    """Return the rows of a vector file that have a geometry, and what was done to them.

    Outlines that cross themselves are made valid; shapes at infinity are left out.
    """
    if path.is_dir() and path.suffix.lower() != ".gdb":
        raise FormatError(f"{path}: is a folder. Name the vector file in it.")
    if not path.exists():
        raise MissingFileError(
            f"{path}: no such file. Give a vector file: GeoPackage, GeoParquet, GeoJSON, shapefile."
        )
    table = _read_csv(path) if path.suffix.lower() == ".csv" else read_layer(path, layer)
    table = _in_one_system(table)
    is_shapeless = table.geometry.isna() | table.geometry.is_empty
    table = table[~is_shapeless]
    notes = []
    if is_shapeless.any():
        notes.append(f"{path.name}: {int(is_shapeless.sum())} rows have no shape: left out.")
    is_finite = np.isfinite(table.geometry.bounds.to_numpy(np.float64)).all(axis=1)
    if not is_finite.all():
        notes.append(
            f"{path.name}: {int((~is_finite).sum())} shapes have a corner at infinity: left out."
        )
        table = table[is_finite]
    is_crossed = ~table.geometry.is_valid.to_numpy(bool)
    if is_crossed.any():
        notes.append(f"{path.name}: {int(is_crossed.sum())} outlines cross themselves: made valid.")
        shapes = table.geometry.to_numpy().copy()
        shapes[is_crossed] = [_made_valid(shape) for shape in shapes[is_crossed]]
        table = table.set_geometry(geopandas.GeoSeries(shapes, index=table.index, crs=table.crs))
    return table, notes


def _made_valid(shape: Any) -> Any:
    """Return the polygons of a shape that crosses itself; the whole shape where there is none."""
    valid = shapely.make_valid(shape)
    parts = [part for part in shapely.get_parts(valid) if part.area > 0]
    if not parts:
        return valid
    return shapely.union_all(parts)


def _read_csv(path: Path) -> geopandas.GeoDataFrame:
    """Return a CSV table with its shapes, which are WKT in a column `geometry`, as `detect` writes.

    Raises:
        FormatError: it has no such column, or a value is no WKT.
    """
    try:
        table = pd.read_csv(path)
        shapes = shapely.from_wkt(table["geometry"].astype(object).where(table["geometry"].notna()))
    except (
        ValueError,
        OSError,
        KeyError,
        TypeError,
        NotImplementedError,  # curves
        shapely.errors.ShapelyError,
    ) as error:
        reason = " ".join(str(error).split())[:120].rstrip(". ")
        raise FormatError(
            f"{path}: a CSV file needs a column `geometry` with shapes as WKT ({reason}). "
            "Correct it, or give a GeoPackage."
        ) from None
    table = table.drop(columns="geometry")
    for name in table.select_dtypes(["object", "string"]):  # as `windhover.export` writes them
        table[name] = table[name].str.replace(TEXT_OF_FORMULA, r"\1", regex=True)
    return geopandas.GeoDataFrame(table, geometry=shapes)


def _in_one_system(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Return a table of several systems, named row by row in `scene_crs`, in longitude, latitude.

    Maps of several systems are so already; CSV files of them do not state it.
    """
    if table.crs is not None or SCENE_CRS not in table or table[SCENE_CRS].isna().any():
        return table
    if table.empty:
        return table.set_crs(4326)
    if (np.abs(table.total_bounds) <= MAX_LONLAT).all():
        return table.set_crs(4326)
    parts = []
    for crs, rows in table.groupby(SCENE_CRS, sort=False):
        parts.append(rows.set_crs(str(crs)).to_crs(4326))
    return geopandas.GeoDataFrame(pd.concat(parts)).loc[table.index]


def _read_area(path: Path) -> tuple[geopandas.GeoDataFrame, list[str]]:
    """Return the polygons of an area file, and what was done to them.

    Raises:
        DataError: it holds no polygon.
    """
    table, notes = _read_shapes(path, AOI_LAYER)
    is_area = table.geometry.area.to_numpy() > 0
    if not is_area.any():
        raise DataError(
            f"{path}: holds no polygon, and the area searched has to be polygons. "
            "Draw it as polygons."
        )
    if not is_area.all():
        notes.append(f"{path.name}: {int((~is_area).sum())} shapes are no polygons: left out.")
    return table[is_area], notes


def _ground_notes(
    found: geopandas.GeoDataFrame, true: geopandas.GeoDataFrame, detections: Path, truth: Path
) -> list[str]:
    """Return a sentence where detections and ground truth have no ground in common."""
    if found.empty or true.empty:
        return []
    shapely_boxes = [shapely.box(*table.total_bounds) for table in (found, true)]
    if shapely_boxes[0].intersects(shapely_boxes[1]):
        return []
    distance_km = shapely.distance(*shapely_boxes) / 1e3
    note = (
        f"{detections.name} and {truth.name} have no ground in common: they are {distance_km:.3g} "
        "km apart"
    )
    if _meet_when_swapped(found, true):
        note += "; with x and y of one of them swapped they would meet"
    return [f"{note}."]


def _meet_when_swapped(found: geopandas.GeoDataFrame, true: geopandas.GeoDataFrame) -> bool:
    """Return whether the truth would be on the detections' ground with its axes swapped."""
    for system in (4326, None):
        tables = [found, true]
        if system is not None:
            if found.crs is None:
                continue
            tables = [table.to_crs(system) for table in tables]
        first, second = (table.total_bounds for table in tables)
        swapped = shapely.box(second[1], second[0], second[3], second[2])
        if np.isfinite([*first, *second]).all() and shapely.box(*first).intersects(swapped):
            return True
    return False


def _name_notes(
    found: geopandas.GeoDataFrame, true: geopandas.GeoDataFrame, column: str
) -> list[str]:
    """Return a sentence where no scene, or no class, is in both files; classes without a name."""
    first, second = (sorted(set(_names_of(table, column)) - {""}) for table in (found, true))
    notes = []
    for kind, table in (("detections", found), ("objects", true)):
        n_unnamed = int((_names_of(table, column) == "").sum())
        if n_unnamed:
            notes.append(f"{n_unnamed} {kind} have no {column}: they are one of their own.")
    if not first or not second or set(first) & set(second):
        return notes
    note = (
        f"no {column} is in both files: the detections have {_some(first)}, "
        f"the ground truth {_some(second)}"
    )
    if {_folded(name) for name in first} & {_folded(name) for name in second}:
        note += "; they differ in capitals, blanks or a suffix alone"
    return [*notes, f"{note}. So nothing can match."]


def _folded(name: str) -> str:
    """Return a name without capitals, blanks, folder and suffix."""
    last = name.strip().lower().replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] or last


def _some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _names_of(table: pd.DataFrame, column: str) -> NDArray[Any]:
    """Return the values of a column as text, empty where missing; whole numbers without decimals.

    A column of whole numbers with a gap is read as 1.0, 2.0.
    """
    texts = table[column].astype("string").fillna("").str.strip()
    if table[column].dtype.kind == "f":
        texts = texts.where(texts.str.lower() != "nan", "")
    if texts.str.fullmatch(r"-?\d+(\.0+)?|").all():
        texts = texts.str.replace(r"\.0+$", "", regex=True)
    names: NDArray[Any] = texts.to_numpy(object)
    return names


def _centered_within(table: geopandas.GeoDataFrame, area: Any) -> geopandas.GeoDataFrame:
    """Return the rows whose centre is in an area, borders included."""
    shapely.prepare(area)
    x, y = fitted_boxes(table.geometry).centers_xy.T
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


def fitted_boxes(shapes: Any) -> Objects:
    """Return the closest-fitting boxes of shapes, turned where that fits closer.

    A point has no size. Most shapes are boxes already; those are read off their corners, which is a
    hundred times faster than fitting.
    """
    shapes = np.asarray(shapes, object)
    centers = np.full((len(shapes), 2), np.nan)
    sizes = np.full((len(shapes), 2), np.nan)
    angles = np.full(len(shapes), np.nan)
    is_point = shapely.get_type_id(shapes) == POINT
    centers[is_point] = shapely.get_coordinates(shapes[is_point])
    is_box = _is_box(shapes)
    is_other = ~(is_box | is_point)
    rows_and_boxes = (
        (np.flatnonzero(is_box), shapes[is_box]),
        (np.flatnonzero(is_other), shapely.oriented_envelope(shapes[is_other])),
    )
    for rows, boxes in rows_and_boxes:
        # a line or a point has no sides
        has_sides = shapely.get_num_coordinates(boxes) == BOX_COORDINATES
        corners = _corners(boxes[has_sides])
        edges = np.moveaxis(np.diff(corners[:, :3], axis=1), 2, 0)  # (2, M, 2)
        centers[rows[has_sides]] = (corners[:, 0] + corners[:, 2]) / 2
        sizes[rows[has_sides]] = np.hypot(*edges)
        angles[rows[has_sides]] = np.arctan2(edges[1, :, 0], edges[0, :, 0])
        centers[rows[~has_sides]] = shapely.get_coordinates(shapely.centroid(boxes[~has_sides]))
    nothing = np.zeros(len(shapes), np.int8)
    return Objects(centers, sizes, nothing.astype(np.int64), nothing, angles_rad=angles)


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
    scene: Any = WHOLE
    if has_scenes:
        scene = _names_of(table, "scene")
    class_name: Any = ANY_CLASS
    if has_classes:
        class_name = _names_of(table, "class")
    return matching_table(fitted_boxes(shapes), scene=scene, class_name=class_name, shapes=shapes)


def _is_ignored(truth: geopandas.GeoDataFrame, ignored_classes: Sequence[str]) -> Bools:
    ignored = np.zeros(len(truth), bool)
    if "role" in truth:
        ignored |= (truth["role"] == "ignore").to_numpy()
    if ignored_classes and "class" in truth:
        ignored |= np.isin(_names_of(truth, "class"), list(ignored_classes))
    return ignored


def _ignored_notes(truth: geopandas.GeoDataFrame, ignored_classes: Sequence[str]) -> list[str]:
    """Return a sentence on classes to be ignored that no object has."""
    present = set(_names_of(truth, "class")) if "class" in truth else set()
    absent = sorted(set(ignored_classes) - present)
    if not absent:
        return []
    has = _some(sorted(present - {""})) if present - {""} else "no class"
    return [f"no object is of the ignored class {_some(absent)}; the ground truth has {has}."]


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
