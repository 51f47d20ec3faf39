"""Where a deep search found nothing: ground that may teach background without a person's look."""

from __future__ import annotations

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.review.search_result import SearchResult

DEEP_SCORE = 0.05  # a search down to this score leaves hardly an object out


def empty_ground(detections: SearchResult, window_m: float) -> dict[str, BaseGeometry]:
    """Return raster -> what was searched without the windows around detections, px.

    Nothing where the search did not go down to `DEEP_SCORE`.

    Args:
        detections: all that the search found.
        window_m: side of a window.
    """
    thresholds = detections.summary.thresholds if detections.summary is not None else {}
    if not thresholds or max(thresholds.values()) > DEEP_SCORE:
        return {}
    empty = {}
    for number, scene in enumerate(detections.scenes):
        half = window_m / 2 / np.array(scene.gsd_m)
        centers = detections.centers[detections.scene == number]
        # whole px, so that edges of the ground are shared exactly
        windows = shapely.box(*np.floor(centers - half).T, *np.ceil(centers + half).T)
        searched = detections.searched[scene.scene]
        empty[scene.scene] = searched.difference(shapely.union_all(windows))
    return empty
