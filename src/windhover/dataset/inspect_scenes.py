"""Looking at rasters and labels before anything is trained: the flows of `windhover inspect` and
`windhover import`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from statistics import median

from windhover.dataset.build import build_catalog, summary_lines, write_report
from windhover.dataset.catalog import Catalog, load_catalog, write_catalog
from windhover.dataset.discover import check_pixels, matches, raster_paths
from windhover.dataset.grouping import BLOCK
from windhover.dataset.label_export import write_labels
from windhover.dataset.splits import TooFewPlacesError
from windhover.errors import DataError, MissingFileError, ParameterError, WindhoverError
from windhover.files import atomic_folder, check_replaceable
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.params.scenes import ScenesParams

Say = Callable[[str], None]
CATALOG = ("scenes.parquet", "labels.parquet", "areas.parquet", "report.json", "report.html")


@dataclass(frozen=True)
class Options:
    """What both commands take.

    Attributes:
        gsd_m: of rasters without georeference.
        target_gsd_m: at which sizes are told; None for the median of the rasters' own.
        groups: CSV of places.
        group_column: its column.
        class_column: of the labels.
        rasters: pattern of the rasters to take.
        stack: band -> pattern.
        written: files of labels that are written besides.
    """

    gsd_m: float | None = None
    target_gsd_m: float | None = None
    groups: Path | None = None
    group_column: str | None = None
    class_column: str | None = None
    rasters: str | None = None
    stack: dict[str, str] | None = None
    written: tuple[Path, ...] = ()


def scene_line(info: SceneInfo, share: dict[str, float]) -> str:
    """Return what a raster is, in one line."""
    place = info.crs if info.crs is not None else "local grid"
    about = "about " if share["sampled"] else ""
    missing = f", {about}{1 - share['valid']:.1%} missing" if share["valid"] < 1 else ""
    slow = ", in strips (slow to read in windows: make a COG of it)" if info.striped else ""
    gsd = " x ".join(f"{value:.4g}" for value in dict.fromkeys(info.gsd_m))
    return (
        f"{info.path}: {info.width_px} x {info.height_px} px, {gsd} m, {info.dtype}, "
        f"{', '.join(info.bands)}, {str(place)[:40]}{missing}{slow}"
    )


def inspect_rasters(paths: Sequence[str], gsd_m: float | None, say: Say) -> list[str]:
    """Say of each raster what it is, and of each that cannot be read why; return the reasons."""
    failed = []
    for path in _expanded(paths):
        try:
            info = inspect_scene(path, gsd_m)
            say(scene_line(info, check_pixels([info])[info.name]))
            for note in info.notes:
                say(f"  {note}")
        except WindhoverError as error:
            failed.append(error.sentence())
            say(f"cannot be used: {error.sentence()}")
    return failed


def _expanded(paths: Sequence[str]) -> list[str]:
    """Return rasters and the rasters of folders.

    Raises:
        DataError: a folder holds no raster.
    """
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = [str(one) for one in raster_paths(Path(path))]
            if not inside:
                raise DataError(f"{path}: holds no raster. Name the folder of your rasters.")
            found += inside
        else:
            found.append(path)
    return found


def one_place(rasters: Sequence[str]) -> Path:
    """Return the raster, or the folder of rasters, that labels are laid on.

    Raises:
        ParameterError: there are several.
    """
    if len(rasters) > 1:
        raise ParameterError(
            f"--labels are laid on one raster or one folder of rasters, got {len(rasters)}. Name the folder they are "
            "in; `windhover import` takes some of a folder by --rasters."
        )
    return Path(rasters[0])


def import_labels(labels: Path, scenes: Path, output: Path, options: Options, say: Say) -> Catalog:
    """Make a catalog of rasters and their labels, with its report; say what it holds.

    Raises:
        MissingFileError: the labels or the folder are not there.
        ParameterError: `output` holds anything else than an earlier catalog, or what is read.
        WindhoverError: what `build_catalog` raises.
    """
    if not labels.exists():
        raise MissingFileError(
            f"{labels}: no such file or folder. Name the label file, or the folder of label files."
        )
    read = [labels, scenes, *([] if options.groups is None else [options.groups])]
    check_replaceable(output, _written_earlier(output, options), read)
    if scenes.is_file():
        options, scenes = replace(options, rasters=f"/{escape(scenes.name)}"), scenes.parent
    target = options.target_gsd_m or _median_gsd(scenes, options)
    with atomic_folder(output) as folder:
        params = _params(labels, scenes, target, options)
        try:
            catalog = build_catalog(params, folder, output)
        except TooFewPlacesError:
            catalog = build_catalog(
                params.model_copy(update={"split_fractions": [1.0, 0.0, 0.0]}), folder, output
            )
            say("too few places to divide: all scenes are in train")
        write_catalog(catalog, folder)
        write_report(catalog, folder, output)
    say("\n".join(summary_lines(catalog)))
    say(f"catalog -> {output}, report -> {output / 'report.html'}")
    return catalog


def _written_earlier(output: Path, options: Options) -> set[str]:
    """Return the names of the files of an earlier catalog in a folder; nothing where it holds none."""
    try:
        scenes = load_catalog(output).scenes["scene"]
    except WindhoverError:
        return set()
    virtual = {f"{part}.vrt" for name in scenes for part in (name, name.split(BLOCK)[0])}
    besides = {path.name for path in options.written if path.resolve().parent == output.resolve()}
    return {*CATALOG} | virtual | besides


def parse_stack(items: Sequence[str] | None) -> dict[str, str] | None:
    """Return band -> pattern of `BAND=PATTERN` items.

    Raises:
        ParameterError: an item without `=`.
    """
    if not items:
        return None
    wrong = [item for item in items if "=" not in item]
    if wrong:
        raise ParameterError(
            f"--stack must read BAND=PATTERN, got {wrong[0]!r}. Write for example B04=*_B04.tif."
        )
    return {band: pattern for band, _, pattern in (item.partition("=") for item in items)}


def _median_gsd(scenes: Path, options: Options) -> float:
    """Return the median GSD of the rasters, where it is not said."""
    pattern = options.rasters
    paths = [
        path for path in raster_paths(scenes) if pattern is None or matches(path, scenes, pattern)
    ]
    sizes: list[float] = []
    for path in paths:
        try:
            sizes += inspect_scene(path, options.gsd_m).gsd_m
        except WindhoverError:  # said with its reason when the scenes are read
            continue
    return round(median(sizes), 6) if sizes else 1.0


def _params(labels: Path, scenes: Path, target_gsd_m: float, options: Options) -> ScenesParams:
    groups = None if options.groups is None else str(options.groups.absolute())
    return ScenesParams(
        raw=str(scenes), rasters=options.rasters, stack=options.stack, gsd_m=target_gsd_m, native_gsd_m=options.gsd_m,
        bands=None, labels=str(labels.absolute()), class_column=options.class_column, classes={}, ignore_classes=[],
        duplicate_iou=1.0, empty_scenes="unlabelled", groups=groups, group_column=options.group_column, fixed_splits={},
        areas=None, spatial_block_m=None, guard_m=0.0, folds=None, fold=0, split_fractions=[0.6, 0.15, 0.25], seed=0,
    )  # fmt: skip


def export_labels(catalog: Catalog, path: Path, say: Say) -> None:
    """Write a catalog's labels for another program, and say what its format cannot hold."""
    lost = write_labels(catalog, path)
    say(f"{len(catalog.labels)} labels -> {path}")
    say(f"  {path.suffix} cannot hold: {'; '.join(lost)}")
