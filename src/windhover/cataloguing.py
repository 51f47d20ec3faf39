"""Raw rasters and labels -> the catalogue: found, checked, placed in pixels and divided by place.

Decides nothing about training. What it drops or finds odd is counted in the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd

from windhover import georef
from windhover.catalogue import AREA_COLUMNS, LABEL_COLUMNS, Catalogue, empty_areas
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.labels import RawLabels, find_labels, read_labels
from windhover.locating import locate_labels
from windhover.params.scenes import ScenesParams
from windhover.progress import track
from windhover.scenes import Scene, SceneInfo, inspect_scene
from windhover.splits import SPLITS, assign_splits, join_places

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".jpg", ".jpeg", ".png", ".img", ".ntf", ".hdf", ".nc")
TINY_PX = 3.0  # an object smaller than this at the training GSD can hardly be seen
CHECK_WHOLE_PX = 32_000_000  # rasters up to this are read whole once, larger ones at their corners and centre


def build_catalogue(params: ScenesParams) -> Catalogue:
    """Find rasters and labels, check them and return the catalogue.

    Args:
        params: of the stage.

    Raises:
        MissingFileError: the raw folder or a named file is not there.
        FormatError: a raster or a label file is broken.
        UnsupportedError: a raster is of a kind that is not taken.
        DataError: no raster, no label on any raster, unknown classes, bands that differ, too few places.
    """
    folder = raw_folder(params.raw)
    infos = find_scenes(folder, params.native_gsd_m)
    check_pixels(infos)
    bands = common_bands(infos, params.bands)
    files = find_labels(folder, params.labels, [info.name for info in infos])
    sources = [(read_labels(path, params.class_column), scene) for path, scene in files.items()]
    located, spoken_of, report = locate_labels(infos, sources)
    labels = _classed(located, params, infos)
    labelled = spoken_of | ({info.name for info in infos} if params.empty_scenes == "complete" and files else set())
    scenes = _scene_table(infos, bands, labelled)
    scenes, place_report = _divide(scenes, labels, folder, params)
    report = {"training_gsd_m": params.gsd_m, "bands": bands} | report | place_report | _counts(scenes, labels, params)
    return Catalogue(scenes, labels, empty_areas(), report)


def raw_folder(raw: str) -> Path:
    """Return the folder of the rasters.

    Raises:
        MissingFileError: it is not there, or is a file.
    """
    folder = Path(raw)
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise MissingFileError(
            f"`scenes.raw` must be a folder, but {raw} {what}. Set `scenes.raw` in params.yaml to the "
            "folder of your rasters."
        )
    return folder


def find_scenes(folder: Path, native_gsd_m: float | None) -> list[SceneInfo]:
    """Return what the rasters of a folder are, sorted by name; names that would clash take their folder's in front.

    Raises:
        DataError: the folder holds no raster.
        FormatError, UnsupportedError: of one of the rasters.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in RASTER_SUFFIXES and path.is_file() and not _hidden(path, folder)
    )
    if not paths:
        raise DataError(
            f"{folder}: holds no raster ({', '.join(RASTER_SUFFIXES[:6])}, ...). Set `scenes.raw` to "
            "the folder of your rasters."
        )
    clashes = {stem for stem, count in Counter(path.stem for path in paths).items() if count > 1}
    infos = []
    for path in track(paths, "looking at rasters", len(paths)):
        name = path.stem if path.stem not in clashes else "--".join(path.relative_to(folder).with_suffix("").parts)
        if path.stem in clashes and sum(other.with_suffix("") == path.with_suffix("") for other in paths) > 1:
            name += path.suffix.replace(".", "--")
        infos.append(replace(inspect_scene(path, native_gsd_m), name=name, path=_portable(path)))
    return sorted(infos, key=lambda info: info.name)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _portable(path: Path) -> str:
    """Return the path from the project's root where it is inside, else absolute."""
    absolute, root = path.absolute(), Path.cwd()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.as_posix()


def check_pixels(infos: Iterable[SceneInfo]) -> None:
    """Read every raster once (large ones at five places), so that a damaged one is known now and not in training.

    Raises:
        FormatError: a raster cannot be read; names the file and where.
    """
    infos = list(infos)
    for info in track(infos, "checking rasters", len(infos)):
        with Scene(info) as scene:
            height, width = scene.shape_hw
            if height * width <= CHECK_WHOLE_PX:
                scene.read(0, 0, height, width)
                continue
            for row, col in (
                (0, 0),
                (0, width - 64),
                (height // 2, width // 2),
                (height - 64, 0),
                (height - 64, width - 64),
            ):
                scene.read(row, col, 64, 64)


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
                f"{'wanted' if wanted else f'those of {infos[0].path}'}. Name bands that all rasters "
                "have in `scenes.bands`, or take this raster out."
            )
        if info.dtype != infos[0].dtype:
            raise DataError(
                f"{info.path}: dtype {info.dtype}, but {infos[0].path} has {infos[0].dtype}: one "
                "model reads one dtype. "
                "Convert one of them with gdal_translate -ot."
            )
    return bands


def _classed(located: geopandas.GeoDataFrame, params: ScenesParams, infos: list[SceneInfo]) -> geopandas.GeoDataFrame:
    """Give labels their class and role, and the lengths of their boxes' sides on the ground."""
    known = set(params.classes) | set(params.ignore_classes)
    unknown = sorted(set(located["class"]) - known) if params.classes else []
    if unknown:
        raise DataError(
            f"The labels hold the class {unknown[0]!r}, which is neither in `scenes.classes` nor in "
            "`scenes.ignore_classes` "
            f"({', '.join(sorted(known))}). Add it to one of them."
        )
    absent = sorted(set(params.classes) - set(located["class"]))
    if absent and len(absent) == len(params.classes):
        raise DataError(
            f"`scenes.classes` names {', '.join(absent)}, but the labels hold "
            f"{', '.join(sorted(set(located['class'])))}. Mend the names."
        )
    labels = located.copy()
    labels["role"] = np.where(labels["class"].isin(params.ignore_classes), "ignore", "object")
    labels["class"] = labels["class"].map(lambda name: params.classes.get(name, name))
    sides = np.full((len(labels), 2), np.nan)
    by_name = {info.name: info for info in infos}
    boxes = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    for name, rows in labels.groupby("scene").indices.items():
        info = by_name[str(name)]
        sides[rows] = georef.box_sides_m(boxes[rows], info.transform, info.crs)
    sides[(boxes[:, 2] <= boxes[:, 0]) & (boxes[:, 3] <= boxes[:, 1])] = np.nan  # points have no size
    labels["length_m"], labels["width_m"] = sides.max(axis=1), sides.min(axis=1)
    return labels[list(LABEL_COLUMNS)]


def _scene_table(infos: list[SceneInfo], bands: list[str], labelled: set[str]) -> pd.DataFrame:
    rows = []
    for info in infos:
        footprint = georef.footprint_4326(info.transform, info.crs, info.shape_hw)
        rows.append(
            {
                "scene": info.name, "path": info.path, "width_px": info.width_px, "height_px": info.height_px,
                "bands": list(info.bands), "dtype": info.dtype, "nodata": info.nodata, "crs": info.crs,
                "transform": list(info.transform)[:6], "gsd_x_m": info.gsd_m[0], "gsd_y_m": info.gsd_m[1],
                "labelled": info.name in labelled, "footprint_wkt_4326": None if footprint is None else footprint.wkt,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _divide(
    scenes: pd.DataFrame, labels: pd.DataFrame, folder: Path, params: ScenesParams
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Add the place and the split of each scene."""
    import shapely

    groups = _read_groups(folder, params)
    stated = [groups.get(name, (name, "")) for name in scenes["scene"]]
    footprints = [None if wkt is None else shapely.from_wkt(wkt) for wkt in scenes["footprint_wkt_4326"]]
    places, joined = join_places([place for place, _ in stated], footprints)
    fixed: dict[str, str] = {}
    unknown = sorted(set(params.fixed_splits) - {place for place, _ in stated})
    if unknown:
        raise DataError(f"`scenes.fixed_splits` names the place {unknown[0]!r}, which no raster has. Mend the name.")
    for scene, place, (own, split) in zip(scenes["scene"], places, stated, strict=True):
        split = split or params.fixed_splits.get(own, "")
        if split and fixed.setdefault(place, split) != split:
            raise DataError(
                f"Scene {scene} is fixed to {split}, but another scene of the same place {place} is "
                f"fixed to {fixed[place]}; "
                "scenes that touch or overlap are one place. Give them one split."
            )
    scenes = scenes.assign(place=places)
    objects = labels[labels["role"] == "object"]["scene"].value_counts()
    counts = scenes.assign(objects=scenes["scene"].map(objects).fillna(0).astype(int)).groupby("place")["objects"].sum()
    splits = assign_splits(
        {str(place): int(count) for place, count in counts.items()}, params.split_fractions, params.seed, fixed
    )
    report = {"places": len(counts), "places_joined_because_footprints_touch": [list(pair) for pair in joined]}
    return scenes.assign(split=[splits[place] for place in places]), report


def _read_groups(folder: Path, params: ScenesParams) -> dict[str, tuple[str, str]]:
    """Return scene -> (place, fixed split or "")."""
    if params.groups is None:
        return {}
    path = folder / params.groups
    table = _read_table(path, "scenes.groups")
    column = params.group_column or "place"
    if column not in table.columns:
        raise FormatError(
            f"{path}: has no column {column!r}; its columns are {', '.join(table.columns)}. Set `scenes.group_column`."
        )
    key = next(
        name for name in ("scene", "image_id", "image", "filename", "file", table.columns[0]) if name in table.columns
    )
    splits = table["split"] if "split" in table.columns else pd.Series([""] * len(table))
    wrong = sorted(set(splits) - {"", *SPLITS})
    if wrong:
        raise FormatError(f"{path}: {wrong[0]!r} is no split. Write train, val, test, or nothing.")
    return {
        Path(str(scene)).stem: (place, split)
        for scene, place, split in zip(table[key], table[column], splits, strict=True)
    }


def _read_table(path: Path, key: str) -> pd.DataFrame:
    if not path.is_file():
        raise MissingFileError(f"`{key}`: {path} does not exist. Name the CSV, or set null.")
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:
        raise FormatError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())}). Mend it.") from None


def _counts(scenes: pd.DataFrame, labels: pd.DataFrame, params: ScenesParams) -> dict[str, Any]:
    """Return counts by split and class, and sizes at the training GSD."""
    split_of = dict(zip(scenes["scene"], scenes["split"], strict=True))
    by_split = labels.assign(split=labels["scene"].map(split_of)).groupby(["split", "class", "role"], as_index=False)
    longest = labels["length_m"].to_numpy(np.float64) / params.gsd_m
    sized = np.isfinite(longest)
    return {
        "scenes": len(scenes),
        "unlabelled_scenes": scenes.loc[~scenes["labelled"], "scene"].tolist(),
        "labels": len(labels),
        "by_split": by_split.size().rename(columns={"size": "labels"}).to_dict("records"),
        "scenes_by_split": {name: int((scenes["split"] == name).sum()) for name in SPLITS},
        "longer_side_px_quantiles": [round(float(q), 2) for q in np.quantile(longest[sized], [0, 0.25, 0.5, 0.75, 1])]
        if sized.any()
        else [],
        "smaller_than_3_px": int((longest[sized] < TINY_PX).sum()),
        "larger_than_the_window": int((longest[sized] > 64).sum()),
    }


def summary_lines(catalogue: Catalogue) -> list[str]:
    """Return what the catalogue holds, for the terminal."""
    report = catalogue.report
    lines = [f"{report['scenes']} scenes of {report['places']} places, {report['labels']} labels"]
    for name in SPLITS:
        rows = [row for row in report["by_split"] if row["split"] == name]
        held = ", ".join(
            f"{row['labels']} {row['class']}" + (" (ignored)" if row["role"] == "ignore" else "") for row in rows
        )
        lines.append(f"  {name:5} {report['scenes_by_split'][name]:4} scenes: {held or 'no objects'}")
    if report["unlabelled_scenes"]:
        lines.append(f"  {len(report['unlabelled_scenes'])} scenes without labels are searched but not learned from")
    lines += [f"  {reason}: {count} labels" for reason, count in report["dropped"].items() if count]
    return lines


__all__ = ["AREA_COLUMNS", "Catalogue", "RawLabels", "build_catalogue", "summary_lines"]
