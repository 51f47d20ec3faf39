"""The raw data of a catalog of coverage: rasters with class rasters or polygons that label them.

Objects have no part in it: the table of labels stays empty, and a class map of each scene takes its
place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.dataset.areas import AREA_TYPES, polygonal_parts
from windhover.dataset.catalog import Catalog, empty_labels
from windhover.dataset.catalog_report import CatalogReport, TableRow
from windhover.dataset.check_rasters import common_bands
from windhover.dataset.class_maps import CLASS_MAP_SUFFIX, MAX_CLASSES
from windhover.dataset.class_rasters import (
    ClassLabels,
    ClassMapWriter,
    ClassNames,
    check_masks,
)
from windhover.dataset.discover import FoundScenes, current_info, portable_path
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_pieces import to_pixels
from windhover.dataset.mask_files import exclusion_patterns, find_mask_files, match_masks
from windhover.dataset.raw_sources import (
    DataSources,
    areas_of_scenes,
    find_rasters,
    notes_on_pixels,
    raster_notes,
)
from windhover.dataset.spatial_blocks import raster_name
from windhover.errors import DataError
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.rasters import SceneInfo
from windhover.labels.formats import AUTO, find_labels, read_labels
from windhover.labels.table import RawLabels
from windhover.params.scenes import ScenesParams
from windhover.progress import track

SHARE_DIGITS = 4


@dataclass(frozen=True)
class CoverageLabels:
    """The class rasters and polygons of a folder.

    Attributes:
        of_raster: name of a raster -> what labels it.
        classes: of the catalog.
        n_files: that were read.
        notes: a sentence on each file that fits no raster.
    """

    of_raster: dict[str, ClassLabels]
    classes: ClassNames
    n_files: int
    notes: list[str]


def read_coverage_sources(
    raw: Path, params: ScenesParams, folder: Path, *, final: Path
) -> tuple[DataSources, CoverageLabels]:
    """Find and read the rasters of a folder, what labels them, and its areas.

    Args:
        raw: the folder.
        params: of the stage.
        folder: where virtual rasters of stacked bands are written.
        final: where that folder will be moved to.

    Raises:
        MissingFileError, FormatError, UnsupportedError, DataError: of what is read.
    """
    mask_files = find_mask_files(raw, params.masks)
    exclude = [*params.exclude, *exclusion_patterns(mask_files, raw)]
    without_masks = params.model_copy(update={"exclude": exclude})
    found, pixels = find_rasters(raw, without_masks, folder, final=final)
    infos = found.infos
    bands = common_bands(infos, params.bands)
    labels = _read_class_labels(raw, params, found, mask_files=mask_files)
    areas = areas_of_scenes(raw, params, infos)
    report = CatalogReport(
        training_gsd_m=params.gsd_m,
        class_names=params.classes,
        label_files=labels.n_files,
        pixels=pixels,
        bands=bands,
        notes=[
            *dict.fromkeys([*found.notes, *labels.notes]),
            *raster_notes(infos),
            *notes_on_pixels(infos, pixels),
        ],
        coverage_classes=labels.classes.names,
    )
    sources = DataSources(infos, found.names, empty_labels(), set(labels.of_raster), areas, report)
    return sources, labels


def _read_class_labels(
    raw: Path, params: ScenesParams, found: FoundScenes, *, mask_files: list[Path]
) -> CoverageLabels:
    """Return what labels the rasters; a class raster goes before polygons.

    Raises:
        DataError: nothing labels any raster, or the values of the class rasters are not named.
    """
    masks, notes = match_masks(mask_files, found.names, params.masks)
    if masks and not params.mask_values:
        raise DataError(
            f"{next(iter(masks.values()))}: what its values mean is not known. Name them in "
            "`scenes.mask_values`, such as {0: background, 1: cloud}."
        )
    check_masks(masks, found.infos)
    of_raster = {scene: ClassLabels(mask=path) for scene, path in masks.items()}
    n_files = len(masks)
    in_polygons: list[str] = []
    if not masks or params.labels != AUTO:
        polygons, more, n_vectors = _read_polygons(raw, params, found)
        notes += more
        n_files += n_vectors
        for scene, table in polygons.items():
            of_raster.setdefault(scene, ClassLabels(polygons=table))
            in_polygons += table["class"].unique().tolist()
    if not of_raster:
        raise DataError(
            f"{raw}: no class raster and no polygon of a class labels a raster. Put class rasters "
            "into a folder `masks` beside them, name a pattern in `scenes.masks`, or name a file "
            "of polygons in `scenes.labels`."
        )
    classes = ClassNames.of(params, sorted(set(in_polygons)))
    if len(classes.names) > MAX_CLASSES:
        raise DataError(
            f"`scenes.mask_values` and the labels name {len(classes.names)} classes, at most "
            f"{MAX_CLASSES} are learned. Join some under one name in `scenes.classes`."
        )
    return CoverageLabels(of_raster, classes, n_files, notes)


def _read_polygons(
    raw: Path, params: ScenesParams, found: FoundScenes
) -> tuple[dict[str, geopandas.GeoDataFrame], list[str], int]:
    """Return raster -> its polygons in native px, notes, and how many files were read."""
    not_labels = [raw / name for name in (params.groups, params.areas) if name is not None]
    files = find_labels(raw, params.labels, found.names, exclude=not_labels)
    by_name = {info.name: info for info in found.infos}
    parts: dict[str, list[geopandas.GeoDataFrame]] = {}
    notes = list(files.notes)
    for path, scene in files.scene_of.items():
        labels = read_labels(path, params.class_column)
        _check_polygons(path, labels)
        n_used = 0
        for info in [by_name[scene]] if scene else found.infos:
            table = _polygons_on_scene(labels, info)
            if len(table) or scene:
                parts.setdefault(info.name, []).append(table)
                n_used += len(table)
        if len(labels) and not n_used:
            notes.append(f"{path}: none of its polygons is on a raster")
    polygons = {}
    for scene, tables in parts.items():
        polygons[scene] = geopandas.GeoDataFrame(
            pd.concat(tables, ignore_index=True), geometry="geometry"
        )
    return polygons, notes, len(files.scene_of)


def _check_polygons(path: Path, labels: RawLabels) -> None:
    """Check that labels are polygons on the map.

    Raises:
        DataError: they are points or lines, or boxes of an image format.
    """
    if labels.space != "map":
        raise DataError(
            f"{path}: holds boxes in px of pictures, and coverage is labeled by polygons on the "
            "map or by class rasters. Write polygons as GeoJSON or GeoPackage."
        )
    kinds = {shape.geom_type for shape in labels.geometry}
    others = sorted(kinds - set(AREA_TYPES))
    if others:
        raise DataError(
            f"{path}: holds a {others[0]}, and coverage is labeled by polygons. Draw polygons "
            "around the ground of each class."
        )


def _polygons_on_scene(labels: RawLabels, info: SceneInfo) -> geopandas.GeoDataFrame:
    """Return the parts of polygons that are on a scene: `class`, `geometry` in native px."""
    empty = geopandas.GeoDataFrame({"class": [], "geometry": []}, geometry="geometry")
    if (labels.crs is None) != (info.crs is None) or not len(labels):
        return empty
    extent = shapely.box(0, 0, info.width_px, info.height_px)
    moved = to_pixels(labels.geometry, labels.crs, info, source=labels.source)
    clipped = polygonal_parts(shapely.intersection(shapely.make_valid(moved), extent))
    rows = np.flatnonzero(~shapely.is_empty(clipped) & (shapely.area(clipped) > 0))
    if not len(rows):
        return empty
    return geopandas.GeoDataFrame(
        {"class": labels.class_name[rows], "geometry": clipped[rows]}, geometry="geometry"
    )


@dataclass(frozen=True)
class WrittenClassMaps:
    """The class maps of a catalog.

    Attributes:
        paths: scene -> file.
        table: one row a scene: `scene`, and the px of background and of each class by index.
    """

    paths: dict[str, str]
    table: pd.DataFrame


def write_class_maps(
    sources: DataSources, labels: CoverageLabels, params: ScenesParams, *, folder: Path, final: Path
) -> WrittenClassMaps:
    """Write the class map of each labeled scene, spatial blocks as scenes of their own.

    Args:
        sources: on blocks where scenes are cut into them.
        labels: of the rasters.
        params: of the stage.
        folder: of the catalog for now.
        final: where that folder will be moved to.

    Raises:
        DataError: a class raster holds a value that is not named, or no px of any is known.
    """
    writer = ClassMapWriter(params, labels.classes)
    paths = {}
    rows = []
    infos = [info for info in sources.infos if info.name in sources.labeled]
    for info in track(infos, "writing class maps", len(infos)):
        raster = raster_name(info.name)
        areas = sources.areas[sources.areas["scene"] == info.name]
        file = f"{info.name}{CLASS_MAP_SUFFIX}"
        counts = writer.write(
            folder / file,
            current_info(info, folder, final),
            labels.of_raster[raster],
            coverage=LabelCoverage.from_areas(areas),
        )
        paths[info.name] = portable_path(final / file)
        rows.append((info.name, *counts.tolist()))
    table = pd.DataFrame(rows, columns=["scene", *range(len(labels.classes.names) + 1)])
    if not table.drop(columns="scene").to_numpy().sum():
        raise DataError(
            "No pixel of any class raster is known: all are ignored, without data or outside of "
            "the areas. Correct `scenes.mask_ignore`, `scenes.mask_values` or `scenes.areas`."
        )
    return WrittenClassMaps(paths, table)


def units_of_coverage(
    maps: WrittenClassMaps, classes: list[str], infos: list[SceneInfo], *, gsd_m: float
) -> pd.DataFrame:
    """Return rows by which places are divided between splits: one for a window's ground of a class.

    Args:
        maps: of the scenes.
        classes: of the catalog.
        infos: the scenes.
        gsd_m: of the training.

    Returns:
        `scene`, `class`, `role`, as labels of objects have them.
    """
    window_m2 = (WINDOW_PX * gsd_m) ** 2
    px_m2 = {info.name: info.gsd_m[0] * info.gsd_m[1] for info in infos}
    parts = []
    for record in maps.table.to_dict("records"):
        scene = str(record["scene"])
        for number, name in enumerate(classes, 1):
            n_units = int(np.ceil(record[number] * px_m2[scene] / window_m2))
            parts.append(pd.DataFrame({"scene": [scene] * n_units, "class": name}))
    return pd.concat(parts, ignore_index=True).assign(role="object")


def coverage_table(
    maps: WrittenClassMaps, classes: list[str], scenes: pd.DataFrame
) -> list[TableRow]:
    """Return one row a scene: its split, the share of its px that is known, that of each class.

    Args:
        maps: of the scenes.
        classes: of the catalog.
        scenes: with split and size.
    """
    by_scene = scenes.set_index("scene")
    rows: list[TableRow] = []
    for record in maps.table.to_dict("records"):
        scene = by_scene.loc[record["scene"]]
        counts = [int(record[number]) for number in range(len(classes) + 1)]
        known = sum(counts)
        row: TableRow = {
            "scene": str(record["scene"]),
            "split": str(scene["split"]),
            "known": round(known / (scene["width_px"] * scene["height_px"]), SHARE_DIGITS),
        }
        for name, count in zip(("background", *classes), counts, strict=True):
            row[name] = round(count / known, SHARE_DIGITS) if known else None
        rows.append(row)
    return rows


def with_class_maps(catalog: Catalog, maps: WrittenClassMaps) -> Catalog:
    """Return a catalog whose scenes know their class maps, and whose report their shares."""
    scenes = catalog.scenes
    paths = [
        maps.paths.get(scene) if labeled else None
        for scene, labeled in zip(scenes["scene"], scenes["labeled"], strict=True)
    ]
    scenes = scenes.assign(class_map=pd.Series(paths, dtype=object))
    table = coverage_table(maps, catalog.classes, scenes)
    report = catalog.report.model_copy(update={"coverage_table": table})
    return replace(catalog, scenes=scenes, report=report)


def with_known_scenes(sources: DataSources, maps: WrittenClassMaps) -> DataSources:
    """Return sources of which only scenes with a known px are labeled."""
    counts = maps.table.drop(columns="scene").to_numpy().sum(axis=1)
    known = set(maps.table.loc[counts > 0, "scene"])
    return replace(sources, labeled=sources.labeled & known)
