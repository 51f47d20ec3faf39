"""Cutting of large scenes into spatial blocks that can be in different splits, a guard strip apart.

A block is a scene of its own: a window of the raster, named `scene~r0c1`. Half the guard is taken
off each inner side, so any two blocks are a whole guard apart; labels in the strips are left out
and counted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import geopandas
import pandas as pd
import shapely
from affine import Affine
from shapely import affinity

from windhover.dataset.areas import polygonal_parts
from windhover.geometry.windows import WINDOW_PX, Window
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.virtual_rasters import write_window

BLOCK_SEPARATOR = "~"  # between the name of a scene and the name of its block
MIN_SIDE_PX = WINDOW_PX / 4  # of a block; smaller ones are left out


class BlockOrigin(NamedTuple):
    """Where a block was cut from."""

    scene: str
    window: Window  # native px of the scene


def raster_name(scene: str) -> str:
    """Return the name of the raster that a scene, or a spatial block of one, is of."""
    return scene.split(BLOCK_SEPARATOR)[0]


def spatial_blocks(info: SceneInfo, side_m: float, guard_m: float) -> dict[tuple[int, int], Window]:
    """Return (row, column) -> window of each block; {(0, 0): whole} for scenes too small for two.

    Args:
        info: the scene.
        side_m: wanted side of a block; the scene is divided evenly into blocks of about this size.
        guard_m: between two blocks.
    """
    rows = _spans(info.height_px, info.gsd_m[1], side_m, guard_m=guard_m)
    cols = _spans(info.width_px, info.gsd_m[0], side_m, guard_m=guard_m)
    windows = {}
    for row, (top, bottom) in enumerate(rows):
        for col, (left, right) in enumerate(cols):
            if min(bottom - top, right - left) >= MIN_SIDE_PX:
                windows[row, col] = Window(top, left, bottom - top, right - left)
    return windows


def _spans(length_px: int, gsd_m: float, side_m: float, *, guard_m: float) -> list[tuple[int, int]]:
    """Return first px and end of the blocks along one axis, half a guard off each inner side."""
    count = max(round(length_px * gsd_m / side_m), 1)
    edges = [round(length_px * part / count) for part in range(count + 1)]
    half_guard_px = math.ceil(guard_m / gsd_m / 2)
    spans = []
    for low, high in pairwise(edges):
        if low > 0:
            low += half_guard_px
        if high < length_px:
            high -= half_guard_px
        spans.append((low, high))
    return spans


def even_blocks(
    infos: Sequence[SceneInfo], side_m: float, guard_m: float
) -> dict[str, dict[str, Window]]:
    """Return scene -> suffix -> window of evenly cut blocks; scenes too small for two are left out.

    Args:
        infos: the scenes.
        side_m: wanted side of a block.
        guard_m: between two blocks.
    """
    blocks = {}
    for info in infos:
        windows = spatial_blocks(info, side_m, guard_m)
        if len(windows) > 1:
            blocks[info.name] = {f"r{row}c{col}": w for (row, col), w in windows.items()}
    return blocks


def cut_into_blocks(
    infos: Sequence[SceneInfo],
    blocks: Mapping[str, Mapping[str, Window]],
    *,
    folder: Path,
    final: Path,
) -> tuple[list[SceneInfo], dict[str, BlockOrigin]]:
    """Write each scene's blocks as virtual rasters; return them as scenes, and where they are from.

    Args:
        infos: the scenes; one without blocks stays as it is.
        blocks: scene -> suffix of the block's name -> its window.
        folder: where the virtual rasters are written.
        final: where that folder will be moved to.
    """
    scenes: list[SceneInfo] = []
    origins: dict[str, BlockOrigin] = {}
    for info in infos:
        if info.name not in blocks:
            scenes.append(info)
            continue
        stacked = folder / f"{info.name}.vrt"  # of several files, not yet moved to its path
        current_path = stacked if stacked.is_file() else None
        for suffix, window in blocks[info.name].items():
            name = f"{info.name}{BLOCK_SEPARATOR}{suffix}"
            path = final / f"{name}.vrt"
            target = folder / f"{name}.vrt"
            write_window(info, window, target, final=path, current_path=current_path)
            scenes.append(_block_info(info, window, name, path=path))
            origins[name] = BlockOrigin(info.name, window)
    return scenes, origins


def _block_info(info: SceneInfo, window: Window, name: str, *, path: Path) -> SceneInfo:
    """Return what a block of a scene is."""
    return replace(
        info,
        name=name,
        path=path.as_posix(),
        width_px=window.width,
        height_px=window.height,
        transform=info.transform @ Affine.translation(window.col, window.row),
        origin_px=(info.origin_px[0] + window.col, info.origin_px[1] + window.row),
    )


def move_to_blocks(
    table: geopandas.GeoDataFrame,
    origins: Mapping[str, BlockOrigin],
    left_out: Collection[str] = (),
) -> tuple[geopandas.GeoDataFrame, int]:
    """Return a table of labels or areas on the blocks, and how many labels are in guard strips.

    Args:
        table: rows on whole scenes: `scene`, `geometry`, and of labels `col, row, left, top,
            right, bottom`; native px.
        origins: by block.
        left_out: scenes without any block, wholly in guard strips.
    """
    are_labels = "col" in table
    is_cut = table["scene"].isin({origin.scene for origin in origins.values()} | set(left_out))
    parts = [table[~is_cut]]
    for block, (scene, window) in origins.items():
        rows = table[table["scene"] == scene].copy()
        if are_labels:
            rows = _labels_in_window(rows, window)
        else:
            rows = _areas_in_window(rows, window)
        rows["geometry"] = [
            affinity.translate(shape, -window.col, -window.row) for shape in rows["geometry"]
        ]
        parts.append(rows.assign(scene=block))
    moved = geopandas.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry")
    if not are_labels:
        return moved, 0
    return moved, len(table) - len(moved)


def _labels_in_window(labels: geopandas.GeoDataFrame, window: Window) -> geopandas.GeoDataFrame:
    """Return the labels with their center in a window, boxes from its corner, shapes unmoved."""
    right = window.col + window.width
    bottom = window.row + window.height
    inside = labels["col"].between(window.col, right, inclusive="left")
    inside &= labels["row"].between(window.row, bottom, inclusive="left")
    moved = labels[inside].copy()
    moved[["col", "left", "right"]] -= window.col
    moved[["row", "top", "bottom"]] -= window.row
    return moved


def _areas_in_window(areas: geopandas.GeoDataFrame, window: Window) -> geopandas.GeoDataFrame:
    """Return the areas clipped to a window, unmoved.

    A block without any of its scene's complete areas is positive-only: with no complete area at all
    its background would count as known.
    """
    left, top = window.col, window.row
    extent = shapely.box(left, top, left + window.width, top + window.height)
    clipped = areas.copy()
    shapes = areas["geometry"].to_numpy(object)
    clipped["geometry"] = polygonal_parts(shapely.intersection(shapes, extent))
    inside = clipped[shapely.area(clipped["geometry"].to_numpy(object)) > 0]
    are_complete = areas["role"] == "complete"
    if are_complete.any() and not (inside["role"] == "complete").any():
        rest = areas[are_complete].head(1).assign(role="positive_only", split=None)
        rest["geometry"] = [extent]
        inside = geopandas.GeoDataFrame(pd.concat([inside, rest]), geometry="geometry")
    return inside
