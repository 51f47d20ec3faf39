"""Which class rasters a folder holds, and which scene each of them is of.

A class raster (a mask) has one band of class numbers, on the grid of its scene. It
is no scene itself.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from windhover.dataset.discover import matches_pattern, raster_paths
from windhover.errors import DataError, MissingFileError
from windhover.labels.raster_names import RasterNames, cut_suffix

MASK_FOLDERS = ("masks", "mask", "class_maps", "class_rasters")
# what the name of a class raster has after that of its scene
MASK_MARKS = ("mask", "masks", "fixedmask", "cloudmask", "labels", "label", "truth", "classes")
MARK_SEPARATORS = ("_", "-", ".")
MIRRORED_FOLDER = "labels"  # which the resolver of names takes for one of labels


def find_mask_files(raw: Path, pattern: str | None) -> list[Path]:
    """Return the class rasters of a folder, sorted.

    Args:
        raw: the folder.
        pattern: of their paths inside it, or the absolute path of a class raster or of a folder of
            them; None for rasters in a folder called masks, and for those with the mark of a mask
            at the end of their name, such as NAME_mask.tif.

    Raises:
        MissingFileError: a pattern matches none.
    """
    if pattern is not None and Path(pattern).is_absolute() and Path(pattern).exists():
        place = Path(pattern)
        return raster_paths(place) if place.is_dir() else [place]
    rasters = raster_paths(raw)
    if pattern is None:
        return [path for path in rasters if _is_named_as_mask(path, raw)]
    found = [path for path in rasters if matches_pattern(path, raw, pattern)]
    if not found:
        raise MissingFileError(
            f"`scenes.masks`: {pattern} matches no raster in {raw}. Name a pattern such as "
            "masks/*.tif, or set null."
        )
    return found


def _is_named_as_mask(path: Path, raw: Path) -> bool:
    """Return whether a raster is in a folder of masks, or has the mark of one."""
    folders = path.relative_to(raw).parent.parts
    in_folder = any(name.lower() in MASK_FOLDERS for name in folders)
    stem = cut_suffix(path.name)
    return in_folder or _without_mark(stem, MASK_MARKS) != stem


def _without_mark(stem: str, marks: Sequence[str]) -> str:
    """Return a name without the mark at its end, the name itself where it has none."""
    for mark in marks:
        for separator in MARK_SEPARATORS:
            ending = f"{separator}{mark}"
            if stem.lower().endswith(ending) and len(stem) > len(ending):
                return stem[: -len(ending)]
    return stem


def exclusion_patterns(paths: Sequence[Path], raw: Path) -> list[str]:
    """Return patterns that match some rasters of a folder and nothing else."""
    own = [path for path in paths if path.is_relative_to(raw)]
    return ["/" + glob.escape(path.relative_to(raw).as_posix()) for path in own]


def match_masks(
    paths: Sequence[Path], names: RasterNames, pattern: str | None
) -> tuple[dict[str, Path], list[str]]:
    """Return scene -> its class raster, and a sentence on those that are of no scene.

    Args:
        paths: the class rasters.
        names: of the scenes.
        pattern: by which they were found; what follows its last `*` is no part of a scene's name.

    Raises:
        DataError: none of them is of a scene, or two are of the same.
    """
    masks: dict[str, Path] = {}
    unmatched = []
    for path in paths:
        scene = _scene_of_mask(path, names, pattern)
        if not scene:
            unmatched.append(path)
        elif scene in masks:
            raise DataError(
                f"{path} and {masks[scene]} are both class rasters of {scene}. Name the right ones "
                "in `scenes.masks`, such as masks/*.tif."
            )
        else:
            masks[scene] = path
    if paths and not masks:
        raise DataError(
            f"{paths[0]}: is of no raster in {names.folder}, and neither is any other class "
            "raster. Give each the name of its raster, such as masks/NAME.tif or NAME_mask.tif."
        )
    if not unmatched:
        return masks, []
    count = len(unmatched)
    note = f"{count} class rasters are of no raster ({unmatched[0]}): they are left out"
    return masks, [note]


def _scene_of_mask(path: Path, names: RasterNames, pattern: str | None) -> str:
    """Return the scene of a class raster; "" for none or several."""
    stem = cut_suffix(path.name)
    marks = list(MASK_MARKS)
    if pattern is not None:
        ending = cut_suffix(Path(pattern).name).rpartition("*")[2]
        if ending and stem.endswith(ending):
            marks.insert(0, ending.lstrip("".join(MARK_SEPARATORS)).lower())
    folders = []
    for name in path.parent.parts:
        is_mask_folder = name.lower() in MASK_FOLDERS
        folders.append(MIRRORED_FOLDER if is_mask_folder else name)
    folder = Path(*folders)
    root = None
    if not path.is_relative_to(names.folder):
        root = folder
    for name in dict.fromkeys((_without_mark(stem, marks), stem)):
        match = names.match_label_file(folder / f"{name}.png", root)
        if match.scene:
            return match.scene
    if root is not None:
        return ""
    return names.match(path.relative_to(names.folder).as_posix()).scene
