"""Where train, val and test are, as shapes of a drawing: a panel of each place, one of them all.

Computes positions alone; the page draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from windhover.dataset.block_plan import BlockPlan
from windhover.dataset.catalog import Catalog, SceneRow
from windhover.dataset.spatial_blocks import BLOCK_SEPARATOR, raster_name
from windhover.geometry.arrays import Floats

N_PANELS = 12
PANEL_PX = 240.0
MAP_PX = (1000.0, 420.0)
MARGIN_PX = 8.0
SMALLEST_PX = 7.0  # side of a scene on the map of all places
N_DOTS = 400  # objects that a panel shows
UNLABELED = "unlabeled"


@dataclass(frozen=True)
class MapShape:
    """A scene.

    Attributes:
        box: left, top, width and height, px of the panel.
        split: train, val or test; `unlabeled` where nothing is learned or measured.
        title: what it is.
    """

    box: tuple[float, float, float, float]
    split: str
    title: str


@dataclass(frozen=True)
class MapPanel:
    """A drawing.

    Attributes:
        caption: what it shows.
        width: px.
        height: px.
        shapes: the scenes.
        dots: x, y of objects, px.
        folds: left, top, width and height of blocks that are folds of a cross-validation, px.
    """

    caption: str
    width: float
    height: float
    shapes: tuple[MapShape, ...]
    dots: tuple[tuple[float, float], ...] = ()
    folds: tuple[tuple[float, ...], ...] = ()


def map_of_places(catalog: Catalog) -> MapPanel | None:
    """Return the footprints of all scenes, north up; None where there are not two places on one."""
    rows = [row for row in catalog if row.footprint_wkt_4326 is not None]
    if len({row.place for row in rows}) < 2:
        return None
    bounds = shapely.bounds(shapely.from_wkt([row.footprint_wkt_4326 for row in rows]))
    boxes = bounds * np.array([1.0, -1.0, 1.0, -1.0])
    boxes = boxes[:, [0, 3, 2, 1]]  # left, top, right, bottom, y down
    boxes[:, [0, 2]] *= np.cos(np.deg2rad(bounds[:, [1, 3]].mean()))
    n_places = len({row.place for row in rows})
    left_out = len(catalog.scenes) - len(rows)
    caption = f"{n_places} places, north up; scenes drawn at least {SMALLEST_PX:g} px wide"
    if left_out:
        caption += f"; {left_out} scenes without georeference are not on it"
    return _panel(caption, rows, boxes, size=MAP_PX, smallest=SMALLEST_PX)


def place_panels(catalog: Catalog, folds: BlockPlan | None) -> tuple[list[MapPanel], int]:
    """Return a drawing of each place with its scenes or blocks, and how many places are left out.

    Those that are cut into blocks come first, then those with most objects.

    Args:
        catalog: of the scenes.
        folds: blocks of a cross-validation next to the model that learns from all.
    """
    groups: dict[str, list[SceneRow]] = {}
    for row in catalog:
        groups.setdefault(_panel_of(row), []).append(row)
    counts = catalog.labels.loc[catalog.labels["role"] == "object", "scene"].value_counts()

    def order(name: str) -> tuple[bool, int, str]:
        is_cut = any(BLOCK_SEPARATOR in row.scene for row in groups[name])
        return not is_cut, -sum(int(counts.get(row.scene, 0)) for row in groups[name]), name

    names = sorted(groups, key=order)
    panels = [_place_panel(name, groups[name], catalog, folds) for name in names[:N_PANELS]]
    return panels, len(names) - len(panels)


def _panel_of(row: SceneRow) -> str:
    """Return what a scene is drawn with: its place, or its raster in a local grid."""
    return row.place if row.crs is not None else raster_name(row.scene)


def _place_panel(
    name: str, rows: Sequence[SceneRow], catalog: Catalog, folds: BlockPlan | None
) -> MapPanel:
    boxes = np.array([_box_m(row, rows[0]) for row in rows])
    points = []
    n_objects = 0
    for row, box in zip(rows, boxes, strict=True):
        labels = catalog.labels_of(row.scene)
        labels = labels[labels["role"] == "object"]
        n_objects += len(labels)
        centers = labels[["col", "row"]].to_numpy(np.float64) * row.gsd_m
        points.append(centers + box[:2])
    dots = np.concatenate(points)
    step = max(len(dots) // N_DOTS, 1)
    caption = f"{name}: {n_objects} objects"
    outlines = np.zeros((0, 4))
    if folds is not None:
        outlines = _fold_boxes(rows, boxes, folds)
        caption += ", framed: the blocks that measure" * bool(len(outlines))
    return _panel(
        caption,
        rows,
        boxes,
        size=(PANEL_PX, PANEL_PX),
        smallest=1.0,
        points=dots[::step],
        outlines=outlines,
    )


def _fold_boxes(rows: Sequence[SceneRow], boxes: Floats, folds: BlockPlan) -> Floats:
    """Return (N, 4) the blocks of scenes in the plane of their panel, m."""
    found = []
    for row, box in zip(rows, boxes, strict=True):
        for window in (folds.windows_of(row.scene) or {}).values():
            end = (window.col + window.width, window.row + window.height)
            corners = np.array([window.col, window.row, *end])
            found.append(corners * (*row.gsd_m, *row.gsd_m) + (*box[:2], *box[:2]))
    return np.array(found).reshape(-1, 4)


def _box_m(row: SceneRow, first: SceneRow) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a scene in the plane of the first of its panel, m."""
    left = row.origin_col_px * row.gsd_x_m
    top = row.origin_row_px * row.gsd_y_m
    is_alike = row.crs == first.crs and row.transform[0] and row.transform[4]
    if row.crs is not None and is_alike:
        left = (row.transform[2] - first.transform[2]) / row.transform[0] * row.gsd_x_m
        top = (row.transform[5] - first.transform[5]) / row.transform[4] * row.gsd_y_m
    right = left + row.width_px * row.gsd_x_m
    return left, top, right, top + row.height_px * row.gsd_y_m


def _panel(
    caption: str,
    rows: Sequence[SceneRow],
    boxes: Floats,
    *,
    size: tuple[float, float],
    smallest: float,
    points: Floats | None = None,
    outlines: Floats | None = None,
) -> MapPanel:
    """Return boxes (N, 4) of any unit, y down, fitted into a panel."""
    low = boxes[:, :2].min(axis=0)
    extent = np.maximum(boxes[:, 2:].max(axis=0) - low, 1e-9)
    inner = np.array(size) - 2 * MARGIN_PX
    scale = float((inner / extent).min())
    width, height = (extent * scale + 2 * MARGIN_PX).tolist()
    shapes = []
    for row, box in zip(rows, boxes, strict=True):
        center = ((box[:2] + box[2:]) / 2 - low) * scale + MARGIN_PX
        sides = np.maximum((box[2:] - box[:2]) * scale, smallest)
        left, top = (center - sides / 2).round(1).tolist()
        split = row.split if row.labeled else UNLABELED
        box_px = (left, top, *sides.round(1).tolist())
        shapes.append(MapShape(box_px, split, f"{row.scene}, {row.place}: {split}"))
    dots = [] if points is None else ((points - low) * scale + MARGIN_PX).round(1).tolist()
    folds = []
    if outlines is not None:
        corners = (outlines[:, :2] - low) * scale + MARGIN_PX
        sides = (outlines[:, 2:] - outlines[:, :2]) * scale
        folds = np.column_stack([corners, sides]).round(1).tolist()
    return MapPanel(
        caption,
        round(width, 1),
        round(height, 1),
        tuple(shapes),
        tuple(map(tuple, dots)),
        tuple(map(tuple, folds)),
    )
