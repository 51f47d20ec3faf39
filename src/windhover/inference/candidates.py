"""Candidate objects of a search: their array type, and one table of a scene without duplicates.

Peaks of all blocks and passes are merged once, so objects do not depend on how a scene is cut.
Finds no peak and computes no probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.geometry.boxes import merge_duplicates, to_xyxy
from windhover.geometry.georef import pixel_to_world
from windhover.inference.search_settings import SearchSettings

# One candidate, 45 bytes. It is an array type and not `geometry.objects.Objects`, because it
# carries flags of the search, and blocks of it are stored byte for byte for resuming.
CANDIDATE = np.dtype(
    [
        ("class_index", "i2"),
        ("logit", "f4"),  # raw, of the network
        ("col", "f8"),  # centre, px of the scene's grid
        ("row", "f8"),
        ("w", "f8"),  # size, px of the scene's grid
        ("h", "f8"),
        ("edge", "?"),  # the window reaches beyond the scene
        ("is_secondary", "?"),  # a neighbouring cell is higher, but for another object
    ]
)
# a secondary peak nearer than this to a better candidate, in units of its size, is a duplicate
SECONDARY_PEAK_DISTANCE = 0.7


def empty_candidates() -> NDArray[np.void]:
    """Return no candidates, of dtype `CANDIDATE`."""
    return np.zeros(0, CANDIDATE)


def merge_candidates(
    parts: Sequence[NDArray[np.void]],
    settings: SearchSettings,
    *,
    aoi: BaseGeometry | None = None,
    transform: Affine | None = None,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the candidates of all blocks and passes without duplicates, best first.

    Args:
        parts: of each block, (N,) of dtype `CANDIDATE`.
        settings: when two candidates are the same object.
        aoi: polygon in the scene's coordinate system; candidates outside are dropped.
        transform: px of the scene -> world; needed with `aoi`.
        classes: names; numbers as text without them.

    Returns:
        Columns class, logit, col, row, w, h, edge.
    """
    candidates = np.concatenate([empty_candidates(), *parts])
    boxes = to_xyxy(candidates["col"], candidates["row"], candidates["w"], candidates["h"])
    secondary_distance = max(SECONDARY_PEAK_DISTANCE, settings.merge_distance)
    distance = np.where(candidates["is_secondary"], secondary_distance, settings.merge_distance)
    kept = merge_duplicates(
        boxes,
        candidates["logit"],
        candidates["class_index"],
        center_distance=distance,
        iou_threshold=settings.merge_iou,
    )
    candidates = candidates[kept]
    if aoi is not None and transform is not None:
        x, y = pixel_to_world(transform, candidates["col"], candidates["row"])
        candidates = candidates[shapely.contains_xy(aoi, x, y)]
    return _to_frame(candidates, classes)


def _to_frame(candidates: NDArray[np.void], classes: Sequence[str] | None) -> pd.DataFrame:
    """Return candidates as a table, their classes by name."""
    index = candidates["class_index"]
    if classes is None:
        names = index.astype(str)
    else:
        names = np.asarray(classes, object)[index]
    columns: dict[str, Any] = {"class": pd.Series(names, dtype="str")}
    for name in ("logit", "col", "row", "w", "h"):
        columns[name] = candidates[name].astype(np.float64)
    columns["edge"] = candidates["edge"]
    return pd.DataFrame(columns)
