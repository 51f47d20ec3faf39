"""Draw labels on real imagery, as `windhover import` places them: `python docs/images/draw_real.py
CATALOG`, a folder that `windhover import` wrote.

Writes `docs/images/tree_crowns.jpg`: the scene twice, as delivered and with its labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image, ImageDraw

from windhover.dataset.catalog import load_catalog

PICTURE = Path(__file__).parent / "tree_crowns.jpg"
SIDE_PX = 470
GAP_PX = 6
QUALITY = 72
COLOR = (255, 220, 60)


def main() -> None:
    """Write the picture of the first scene of a catalog."""
    catalog = load_catalog(sys.argv[1])
    row = next(iter(catalog))
    with rasterio.open(row.path) as raster:
        pixels = raster.read()[:3]
    plain = Image.fromarray(np.moveaxis(pixels, 0, 2)).resize((SIDE_PX, SIDE_PX), Image.LANCZOS)
    labeled = plain.copy()
    draw = ImageDraw.Draw(labeled)
    scale = SIDE_PX / pixels.shape[2]
    labels = catalog.labels[catalog.labels["scene"] == row.scene]
    for box in labels[["left", "top", "right", "bottom"]].to_numpy() * scale:
        draw.rectangle(box.tolist(), outline=COLOR, width=2)
    picture = Image.new("RGB", (2 * SIDE_PX + GAP_PX, SIDE_PX), "white")
    picture.paste(plain, (0, 0))
    picture.paste(labeled, (SIDE_PX + GAP_PX, 0))
    picture.save(PICTURE, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
