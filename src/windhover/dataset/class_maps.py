"""Class maps: the class of each pixel of a scene, as the scenes stage leaves it.

A class map is uint8: 0 is background, k + 1 is class k of the catalog, `UNKNOWN` is what is not
known. Its file is on the scene's own grid, and is read here on the grid of any GSD: a pixel
of it has the class in its middle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from windhover.errors import FormatError, MissingFileError
from windhover.geometry.arrays import Ints

UNKNOWN = 255
MAX_CLASSES = 250
STRIP_CELLS = 32  # rows of cells of a class map that are counted at once
CLASS_MAP_SUFFIX = ".classes.tif"  # after the name of a scene, in the folder of the catalog


class ClassMap:
    """The class map of a scene on the grid of a GSD; use it in a `with` block."""

    def __init__(
        self, path: str | Path, ratio_xy: tuple[float, float], shape_hw: tuple[int, int]
    ) -> None:
        """Open a class map.

        Args:
            path: of its file.
            ratio_xy: native px in a px of the grid, as of the scene.
            shape_hw: of the grid.

        Raises:
            MissingFileError: there is no such file.
            FormatError: it cannot be opened.
        """
        self.path = Path(path)
        self.ratio_xy = ratio_xy
        self.shape_hw = shape_hw
        if not self.path.is_file():
            raise MissingFileError(
                f"{path}: the class map of a scene is gone. Run the scenes stage again: dvc repro "
                "-f scenes."
            )
        try:
            self._dataset = rasterio.open(self.path)
        except rasterio.errors.RasterioError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> FormatError:
        reason = " ".join(str(error).split())
        return FormatError(
            f"{self.path}: cannot be read ({reason}). Run the scenes stage again: dvc repro -f "
            "scenes."
        )

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return the classes of a block of the grid, (height, width); `UNKNOWN` outside of it.

        Raises:
            FormatError: the file is damaged.
        """
        classes = np.full((height, width), UNKNOWN, np.uint8)
        native_hw = self._dataset.shape
        rows, cols = (
            _native_px(first, count, ratio, length=length, native_length=native_length)
            for first, count, ratio, length, native_length in zip(
                (row, col),
                (height, width),
                self.ratio_xy[::-1],
                self.shape_hw,
                native_hw,
                strict=True,
            )
        )
        is_row = rows >= 0
        is_col = cols >= 0
        if not is_row.any() or not is_col.any():
            return classes
        rows = rows[is_row]
        cols = cols[is_col]
        window = RasterWindow(
            int(cols[0]), int(rows[0]), int(cols[-1] - cols[0]) + 1, int(rows[-1] - rows[0]) + 1
        )
        try:
            native = self._dataset.read(1, window=window)
        except rasterio.errors.RasterioError as error:
            raise self._unreadable(error) from None
        classes[np.ix_(is_row, is_col)] = native[np.ix_(rows - rows[0], cols - cols[0])]
        return classes

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()

    def __enter__(self) -> ClassMap:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _native_px(first: int, count: int, ratio: float, *, length: int, native_length: int) -> Ints:
    """Return the native px (count,) in the middle of px of a grid; -1 outside of the grid.

    Args:
        first: of the px of the grid.
        count: of them.
        ratio: native px in a px of the grid.
        length: of the grid.
        native_length: of the raster.
    """
    index = np.arange(first, first + count)
    native = np.floor((index + 0.5) * ratio).astype(np.int64).clip(0, native_length - 1)
    return np.where((index >= 0) & (index < length), native, -1)


def class_counts(classes: NDArray[np.uint8], cell_px: int, n_classes: int) -> NDArray[np.uint16]:
    """Return how many px of background and of each class every cell of a class map holds.

    Args:
        classes: (H, W) class map; rows and columns beyond whole cells are left out.
        cell_px: side of a cell.
        n_classes: without background.

    Returns:
        (n_classes + 1, H // cell_px, W // cell_px); unknown px are counted nowhere.
    """
    rows, cols = (length // cell_px for length in classes.shape)
    cells = classes[: rows * cell_px, : cols * cell_px].reshape(rows, cell_px, cols, cell_px)
    counts = np.empty((n_classes + 1, rows, cols), np.uint16)
    for number in range(n_classes + 1):
        counts[number] = (cells == number).sum(axis=(1, 3), dtype=np.uint16)
    return counts


def count_cells(class_map: ClassMap, cell_px: int, n_classes: int) -> tuple[Ints, Ints]:
    """Return the px of each class in each cell of a whole map, a strip of it in memory at once.

    Args:
        class_map: of a scene.
        cell_px: side of a cell.
        n_classes: K, without background.

    Returns:
        (K + 1, N) px of background and of each class, and (N, 2) row and column of each cell; cells
        at the border are cut off by it.
    """
    height, width = class_map.shape_hw
    n_cols = -(-width // cell_px)
    counts = []
    places = []
    for row in range(0, height, STRIP_CELLS * cell_px):
        n_rows = min(STRIP_CELLS, -(-(height - row) // cell_px))
        strip = class_map.read(row, 0, n_rows * cell_px, n_cols * cell_px)
        of_strip = class_counts(strip, cell_px, n_classes).astype(np.int64)
        counts.append(of_strip.reshape(n_classes + 1, -1))
        rows, cols = np.mgrid[:n_rows, :n_cols]
        places.append(np.stack([rows.ravel() + row // cell_px, cols.ravel()], axis=1))
    return np.concatenate(counts, axis=1), np.concatenate(places)
