"""The scenes stage's flow: raw rasters and labels -> the catalog.

Found, checked, placed in pixels and divided by place. Decides nothing about training; what is
dropped or odd is counted in the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd

from windhover.dataset.areas import (
    fixed_splits_of_areas,
    note_on_unused_splits,
    settle_presumed_empty,
)
from windhover.dataset.block_plan import BlockPlan
from windhover.dataset.catalog import Catalog, empty_areas, empty_labels
from windhover.dataset.catalog_report import CatalogReport, LabelCount
from windhover.dataset.catalog_tables import SCENE_COLUMNS
from windhover.dataset.coverage_sources import (
    read_coverage_sources,
    units_of_coverage,
    with_class_maps,
    with_known_scenes,
    write_class_maps,
)
from windhover.dataset.discover import raster_paths, raw_folder
from windhover.dataset.grouping import (
    PlaceAndSplit,
    assign_places_and_splits,
    join_touching,
    match_groups,
    read_groups,
)
from windhover.dataset.label_classes import classify_labels, notes_on_class_names
from windhover.dataset.raw_sources import DataSources, read_sources
from windhover.dataset.spatial_blocks import (
    BLOCK_SEPARATOR,
    cut_into_blocks,
    even_blocks,
    move_to_blocks,
)
from windhover.dataset.splits import SPLITS, TooFewPlacesError
from windhover.geometry import georef
from windhover.geometry.windows import WINDOW_PX, Window
from windhover.imagery.rasters import SceneInfo
from windhover.params.scenes import BACKGROUND, ScenesParams
from windhover.progress import counted

NOTE_NO_RASTERS = (
    "no rasters, only ready-made patches (.npz): nothing is measured on scenes, and places are "
    "unknown"
)

IN_GUARD_STRIPS = "in the guard strips between blocks"  # reason of dropped labels
LACKING = {  # what follows where a split lacks a class
    "train": "they cannot be learned",
    "val": "no threshold of their own can be chosen",
    "test": "they are not tested",
}


def build_catalog(params: ScenesParams, folder: Path, final: Path) -> Catalog:
    """Find rasters and labels, check them and return the catalog.

    Args:
        params: of the stage.
        folder: where virtual rasters of stacked bands and of blocks are written.
        final: where that folder will be moved to.

    Raises:
        MissingFileError: the raw folder or a named file is missing.
        FormatError: a raster or a label file is broken.
        UnsupportedError: a raster is of a kind that is not supported.
        DataError: no raster, no label on any raster, unknown classes, bands that differ, too
            few places.
    """
    raw = raw_folder(params.raw)
    if not raster_paths(raw) and any(raw.glob("*.npz")):
        return _catalog_without_scenes(params)
    groups_table = read_groups(raw, params)
    class_labels = None
    if params.task == "coverage":
        sources, class_labels = read_coverage_sources(raw, params, folder, final=final)
    else:
        sources = read_sources(raw, params, folder, final=final)
    scene_names = [info.name for info in sources.infos]
    groups, group_notes = match_groups(groups_table, sources.names, scene_names)
    plan = _load_plan(params, sources)
    blocks = _blocks_of_scenes(sources, groups, params, plan)
    if blocks:
        sources = _cut_into_blocks(sources, blocks, params, folder=folder, final=final)
    fixed = fixed_splits_of_areas(sources.areas, sources.infos)
    if plan is not None:
        fixed = _planned_splits(plan, sources.infos) | fixed
    if class_labels is None:
        labels = classify_labels(sources.labels, sources.areas, params, infos=sources.infos)
        return _divided(sources, labels, params, groups=groups, fixed=fixed, notes=group_notes)
    maps = write_class_maps(sources, class_labels, params, folder=folder, final=final)
    sources = with_known_scenes(sources, maps)
    classes = class_labels.classes.names
    units = units_of_coverage(maps, classes, sources.infos, gsd_m=params.gsd_m)
    catalog = _divided(sources, units, params, groups=groups, fixed=fixed, notes=group_notes)
    return with_class_maps(catalog, maps)


def _divided(
    sources: DataSources,
    labels: pd.DataFrame,
    params: ScenesParams,
    *,
    groups: Mapping[str, PlaceAndSplit],
    fixed: Mapping[str, str],
    notes: list[str],
) -> Catalog:
    """Return the catalog of labels, its scenes divided between the splits by place.

    Args:
        sources: scenes and areas.
        labels: of the catalog, or the units of coverage.
        params: of the stage.
        groups: places and splits by scene.
        fixed: scene -> split, where it is decided.
        notes: on the groups.
    """
    table = _scene_table(sources.infos, sources.labeled)
    scenes, joined = _assign_splits(
        table, labels, sources, groups=groups, params=params, fixed_scenes=fixed
    )
    of_catalog = labels
    if sources.report.coverage_classes is not None:
        of_catalog = sources.labels  # none: units divide the places, and are no labels
    report = sources.report.model_copy(
        update={
            "places": scenes["place"].nunique(),
            "places_joined_because_footprints_touch": joined,
            "notes": [
                *sources.report.notes,
                *notes,
                *note_on_unused_splits(sources.areas, fixed),
                *_notes_on_lacking_classes(scenes, labels),
                *notes_on_class_names(of_catalog["class"]),
            ],
            **_counts(scenes, of_catalog),
        }
    )
    training_scenes = scenes.loc[scenes["split"] == "train", "scene"]
    areas = settle_presumed_empty(sources.areas, set(training_scenes))
    return Catalog(scenes, geopandas.GeoDataFrame(of_catalog), areas, report)


def _catalog_without_scenes(params: ScenesParams) -> Catalog:
    """Return the catalog of a folder that holds ready-made patches and no raster."""
    scenes = pd.DataFrame({name: [] for name in SCENE_COLUMNS})
    labels = empty_labels()
    coverage_classes = None
    if params.task == "coverage":
        coverage_classes = sorted(set(params.classes.values()) - {BACKGROUND})
    report = CatalogReport(
        training_gsd_m=params.gsd_m,
        class_names=params.classes,
        bands=params.bands or [],
        notes=[NOTE_NO_RASTERS],
        coverage_classes=coverage_classes,
    )
    report = report.model_copy(update=_counts(scenes, labels))
    return Catalog(scenes, labels, empty_areas(), report)


def _load_plan(params: ScenesParams, sources: DataSources) -> BlockPlan | None:
    """Return the plan of blocks that the parameters name, checked against the scenes."""
    if params.blocks is None:
        return None
    plan = BlockPlan.load(Path(params.blocks))
    plan.check(sources.infos, params.gsd_m)
    return plan


def _planned_splits(plan: BlockPlan, infos: list[SceneInfo]) -> dict[str, str]:
    """Return scene -> split of the scenes that a plan of blocks gives one."""
    splits = {info.name: plan.split_of(info.name, BLOCK_SEPARATOR) for info in infos}
    return {name: split for name, split in splits.items() if split}


def _blocks_of_scenes(
    sources: DataSources,
    groups: Mapping[str, PlaceAndSplit],
    params: ScenesParams,
    plan: BlockPlan | None,
) -> dict[str, dict[str, Window]]:
    """Return scene -> suffix -> window of its blocks; whole scenes are left out.

    Scenes of a place with a fixed split stay whole.
    """
    blocks = {}
    if plan is not None:
        for info in sources.infos:
            windows = plan.windows_of(info.name)
            if windows is not None:
                blocks[info.name] = windows
    elif params.spatial_block_m is not None:
        divided = []
        for info in sources.infos:
            place = groups[info.name].place if info.name in groups else info.name
            if place not in params.fixed_splits:
                divided.append(info)
        blocks = even_blocks(divided, params.spatial_block_m, params.guard_width_m)
    return blocks


def _cut_into_blocks(
    sources: DataSources,
    blocks: Mapping[str, Mapping[str, Window]],
    params: ScenesParams,
    *,
    folder: Path,
    final: Path,
) -> DataSources:
    """Return the sources on blocks."""
    infos, origins = cut_into_blocks(sources.infos, blocks, folder=folder, final=final)
    in_strips = [scene for scene, windows in blocks.items() if not windows]
    labels, n_lost = move_to_blocks(sources.labels, origins, in_strips)
    areas, _ = move_to_blocks(sources.areas, origins, in_strips)
    labeled_blocks = {block for block, origin in origins.items() if origin.scene in sources.labeled}
    dropped = {**sources.report.dropped, IN_GUARD_STRIPS: n_lost}
    small = [info.name for info in infos if info.name in origins and _is_small(info, params)]
    notes = [
        *sources.report.notes,
        *_note_on_guard_strips(sources.labels, labels, params),
        *_note_on_small_blocks(small, params),
    ]
    return replace(
        sources,
        infos=sorted(infos, key=lambda info: info.name),
        labels=labels,
        labeled=sources.labeled | labeled_blocks,
        areas=areas,
        report=sources.report.model_copy(update={"dropped": dropped, "notes": notes}),
    )


def _note_on_guard_strips(
    before: pd.DataFrame, after: pd.DataFrame, params: ScenesParams
) -> list[str]:
    """Return what the guard strips cost in labels, of each class; nothing where they cost none.

    Args:
        before: labels on the whole scenes.
        after: labels on the blocks.
        params: of the stage.
    """
    n_labels = len(before)
    n_lost = n_labels - len(after)
    if not n_lost:
        return []
    by_class = (before["class"].value_counts() - after["class"].value_counts()).fillna(
        before["class"].value_counts()
    )
    parts = [f"{int(count)} {name}" for name, count in by_class.sort_index().items() if count]
    classes = f": {', '.join(parts)}" if len(by_class) > 1 else ""
    share = f"{n_lost} of {n_labels} labels ({n_lost / n_labels:.0%}){classes}"
    if params.blocks is not None:
        return [f"the guard strips between the planned blocks leave out {share}"]
    note = (
        f"the guard strips of {params.guard_width_m:g} m between the blocks leave out {share}; "
        "larger blocks (`scenes.spatial_block_m`) leave out fewer"
    )
    return [note]


def _is_small(info: SceneInfo, params: ScenesParams) -> bool:
    """Return whether no window fits into a scene."""
    sides_m = (info.width_px * info.gsd_m[0], info.height_px * info.gsd_m[1])
    return min(sides_m) < WINDOW_PX * params.gsd_m


def _note_on_small_blocks(names: list[str], params: ScenesParams) -> list[str]:
    """Return a sentence on blocks into which no window fits; nothing where there are none."""
    if not names:
        return []
    note = (
        f"{counted(len(names), 'block')}, such as {names[0]}, hold no whole window of "
        f"{WINDOW_PX * params.gsd_m:g} m once the guard strips are taken off: take larger blocks "
        "(`scenes.spatial_block_m`)"
    )
    return [note]


def _scene_table(infos: list[SceneInfo], labeled: set[str]) -> pd.DataFrame:
    """Return the table of scenes, without place and split."""
    rows = []
    for info in infos:
        footprint = georef.footprint_4326(info.transform, info.crs, info.shape_hw)
        rows.append(
            {
                "scene": info.name,
                "path": info.path,
                "width_px": info.width_px,
                "height_px": info.height_px,
                "bands": list(info.bands),
                "dtype": info.dtype,
                "nodata": info.nodata,
                "crs": info.crs,
                "transform": list(info.transform)[:6],
                "gsd_x_m": info.gsd_m[0],
                "gsd_y_m": info.gsd_m[1],
                "labeled": info.name in labeled,
                "footprint_wkt_4326": None if footprint is None else footprint.wkt,
                "origin_col_px": info.origin_px[0],
                "origin_row_px": info.origin_px[1],
            }
        )
    return pd.DataFrame(rows)


def _assign_splits(
    table: pd.DataFrame,
    labels: pd.DataFrame,
    sources: DataSources,
    *,
    groups: Mapping[str, PlaceAndSplit],
    params: ScenesParams,
    fixed_scenes: Mapping[str, str],
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return the table of scenes with place and split, and the pairs of places that were joined.

    Raises:
        DataError: the splits cannot be assigned; a note names how scenes that touch can be divided.
    """
    if not sources.labeled:  # nothing is learned from these scenes: there is nothing to divide
        params = params.model_copy(update={"split_fractions": [0.0, 0.0, 1.0], "folds": None})
    try:
        return assign_places_and_splits(
            table, labels, groups, params=params, fixed_scenes=fixed_scenes
        )
    except TooFewPlacesError as error:
        note = _note_on_touching_scenes(table)
        if note:
            error.add_note(note)
        raise


def _note_on_touching_scenes(table: pd.DataFrame) -> str:
    """Return how scenes that touch can still be divided; "" where none do."""
    _, joined = join_touching(table["scene"].tolist(), table)
    if not joined:
        return ""
    one, other = joined[0]
    return (
        f"Scenes that touch or overlap are one place, such as {one} and {other}. To divide a grid "
        "of tiles, make one virtual raster of them (gdalbuildvrt mosaic.vrt TILES), name it alone "
        "in `scenes.rasters`, and set `scenes.spatial_block_m` to the side of the blocks that it "
        "is cut into."
    )


def _notes_on_lacking_classes(scenes: pd.DataFrame, labels: pd.DataFrame) -> list[str]:
    """Return a sentence on each split that has objects, but none of a class of the others."""
    split_of = dict(zip(scenes["scene"], scenes["split"], strict=True))
    objects = labels[labels["role"] == "object"]
    splits = objects["scene"].map(split_of)
    notes = []
    for split in SPLITS:
        in_split = set(objects.loc[splits == split, "class"])
        lacking = sorted(set(objects["class"]) - in_split)
        if in_split and lacking:
            notes.append(
                f"{split} has no object of the classes {', '.join(lacking)}: {LACKING[split]}"
            )
    return notes


def _counts(scenes: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Any]:
    """Return the report's counts by split and class, field -> value."""
    split_of = dict(zip(scenes["scene"], scenes["split"], strict=True))
    with_split = labels.assign(split=labels["scene"].map(split_of))
    sizes = with_split.groupby(["split", "class", "role"]).size().reset_index(name="labels")
    by_split = [LabelCount.model_validate(record) for record in sizes.to_dict("records")]
    is_labeled = scenes["labeled"].astype(bool)
    return {
        "scenes": len(scenes),
        "unlabelled_scenes": scenes.loc[~is_labeled, "scene"].tolist(),
        "labels": len(labels),
        "by_split": by_split,
        "scenes_by_split": {name: int((scenes["split"] == name).sum()) for name in SPLITS},
    }
