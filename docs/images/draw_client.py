"""Draw what the exported detector and `detect` find.

    python docs/images/draw_client.py MODEL RASTER

Writes `docs/images/exported_detector.jpg`. The raster has the model's GSD and a coordinate system;
the exported file is run by the rules of the programs that read it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from windhover.inference.detector import Detector
from windhover.model_export.export_model import DETECTOR, export_model
from windhover.model_export.parity import BORDER_PX, detect_objects
from windhover.model_export.tiled_client import TiledClient

PICTURE = Path(__file__).parent / "exported_detector.jpg"
ZOOM = 1.6
GAP = 4  # between a box of the one and of the other
CLIENT_COLOR, DETECT_COLOR, BORDER_COLOR = (255, 140, 0), (60, 220, 90), (230, 230, 230)
QUALITY = 80


def main() -> None:
    """Write the picture."""
    model, raster = sys.argv[1:]
    detector = Detector.from_bundle(model, runtime="torch", inference_precision="fp32")
    thresholds = detector.thresholds()
    with tempfile.TemporaryDirectory() as temporary:
        export_model(detector, Path(temporary) / "exported")
        client = TiledClient(
            Path(temporary) / "exported" / DETECTOR, min_score=min(thresholds.values())
        )
        with detector.open(raster) as scene:
            pixels, _ = scene.read(0, 0, *scene.shape_hw)
            by_detect = detect_objects(detector, scene, thresholds)
            by_client = client.detect(np.asarray(pixels))
    shown = Image.fromarray(np.moveaxis(np.asarray(pixels)[:3], 0, 2))
    shown = shown.resize([round(side * ZOOM) for side in shown.size], Image.LANCZOS)
    draw = ImageDraw.Draw(shown)
    edge = BORDER_PX * ZOOM
    draw.rectangle((edge, edge, shown.width - edge, shown.height - edge), outline=BORDER_COLOR)
    for objects, color, grow in (
        (by_detect, DETECT_COLOR, GAP),
        (by_client, CLIENT_COLOR, 0),
    ):
        for box in objects.to_xyxy() * ZOOM:
            left, top, right, bottom = box.tolist()
            draw.rectangle(
                (left - grow, top - grow, right + grow, bottom + grow), outline=color, width=2
            )
    shown.save(PICTURE, quality=QUALITY, optimize=True)
    print(len(by_client), "by the exported detector,", len(by_detect), "by detect")


if __name__ == "__main__":
    main()
