"""Which raster a name in a label file or table means, and which raster a label file is of.

The one resolver: exact path first, then mirrored folders (`images` and `labels`), then the file's
name alone, as long as no other raster has it. Only suffixes of pictures are cut: `tile_1.5` is no
`tile_1`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

RASTER_SUFFIXES = (
    ".tif",
    ".tiff",
    ".vrt",
    ".jp2",
    ".j2k",
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".img",
    ".pix",
    ".bil",
    ".ntf",
    ".nitf",
    ".ecw",
    ".sid",
    ".hdf",
    ".h5",
    ".nc",
)
OTHER_PICTURE_SUFFIXES = (".gif", ".jfif", ".ppm", ".pgm", ".tga", ".npy", ".jpe", ".cog")
NAME_SEPARATOR = "--"  # between folders and file in the name of a scene
# folders of pictures and of labels, which stand for one another
PICTURE_FOLDERS = frozenset(
    ("images", "image", "imgs", "img", "jpegimages", "pictures", "rasters", "scenes", "tiles")
)
LABEL_FOLDERS = frozenset(
    ("labels", "label", "labeltxt", "annotations", "annotation", "annfiles", "xml", "truth")
)
MIRRORED_FOLDERS = PICTURE_FOLDERS | LABEL_FOLDERS
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
UNPLACED = 5  # level of a match by the file's name, of folders that only one of the two has
WEAK = 6  # level of a match by the file's name alone, its folders being others


class RasterEntry(NamedTuple):
    """One name that a scene has."""

    scene: str
    parts: tuple[str, ...]  # of the path from the raw folder
    folder: tuple[str, ...]  # absolute


class NameMatch(NamedTuple):
    """The scenes that a name may mean.

    Attributes:
        scenes: none, one, or several that match alike.
        level: how sure it is, 0 for the exact path to `WEAK`.
    """

    scenes: tuple[str, ...]
    level: int

    @property
    def scene(self) -> str:
        """The one scene, "" where there is none or more."""
        return self.scenes[0] if len(self.scenes) == 1 else ""


NO_MATCH = NameMatch((), WEAK + 1)


@dataclass
class ResolvedNames:
    """Scenes of many names of one file.

    Attributes:
        scene_of: name as written -> scene, "" for none.
        unknown: names that match no raster.
        ambiguous: name -> the scenes that it may mean, or that another name means too.
        weak: name -> the only scene with such a file name, in another folder than is written.
    """

    scene_of: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weak: dict[str, str] = field(default_factory=dict)


class RasterNames:
    """The names of all scenes of a folder."""

    def __init__(self, folder: Path, scene_of_path: Mapping[Path, str]) -> None:
        """Index the names.

        Args:
            folder: the raw folder.
            scene_of_path: raster (or a folder of stacked bands, or another picture of the same
                ground) -> scene; paths begin with the folder.
        """
        self.folder = folder
        self._by_stem: dict[str, list[RasterEntry]] = {}
        self._by_scene: dict[str, list[str]] = {}
        for path, scene in scene_of_path.items():
            parts = split_name(path.relative_to(folder).as_posix()) or split_name(scene)
            entry = RasterEntry(scene, parts, _absolute_folder(path))
            self._by_stem.setdefault(cut_suffix(parts[-1]), []).append(entry)
        for scene in dict.fromkeys(scene_of_path.values()):
            self._by_scene.setdefault(unicodedata.normalize("NFC", scene), []).append(scene)

    def match(self, name: str) -> NameMatch:
        """Return the scenes that a name, with or without folders and suffix, may mean."""
        parts = split_name(name)
        if not parts:
            return NO_MATCH
        stem_parts = (*parts[:-1], cut_suffix(parts[-1]))
        entries = self._entries_of(parts[-1])
        exact = [entry for entry in entries if entry.parts == parts]
        if exact:
            return _match_of(exact, 0)
        exact = [entry for entry in entries if _stem_parts(entry) == parts]
        if exact:
            return _match_of(exact, 1)
        for form in (parts, stem_parts):
            scenes = self._by_scene.get(NAME_SEPARATOR.join(form), [])
            if scenes and (len(form) > 1 or NAME_SEPARATOR in form[0] or not entries):
                return NameMatch(tuple(scenes), 1)
        exact = [entry for entry in entries if _stem_parts(entry) == stem_parts]
        if exact:
            return _match_of(exact, 2)
        return _match_by_folders(entries, parts[:-1])

    def match_label_file(self, path: Path, root: Path | None) -> NameMatch:
        """Return the scenes that a label file of one raster may be of, by its folder and name.

        Args:
            path: of the file; its name is the raster's, with or without the raster's suffix.
            root: folder of the label files, None for the raw folder.
        """
        stem = unicodedata.normalize("NFC", path.stem)
        entries = self._entries_of(stem)
        folder = _absolute_folder(path)
        beside = [entry for entry in entries if entry.folder == folder]
        if beside:
            return _match_of(beside, 0)
        mirrored = [entry for entry in entries if _mirror(entry.folder) == _mirror(folder)]
        if mirrored:
            return _match_of(mirrored, 2)
        if NAME_SEPARATOR in stem and stem in self._by_scene:
            return NameMatch(tuple(self._by_scene[stem]), 1)
        return _match_by_folders(entries, _folders_below(folder, root or self.folder))

    def resolve(self, names: Iterable[str], claimed: Iterable[str] = ()) -> ResolvedNames:
        """Return the scene of each name of one file; of two names for one scene the surer counts.

        Args:
            names: as written.
            claimed: scenes with a label file of their own, which a weak match cannot mean.
        """
        matches = {name: self.match(name) for name in names}
        resolved = ResolvedNames()
        rivals: dict[str, list[str]] = {}
        for name, match in matches.items():
            resolved.scene_of[name] = match.scene
            if match.scene:
                rivals.setdefault(match.scene, []).append(name)
            elif match.scenes:
                resolved.ambiguous[name] = match.scenes
            else:
                resolved.unknown.append(name)
        taken = set(claimed)
        for scene, rival_names in rivals.items():
            for name in _names_of_others(rival_names, matches, is_claimed=scene in taken):
                resolved.scene_of[name] = ""
                resolved.ambiguous[name] = (scene,)
            for name in rival_names:
                if resolved.scene_of[name] and matches[name].level == WEAK:
                    resolved.weak[name] = scene
        return resolved

    def similar(self, name: str) -> str:
        """Return a raster's path that differs from a name in case or blanks alone, "" for none."""
        wanted = _folded(cut_suffix(split_name(name)[-1])) if split_name(name) else ""
        for stem, entries in self._by_stem.items():
            if wanted and _folded(stem) == wanted:
                return "/".join(entries[0].parts)
        return ""

    def _entries_of(self, file_name: str) -> list[RasterEntry]:
        """Return the rasters with a file name; without those the ones with its stem."""
        same_stem = self._by_stem.get(cut_suffix(file_name), [])
        same_name = [entry for entry in same_stem if entry.parts[-1] == file_name]
        return same_name or self._by_stem.get(file_name, []) or same_stem


def split_name(name: str) -> tuple[str, ...]:
    """Return the folders and the file of a name, in one Unicode form, without empty parts."""
    text = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return tuple(part for part in text.split("/") if part not in ("", "."))


def cut_suffix(file_name: str) -> str:
    """Return a file's name without the suffix of a picture; other dots stay."""
    stem, suffix = os.path.splitext(file_name)
    is_picture = suffix.lower() in (*RASTER_SUFFIXES, *OTHER_PICTURE_SUFFIXES)
    return stem if is_picture and stem else file_name


def _absolute_folder(path: Path) -> tuple[str, ...]:
    return split_name(Path(os.path.abspath(path)).parent.as_posix())


def _stem_parts(entry: RasterEntry) -> tuple[str, ...]:
    return (*entry.parts[:-1], cut_suffix(entry.parts[-1]))


def _folded(text: str) -> str:
    return "".join(text.casefold().split())


def _mirror(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return folders without those that stand for pictures or labels."""
    return tuple(name for name in folders if name.lower() not in MIRRORED_FOLDERS)


def _folders_below(folder: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """Return the folders of a path below a root; all of them where it is not below."""
    root_parts = split_name(Path(os.path.abspath(root)).as_posix())
    if folder[: len(root_parts)] == root_parts:
        return folder[len(root_parts) :]
    return folder


def _match_of(entries: list[RasterEntry], level: int) -> NameMatch:
    return NameMatch(tuple(dict.fromkeys(entry.scene for entry in entries)), level)


def _match_by_folders(entries: list[RasterEntry], folders: tuple[str, ...]) -> NameMatch:
    """Return the match among rasters of one file name, by their last folders.

    Several rasters differ by folders alone; a single one need not have them.
    """
    entries = [entry for entry in entries if _splits_agree(entry.parts[:-1], folders)]
    if not folders:
        return _match_of(entries, 4)
    wanted = _mirror(folders)
    same = [entry for entry in entries if _mirror(entry.parts[:-1]) == wanted]
    if same:
        return _match_of(same, 3)
    common = {entry: _common_tail(_mirror(entry.folder), wanted) for entry in entries}
    longest = max(common.values(), default=0)
    best = [entry for entry in entries if common[entry] == longest]
    lengths = {len(wanted), *(len(_mirror(entry.parts[:-1])) for entry in best)}
    if longest:
        return _match_of(best, 4 if longest in lengths else WEAK)
    return _match_of(best, UNPLACED if 0 in lengths else WEAK)


def _splits_agree(folders: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Return whether two paths do not name two splits, such as train and valid."""
    first = {SPLIT_FOLDERS[name.lower()] for name in folders if name.lower() in SPLIT_FOLDERS}
    second = {SPLIT_FOLDERS[name.lower()] for name in others if name.lower() in SPLIT_FOLDERS}
    return not first or not second or bool(first & second)


def _common_tail(folders: tuple[str, ...], others: tuple[str, ...]) -> int:
    """Return how many last folders two paths have in common."""
    count = 0
    for one, other in zip(reversed(folders), reversed(others), strict=False):
        if one != other:
            break
        count += 1
    return count


def _names_of_others(
    names: list[str], matches: Mapping[str, NameMatch], *, is_claimed: bool
) -> list[str]:
    """Return which of the names for one scene must mean other pictures.

    Names whose folders do not lead to the raster, where another name or file does, or where they
    have several folders.
    """
    loose = [name for name in names if matches[name].level >= UNPLACED]
    folders = {_mirror(split_name(name)[:-1]) for name in loose}
    if is_claimed or len(loose) < len(names) or len(folders) > 1:
        return loose
    return []
