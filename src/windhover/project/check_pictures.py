"""The pictures of the check page: scenes with their labels, windows, and objects at the extremes.

Everything is shown at the GSD of the search. Chooses a varied few; learns nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.geometry.arrays import Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.scenes import Scene
from windhover.rendering.contact_sheet import Cell, draw_sheet
from windhover.rendering.html_page import EmbeddedImage, embed_image
from windhover.rendering.images import Color, draw_box, draw_cross, evenly_chosen, to_rgb

N_SCENES = 6
SCENE_PX = 480  # side of the part of a scene that is shown
MIN_SHOWN_PX = 420  # smaller pictures are enlarged
N_WINDOWS = 8
MAX_CELL_PX = 512
OBJECT_COLOR: Color = (255, 70, 30)
IGNORED_COLOR: Color = (255, 210, 0)
WINDOW_COLOR: Color = (0, 190, 255)
N_TRIES = 200  # places at random, for windows without an object
SEED = 0


def scene_pictures(catalog: Catalog, objects: pd.DataFrame) -> list[EmbeddedImage]:
    """Return parts of a varied few scenes with their labels, and the size of a window.

    Args:
        catalog: its rasters can be read.
        objects: from `objects_in_px`.
    """
    return [_scene_picture(row, why, catalog, objects) for row, why in _varied(catalog, objects)]


def _varied(catalog: Catalog, objects: pd.DataFrame) -> list[tuple[SceneRow, str]]:
    """Return scenes that differ, each with why it was chosen."""
    counts = objects["scene"].value_counts()
    rows = sorted(catalog, key=lambda row: (-int(counts.get(row.scene, 0)), row.scene))
    with_objects = [row for row in rows if row.scene in counts.index]
    wishes: list[tuple[str, Sequence[SceneRow]]] = []
    for split in ("train", "val", "test"):
        of_split = [row for row in with_objects if row.split == split]
        wishes.append((f"most objects of {split}", of_split))
    wishes += [
        ("fewest objects", with_objects[::-1]),
        ("labelled, without an object", [row for row in rows[::-1] if row.labeled]),
        ("without labels: searched, not learned from", [r for r in rows if not r.labeled]),
        ("in between", with_objects[len(with_objects) // 2 :]),
        ("many objects", with_objects),
    ]
    chosen: dict[str, tuple[SceneRow, str]] = {}
    for why, candidates in wishes:
        for row in candidates:
            if why.startswith("labelled") and row.scene in counts.index:
                continue
            if row.scene not in chosen and len(chosen) < N_SCENES:
                chosen[row.scene] = row, why
                break
    return list(chosen.values())


def _scene_picture(
    row: SceneRow, why: str, catalog: Catalog, objects: pd.DataFrame
) -> EmbeddedImage:
    on_scene = objects[objects["scene"] == row.scene]
    with open_catalog_scene(row, catalog.gsd_m, catalog.bands) as scene:
        height, width = scene.shape_hw
        corner = _densest_corner(on_scene, scene)
        left, top = corner
        rows, cols = min(SCENE_PX, height), min(SCENE_PX, width)
        pixels, valid = scene.read(top, left, rows, cols)
        image = Image.fromarray(to_rgb(pixels, valid, scene.bands))
        ratio = scene.ratio_xy
    zoom = max(round(MIN_SHOWN_PX / max(image.size)), 1)
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    _draw_labels(image, row, catalog, ratio=ratio, corner=corner, zoom=zoom)
    draw = ImageDraw.Draw(image)
    side = WINDOW_PX * zoom
    draw_box(draw, (3, image.height - side - 3, side + 3, image.height - 3), WINDOW_COLOR)
    caption = f"{row.scene} ({row.split}; {why}): {len(on_scene)} objects"
    if (rows, cols) != (height, width):
        caption += f"; {cols} x {rows} of {width} x {height} px"
    return embed_image(image, caption, "natural")


def _densest_corner(objects: pd.DataFrame, scene: Scene) -> tuple[int, int]:
    """Return left and top of the part of a scene around its most crowded object, px."""
    height, width = scene.shape_hw
    center = (width / 2, height / 2)
    if len(objects):
        fullest = objects.sort_values(["crowd", "y", "x"], ascending=[False, True, True]).iloc[0]
        center = (float(fullest["x"]), float(fullest["y"]))
    left = int(np.clip(center[0] - SCENE_PX / 2, 0, max(width - SCENE_PX, 0)))
    top = int(np.clip(center[1] - SCENE_PX / 2, 0, max(height - SCENE_PX, 0)))
    return left, top


def _draw_labels(
    image: Image.Image,
    row: SceneRow,
    catalog: Catalog,
    *,
    ratio: tuple[float, float],
    corner: tuple[int, int],
    zoom: int,
) -> None:
    """Draw the labels of a scene over a part of it."""
    draw = ImageDraw.Draw(image)
    labels = catalog.labels_of(row.scene)
    boxes = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64).reshape(-1, 2, 2)
    boxes = (boxes / ratio - corner) * zoom
    for box, role in zip(boxes, labels["role"], strict=True):
        (left, top), (right, bottom) = box
        if right < 0 or bottom < 0 or left > image.width or top > image.height:
            continue
        color = OBJECT_COLOR if role == "object" else IGNORED_COLOR
        if right <= left:
            draw_cross(draw, left, top, color=color)
        draw_box(draw, (left, top, right, bottom), color)


def window_sheet(catalog: Catalog, objects: pd.DataFrame) -> EmbeddedImage:
    """Return windows around objects, and windows of background on labelled ground."""
    chosen = objects.iloc[evenly_chosen(len(objects), N_WINDOWS)]
    cells = _cells(catalog, chosen, objects, largest_px=WINDOW_PX)
    rows = [cells]
    background = _background(catalog, objects)
    if len(background):
        rows.append(_cells(catalog, background, objects, largest_px=WINDOW_PX))
    title = f"Windows of {WINDOW_PX} px = {WINDOW_PX * catalog.gsd_m:.4g} m"
    sheet = draw_sheet(rows, title, catalog.bands)
    caption = (
        f"What the network sees for one score: {WINDOW_PX} px, enlarged. Above, windows with "
        "objects; below, ground without a label, which is learned as background."
    )
    if len(rows) == 1:
        caption = (
            f"What the network sees for one score: {WINDOW_PX} px, enlarged, with objects. No "
            "window without one was found: the labels leave hardly any background to learn from."
        )
    return embed_image(sheet, caption, "wide")


def _background(catalog: Catalog, objects: pd.DataFrame) -> pd.DataFrame:
    """Return centers of windows without an object's center, at random on labelled scenes."""
    rng = np.random.default_rng(SEED)
    labeled = [row for row in catalog if row.labeled]
    found: list[dict[str, Any]] = []
    for number in range(N_TRIES if labeled else 0):
        row = labeled[number % len(labeled)]
        width = row.width_px * row.gsd_x_m / catalog.gsd_m
        height = row.height_px * row.gsd_y_m / catalog.gsd_m
        if min(width, height) < WINDOW_PX:
            continue
        x, y = rng.uniform(WINDOW_PX / 2, (width - WINDOW_PX / 2, height - WINDOW_PX / 2))
        near = objects[objects["scene"] == row.scene]
        distance = np.maximum((near["x"] - x).abs(), (near["y"] - y).abs())
        if (distance > WINDOW_PX / 2).all() and len(found) < N_WINDOWS:
            found.append({"scene": row.scene, "x": x, "y": y, "length": np.nan, "crowd": -1})
    return pd.DataFrame(found)


def extreme_sheet(catalog: Catalog, objects: pd.DataFrame) -> EmbeddedImage:
    """Return the largest, the smallest and the most crowded objects, a row each."""
    by_length = objects.sort_values(["length", "scene", "y", "x"], kind="stable")
    largest = by_length[::-1].head(N_WINDOWS)
    extremes = (largest, by_length.head(N_WINDOWS), _most_crowded(objects))
    rows = [_cells(catalog, chosen, objects, largest_px=MAX_CELL_PX) for chosen in extremes]
    sheet = draw_sheet(rows, "Largest, smallest, most crowded", catalog.bands)
    caption = (
        "The largest, the smallest and the most crowded objects. Each picture is one window, or "
        "larger where the object is; longer sides in px of the search."
    )
    return embed_image(sheet, caption, "wide")


def _most_crowded(objects: pd.DataFrame) -> pd.DataFrame:
    """Return objects with most others in their window, a window apart from one another."""
    chosen: list[int] = []
    order = objects.sort_values(["crowd", "scene", "y", "x"], ascending=[False, True, True, True])
    rows: Any = order.itertuples()  # its columns have no types
    for one in rows:
        taken = objects.loc[chosen]
        taken = taken[taken["scene"] == one.scene]
        near = np.maximum((taken["x"] - one.x).abs(), (taken["y"] - one.y).abs()) < WINDOW_PX
        if not near.any():
            chosen.append(int(one.Index))
        if len(chosen) == N_WINDOWS:
            break
    return objects.loc[chosen]


def _cells(
    catalog: Catalog,
    chosen: pd.DataFrame,
    objects: pd.DataFrame,
    *,
    largest_px: int,
) -> list[Cell]:
    """Return pictures around chosen centers, with the objects in them, in the order given."""
    rows = {row.scene: row for row in catalog}
    cells: dict[int, Cell] = {}
    for name, group in chosen.groupby("scene", sort=False):
        near = objects[objects["scene"] == name]
        with open_catalog_scene(rows[str(name)], catalog.gsd_m, catalog.bands) as scene:
            centers: Any = group.itertuples(index=False)  # its columns have no types
            for position, one in zip(group.index, centers, strict=True):
                side = int(np.clip(np.nan_to_num(1.3 * one.length), WINDOW_PX, largest_px))
                cells[position] = _cell(scene, one, near, side)
    return [cells[position] for position in chosen.index]


def _cell(scene: Scene, one: Any, near: pd.DataFrame, side: int) -> Cell:
    x, y = float(one.x), float(one.y)
    height, width = scene.shape_hw
    left = int(np.clip(round(x - side / 2), 0, max(width - side, 0)))
    top = int(np.clip(round(y - side / 2), 0, max(height - side, 0)))
    pixels, _ = scene.read(top, left, side, side)
    middle = np.array([left + side / 2, top + side / 2])
    boxes = list(_boxes_within(near, middle, side))
    title = "background"
    if one.crowd >= 0:
        title = f"{one.length:.0f} px"
        if one.crowd:
            title += f", {one.crowd:.0f} more"
    label = " " if one.crowd >= 0 else ""
    return Cell(pixels.transpose(1, 2, 0), title, label, boxes)


def _boxes_within(near: pd.DataFrame, middle: Floats, side: int) -> Iterator[tuple[float, ...]]:
    """Yield the boxes that a square shows, from its middle."""
    boxes: Any = near.itertuples(index=False)  # its columns have no types
    for other in boxes:
        dx = other.x - middle[0]
        dy = other.y - middle[1]
        reach = max(other.width, other.height) / 2 + side / 2
        if max(abs(dx), abs(dy)) < reach:
            yield dx, dy, other.width, other.height
