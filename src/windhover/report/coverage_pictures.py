"""Pictures of mapped scenes: the scene, its heat map, the mask and the truth side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from windhover.dataset.catalog import SceneRow, scene_info
from windhover.geometry.lattice import Lattice
from windhover.inference.coverage_map import cells_of_px
from windhover.metrics.coverage_curves import MAX_VALUE, UNKNOWN
from windhover.metrics.coverage_metrics import classes_at
from windhover.rendering.class_overlay import heat_map, overlay_classes, with_legend
from windhover.rendering.images import scene_overview

PANEL_PX = 300
GAP_PX = 6
CAPTION_PX = 15
INK = (30, 30, 30)
WHITE = (255, 255, 255)
PANELS = ("scene", "probability of any class", "mask", "truth")


@dataclass(frozen=True)
class ShownScene:
    """A mapped scene to be shown.

    Attributes:
        row: of the catalog.
        values: (K, r, c) of its probability map.
        lattice: of the map.
        caption: what is known of it.
    """

    row: SceneRow
    values: NDArray[np.uint8]
    lattice: Lattice
    caption: str


def draw_scenes(
    scenes: Sequence[ShownScene], thresholds: Sequence[float], classes: Sequence[str]
) -> Image.Image:
    """Return a sheet with a row for each scene: picture, heat map, mask and truth.

    Args:
        scenes: to be shown.
        thresholds: of the classes.
        classes: names.
    """
    rows = [_draw_scene(scene, thresholds) for scene in scenes]
    width = max((row.width for row in rows), default=len(PANELS) * PANEL_PX)
    height = sum(row.height for row in rows) or 1
    sheet = Image.new("RGB", (width, height), WHITE)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return with_legend(sheet, classes)


def _draw_scene(scene: ShownScene, thresholds: Sequence[float]) -> Image.Image:
    """Return the row of one scene."""
    panels = scene_panels(scene, thresholds)
    step = max(panel.width for panel in panels) + GAP_PX
    height = max(panel.height for panel in panels)
    row = Image.new("RGB", (step * len(panels), height + 2 * CAPTION_PX + GAP_PX), WHITE)
    draw = ImageDraw.Draw(row)
    draw.text((2, 1), scene.caption, fill=INK)
    for number, (panel, title) in enumerate(zip(panels, PANELS, strict=True)):
        draw.text((number * step + 2, CAPTION_PX), title, fill=INK)
        row.paste(panel, (number * step, 2 * CAPTION_PX))
    return row


def scene_panels(scene: ShownScene, thresholds: Sequence[float]) -> list[Image.Image]:
    """Return picture, heat map, mask and truth of a scene, of one size."""
    picture, _ = scene_overview(scene_info(scene.row), PANEL_PX)
    size_hw = (picture.height, picture.width)
    values = _at_size(scene.values, scene.lattice, size_hw)
    highest = np.where(values == UNKNOWN, 0, values).max(axis=0) / MAX_VALUE
    highest[(values == UNKNOWN).any(axis=0)] = np.nan
    rgb = np.asarray(picture)
    mask = overlay_classes(rgb, classes_at(values, thresholds))
    panels = [picture, heat_map(highest), mask]
    if scene.row.class_map is not None:
        with rasterio.open(scene.row.class_map) as dataset:
            truth = dataset.read(1, out_shape=size_hw)
        panels.append(overlay_classes(rgb, truth))
    else:
        panels.append(Image.new("RGB", picture.size, WHITE))
    return panels


def _at_size(
    values: NDArray[np.uint8], lattice: Lattice, size_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a map (K, r, c) at the size of a picture of the whole scene, (K, H, W)."""
    rows, cols = cells_of_px(lattice)
    row = rows[_spread(size_hw[0], len(rows))]
    col = cols[_spread(size_hw[1], len(cols))]
    return values[:, row[:, None], col]


def _spread(count: int, length: int) -> NDArray[np.int64]:
    """Return the middle px, of `length`, of each of `count` equal parts."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64).clip(0, length - 1)
