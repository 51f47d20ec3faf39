"""Scenes that show the same ground, found by their outlines; opens no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from windhover.dataset.touching_scenes import overlapping_pairs
from windhover.geometry.georef import footprint_4326
from windhover.imagery.rasters import SceneInfo
from windhover.progress import counted


def overlapping_scenes(infos: Sequence[SceneInfo]) -> list[tuple[str, str]]:
    """Return the names of each two scenes that have ground in common, in the order given.

    Args:
        infos: of the scenes; those without a place on Earth overlap no other.
    """
    placed = [info for info in infos if info.crs is not None]
    if len(placed) < 2:
        return []
    outlines = np.array(
        [footprint_4326(info.transform, info.crs, info.shape_hw) for info in placed], dtype=object
    )
    px_m = [max(info.gsd_m) for info in placed]
    pairs = overlapping_pairs(outlines, px_m)
    return sorted((placed[first].name, placed[second].name) for first, second in pairs)


def notes_on_overlaps(infos: Sequence[SceneInfo]) -> list[str]:
    """Return a sentence on scenes that show the same ground, since each is searched by itself.

    Nothing where none do.
    """
    overlaps = overlapping_scenes(infos)
    if not overlaps:
        return []
    first, second = overlaps[0]
    note = (
        f"{counted(len(overlaps), 'pair')} of scenes overlap, such as {first} and {second}: what "
        "lies in both is found in each and counted twice. To count it once, collect the result, a "
        ".parquet or .gpkg, into a folder: windhover collect RESULT -o detections"
    )
    return [note]
