"""Labels that mark one object again."""

from __future__ import annotations

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.dataset.catalog_tables import BOX_COLUMNS


def drop_near_duplicates(
    labels: geopandas.GeoDataFrame, iou: float
) -> tuple[geopandas.GeoDataFrame, int]:
    """Return the labels without those that mark an object again; of two, the first in order stays.

    Hand-made labels often mark one object twice with slightly different boxes. Two of them cost
    every detector recall that nothing can win back, so they are dropped where that is asked for,
    and counted.

    Args:
        labels: of all scenes, with boxes in native px.
        iou: boxes of one class in one scene that overlap more than this are one object; 1 keeps
            all.

    Returns:
        The labels that stay, and how many were dropped.
    """
    if iou >= 1 or labels.empty:
        return labels, 0
    is_dropped = np.zeros(len(labels), bool)
    edges = labels[list(BOX_COLUMNS)].to_numpy(np.float64)
    for rows in labels.groupby(["scene", "class"], sort=False).indices.values():
        for first, second in _overlapping_pairs(shapely.box(*edges[rows].T), iou):
            if not is_dropped[rows[first]]:
                is_dropped[rows[second]] = True
    return labels[~is_dropped].reset_index(drop=True), int(is_dropped.sum())


def _overlapping_pairs(boxes: NDArray[np.object_], iou: float) -> list[tuple[int, int]]:
    """Return the pairs of boxes, by number, that overlap more than an IoU; sorted, each once."""
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    is_once = first < second
    first = first[is_once]
    second = second[is_once]
    shared = shapely.area(shapely.intersection(boxes[first], boxes[second]))
    union = shapely.area(boxes[first]) + shapely.area(boxes[second]) - shared
    is_same = shared > iou * union
    return sorted(zip(first[is_same].tolist(), second[is_same].tolist(), strict=True))
