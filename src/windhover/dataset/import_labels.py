"""The flow of `windhover import`: rasters and their labels -> a catalog with its page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import ValidationError

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import REPORT_FILE, Catalog, load_catalog, write_catalog
from windhover.dataset.class_maps import CLASS_MAP_SUFFIX
from windhover.dataset.discover import matching_rasters
from windhover.dataset.export_labels import check_label_suffix, is_own_label_file
from windhover.dataset.spatial_blocks import BLOCK_SEPARATOR
from windhover.dataset.splits import TooFewPlacesError
from windhover.dataset.write_catalog_report import PAGE_FILE, summary_lines, write_report
from windhover.errors import MissingFileError, ParameterError, WindhoverError
from windhover.files import atomic_folder, check_output, check_replaceable, lock_output
from windhover.imagery.rasters import inspect_scene
from windhover.labels.formats import AUTO
from windhover.params.options_in_errors import options_in_errors
from windhover.params.scenes import ScenesParams

CATALOG_FILES = ("scenes.parquet", "labels.parquet", "areas.parquet", REPORT_FILE, PAGE_FILE)
DEFAULT_GSD_M = 1.0  # where no raster tells one
OPTION_OF_KEY = {"gsd_m": "--target-gsd", "native_gsd_m": "--gsd", "class_column": "--class-column"}
# of the section scenes, in errors of what is read
OPTIONS_IN_ERRORS = {
    **OPTION_OF_KEY,
    "raw": "--scenes",
    "rasters": "--rasters",
    "stack": "--stack",
    "groups": "--groups",
    "group_column": "--group-column",
    "mask_values": "--mask-values",
    "mask_ignore": "--mask-ignore",
}
GSD_DIGITS = 6
ALL_IN_TRAIN = [1.0, 0.0, 0.0]
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")

Report = Callable[[str], None]  # takes one line for the terminal


@dataclass(frozen=True)
class ImportOptions:
    """Options of the commands.

    Attributes:
        gsd_m: of rasters without georeference.
        target_gsd_m: at which sizes are given; None for the median of the rasters' own.
        groups: CSV of places.
        group_column: its column.
        class_column: of the labels.
        rasters: pattern of the rasters to use.
        stack: band -> pattern.
        label_files: files of labels that are written together with the catalog.
        mask_values: value of class rasters -> class; None where labels are objects.
        mask_ignore: values of which the class is not known.
    """

    gsd_m: float | None = None
    target_gsd_m: float | None = None
    groups: Path | None = None
    group_column: str | None = None
    class_column: str | None = None
    rasters: str | None = None
    stack: dict[str, str] | None = None
    label_files: tuple[Path, ...] = ()
    mask_values: dict[int, str] | None = None
    mask_ignore: tuple[int, ...] = ()


def import_labels(
    labels: Path, scenes: Path, output: Path, *, options: ImportOptions, report: Report
) -> Catalog:
    """Write a catalog of rasters and their labels, with its page; report what it holds.

    Args:
        labels: a label file, or a folder of label files; in the folder of the rasters they are
            found as the pipeline finds them.
        scenes: a raster, or a folder of rasters.
        output: folder of the catalog.
        options: of the command.
        report: takes the lines for the terminal.

    Raises:
        MissingFileError: the labels or the folder do not exist.
        ParameterError: `output` holds anything else than an earlier catalog, or what is read, or
            another run writes it.
        WindhoverError: what `build_catalog` raises.
    """
    if not labels.exists():
        raise MissingFileError(
            f"{labels}: no such file or folder. Name the label file, or the folder of label files."
        )
    inputs = [labels, scenes]
    if options.groups is not None:
        inputs.append(options.groups)
    check_replaceable(output, _files_of_earlier_import(output, options), inputs)
    for path in options.label_files:
        check_label_suffix(path)
        check_output(path, inputs=inputs, is_own=is_own_label_file)
    if scenes.is_file():
        options = replace(options, rasters=f"/{escape(scenes.name)}")
        scenes = scenes.parent
    params = _scenes_params(labels, scenes, options)
    with (
        options_in_errors(OPTIONS_IN_ERRORS),
        lock_output(output),
        atomic_folder(output) as folder,
    ):
        try:
            catalog = build_catalog(params, folder, output)
        except TooFewPlacesError:
            undivided = params.model_copy(update={"split_fractions": ALL_IN_TRAIN})
            catalog = build_catalog(undivided, folder, output)
            report("too few places to divide: all scenes are in train")
        write_catalog(catalog, folder)
        catalog = write_report(catalog, folder, output)
    report("\n".join(summary_lines(catalog)))
    report(f"catalog -> {output}, report -> {output / PAGE_FILE}")
    return catalog


def _files_of_earlier_import(output: Path, options: ImportOptions) -> set[str]:
    """Return the names of the files of an earlier catalog in a folder, if there is one."""
    try:
        scenes = load_catalog(output).scenes["scene"]
    except WindhoverError:
        return set()
    names = set(CATALOG_FILES)
    for scene in scenes:
        names |= {f"{scene}.vrt", f"{scene.split(BLOCK_SEPARATOR)[0]}.vrt"}
        names.add(f"{scene}{CLASS_MAP_SUFFIX}")
    for path in options.label_files:
        if path.resolve().parent == output.resolve():
            names.add(path.name)
    return names


def _scenes_params(labels: Path, scenes: Path, options: ImportOptions) -> ScenesParams:
    """Return the parameters of the scenes stage for an import.

    Raises:
        ParameterError: an option, or the GSD of the rasters, is out of its range.
    """
    gsd_m = options.target_gsd_m or _median_gsd_m(scenes, options)
    groups = None
    if options.groups is not None:
        groups = str(options.groups.absolute())
    labels_key = str(labels.absolute())
    if labels.resolve() == scenes.resolve():  # found as the pipeline finds them there
        labels_key = AUTO
    values: dict[str, Any] = {
        "raw": str(scenes),
        "rasters": options.rasters,
        "stack": options.stack,
        "gsd_m": gsd_m,
        "native_gsd_m": options.gsd_m,
        "labels": labels_key,
        "class_column": options.class_column,
        "groups": groups,
        "group_column": options.group_column,
        "guard_m": 0.0,
    }
    if options.mask_values is not None:
        values |= {
            "task": "coverage",
            "masks": None if labels_key == AUTO else labels_key,
            "mask_values": options.mask_values,
            "mask_ignore": list(options.mask_ignore),
            "labels": AUTO,
        }
    try:
        return ScenesParams.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        rule = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # a rule on several keys names them
            raise ParameterError(f"{_options_in(rule)}.") from None
        key = str(first["loc"][0])
        raise ParameterError(
            f"{OPTION_OF_KEY.get(key, key)}: {rule}, got {first['input']!r}. Give another value; "
            f"--target-gsd is that of {scenes} where it is not given."
        ) from None


def _options_in(rule: str) -> str:
    """Return a rule on several parameters in the words of the command's options."""
    for key in ("mask_values", "mask_ignore"):
        rule = rule.replace(key, f"--{key.replace('_', '-')}")
    return rule


def _median_gsd_m(scenes: Path, options: ImportOptions) -> float:
    """Return the median GSD of the rasters that can be read."""
    sizes: list[float] = []
    for path in matching_rasters(scenes, options.rasters):
        try:
            sizes += inspect_scene(path, options.gsd_m).gsd_m
        except WindhoverError:  # reported with its reason when the scenes are read
            continue
    return round(median(sizes), GSD_DIGITS) if sizes else DEFAULT_GSD_M


def single_raster_or_folder(rasters: Sequence[str]) -> Path:
    """Return the raster, or the folder of rasters, that labels belong to.

    Raises:
        ParameterError: there are several.
    """
    if len(rasters) > 1:
        raise ParameterError(
            f"--labels are laid on one raster or one folder of rasters, got {len(rasters)}. Name "
            "the folder they are in; `windhover import` takes some of a folder by --rasters."
        )
    return Path(rasters[0])


def parse_mask_values(text: str | None) -> dict[int, str] | None:
    """Return value -> class of `0=background,4=cloud`; None stays None.

    Raises:
        ParameterError: a part without `=`, a value that is no whole number or named twice, or no
            class.
    """
    if text is None:
        return None
    values: dict[int, str] = {}
    for part in text.split(","):
        value, separator, name = (word.strip() for word in part.partition("="))
        is_name = bool(name) and "=" not in name
        if not separator or not is_name or not WHOLE_NUMBER.fullmatch(value):
            raise ParameterError(
                f"--mask-values must read VALUE=CLASS with commas between, got {text!r}. Try "
                "0=background,1=cloud."
            )
        if values.setdefault(int(value), name) != name:
            raise ParameterError(
                f"--mask-values names the value {int(value)} twice, as {values[int(value)]} and as "
                f"{name}. Keep one of them."
            )
    return values


def parse_mask_ignore(text: str | None) -> tuple[int, ...]:
    """Return whole numbers with commas between, such as `254,255`; none of None.

    Raises:
        ParameterError: anything else.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(map(WHOLE_NUMBER.fullmatch, parts)):
        raise ParameterError(
            f"--mask-ignore must be whole numbers with commas between, got {text!r}. Try 255."
        )
    return tuple(int(part) for part in parts)


def parse_stack(items: Sequence[str] | None) -> dict[str, str] | None:
    """Return band -> pattern of `BAND=PATTERN` items.

    Raises:
        ParameterError: an item without `=`.
    """
    if not items:
        return None
    stack = {}
    for item in items:
        band, separator, pattern = item.partition("=")
        if not separator:
            raise ParameterError(
                f"--stack must read BAND=PATTERN, got {item!r}. Write for example B04=*_B04.tif."
            )
        stack[band] = pattern
    return stack
