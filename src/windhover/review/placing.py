"""Shapes between px of the rasters as delivered and the one coordinate system of a review file.

Scenes without georeference are laid out side by side, so that a shape drawn in QGIS is on one of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from windhover.dataset.label_pieces import to_pixels
from windhover.dataset.spatial_blocks import raster_name
from windhover.errors import DataError
from windhover.export.detection_summary import SceneSummary
from windhover.geometry.antimeridian import split_small_polygon
from windhover.geometry.georef import WGS84, same_crs
from windhover.geometry.move_shapes import apply_affine, reproject
from windhover.review.review_record import ReviewScene

GAP_SHARE = 0.05  # between scenes without georeference, of the larger one's side


def review_scene(summary: SceneSummary) -> ReviewScene:
    """Return the raster of a searched scene.

    Of a spatial block it is the ground up to its last px; the file of the block is not the raster,
    whose path is left empty.
    """
    left, top = summary.origin_px
    is_block = raster_name(summary.scene) != summary.scene
    whole = summary.affine @ Affine.translation(-left, -top)
    return ReviewScene(
        scene=raster_name(summary.scene),
        path="" if is_block else summary.path,
        width_px=left + summary.width_px,
        height_px=top + summary.height_px,
        crs=summary.crs,
        transform=tuple(whole)[:6],
        gsd_m=summary.gsd_m or (1.0, 1.0),
        acquired=summary.acquired,
    )


def merged_scenes(scenes: Sequence[ReviewScene]) -> list[ReviewScene]:
    """Return each raster once, as large as its largest part, local grids side by side.

    Raises:
        DataError: some have a georeference and some have none.
    """
    by_name: dict[str, ReviewScene] = {}
    for scene in scenes:
        known = by_name.get(scene.scene, scene)
        size = {
            "width_px": max(scene.width_px, known.width_px),
            "height_px": max(scene.height_px, known.height_px),
        }
        by_name[scene.scene] = known.model_copy(update=size)
    merged = [by_name[name] for name in sorted(by_name)]
    if len({scene.crs is None for scene in merged}) > 1:
        raise DataError(
            "scenes with and without georeference cannot share one review. Search and review them "
            "apart."
        )
    if merged and merged[0].crs is None:
        return _side_by_side(merged)
    return merged


def _side_by_side(scenes: Sequence[ReviewScene]) -> list[ReviewScene]:
    """Return scenes of local grids in rows and columns of one plane, metres."""
    sides = [
        max(scene.width_px * scene.gsd_m[0], scene.height_px * scene.gsd_m[1]) for scene in scenes
    ]
    step = max(sides) * (1 + GAP_SHARE)
    n_columns = ceil(sqrt(len(scenes)))
    placed = []
    for number, scene in enumerate(scenes):
        x = number % n_columns * step
        y = -(number // n_columns) * step
        transform = (scene.gsd_m[0], 0.0, x, 0.0, -scene.gsd_m[1], y)
        placed.append(scene.model_copy(update={"transform": transform}))
    return placed


def file_crs(scenes: Sequence[ReviewScene]) -> str | None:
    """Return the coordinate system of the layers: the scenes' own where they share one."""
    first = scenes[0].crs if scenes else None
    if first is None or all(same_crs(first, scene.crs) for scene in scenes):
        return first
    return WGS84


def to_map(
    shapes_px: NDArray[np.object_], scene: ReviewScene, crs: str | None
) -> NDArray[np.object_]:
    """Return shapes (N,) of a raster in the coordinate system of the layers."""
    info = scene.info
    moved = np.asarray(apply_affine(shapes_px, info.transform), object)
    if crs is not None and not same_crs(crs, info.crs):
        moved = reproject(moved, str(info.crs), crs)
    if crs != WGS84:
        return moved
    result = np.empty(len(moved), object)
    result[:] = [split_small_polygon(shape) if shape.area else shape for shape in moved]
    return result


def to_raster_px(
    shapes: NDArray[np.object_], crs: str | None, scene: ReviewScene, *, source: str
) -> NDArray[np.object_]:
    """Return shapes (N,) of a layer in px of a raster.

    Raises:
        DataError: the layer has lost its coordinate system, or has one where it had none.
    """
    return to_pixels(shapes, crs, scene.info, source=source)
