"""Draw scenes of the built-in sky: `python docs/images/draw_sky.py`.

One column for each of five scenes: true color, false color (1.6 um, near infrared, red), classes.
Writes `docs/images/sky.jpg`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windhover.simulate.sky_scene import CLEAR, CLOUD, SHADOW, WATER, render_sky

PICTURE = Path(__file__).with_name("sky.jpg")
SIDE_PX = 300
GSD_M = 30.0
GAP_PX = 6
# climate, kind of cloud, seed
SCENES = (
    ("tropical", "cumulus", 0),
    ("arid", "towers_thin", 1),
    ("boreal", "stratocumulus", 2),
    ("dry", "cumulus_cirrus", 3),
    ("green", "thin", 4),
)
TRUE_COLOR = (2, 1, 0)
FALSE_COLOR = (4, 3, 2)
COLORS = {
    CLEAR: (96, 140, 78),
    CLOUD: (250, 250, 250),
    SHADOW: (88, 60, 120),
    WATER: (52, 104, 190),
}


def as_picture(reflectance: NDArray[Any], bands: tuple[int, ...], white: float) -> NDArray[Any]:
    """Return three bands of (6, H, W) as (H, W, 3) uint8."""
    value = np.clip((np.moveaxis(reflectance[list(bands)], 0, -1) - 0.02) / (white - 0.02), 0, 1)
    return np.asarray(255 * value ** (1 / 1.4), np.uint8)


def main() -> None:
    """Write docs/images/sky.jpg."""
    palette = np.array([COLORS[number] for number in range(4)], np.uint8)
    side = SIDE_PX + GAP_PX
    sheet = np.full((3 * side - GAP_PX, len(SCENES) * side - GAP_PX, 3), 255, np.uint8)
    for column, (climate, kind, seed) in enumerate(SCENES):
        rng = np.random.default_rng(seed)
        scene = render_sky(rng, (SIDE_PX, SIDE_PX), GSD_M, climate=climate, kind=kind)
        parts = (
            as_picture(scene.reflectance, TRUE_COLOR, 0.5),
            as_picture(scene.reflectance, FALSE_COLOR, 0.6),
            palette[scene.classes],
        )
        for row, part in enumerate(parts):
            top, left = row * side, column * side
            sheet[top : top + SIDE_PX, left : left + SIDE_PX] = part
    Image.fromarray(sheet).save(PICTURE, quality=78)


if __name__ == "__main__":
    main()
