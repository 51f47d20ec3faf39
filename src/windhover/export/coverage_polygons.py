"""The regions of a class map as polygons: one for all pixels of a class joined by their sides.

Holes are kept; borders are simplified by less than half a pixel and are shared by neighbouring
regions (`windhover.geometry.mask_borders`). The map is gone through in windows: regions inside one
are yielded at once, and only those on a seam are held, to be joined at the end. Areas are those of
the pixels, not of the simplified borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.windows import Window as RasterWindow
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from windhover.export.coverage_mask import map_windows
from windhover.export.coverage_shares import PixelAreas
from windhover.export.coverage_specks import label_patches
from windhover.geometry.arrays import Ints
from windhover.geometry.mask_borders import polygons_of, simplify_regions
from windhover.geometry.move_shapes import apply_affine
from windhover.metrics.coverage_curves import MAX_VALUE, UNKNOWN

COLUMNS = ("class", "km2", "mean_probability", "geometry")


class Region(NamedTuple):
    """A region of one class, or a part of one.

    Attributes:
        number: its class, from 1.
        shape: its polygon, px of the map.
        px: its pixels.
        km2: their area; NaN where the GSD is unknown.
        score_sum: sum of the class's scores over them.
    """

    number: int
    shape: BaseGeometry
    px: int
    km2: float
    score_sum: float


def map_regions(
    class_map: Path,
    probability_map: Path,
    pixel_areas: PixelAreas,
    *,
    simplify: bool,
    extent: BaseGeometry | None,
) -> Iterator[Region]:
    """Yield the regions of a class map.

    Args:
        class_map: from `windhover.export.coverage_mask`.
        probability_map: of the same grid.
        pixel_areas: of the map.
        simplify: whether borders are simplified; else they go along the pixels.
        extent: px of the map beyond which polygons are cut off; None for all.
    """
    joined = _SeamRegions()
    with rasterio.open(class_map) as classes, rasterio.open(probability_map) as scores:
        for window in map_windows(classes):
            values = classes.read(1, window=window)
            labels, class_of = label_patches(values)
            n_labels = len(class_of)
            weights = pixel_areas.of_window(window).ravel()
            km2 = np.bincount(labels.ravel(), weights=weights, minlength=n_labels)
            px = np.bincount(labels.ravel(), minlength=n_labels)
            score_sum = _score_sums(scores.read(window=window), values, labels, n_labels=n_labels)
            on_seam = joined.add_window(labels, class_of, window, classes.shape)
            for label, shape in _window_shapes(labels, class_of, simplify=simplify):
                placed = affinity.translate(shape, window.col_off, window.row_off)
                if extent is not None and not extent.contains(placed):
                    placed = polygons_of(shapely.intersection(placed, extent))
                region = Region(
                    int(class_of[label]),
                    placed,
                    int(px[label]),
                    float(km2[label]),
                    float(score_sum[label]),
                )
                if on_seam[label]:
                    joined.add_region(label, region)
                elif not region.shape.is_empty:
                    yield region
    yield from joined.regions()


def _score_sums(
    scores: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    labels: NDArray[np.int32],
    *,
    n_labels: int,
) -> NDArray[np.float64]:
    """Return the sum of the scores of its own class over each patch, (P,)."""
    of_class = np.zeros(classes.shape)
    for number, plane in enumerate(scores, 1):
        is_class = classes == number
        of_class[is_class] = plane[is_class] / MAX_VALUE
    sums: NDArray[np.float64] = np.bincount(
        labels.ravel(), weights=of_class.ravel(), minlength=n_labels
    ).astype(np.float64)
    return sums


def _window_shapes(
    labels: NDArray[np.int32], class_of: Ints, *, simplify: bool
) -> Iterator[tuple[int, BaseGeometry]]:
    """Yield label and polygon, px of the window, of each patch that is of a class."""
    is_shown = (class_of > 0) & (class_of != UNKNOWN)
    if not is_shown.any():
        return
    numbers = []
    polygons = []
    found = shapes(labels, mask=is_shown[labels], connectivity=4)
    for geometry, label in found:
        numbers.append(int(label))
        polygons.append([np.asarray(ring, np.int64) for ring in geometry["coordinates"]])
    if simplify:
        yield from zip(numbers, simplify_regions(polygons, labels), strict=True)
        return
    for label, (outer, *holes) in zip(numbers, polygons, strict=True):
        yield label, shapely.Polygon(outer, holes)


class _SeamRegions:
    """Parts of regions on the seams between windows, and which of them are one region."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._regions: dict[int, Region] = {}
        self._above: NDArray[np.int64] = np.zeros(0, np.int64)  # last row of the windows above
        self._left: NDArray[np.int64] = np.zeros(0, np.int64)  # last column of the window before
        self._first = 0  # number of the window's first label
        self._classes: list[int] = []

    def add_window(
        self,
        labels: NDArray[np.int32],
        class_of: Ints,
        window: RasterWindow,
        shape_hw: tuple[int, int],
    ) -> NDArray[np.bool_]:
        """Join the patches of a window to those of the windows above and before it.

        Returns:
            (P,) which of them are on a seam.
        """
        self._first = len(self._parent)
        self._parent += range(self._first, self._first + len(class_of))
        self._classes += class_of.tolist()
        if not len(self._above):
            self._above = np.full(shape_hw[1], -1, np.int64)
        numbers = labels.astype(np.int64) + self._first
        cols = slice(window.col_off, window.col_off + window.width)
        if window.row_off:
            self._join(self._above[cols], numbers[0])
        if window.col_off:
            self._join(self._left, numbers[:, 0])
        self._above[cols] = numbers[-1]
        self._left = numbers[:, -1]
        on_seam = np.zeros(len(class_of), bool)
        is_seam = (
            window.row_off > 0,
            window.row_off + window.height < shape_hw[0],
            window.col_off > 0,
            window.col_off + window.width < shape_hw[1],
        )
        sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
        for side, is_one in zip(sides, is_seam, strict=True):
            if is_one:
                on_seam[side] = True
        return on_seam

    def add_region(self, label: int, region: Region) -> None:
        """Hold a part of a region of the window that was added last."""
        self._regions[self._first + label] = region

    def _join(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        for one, other in np.unique(np.stack([ones, others], axis=1), axis=0).tolist():
            if self._classes[one] == self._classes[other]:
                self._parent[self._root(other)] = self._root(one)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def regions(self) -> Iterator[Region]:
        """Yield the regions that were held, each in one piece."""
        parts: dict[int, list[Region]] = {}
        for number, region in self._regions.items():
            parts.setdefault(self._root(number), []).append(region)
        for group in parts.values():
            shape = shapely.union_all([part.shape for part in group])
            if shape.is_empty:
                continue
            yield Region(
                group[0].number,
                shape,
                sum(part.px for part in group),
                sum(part.km2 for part in group),
                sum(part.score_sum for part in group),
            )


def region_table(
    regions: Iterable[Region], classes: Sequence[str], transform: Affine, crs: Any
) -> geopandas.GeoDataFrame:
    """Return regions as a table: class, km2, mean_probability, and their polygons on the map.

    Args:
        regions: of the map.
        classes: (K,) names.
        transform: px of the map -> world.
        crs: coordinate system, None for a local grid.
    """
    rows = list(regions)
    columns = {
        "class": [classes[row.number - 1] for row in rows],
        "km2": [row.km2 for row in rows],
        "mean_probability": [row.score_sum / row.px for row in rows],
        "geometry": [apply_affine(row.shape, transform) for row in rows],
    }
    table = geopandas.GeoDataFrame(columns, geometry="geometry", crs=crs)
    return table.astype({"class": "str", "km2": float, "mean_probability": float})
