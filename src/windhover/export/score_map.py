"""The map of window scores: one pixel a window, one band a class, as a Cloud Optimized GeoTIFF with
overviews.

Values are 0..254 for scores 0..1 (scale 1/254 is in the file), 255 where nothing was searched. For
classes without boxes, such as cloud, this map is the product. Knows probabilities only; makes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from windhover.files import atomic_file
from windhover.geometry.lattice import Lattice

LEVELS, NODATA = 254, 255


def quantized(scores: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return scores in 0..1 as 0..254, and not-a-number as 255; of the same shape."""
    known = np.isfinite(scores)
    return np.where(known, np.rint(np.where(known, scores, 0.0) * LEVELS), NODATA).astype(np.uint8)


def cell_transform(lattice: Lattice, scene_transform: Affine) -> Affine:
    """Return cell -> world: cell (0, 0) of the map is a stride-wide square around the first
    window's centre.
    """
    stride, shift = lattice.stride_px, (lattice.window_px - lattice.stride_px) / 2
    corner = Affine.translation(lattice.cols[0] * stride + shift, lattice.rows[0] * stride + shift)
    return scene_transform @ corner @ Affine.scale(stride)


def write_score_map(
    path: str | Path,
    lattice: Lattice,
    scene_transform: Affine,
    crs: str | None,
    classes: Sequence[str],
    blocks: Iterable[tuple[int, int, NDArray[np.uint8]]],
) -> None:
    """Write the map, atomically; memory does not grow with it.

    Args:
        path: the GeoTIFF.
        lattice: of the scene.
        scene_transform: scene px -> world.
        crs: coordinate system, None for a local grid.
        classes: names of the bands.
        blocks: first row and column of the lattice, and (K, rows, cols) quantised scores.
    """
    rows, cols = lattice.shape_cells
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": cols,
        "count": len(classes),
        "dtype": "uint8",
        "nodata": NODATA,
        "crs": crs,
        "transform": cell_transform(lattice, scene_transform),
        "tiled": True,
        "sparse_ok": True,
        "blockxsize": 256,
        "blockysize": 256,
        "bigtiff": "if_safer",
    }
    with atomic_file(path) as temporary:
        plain = temporary.with_suffix(".plain.tif")
        try:
            with rasterio.open(plain, "w", **profile) as dataset:
                dataset.scales = (1 / LEVELS,) * len(classes)
                for number, name in enumerate(classes, 1):
                    dataset.set_band_description(number, name)
                for row, col, values in blocks:
                    window = RasterWindow(
                        col - lattice.cols[0],
                        row - lattice.rows[0],
                        values.shape[2],
                        values.shape[1],
                    )
                    dataset.write(values, window=window)
            rasterio.shutil.copy(plain, temporary, driver="COG", compress="DEFLATE", predictor=2, resampling="average",
                                 bigtiff="if_safer", num_threads=1)  # fmt: skip
        finally:
            plain.unlink(missing_ok=True)
