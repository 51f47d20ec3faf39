"""Discovery of scenes: which rasters of a folder are scenes, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from windhover.errors import DataError, MissingFileError, WindhoverError
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.imagery.virtual_rasters import write_stack
from windhover.labels.raster_names import NAME_SEPARATOR, RASTER_SUFFIXES, RasterNames
from windhover.labels.walk_folder import walk_folder
from windhover.progress import track

N_SUFFIXES_SHOWN = 6  # in a message


@dataclass(frozen=True)
class FoundScenes:
    """Scenes of a folder.

    Attributes:
        infos: the scenes, sorted by name.
        names: by which label files and tables may call them.
        notes: a sentence on links in the folder that cannot be followed.
    """

    infos: list[SceneInfo]
    names: RasterNames
    notes: list[str] = field(default_factory=list)


def raw_folder(raw: str) -> Path:
    """Return the folder of the rasters.

    Raises:
        MissingFileError: it does not exist, or is a file.
    """
    folder = Path(raw)
    if not folder.is_dir():
        fault = "is a file" if folder.is_file() else "does not exist"
        raise MissingFileError(
            f"`scenes.raw` must be a folder, but {raw} {fault}. Set `scenes.raw` in params.yaml to "
            "the folder of your rasters."
        )
    return folder


def find_scenes(
    folder: Path,
    pattern: str | None,
    native_gsd_m: float | None,
    *,
    exclude: Sequence[str] = (),
) -> FoundScenes:
    """Return the scenes of a folder; names that would clash get their folder's name in front.

    Args:
        folder: searched with all folders in it.
        pattern: of the rasters' paths, as `matches_pattern` takes it; None for every raster.
        native_gsd_m: stated for rasters without georeference.
        exclude: patterns of rasters that are left out.

    Raises:
        DataError: the folder holds no raster, or all are left out.
        FormatError, UnsupportedError: of one of the rasters.
    """
    paths = matching_rasters(folder, pattern, exclude)
    if not paths:
        wanted = f"({', '.join(RASTER_SUFFIXES[:N_SUFFIXES_SHOWN])}, ...)"
        if pattern:
            wanted = f"that matches {pattern!r}"
        raise DataError(
            f"{folder}: holds no raster {wanted}. Set `scenes.raw` to the folder of your rasters."
        )
    names = _unique_names(folder, paths)
    infos = []
    for path in track(paths, "looking at rasters", len(paths)):
        info = inspect_scene(path, native_gsd_m)
        infos.append(replace(info, name=names[path], path=portable_path(path)))
    infos.sort(key=lambda info: info.name)
    return FoundScenes(infos, RasterNames(folder, names), walk_folder(folder).notes)


def raster_paths(folder: Path) -> list[Path]:
    """Return the rasters of a folder and of those in it, linked ones too, sorted; none hidden."""
    files = walk_folder(folder).files
    return [path for path in files if path.suffix.lower() in RASTER_SUFFIXES]


def matching_rasters(folder: Path, pattern: str | None, exclude: Sequence[str] = ()) -> list[Path]:
    """Return the rasters of a folder that match a pattern; None for every raster.

    Args:
        folder: searched with all folders in it.
        pattern: as `matches_pattern` takes it.
        exclude: patterns of rasters that are left out.
    """
    paths = raster_paths(folder)
    if pattern is not None:
        paths = [path for path in paths if matches_pattern(path, folder, pattern)]
    for unwanted in exclude:
        paths = [path for path in paths if not matches_pattern(path, folder, unwanted)]
    return paths


def matches_pattern(path: Path, folder: Path, pattern: str) -> bool:
    """Return whether a path matches a pattern at its end; as a whole with a leading slash."""
    relative = path.relative_to(folder)
    if pattern.startswith("/"):
        relative = Path("/") / relative
    return relative.match(pattern)


def _unique_names(folder: Path, paths: list[Path]) -> dict[Path, str]:
    """Return a unique name for each raster: its stem, else with folders, else with suffix too."""
    names = {}
    with_folders = {}
    with_suffix = {}
    for path in paths:
        relative = path.relative_to(folder)
        names[path] = path.stem
        with_folders[path] = NAME_SEPARATOR.join(relative.with_suffix("").parts)
        with_suffix[path] = NAME_SEPARATOR.join(relative.parts).replace(".", NAME_SEPARATOR)
    for longer_names in (with_folders, with_suffix):
        count = Counter(names.values())
        for path in paths:
            if count[names[path]] > 1:
                names[path] = longer_names[path]
    return names


def portable_path(path: Path) -> str:
    """Return the path from the project's root where it is inside, else the absolute path."""
    absolute = path.absolute()
    root = Path.cwd()
    if absolute.is_relative_to(root):
        return absolute.relative_to(root).as_posix()
    return absolute.as_posix()


def stack_scenes(
    raw: Path, stack: Mapping[str, str], *, native_gsd_m: float | None, folder: Path, final: Path
) -> FoundScenes:
    """Make one scene of each folder's single-band files, a virtual raster named like that folder.

    Label files may call the scene by any picture of the same size in its folder.

    Args:
        raw: searched with all folders in it.
        stack: band name -> pattern of its file's name.
        native_gsd_m: stated for files without georeference.
        folder: where the virtual rasters are written.
        final: where that folder will be moved to.

    Raises:
        DataError: no folder has all the bands, one has several files for a band or lacks one,
            or its files have no georeference and no GSD is stated.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in raster_paths(raw):
        by_folder.setdefault(path.parent, []).append(path)
    infos: list[SceneInfo] = []
    scene_of_path: dict[Path, str] = {}
    for band_folder, paths in sorted(by_folder.items()):
        files = _files_of_bands(band_folder, paths, stack)
        if not files:
            continue
        name = NAME_SEPARATOR.join(band_folder.relative_to(raw).parts) or band_folder.resolve().name
        target = folder / f"{name}.vrt"
        final_path = final / f"{name}.vrt"
        write_stack(files, target, final_path)
        with rename_in_errors(str(target), str(band_folder)):
            info = inspect_scene(target, native_gsd_m)
        infos.append(replace(info, name=name, path=portable_path(final_path)))
        scene_of_path[band_folder] = name
        scene_of_path |= {path: name for path in paths if _has_size_of(path, info)}
    if not infos:
        raise DataError(
            f"{raw}: no folder holds files for the bands of `scenes.stack` "
            f"({', '.join(stack.values())}). Correct the patterns."
        )
    return FoundScenes(infos, RasterNames(raw, scene_of_path), walk_folder(raw).notes)


def _files_of_bands(folder: Path, paths: list[Path], stack: Mapping[str, str]) -> dict[str, Path]:
    """Return band -> file of one folder; nothing where no file matches any band.

    Raises:
        DataError: a band has no file or several, and another has one.
    """
    matching = {}
    for band, pattern in stack.items():
        matching[band] = [path for path in paths if fnmatch(path.name, pattern)]
    if not any(matching.values()):
        return {}
    files_of_bands = {}
    for band, files in matching.items():
        if len(files) != 1:
            raise DataError(
                f"{folder}: {len(files)} files match {stack[band]!r} for the band {band}, one is "
                "needed. Correct the pattern in `scenes.stack`."
            )
        files_of_bands[band] = files[0]
    return files_of_bands


def current_info(info: SceneInfo, folder: Path, final: Path) -> SceneInfo:
    """Return a scene whose virtual raster is not yet where it will be moved to."""
    if Path(info.path).parent.absolute() == final.absolute():
        return replace(info, path=str(folder / Path(info.path).name))
    return info


@contextmanager
def rename_in_errors(path: str, shown: str) -> Iterator[None]:
    """Replace a path in errors: users know what is `shown`, not a file that is moved later."""
    try:
        yield
    except WindhoverError as error:
        raise type(error)(str(error).replace(path, shown)) from None


def _has_size_of(path: Path, info: SceneInfo) -> bool:
    """Return whether a picture can be read and has the size of a scene."""
    try:
        return inspect_scene(path, 1.0).shape_hw == info.shape_hw
    except WindhoverError:  # a picture of another kind is no other name of the scene
        return False
