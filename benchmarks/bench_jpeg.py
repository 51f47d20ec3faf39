"""Reading a JPEG of 2560 x 2560 px, whole and brought from 0.5 to 1.25 m: decoded whole, or by GDAL
as before.

    python benchmarks/bench_jpeg.py [PICTURE.jpg]

Processor time of one thread, the fastest of several in turns; beside them OpenCV's decoder, which
tells no damage. Without a picture one of blurred noise is made.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import rasterio
import simplejpeg
from measuring import picture, save
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from windhover.imagery import jpeg
from windhover.imagery.scenes import open_scene

SIDE_PX, REPEATS = 2560, 7


def seen(path: Path) -> np.ndarray:
    """Return the scene at 1.25 m."""
    with open_scene(path, 1.25, 0.5) as scene:
        return scene.read(0, 0, *scene.shape_hw)[0]


def seen_by_gdal(path: Path) -> np.ndarray:
    """Return the same, as larger files are read."""
    with mock.patch.object(jpeg, "MAX_DECODED_PX", 0):
        return seen(path)


def by_gdal(path: Path) -> np.ndarray:
    """Return all pixels by rasterio."""
    with rasterio.open(path) as dataset:
        pixels: np.ndarray = dataset.read()
    return pixels


def main() -> None:
    """Time all ways in turns."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "scene.jpg"
        if len(sys.argv) == 1:
            Image.fromarray(np.moveaxis(picture(SIDE_PX, SIDE_PX), 0, 2)).save(path, quality=90)
        content = path.read_bytes()
        ways: dict[str, Callable[[], Any]] = {
            "decoded by GDAL": lambda: by_gdal(path),
            "decoded by simplejpeg": lambda: simplejpeg.decode_jpeg(content, "RGB"),
            "decoded by OpenCV": lambda: cv2.imdecode(
                np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB
            ),
            "at 1.25 m, by GDAL": lambda: seen_by_gdal(path),
            "at 1.25 m, decoded whole": lambda: seen(path),
        }
        milliseconds: dict[str, float] = {}
        for _ in range(REPEATS):
            for name, way in ways.items():
                began = time.process_time()
                way()
                taken = 1e3 * (time.process_time() - began)
                milliseconds[name] = round(min(taken, milliseconds.get(name, taken)), 1)
        apart = np.abs(seen(path).astype(int) - seen_by_gdal(path))
    figures = {
        "processor_ms": milliseconds,
        "mean_difference": round(float(apart.mean()), 3),
        "most_difference": int(apart.max()),
    }
    save("jpeg", figures, "faster than by GDAL, the same picture")


if __name__ == "__main__":
    main()
