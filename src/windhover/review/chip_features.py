"""The picture of a detection in a few numbers, by which reviews of much variety are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image

from windhover.geometry.arrays import Floats
from windhover.review.chips import draw_chips
from windhover.review.review_record import ReviewRow, ReviewScene

# of a raster's path, its GSD (m) and centers (N, 2) in its px: features (N, F)
WindowFeatures: TypeAlias = Callable[[str, float, Floats], Floats]
SIDE = 8  # of the small picture whose px are features


def chip_features(rows: Sequence[ReviewRow], scenes: Sequence[ReviewScene]) -> Floats:
    """Return (N, 67) features: 64 px of a small gray picture, its spread, log size and score.

    Light and contrast are taken out of the px, so that variety is one of shapes.
    """
    features = np.zeros((len(rows), SIDE * SIDE + 3))
    for number, (row, chip) in enumerate(zip(rows, draw_chips(rows, scenes), strict=True)):
        left, top, right, bottom = row.box
        features[number, -2:] = [np.log(max(right - left, bottom - top, 1.0)), row.score]
        if not chip:
            continue
        small = Image.open(BytesIO(chip)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        pixels = np.asarray(small, np.float64).ravel()
        features[number, -3] = pixels.std()
        features[number, : SIDE * SIDE] = (pixels - pixels.mean()) / max(float(pixels.std()), 1.0)
    return features


def window_features(
    rows: Sequence[ReviewRow], scenes: Sequence[ReviewScene], features: WindowFeatures
) -> Floats:
    """Return what a network sees in the windows of detections, (N, F).

    Args:
        rows: the detections.
        scenes: their rasters.
        features: of the network.
    """
    found: dict[int, Floats] = {}
    for scene in scenes:
        numbers = [number for number, row in enumerate(rows) if row.scene == scene.scene]
        if not numbers:
            continue
        boxes = np.array([rows[number].box for number in numbers])
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        values = features(scene.path, scene.gsd_m[0], centers)
        found |= dict(zip(numbers, values, strict=True))
    return np.array([found[number] for number in range(len(rows))])
