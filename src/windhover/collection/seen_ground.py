"""Which rasters could have seen an object: those whose searched ground holds all of it, clear.

A raster that found it saw it. Of any other, the box must be inside the raster and its searched
area, and nearly all of it on valid px and, where the scene has a mask, on clear ground. A raster
that cannot be read any more (moved, or on a server) counts by its outline, one whose mask cannot be
read does not count; both are named.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from shapely.geometry.base import BaseGeometry

from windhover.collection.views import EARTH, Views
from windhover.errors import MissingFileError, WindhoverError
from windhover.export.detection_summary import SceneSummary
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.georef import (
    WGS84,
    footprint_4326,
    gsd_m,
    transformer,
    world_to_pixel,
)
from windhover.geometry.windows import Bounds
from windhover.imagery.ground_mask import CLEAR, GroundMask, MaskGrid
from windhover.imagery.rasters import inspect_scene, open_raster
from windhover.imagery.scenes import Scene

logger = logging.getLogger(__name__)

# of a box: a little may be cut, since boxes are wider than what is in them
MIN_SEEN_SHARE = 0.9
CHUNK = 100_000  # objects whose scenes are looked up at once


@dataclass(frozen=True)
class SearchedGround:
    """What is kept of a searched raster.

    Attributes:
        summary: as the search left it.
        footprint: outline in longitude and latitude; None for a local grid.
        mask: of clouds or the like; None where none was given.
    """

    summary: SceneSummary
    footprint: BaseGeometry | None
    mask: GroundMask | None = None

    @classmethod
    def of(cls, summary: SceneSummary, mask: GroundMask | None) -> SearchedGround:
        """Return the ground of a searched raster."""
        footprint = None
        if summary.crs is not None:
            shape_hw = (summary.height_px, summary.width_px)
            footprint = footprint_4326(summary.affine, summary.crs, shape_hw)
        return cls(summary, footprint, mask)


class SeenPairs(NamedTuple):
    """Objects and rasters that saw their ground without finding them; one entry a pair.

    Attributes:
        object_index: (P,) number of an object.
        scene: (P,) number of a raster.
        unread: rasters that could not be read, by name.
    """

    object_index: Ints
    scene: Ints
    unread: tuple[str, ...] = ()


def seen_without_finding(
    best: Views, found: tuple[Ints, Ints], scenes: Sequence[SearchedGround]
) -> SeenPairs:
    """Return which rasters could have seen an object, and did not find it.

    Args:
        best: (M,) the best view of each object.
        found: numbers of object and raster (N,) of each view.
        scenes: all rasters searched, by number.
    """
    known = np.unique(found[0] * len(scenes) + found[1])
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    unread: list[str] = []
    for objects, scene_numbers in _in_footprints(best, scenes):
        is_new = ~np.isin(objects * len(scenes) + scene_numbers, known, assume_unique=True)
        pairs.append((objects[is_new], scene_numbers[is_new]))
    objects, numbers = (np.concatenate(column) for column in zip(*pairs, strict=True))
    order = np.lexsort((objects, numbers))
    objects = objects[order]
    numbers = numbers[order]
    seen = np.zeros(len(objects), bool)
    borders = [*np.flatnonzero(np.diff(numbers, prepend=-1)), len(numbers)]
    for start, stop in pairwise(borders):
        ground = scenes[numbers[start]]
        try:
            seen[start:stop] = _sees(ground, best.select(objects[start:stop]))
        except (WindhoverError, OSError) as error:
            logger.debug("%s: %s", ground.summary.scene, error)
            unread.append(ground.summary.scene)
            if ground.mask is None:
                by_outline = replace(ground, summary=_without_path(ground.summary))
                seen[start:stop] = _sees(by_outline, best.select(objects[start:stop]))
    return SeenPairs(objects[seen], numbers[seen], tuple(sorted(unread)))


def _without_path(summary: SceneSummary) -> SceneSummary:
    return summary.model_copy(update={"path": ""})


def _in_footprints(best: Views, scenes: Sequence[SearchedGround]) -> Iterator[tuple[Ints, Ints]]:
    """Yield numbers of objects and of the rasters in whose outlines their centres are."""
    outlines = np.array([scene.footprint for scene in scenes], object)
    tree = shapely.STRtree(outlines)
    on_earth = np.flatnonzero(best.frame == EARTH)
    for start in range(0, len(on_earth), CHUNK):
        rows = on_earth[start : start + CHUNK]
        centers = shapely.points(best.lonlat[rows])
        index, number = tree.query(centers, predicate="intersects")
        yield rows[index], number.astype(np.int64)


def _sees(ground: SearchedGround, objects: Views) -> Bools:
    """Return which objects (N,) a raster could see: whole, searched, valid and clear.

    Raises:
        WindhoverError: the raster or its mask cannot be read.
    """
    summary = ground.summary
    x, y = transformer(WGS84, str(summary.crs)).transform(*objects.lonlat.T)
    col, row = world_to_pixel(summary.affine, x, y)
    shape_hw = (summary.height_px, summary.width_px)
    px_m = min(gsd_m(summary.affine, summary.crs, shape_hw))
    half = objects.sides_m.max(axis=1) / 2 / px_m
    sees: Bools = (col >= half) & (col <= summary.width_px - half)
    sees &= (row >= half) & (row <= summary.height_px - half)
    if summary.area_wkt is not None:
        sees &= shapely.contains_xy(shapely.from_wkt(summary.area_wkt), x, y)
    rows = np.flatnonzero(sees)
    if len(rows) and (summary.path or ground.mask is not None):
        boxes = np.stack([col - half, row - half, col + half, row + half], axis=1)[rows]
        sees[rows] = _usable_shares(ground, boxes) >= MIN_SEEN_SHARE
    return sees


def _usable_shares(ground: SearchedGround, boxes_px: Floats) -> Floats:
    """Return which share (N,) of boxes in px of a raster is valid and clear.

    Raises:
        WindhoverError: the raster or its mask cannot be read.
    """
    summary = ground.summary
    shape_hw = (summary.height_px, summary.width_px)
    shares = np.ones(len(boxes_px))
    windows = [_window(box, shape_hw) for box in boxes_px]
    with ExitStack() as stack:
        mask = None
        if ground.mask is not None:
            grid = MaskGrid(summary.path, summary.crs, summary.affine, shape_hw)
            mask = stack.enter_context(ground.mask.on_grid(grid))
        raster = _raster_with_gaps(ground)
        if raster is not None:
            stack.enter_context(raster)
        for number, (row, col, height, width) in enumerate(windows):
            usable = np.ones((height, width), bool)
            if mask is not None:
                usable &= mask.read(row, col, height, width) == CLEAR
            if raster is not None:
                usable &= raster.read(row, col, height, width).valid
            shares[number] = usable.mean()
    return shares


def _raster_with_gaps(ground: SearchedGround) -> Scene | None:
    """Return a raster if some of its px may hold nothing; None where all of them are valid.

    Raises:
        MissingFileError: it is not where it was, or is on a server.
        WindhoverError: it cannot be read.
    """
    path = ground.summary.path
    if not path:
        return None
    if not Path(path).exists():  # of a server, nothing is fetched again
        raise MissingFileError(f"{path}: no such file. Put it where it was searched.")
    with open_raster(path) as dataset:
        is_whole = all(flags == [MaskFlags.all_valid] for flags in dataset.mask_flag_enums)
        is_whole &= ColorInterp.alpha not in dataset.colorinterp
        if is_whole and not any(dtype.startswith("float") for dtype in dataset.dtypes):
            return None
    return Scene(inspect_scene(path))


def _window(box: NDArray[np.float64], shape_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the px of a raster that a box touches: first row and column, rows, columns."""
    left, top, right, bottom = box
    bounds = Bounds(
        math.floor(top), math.ceil(bottom), left=math.floor(left), right=math.ceil(right)
    ).clipped(shape_hw)
    return bounds.top, bounds.left, bounds.bottom - bounds.top, bounds.right - bounds.left
