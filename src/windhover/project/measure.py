"""Scenes and labels measured: what there is, how large objects are, how near to one another.

Reads every raster once, places the labels as the `scenes` stage does, and decides nothing but which
rasters cannot be used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import geopandas
import pandas as pd
import shapely

from windhover.dataset.align_labels import AlignedLabels, align_labels
from windhover.dataset.areas import read_areas
from windhover.dataset.catalog_report import PixelShares
from windhover.dataset.check_rasters import check_pixels
from windhover.dataset.discover import FoundScenes, find_scenes, matching_rasters, stack_scenes
from windhover.dataset.duplicate_labels import drop_near_duplicates
from windhover.dataset.grouping import MatchedGroups, match_groups, read_groups
from windhover.dataset.label_classes import notes_on_class_names
from windhover.dataset.labels_without_data import drop_labels_without_data
from windhover.dataset.mask_files import exclusion_patterns
from windhover.dataset.raw_sources import notes_on_pixels
from windhover.dataset.splits import join_places
from windhover.errors import DataError, WindhoverError
from windhover.geometry import georef
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.labels.formats import find_labels, read_labels
from windhover.params.scenes import ScenesParams
from windhover.progress import counted
from windhover.project.find_stack import BandStack, find_stack
from windhover.project.measure_objects import (
    TWICE_IOU,
    ObjectsOnGround,
    measure_color,
    measure_crowding,
    objects_on_ground,
)
from windhover.project.measurements import LeftOut, MeasuredScene, Measurements, Quantiles
from windhover.project.request import ProjectRequest, absolute_path

MIN_OBJECTS = 3  # labelled ones, with which training still runs
GSD_DIGITS = 6
POINT, BOX, POLYGON = "points", "boxes", "polygons"


@dataclass(frozen=True)
class MeasuredData:
    """The measurements, and what they were taken from.

    Attributes:
        record: the measurements.
        infos: the scenes.
        objects: the labelled objects that count, in metres of their scenes.
    """

    record: Measurements
    infos: list[SceneInfo]
    objects: ObjectsOnGround


@dataclass(frozen=True)
class UsableRasters:
    """The rasters that can be used.

    Attributes:
        raw: their folder.
        pattern: of their paths in it; None for all.
        stack: how single-band files make scenes; None where each file is a scene.
        found: the scenes.
        left_out: the other rasters.
        pixels: scene -> shares of its pixels.
    """

    raw: Path
    pattern: str | None
    stack: BandStack | None
    found: FoundScenes
    left_out: list[LeftOut]
    pixels: dict[str, PixelShares]


def measure(request: ProjectRequest) -> MeasuredData:
    """Measure the scenes and labels that a person names.

    Raises:
        DataError: no raster can be used, pictures without georeference and no `--gsd`, or no
            label on any scene.
        WindhoverError: what the label readers raise.
    """
    if request.scenes is None:
        raise ValueError("there are no scenes to measure")
    raw, pattern = raw_and_pattern(request.scenes)
    labels_text = "auto" if request.labels is None else str(absolute_path(request.labels))
    with TemporaryDirectory() as temporary:
        rasters = usable_rasters(raw, pattern, request, folder=Path(temporary))
        aligned, notes = _place_labels(rasters, labels_text, request)
        infos = _infos_of_majority(rasters, aligned)
        labeled = aligned.covered_scenes | _scenes_of_complete_areas(request, infos)
        kept = {info.name for info in infos}
        of_kept = aligned.labels[aligned.labels["scene"].isin(kept)].reset_index(drop=True)
        seen = drop_labels_without_data(of_kept, infos, rasters.pixels, bands=_bands_of(infos))
        labels = seen.labels
        objects = objects_on_ground(labels, infos)
        crowding = measure_crowding(objects)
        if crowding["marked_twice"]:  # as the proposed `scenes.duplicate_iou` will
            labels, _ = drop_near_duplicates(labels, TWICE_IOU)
            objects = objects_on_ground(labels, infos)
        _check_labels(labels, rasters, request)
        color = measure_color(labels, infos, Path(temporary))
    groups = _groups(rasters, request)
    record = Measurements(
        raw=str(raw),
        rasters=pattern,
        labels=labels_text,
        scenes=_measured_scenes(infos, labeled, labels, groups),
        left_out=(*rasters.left_out, *_left_out_of_majority(rasters, infos)),
        stack=None if rasters.stack is None else rasters.stack.patterns,
        coarse_bands=() if rasters.stack is None else rasters.stack.coarse,
        bands=_bands_of(infos),
        all_bands=all(info.bands == infos[0].bands for info in infos),
        dtype=infos[0].dtype,
        native_gsd_m=_native_gsd_m(infos, labels),
        stated_gsd_m=request.gsd_m if any(info.crs is None for info in infos) else None,
        megapixels=sum(info.width_px * info.height_px for info in infos) / 1e6,
        classes=dict(sorted(Counter(labels.loc[~labels["ignored"], "class"].tolist()).items())),
        ignored=int(labels["ignored"].sum()),
        geometry=_kinds_of_shapes(labels),
        length_m=Quantiles.of(objects.length_m),
        width_m=Quantiles.of(objects.width_m),
        color=color,
        dropped={reason: count for reason, count in aligned.dropped.items() if count},
        notes=tuple(
            dict.fromkeys(
                [
                    *notes_on_pixels(infos, rasters.pixels),
                    *seen.notes,
                    *notes,
                    *aligned.notes,
                    *groups.notes,
                    *notes_on_class_names(labels["class"]),
                ]
            )
        ),
        **crowding,
    )
    return MeasuredData(record, infos, objects)


def raw_and_pattern(scenes: Path) -> tuple[Path, str | None]:
    """Return the folder of the rasters, and a pattern where one raster is named."""
    scenes = absolute_path(scenes)
    if scenes.is_file():
        return scenes.parent, f"/{escape(scenes.name)}"
    return scenes, None


def usable_rasters(
    raw: Path,
    pattern: str | None,
    request: ProjectRequest,
    *,
    folder: Path,
    masks: Sequence[Path] = (),
) -> UsableRasters:
    """Return the rasters that can be opened and read.

    Args:
        raw: their folder.
        pattern: of their paths in it; None for all.
        request: what the person asks for.
        folder: where virtual rasters of stacked bands are written.
        masks: class rasters, which are no scenes.

    Raises:
        DataError: there are none, or no GSD of those without georeference is stated.
    """
    paths = [path for path in matching_rasters(raw, pattern) if path not in masks]
    if not paths:
        raise DataError(f"{request.scenes}: holds no raster. Name the folder of your scenes.")
    stack = find_stack(paths)
    if stack is not None:
        found = stack_scenes(
            raw, stack.patterns, native_gsd_m=request.gsd_m, folder=folder, final=folder
        )
        return UsableRasters(raw, pattern, stack, found, [], check_pixels(found.infos))
    left_out = _faults_of_headers(paths, raw, request)
    exclude = [one.name for one in left_out]
    if len(exclude) == len(paths):
        raise DataError(f"no raster of {request.scenes} can be used. {left_out[0].reason}")
    exclude += exclusion_patterns(masks, raw)
    found = find_scenes(raw, pattern, request.gsd_m, exclude=exclude)
    infos = []
    pixels: dict[str, PixelShares] = {}
    for info in found.infos:
        try:
            pixels |= check_pixels([info])
        except WindhoverError as error:
            left_out.append(LeftOut(name=_pattern_of(Path(info.path), raw), reason=str(error)))
        else:
            infos.append(info)
    if not infos:
        raise DataError(f"no raster of {request.scenes} can be used. {left_out[-1].reason}")
    return UsableRasters(raw, pattern, None, replace(found, infos=infos), left_out, pixels)


def _faults_of_headers(paths: Sequence[Path], raw: Path, request: ProjectRequest) -> list[LeftOut]:
    """Return the rasters that cannot be opened as scenes.

    Pictures without georeference count as scenes where no raster has one; next to georeferenced
    rasters they are taken for quicklooks, unless a GSD is stated.

    Raises:
        DataError: only pictures without georeference, and no GSD is stated.
    """
    faults = []
    without_georeference = []
    n_georeferenced = 0
    for path in paths:
        try:
            info = inspect_scene(path, request.gsd_m or 1.0)
        except WindhoverError as error:
            faults.append(LeftOut(name=_pattern_of(path, raw), reason=error.sentence()))
            continue
        if info.crs is None:
            without_georeference.append(path)
        else:
            n_georeferenced += 1
    if without_georeference and request.gsd_m is None and not n_georeferenced:
        raise DataError(
            f"{request.scenes}: {counted(len(without_georeference), 'picture')} without "
            f"georeference ({without_georeference[0].name}), so the scale is unknown. Say the "
            "metres per pixel: --gsd 0.5."
        )
    if request.gsd_m is None:
        for path in without_georeference:
            reason = (
                "a picture without georeference beside rasters with one; --gsd METRES takes it too"
            )
            faults.append(LeftOut(name=_pattern_of(path, raw), reason=reason))
    return faults


def _pattern_of(path: Path, raw: Path) -> str:
    """Return the pattern that leaves one raster out."""
    relative = path.absolute().relative_to(raw)
    return f"/{escape(relative.as_posix())}"


def _place_labels(
    rasters: UsableRasters, labels: str, request: ProjectRequest
) -> tuple[AlignedLabels, list[str]]:
    """Return the labels on the scenes, and what their readers note."""
    files = find_labels(
        rasters.raw,
        labels,
        rasters.found.names,
        exclude=[path for path in (request.areas, request.groups) if path is not None],
    )
    sources = []
    notes = list(files.notes)
    for path, scene in files.scene_of.items():
        read = read_labels(path, request.class_column)
        notes += [f"{path.name}: {note}" for note in read.notes]
        sources.append((read, scene))
    return align_labels(rasters.found.infos, sources, rasters.found.names), notes


def _scenes_of_complete_areas(request: ProjectRequest, infos: list[SceneInfo]) -> set[str]:
    """Return the scenes that areas call labelled; reading them checks them before a training.

    Raises:
        WindhoverError: what `read_areas` raises.
    """
    if request.areas is None:
        return set()
    areas = read_areas(absolute_path(request.areas), infos)
    return set(areas.loc[areas["role"] == "complete", "scene"])


def _check_labels(
    labels: geopandas.GeoDataFrame, rasters: UsableRasters, request: ProjectRequest
) -> None:
    """Check that there is something to learn.

    Args:
        labels: on the scenes that can be used.
        rasters: those scenes.
        request: what the person asks for.

    Raises:
        DataError: no label on any scene, or hardly any.
    """
    n_objects = int((~labels["ignored"]).sum())
    if n_objects >= MIN_OBJECTS:
        return
    if not len(labels):
        where = f"{request.labels}: holds" if request.labels else f"{request.scenes}: there is"
        raise DataError(
            f"{where} no label on any of the {len(rasters.found.infos)} scenes, so there is "
            "nothing to learn from. Name the file of the objects' outlines: --labels FILE."
        )
    raise DataError(
        f"{n_objects} labelled {'object is' if n_objects == 1 else 'objects are'} too few to learn "
        f"from: {MIN_OBJECTS} are the least that training and a first look need, 30 a good start. "
        "Label more."
    )


def _infos_of_majority(rasters: UsableRasters, aligned: AlignedLabels) -> list[SceneInfo]:
    """Return the scenes of the kind of bands and number type that most labels are on.

    Scenes that have all bands of that kind and more, such as an alpha band before others, stay.
    """
    n_labels = aligned.labels["scene"].value_counts()
    weights: Counter[tuple[tuple[str, ...], str]] = Counter()
    for info in rasters.found.infos:
        weights[info.bands, info.dtype] += int(n_labels.get(info.name, 0)) + 1
    (bands, dtype), _ = max(weights.items(), key=lambda item: (item[1], item[0]))
    return [
        info
        for info in rasters.found.infos
        if info.dtype == dtype and set(bands) <= set(info.bands)
    ]


def _left_out_of_majority(rasters: UsableRasters, infos: Sequence[SceneInfo]) -> list[LeftOut]:
    """Return the scenes of other bands or another number type than the ones that stay."""
    kept = {info.name for info in infos}
    bands = ", ".join(_bands_of(infos))
    left_out = []
    for info in rasters.found.infos:
        if info.name in kept:
            continue
        reason = (
            f"{info.dtype} with the bands {', '.join(info.bands)}, while the labels are on "
            f"{infos[0].dtype} with {bands}: one model reads one kind"
        )
        left_out.append(LeftOut(name=_pattern_of(Path(info.path), rasters.raw), reason=reason))
    return left_out


def _bands_of(infos: Sequence[SceneInfo]) -> tuple[str, ...]:
    """Return the bands of the scene that has fewest: every other one has them too."""
    return min((info.bands for info in infos), key=len)


def _native_gsd_m(infos: Sequence[SceneInfo], labels: pd.DataFrame) -> float:
    with_labels = set(labels["scene"])
    sizes = [max(info.gsd_m) for info in infos if info.name in with_labels]
    return round(median(sizes), GSD_DIGITS)


def _kinds_of_shapes(labels: geopandas.GeoDataFrame) -> dict[str, int]:
    """Return kind of shape -> labels."""
    shapes = labels["geometry"].to_numpy(object)
    is_point = shapely.area(shapes) == 0
    is_box = shapely.area(shapes) >= shapely.area(shapely.envelope(shapes)) * (1 - 1e-6)
    counts = {
        POINT: int(is_point.sum()),
        BOX: int((is_box & ~is_point).sum()),
        POLYGON: int((~is_box & ~is_point).sum()),
    }
    return {kind: count for kind, count in counts.items() if count}


def _groups(rasters: UsableRasters, request: ProjectRequest) -> MatchedGroups:
    """Return the places that a table states."""
    params = ScenesParams(
        groups=None if request.groups is None else str(absolute_path(request.groups)),
        group_column=request.group_column,
    )
    table = read_groups(rasters.raw, params)
    return match_groups(table, rasters.found.names, [info.name for info in rasters.found.infos])


def _measured_scenes(
    infos: Sequence[SceneInfo],
    labeled: set[str],
    labels: pd.DataFrame,
    groups: MatchedGroups,
) -> tuple[MeasuredScene, ...]:
    stated = [
        groups.by_scene[info.name].place if info.name in groups.by_scene else info.name
        for info in infos
    ]
    places = _places(infos, stated)
    per_scene = labels.loc[~labels["ignored"], "scene"].value_counts()
    counts: Mapping[str, int] = {str(name): int(count) for name, count in per_scene.items()}
    return tuple(
        MeasuredScene.of(
            info,
            place,
            labeled=info.name in labeled,
            objects=int(counts.get(info.name, 0)),
        )
        for info, place in zip(infos, places, strict=True)
    )


def _places(infos: Sequence[SceneInfo], stated: Sequence[str]) -> list[str]:
    """Return the place of each scene: those that touch or overlap have one name."""
    footprints = [georef.footprint_4326(info.transform, info.crs, info.shape_hw) for info in infos]
    return join_places(stated, footprints, [max(info.gsd_m) for info in infos])[0]
