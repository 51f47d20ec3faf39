"""Draw the pictures of docs/coverage.md from a project of the task coverage that has run.

python docs/images/draw_coverage.py PROJECT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from windhover.dataset.catalog import load_catalog, scene_info
from windhover.rendering.class_overlay import overlay_classes, with_legend
from windhover.rendering.contact_sheet import tile_images
from windhover.rendering.images import evenly_chosen, scene_overview

HERE = Path(__file__).parent
SIDE_PX = 300
N_SCENES = 4
QUALITY = 85


def main() -> None:
    """Write both pictures."""
    project = Path(sys.argv[1]).resolve()
    report = Image.open(project / "reports/explained.png").convert("RGB")
    report.save(HERE / "coverage_maps.jpg", quality=QUALITY)
    catalog = load_catalog(project / "data/scenes")
    rows = [row for row in catalog.split("train") if row.class_map is not None]
    pictures = []
    for number in evenly_chosen(len(rows), N_SCENES):
        row = rows[number]
        image, _ = scene_overview(scene_info(row), SIDE_PX)
        with rasterio.open(project / str(row.class_map)) as dataset:
            classes = dataset.read(1, out_shape=(image.height, image.width))
        pictures.append(overlay_classes(np.asarray(image), classes))
    sheet = with_legend(tile_images(pictures, N_SCENES), catalog.classes)
    sheet.save(HERE / "coverage_import.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
