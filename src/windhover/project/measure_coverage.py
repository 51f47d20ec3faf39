"""Scenes and their class rasters measured: which ground is covered by a class, window by window.

The measured "objects" are windows of ground with a class on them, so that a split is planned by the
rules of objects.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import rasterio

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import (
    Catalog,
    SceneRow,
    open_catalog_scene,
    open_class_map,
    scene_info,
)
from windhover.dataset.class_maps import count_cells
from windhover.dataset.mask_files import find_mask_files
from windhover.errors import DataError, ParameterError, WindhoverError
from windhover.geometry.arrays import Floats, Ints
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.rasters import SceneInfo
from windhover.params import check_params
from windhover.params.scenes import BACKGROUND, ScenesParams
from windhover.progress import counted
from windhover.project.measure import (
    GSD_DIGITS,
    MeasuredData,
    UsableRasters,
    raw_and_pattern,
    usable_rasters,
)
from windhover.project.measure_objects import ObjectsOnGround
from windhover.project.measurements import MeasuredScene, Measurements
from windhover.project.request import ProjectRequest, absolute_path

MIN_SHARE = 0.05  # of a window's px, from which a class is on it
MIN_WINDOWS = 3  # with a class, with which training still runs
N_VALUES_SHOWN = 8
READ_PX = 1024  # side of what is read of a class raster to name its values


def masks_of(request: ProjectRequest) -> str | None:
    """Return `scenes.masks` of a request: None where class rasters are found among the scenes."""
    if request.labels is None or request.scenes is None:
        return None
    labels = absolute_path(request.labels)
    return None if labels == absolute_path(request.scenes) else str(labels)


def check_labels_are_no_masks(request: ProjectRequest) -> None:
    """Check that labels of objects are no folder of class rasters.

    Raises:
        ParameterError: they are, and what their values mean is not known.
    """
    if request.labels is None:
        return
    place = absolute_path(request.labels)
    try:
        paths = find_mask_files(place.parent, str(place))
        if not paths:
            return
        values = _first_values(paths[0])
    except (WindhoverError, OSError, rasterio.errors.RasterioError):
        return  # no raster: a file of labels, which its reader knows
    raise ParameterError(
        f"--labels {request.labels}: holds rasters. If they are class rasters, name their values, "
        f"such as --mask-values 0=background,1=cloud; {paths[0].name} holds {values}."
    )


def _first_values(path: Path) -> str:
    with rasterio.open(path) as dataset:
        shape = (min(dataset.height, READ_PX), min(dataset.width, READ_PX))
        values = np.unique(dataset.read(1, out_shape=shape)).tolist()
    shown = ", ".join(f"{value:g}" for value in values[:N_VALUES_SHOWN])
    return f"{shown}, ..." if len(values) > N_VALUES_SHOWN else shown


def measure_coverage(request: ProjectRequest) -> MeasuredData:
    """Measure the scenes and class rasters that a person names.

    Raises:
        DataError: no raster can be used, or hardly any ground has a class.
        WindhoverError: what the stage `scenes` raises.
    """
    if request.scenes is None:
        raise ValueError("there are no scenes to measure")
    raw, pattern = raw_and_pattern(request.scenes)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mask_files = find_mask_files(raw, masks_of(request))
        rasters = usable_rasters(raw, pattern, request, folder=folder, masks=mask_files)
        exclude = [one.name for one in rasters.left_out]
        params = _scenes_params(rasters, request, exclude=exclude)
        catalog = build_catalog(params, folder, folder)
        objects = _windows_with_a_class(catalog)
    infos = [scene_info(row) for row in catalog]
    _check_windows(objects, request)
    return MeasuredData(_record(catalog, infos, objects, rasters, request=request), infos, objects)


def _scenes_params(
    rasters: UsableRasters, request: ProjectRequest, *, exclude: list[str]
) -> ScenesParams:
    """Return the parameters by which the stage would read the scenes, all of them in train."""
    groups = None if request.groups is None else str(absolute_path(request.groups))
    sizes = [max(info.gsd_m) for info in rasters.found.infos]
    values = {
        "task": "coverage",
        "raw": str(rasters.raw),
        "rasters": rasters.pattern,
        "exclude": exclude,
        "stack": None if rasters.stack is None else rasters.stack.patterns,
        "gsd_m": round(median(sizes), GSD_DIGITS),
        "native_gsd_m": request.gsd_m,
        "masks": masks_of(request),
        "mask_values": request.mask_values,
        "mask_ignore": list(request.mask_ignore),
        "groups": groups,
        "group_column": request.group_column,
        "areas": None if request.areas is None else str(absolute_path(request.areas)),
        "split_fractions": [1.0, 0.0, 0.0],
    }
    return check_params("scenes", ScenesParams, values)


def _windows_with_a_class(catalog: Catalog) -> ObjectsOnGround:
    """Return the windows of ground on which a class is, each with the commonest one."""
    scene: list[int] = []
    class_index: list[int] = []
    boxes: list[Floats] = []
    for number, row in enumerate(catalog):
        if row.class_map is None:
            continue
        indices, found = _windows_of(row, catalog)
        scene += [number] * len(indices)
        class_index += indices.tolist()
        boxes.append(found)
    sides = np.full(len(scene), np.nan)
    return ObjectsOnGround(
        np.array(scene, np.int64),
        np.array(class_index, np.int64),
        np.concatenate([np.zeros((0, 4)), *boxes]),
        sides,
        sides,
    )


def _windows_of(row: SceneRow, catalog: Catalog) -> tuple[Ints, Floats]:
    """Return the commonest class of each window with one, and its box in m of the scene."""
    with (
        open_catalog_scene(row, catalog.gsd_m) as scene,
        open_class_map(row, scene) as class_map,
    ):
        counts, places = count_cells(class_map, WINDOW_PX, len(catalog.classes))
        height_px, width_px = scene.shape_hw
    has_class = counts[1:].sum(axis=0) >= MIN_SHARE * WINDOW_PX**2
    left_top = places[has_class][:, ::-1] * WINDOW_PX
    right_bottom = np.minimum(left_top + WINDOW_PX, (width_px, height_px))
    boxes = np.concatenate([left_top, right_bottom], axis=1) * catalog.gsd_m
    return counts[1:, has_class].argmax(axis=0), boxes


def _check_windows(objects: ObjectsOnGround, request: ProjectRequest) -> None:
    """Check that there is something to learn.

    Raises:
        DataError: hardly any ground has a class.
    """
    if len(objects.scene) < MIN_WINDOWS:
        names = ", ".join(sorted(set((request.mask_values or {}).values()) - {BACKGROUND}))
        windows = counted(len(objects.scene), "window")
        raise DataError(
            f"{request.labels or request.scenes}: {names} is on {windows} of {WINDOW_PX} px, all "
            f"scenes together, too little to learn from: {MIN_WINDOWS} windows are the least. "
            "Correct --mask-values, or label more ground."
        )


def _record(
    catalog: Catalog,
    infos: list[SceneInfo],
    objects: ObjectsOnGround,
    rasters: UsableRasters,
    *,
    request: ProjectRequest,
) -> Measurements:
    """Return what was measured, its objects being windows of ground."""
    per_scene = Counter(objects.scene.tolist())
    scenes = tuple(
        MeasuredScene.of(info, row.place, labeled=row.labeled, objects=per_scene[number])
        for number, (row, info) in enumerate(zip(catalog, infos, strict=True))
    )
    names = [catalog.classes[number] for number in objects.class_index.tolist()]
    return Measurements(
        raw=str(rasters.raw),
        rasters=rasters.pattern,
        labels=masks_of(request) or "auto",
        scenes=scenes,
        left_out=tuple(rasters.left_out),
        stack=None if rasters.stack is None else rasters.stack.patterns,
        coarse_bands=() if rasters.stack is None else rasters.stack.coarse,
        bands=tuple(catalog.bands),
        all_bands=all(info.bands == tuple(catalog.bands) for info in infos),
        dtype=infos[0].dtype,
        native_gsd_m=catalog.gsd_m,
        stated_gsd_m=request.gsd_m if any(info.crs is None for info in infos) else None,
        megapixels=sum(info.width_px * info.height_px for info in infos) / 1e6,
        classes=dict(sorted(Counter(names).items())),
        task="coverage",
        notes=tuple(catalog.report.notes),
    )
