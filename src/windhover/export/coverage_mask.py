"""The class map of a probability map as a Cloud Optimized GeoTIFF, with colours and names.

Written window by window: memory does not grow with the map. Small patches are taken away as in
`windhover.export.coverage_specks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from windhover.disk_space import check_written, errors_of_writing
from windhover.export.coverage_specks import speck_halo_px, without_specks
from windhover.files import atomic_file
from windhover.geometry.windows import Bounds
from windhover.imagery.ground_mask import CLASS_TAG
from windhover.metrics.coverage_curves import UNKNOWN
from windhover.metrics.coverage_metrics import BACKGROUND, classes_at

TILE_PX = 256
WINDOW_PX = 1024  # side of what is held at once

# red, green, blue of classes by common names; other classes take the next of the list
COLORS = {
    "cloud": (235, 235, 245),
    "thin_cloud": (190, 200, 225),
    "shadow": (70, 60, 100),
    "snow": (120, 220, 240),
    "water": (50, 110, 200),
    "forest": (40, 120, 60),
}
OTHER_COLORS = ((230, 120, 40), (170, 60, 160), (240, 200, 60), (90, 170, 90), (200, 60, 70))


def class_colors(classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return red, green and blue of each class."""
    colors = {}
    n_others = 0
    for name in classes:
        color = COLORS.get(name.lower().replace(" ", "_").replace("-", "_"))
        if color is None:
            color = OTHER_COLORS[n_others % len(OTHER_COLORS)]
            n_others += 1
        colors[name] = color
    return colors


def map_windows(dataset: Any, side_px: int = WINDOW_PX) -> Iterator[RasterWindow]:
    """Yield the windows of a raster, row by row; the last of a row or column may be smaller."""
    for row in range(0, dataset.height, side_px):
        for col in range(0, dataset.width, side_px):
            height = min(side_px, dataset.height - row)
            yield RasterWindow(col, row, min(side_px, dataset.width - col), height)


@contextmanager
def class_map_file(
    probability_map: Path, path: Path, *, thresholds: Sequence[float], min_speck_px: int
) -> Iterator[Path]:
    """Write the class map as a plain GeoTIFF next to `path`, and remove it at the end.

    Args:
        probability_map: as `windhover.export.score_map` writes it.
        path: next to which it is written.
        thresholds: (K,) of the bands.
        min_speck_px: smallest patch that stays, px; 0 or 1 keeps all.
    """
    plain = path.with_suffix(".plain.tif")
    try:
        with errors_of_writing(path):
            _write_plain(probability_map, plain, thresholds, min_speck_px=min_speck_px)
            check_written(path, plain)
        yield plain
    finally:
        plain.unlink(missing_ok=True)


def _profile(dataset: Any) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "height": dataset.height,
        "width": dataset.width,
        "count": 1,
        "dtype": "uint8",
        "nodata": UNKNOWN,
        "crs": dataset.crs,
        "transform": dataset.transform,
        "tiled": True,
        "blockxsize": TILE_PX,
        "blockysize": TILE_PX,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }


def _write_plain(
    probability_map: Path, path: Path, thresholds: Sequence[float], *, min_speck_px: int
) -> None:
    """Write the class of each pixel, without specks."""
    halo = 0
    if min_speck_px > 1:
        halo = speck_halo_px(min_speck_px)
    with (
        rasterio.open(probability_map) as scores,
        rasterio.open(path, "w", **_profile(scores)) as classes,
    ):
        for window in map_windows(scores):
            around = _with_halo(window, halo).clipped((scores.height, scores.width))
            wide = RasterWindow.from_slices(*around.slices())
            values = classes_at(scores.read(window=wide), thresholds)
            if halo:
                values = without_specks(values, min_speck_px)
            row = window.row_off - around.top
            col = window.col_off - around.left
            inner = values[row : row + window.height, col : col + window.width]
            classes.write(inner, 1, window=window)


def _with_halo(window: RasterWindow, halo: int) -> Bounds:
    """Return the px of a window and of its surroundings."""
    return Bounds(
        top=window.row_off - halo,
        bottom=window.row_off + window.height + halo,
        left=window.col_off - halo,
        right=window.col_off + window.width + halo,
    )


def write_class_map(plain: Path, path: Path, classes: Sequence[str]) -> None:
    """Write a plain class map as a Cloud Optimized GeoTIFF, atomically.

    Args:
        plain: from `class_map_file`.
        path: the GeoTIFF; overviews hold the most frequent class.
        classes: (K,) names.

    Raises:
        OSError: the file cannot be written, such as to a full disk.
    """
    with atomic_file(path) as temporary:
        _describe(plain, classes)
        check_written(path, plain)
        rasterio.shutil.copy(
            plain,
            temporary,
            driver="COG",
            compress="DEFLATE",
            resampling="mode",
            bigtiff="if_safer",
            num_threads=1,
        )


def _describe(plain: Path, classes: Sequence[str]) -> None:
    """Write colours and names of the classes into a plain class map."""
    with rasterio.open(plain, "r+") as dataset:
        colors: dict[int, tuple[int, ...]] = {0: (0, 0, 0, 0), UNKNOWN: (0, 0, 0, 0)}
        names = {f"{CLASS_TAG}0": BACKGROUND, f"{CLASS_TAG}{UNKNOWN}": "unknown"}
        for number, (name, color) in enumerate(class_colors(classes).items(), 1):
            colors[number] = (*color, 255)
            names[f"{CLASS_TAG}{number}"] = name
        dataset.write_colormap(1, colors)
        dataset.update_tags(1, **names)
        dataset.set_band_description(1, "class")
