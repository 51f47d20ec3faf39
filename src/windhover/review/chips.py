"""Pictures of detections for the form of a review: the object in the middle, its box drawn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from windhover.errors import WindhoverError
from windhover.imagery.scenes import Scene, open_scene
from windhover.rendering.images import draw_box, thumbnail_around
from windhover.review.review_record import ReviewRow, ReviewScene

logger = logging.getLogger(__name__)

CHIP_PX = 384  # side of the picture
LEAST_GROUND_PX = 64  # of the raster, so that the surroundings are seen
OBJECT_SHARE = 0.35  # of the picture's side
BOX_COLOR = (255, 190, 0)
BOX_WIDTH_PX = 2
JPEG_QUALITY = 85


def draw_chips(rows: Sequence[ReviewRow], scenes: Sequence[ReviewScene]) -> list[bytes]:
    """Return a JPEG of each detection; empty where its raster cannot be read, which is logged."""
    chips = [b""] * len(rows)
    for scene in scenes:
        of_scene = [number for number, row in enumerate(rows) if row.scene == scene.scene]
        if not of_scene:
            continue
        try:
            if not Path(scene.path).is_file():
                raise FileNotFoundError(f"{scene.path or 'its raster'} is not there")
            with open_scene(scene.path, None, scene.gsd_m[0]) as opened:
                for number in of_scene:
                    chips[number] = _draw_chip(opened, rows[number].box)
        except (WindhoverError, OSError) as error:
            reason = " ".join(str(error).split())
            logger.warning("%d rows of %s have no picture: %s", len(of_scene), scene.scene, reason)
    return chips


def _draw_chip(scene: Scene, box: tuple[float, float, float, float]) -> bytes:
    """Return the JPEG of one detection."""
    left, top, right, bottom = box
    longest = max(right - left, bottom - top)
    side_px = int(np.ceil(max(longest / OBJECT_SHARE, LEAST_GROUND_PX)))
    center = ((left + right) / 2, (top + bottom) / 2)
    thumbnail = thumbnail_around(scene, center, side_px)
    scale = CHIP_PX / side_px
    picture = Image.fromarray(thumbnail.image).resize((CHIP_PX, CHIP_PX), Image.Resampling.BICUBIC)
    shifted = np.array(box) - [thumbnail.left, thumbnail.top, thumbnail.left, thumbnail.top]
    draw = ImageDraw.Draw(picture)
    for outward in range(BOX_WIDTH_PX):
        grown = shifted * scale + outward * np.array([-1, -1, 1, 1])
        draw_box(draw, grown, BOX_COLOR)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # thin lines keep their color
    return buffer.getvalue()
