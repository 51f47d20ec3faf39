"""Which label files belong to a folder of rasters, and which reader takes them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.imagery.vector_files import SUFFIXES as VECTOR_SUFFIXES
from windhover.labels import csv_labels, image_datasets, vector_layers
from windhover.labels.table import RawLabels

AUTO = "auto"
MERGED_WORDS = ("label", "annotation", "coco", "truth")


def _read_json(path: Path, class_from: str | None = None) -> RawLabels:
    return (
        vector_layers.read_vector(path, class_from)
        if image_datasets.is_geojson(path)
        else image_datasets.read_coco(path, class_from)
    )


READERS: dict[str, Callable[[Path, str | None], RawLabels]] = {
    **dict.fromkeys(VECTOR_SUFFIXES, vector_layers.read_vector),
    **dict.fromkeys(csv_labels.SUFFIXES, csv_labels.read_csv),
    ".json": _read_json,
    ".xml": image_datasets.read_voc,
    ".txt": image_datasets.read_text,
}
ONE_IMAGE = (".xml", ".txt")  # such a file speaks of one image


def read_labels(path: str | Path, class_from: str | None = None) -> RawLabels:
    """Read one label file by its suffix.

    Raises:
        MissingFileError: no such file.
        FormatError: no reader takes this suffix, or the file is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such label file. Mend `scenes.labels`.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(
            f"{path}: labels of the kind {path.suffix or 'without suffix'} are not read, only "
            f"{', '.join(sorted(READERS))}. Convert it to one of them."
        )
    return reader(path, class_from)


def find_labels(
    folder: Path, labels: str, stems: Collection[str], besides: Collection[Path] = ()
) -> dict[Path, str]:
    """Return the label files of a folder of rasters, each with the scene it speaks of ("" where it
    says so itself).

    Args:
        folder: the raw folder.
        labels: `auto`, or a file or glob pattern relative to the folder, or an absolute path,
            or a folder.
        stems: names of the scenes.
        besides: files that are known to be something else.

    Raises:
        MissingFileError: the named file is not there, or the pattern matches none.
        DataError: `auto` finds two kinds of labels.
    """
    if labels == AUTO:
        return _find_by_name(folder, set(stems), {path.absolute() for path in besides})
    path = Path(labels)
    if path.is_absolute() and path.is_file() and path.suffix.lower() not in READERS:
        return {path: ""}  # `read_labels` says why not
    found = [path] if path.is_absolute() else sorted(folder.glob(labels))
    found = [
        one for part in found for one in (sorted(part.rglob("*")) if part.is_dir() else [part])
    ]
    found = [
        one
        for one in found
        if one.is_file() and one.suffix.lower() in READERS and one.name != "classes.txt"
    ]
    if not found:
        raise MissingFileError(
            f"`scenes.labels`: {labels} matches no label file in {folder}. Name a file or a pattern "
            "such as labels/*.gpkg."
        )
    return {one: one.stem if one.stem in stems else "" for one in found}


def _find_by_name(folder: Path, stems: set[str], besides: set[Path]) -> dict[Path, str]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in READERS and path.is_file()
    ]
    files = [
        path for path in files if path.absolute() not in besides and not path.name.startswith(".")
    ]
    one_a_scene = {path: path.stem for path in files if path.stem in stems}
    if one_a_scene:
        _refuse_two_for_one(one_a_scene)
        return one_a_scene
    merged = [path for path in files if any(word in path.stem.lower() for word in MERGED_WORDS)]
    if not merged:
        merged = [path for path in files if path.suffix.lower() not in ONE_IMAGE]
    if len(merged) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in merged)
        raise DataError(
            f"{folder}: several files could hold the labels ({names}). Name the right one in `scenes.labels`."
        )
    return dict.fromkeys(merged, "")


def _refuse_two_for_one(files: dict[Path, str]) -> None:
    seen: dict[str, Path] = {}
    for path, stem in files.items():
        if stem in seen:
            raise DataError(
                f"{path} and {seen[stem]} both hold labels of {stem}. Name the right ones in `scenes.labels`, "
                "as labels/*.gpkg."
            )
        seen[stem] = path
