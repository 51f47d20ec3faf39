"""Which rasters of a folder are scenes, whether they can be read, and which bands they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.errors import DataError, MissingFileError, WindhoverError
from windhover.imagery.integrity import check_deflate, heeding_gdal
from windhover.imagery.rasters import SceneInfo, inspect_scene, names_of_bands
from windhover.imagery.scenes import Scene
from windhover.imagery.virtual_rasters import write_stack
from windhover.progress import track

RASTER_SUFFIXES = (
    ".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".img", ".pix", ".bil", ".ntf",
    ".nitf", ".ecw", ".sid", ".hdf", ".h5", ".nc",
)  # fmt: skip
CHECK_WHOLE_PX = 32_000_000  # rasters up to this are read whole once, larger ones in small windows
CHECKED_PX = 64  # side of such a window
CHECKED = 12  # of them along each side of the raster


@dataclass(frozen=True)
class Found:
    """Scenes of a folder.

    Attributes:
        infos: the scenes, sorted by name.
        aliases: other names by which label files may call a scene, name -> scene.
    """

    infos: list[SceneInfo]
    aliases: dict[str, str] = field(default_factory=dict)


def raw_folder(raw: str) -> Path:
    """Return the folder of the rasters.

    Raises:
        MissingFileError: it is not there, or is a file.
    """
    folder = Path(raw)
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise MissingFileError(
            f"`scenes.raw` must be a folder, but {raw} {what}. Set `scenes.raw` in params.yaml to the folder of your "
            "rasters."
        )
    return folder


def find_scenes(folder: Path, pattern: str | None, native_gsd_m: float | None) -> Found:
    """Return what the rasters of a folder are; names that would clash take their folder's in front.

    Args:
        folder: looked through with all folders in it.
        pattern: of the rasters' paths, as `matches` takes it; None for every raster.
        native_gsd_m: stated for rasters without georeference.

    Raises:
        DataError: the folder holds no raster.
        FormatError, UnsupportedError: of one of the rasters.
    """
    paths = [
        path for path in raster_paths(folder) if pattern is None or matches(path, folder, pattern)
    ]
    if not paths:
        wanted = (
            f"that matches {pattern!r}" if pattern else f"({', '.join(RASTER_SUFFIXES[:6])}, ...)"
        )
        raise DataError(
            f"{folder}: holds no raster {wanted}. Set `scenes.raw` to the folder of your rasters."
        )
    names = _names(folder, paths)
    infos = [
        replace(inspect_scene(path, native_gsd_m), name=names[path], path=portable(path))
        for path in track(paths, "looking at rasters", len(paths))
    ]
    return Found(sorted(infos, key=lambda info: info.name))


def raster_paths(folder: Path) -> list[Path]:
    """Return the rasters of a folder and of those in it, sorted; hidden ones are left out."""
    paths = (
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in RASTER_SUFFIXES and path.is_file()
    )
    return sorted(
        path
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def matches(path: Path, folder: Path, pattern: str) -> bool:
    """Tell whether a path in a folder ends as a pattern says; one that begins with / must name the
    whole way to it.
    """
    relative = path.relative_to(folder)
    return (Path("/") / relative if pattern.startswith("/") else relative).match(pattern)


def _names(folder: Path, paths: list[Path]) -> dict[Path, str]:
    """Return a name of its own for each raster: its stem, else with its folders, else with its
    suffix too.
    """
    names = {path: path.stem for path in paths}
    with_folders = {
        path: "--".join(path.relative_to(folder).with_suffix("").parts) for path in paths
    }
    with_suffix = {
        path: "--".join(path.relative_to(folder).parts).replace(".", "--") for path in paths
    }
    for longer in (with_folders, with_suffix):
        count = Counter(names.values())
        names = {path: name if count[name] == 1 else longer[path] for path, name in names.items()}
    return names


def portable(path: Path) -> str:
    """Return the path from the project's root where it is inside, else absolute."""
    absolute, root = path.absolute(), Path.cwd()
    return (
        absolute.relative_to(root).as_posix()
        if absolute.is_relative_to(root)
        else absolute.as_posix()
    )


def stack_scenes(
    raw: Path, stack: dict[str, str], native_gsd_m: float | None, folder: Path, final: Path
) -> Found:
    """Make one scene of each folder's single-band files, as a virtual raster named like that
    folder.

    Label files may call the scene by any picture of the same size that lies in its folder.

    Args:
        raw: looked through with all folders in it.
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
    aliases: dict[str, str] = {}
    for place, paths in sorted(by_folder.items()):
        found = {
            band: [path for path in paths if fnmatch(path.name, pattern)]
            for band, pattern in stack.items()
        }
        if not any(found.values()):
            continue
        for band, files in found.items():
            if len(files) != 1:
                raise DataError(
                    f"{place}: {len(files)} files match {stack[band]!r} for the band {band}, one is "
                    "needed. Mend the pattern in `scenes.stack`."
                )
        name = "--".join(place.relative_to(raw).parts) or place.resolve().name
        write_stack(
            {band: files[0] for band, files in found.items()},
            folder / f"{name}.vrt",
            final / f"{name}.vrt",
        )
        with _speaking_of(str(place), str(folder / f"{name}.vrt")):
            info = inspect_scene(folder / f"{name}.vrt", native_gsd_m)
        infos.append(replace(info, name=name, path=portable(final / f"{name}.vrt")))
        aliases |= {path.stem: name for path in paths if _same_size(path, info)}
    if not infos:
        raise DataError(
            f"{raw}: no folder holds files for the bands of `scenes.stack` "
            f"({', '.join(stack.values())}). Mend the patterns."
        )
    return Found(infos, aliases)


@contextmanager
def _speaking_of(shown: str, path: str) -> Iterator[None]:
    """Let errors name what a person knows instead of a file that is not yet in its place."""
    try:
        yield
    except WindhoverError as error:
        raise type(error)(str(error).replace(path, shown)) from None


def _same_size(path: Path, info: SceneInfo) -> bool:
    try:
        return inspect_scene(path, 1.0).shape_hw == info.shape_hw
    except WindhoverError:  # a picture of another kind is no other name of the scene
        return False


def check_pixels(
    infos: Iterable[SceneInfo], moved: Mapping[str, Path] | None = None
) -> dict[str, dict[str, float]]:
    """Read every raster once, so that a damaged one is known now and not in training.

    Large ones are read at their corners and in small windows on a regular grid; the shares are
    those of the grid.

    Args:
        infos: the scenes.
        moved: scene -> where its file is for now, where that is not its path.

    Returns:
        Scene -> share of the pixels read that are valid (`valid`), and that are black in every band
        (`black`); and whether they are a sample (`sampled`).

    Raises:
        FormatError: a raster cannot be read; names the file and where.
    """
    infos, moved = list(infos), moved or {}
    shares = {}
    for info in track(infos, "checking rasters", len(infos)):
        path = str(moved.get(info.name, info.path))
        shown = f"scene {info.name}" if info.name in moved else info.path
        sampled = info.width_px * info.height_px > CHECK_WHOLE_PX
        with _speaking_of(shown, path), Scene(replace(info, path=path), by_gdal=True) as scene:
            with heeding_gdal(shown):
                found = (
                    _shares_of_sample(scene)
                    if sampled
                    else [_shares(*scene.read(0, 0, *scene.shape_hw))]
                )
            if not sampled:
                check_deflate(path)
        valid, black = np.mean(found, axis=0).round(4).tolist()
        shares[info.name] = {"valid": valid, "black": black, "sampled": sampled}
    return shares


def _shares_of_sample(scene: Scene) -> list[tuple[float, float]]:
    """Return the shares in each window of the grid; the corners are read too: a file cut short
    lacks the last one.
    """
    size = height, width = tuple(min(length, CHECKED_PX) for length in scene.shape_hw)
    for row in (0, scene.shape_hw[0] - height):
        for col in (0, scene.shape_hw[1] - width):
            scene.read(row, col, height, width)
    rows, cols = (_starts(length) for length in scene.shape_hw)
    return [_shares(*scene.read(row, col, *size)) for row in rows for col in cols]


def _starts(length: int) -> list[int]:
    """Return where windows begin that stand in the middle of equal parts of a length."""
    count = min(CHECKED, -(-length // CHECKED_PX))
    middles = (np.arange(count) + 0.5) * length / count
    return [int(start) for start in (middles - min(length, CHECKED_PX) / 2).round()]


def _shares(array: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the shares of pixels that are valid, and that are valid and black in every band."""
    return float(valid.mean()), float(((array == 0).all(axis=0) & valid).mean())


def common_bands(infos: list[SceneInfo], wanted: list[str] | None) -> list[str]:
    """Return the bands that are read from every raster.

    Raises:
        DataError: a raster lacks a wanted band, or the rasters differ in bands or dtype and
            none are named.
    """
    bands = wanted or list(infos[0].bands)
    for info in infos:
        missing = [name for name in bands if name.lower() not in names_of_bands(info)]
        if missing or (wanted is None and list(info.bands) != bands):
            raise DataError(
                f"{info.path}: has the bands {', '.join(info.bands)}, but {', '.join(bands)} are "
                f"{'wanted' if wanted else f'those of {infos[0].path}'}. Name bands that all rasters have in "
                "`scenes.bands`, or take this raster out."
            )
        if info.dtype != infos[0].dtype:
            raise DataError(
                f"{info.path}: dtype {info.dtype}, but {infos[0].path} has {infos[0].dtype}: one "
                "model reads one dtype. "
                "Convert one of them with gdal_translate -ot."
            )
    return bands
