"""Which rasters of a folder are scenes, whether they can be read, and which bands they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from windhover.errors import DataError, MissingFileError, WindhoverError
from windhover.imagery.damage import check_deflate, heeding_gdal
from windhover.imagery.mosaics import write_stack
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.imagery.scenes import Scene
from windhover.progress import track

RASTER_SUFFIXES = (
    ".tif", ".tiff", ".vrt", ".jp2", ".j2k", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".img", ".pix", ".bil", ".ntf",
    ".nitf", ".ecw", ".sid", ".hdf", ".h5", ".nc",
)  # fmt: skip
CHECK_WHOLE_PX = 32_000_000  # rasters up to this are read whole once, larger ones at their corners and centre


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
        pattern: of the rasters' paths relative to the folder; None for every raster.
        native_gsd_m: stated for rasters without georeference.

    Raises:
        DataError: the folder holds no raster.
        FormatError, UnsupportedError: of one of the rasters.
    """
    paths = [path for path in raster_paths(folder) if pattern is None or path.relative_to(folder).match(pattern)]
    if not paths:
        wanted = f"that matches {pattern!r}" if pattern else f"({', '.join(RASTER_SUFFIXES[:6])}, ...)"
        raise DataError(f"{folder}: holds no raster {wanted}. Set `scenes.raw` to the folder of your rasters.")
    names = _names(folder, paths)
    infos = [
        replace(inspect_scene(path, native_gsd_m), name=names[path], path=portable(path))
        for path in track(paths, "looking at rasters", len(paths))
    ]
    return Found(sorted(infos, key=lambda info: info.name))


def raster_paths(folder: Path) -> list[Path]:
    """Return the rasters of a folder and of those in it, sorted; hidden ones are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in RASTER_SUFFIXES and path.is_file())
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _names(folder: Path, paths: list[Path]) -> dict[Path, str]:
    """Return a name of its own for each raster: its stem, else with its folders, else with its suffix too."""
    names = {path: path.stem for path in paths}
    with_folders = {path: "--".join(path.relative_to(folder).with_suffix("").parts) for path in paths}
    with_suffix = {path: "--".join(path.relative_to(folder).parts).replace(".", "--") for path in paths}
    for longer in (with_folders, with_suffix):
        count = Counter(names.values())
        names = {path: name if count[name] == 1 else longer[path] for path, name in names.items()}
    return names


def portable(path: Path) -> str:
    """Return the path from the project's root where it is inside, else absolute."""
    absolute, root = path.absolute(), Path.cwd()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.as_posix()


def stack_scenes(raw: Path, stack: dict[str, str], folder: Path, final: Path) -> Found:
    """Make one scene of each folder's single-band files, as a virtual raster named like that folder.

    Label files may call the scene by any picture of the same size that lies in its folder.

    Args:
        raw: looked through with all folders in it.
        stack: band name -> pattern of its file's name.
        folder: where the virtual rasters are written.
        final: where that folder will be moved to.

    Raises:
        DataError: no folder has all the bands, or one has several files for a band or lacks one.
    """
    by_folder: dict[Path, list[Path]] = {}
    for path in raster_paths(raw):
        by_folder.setdefault(path.parent, []).append(path)
    infos: list[SceneInfo] = []
    aliases: dict[str, str] = {}
    for place, paths in sorted(by_folder.items()):
        found = {band: [path for path in paths if fnmatch(path.name, pattern)] for band, pattern in stack.items()}
        if not any(found.values()):
            continue
        for band, files in found.items():
            if len(files) != 1:
                raise DataError(
                    f"{place}: {len(files)} files match {stack[band]!r} for the band {band}, one is "
                    "needed. Mend the pattern in `scenes.stack`."
                )
        name = "--".join(place.relative_to(raw).parts) or place.resolve().name
        write_stack({band: files[0] for band, files in found.items()}, folder / f"{name}.vrt", final / f"{name}.vrt")
        info = inspect_scene(folder / f"{name}.vrt")
        infos.append(replace(info, name=name, path=portable(final / f"{name}.vrt")))
        aliases |= {path.stem: name for path in paths if _same_size(path, info)}
    if not infos:
        raise DataError(
            f"{raw}: no folder holds files for the bands of `scenes.stack` "
            f"({', '.join(stack.values())}). Mend the patterns."
        )
    return Found(infos, aliases)


def _same_size(path: Path, info: SceneInfo) -> bool:
    try:
        return inspect_scene(path, 1.0).shape_hw == info.shape_hw
    except WindhoverError:  # a picture of another kind is no other name of the scene
        return False


def check_pixels(infos: Iterable[SceneInfo], moved: Mapping[str, Path] | None = None) -> dict[str, dict[str, float]]:
    """Read every raster once (large ones at five places), so that a damaged one is known now and not in training.

    Args:
        infos: the scenes.
        moved: scene -> where its file is for now, where that is not its path.

    Returns:
        Scene -> share of the pixels read that are valid (`valid`), and that are black in every band (`black`).

    Raises:
        FormatError: a raster cannot be read; names the file and where.
    """
    infos = list(infos)
    shares = {}
    for info in track(infos, "checking rasters", len(infos)):
        with Scene(replace(info, path=str((moved or {}).get(info.name, info.path))), by_gdal=True) as scene:
            height, width = scene.shape_hw
            whole = height * width <= CHECK_WHOLE_PX
            corners = (
                [(0, 0)]
                if whole
                else [(y, x) for y in (0, height - 64) for x in (0, width - 64)] + [(height // 2, width // 2)]
            )
            size = (height, width) if whole else (64, 64)
            with heeding_gdal(info.path):
                pieces = [scene.read(row, col, *size) for row, col in corners]
            if whole:
                check_deflate(str(scene.info.path))
            shares[info.name] = {
                "valid": round(float(np.mean([valid.mean() for _, valid in pieces])), 4),
                "black": round(
                    float(np.mean([((array == 0).all(axis=0) & valid).mean() for array, valid in pieces])), 4
                ),
            }
    return shares


def common_bands(infos: list[SceneInfo], wanted: list[str] | None) -> list[str]:
    """Return the bands that are read from every raster.

    Raises:
        DataError: a raster lacks a wanted band, or the rasters differ in bands or dtype and none are named.
    """
    bands = wanted or list(infos[0].bands)
    for info in infos:
        missing = [name for name in bands if name not in info.bands]
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
