"""Copy-paste augmentation: objects of a scene copied next to others in a large patch.

Where objects stand wing to wing a network must separate them, and training scenes may hold no such
place. A copy keeps its own surroundings and takes on the light of its new ground; rectangles of
bare ground are copied in the same way, so that the trace of a copy is no sign of an object. After
Ghiasi et al. 2021 (Simple copy-paste). Draws from a given generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from windhover.geometry.objects import Objects, Role, concatenate
from windhover.geometry.windows import WINDOW_PX
from windhover.training.object_table import round_to_float32
from windhover.training.paste_blending import blend

MAX_COPIES = 4  # of objects in one large patch
# copies are shrunk to between this and their own size, those of one image alike: small ones crowd
LEAST_SCALE = 0.5
LEAST_SIZE_PX = 8.0  # the longer side stays at least this, or as it is
MAX_TRIES = 8  # places tried for one copy
RIM_FRACTION = 0.08  # of an object's size, on each side: its surroundings that come along
# between two boxes, in units of their mean side: just touching to a wing apart
GAP_RANGE = (-0.05, 0.35)
SIDESTEP = 0.6  # largest shift along the other axis, in units of the mean side
MAX_OVERLAP = 0.08  # most of the smaller of two boxes that may be common
CHAIN_PROB = 0.6  # share of copies that are set next to the one before, not next to any object
# the objects of a large patch are complete this far inside its border, where windows have centers
INSET_PX = WINDOW_PX // 2

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]
Boxes = NDArray[np.float64]
# (row, col, height, width) -> pixels (C, h, w) and valid (h, w), of a scene at one GSD
ReadWindow = Callable[[int, int, int, int], tuple[Pixels, Mask]]


@dataclass(frozen=True)
class ObjectCutout:
    """An object that can be copied: pixels (h, w, C), and the one object in px of the cutout."""

    pixels: Pixels
    object: Objects

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def placed(self, left: int, top: int) -> Objects:
        """Return the object as it stands in an image with the cutout's corner at a place."""
        return round_to_float32(self.object.shifted(left, top))


@dataclass(frozen=True)
class ImageWithObjects:
    """A large patch that is pasted into.

    Attributes:
        pixels: (S, S, C), changed in place.
        valid: (S, S), where it holds data.
        objects: in px of the image, grows with each copy.
    """

    pixels: Pixels
    valid: Mask
    objects: Objects

    @property
    def side_px(self) -> int:
        """Side of the square image."""
        return len(self.pixels)

    def holds_data(self, left: int, top: int, *, width: int, height: int) -> bool:
        """Return whether a rectangle is wholly inside the image and holds data everywhere."""
        part = self.valid[top : top + height, left : left + width]
        return part.shape == (height, width) and bool(part.all())


def cut_out_objects(
    read: ReadWindow, shape_hw: tuple[int, int], objects: Objects
) -> list[ObjectCutout]:
    """Cut out the objects of a scene that stand alone, wholly inside and on valid ground.

    Args:
        read: of the scene at one GSD.
        shape_hw: px of the scene.
        objects: of the scene, px; ignored ones are kept clear of, and not cut out.
    """
    boxes = _boxes_with_rim(objects, RIM_FRACTION)
    cutouts = []
    for number in np.flatnonzero(~objects.is_ignored & np.isfinite(boxes).all(1)):
        box = boxes[number]
        left, top = np.floor(box[:2]).astype(int).tolist()
        right, bottom = np.ceil(box[2:]).astype(int).tolist()
        is_inside = left >= 0 and top >= 0 and right <= shape_hw[1] and bottom <= shape_hw[0]
        if not is_inside or _overlaps_any(box, np.delete(boxes, number, axis=0), 0.0):
            continue
        pixels, valid = read(top, left, bottom - top, right - left)
        if valid.all():
            moved = round_to_float32(objects.select(np.array([number])).shifted(-left, -top))
            cutouts.append(ObjectCutout(np.ascontiguousarray(pixels.transpose(1, 2, 0)), moved))
    return cutouts


def paste_objects(
    pixels: Pixels,
    valid: Mask,
    objects: Objects,
    *,
    cutouts: list[ObjectCutout],
    random: np.random.Generator,
) -> tuple[Pixels, Objects]:
    """Paste cutouts next to the objects of a large patch.

    Args:
        pixels: (S, S, C), left as they are.
        valid: (S, S), where they hold data.
        objects: relative to the image's center, px. Ignored areas are kept clear of copies.
        cutouts: of the same scene at the same GSD.
        random: draws everything.

    Returns:
        The image and its objects with the copies after them; unchanged where no place was free or
        a size is unknown.
    """
    half = len(pixels) / 2
    image = ImageWithObjects(pixels.copy(), valid, round_to_float32(objects.shifted(half, half)))
    wanted = int(random.integers(1, MAX_COPIES + 1))
    scale = random.uniform(LEAST_SCALE, 1.0)
    if not cutouts or not np.isfinite(image.objects.to_xyxy()).all():
        wanted = 0
    copied: list[tuple[ObjectCutout, ObjectCutout]] = []
    for _ in range(wanted):
        cutout = cutouts[random.integers(len(cutouts))]
        shrunk = _shrink(cutout, scale)
        anchors = image.objects
        if copied and random.uniform() <= CHAIN_PROB:
            anchors = anchors.select(np.array([len(anchors) - 1]))
        corner = _find_adjacent_place(anchors, shrunk, image, random)
        if corner is not None:
            blend(image.pixels, shrunk.pixels, corner, _boxes_with_rim(image.objects))
            image = _with_object(image, shrunk.placed(*corner))
            copied.append((cutout, shrunk))
    for cutout, shrunk in copied:
        _copy_ground(image, cutout.shape_hw, shrunk.shape_hw, random)
    return image.pixels, round_to_float32(image.objects.shifted(-half, -half))


def _with_object(image: ImageWithObjects, new_object: Objects) -> ImageWithObjects:
    return ImageWithObjects(image.pixels, image.valid, concatenate([image.objects, new_object]))


def _shrink(cutout: ObjectCutout, scale: float) -> ObjectCutout:
    """Return a cutout at a smaller scale, as if it were a smaller object."""
    longer_side = float(cutout.object.sizes_wh.max())
    scale = min(max(scale, LEAST_SIZE_PX / longer_side), 1.0)
    height, width = cutout.shape_hw
    new_height = min(max(round(height * scale), 3), height)
    new_width = min(max(round(width * scale), 3), width)
    # to the digits of a float32 table, as all sizes of training objects
    scale_xy = np.array([new_width / width, new_height / height], np.float32).astype(np.float64)
    pixels = _resize(cutout.pixels, (new_height, new_width))
    return ObjectCutout(pixels, round_to_float32(cutout.object.scaled(scale_xy)))


def _resize(pixels: Pixels, shape_hw: tuple[int, int]) -> Pixels:
    """Return (h, w, C) pixels averaged to fewer.

    Bands are resized one by one, since OpenCV averages four at most.
    """
    size_wh = (shape_hw[1], shape_hw[0])
    bands = []
    for band in np.moveaxis(pixels, 2, 0):
        band = np.ascontiguousarray(band)
        bands.append(cv2.resize(band, size_wh, interpolation=cv2.INTER_AREA))
    return np.stack(bands, 2)


def _boxes_with_rim(objects: Objects, rim_fraction: float = 0.0) -> Boxes:
    """Return boxes (N, 4) xyxy with a rim in units of their size; NaN where a size is unknown."""
    half = objects.sizes_wh * (1 + 2 * rim_fraction) / 2
    return np.concatenate([objects.centers_xy - half, objects.centers_xy + half], axis=1)


def _overlaps_any(box: NDArray[np.float64], others: Boxes, max_share: float) -> bool:
    """Return whether a box has more than a share of the smaller one in common with any other."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.maximum(high - low, 0).prod(1)
    smaller = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(1))
    return bool((common > max_share * smaller).any())


def _find_adjacent_place(
    anchors: Objects, cutout: ObjectCutout, image: ImageWithObjects, random: np.random.Generator
) -> tuple[int, int] | None:
    """Return left, top of a free place next to one of the anchors, None where none was found."""
    boxes = _boxes_with_rim(image.objects)
    anchors = anchors.select(anchors.role == Role.OBJECT)
    height, width = cutout.shape_hw
    center = cutout.object.centers_xy[0]
    size = cutout.object.sizes_wh[0]
    for _ in range(MAX_TRIES if len(anchors) else 0):
        number = random.integers(len(anchors))
        axis = int(random.integers(2))  # to its side, or above or below it
        mean_size = (size + anchors.sizes_wh[number]).astype(np.float32).astype(np.float64) / 2
        shift = random.uniform(-SIDESTEP, SIDESTEP, 2) * mean_size
        direction = random.choice([-1, 1])
        shift[axis] = direction * mean_size[axis] * (1 + random.uniform(*GAP_RANGE))
        corner = np.rint(anchors.centers_xy[number] + shift - center)
        left, top = corner.astype(int).tolist()
        if left < 0 or top < 0 or not image.holds_data(left, top, width=width, height=height):
            continue
        if not _overlaps_any(_boxes_with_rim(cutout.placed(left, top))[0], boxes, MAX_OVERLAP):
            return left, top
    return None


def _copy_ground(
    image: ImageWithObjects,
    from_hw: tuple[int, int],
    to_hw: tuple[int, int],
    random: np.random.Generator,
) -> None:
    """Copy a rectangle of bare ground to another bare place, shrunk as an object was.

    Nothing is copied where no two bare places are found. The source is taken where all objects of
    the image are known.
    """
    most = image.side_px - 2 * INSET_PX
    height = min(from_hw[0], most)
    width = min(from_hw[1], most)
    boxes = _boxes_with_rim(image.objects)
    inner = (INSET_PX, image.side_px - INSET_PX)
    source = _find_bare_place(image, boxes, inner, shape_hw=(height, width), random=random)
    target = _find_bare_place(image, boxes, (0, image.side_px), shape_hw=to_hw, random=random)
    if source is not None and target is not None:
        left, top = source
        ground = image.pixels[top : top + height, left : left + width]
        blend(image.pixels, _resize(ground, to_hw), target, boxes)


def _find_bare_place(
    image: ImageWithObjects,
    boxes: Boxes,
    limits: tuple[int, int],
    *,
    shape_hw: tuple[int, int],
    random: np.random.Generator,
) -> tuple[int, int] | None:
    """Return left, top of a valid rectangle clear of all boxes, None where none was found.

    Args:
        image: with what is valid.
        boxes: (N, 4) xyxy of its objects.
        limits: lowest and highest px along both axes.
        shape_hw: of the rectangle.
        random: draws the places that are tried.
    """
    low, high = limits
    height, width = shape_hw
    for _ in range(MAX_TRIES):
        left = int(random.integers(low, max(high - width, low) + 1))
        top = int(random.integers(low, max(high - height, low) + 1))
        box = np.array([left, top, left + width, top + height], float)
        is_valid = image.holds_data(left, top, width=width, height=height)
        if is_valid and not _overlaps_any(box, boxes, 0.0):
            return left, top
    return None
