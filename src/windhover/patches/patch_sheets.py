"""Contact sheets of patches and of large patches, as they are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windhover.rendering.contact_sheet import Cell, draw_sheet
from windhover.rendering.images import evenly_chosen

PATCHES_IN_A_ROW = 8  # evenly chosen from all
CANDIDATES_PER_CELL = 4


def patch_cell(image: NDArray[Any], record: Any, title: str) -> Cell:
    """Return a patch as a cell of a sheet.

    Args:
        image: (S, S, C) pixels.
        record: its row of the index.
        title: a word or two.
    """
    box = tuple(float(record[key]) for key in ("dx_px", "dy_px", "w_px", "h_px"))
    boxes = [box] if np.isfinite(box).all() else []
    return Cell(image, title, str(record["class"]), boxes)


def patch_sheet(
    splits: Sequence[tuple[str, NDArray[Any], Any]], band_names: Sequence[str] = ()
) -> Image.Image | None:
    """Draw patches of each split, a row with objects and a row of background; None without patches.

    Args:
        splits: name, (N, S, S, C) patches and their index, of each split.
        band_names: names of the patches' bands, where they are known.
    """
    rows = []
    for name, images, index in splits:
        is_positive = (index["kind"] == "positive").to_numpy()
        for rows_of_kind in (np.flatnonzero(is_positive), np.flatnonzero(~is_positive)):
            chosen = rows_of_kind[evenly_chosen(len(rows_of_kind), PATCHES_IN_A_ROW)]
            cells = []
            for row in chosen:
                record = index.iloc[row]
                cells.append(patch_cell(images[row], record, f"{name} {record['kind']}"))
            if cells:
                rows.append(cells)
    if not rows:
        return None
    return draw_sheet(rows, "patches as cut, by split", band_names)


def large_patch_sheet(
    images: NDArray[Any],
    objects: NDArray[np.float32],
    rows: int = 3,
    columns: int = 8,
    *,
    band_names: Sequence[str] = (),
) -> Image.Image:
    """Draw large patches with the boxes of their objects, those with most objects first.

    Args:
        images: (N, S, S, C) as read.
        objects: (N, M, 5) class index, below 0 for no object; dx, dy from the large patch's
            center, width and height, px, NaN where unknown.
        rows: of the sheet.
        columns: of the sheet.
        band_names: names of the pictures' bands, where they are known.
    """
    is_object = objects[..., 0] >= 0
    has_center_inside = (np.abs(objects[..., 1:3]) <= images.shape[1] / 2).all(-1)
    is_shown = is_object & has_center_inside
    n_cells = rows * columns
    candidates = evenly_chosen(len(images), CANDIDATES_PER_CELL * n_cells)
    order = np.argsort(-is_shown[candidates].sum(1), kind="stable")
    cells = []
    for number in candidates[order][:n_cells]:
        boxes = [tuple(box) for box in objects[number, is_shown[number], 1:].tolist()]
        title = str(len(boxes) or "background")
        label = "objects" if boxes else ""
        cells.append(Cell(images[number], title, label, boxes))
    grid = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return draw_sheet(grid, "large patches as cut, those with most objects first", band_names)
