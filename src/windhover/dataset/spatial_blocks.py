"""Cutting large scenes into blocks that can stand in different splits, with a guard strip between
them.

A block is a scene of its own: a window of the raster, named `scene~r0c1`. Half the guard is taken
off each inner side, so any two blocks are a whole guard apart; labels in the strips are left out
and counted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from affine import Affine
from shapely import affinity

from windhover.geometry.windows import WINDOW_PX, Window
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.virtual_rasters import write_window


def block_windows(info: SceneInfo, spatial_block_m: float, guard_m: float) -> dict[tuple[int, int], Window]:
    """Return (row, column) -> window of each block; {(0, 0): whole} where the scene is too small
    for two.

    Args:
        info: the scene.
        spatial_block_m: wanted side of a block; the scene is divided evenly into blocks of about this size.
        guard_m: between two blocks.
    """
    spans = []
    for length, gsd in ((info.height_px, info.gsd_m[1]), (info.width_px, info.gsd_m[0])):
        count = max(round(length * gsd / spatial_block_m), 1)
        edges = [round(length * part / count) for part in range(count + 1)]
        half = math.ceil(guard_m / gsd / 2)
        spans.append(
            [
                (low + half * (low > 0), high - half * (high < length))
                for low, high in pairwise(edges)
            ]
        )
    return {
        (row, col): Window(top, left, bottom - top, right - left)
        for row, (top, bottom) in enumerate(spans[0])
        for col, (left, right) in enumerate(spans[1])
        if min(bottom - top, right - left) >= WINDOW_PX / 4
    }


def cut_scenes(
    infos: list[SceneInfo], spatial_block_m: float, guard_m: float, folder: Path, final: Path
) -> tuple[list[SceneInfo], dict[str, tuple[str, Window]]]:
    """Write each scene's blocks as virtual rasters; return them as scenes, and block -> (scene,
    window in native px).

    Args:
        infos: the scenes.
        spatial_block_m: wanted side of a block.
        guard_m: between two blocks.
        folder: where the virtual rasters are written.
        final: where that folder will be moved to.
    """
    cut: list[SceneInfo] = []
    origin: dict[str, tuple[str, Window]] = {}
    for info in infos:
        windows = block_windows(info, spatial_block_m, guard_m)
        if len(windows) < 2:
            cut.append(info)
            continue
        for (row, col), window in windows.items():
            name = f"{info.name}~r{row}c{col}"
            made = folder / f"{info.name}.vrt"  # a stack of bands, not yet moved to its path
            now = made if made.is_file() else None
            write_window(info, window, folder / f"{name}.vrt", final / f"{name}.vrt", now)
            moved = info.transform @ Affine.translation(window.col, window.row)
            path = (final / f"{name}.vrt").as_posix()
            cut.append(
                replace(
                    info,
                    name=name,
                    path=path,
                    width_px=window.width,
                    height_px=window.height,
                    transform=moved,
                )
            )
            origin[name] = (info.name, window)
    return cut, origin


def move_to_blocks(
    table: geopandas.GeoDataFrame, origin: dict[str, tuple[str, Window]]
) -> tuple[geopandas.GeoDataFrame, int]:
    """Return a table of labels or areas on the blocks, and how many labels lie in the guard strips.

    Args:
        table: rows on whole scenes: `scene`, `geometry`, and of labels `col, row, left, top,
            right, bottom`; native px.
        origin: block -> (scene, window).
    """
    cut = {scene for scene, _ in origin.values()}
    parts = [table[~table["scene"].isin(cut)]]
    for block, (scene, window) in origin.items():
        rows = table[table["scene"] == scene].copy()
        if "col" in rows:
            inside = rows["col"].between(window.col, window.col + window.width, inclusive="left")
            inside &= rows["row"].between(window.row, window.row + window.height, inclusive="left")
            rows = rows[inside].copy()
            rows[["col", "left", "right"]] -= window.col
            rows[["row", "top", "bottom"]] -= window.row
        rows["geometry"] = [
            affinity.translate(shape, -window.col, -window.row) for shape in rows["geometry"]
        ]
        parts.append(rows.assign(scene=block))
    moved = geopandas.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry")
    lost = (
        int(np.isin(table["scene"], list(cut)).sum()) - sum(len(part) for part in parts[1:])
        if "col" in table
        else 0
    )
    return moved, lost
