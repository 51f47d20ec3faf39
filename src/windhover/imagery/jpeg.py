"""JPEG files of moderate size, decoded once and whole instead of window by window.

A JPEG has no blocks: for any part of it, all above it is decoded, and once more for each pass of a
search. The decoder here is libjpeg-turbo's, several times as fast as the one inside GDAL. Files
that it cannot decode are left to GDAL, which can read the sound part of a damaged file.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from windhover.geometry.windows import Bounds

MAX_DECODED_PX = 32_000_000  # a larger one is left to GDAL: memory must not grow with the raster
# color space of the file -> its bands, and the color space to decode to
COLOR_SPACES = {"Gray": (1, "GRAY"), "YCbCr": (3, "RGB"), "RGB": (3, "RGB")}


class JpegCache:
    """The pixels of one JPEG file, kept from the first read on; safe to use in several threads."""

    def __init__(self) -> None:
        """Start without pixels."""
        self._lock = threading.Lock()
        self._is_tried = False
        self._pixels: NDArray[np.uint8] | None = None  # (H, W, C)

    @property
    def is_empty(self) -> bool:
        """Whether no pixels are in memory."""
        return self._pixels is None

    def read(self, dataset: Any, indexes: list[int], bounds: Bounds) -> NDArray[np.uint8] | None:
        """Return bands (C, H, W) of a part of a file, or None where GDAL must read it.

        Args:
            dataset: the file, open in rasterio.
            indexes: bands to return, from 1.
            bounds: the part, px, inside the raster.
        """
        with self._lock:
            if not self._is_tried:
                self._is_tried = True
                self._pixels = _decode(dataset)
            pixels = self._pixels
        if pixels is None:
            return None
        part = pixels[bounds.slices()]
        return np.stack([part[..., index - 1] for index in indexes])

    def clear(self) -> None:
        """Free the memory; later reads decode the file again."""
        with self._lock:
            self._is_tried = False
            self._pixels = None


def can_decode_whole(dataset: Any) -> bool:
    """Return whether a dataset open in rasterio is a local JPEG file of moderate size."""
    return (
        dataset.driver == "JPEG"
        and dataset.height * dataset.width <= MAX_DECODED_PX
        and Path(dataset.name).is_file()
    )


def _decode(dataset: Any) -> NDArray[np.uint8] | None:
    """Return (H, W, C) of a JPEG file of 8 bits; None for other files and for damaged ones."""
    if not can_decode_whole(dataset):
        return None
    try:
        content = Path(dataset.name).read_bytes()
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(content)
        bands, decoded_color_space = COLOR_SPACES.get(color_space, (0, ""))
        if (height, width, bands) != (dataset.height, dataset.width, dataset.count):
            return None  # an overview, or printer's inks
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, decoded_color_space)
    except (ValueError, OSError):
        return None
    return pixels
