"""Contact sheets: rows of small pictures with a line of text and a box, for a person to judge.

Draws and nothing else; shows any band count and number type, each row stretched alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

ZOOM = 2
LARGEST = 256  # side of a cell
MARGIN = 6
CAPTION = 13
INK, POSITIVE, BACKGROUND = (30, 30, 30), (0, 140, 60), (190, 60, 30)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        image: (S, S, C) pixels of any type.
        title: a word or two.
        label: name of its class, empty for background.
        boxes: dx, dy of each object's centre from the picture's, and its width and height, px.
    """

    image: NDArray[Any]
    title: str
    label: str = ""
    boxes: Sequence[tuple[float, ...]] = ()


def patch_cell(image: NDArray[Any], record: Any, title: str) -> Cell:
    """Return a patch as a cell; `record` is its row of the index."""
    box = tuple(float(record[key]) for key in ("dx_px", "dy_px", "w_px", "h_px"))
    return Cell(image, title, str(record["class"]), [box] if np.isfinite(box).all() else [])


def sample_sheet(
    sets: Sequence[tuple[str, NDArray[Any], Any]], columns: int = 8
) -> Image.Image | None:
    """Draw patches of each split, a row of those with an object and one of background; None where
    there is no patch.

    Args:
        sets: name, (N, S, S, C) patches and their index, of each split.
        columns: patches in a row, taken evenly from all.
    """
    rows = []
    for name, images, index in sets:
        positive = (index["kind"] == "positive").to_numpy()
        for found in (np.flatnonzero(positive), np.flatnonzero(~positive)):
            chosen = found[
                np.unique(np.linspace(0, len(found) - 1, min(columns, len(found))).astype(int))
            ]
            records = [(images[row], index.iloc[row]) for row in chosen]
            rows += (
                [[patch_cell(image, row, f"{name} {row['kind']}") for image, row in records]]
                if records
                else []
            )
    return draw_sheet(rows, "patches as cut, by split") if rows else None


def crop_sheet(
    images: NDArray[Any], objects: NDArray[np.float32], rows: int = 3, columns: int = 8
) -> Image.Image:
    """Draw crops with the boxes of their objects, those with the most among evenly chosen ones
    first.

    Args:
        images: (N, S, S, C) as read.
        objects: (N, M, 5) class index, below 0 for no object; dx, dy from the crop's centre,
            width and height, px, NaN where unknown.
        rows: of the sheet.
        columns: of the sheet.
    """
    chosen = np.unique(
        np.linspace(0, len(images) - 1, min(4 * rows * columns, len(images))).astype(int)
    )
    known = (objects[..., 0] >= 0) & (np.abs(objects[..., 1:3]) <= images.shape[1] / 2).all(
        -1
    )  # centres inside
    chosen = chosen[np.argsort(-known[chosen].sum(1), kind="stable")][: rows * columns]
    cells = []
    for number in chosen:
        boxes = [tuple(box) for box in objects[number, known[number], 1:].tolist()]
        count = int(known[number].sum())
        cells.append(
            Cell(images[number], str(count or "background"), "objects" if count else "", boxes)
        )
    grid = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return draw_sheet(grid, "training crops as cut, those with most objects first")


def draw_sheet(rows: Sequence[Sequence[Cell]], title: str) -> Image.Image:
    """Draw rows of cells under a title. All cells of a row are stretched alike, so that changes of
    brightness show.
    """
    side = min(
        max((cell.image.shape[0] for row in rows for cell in row), default=64) * ZOOM, LARGEST
    )
    columns = max((len(row) for row in rows), default=1)
    step_x, step_y = side + MARGIN, side + CAPTION + MARGIN
    sheet = Image.new(
        "RGB",
        (max(columns * step_x + MARGIN, 7 * len(title)), len(rows) * step_y + CAPTION + 2 * MARGIN),
        (255, 255, 255),
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 3), title, fill=INK)
    for number, row in enumerate(rows):
        stretch = (
            _stretch(np.concatenate([_three(cell.image).reshape(-1, 3) for cell in row]))
            if row
            else (0.0, 1.0)
        )
        for column, cell in enumerate(row):
            left, top = MARGIN + column * step_x, CAPTION + MARGIN + number * step_y
            _draw_cell(sheet, pen, cell, (left, top), side, stretch)
    return sheet


def _draw_cell(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    cell: Cell,
    corner: tuple[int, int],
    side: int,
    stretch: tuple[float, float],
) -> None:
    left, top = corner
    low, high = stretch
    shown = np.clip(
        (_three(cell.image).astype(np.float32) - low) / max(high - low, 1e-6) * 255, 0, 255
    ).astype(np.uint8)
    sheet.paste(
        Image.fromarray(shown).resize((side, side), Image.Resampling.NEAREST), (left, top + CAPTION)
    )
    color = POSITIVE if cell.label else BACKGROUND
    pen.text((left, top), f"{cell.title}  {cell.label}".strip()[: side // 6], fill=color)
    for box in cell.boxes:
        _draw_box(
            pen, np.array(box) * side / cell.image.shape[0], (left, top + CAPTION), side, color
        )


def _draw_box(
    pen: ImageDraw.ImageDraw,
    box: NDArray[Any],
    corner: tuple[int, int],
    side: int,
    color: tuple[int, int, int],
) -> None:
    """Draw what lies inside a cell of a box, its centre relative to the cell's, and a cross in its
    middle.
    """
    low = np.array(corner)
    center = low + side / 2 + box[:2]
    near, far = (
        np.maximum(center - box[2:] / 2, low),
        np.minimum(center + box[2:] / 2, low + side - 1),
    )
    if (near < far).all():
        pen.rectangle((*near, *far), outline=color)
    if (low <= center).all() and (center < low + side).all():
        (x, y) = center
        pen.line((x - 3, y, x + 3, y), fill=color)
        pen.line((x, y - 3, x, y + 3), fill=color)


def _three(image: NDArray[Any]) -> NDArray[Any]:
    """Return three bands: the first three, or the first one thrice."""
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)


def _stretch(values: NDArray[Any]) -> tuple[float, float]:
    if values.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(values, (1, 99))
    return float(low), float(high)
