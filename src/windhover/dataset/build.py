"""Raw rasters and labels -> the catalog: found, checked, placed in pixels and divided by place.

Decides nothing about training. What it drops or finds odd is counted in the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely

from windhover.dataset import areas as area_files
from windhover.dataset.align_labels import drop_near_repeats, locate_labels
from windhover.dataset.catalog import LABEL_COLUMNS, SCENE_COLUMNS, Catalog, empty_areas
from windhover.dataset.data_page import data_page
from windhover.dataset.data_statistics import survey, survey_lines
from windhover.dataset.discover import (
    Found,
    check_pixels,
    common_bands,
    find_scenes,
    portable,
    raster_paths,
    raw_folder,
    stack_scenes,
)
from windhover.dataset.grouping import divide, read_groups
from windhover.dataset.spatial_blocks import cut_scenes, move_to_blocks
from windhover.dataset.splits import SPLITS, TooFewPlacesError, join_places
from windhover.errors import DataError, MissingFileError
from windhover.files import write_json
from windhover.geometry import georef
from windhover.imagery.rasters import SceneInfo
from windhover.labels import find_labels, read_labels
from windhover.params.scenes import ScenesParams


@dataclass(frozen=True)
class _Raw:
    """Everything that was found, on whole scenes."""

    found: Found
    labels: geopandas.GeoDataFrame
    labeled: set[str]
    areas: geopandas.GeoDataFrame
    report: dict[str, Any]


def build_catalog(params: ScenesParams, folder: Path, final: Path) -> Catalog:
    """Find rasters and labels, check them and return the catalog.

    Args:
        params: of the stage.
        folder: where virtual rasters of stacked bands and of blocks are written.
        final: where that folder will be moved to.

    Raises:
        MissingFileError: the raw folder or a named file is not there.
        FormatError: a raster or a label file is broken.
        UnsupportedError: a raster is of a kind that is not taken.
        DataError: no raster, no label on any raster, unknown classes, bands that differ, too
            few places.
    """
    raw = raw_folder(params.raw)
    if not raster_paths(raw) and any(raw.glob("*.npz")):
        return _without_scenes(params)
    groups = read_groups(raw, params)
    whole = _look(raw, params, folder, final)
    infos, labels, labeled, areas, report = (
        whole.found.infos,
        whole.labels,
        whole.labeled,
        whole.areas,
        whole.report,
    )
    if params.spatial_block_m is not None:
        whole_ones = [
            info
            for info in infos
            if groups.get(info.name, (info.name, ""))[0] in params.fixed_splits
        ]
        others = [info for info in infos if info not in whole_ones]
        blocks, origin = cut_scenes(others, params.spatial_block_m, params.guard_m, folder, final)
        infos = sorted([*whole_ones, *blocks], key=lambda info: info.name)
        labels, lost = move_to_blocks(labels, origin)
        areas, _ = move_to_blocks(areas, origin)
        labeled = labeled | {block for block, (scene, _) in origin.items() if scene in labeled}
        report["dropped"]["in the guard strips between blocks"] = lost
    labels["ignored"] |= area_files.ignored_labels(labels, areas)
    labels = _classed(labels, params, infos)
    if not labeled:  # nothing is learnt from these scenes: there is nothing to divide
        params = params.model_copy(update={"split_fractions": [0.0, 0.0, 1.0], "folds": None})
    table = _scene_table(infos, labeled)
    try:
        scenes, place_report = divide(
            table, labels, groups, params, area_files.fixed_splits(areas, infos)
        )
    except TooFewPlacesError as error:
        for note in _of_touching(table):
            error.add_note(note)
        raise
    report = (
        {"training_gsd_m": params.gsd_m, "class_names": params.classes}
        | report
        | place_report
        | _counts(scenes, labels)
    )
    return Catalog(scenes, labels, areas, report)


def _without_scenes(params: ScenesParams) -> Catalog:
    """Return the catalog of a folder that holds ready-made patches and no raster."""
    scenes = pd.DataFrame({name: [] for name in SCENE_COLUMNS})
    labels = geopandas.GeoDataFrame({name: [] for name in LABEL_COLUMNS}, geometry="geometry")
    report = {
        "training_gsd_m": params.gsd_m,
        "bands": params.bands or [],
        "class_names": params.classes,
        "places": 0,
        "dropped": {},
        "notes": [
            "no rasters, only ready-made patches (.npz): nothing is measured on scenes, and places are unknown"
        ],
    }
    labels = labels.assign(length_m=labels["length_m"].astype(float))
    return Catalog(scenes, labels, empty_areas(), report | _counts(scenes, labels))


def _look(raw: Path, params: ScenesParams, folder: Path, final: Path) -> _Raw:
    """Find and read everything."""
    if params.stack is None:
        found = find_scenes(raw, params.rasters, params.native_gsd_m)
        shares = check_pixels(found.infos)
    else:
        found = stack_scenes(raw, params.stack, params.native_gsd_m, folder, final)
        shares = check_pixels(
            found.infos, {info.name: folder / f"{info.name}.vrt" for info in found.infos}
        )
    bands = common_bands(found.infos, params.bands)
    besides = [raw / name for name in (params.groups, params.areas) if name is not None]
    files = find_labels(raw, params.labels, [info.name for info in found.infos], besides)
    sources = [(read_labels(path, params.class_column), scene) for path, scene in files.items()]
    labels, spoken_of, report = locate_labels(found.infos, sources, found.aliases)
    labels, report["dropped"]["marking an object again"] = drop_near_repeats(
        labels, params.duplicate_iou
    )
    complete = params.empty_scenes == "complete" and files
    labeled = {info.name for info in found.infos} if complete else set(spoken_of)
    areas = empty_areas()
    if params.areas is not None:
        if not (raw / params.areas).is_file():
            raise MissingFileError(
                f"`scenes.areas`: {raw / params.areas} does not exist. Name the file of the areas, or set null."
            )
        areas = area_files.read_areas(raw / params.areas, found.infos)
        labeled |= set(areas.loc[areas["role"] == "complete", "scene"])
    report["pixels"] = shares
    report["bands"] = bands
    report["notes"] = _notes(found.infos) + report.pop("sizes_that_differ")
    outside = report["dropped"]["centre outside the raster"]
    if outside > report["labels_in_files"] / 2:
        report["notes"].append(
            f"{outside} of {report['labels_in_files']} labels lie outside their rasters: they may be "
            "of other pictures, or of another size"
        )
    return _Raw(found, labels, labeled, areas, report)


def _notes(infos: list[SceneInfo]) -> list[str]:
    """Return what is worth knowing of the rasters."""
    notes = [f"{info.path}: {note}" for info in infos for note in info.notes]
    slow = [info for info in infos if info.striped]
    if slow:
        notes.append(
            f"{len(slow)} rasters are stored in strips, which makes windows slow to read (17 times, "
            "measured). Make a COG of each: "
            f"gdal_translate -of COG -co COMPRESS=DEFLATE -co PREDICTOR=YES {slow[0].path} {slow[0].name}-cog.tif"
        )
    scales = {(info.scales, info.offsets) for info in infos}
    if len(scales) > 1:
        notes.append(
            "the rasters differ in scale or offset, which are not applied: one model should see one scaling"
        )
    return notes


def _classed(
    located: geopandas.GeoDataFrame, params: ScenesParams, infos: list[SceneInfo]
) -> geopandas.GeoDataFrame:
    """Give labels their class and role, and the lengths of their boxes' sides on the ground."""
    known = set(params.classes) | set(params.ignore_classes)
    unknown = sorted(set(located["class"]) - known) if params.classes else []
    if unknown:
        raise DataError(
            f"The labels hold the class {unknown[0]!r}, which is neither in `scenes.classes` nor in "
            "`scenes.ignore_classes` "
            f"({', '.join(sorted(known))}). Add it to one of them."
        )
    absent = sorted(set(params.classes) - set(located["class"]))
    if absent and len(absent) == len(params.classes) and len(located):
        raise DataError(
            f"`scenes.classes` names {', '.join(absent)}, but the labels hold "
            f"{', '.join(sorted(set(located['class'])))}. Mend the names."
        )
    labels = located.copy()
    labels["role"] = np.where(
        labels["class"].isin(params.ignore_classes) | labels["ignored"], "ignore", "object"
    )
    labels["class"] = labels["class"].map(lambda name: params.classes.get(name, name))
    sides = np.full((len(labels), 2), np.nan)
    by_name = {info.name: info for info in infos}
    boxes = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    for name, rows in labels.groupby("scene").indices.items():
        info = by_name[str(name)]
        sides[rows] = georef.box_sides_m(boxes[rows], info.transform, info.crs)
    sides[(boxes[:, 2] <= boxes[:, 0]) & (boxes[:, 3] <= boxes[:, 1])] = (
        np.nan
    )  # points have no size
    labels["length_m"], labels["width_m"] = sides.max(axis=1), sides.min(axis=1)
    return labels[list(LABEL_COLUMNS)]


def _scene_table(infos: list[SceneInfo], labeled: set[str]) -> pd.DataFrame:
    rows = []
    for info in infos:
        footprint = georef.footprint_4326(info.transform, info.crs, info.shape_hw)
        rows.append(
            {
                "scene": info.name, "path": info.path, "width_px": info.width_px, "height_px": info.height_px,
                "bands": list(info.bands), "dtype": info.dtype, "nodata": info.nodata, "crs": info.crs,
                "transform": list(info.transform)[:6], "gsd_x_m": info.gsd_m[0], "gsd_y_m": info.gsd_m[1],
                "labeled": info.name in labeled, "footprint_wkt_4326": None if footprint is None else footprint.wkt,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _of_touching(table: pd.DataFrame) -> list[str]:
    """Return how scenes that touch can still be divided; nothing where none do."""
    footprints = [
        None if wkt is None else shapely.from_wkt(wkt) for wkt in table["footprint_wkt_4326"]
    ]
    _, joined = join_places(table["scene"].tolist(), footprints)
    return [
        f"Scenes that touch or overlap are one place, such as {one} and {other}. To divide a grid of tiles, make one "
        "virtual raster of them (gdalbuildvrt mosaic.vrt TILES), name it alone in `scenes.rasters`, and set "
        "`scenes.spatial_block_m` to the side of the blocks that it is cut into."
        for one, other in joined[:1]
    ]


def _counts(scenes: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Any]:
    """Return counts by split and class."""
    split_of = dict(zip(scenes["scene"], scenes["split"], strict=True))
    by_split = labels.assign(split=labels["scene"].map(split_of)).groupby(
        ["split", "class", "role"], as_index=False
    )
    return {
        "scenes": len(scenes),
        "unlabelled_scenes": scenes.loc[~scenes["labeled"].astype(bool), "scene"].tolist(),
        "labels": len(labels),
        "by_split": by_split.size().rename(columns={"size": "labels"}).to_dict("records"),
        "scenes_by_split": {name: int((scenes["split"] == name).sum()) for name in SPLITS},
    }


def write_report(catalog: Catalog, folder: Path, final: Path) -> None:
    """Write `report.json` with the survey's facts, and the page that shows them.

    Args:
        catalog: as built.
        folder: where the files are written, beside the virtual rasters.
        final: where that folder will be moved to.
    """
    catalog.report.update(survey(catalog))
    write_json(folder / "report.json", catalog.report)
    here = catalog.scenes.assign(
        path=[_now(path, folder, final) for path in catalog.scenes["path"]]
    )
    page = data_page(replace(catalog, scenes=here), catalog.report, summary_lines(catalog))
    (folder / "report.html").write_text(page, encoding="utf-8")


def _now(path: str, folder: Path, final: Path) -> str:
    """Return where a raster is before the folder is moved into place."""
    inside = Path(path).parent == Path(portable(final))
    return str(folder / Path(path).name) if inside else path


def summary_lines(catalog: Catalog) -> list[str]:
    """Return what the catalog holds, for the terminal."""
    report = catalog.report
    lines = [f"{report['scenes']} scenes of {report['places']} places, {report['labels']} labels"]
    for name in SPLITS:
        rows = [row for row in report["by_split"] if row["split"] == name]
        held = ", ".join(
            f"{row['labels']} {row['class']}" + (" (ignored)" if row["role"] == "ignore" else "")
            for row in rows
        )
        lines.append(
            f"  {name:5} {report['scenes_by_split'][name]:4} scenes: {held or 'no objects'}"
        )
    if report["unlabelled_scenes"]:
        lines.append(
            f"  {len(report['unlabelled_scenes'])} scenes without labels are searched but not learned from"
        )
    if "class_table" in report:
        lines += survey_lines(catalog, report)
    lines += [f"  {note}" for note in report.get("notes", [])]
    lines += [f"  {reason}: {count} labels" for reason, count in report["dropped"].items() if count]
    return lines
