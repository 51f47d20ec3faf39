"""The raw data of a catalog: rasters found and checked, labels and areas placed on them.

Everything is on whole scenes, before blocks are cut and places divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas
import pandas as pd

from windhover.dataset.align_labels import AlignedLabels, align_labels
from windhover.dataset.areas import areas_around_labels, read_areas
from windhover.dataset.catalog import empty_areas
from windhover.dataset.catalog_report import CatalogReport, PixelShares
from windhover.dataset.check_rasters import check_pixels, common_bands
from windhover.dataset.discover import (
    FoundScenes,
    current_info,
    find_scenes,
    rename_in_errors,
    stack_scenes,
)
from windhover.dataset.duplicate_labels import drop_near_duplicates
from windhover.dataset.labels_without_data import ON_NO_DATA, drop_labels_without_data
from windhover.errors import MissingFileError
from windhover.imagery.rasters import SceneInfo
from windhover.labels.formats import find_labels, read_labels
from windhover.labels.raster_names import RasterNames
from windhover.params.scenes import ScenesParams
from windhover.progress import counted

MAX_NAMED = 3  # rasters with one note that are named each


@dataclass(frozen=True)
class DataSources:
    """The raw data, in native px of the scenes.

    Attributes:
        infos: the scenes, sorted by name.
        names: by which tables may call them.
        labels: one row a label: `scene`, `class` as in the file, `ignored`, `col`, `row`, box,
            `source`, `geometry`.
        labeled: names of the scenes that label files or areas cover.
        areas: of the catalog.
        report: what was found and dropped so far.
    """

    infos: list[SceneInfo]
    names: RasterNames
    labels: geopandas.GeoDataFrame
    labeled: set[str]
    areas: geopandas.GeoDataFrame
    report: CatalogReport


def read_sources(raw: Path, params: ScenesParams, folder: Path, *, final: Path) -> DataSources:
    """Find and read the rasters, the labels and the areas of a folder.

    Args:
        raw: the folder.
        params: of the stage.
        folder: where virtual rasters of stacked bands are written.
        final: where that folder will be moved to.

    Raises:
        MissingFileError, FormatError, UnsupportedError, DataError: of what is read.
    """
    found, pixels = find_rasters(raw, params, folder, final=final)
    infos = found.infos
    bands = common_bands(infos, params.bands)
    aligned, label_notes = _read_labels(raw, params, found)
    readable = [current_info(info, folder, final) for info in infos]
    with rename_in_errors(str(folder), str(final)):
        seen = drop_labels_without_data(aligned.labels, readable, pixels, bands=bands)
    labels, n_duplicates = drop_near_duplicates(seen.labels, params.duplicate_iou)
    areas = areas_of_scenes(raw, params, infos)
    if params.labelled_within_m is not None:
        around = areas_around_labels(labels, infos, params.labelled_within_m)
        areas = pd.concat([areas, around], ignore_index=True) if len(areas) else around
    labeled = set(aligned.covered_scenes)
    if params.empty_scenes == "complete" and aligned.n_label_files:
        labeled = {info.name for info in infos}
    labeled |= set(areas.loc[areas["role"] == "complete", "scene"])
    report = CatalogReport(
        training_gsd_m=params.gsd_m,
        class_names=params.classes,
        label_files=aligned.n_label_files,
        labels_in_files=aligned.n_labels_in_files,
        dropped={
            **aligned.dropped,
            ON_NO_DATA: seen.n_dropped,
            "marking an object again": n_duplicates,
        },
        leaving_the_raster=aligned.n_leaving,
        pixels=pixels,
        bands=bands,
        notes=[
            *dict.fromkeys([*found.notes, *label_notes]),
            *raster_notes(infos),
            *notes_on_pixels(infos, pixels),
            *aligned.notes,
            *_label_notes(aligned),
            *seen.notes,
        ],
    )
    return DataSources(infos, found.names, labels, labeled, areas, report)


@dataclass(frozen=True)
class LabelSources:
    """Labels and areas on whole scenes, without their pixels.

    Attributes:
        infos: the scenes, sorted by name.
        aligned: the labels, and which scenes they cover.
        areas: of the catalog.
    """

    infos: list[SceneInfo]
    aligned: AlignedLabels
    areas: geopandas.GeoDataFrame


def read_label_sources(raw: Path, params: ScenesParams, folder: Path) -> LabelSources:
    """Return the labels and areas of a folder as they are before blocks and splits.

    Args:
        raw: the folder.
        params: of the stage.
        folder: where virtual rasters of stacked bands may be written.

    Raises:
        MissingFileError, FormatError, UnsupportedError, DataError: of what is read.
    """
    if params.stack is None:
        found = find_scenes(raw, params.rasters, params.native_gsd_m, exclude=params.exclude)
    else:
        found = stack_scenes(
            raw, params.stack, native_gsd_m=params.native_gsd_m, folder=folder, final=folder
        )
    aligned, _ = _read_labels(raw, params, found)
    return LabelSources(found.infos, aligned, areas_of_scenes(raw, params, found.infos))


def find_rasters(
    raw: Path, params: ScenesParams, folder: Path, *, final: Path
) -> tuple[FoundScenes, dict[str, PixelShares]]:
    """Return the scenes of a folder, and the shares of valid and black pixels of each."""
    if params.stack is None:
        found = find_scenes(raw, params.rasters, params.native_gsd_m, exclude=params.exclude)
        return found, check_pixels(found.infos)
    found = stack_scenes(
        raw, params.stack, native_gsd_m=params.native_gsd_m, folder=folder, final=final
    )
    current_paths = {info.name: folder / f"{info.name}.vrt" for info in found.infos}
    return found, check_pixels(found.infos, current_paths)


def _read_labels(
    raw: Path, params: ScenesParams, found: FoundScenes
) -> tuple[AlignedLabels, list[str]]:
    """Return the labels on the scenes, and a sentence on each link that cannot be followed."""
    not_labels = [raw / name for name in (params.groups, params.areas) if name is not None]
    files = find_labels(raw, params.labels, found.names, exclude=not_labels)
    sources = []
    for path, scene in files.scene_of.items():
        sources.append((read_labels(path, params.class_column), scene))
    return align_labels(found.infos, sources, found.names), files.notes


def areas_of_scenes(
    raw: Path, params: ScenesParams, infos: list[SceneInfo]
) -> geopandas.GeoDataFrame:
    """Return the areas on the scenes; none where `scenes.areas` is null.

    Raises:
        MissingFileError: the file of the areas is missing.
    """
    if params.areas is None:
        return empty_areas()
    path = raw / params.areas
    if not path.is_file():
        path = Path(params.areas)  # a reviewed version is in the project, not among the rasters
    if not path.is_file():
        raise MissingFileError(
            f"`scenes.areas`: {raw / params.areas} does not exist. Name the file of the areas, or "
            "set null."
        )
    return read_areas(path, infos)


def raster_notes(infos: list[SceneInfo]) -> list[str]:
    """Return what is worth knowing of the rasters, one sentence each."""
    notes = notes_on_rasters(infos)
    striped = [info for info in infos if info.is_striped]
    if striped:
        first = striped[0]
        notes.append(
            f"{counted(len(striped), 'raster')} stored in strips, which makes windows slow to read "
            "(17 times, measured). Make a COG of each: gdal_translate -of COG -co COMPRESS=DEFLATE "
            f"-co PREDICTOR=YES {first.path} {first.name}-cog.tif"
        )
    if len({(info.scales, info.offsets) for info in infos}) > 1:
        notes.append(
            "the rasters differ in scale or offset, which are not applied: one model should see "
            "one scaling"
        )
    return notes


def _label_notes(aligned: AlignedLabels) -> list[str]:
    """Return a sentence where most labels are outside their rasters."""
    outside = aligned.dropped["centre outside the raster"]
    if outside <= aligned.n_labels_in_files / 2:
        return []
    note = (
        f"{outside} of {aligned.n_labels_in_files} labels lie outside their rasters: they may be "
        "of other pictures, or of another size"
    )
    return [note]


def notes_on_pixels(infos: Iterable[SceneInfo], pixels: Mapping[str, PixelShares]) -> list[str]:
    """Return the notes on the values of rasters' pixels, as `notes_on_rasters` does."""
    shares_of = [(info.path, pixels[info.name]) for info in infos]
    return _once_each((path, shares.note) for path, shares in shares_of if shares.note)


def notes_on_rasters(infos: Iterable[SceneInfo]) -> list[str]:
    """Return the notes on rasters; one that many of them share is given once, with their number."""
    return _once_each((info.path, note) for info in infos for note in info.notes)


def _once_each(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return notes on paths as lines; one of many paths is given once, with their number."""
    rasters: dict[str, list[str]] = {}
    for path, note in notes:
        rasters.setdefault(note, []).append(path)
    lines = []
    for note, paths in rasters.items():
        if len(paths) > MAX_NAMED:
            lines.append(f"{len(paths)} rasters, such as {paths[0]}: {note}")
        else:
            lines += [f"{path}: {note}" for path in paths]
    return lines
