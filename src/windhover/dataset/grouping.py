"""The place of each scene and the split of each place.

A place is a location group: scenes whose footprints touch or overlap are one, and all scenes of a
place share a split. Blocks of one scene are places of their own, a guard strip apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import shapely

from windhover.dataset.discover import RASTER_SUFFIXES
from windhover.dataset.splits import SPLITS, assign_folds, assign_splits, join_places
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.params.scenes import ScenesParams

BLOCK_SEPARATOR = "~"  # between the name of a scene and the number of its block
# columns that name a scene in a table of groups, in order of preference
SCENE_KEYS = ("scene", "image_id", "image", "filename", "file")
DEFAULT_GROUP_COLUMN = "place"


class PlaceAndSplit(NamedTuple):
    """What a table of groups states of a scene."""

    place: str
    split: str  # "" where it is not fixed


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
        groups: by scene, of `read_groups`.
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
        split_of = assign_folds(n_objects, params.folds, params.fold, seed=params.seed)
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
    # from_wkt gives None for None
    footprints = [shapely.from_wkt(wkt) for wkt in scenes["footprint_wkt_4326"]]
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
    known = set(places) | {_without_block(place) for place in places}
    unknown = sorted(set(params.fixed_splits) - known)
    if unknown:
        raise DataError(
            f"`scenes.fixed_splits` names the place {unknown[0]!r}, which no raster has. Correct "
            "the name."
        )


def _fixed_split(place: str, params: ScenesParams) -> str:
    """Return the split that the parameters fix for a place or for the scene of a block, or ""."""
    of_scene = params.fixed_splits.get(_without_block(place), "")
    return params.fixed_splits.get(place, of_scene)


def _without_block(name: str) -> str:
    return name.split(BLOCK_SEPARATOR)[0]


def _stated_place(scene: str, groups: Mapping[str, PlaceAndSplit]) -> PlaceAndSplit:
    """Return place and fixed split of a scene; a block's place is its scene's with its number."""
    if scene in groups:
        return groups[scene]
    whole, separator, number = scene.partition(BLOCK_SEPARATOR)
    stated = groups.get(whole, PlaceAndSplit(whole, ""))
    return PlaceAndSplit(f"{stated.place}{separator}{number}", stated.split)


def read_groups(folder: Path, params: ScenesParams) -> dict[str, PlaceAndSplit]:
    """Return place and fixed split by scene, of the CSV that `scenes.groups` names; empty for null.

    Raises:
        MissingFileError: the file is missing.
        FormatError: it lacks the column, or holds an unknown split.
    """
    if params.groups is None:
        return {}
    path = folder / params.groups
    if not path.is_file():
        raise MissingFileError(
            f"`scenes.groups`: {path} does not exist. Name the CSV of the places, or set null."
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: cannot be read as CSV ({reason}). Correct the file.") from None
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
    key = next((name for name in SCENE_KEYS if name in table.columns), table.columns[0])
    groups = {}
    for scene, place, split in zip(table[key], table[column], table["split"], strict=True):
        groups[_scene_name(str(scene))] = PlaceAndSplit(str(place), str(split))
    return groups


def _scene_name(name: str) -> str:
    """Return a scene's name from a name with or without folder and suffix."""
    path = Path(name)
    return path.stem if path.suffix.lower() in RASTER_SUFFIXES else path.name
