"""The products of a probability map: class map, polygons, QGIS styles, and the coverage table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import rasterio
from affine import Affine
from shapely import box
from shapely.geometry.base import BaseGeometry

from windhover.errors import ParameterError
from windhover.export.coverage_mask import class_map_file, map_windows, write_class_map
from windhover.export.coverage_polygon_file import PolygonFile
from windhover.export.coverage_polygons import map_regions
from windhover.export.coverage_shares import (
    CORRELATION_PX,
    CoverageTally,
    NamedArea,
    PixelAreas,
    coverage_rows,
    inside_area,
)
from windhover.export.coverage_specks import check_speck_size
from windhover.export.coverage_style import raster_style
from windhover.files import atomic_file, file_stem

Areas: TypeAlias = Sequence[tuple[str, BaseGeometry]]


def write_coverage_products(
    probability_map: Path,
    folder: Path,
    name: str,
    *,
    classes: Sequence[str],
    thresholds: Mapping[str, float],
    polygons: PolygonFile,
    share_errors: Mapping[str, Sequence[float]] | None = None,
    gsd_m: tuple[float, float] | None = None,
    aoi: Areas | None = None,
    min_speck_px: int = 0,
    simplify: bool = True,
    correlation_px: int = CORRELATION_PX,
    extent_px: tuple[float, float, float, float] | None = None,
) -> pd.DataFrame:
    """Write NAME_mask.tif and its style NAME_mask.qml, and add the polygons to their file.

    Memory does not grow with the map, but for polygons that reach across windows of 1,024 px.

    Args:
        probability_map: as `windhover.export.score_map` writes it.
        folder: of the files.
        name: beginning of their names, and of the rows.
        classes: (K,) names of the bands.
        thresholds: by class: score from which a pixel is taken for it.
        polygons: of all rasters.
        share_errors: by class: found less true share of each validation scene.
        gsd_m: metres per px; None where unknown, which leaves areas out.
        aoi: names and polygons, in the map's system, that have rows of their own.
        min_speck_px: smallest patch that stays; 0 keeps all.
        simplify: whether borders of polygons are simplified, by less than half a px.
        correlation_px: side of the squares in which errors go together.
        extent_px: left, top, right, bottom of the raster, px of the map, where cells of the map
            reach beyond it: areas, shares and polygons end there. None for all of the map.

    Returns:
        A row for each class of the whole raster (`area` is empty) and of each area of interest:
        name, area, class, share, share_low, share_high, km2, km2_known; NaN where unknown.

    Raises:
        ParameterError: `min_speck_px` is out of range, or the bands are not the classes.
        OSError: a file cannot be written, such as to a full disk.
    """
    check_speck_size(min_speck_px)
    limits = [thresholds[one] for one in classes]
    _check_bands(probability_map, classes)
    folder.mkdir(parents=True, exist_ok=True)
    mask_path = folder / f"{file_stem(name)}_mask.tif"
    is_km2 = gsd_m is not None
    with class_map_file(
        probability_map, mask_path, thresholds=limits, min_speck_px=min_speck_px
    ) as plain:
        areas = [NamedArea("", None), *(NamedArea(*area) for area in aoi or ())]
        pixel_areas = _pixel_areas(plain, is_km2=is_km2, extent_px=extent_px)
        tallies = _tally(probability_map, plain, areas, pixel_areas, square_px=correlation_px)
        regions = map_regions(
            plain,
            probability_map,
            pixel_areas,
            simplify=simplify,
            extent=None if extent_px is None else box(*extent_px),
        )
        polygons.add(name, regions, plain, is_km2=is_km2)
        write_class_map(plain, mask_path, classes)
    with atomic_file(folder / f"{file_stem(name)}_mask.qml") as temporary:
        temporary.write_text(raster_style(classes), encoding="utf-8")
    rows = []
    for area, tally in zip(areas, tallies, strict=True):
        of_area = tally.rows(classes, share_errors or {}, is_km2=is_km2)
        rows += [{"name": name, "area": area.name} | row for row in of_area]
    return coverage_rows(rows)


def _check_bands(probability_map: Path, classes: Sequence[str]) -> None:
    """Check that a map has a band for each class.

    Raises:
        ParameterError: it has others.
    """
    with rasterio.open(probability_map) as dataset:
        if dataset.count == len(classes):
            return
        count = dataset.count
    raise ParameterError(
        f"{probability_map}: must have a band for each of the classes {', '.join(classes)}, and "
        f"has {count}. Name the classes of its model."
    )


def _pixel_areas(
    class_map: Path, *, is_km2: bool, extent_px: tuple[float, float, float, float] | None
) -> PixelAreas:
    """Return the area of each px of a map, km2, or 1 where the GSD is unknown."""
    with rasterio.open(class_map) as dataset:
        crs = None if dataset.crs is None else str(dataset.crs.to_wkt())
        return PixelAreas.of_map(
            dataset.transform, crs, dataset.shape, is_km2=is_km2, extent_px=extent_px
        )


def _tally(
    probability_map: Path,
    class_map: Path,
    areas: Sequence[NamedArea],
    pixel_areas: PixelAreas,
    *,
    square_px: int,
) -> list[CoverageTally]:
    """Return what each area covers, window by window."""
    with rasterio.open(probability_map) as scores, rasterio.open(class_map) as classes:
        tallies = [CoverageTally(scores.count) for _ in areas]
        side = max(1024 // square_px, 1) * square_px
        for window in map_windows(scores, side):
            values = scores.read(window=window)
            of_window = classes.read(1, window=window)
            placed = scores.transform @ Affine.translation(window.col_off, window.row_off)
            extent = _extent(placed, window.width, window.height)
            weights = pixel_areas.of_window(window)
            for area, tally in zip(areas, tallies, strict=True):
                if area.shape is None:
                    tally.add(values, of_window, weights, square_px=square_px)
                elif area.shape.intersects(extent):
                    inside = inside_area(area.shape, placed, weights)
                    tally.add(values, of_window, inside, square_px=square_px)
    return tallies


def _extent(transform: Any, width: int, height: int) -> BaseGeometry:
    """Return the box in the map's system around a window."""
    corners = [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    x, y = zip(*corners, strict=True)
    extent: BaseGeometry = box(min(x), min(y), max(x), max(y))
    return extent
