"""Crowds made of what a scene holds: objects copied close beside others, so that few labels teach what a full apron is.

Where objects stand wing to wing a network must tell them apart, and training scenes may hold no such place. A copy
keeps its own surroundings and takes on the light of its new ones; as many pieces of bare ground are copied too, so that
a seam means nothing. Copying objects: Ghiasi et al. 2021. Draws from a given generator; reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from windhover.objective import IGNORED

COPIES = 4  # at most so many objects are copied into one crop
SMALLEST = 0.5  # copies are shrunk to between this and their own size, those of one crop alike: small ones crowd
LEAST_PX = 8.0  # but no longer side below this
TRIES = 8  # places tried for one copy
RIM = 0.08  # of an object's size, on each side: its surroundings that come along
GAPS = (-0.05, 0.35)  # between two boxes, in units of their mean side: just touching to a wing apart
CHAIN = 0.6  # share of copies that are set beside the one before, not beside any object
FEATHER_PX = 2.0  # over which a copy's edge fades
SPELL_PX = 5  # px of a copy's rim that are taken together

Pixels = NDArray[Any]
Table = NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """An object that can be copied: (h, w, C) pixels, and its row: class, centre in px of the piece, width, height."""

    pixels: Pixels
    row: Table


def pieces_of(image: Pixels, table: Table) -> list[Piece]:
    """Cut out the objects of a crop that stand alone and wholly inside.

    Args:
        image: (S, S, C).
        table: (M, 5) class index or `IGNORED`, centre relative to the crop's own, width, height; px.
    """
    boxes = _boxes(table, image.shape[0], RIM)
    pieces: list[Piece] = []
    if not np.isfinite(boxes).all():
        return pieces
    for number in np.flatnonzero(table[:, 0] >= 0):
        cut = _cut(image, boxes[number])
        others = np.delete(boxes, number, axis=0)
        if cut is not None and not _overlaps(boxes[number], others):
            row = table[number].copy()
            row[1:3] += image.shape[0] / 2 - np.floor(boxes[number, :2])
            pieces.append(Piece(cut, row))
    return pieces


def crowd(image: Pixels, table: Table, pieces: list[Piece], random: np.random.Generator) -> tuple[Pixels, Table]:
    """Copy pieces beside the objects of a crop.

    Args:
        image: (S, S, C), left as it is.
        table: its objects, as in `pieces_of`.
        pieces: of the same scene at the same GSD.
        random: draws everything.

    Returns:
        The crop and its table with the copies in it; unchanged where no place was free or a size is unknown.
    """
    image, side = image.copy(), image.shape[0]
    wanted, shrink = int(random.integers(1, COPIES + 1)), random.uniform(SMALLEST, 1.0)
    sizes: list[tuple[int, int]] = []
    last: Table | None = None
    for _ in range(wanted if pieces and np.isfinite(table).all() else 0):
        piece = _shrunk(pieces[random.integers(len(pieces))], shrink)
        beside = table if last is None or random.uniform() > CHAIN else table[-1:]
        spot = _place(piece, beside, table, side, random)
        if spot is None:
            continue
        _blend(image, piece.pixels, *spot)
        last = piece.row.copy()
        last[1:3] += np.array(spot, np.float32) - side / 2
        table = np.concatenate([table, last[None]])
        sizes.append((len(piece.pixels), piece.pixels.shape[1]))
    for height, width in sizes:
        _copy_ground(image, table, height, width, random)
    return image, table


def _shrunk(piece: Piece, factor: float) -> Piece:
    """Return a piece at a smaller scale, as if it were a smaller object."""
    factor = min(max(factor, LEAST_PX / float(piece.row[3:5].max())), 1.0)
    height, width = piece.pixels.shape[:2]
    new = max(round(width * factor), 3), max(round(height * factor), 3)
    bands = np.moveaxis(piece.pixels, 2, 0)  # one by one: OpenCV averages four at most
    pixels = np.stack([cv2.resize(np.ascontiguousarray(band), new, interpolation=cv2.INTER_AREA) for band in bands], 2)
    row = piece.row.copy()
    row[1:] *= np.array([new[0] / width, new[1] / height] * 2, np.float32)
    return Piece(pixels, row)


def _boxes(table: Table, side: int, rim: float) -> NDArray[np.float64]:
    """Return xyxy in px of the crop, with a rim; NaN where the size is unknown."""
    centre, size = table[:, 1:3].astype(np.float64) + side / 2, table[:, 3:5].astype(np.float64) * (1 + 2 * rim)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64], share: float = 0.0) -> bool:
    """Tell whether a box covers more than a share of itself of any other."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    common = np.maximum(width, 0) * np.maximum(height, 0)
    return bool((common > share * (box[2] - box[0]) * (box[3] - box[1])).any())


def _cut(image: Pixels, box: NDArray[np.float64]) -> Pixels | None:
    """Return the whole px of a box, None where it is not wholly inside."""
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    if left < 0 or top < 0 or right > image.shape[1] or bottom > image.shape[0]:
        return None
    return image[top:bottom, left:right].copy()


def _place(piece: Piece, beside: Table, table: Table, side: int, random: np.random.Generator) -> tuple[int, int] | None:
    """Return left, top of a free place just beside one of some objects, None where none was found."""
    boxes, anchors = _boxes(table, side, 0.0), beside[beside[:, 0] >= 0]
    length = np.array(piece.pixels.shape[1::-1], float)
    for _ in range(TRIES if len(anchors) else 0):
        anchor = anchors[random.integers(len(anchors))]
        along = int(random.integers(2))  # beside it, or before it
        need = (piece.row[3:5] + anchor[3:5]) / 2
        shift = random.uniform(-0.6, 0.6, 2) * need
        shift[along] = random.choice([-1, 1]) * need[along] * (1 + random.uniform(*GAPS))
        corner = np.rint(anchor[1:3] + side / 2 + shift - piece.row[1:3])
        if (corner < 0).any() or (corner + length > side).any():
            continue
        centre = corner + piece.row[1:3]
        box = np.concatenate([centre - piece.row[3:5] / 2, centre + piece.row[3:5] / 2])
        if not _overlaps(box, boxes, 0.08):
            return int(corner[0]), int(corner[1])
    return None


def _copy_ground(image: Pixels, table: Table, height: int, width: int, random: np.random.Generator) -> None:
    """Copy a piece of bare ground of the crop to another bare place of it; none where the ground may hold anything."""
    side = image.shape[0]
    boxes = _boxes(table, side, 0.0)
    free: list[tuple[int, int]] = []
    for _ in range(TRIES if not (table[:, 0] == IGNORED).any() else 0):
        left, top = (int(random.integers(0, max(side - length, 0) + 1)) for length in (width, height))
        if not _overlaps(np.array([left, top, left + width, top + height], float), boxes):
            free.append((left, top))
        if len(free) == 2:
            (from_left, from_top), (left, top) = free
            _blend(image, image[from_top : from_top + height, from_left : from_left + width].copy(), left, top)
            return


def _blend(image: Pixels, piece: Pixels, left: int, top: int) -> None:
    """Set a piece into a picture: its rim takes on the values there, its inside their mean change; edges fade.

    The change along the rim is spread inwards by inverse squared distance (Shepard 1968).
    """
    height, width = piece.shape[:2]
    there = image[top : top + height, left : left + width]
    ring = _ring(height, width)  # (E, 2) row, col
    change = there[*ring.T].astype(np.float32) - piece[*ring.T].astype(np.float32)  # (E, C)
    starts = np.arange(0, len(ring), SPELL_PX)
    counts = np.diff(np.append(starts, len(ring)))[:, None].astype(np.float32)
    spots = np.add.reduceat(ring.astype(np.float32), starts) / counts  # (F, 2)
    change = np.add.reduceat(change, starts) / counts  # (F, C)
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    weights = 1.0 / ((rows[..., None] - spots[:, 0]) ** 2 + (cols[..., None] - spots[:, 1]) ** 2 + 1.0)  # (h, w, F)
    moved = piece.astype(np.float32) + weights @ change / weights.sum(-1, keepdims=True)
    depth = np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(cols, width - 1 - cols)) + 1.0
    fade = np.clip(depth / (FEATHER_PX + 1.0), 0.0, 1.0)[..., None]
    mixed = fade * moved + (1 - fade) * there.astype(np.float32)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        mixed = np.clip(np.rint(mixed), limits.min, limits.max)
    image[top : top + height, left : left + width] = mixed.astype(image.dtype)


def _ring(height: int, width: int) -> NDArray[np.int64]:
    """Return row and column of the outermost px of a rectangle, in turn, (E, 2)."""
    rows, cols = np.arange(height), np.arange(width)
    sides = [
        (np.zeros(width, int), cols), (rows[1:], np.full(height - 1, width - 1)),
        (np.full(width - 1, height - 1), cols[-2::-1]), (rows[-2:0:-1], np.zeros(height - 2, int)),
    ]  # fmt: skip
    return np.concatenate([np.stack(side, 1) for side in sides])
