"""The place of each scene and the split of each place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import shapely

from windhover.dataset.discover import RASTER_SUFFIXES
from windhover.dataset.splits import SPLITS, assign_folds, assign_splits, join_places
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.params.scenes import ScenesParams

BLOCK = "~"  # between the name of a scene and the number of its block
SCENE_COLUMNS = ("scene", "image_id", "image", "filename", "file")


def divide(
    scenes: pd.DataFrame,
    labels: pd.DataFrame,
    groups: Mapping[str, tuple[str, str]],
    params: ScenesParams,
    fixed_scenes: Mapping[str, str],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Add the place and the split of each scene.

    Scenes whose footprints touch or overlap are one place; blocks of one scene are places of their
    own, a guard apart.

    Args:
        scenes: of the catalog, without place and split.
        labels: of the catalog.
        groups: scene -> (place, fixed split or "").
        params: of the stage.
        fixed_scenes: scene -> split, decided by areas.

    Returns:
        The scenes with place and split, and what the report says of them.

    Raises:
        DataError: two scenes of one place are fixed to different splits, an unknown place is
            fixed, or too few places.
    """
    stated = [_stated(name, groups) for name in scenes["scene"]]
    unknown = sorted(
        set(params.fixed_splits)
        - {place for place, _ in stated}
        - {place.split(BLOCK)[0] for place, _ in stated}
    )
    if unknown:
        raise DataError(
            f"`scenes.fixed_splits` names the place {unknown[0]!r}, which no raster has. Mend the name."
        )
    footprints = [
        None if wkt is None else shapely.from_wkt(wkt) for wkt in scenes["footprint_wkt_4326"]
    ]
    places, joined = join_places([place for place, _ in stated], footprints)
    fixed: dict[str, str] = {}
    for scene, place, (own, split) in zip(scenes["scene"], places, stated, strict=True):
        split = (
            split
            or fixed_scenes.get(scene, "")
            or params.fixed_splits.get(own, params.fixed_splits.get(own.split(BLOCK)[0], ""))
        )
        if split and fixed.setdefault(place, split) != split:
            raise DataError(
                f"Scene {scene} is fixed to {split}, but another scene of the same place {place} is fixed to "
                f"{fixed[place]}; scenes that touch or overlap are one place. Give them one split."
            )
    objects = labels[labels["role"] == "object"]["scene"].value_counts()
    counts: dict[str, int] = dict.fromkeys(places, 0)
    for scene, place in zip(scenes["scene"], places, strict=True):
        counts[place] += int(objects.get(scene, 0))
    if params.folds is None:
        splits = assign_splits(counts, params.split_fractions, params.seed, fixed)
    else:
        splits = assign_folds(counts, params.folds, params.fold, params.seed)
    report = {
        "places": len(counts),
        "places_joined_because_footprints_touch": [list(pair) for pair in joined],
    }
    return scenes.assign(place=places, split=[splits[place] for place in places]), report


def _stated(scene: str, groups: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Return place and fixed split of a scene; a block's place is that of its scene with the
    block's number.
    """
    whole, block, number = scene.partition(BLOCK)
    place, split = groups.get(scene) or groups.get(whole) or (whole, "")
    return (place if scene in groups or not block else f"{place}{block}{number}"), split


def read_groups(folder: Path, params: ScenesParams) -> dict[str, tuple[str, str]]:
    """Return scene -> (place, fixed split or "") of the CSV that `groups` names, nothing where it
    names none.

    Raises:
        MissingFileError: it is not there.
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
        raise FormatError(
            f"{path}: cannot be read as CSV ({' '.join(str(error).split())}). Mend it."
        ) from None
    column = params.group_column or "place"
    if column not in table.columns:
        raise FormatError(
            f"{path}: has no column {column!r}; its columns are {', '.join(table.columns)}. Set `scenes.group_column`."
        )
    key = next((name for name in SCENE_COLUMNS if name in table.columns), table.columns[0])
    splits = table["split"] if "split" in table.columns else pd.Series([""] * len(table))
    wrong = sorted(set(splits) - {"", *SPLITS})
    if wrong:
        raise FormatError(f"{path}: {wrong[0]!r} is no split. Write train, val, test, or nothing.")
    rows = zip(table[key], table[column], splits, strict=True)
    return {_name(str(scene)): (str(place), str(split)) for scene, place, split in rows}


def _name(scene: str) -> str:
    """Return a scene's name from a name with or without folder and suffix."""
    path = Path(scene)
    return path.stem if path.suffix.lower() in RASTER_SUFFIXES else path.name
