"""Searched scenes with made-up detections at known places, as a collection takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from windhover.collection.write_collection import write_collection
from windhover.export.collected_scene import CollectedScene
from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.geometry.georef import (
    WGS84,
    box_polygons,
    box_sides_m,
    pixel_to_world,
    transformer,
    world_to_pixel,
)
from windhover.inference.detection_columns import detection_ids

UTM = "EPSG:32631"
ORIGIN = (400_000.0, 5_000_000.0)
GSD_M = 0.5
EDGE_PX = 32
HEADER = DetectionSummary.of_scenes(
    [], model="model", run="r", program="1.0", thresholds={"plane": 0.5}, search={}
)


def scene(
    name: str,
    places: Sequence[tuple[float, ...]] = (),
    *,
    crs: str | None = UTM,
    origin: tuple[float, float] = ORIGIN,
    gsd: float = GSD_M,
    shape_hw: tuple[int, int] = (900, 1200),
    acquired: str | None = "2026-05-01T10:00:00Z",
    places_crs: str | None = None,
    path: Path | None = None,
    mask: Any = None,
    failed: Any = (),
    area_wkt: str | None = None,
    origin_px: tuple[int, int] = (0, 0),
) -> CollectedScene:
    """Return a scene that found boxes of `size` m at places x, y, score[, size[, class]].

    Args:
        name: of the scene.
        places: of objects; those outside the scene are left out.
        crs: of the scene; its corner is `origin`, its px `gsd` units wide.
        places_crs: of the places, the scene's by default.
    """
    transform = Affine(gsd, 0, origin[0], 0, -gsd, origin[1])
    rows = [(*place, 20.0, "plane")[:5] if len(place) == 3 else place for place in places]
    rows = [(*row, "plane")[:5] for row in rows]
    xy = np.array([row[:2] for row in rows], float).reshape(-1, 2)
    if places_crs is not None and len(xy):
        xy = np.stack(transformer(places_crs, str(crs)).transform(*xy.T), axis=1)
    cols, lines = world_to_pixel(transform, *xy.T)
    height, width = shape_hw
    inside = (cols >= 0) & (cols < width) & (lines >= 0) & (lines < height)
    rows = [row for row, is_inside in zip(rows, inside, strict=True) if is_inside]
    cols, lines = cols[inside], lines[inside]
    return CollectedScene(
        SceneSummary(
            scene=name,
            crs=crs,
            objects=len(rows),
            by_class={},
            expected_objects=0.0,
            windows_searched=9,
            windows_skipped=0,
            km2=round(height * width * 0.25e-6, 6),
            path="" if path is None else str(path),
            width_px=width,
            height_px=height,
            transform=tuple(transform)[:6],
            gsd_m=(0.5, 0.5),
            acquired=acquired,
            area_wkt=area_wkt,
            origin_px=origin_px,
        ),
        _columns(name, rows, cols, lines, crs=crs, transform=transform, shape_hw=shape_hw)
        | {"acquired": np.full(len(rows), acquired, object)},
        failed,
        mask,
    )


def _columns(
    name: str,
    rows: Any,
    cols: Any,
    lines: Any,
    *,
    crs: str | None,
    transform: Affine,
    shape_hw: tuple[int, int],
) -> dict[str, Any]:
    """Return the columns of detections at px of a scene."""
    count = len(rows)
    px_m = box_sides_m([[0, 0, 1, 1]], transform, crs)[0]
    half = np.array([row[3] for row in rows], float).reshape(-1, 1) / px_m / 2
    centers = np.stack([cols, lines], axis=1)
    boxes = np.concatenate([centers - half, centers + half], axis=1)
    sides = 2 * half * px_m
    x, y = pixel_to_world(transform, cols, lines)
    lon = lat = np.full(count, np.nan)
    if crs is not None and count:
        lon, lat = transformer(crs, WGS84).transform(x, y)
        lon = (np.asarray(lon) + 180) % 360 - 180
    names = np.array([row[4] for row in rows], object)
    height, width = shape_hw
    edge = (cols < EDGE_PX) | (cols > width - EDGE_PX) | (lines < EDGE_PX)
    columns = {
        "id": detection_ids("model", name, names, cols=cols, rows=lines),
        "scene": np.full(count, name, object),
        "class": names,
        "score": np.array([row[2] for row in rows], float),
        "lon": np.asarray(lon, float),
        "lat": np.asarray(lat, float),
        "x": x,
        "y": y,
        "col": cols,
        "row": lines,
        "length_m": sides[:, 0],
        "width_m": sides[:, 0],
        "area_m2": sides[:, 0] ** 2,
        "edge": edge | (lines > height - EDGE_PX),
        "acquired": np.full(count, None, object),
        "model": np.full(count, "model", object),
        "threshold": np.full(count, 0.5),
        "run": np.full(count, "r", object),
        "geometry": box_polygons(boxes, transform) if count else np.empty(0, object),
    }
    return columns | {"scene_crs": np.full(count, crs, object)}


def collect(folder: Path, *scenes: CollectedScene, **options: Any) -> Any:
    """Write a collection and return its manifest and objects, by longitude."""
    import geopandas

    manifest = write_collection(scenes, HEADER, folder, **options)
    files = sorted((folder / "objects").rglob("*.parquet"))
    tables = [geopandas.read_parquet(path) for path in files]
    table = tables[0]
    if len(tables) > 1:
        import pandas as pd

        table = pd.concat(tables)
    return manifest, table.sort_values(["x", "y"], ignore_index=True)
