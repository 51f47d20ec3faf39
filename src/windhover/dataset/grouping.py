"""The place of each scene and the split of each place.

A place is a location group: scenes whose footprints touch or overlap are one, and all scenes of a
place share a split. Blocks of one scene are places of their own, a guard strip apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import shapely

from windhover.dataset.align_labels import shown_names
from windhover.dataset.spatial_blocks import BLOCK_SEPARATOR, raster_name
from windhover.dataset.splits import SPLITS, assign_folds, assign_splits, join_places
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.labels.csv_labels import read_text_table
from windhover.labels.raster_names import RasterNames
from windhover.labels.table import find_column
from windhover.params.scenes import ScenesParams

# columns that name a scene in a table of groups, in order of preference
SCENE_KEYS = ("scene", "image_id", "image", "filename", "file", "file_name", "image_path", "path")
DEFAULT_GROUP_COLUMN = "place"


class PlaceAndSplit(NamedTuple):
    """What a table of groups states of a scene."""

    place: str
    split: str  # "" where it is not fixed


@dataclass(frozen=True)
class GroupsTable:
    """A table of places.

    Attributes:
        path: of the file.
        frame: all values as text, indexed by line.
        keys: columns that may name the raster.
        place_column: column of the place.
    """

    path: Path
    frame: pd.DataFrame
    keys: list[str]
    place_column: str


class MatchedGroups(NamedTuple):
    """What a table of places states of the scenes."""

    by_scene: dict[str, PlaceAndSplit]
    notes: list[str]  # on rows and rasters without a counterpart


def assign_places_and_splits(
    scenes: pd.DataFrame,
    labels: pd.DataFrame,
    groups: Mapping[str, PlaceAndSplit],
    *,
    params: ScenesParams,
    fixed_scenes: Mapping[str, str],
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Return the scenes with their place and split, and the pairs of places that were joined.

    Args:
        scenes: of the catalog, without place and split.
        labels: of the catalog.
        groups: by scene, of `match_groups`.
        params: of the stage.
        fixed_scenes: scene -> split, decided by areas.

    Raises:
        DataError: two scenes of one place are fixed to different splits, an unknown place is
            fixed, or too few places.
    """
    names = scenes["scene"].tolist()
    stated = [_stated_place(name, groups) for name in names]
    stated_places = [one.place for one in stated]
    _check_fixed_places(params, stated_places)
    places, joined = join_touching(stated_places, scenes)
    fixed: dict[str, str] = {}
    for scene, place, one in zip(names, places, stated, strict=True):
        split = one.split or fixed_scenes.get(scene, "") or _fixed_split(one.place, params)
        if split and fixed.setdefault(place, split) != split:
            raise DataError(
                f"Scene {scene} is fixed to {split}, but another scene of the same place {place} "
                f"is fixed to {fixed[place]}; scenes that touch or overlap are one place. Give "
                "them one split."
            )
    n_objects = _objects_by_place(names, places, labels)
    if params.folds is None:
        split_of = assign_splits(n_objects, params.split_fractions, params.seed, fixed=fixed)
    else:
        split_of = assign_folds(
            n_objects, params.folds, params.fold, seed=params.seed, with_val=params.fold_val
        )
    splits = [split_of[place] for place in places]
    return scenes.assign(place=places, split=splits), joined


def join_touching(
    places: Sequence[str], scenes: pd.DataFrame
) -> tuple[list[str], list[tuple[str, str]]]:
    """Give one name to the places of scenes that touch or overlap, a px of gap included.

    Args:
        places: of each scene.
        scenes: with their footprints and GSD.

    Returns:
        As `join_places`.
    """
    # a column of text and missing values has NaN for them; from_wkt gives None for None
    outlines = scenes["footprint_wkt_4326"].astype(object)
    footprints = shapely.from_wkt(outlines.where(outlines.notna(), None)).tolist()
    gsd_m = scenes[["gsd_x_m", "gsd_y_m"]].max(axis=1)
    return join_places(places, footprints, gsd_m.tolist())


def _objects_by_place(names: list[str], places: list[str], labels: pd.DataFrame) -> dict[str, int]:
    """Return how many objects each place has."""
    by_scene = labels[labels["role"] == "object"]["scene"].value_counts()
    n_objects = dict.fromkeys(places, 0)
    for scene, place in zip(names, places, strict=True):
        n_objects[place] += int(by_scene.get(scene, 0))
    return n_objects


def _check_fixed_places(params: ScenesParams, places: list[str]) -> None:
    """Check that every place with a fixed split exists.

    Raises:
        DataError: one does not.
    """
    known = set(places) | {raster_name(place) for place in places}
    unknown = sorted(set(params.fixed_splits) - known)
    if unknown:
        raise DataError(
            f"`scenes.fixed_splits` names the place {unknown[0]!r}, which no raster has. Correct "
            "the name."
        )


def _fixed_split(place: str, params: ScenesParams) -> str:
    """Return the split that the parameters fix for a place or for the scene of a block, or ""."""
    of_scene = params.fixed_splits.get(raster_name(place), "")
    return params.fixed_splits.get(place, of_scene)


def _stated_place(scene: str, groups: Mapping[str, PlaceAndSplit]) -> PlaceAndSplit:
    """Return place and fixed split of a scene; a block's place is its scene's with its number."""
    if scene in groups:
        return groups[scene]
    whole, separator, number = scene.partition(BLOCK_SEPARATOR)
    stated = groups.get(whole, PlaceAndSplit(whole, ""))
    return PlaceAndSplit(f"{stated.place}{separator}{number}", stated.split)


def read_groups(folder: Path, params: ScenesParams) -> GroupsTable | None:
    """Return the rows of the CSV that `scenes.groups` names; None for null.

    Raises:
        MissingFileError: the file is missing.
        FormatError: it lacks the column, or holds an unknown split.
    """
    if params.groups is None:
        return None
    path = folder / params.groups
    if not path.is_file():
        raise MissingFileError(
            f"`scenes.groups`: {path} does not exist. Name the CSV of the places, or set null."
        )
    table = read_text_table(path).frame
    table = table.apply(lambda column: column.str.strip())
    column = params.group_column or DEFAULT_GROUP_COLUMN
    if column not in table.columns:
        raise FormatError(
            f"{path}: has no column {column!r}; its columns are {', '.join(table.columns)}. Set "
            "`scenes.group_column`."
        )
    if "split" not in table.columns:
        table = table.assign(split="")
    wrong = sorted(set(table["split"]) - {"", *SPLITS})
    if wrong:
        raise FormatError(f"{path}: {wrong[0]!r} is no split. Write train, val, test, or nothing.")
    columns = list(map(str, table.columns))
    keys = [find_column(columns, [name]) for name in SCENE_KEYS]
    known_keys = [key for key in keys if key is not None] or columns[:1]
    return GroupsTable(path, table, known_keys, column)


def match_groups(table: GroupsTable | None, names: RasterNames, scenes: list[str]) -> MatchedGroups:
    """Return what a table of groups states of each scene.

    Args:
        table: None for no table.
        names: of the scenes.
        scenes: names of the scenes, before blocks are cut.

    Raises:
        DataError: no row names a raster, a name fits several, a raster has two places or two
            splits, or a name differs from a raster's in case alone.
    """
    if table is None:
        return MatchedGroups({}, [])
    scene_of_row = _scenes_of_rows(table, names)
    groups: dict[str, PlaceAndSplit] = {}
    line_of: dict[str, int] = {}
    for line, scene in scene_of_row.items():
        if not scene:
            continue
        row = table.frame.loc[line]
        place = str(row[table.place_column]) or scene
        stated = PlaceAndSplit(place, str(row["split"]))
        if groups.setdefault(scene, stated) != stated:
            raise DataError(
                f"{table.path}, line {line}: the raster {scene} has the place {place!r}"
                f"{_split_in_words(stated)}, but line {line_of[scene]} gives it "
                f"{groups[scene].place!r}{_split_in_words(groups[scene])}. Leave one line for it."
            )
        line_of.setdefault(scene, line)
    return MatchedGroups(groups, _notes_on_groups(table, scene_of_row, scenes))


def _split_in_words(stated: PlaceAndSplit) -> str:
    return f" and the split {stated.split}" if stated.split else ""


def _scenes_of_rows(table: GroupsTable, names: RasterNames) -> dict[int, str]:
    """Return line -> scene of each row, "" for none, by the column that names most rasters.

    Raises:
        DataError: no row names a raster, a name fits several, or differs in case alone.
    """
    best: dict[int, str] = {}
    for key in table.keys:
        scene_of_row: dict[int, str] = {}
        for line, name in zip(table.frame.index.tolist(), table.frame[key], strict=True):
            scene_of_row[line] = _scene_of_row(table.path, line, name, names=names)
        if not best or sum(map(bool, scene_of_row.values())) > sum(map(bool, best.values())):
            best = scene_of_row
            table.frame["name"] = table.frame[key]
    if best and not any(best.values()):
        raise DataError(
            f"{table.path}: none of its {len(best)} rows names a raster of this folder (the first "
            f"is {table.frame['name'].iloc[0]!r}). Write the rasters' names, with their folders "
            "where names occur twice."
        )
    return best


def _scene_of_row(path: Path, line: int, name: str, *, names: RasterNames) -> str:
    """Return the scene that a row names, with the number of its block; "" for none.

    Raises:
        DataError: the name fits several rasters, or differs from one's in case or blanks alone.
    """
    whole, separator, block = name.partition(BLOCK_SEPARATOR)
    match = names.match(name)
    if not match.scenes and separator:
        match = names.match(whole)
    else:
        separator = block = ""
    if len(match.scenes) > 1:
        raise DataError(
            f"{path}, line {line}: {name!r} may be {' or '.join(match.scenes)}. Write the "
            "folder of the raster too."
        )
    if match.scene:
        return match.scene + separator + block
    similar = names.similar(name)
    if similar:
        raise DataError(
            f"{path}, line {line}: {name!r} names no raster, but {similar} is there. Write it as "
            "the file is called, so that its place and split count."
        )
    return ""


def _notes_on_groups(
    table: GroupsTable, scene_of_row: Mapping[int, str], scenes: list[str]
) -> list[str]:
    """Return a sentence on rows that name no raster, and on rasters that no row names."""
    notes = []
    unknown = [
        str(table.frame.loc[line, "name"]) for line, scene in scene_of_row.items() if not scene
    ]
    if unknown:
        notes.append(
            f"{table.path.name}: {len(unknown)} of {len(scene_of_row)} rows name no raster "
            f"({shown_names(unknown)})"
        )
    named = {raster_name(scene) for scene in scene_of_row.values()}
    without_row = [scene for scene in scenes if scene not in named]
    if without_row:
        notes.append(
            f"{table.path.name}: {len(without_row)} rasters are not named in it, each is a place "
            f"of its own ({shown_names(without_row)})"
        )
    return notes
