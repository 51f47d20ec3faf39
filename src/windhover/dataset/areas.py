"""Areas: polygons that say what is known of the ground inside them.

`complete`: everything inside is labelled; where a scene has such areas, negatives are drawn there
alone. `positive_only`: what is labelled is right, but not everything is labelled: no negatives.
`ignore`: costs nothing in training or in evaluation. An optional `split` fixes the split of the
scenes whose centre lies inside.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.dataset.align_labels import to_pixels
from windhover.dataset.catalog import AREA_COLUMNS, empty_areas
from windhover.dataset.splits import SPLITS
from windhover.errors import DataError, FormatError
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.vector_files import crs_text, read_layer

ROLES = ("complete", "positive_only", "ignore")


def read_areas(path: Path, infos: list[SceneInfo]) -> geopandas.GeoDataFrame:
    """Return the areas on each scene, clipped to it, in native px.

    Args:
        path: a vector file with a column `role` and, optionally, `split`.
        infos: the scenes.

    Raises:
        FormatError: no column `role`, an unknown role or split, or a broken file.
        DataError: no area touches a scene.
    """
    frame = read_layer(path, "areas")
    if "role" not in frame.columns or not set(frame["role"]) <= set(ROLES):
        raise FormatError(
            f"{path}: areas need a column `role` with {', '.join(ROLES)} in every row. Add it."
        )
    splits = (
        frame["split"].fillna("").astype(str)
        if "split" in frame.columns
        else pd.Series([""] * len(frame))
    )
    if not set(splits) <= {"", *SPLITS}:
        raise FormatError(
            f"{path}: `split` must be {', '.join(SPLITS)} or empty, got "
            f"{sorted(set(splits) - {'', *SPLITS})[0]!r}. Mend it."
        )
    crs = crs_text(frame)
    parts = []
    for info in infos:
        if (crs is None) != (info.crs is None):
            continue
        whole = shapely.box(0, 0, info.width_px, info.height_px)
        moved = to_pixels(np.asarray(frame.geometry.array, dtype=object), crs, info)
        clipped = shapely.intersection(shapely.make_valid(moved), whole)
        kept = ~shapely.is_empty(clipped) & (shapely.area(clipped) > 0)
        for role, split, shape in zip(
            frame["role"][kept], splits[kept.tolist()], clipped[kept], strict=True
        ):
            parts.append(
                {"scene": info.name, "role": role, "split": split or None, "geometry": shape}
            )
    if len(frame) and not parts:
        raise DataError(
            f"{path}: its areas touch no scene. Mend `scenes.areas`, or the file's coordinate system."
        )
    return (
        geopandas.GeoDataFrame(parts, columns=list(AREA_COLUMNS), geometry="geometry")
        if parts
        else empty_areas()
    )


def ignored_labels(labels: geopandas.GeoDataFrame, areas: geopandas.GeoDataFrame) -> np.ndarray:
    """Tell which labels have their centre in an `ignore` area of their scene."""
    ignored = np.zeros(len(labels), bool)
    for scene, rows in areas[areas["role"] == "ignore"].groupby("scene"):
        here = np.flatnonzero((labels["scene"] == scene).to_numpy())
        centers = shapely.points(labels["col"].to_numpy()[here], labels["row"].to_numpy()[here])
        ignored[here] = shapely.intersects(shapely.union_all(rows.geometry.to_numpy()), centers)
    return ignored


def fixed_splits(areas: geopandas.GeoDataFrame, infos: list[SceneInfo]) -> dict[str, str]:
    """Return scene -> split for scenes whose centre lies in an area with a split.

    Raises:
        DataError: a scene's centre lies in areas of two splits.
    """
    stated = areas[areas["split"].notna()]
    fixed: dict[str, str] = {}
    for info in infos:
        rows = stated[stated["scene"] == info.name]
        center = shapely.Point(info.width_px / 2, info.height_px / 2)
        found = sorted(
            {
                split
                for split, shape in zip(rows["split"], rows["geometry"], strict=True)
                if shape.intersects(center)
            }
        )
        if len(found) > 1:
            raise DataError(
                f"The centre of scene {info.name} lies in areas of {' and '.join(found)}. A scene has "
                "one split: cut it into blocks with "
                "`scenes.spatial_block_m`, or draw the areas apart."
            )
        if found:
            fixed[info.name] = found[0]
    return fixed
