"""The map of window scores: one pixel a window, one band a class, as a Cloud Optimized GeoTIFF.

Values are 0..254 for scores 0..1 (scale 1/254 is in the file), 255 where nothing was searched. For
classes without boxes, such as cloud, this map is the product. Takes probabilities; computes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from windhover.disk_space import check_written
from windhover.files import atomic_file
from windhover.geometry.lattice import Lattice

MAX_VALUE = 254  # stands for a score of 1
NODATA = 255
TILE_PX = 256


class ScoreBlock(NamedTuple):
    """Quantized scores of a rectangle of cells."""

    row0: int  # first row of the lattice
    col0: int
    values: NDArray[np.uint8]  # (K, rows, cols)


def quantize_scores(scores: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return scores in 0..1 as 0..254, and not-a-number as 255; of the same shape."""
    known = np.isfinite(scores)
    values = np.rint(np.where(known, scores, 0.0) * MAX_VALUE)
    return np.where(known, values, NODATA).astype(np.uint8)


def score_map_transform(lattice: Lattice, scene_transform: Affine) -> Affine:
    """Return px of the score map -> world.

    Px (0, 0) of the map is a square of one stride around the first window's centre.
    """
    stride = lattice.stride_px
    shift = (lattice.window_px - stride) / 2
    corner = Affine.translation(lattice.cols[0] * stride + shift, lattice.rows[0] * stride + shift)
    return scene_transform @ corner @ Affine.scale(stride)


def is_own_score_map(path: Path) -> bool:
    """Return whether a file that is there is a map that `write_score_map` wrote."""
    try:
        with rasterio.open(path) as dataset:
            is_scaled = all(abs(scale * MAX_VALUE - 1) < 1e-6 for scale in dataset.scales)
            return bool(is_scaled and dataset.nodata == NODATA and set(dataset.dtypes) == {"uint8"})
    except RasterioError:
        return False


def write_score_map(
    path: str | Path,
    blocks: Iterable[ScoreBlock],
    *,
    lattice: Lattice,
    scene_transform: Affine,
    crs: str | None,
    classes: Sequence[str],
) -> None:
    """Write the map, atomically; memory does not grow with it.

    Args:
        path: the GeoTIFF.
        blocks: of the lattice; what they leave out is nodata.
        lattice: of the scene.
        scene_transform: scene px -> world.
        crs: coordinate system, None for a local grid.
        classes: names of the bands.

    Raises:
        OSError: the file cannot be written, such as to a full disk.
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
        "transform": score_map_transform(lattice, scene_transform),
        "tiled": True,
        "sparse_ok": True,
        "blockxsize": TILE_PX,
        "blockysize": TILE_PX,
        "bigtiff": "if_safer",
    }
    with atomic_file(path) as temporary:
        plain = temporary.with_suffix(".plain.tif")
        try:
            _write_geotiff(plain, profile, lattice, blocks=blocks, classes=classes)
            check_written(Path(path), plain)
            rasterio.shutil.copy(
                plain,
                temporary,
                driver="COG",
                compress="DEFLATE",
                predictor=2,
                resampling="average",
                bigtiff="if_safer",
                num_threads=1,
            )
        finally:
            plain.unlink(missing_ok=True)


def _write_geotiff(
    path: Path,
    profile: dict[str, Any],
    lattice: Lattice,
    *,
    blocks: Iterable[ScoreBlock],
    classes: Sequence[str],
) -> None:
    """Write the blocks into a plain GeoTIFF, which cannot have overviews yet."""
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.scales = (1 / MAX_VALUE,) * len(classes)
        for number, name in enumerate(classes, 1):
            dataset.set_band_description(number, name)
        for block in blocks:
            height, width = block.values.shape[1:]
            window = RasterWindow(
                block.col0 - lattice.cols[0], block.row0 - lattice.rows[0], width, height
            )
            dataset.write(block.values, window=window)
