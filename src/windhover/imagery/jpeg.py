"""JPEG files of moderate size, decoded once and whole instead of window by window.

A JPEG has no blocks: whatever part is wanted, all above it is decoded, and once more for each pass
of a search. The decoder here is libjpeg-turbo's, several times as fast as the one inside GDAL. What
it refuses is left to GDAL, which can read the sound part of a damaged file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

WHOLE_PX = 32_000_000  # a larger one is left to GDAL: memory must not grow with the raster
COLORS = {
    "Gray": (1, "GRAY"),
    "YCbCr": (3, "RGB"),
    "RGB": (3, "RGB"),
}  # as stored: bands, and as decoded


class WholeJpeg:
    """The pixels of one JPEG file, kept from the first read on; safe to use from several threads."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._lock = threading.Lock()
        self._asked = False
        self._pixels: NDArray[np.uint8] | None = None  # (H, W, C)

    def read(
        self, dataset: Any, indexes: list[int], top: int, bottom: int, left: int, right: int
    ) -> NDArray[np.uint8] | None:
        """Return bands (C, bottom - top, right - left) of a dataset open in rasterio, or None where
        GDAL must read.
        """
        with self._lock:
            if not self._asked:
                self._asked, self._pixels = True, _decoded(dataset)
            pixels = self._pixels
        if pixels is None:
            return None
        part = pixels[top:bottom, left:right]
        return np.stack([part[..., index - 1] for index in indexes])

    def forget(self) -> None:
        """Give the memory back; what is read later is decoded again."""
        with self._lock:
            self._asked, self._pixels = False, None


def read_whole(dataset: Any) -> bool:
    """Tell whether a dataset open in rasterio is a local JPEG file of moderate size."""
    return (
        dataset.driver == "JPEG"
        and dataset.height * dataset.width <= WHOLE_PX
        and Path(dataset.name).is_file()
    )


def _decoded(dataset: Any) -> NDArray[np.uint8] | None:
    """Return (H, W, C) of a JPEG file of 8 bits, or None where it is another one or is refused."""
    if not read_whole(dataset):
        return None
    try:
        content = Path(dataset.name).read_bytes()
        height, width, stored, _ = simplejpeg.decode_jpeg_header(content)
        bands, colors = COLORS.get(stored, (0, ""))
        if (height, width, bands) != (
            dataset.height,
            dataset.width,
            dataset.count,
        ):  # an overview, or printer's inks
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colors)
    except (ValueError, OSError):
        return None
    return pixels
