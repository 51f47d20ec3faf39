"""Areas: polygons with what is known of the ground inside them.

`complete`: everything inside is labelled; where a scene has such areas, negatives are drawn there
alone. `positive_only`: what is labelled is right, but not everything is labelled: no negatives.
`ignore`: does not count in training or in evaluation. `presumed_empty`: a deep search found nothing
there; it teaches background and is never tested. An optional `split` fixes the split of the
scenes whose centre is inside; an optional `scene` names the one scene of an area, which scenes
without georeference need. `windhover.dataset.label_coverage` applies them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import empty_areas
from windhover.dataset.catalog_tables import AREA_COLUMNS, BOX_COLUMNS
from windhover.dataset.label_coverage import ROLES, LabelCoverage
from windhover.dataset.label_pieces import to_pixels
from windhover.dataset.splits import SPLITS
from windhover.errors import DataError, FormatError
from windhover.geometry.arrays import Bools
from windhover.geometry.move_shapes import swap_axes
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.vector_files import crs_text, read_layer

PRESUMED_EMPTY = "presumed_empty"
FILE_ROLES = (*ROLES, PRESUMED_EMPTY)
AREA_TYPES = ("Polygon", "MultiPolygon", "GeometryCollection")
GEOMETRY_COLLECTION = 7  # shapely's number of the type


def read_areas(path: Path, infos: list[SceneInfo]) -> geopandas.GeoDataFrame:
    """Return the areas on each scene, clipped to it, in native px.

    Args:
        path: a vector file with a column `role` and, optionally, `split` and `scene`.
        infos: the scenes.

    Raises:
        FormatError: no column `role`, an unknown role or split, or a broken file.
        DataError: no area touches a scene.
    """
    frame = read_layer(path, "areas")
    _check_polygons(path, frame)
    splits = _check_roles_and_splits(path, frame)
    scene_names = _scene_names(frame, infos)
    crs = crs_text(frame)
    polygons = np.asarray(frame.geometry.array, dtype=object)
    rows = []
    for info in infos:
        if (crs is None) != (info.crs is None):
            continue
        extent = shapely.box(0, 0, info.width_px, info.height_px)
        moved = to_pixels(polygons, crs, info, source=path.name)
        clipped = polygonal_parts(shapely.intersection(shapely.make_valid(moved), extent))
        is_inside = ~shapely.is_empty(clipped) & (shapely.area(clipped) > 0)
        is_inside &= (scene_names == "") | (scene_names == info.name)
        for number in np.flatnonzero(is_inside):
            role = frame["role"].iloc[number]
            split = splits.iloc[number] or None
            rows.append((info.name, role, split, clipped[number]))
    if rows:
        return geopandas.GeoDataFrame(rows, columns=list(AREA_COLUMNS), geometry="geometry")
    if len(frame):
        raise DataError(
            f"{path}: its areas touch no scene{_swapped_axes_hint(polygons, crs, infos)}. Correct "
            "`scenes.areas`, or the file's coordinate system."
        )
    return empty_areas()


def _scene_names(frame: geopandas.GeoDataFrame, infos: list[SceneInfo]) -> NDArray[np.object_]:
    """Return the scene (N,) that each area is of alone, "" for all that it touches.

    A column `scene` that names none of the scenes is of another meaning.
    """
    names = np.full(len(frame), "", object)
    if "scene" in frame.columns:
        stated = frame["scene"].astype("string").fillna("").str.strip()
        if stated.isin([info.name for info in infos]).any():
            names[:] = stated.to_numpy(object)
    return names


def areas_around_labels(
    labels: pd.DataFrame, infos: list[SceneInfo], distance_m: float
) -> geopandas.GeoDataFrame:
    """Return complete areas around labels, for scenes where not every object has one.

    Who labels an object has seen the ground around it. A scene without a label is
    positive-only as a whole.

    Args:
        labels: `scene` and box in native px.
        infos: the scenes.
        distance_m: from the box of a label to the border of its area.
    """
    rows: list[tuple[str, str, None, BaseGeometry]] = []
    for info in infos:
        extent = shapely.box(0, 0, info.width_px, info.height_px)
        boxes = labels.loc[labels["scene"] == info.name, list(BOX_COLUMNS)].to_numpy(np.float64)
        if not len(boxes):
            rows.append((info.name, "positive_only", None, extent))
            continue
        margin_x = distance_m / info.gsd_m[0]
        margin_y = distance_m / info.gsd_m[1]
        left, top, right, bottom = boxes.T
        around = shapely.union_all(
            shapely.box(left - margin_x, top - margin_y, right + margin_x, bottom + margin_y)
        )
        rows.append((info.name, "complete", None, shapely.intersection(around, extent)))
    return geopandas.GeoDataFrame(rows, columns=list(AREA_COLUMNS), geometry="geometry")


def settle_presumed_empty(
    areas: geopandas.GeoDataFrame, learned_from: Collection[str]
) -> geopandas.GeoDataFrame:
    """Return areas in which presumed empty ground is complete in training, and unknown elsewhere.

    A test there would hide what the search missed.

    Args:
        areas: of the catalog.
        learned_from: scenes of the training split.
    """
    is_presumed = areas["role"] == PRESUMED_EMPTY
    settled = areas["scene"].isin(learned_from).map({True: "complete", False: "positive_only"})
    return areas.assign(role=areas["role"].where(~is_presumed, settled))


def polygonal_parts(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return shapes (N,) without the lines and points that cutting and mending leave."""
    is_mixed = shapely.get_type_id(shapes) == GEOMETRY_COLLECTION
    result = shapes.copy()
    for number in np.flatnonzero(is_mixed):
        parts = shapely.get_parts(shapes[number])
        result[number] = shapely.union_all(parts[shapely.area(parts) > 0])
    return result


def _swapped_axes_hint(
    polygons: NDArray[np.object_], crs: str | None, infos: list[SceneInfo]
) -> str:
    """Return that areas would be on a scene with x and y swapped, "" where they would not."""
    flipped = swap_axes(polygons)
    for info in infos:
        if (crs is None) != (info.crs is None):
            continue
        extent = shapely.box(0, 0, info.width_px, info.height_px)
        if shapely.intersects(to_pixels(flipped, crs, info), extent).any():
            return ", but would with x and y swapped: write x (east, longitude) first"
    return ""


def _check_polygons(path: Path, frame: geopandas.GeoDataFrame) -> None:
    """Check that areas are polygons.

    Raises:
        FormatError: one is a line or a point.
    """
    kinds = frame.geometry.geom_type
    wrong = np.flatnonzero(kinds.notna() & ~kinds.isin(AREA_TYPES) & ~frame.geometry.is_empty)
    if len(wrong):
        raise FormatError(
            f"{path}: area {wrong[0] + 1} is a {kinds.iloc[wrong[0]]}, areas must be polygons. "
            "Draw its outline as a polygon."
        )


def _check_roles_and_splits(path: Path, frame: geopandas.GeoDataFrame) -> pd.Series:
    """Check the roles of areas; return their splits, "" for none.

    Raises:
        FormatError: no column `role`, or an unknown role or split.
    """
    if "role" in frame.columns:
        frame["role"] = frame["role"].astype("string").str.strip().str.lower().fillna("")
    if "role" not in frame.columns or not set(frame["role"]) <= set(FILE_ROLES):
        raise FormatError(
            f"{path}: areas need a column `role` with {', '.join(FILE_ROLES)} in every row. Add it."
        )
    if "split" not in frame.columns:
        return pd.Series([""] * len(frame))
    splits: pd.Series = frame["split"].fillna("").astype(str).str.strip()
    unknown = sorted(set(splits) - {"", *SPLITS})
    if unknown:
        raise FormatError(
            f"{path}: `split` must be {', '.join(SPLITS)} or empty, got {unknown[0]!r}. Correct it."
        )
    return splits


def labels_in_ignore_areas(labels: geopandas.GeoDataFrame, areas: geopandas.GeoDataFrame) -> Bools:
    """Return which labels have their centre in an `ignore` area of their scene."""
    is_ignored = np.zeros(len(labels), bool)
    for scene, areas_of_scene in areas[areas["role"] == "ignore"].groupby("scene"):
        rows = np.flatnonzero((labels["scene"] == scene).to_numpy())
        centers = labels[["col", "row"]].to_numpy(np.float64)[rows]
        is_ignored[rows] = LabelCoverage.from_areas(areas_of_scene).is_ignored(centers)
    return is_ignored


def note_on_unused_splits(areas: geopandas.GeoDataFrame, fixed: Mapping[str, str]) -> list[str]:
    """Return a sentence where areas state a split and hold the centre of no scene."""
    with_split = areas[areas["split"].notna()]
    unused = with_split[~with_split["scene"].isin(list(fixed))]
    if unused.empty:
        return []
    note = (
        f"{len(unused)} areas with a split hold the centre of no scene, so they fix none (the "
        f"first is on {unused['scene'].iloc[0]})"
    )
    return [note]


def fixed_splits_of_areas(areas: geopandas.GeoDataFrame, infos: list[SceneInfo]) -> dict[str, str]:
    """Return scene -> split for scenes whose centre is in an area with a split.

    Raises:
        DataError: a scene's centre is in areas of two splits.
    """
    stated = areas[areas["split"].notna()]
    fixed: dict[str, str] = {}
    for info in infos:
        rows = stated[stated["scene"] == info.name]
        center = shapely.Point(info.width_px / 2, info.height_px / 2)
        splits = sorted(set(rows.loc[rows["geometry"].intersects(center), "split"]))
        if len(splits) > 1:
            raise DataError(
                f"The centre of scene {info.name} lies in areas of {' and '.join(splits)}. A scene "
                "has one split: cut it into blocks with `scenes.spatial_block_m`, or draw the "
                "areas apart."
            )
        if splits:
            fixed[info.name] = splits[0]
    return fixed
