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
from windhover.dataset.catalog import Catalog, SceneRow, scene_info
from windhover.dataset.class_maps import UNKNOWN
from windhover.dataset.mask_files import find_mask_files
from windhover.errors import DataError, ParameterError, WindhoverError
from windhover.geometry.arrays import Floats
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
    if request.labels is None or request.is_coverage:
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
        indices, found = _windows_of(row, len(catalog.classes), catalog.gsd_m)
        scene += [number] * len(indices)
        class_index += indices
        boxes.append(found)
    sides = np.full(len(scene), np.nan)
    return ObjectsOnGround(
        np.array(scene, np.int64),
        np.array(class_index, np.int64),
        np.concatenate([np.zeros((0, 4)), *boxes]),
        sides,
        sides,
    )


def _windows_of(row: SceneRow, n_classes: int, gsd_m: float) -> tuple[list[int], Floats]:
    """Return the commonest class of each window with one, and its box in m of the scene."""
    with rasterio.open(str(row.class_map)) as dataset:
        classes = dataset.read(1)
    side_y, side_x = (max(round(WINDOW_PX * gsd_m / own), 1) for own in (row.gsd_y_m, row.gsd_x_m))
    indices = []
    boxes = []
    for top in range(0, classes.shape[0], side_y):
        for left in range(0, classes.shape[1], side_x):
            window = classes[top : top + side_y, left : left + side_x]
            counts = np.bincount(window[window != UNKNOWN], minlength=n_classes + 1)[1:]
            if counts.sum() < MIN_SHARE * window.size or not counts.sum():
                continue
            indices.append(int(counts.argmax()))
            bottom, right = top + window.shape[0], left + window.shape[1]
            boxes.append(
                (left * row.gsd_x_m, top * row.gsd_y_m, right * row.gsd_x_m, bottom * row.gsd_y_m)
            )
    return indices, np.array(boxes, np.float64).reshape(-1, 4)


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
        MeasuredScene(
            scene=row.scene,
            path=row.path,
            width_px=row.width_px,
            height_px=row.height_px,
            gsd_m=round(max(row.gsd_m), GSD_DIGITS),
            crs=row.crs,
            place=row.place,
            labeled=row.labeled,
            objects=per_scene[number],
        )
        for number, row in enumerate(catalog)
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
        ignored=0,
        geometry={},
        length_m=None,
        width_m=None,
        nearest_m=None,
        nearest_sizes=None,
        merged={},
        marked_twice=0.0,
        color=None,
        notes=tuple(catalog.report.notes),
    )
