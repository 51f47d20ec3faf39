"""Crowds made of what a scene holds: objects copied close beside others, so that few labels teach
what a full apron is.

Where objects stand wing to wing a network must tell them apart, and training scenes may hold no
such place. A copy keeps its own surroundings and takes on the light of its new ground; pieces of
bare ground are copied in the same way, so that the trace of a copy tells little. Copying objects:
Ghiasi et al. 2021. Draws from a given generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COPIES = 4  # at most so many objects are copied into one crop
# copies are shrunk to between this and their own size, those of one crop alike: small ones crowd
SMALLEST = 0.5
LEAST_PX = 8.0  # the longer side stays at least this, or as it is
TRIES = 8  # places tried for one copy
RIM = 0.08  # of an object's size, on each side: its surroundings that come along
GAPS = (
    -0.05,
    0.35,
)  # between two boxes, in units of their mean side: just touching to a wing apart
SHARED = 0.08  # most of the smaller of two boxes that may be common
CHAIN = 0.6  # share of copies that are set beside the one before, not beside any object
FEATHER_PX = 2.0  # over which a copy's edge fades
SPELLS = 64  # parts of a copy's rim whose mean is taken
# a crop's table tells all that stands this far inside its border, where the middles of its windows
# lie
REACH_PX = 32

Pixels = NDArray[Any]
Valid = NDArray[np.bool_]
Table = NDArray[np.float32]
Read = Callable[[int, int, int, int], tuple[Pixels, Valid]]


@dataclass(frozen=True)
class Piece:
    """An object that can be copied: (h, w, C) pixels, and its row: class, centre in px of the
    piece, width, height.
    """

    pixels: Pixels
    row: Table


def pieces_of(read: Read, shape_hw: tuple[int, int], objects: Table) -> list[Piece]:
    """Cut out the objects of a scene that stand alone, wholly inside and on valid ground.

    Args:
        read: (row, col, height, width) -> pixels (C, h, w) and valid (h, w), of the scene at
            one GSD.
        shape_hw: px of the scene.
        objects: (M, 5) class index or `IGNORED`, centre x, y, width, height; px of the scene.
    """
    boxes = _boxes(objects, RIM)
    pieces = []
    for number in np.flatnonzero((objects[:, 0] >= 0) & np.isfinite(boxes).all(1)):
        left, top = np.floor(boxes[number, :2]).astype(int).tolist()
        right, bottom = np.ceil(boxes[number, 2:]).astype(int).tolist()
        inside = left >= 0 and top >= 0 and right <= shape_hw[1] and bottom <= shape_hw[0]
        if not inside or _overlaps(boxes[number], np.delete(boxes, number, axis=0), 0.0):
            continue
        pixels, valid = read(top, left, bottom - top, right - left)
        if valid.all():
            row = objects[number] - np.array([0, left, top, 0, 0], np.float32)
            pieces.append(Piece(np.ascontiguousarray(pixels.transpose(1, 2, 0)), row))
    return pieces


def crowd(
    image: Pixels, valid: Valid, table: Table, pieces: list[Piece], random: np.random.Generator
) -> tuple[Pixels, Table]:
    """Copy pieces beside the objects of a crop.

    Args:
        image: (S, S, C), left as it is.
        valid: (S, S), where it holds data.
        table: (M, 5) class index or `IGNORED`, centre relative to the crop's own, width,
            height; px. `IGNORED` ground is kept clear of copies.
        pieces: of the same scene at the same GSD.
        random: draws everything.

    Returns:
        The crop and its table with the copies in it; unchanged where no place was free or a size is
        unknown.
    """
    image, side = image.copy(), image.shape[0]
    table = table + np.array(
        [0, side / 2, side / 2, 0, 0], np.float32
    )  # from the crop's centre to its corner
    wanted, shrink = int(random.integers(1, COPIES + 1)), random.uniform(SMALLEST, 1.0)
    copied: list[tuple[Piece, Piece]] = []
    for _ in range(wanted if pieces and np.isfinite(table).all() else 0):
        piece = pieces[random.integers(len(pieces))]
        shrunk = _shrunk(piece, shrink)
        beside = table if not copied or random.uniform() > CHAIN else table[-1:]
        corner = _place(shrunk, beside, table, valid, random)
        if corner is not None:
            _blend(image, shrunk.pixels, corner, _boxes(table))
            row = shrunk.row + np.array([0, *corner, 0, 0], np.float32)
            table = np.concatenate([table, row[None]])
            copied.append((piece, shrunk))
    for piece, shrunk in copied:
        _copy_ground(image, valid, table, piece.pixels.shape[:2], shrunk.pixels.shape[:2], random)
    return image, table - np.array([0, side / 2, side / 2, 0, 0], np.float32)


def _shrunk(piece: Piece, factor: float) -> Piece:
    """Return a piece at a smaller scale, as if it were a smaller object."""
    factor = min(max(factor, LEAST_PX / float(piece.row[3:5].max())), 1.0)
    height, width = piece.pixels.shape[:2]
    new_hw = min(max(round(height * factor), 3), height), min(max(round(width * factor), 3), width)
    scale = np.array([1, *(new_hw[1] / width, new_hw[0] / height) * 2], np.float32)
    return Piece(_resized(piece.pixels, new_hw), piece.row * scale)


def _resized(pixels: Pixels, shape_hw: tuple[int, int]) -> Pixels:
    """Return (h, w, C) pixels averaged to fewer; bands one by one, since OpenCV averages four at
    most.
    """
    bands = np.moveaxis(pixels, 2, 0)
    size = shape_hw[1], shape_hw[0]
    return np.stack(
        [
            cv2.resize(np.ascontiguousarray(band), size, interpolation=cv2.INTER_AREA)
            for band in bands
        ],
        2,
    )


def _boxes(table: Table, rim: float = 0.0) -> NDArray[np.float64]:
    """Return xyxy of objects, with a rim in units of their size; NaN where the size is unknown."""
    center, size = (
        table[:, 1:3].astype(np.float64),
        table[:, 3:5].astype(np.float64) * (1 + 2 * rim),
    )
    return np.concatenate([center - size / 2, center + size / 2], axis=1)


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64], share: float) -> bool:
    """Tell whether a box has more than a share of the smaller one in common with any other."""
    extent = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    smaller = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(1))
    return bool((extent.prod(1) > share * smaller).any())


def _place(
    piece: Piece, beside: Table, table: Table, valid: Valid, random: np.random.Generator
) -> tuple[int, int] | None:
    """Return left, top of a free place just beside one of some objects, None where none was found."""
    boxes, anchors = _boxes(table), beside[beside[:, 0] >= 0]
    height, width = piece.pixels.shape[:2]
    for _ in range(TRIES if len(anchors) else 0):
        anchor = anchors[random.integers(len(anchors))]
        along = int(random.integers(2))  # beside it, or before it
        need = (piece.row[3:5] + anchor[3:5]) / 2
        shift = random.uniform(-0.6, 0.6, 2) * need
        shift[along] = random.choice([-1, 1]) * need[along] * (1 + random.uniform(*GAPS))
        left, top = np.rint(anchor[1:3] + shift - piece.row[1:3]).astype(int).tolist()
        if left < 0 or top < 0 or not _holds_data(valid, left, top, width, height):
            continue
        own = _boxes((piece.row + np.array([0, left, top, 0, 0], np.float32))[None])[0]
        if not _overlaps(own, boxes, SHARED):
            return left, top
    return None


def _holds_data(valid: Valid, left: int, top: int, width: int, height: int) -> bool:
    """Tell whether a rectangle lies wholly inside a crop, and holds data everywhere."""
    part = valid[top : top + height, left : left + width]
    return part.shape == (height, width) and bool(part.all())


def _copy_ground(
    image: Pixels,
    valid: Valid,
    table: Table,
    from_hw: tuple[int, ...],
    to_hw: tuple[int, ...],
    random: np.random.Generator,
) -> None:
    """Copy a piece of bare ground to another bare place, shrunk as an object was; none where no two
    are found.
    """
    side, boxes = image.shape[0], _boxes(table)
    known = side - 2 * REACH_PX
    height, width = (min(length, known) for length in from_hw)

    def free(low: int, high: int, height: int, width: int) -> tuple[int, int] | None:
        for _ in range(TRIES):
            left, top = (
                int(random.integers(low, max(high - length, low) + 1)) for length in (width, height)
            )
            box = np.array([left, top, left + width, top + height], float)
            if _holds_data(valid, left, top, width, height) and not _overlaps(box, boxes, 0.0):
                return left, top
        return None

    source = free(REACH_PX, side - REACH_PX, height, width)
    target = free(0, side, *to_hw)
    if source is not None and target is not None:
        left, top = source
        _blend(
            image,
            _resized(image[top : top + height, left : left + width], (to_hw[0], to_hw[1])),
            target,
            boxes,
        )


def _blend(
    image: Pixels, piece: Pixels, corner: tuple[int, int], boxes: NDArray[np.float64]
) -> None:
    """Set a piece into a picture: its rim takes on the ground there, its inside the rim's mean
    change; edges fade.

    The change along the rim is spread inwards by inverse squared distance (Shepard 1968). Where
    another object's box lies under the rim nothing is taken on.
    """
    (left, top), (height, width) = corner, piece.shape[:2]
    there = image[top : top + height, left : left + width]
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    depth = (
        np.minimum(np.minimum(rows, height - 1 - rows), np.minimum(cols, width - 1 - cols)) + 1.0
    )
    on_ground = np.ones((height, width), bool)
    for x0, y0, x1, y1 in boxes - np.array([left, top, left, top]):
        on_ground &= (cols + 1 <= x0) | (cols >= x1) | (rows + 1 <= y0) | (rows >= y1)
    ring = np.argwhere((depth == 1.0) & on_ground)  # (E, 2) row, col
    moved = piece.astype(np.float32)
    if len(ring):
        ring = ring[
            np.argsort(np.arctan2(ring[:, 0] - height / 2, ring[:, 1] - width / 2), kind="stable")
        ]
        change = there[*ring.T].astype(np.float32) - moved[*ring.T]  # (E, C)
        starts = np.unique(np.linspace(0, len(ring), SPELLS, endpoint=False).astype(int))
        counts = np.diff(np.append(starts, len(ring)))[:, None].astype(np.float32)
        spots = np.add.reduceat(ring.astype(np.float32), starts) / counts  # (F, 2)
        change = np.add.reduceat(change, starts) / counts  # (F, C)
        weights = 1.0 / (
            (rows[..., None] - spots[:, 0]) ** 2 + (cols[..., None] - spots[:, 1]) ** 2 + 1.0
        )  # (h, w, F)
        moved = moved + weights @ change / weights.sum(-1, keepdims=True)
    fade = np.clip(depth / (FEATHER_PX + 1.0), 0.0, 1.0)[..., None]
    mixed = fade * moved + (1 - fade) * there.astype(np.float32)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        mixed = np.clip(np.rint(mixed), limits.min, limits.max)
    image[top : top + height, left : left + width] = mixed.astype(image.dtype)
