"""Scenes that show the same ground, found by their outlines; opens no file."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import shapely

from windhover.geometry.georef import footprint_4326
from windhover.imagery.rasters import SceneInfo
from windhover.progress import counted

logger = logging.getLogger(__name__)

# Outlines of adjoining tiles of different systems overlap a little, since sides are curves there.
MIN_OVERLAP_PX = 8.0
METERS_PER_DEGREE = 111_000.0  # of latitude


def overlapping_scenes(infos: Sequence[SceneInfo]) -> list[tuple[str, str]]:
    """Return the names of each two scenes that have ground in common, in the order given.

    Args:
        infos: of the scenes; those without a place on Earth overlap no other.
    """
    placed = [info for info in infos if info.crs is not None and info.is_gsd_known]
    if len(placed) < 2:
        return []
    outlines = np.array(
        [footprint_4326(info.transform, info.crs, info.shape_hw) for info in placed], dtype=object
    )
    # degrees of latitude in the px by which outlines must overlap
    margins = [MIN_OVERLAP_PX / 2 * max(info.gsd_m) / METERS_PER_DEGREE for info in placed]
    shrunk = shapely.buffer(outlines, -np.array(margins))
    pairs = shapely.STRtree(shrunk).query(shrunk, predicate="intersects").T
    names = [info.name for info in placed]
    return sorted((names[first], names[second]) for first, second in pairs if first < second)


def log_overlaps(infos: Sequence[SceneInfo]) -> None:
    """Warn where scenes show the same ground, since each is searched by itself."""
    overlaps = overlapping_scenes(infos)
    if not overlaps:
        return
    first, second = overlaps[0]
    logger.warning(
        "%s of scenes overlap, such as %s and %s: what lies in both is found in each and counted "
        "twice. To count it once, search a mosaic of them: gdalbuildvrt mosaic.vrt FILES",
        counted(len(overlaps), "pair"),
        first,
        second,
    )
