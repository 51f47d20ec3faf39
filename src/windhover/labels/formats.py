"""Which label files belong to a folder of rasters, and which reader reads them.

To add a format: write a module with `read_x(path, class_column) -> RawLabels`, and enter its suffix
in `READERS`. Two formats of one suffix are distinguished by a function such as `read_json_labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.imagery.vector_files import SUFFIXES as VECTOR_SUFFIXES
from windhover.labels.coco import read_coco
from windhover.labels.csv_labels import SUFFIXES as CSV_SUFFIXES
from windhover.labels.csv_labels import read_csv
from windhover.labels.dota import is_dota, read_dota
from windhover.labels.table import RawLabels
from windhover.labels.vector_layers import is_geojson, read_vector
from windhover.labels.voc import read_voc
from windhover.labels.yolo import CLASS_LIST, read_yolo

AUTO = "auto"
LABEL_FILE_WORDS = ("label", "annotation", "coco", "truth")


def read_json_labels(path: Path, class_column: str | None = None) -> RawLabels:
    """Read GeoJSON or COCO, which share a suffix."""
    if is_geojson(path):
        return read_vector(path, class_column)
    return read_coco(path, class_column)


def read_text_labels(path: Path, class_column: str | None = None) -> RawLabels:
    """Read DOTA or YOLO, which share a suffix."""
    if is_dota(path):
        return read_dota(path, class_column)
    return read_yolo(path, class_column)


# suffix -> reader of a path and the column of the class (None to search for one)
READERS: dict[str, Callable[[Path, str | None], RawLabels]] = {
    **dict.fromkeys(VECTOR_SUFFIXES, read_vector),
    **dict.fromkeys(CSV_SUFFIXES, read_csv),
    ".json": read_json_labels,
    ".xml": read_voc,
    ".txt": read_text_labels,
}
ONE_IMAGE_SUFFIXES = (".xml", ".txt")  # such a file holds the labels of one image


def read_labels(path: str | Path, class_column: str | None = None) -> RawLabels:
    """Read one label file by its suffix.

    Args:
        path: the file.
        class_column: column of the class in tables, None to search for one.

    Raises:
        MissingFileError: no such file.
        FormatError: no reader for this suffix, or the file is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such label file. Correct `scenes.labels`.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(
            f"{path}: labels of the kind {path.suffix or 'without suffix'} are not read, only "
            f"{', '.join(sorted(READERS))}. Convert it to one of them."
        )
    return reader(path, class_column)


def find_labels(
    folder: Path, labels: str, scenes: Collection[str], *, exclude: Collection[Path] = ()
) -> dict[Path, str]:
    """Return the label files of a folder of rasters, each with its scene.

    Args:
        folder: the raw folder.
        labels: `auto`, or a file or glob pattern relative to the folder, or an absolute path,
            or a folder.
        scenes: names of the scenes.
        exclude: files that are known to be something else.

    Returns:
        file -> scene of the same name, or "" where the file itself names its scenes.

    Raises:
        MissingFileError: the named file is not there, or the pattern matches none.
        DataError: `auto` finds two kinds of labels.
    """
    if labels == AUTO:
        excluded = {path.absolute() for path in exclude}
        return _find_by_name(folder, set(scenes), excluded)
    path = Path(labels)
    if path.is_absolute() and path.is_file() and not _has_reader(path):
        return {path: ""}  # `read_labels` raises the error
    found = _matching_files(folder, labels)
    if not found:
        raise MissingFileError(
            f"`scenes.labels`: {labels} matches no label file in {folder}. "
            "Name a file or a pattern such as labels/*.gpkg."
        )
    return {file: file.stem if file.stem in scenes else "" for file in found}


def _has_reader(path: Path) -> bool:
    return path.suffix.lower() in READERS


def _matching_files(folder: Path, labels: str) -> list[Path]:
    """Return the label files that a path or a pattern names, with those in folders it names."""
    path = Path(labels)
    matches = [path] if path.is_absolute() else sorted(folder.glob(labels))
    files = []
    for match in matches:
        if match.is_dir():
            files.extend(sorted(match.rglob("*")))
        else:
            files.append(match)
    return [file for file in files if _has_labels(file)]


def _has_labels(file: Path) -> bool:
    return file.is_file() and _has_reader(file) and file.name != CLASS_LIST


def _find_by_name(folder: Path, scenes: set[str], excluded: set[Path]) -> dict[Path, str]:
    """Return the files named as the scenes; without any, the one file for all of them."""
    files = []
    for path in sorted(folder.rglob("*")):
        is_label_file = _has_reader(path) and path.is_file() and not path.name.startswith(".")
        if is_label_file and path.absolute() not in excluded:
            files.append(path)
    scene_files = {path: path.stem for path in files if path.stem in scenes}
    if scene_files:
        _check_one_file_per_scene(scene_files)
        return scene_files
    merged = [path for path in files if _is_named_as_labels(path)]
    if not merged:
        merged = [path for path in files if path.suffix.lower() not in ONE_IMAGE_SUFFIXES]
    if len(merged) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in merged)
        raise DataError(
            f"{folder}: several files could hold the labels ({names}). "
            "Name the right one in `scenes.labels`."
        )
    return dict.fromkeys(merged, "")


def _is_named_as_labels(path: Path) -> bool:
    return any(word in path.stem.lower() for word in LABEL_FILE_WORDS)


def _check_one_file_per_scene(files: dict[Path, str]) -> None:
    seen: dict[str, Path] = {}
    for path, scene in files.items():
        if scene in seen:
            raise DataError(
                f"{path} and {seen[scene]} both hold labels of {scene}. "
                "Name the right ones in `scenes.labels`, as labels/*.gpkg."
            )
        seen[scene] = path
