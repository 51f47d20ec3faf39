"""Which label files belong to a folder of rasters, and which reader reads them.

To add a format: write a module with `read_x(path, class_column) -> RawLabels`, and enter its suffix
in `READERS`. Two formats of one suffix are distinguished by a function such as `read_json_labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.imagery.vector_files import SUFFIXES as VECTOR_SUFFIXES
from windhover.labels.coco import read_coco
from windhover.labels.csv_labels import SUFFIXES as CSV_SUFFIXES
from windhover.labels.csv_labels import read_csv
from windhover.labels.dota import is_dota, read_dota
from windhover.labels.label_studio import is_label_studio, read_label_studio
from windhover.labels.raster_names import UNPLACED, WEAK, RasterNames
from windhover.labels.table import RawLabels
from windhover.labels.text_files import read_json
from windhover.labels.vector_layers import is_geojson, read_vector
from windhover.labels.voc import read_voc
from windhover.labels.walk_folder import walk_folder
from windhover.labels.yolo import CLASS_LIST, read_yolo

AUTO = "auto"
LABEL_FILE_WORDS = ("label", "annotation", "coco", "truth")


def read_json_labels(path: Path, class_column: str | None = None) -> RawLabels:
    """Read GeoJSON, Label Studio or COCO, which share a suffix."""
    if is_geojson(path):
        return read_vector(path, class_column)
    if is_label_studio(read_json(path)):
        return read_label_studio(path, class_column)
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
SIDECAR_SUFFIX = ".aux.xml"
UNNAMED_SUFFIXES = (".txt",)  # of which none names its image


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
    _check_not_geodatabase(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such label file. Correct `scenes.labels`.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(
            f"{path}: labels of the kind {path.suffix or 'without suffix'} are not read, only "
            f"{', '.join(sorted(READERS))}. Convert it to one of them."
        )
    return reader(path, class_column)


@dataclass
class FoundLabels:
    """Label files of a folder of rasters.

    Attributes:
        scene_of: file -> its scene; "" where the file itself names its scenes, None where it is
            of one raster that is not there.
        notes: a sentence on links that cannot be followed.
    """

    scene_of: dict[Path, str | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_labels(
    folder: Path, labels: str, rasters: RasterNames, *, exclude: Collection[Path] = ()
) -> FoundLabels:
    """Return the label files of a folder of rasters, each with its scene.

    Args:
        folder: the raw folder.
        labels: `auto`, or a file or glob pattern relative to the folder, or an absolute path,
            or a folder; where none matches, a file from the working folder.
        rasters: names of the scenes.
        exclude: files that are known to be something else.

    Raises:
        MissingFileError: the named file is not there, or the pattern matches none.
        DataError: `auto` finds two kinds of labels, or two files of the labels of one image, or two
            files of different folders could be of one raster.
    """
    if labels == AUTO:
        excluded = {path.absolute() for path in exclude}
        return _find_by_name(folder, rasters, excluded)
    path = Path(labels)
    if path.is_absolute() and path.is_file() and not _has_reader(path):
        return FoundLabels({path: ""})  # `read_labels` raises the error
    files, notes = _matching_files(folder, labels)
    if not files and not path.is_absolute() and path.is_file() and _has_reader(path):
        return FoundLabels({path: ""})  # a reviewed version, which is in the project
    if not files:
        _check_not_geodatabase(path if path.is_absolute() else folder / path)
        raise MissingFileError(
            f"`scenes.labels`: {labels} matches no label file in {folder}. "
            "Name a file or a pattern such as labels/*.gpkg."
        )
    root = path if path.is_absolute() and path.is_dir() else None
    scene_of = _scenes_of_files(files, rasters, root)
    return FoundLabels(scene_of, notes + _notes_on_weak_matches(scene_of, rasters, root))


def _has_reader(path: Path) -> bool:
    is_sidecar = path.name.lower().endswith(SIDECAR_SUFFIX)  # of a raster, by GDAL
    return path.suffix.lower() in READERS and not is_sidecar


def _check_not_geodatabase(path: Path) -> None:
    """Check that a path is no folder of ESRI's.

    Raises:
        FormatError: it is.
    """
    if path.suffix.lower() == ".gdb" and path.is_dir():
        raise FormatError(
            f"{path}: is a file geodatabase, a folder that is not read as labels. Convert the "
            f"layer: ogr2ogr -nln labels {path.stem}.gpkg {path.name} LAYER."
        )


def _matching_files(folder: Path, labels: str) -> tuple[list[Path], list[str]]:
    """Return the label files that a path or a pattern names, with those in folders it names."""
    path = Path(labels)
    matches = [path] if path.is_absolute() else sorted(folder.glob(labels))
    files = []
    notes = []
    for match in matches:
        if match.is_dir():
            _check_not_geodatabase(match)
            walked = walk_folder(match)
            files += walked.files
            notes += walked.notes
        else:
            files.append(match)
    return [file for file in files if _has_labels(file)], notes


def _has_labels(file: Path) -> bool:
    return file.is_file() and _has_reader(file) and file.name != CLASS_LIST


def _scenes_of_files(
    files: list[Path], rasters: RasterNames, root: Path | None
) -> dict[Path, str | None]:
    """Return the scene of each label file; "" where the file names its scenes.

    Raises:
        DataError: two files of different folders could be of one raster, by their names alone.
    """
    matches = {file: rasters.match_label_file(file, root) for file in files}
    sure = {match.scene for match in matches.values() if match.level < UNPLACED}
    scene_of: dict[Path, str | None] = {}
    loosely_matched: dict[str, Path] = {}
    for file, match in matches.items():
        scene: str | None = match.scene
        is_loose = match.level >= UNPLACED
        if is_loose and scene in sure:
            scene = ""
        if scene and is_loose and scene in loosely_matched:
            raise DataError(
                f"{file} and {loosely_matched[scene]} could both hold the labels of {scene}: their "
                "folders are not the raster's. Put each beside its raster, or in a folder `labels` "
                "beside its `images`."
            )
        if scene and is_loose:
            loosely_matched[scene] = file
        if not scene and file.suffix.lower() in UNNAMED_SUFFIXES:
            scene = None
        scene_of[file] = scene
    return scene_of


def _notes_on_weak_matches(
    scene_of: Mapping[Path, str | None], rasters: RasterNames, root: Path | None
) -> list[str]:
    """Return a sentence on label files in other folders than the only raster of their name."""
    weak = []
    for file, scene in scene_of.items():
        if scene and rasters.match_label_file(file, root).level == WEAK:
            weak.append(file)
    if not weak:
        return []
    note = (
        f"{len(weak)} label files are in another folder than the only raster of their name "
        f"({weak[0]} is taken for {scene_of[weak[0]]})"
    )
    return [note]


def _find_by_name(folder: Path, rasters: RasterNames, excluded: set[Path]) -> FoundLabels:
    """Return the files named as the scenes; without any, the one file for all of them."""
    walked = walk_folder(folder)
    with_reader = [path for path in walked.files if _has_reader(path) and path.name != CLASS_LIST]
    files = [path for path in with_reader if path.absolute() not in excluded]
    scene_of = _scenes_of_files(files, rasters, None)
    scene_files: dict[Path, str | None] = {path: scene for path, scene in scene_of.items() if scene}
    if scene_files:
        _check_one_file_per_scene(scene_files)
        suffixes = {path.suffix.lower() for path in scene_files}
        folders = {path.parent for path in scene_files}
        for path, scene in scene_of.items():
            if scene or path.suffix.lower() not in suffixes:
                continue
            if _is_label_file(path, may_be_empty=path.parent in folders):
                scene_files[path] = None
        notes = _notes_on_weak_matches(scene_files, rasters, None)
        return FoundLabels(dict(sorted(scene_files.items())), notes)
    merged = [path for path in files if _is_named_as_labels(path)]
    if not merged:
        merged = [path for path in files if path.suffix.lower() not in ONE_IMAGE_SUFFIXES]
    if len(merged) > 1:
        return _several_files(folder, merged)
    return FoundLabels(dict.fromkeys(merged, ""))


def _several_files(folder: Path, files: Sequence[Path]) -> FoundLabels:
    """Return files of subsets together, such as a COCO file for each; else the one of all images.

    Raises:
        DataError: which files hold the labels is not known.
    """
    images = [_images_of(path) for path in files]
    is_one_kind = len({path.suffix.lower() for path in files}) == 1
    every_image: set[str] = set().union(*images)
    whole = [path for path, named in zip(files, images, strict=True) if named == every_image]
    if is_one_kind and all(images):
        if sum(map(len, images)) == len(every_image):
            return FoundLabels(dict.fromkeys(files, ""))
        if len(whole) == 1:
            note = f"{whole[0].name} has the labels of every image, so no other file is read"
            return FoundLabels({whole[0]: ""}, [note])
    names = ", ".join(path.relative_to(folder).as_posix() for path in files)
    raise DataError(
        f"{folder}: several files could hold the labels ({names}). "
        "Name the right one in `scenes.labels` (`--labels` of `windhover init`), or a pattern "
        "such as labels/*.gpkg for several."
    )


def _images_of(path: Path) -> set[str]:
    """Return the images that a label file names; none for layers and files that are not read."""
    if path.suffix.lower() not in (*CSV_SUFFIXES, ".json"):
        return set()
    try:
        return set(read_labels(path).images)
    except FormatError:
        return set()


def _is_label_file(path: Path, *, may_be_empty: bool) -> bool:
    """Return whether a file holds labels, or none where it may: a text may be anything."""
    try:
        return len(read_labels(path)) > 0 or may_be_empty
    except FormatError:
        return path.suffix.lower() not in ONE_IMAGE_SUFFIXES


def _is_named_as_labels(path: Path) -> bool:
    return any(word in path.stem.lower() for word in LABEL_FILE_WORDS)


def _check_one_file_per_scene(files: Mapping[Path, str | None]) -> None:
    seen: dict[str | None, Path] = {}
    for path, scene in files.items():
        if scene in seen:
            raise DataError(
                f"{path} and {seen[scene]} both hold labels of {scene}. "
                "Name the right ones in `scenes.labels` (`--labels` of `windhover init`), such as "
                "labels/*.gpkg."
            )
        seen[scene] = path
