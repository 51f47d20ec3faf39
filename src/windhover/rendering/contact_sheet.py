"""Contact sheets: rows of small pictures with a line of text and boxes, for a person to check.

Shows any number of bands and any type of number; each row has one stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from windhover.rendering.images import (
    Color,
    draw_box,
    draw_cross,
    rgb_bands,
    stretch_range,
    to_bytes,
)

ZOOM = 2
LARGEST_CELL_PX = 256
DEFAULT_CELL_PX = 64
MARGIN_PX = 6
CAPTION_PX = 13
LETTER_PX = 6
TITLE_LETTER_PX = 7
INK: Color = (30, 30, 30)
WHITE: Color = (255, 255, 255)
POSITIVE: Color = (0, 140, 60)
BACKGROUND: Color = (190, 60, 30)


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        image: (S, S, C) pixels of any type.
        title: a word or two.
        label: name of its class, empty for background.
        boxes: dx, dy of each object's center from the picture's, and its width and height, px.
    """

    image: NDArray[Any]
    title: str
    label: str = ""
    boxes: Sequence[tuple[float, ...]] = ()


def draw_sheet(
    rows: Sequence[Sequence[Cell]], title: str, band_names: Sequence[str] = ()
) -> Image.Image:
    """Draw rows of cells under a title.

    All cells of a row have one stretch, so that changes of brightness show.

    Args:
        rows: of the sheet.
        title: above it.
        band_names: names of the pictures' bands, where they are known.
    """
    side = _cell_side_px(rows)
    columns = max((len(row) for row in rows), default=1)
    step_x = side + MARGIN_PX
    step_y = side + CAPTION_PX + MARGIN_PX
    width = max(columns * step_x + MARGIN_PX, TITLE_LETTER_PX * len(title))
    height = len(rows) * step_y + CAPTION_PX + 2 * MARGIN_PX
    sheet = Image.new("RGB", (width, height), WHITE)
    ImageDraw.Draw(sheet).text((MARGIN_PX, 3), title, fill=INK)
    for row_number, row in enumerate(rows):
        top = CAPTION_PX + MARGIN_PX + row_number * step_y
        images = _row_images(row, band_names)
        for column, (cell, picture) in enumerate(zip(row, images, strict=True)):
            left = MARGIN_PX + column * step_x
            _draw_cell(sheet, cell, picture, corner=(left, top), side=side)
    return sheet


def _cell_side_px(rows: Sequence[Sequence[Cell]]) -> int:
    largest = max((cell.image.shape[0] for row in rows for cell in row), default=DEFAULT_CELL_PX)
    return min(largest * ZOOM, LARGEST_CELL_PX)


def _row_images(row: Sequence[Cell], band_names: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Return the cells' images as (S, S, 3) bytes of one stretch."""
    images = [cell.image[..., rgb_bands(cell.image.shape[-1], band_names)] for cell in row]
    if not images:
        return []
    value_range = stretch_range(np.concatenate([image.reshape(-1, 3) for image in images]))
    return [to_bytes(image, value_range) for image in images]


def _draw_cell(
    sheet: Image.Image,
    cell: Cell,
    picture: NDArray[np.uint8],
    *,
    corner: tuple[int, int],
    side: int,
) -> None:
    left, top = corner
    zoomed = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
    sheet.paste(zoomed, (left, top + CAPTION_PX))
    color = POSITIVE if cell.label else BACKGROUND
    draw = ImageDraw.Draw(sheet)
    text = f"{cell.title}  {cell.label}".strip()[: side // LETTER_PX]
    draw.text((left, top), text, fill=color)
    for box in cell.boxes:
        zoomed_box = np.asarray(box, np.float64) * side / cell.image.shape[0]
        _draw_object(draw, zoomed_box, (left, top + CAPTION_PX), side, color=color)


def _draw_object(
    draw: ImageDraw.ImageDraw,
    box: NDArray[np.float64],
    corner: tuple[int, int],
    side: int,
    *,
    color: Color,
) -> None:
    """Draw the part of an object's box inside a cell, and a cross at its center.

    Args:
        draw: of the sheet.
        box: dx, dy of its center from the cell's, width and height, px of the sheet.
        corner: left, top of the cell, px of the sheet.
        side: of the cell, px.
        color: RGB.
    """
    low = np.asarray(corner, np.float64)
    center = low + side / 2 + box[:2]
    cell_corners = (low[0], low[1], low[0] + side - 1, low[1] + side - 1)
    half_size = box[2:] / 2
    draw_box(draw, (*(center - half_size), *(center + half_size)), color, within=cell_corners)
    if (low <= center).all() and (center < low + side).all():
        draw_cross(draw, center[0], center[1], color=color)


def tile_images(images: Sequence[Image.Image], columns: int, gap_px: int = 4) -> Image.Image:
    """Paste pictures of one size into a grid on white, row by row."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    step_x = images[0].width + gap_px
    step_y = images[0].height + gap_px
    sheet = Image.new("RGB", (columns * step_x, rows * step_y), WHITE)
    for position, picture in enumerate(images):
        row, column = divmod(position, columns)
        sheet.paste(picture, (column * step_x, row * step_y))
    return sheet
