"""From probability maps to class maps, polygons and the table of covered ground.

The flow behind `export` where the task is coverage, and the end of `windhover detect` with such a
model. Reads what a search wrote; scores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas
import pandas as pd
import rasterio
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, MissingFileError
from windhover.export.coverage_polygon_file import POLYGONS, PolygonFile, polygon_file
from windhover.export.coverage_products import write_coverage_products
from windhover.export.coverage_summary import (
    COVERAGE_SUMMARY,
    MAP_SUFFIX,
    TABLE,
    CoverageSummary,
    MappedRaster,
)
from windhover.files import atomic_file, atomic_folder, file_stem
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.rasters import inspect_scene
from windhover.imagery.vector_files import read_layer
from windhover.inference.aoi import area_in_scene
from windhover.progress import counted, track

AREAS_LAYER = "areas"
NAME_COLUMNS = ("name", "id", "fid", "area")
DIGITS = 6


def is_coverage(detections_folder: str | Path) -> bool:
    """Return whether a folder of the detect stage holds maps of coverage."""
    return (Path(detections_folder) / COVERAGE_SUMMARY).is_file()


def export_coverage(
    detections_folder: str | Path, out_folder: str | Path, *, areas: str | Path | None = None
) -> list[str]:
    """Write the products of all maps of the detect stage; `out_folder` is replaced whole.

    Args:
        detections_folder: written by the detect stage.
        out_folder: such as data/map.
        areas: vector file of polygons that get rows of their own; None for none.

    Returns:
        Sentences to print.

    Raises:
        MissingFileError: a map is missing.
        FormatError, DataError: of the file of areas.
    """
    source = Path(detections_folder)
    summary = CoverageSummary.load(source / COVERAGE_SUMMARY)
    named = None if areas is None else read_named_areas(Path(areas))
    tables = []
    with (
        atomic_folder(out_folder) as folder,
        polygon_file(folder / POLYGONS, summary.classes) as polygons,
    ):
        for scene in track(summary.scenes, "writing maps", len(summary.scenes)):
            path = source / f"{file_stem(scene.scene)}{MAP_SUFFIX}"
            if not path.is_file():
                raise MissingFileError(
                    f"{path}: the map of a scene is gone. Run the detect stage again: dvc repro -f "
                    "detect."
                )
            tables.append(
                write_products(path, folder, scene, summary=summary, polygons=polygons, areas=named)
            )
        table = write_table(tables, folder)
    return [*describe_table(table, Path(out_folder)), *(f"note: {n}" for n in summary.notes)]


def write_products(
    probability_map: Path,
    folder: Path,
    scene: MappedRaster,
    *,
    summary: CoverageSummary,
    polygons: PolygonFile,
    areas: geopandas.GeoDataFrame | None,
) -> pd.DataFrame:
    """Write class map and style of one map, and its polygons; return its rows of the table.

    Args:
        probability_map: of the raster.
        folder: of the files.
        scene: the raster.
        summary: of the search.
        polygons: of all rasters.
        areas: from `read_named_areas`; those that are on the raster get rows of their own.
    """
    with rasterio.open(probability_map) as dataset:
        extent_px = scene.extent_on(dataset.transform)
    return write_coverage_products(
        probability_map,
        folder,
        scene.scene,
        classes=summary.classes,
        thresholds=summary.thresholds,
        polygons=polygons,
        share_errors=summary.share_errors,
        gsd_m=scene.gsd_m,
        aoi=None if areas is None else areas_on_map(areas, probability_map),
        min_speck_px=summary.min_speck_px,
        correlation_px=max(WINDOW_PX // summary.cell_px, 1),
        extent_px=extent_px,
    )


def read_named_areas(path: Path) -> geopandas.GeoDataFrame:
    """Return the polygons of a vector file with a column `name`; their number where it has none.

    Raises:
        MissingFileError: there is no such file.
        FormatError: it cannot be read.
        DataError: it holds no polygon.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Name a vector file of polygons.")
    layer = read_layer(path, AREAS_LAYER)
    is_polygon = layer.geometry.geom_type.isin(["Polygon", "MultiPolygon"])
    layer = layer[is_polygon & ~layer.geometry.is_empty].reset_index(drop=True)
    if layer.empty:
        raise DataError(f"{path}: holds no polygon. Draw the areas as polygons.")
    column = next((name for name in NAME_COLUMNS if name in layer), None)
    names = [str(number) for number in range(1, len(layer) + 1)]
    if column is not None:
        names = layer[column].astype(str).tolist()
    return geopandas.GeoDataFrame({"name": names}, geometry=layer.geometry, crs=layer.crs)


def areas_on_map(
    areas: geopandas.GeoDataFrame, probability_map: Path
) -> list[tuple[str, BaseGeometry]]:
    """Return the areas that are on a map, by name, in its coordinate system."""
    info = inspect_scene(probability_map, 1.0)
    if (areas.crs is None) != (info.crs is None):
        return []
    with rasterio.open(probability_map) as dataset:
        left, bottom, right, top = dataset.bounds
    on_map = []
    for number, name in enumerate(areas["name"]):
        shape = area_in_scene(areas.geometry.iloc[[number]], info)
        if shape.is_empty:
            continue
        west, south, east, north = shape.bounds
        is_apart = east <= min(left, right) or west >= max(left, right)
        is_apart |= north <= min(bottom, top) or south >= max(bottom, top)
        if not is_apart:
            on_map.append((name, shape))
    return on_map


def write_table(tables: Sequence[pd.DataFrame], folder: Path) -> pd.DataFrame:
    """Write the rows of all rasters as one table; return it."""
    table = pd.concat(tables, ignore_index=True)
    with atomic_file(folder / TABLE) as temporary:
        table.round(DIGITS).to_csv(temporary, index=False, lineterminator="\n")
    return table


def describe_table(table: pd.DataFrame, folder: Path) -> list[str]:
    """Return sentences on a table: what is covered in all, and where it is."""
    whole = table[table["area"] == ""]
    lines = []
    for name, rows in whole.groupby("class", sort=False):
        n_rasters = counted(len(rows), "raster")
        known = rows["km2_known"].sum()
        if known > 0:
            covered = rows["km2"].sum()
            lines.append(
                f"{name}: {covered:.4g} of {known:.4g} km2 of {n_rasters}, {covered / known:.1%}"
            )
        else:
            lines.append(f"{name}: {rows['share'].mean():.1%} on average of {n_rasters}")
    return [*lines, f"{folder / TABLE}: {counted(len(table), 'row')}"]
