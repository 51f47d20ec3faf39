"""The flow of `windhover review DETECTIONS`: detections -> a file to go through in QGIS.

Rows and areas are chosen by `sampling`; nothing is learned and no label is changed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError, ParameterError
from windhover.files import atomic_file
from windhover.geometry.arrays import Floats, Ints
from windhover.geometry.windows import WINDOW_PX
from windhover.params.scenes import ScenesParams
from windhover.progress import counted
from windhover.review.answered import is_answered
from windhover.review.chip_features import WindowFeatures, chip_features, window_features
from windhover.review.empty_ground import empty_ground
from windhover.review.forms import add_forms
from windhover.review.ground_grid import GroundGrid, cut_grid
from windhover.review.label_state import LabelState, load_project_state
from windhover.review.order_rows import (
    check_order,
    order_by_doubt,
    order_by_false_alarms,
    order_by_grid,
    order_by_variety,
)
from windhover.review.placing import file_crs
from windhover.review.qgis_project import project_path, write_project
from windhover.review.review_layers import layers_of, shown_shape, write_layers
from windhover.review.review_record import (
    ReviewArea,
    ReviewLabel,
    ReviewRecord,
    ReviewRow,
    ReviewScene,
    write_record,
)
from windhover.review.sampling import RowSample, sample_areas, sample_rows
from windhover.review.search_result import (
    SearchResult,
    rasters_alone,
    read_search_result,
)

AREA_WINDOWS = 8  # side of an area, in windows
WINDOW_SLACK_PX = 8  # so that windows of the usual stride fit around a detection's center
DOUBTFUL_PER_ROW = 10  # among which variety is sought, a row of the budget
POINT_SHARE = 0.1  # side of the square by which a point is shown, in windows
CLASS_OF_NOTHING = "object"  # where neither labels nor detections name a class


@dataclass(frozen=True)
class ReviewRequest:
    """What is to be reviewed, and how much of it.

    Attributes:
        output: GeoPackage to write, which is not there yet.
        budget: rows.
        n_areas: areas that are drawn.
        area_m: their side, None for eight windows.
        order: of the rows.
        least_score: of a detection that is asked for.
        seed: of the draws.
        gsd_m: of rasters without georeference that are labelled from nothing.
        classes: that a label may have, next to those known.
        features: of windows by a network, for much variety; None takes small pictures.
    """

    output: Path
    budget: int = 50
    n_areas: int = 6
    area_m: float | None = None
    order: str = "doubt"
    least_score: float = 0.0
    seed: int = 0
    gsd_m: float | None = None
    classes: tuple[str, ...] = ()
    features: WindowFeatures | None = None


def make_review(
    path: Path, request: ReviewRequest, params: ScenesParams | None = None
) -> list[str]:
    """Write the review of a result; return lines for the terminal.

    Args:
        path: a .gpkg or .parquet of `windhover detect`, or the folder of the detect stage.
        request: how much.
        params: of the project, whose labels are shown too; None for none.

    Raises:
        MissingFileError: no such file.
        FormatError: it is no result of a search.
        ParameterError: the output is there already, or an option is out of its range.
        DataError: scenes with and without georeference.
    """
    _check_request(request)
    return _write(read_search_result(path), request, params)


def make_empty_review(
    rasters: Sequence[Path], request: ReviewRequest, params: ScenesParams | None = None
) -> list[str]:
    """Write a review of rasters without a detection, to label them from nothing.

    Args:
        rasters: rasters, or folders of rasters.
        request: how much.
        params: of the project, whose labels are shown too; None for none.

    Raises:
        MissingFileError: no such raster, or a folder without one.
        ParameterError: the output is there already, or an option is out of its range.
        DataError: scenes with and without georeference.
    """
    _check_request(request)
    return _write(rasters_alone(rasters, request.gsd_m), request, params)


def _check_request(request: ReviewRequest) -> None:
    """Check options, and that no review is overwritten.

    Raises:
        ParameterError: one is out of its range, or the output is there.
    """
    check_order(request.order)
    if request.output.suffix != ".gpkg":
        raise ParameterError(f"{request.output}: a review is a .gpkg. Rename it.")
    if request.output.exists():
        raise ParameterError(
            f"{request.output}: is there already, and may hold answers. Apply it and remove it, or "
            "name another file: --output."
        )
    if request.budget < 2 or request.n_areas < 0:
        raise ParameterError(
            f"--budget must be 2 rows or more and --areas 0 or more, got {request.budget} and "
            f"{request.n_areas}. Give other numbers."
        )
    if not 0 <= request.least_score < 1:
        raise ParameterError(
            f"--least-score must be in [0, 1), got {request.least_score:g}. Correct it."
        )
    if request.area_m is not None and not request.area_m > 0:
        raise ParameterError(f"--area-m must be above 0 m, got {request.area_m:g}. Correct it.")


def _write(
    detections: SearchResult, request: ReviewRequest, params: ScenesParams | None
) -> list[str]:
    """Choose what is reviewed and write the file; return lines for the terminal."""
    state = LabelState() if params is None else load_project_state(params)
    scenes = [_with_raster(scene, state) for scene in detections.scenes]
    detections = replace(detections, scenes=scenes)
    if not detections.scenes:
        raise DataError("the result is of no scene. Search one: windhover detect.")
    window_m = (WINDOW_PX + WINDOW_SLACK_PX) * _training_gsd_m(detections, params)
    empty = empty_ground(detections, window_m)
    asked = detections.of_score(request.least_score)
    record = _make_record(asked, request, state, params, window_m=window_m, empty=empty)
    layers = layers_of(record)
    with atomic_file(request.output) as temporary:
        write_layers(layers, temporary)
        add_forms(temporary, record.classes, list(layers))
        write_record(temporary, record)
    project = project_path(request.output)
    if not project.exists():  # it may be a person's own
        write_project(request.output, record, layers)
    n_rows = min(request.budget, record.n_detections)
    rows = f"{counted(n_rows, 'row')} of {record.n_detections} detections"
    areas = f"{counted(len(record.areas), 'area')} to review in QGIS"
    return [
        f"{request.output}: {rows} and {areas}",
        f"{project} opens it over its rasters; then: windhover review --apply {request.output}",
    ]


def _with_raster(scene: ReviewScene, state: LabelState) -> ReviewScene:
    """Return the raster of searched blocks with its path and size, where the project has it."""
    known = state.scenes.get(scene.scene)
    if scene.path or known is None:
        return scene
    size = {"width_px": known.width_px, "height_px": known.height_px}
    return scene.model_copy(update={"path": known.path, **size})


def _make_record(
    detections: SearchResult,
    request: ReviewRequest,
    state: LabelState,
    params: ScenesParams | None,
    *,
    window_m: float,
    empty: Mapping[str, BaseGeometry],
) -> ReviewRecord:
    """Return what is asked."""
    side_m = request.area_m or AREA_WINDOWS * window_m
    cells = cut_grid(detections.scenes, detections.searched, side_m)
    cell_of = cells.cell_of(detections.scene, detections.centers)
    per_cell = np.bincount(cell_of[cell_of >= 0], minlength=len(cells.shape)).astype(np.float64)
    sampled = sample_areas(per_cell, request.n_areas, seed=request.seed)
    order = _order_rows(detections, request, state, params, window_m=window_m)
    sample = sample_rows(detections.score, order, request.budget, seed=request.seed)
    areas = _areas_of(sampled.selected, sampled.prob, cells, detections.scenes)
    number_of_cell = {int(cell): number for number, cell in enumerate(sampled.selected, 1)}
    labels, classes = _labels_of(detections, state, params, request, window_m=window_m)
    summary = detections.summary
    content: dict[str, Any] = {
        "model": summary.model if summary else "",
        "run": summary.run if summary else "",
        "order": request.order,
        "seed": request.seed,
        "crs": file_crs(detections.scenes),
        "thresholds": summary.thresholds if summary else {},
        "classes": classes,
        "window_m": window_m,
        "n_detections": len(detections.score),
        "stratum_sizes": tuple(np.bincount(sample.stratum).tolist()),
        "scenes": tuple(detections.scenes),
        "rows": _rows_of(detections, sample, cell_of, number_of_cell, window_m=window_m),
        "areas": areas,
        "labels": labels,
        "empty_ground": {scene: ground.wkt for scene, ground in empty.items()},
    }
    digest = hashlib.blake2b(repr(content).encode(), digest_size=6).hexdigest()
    return ReviewRecord(id=digest, **content)


def _training_gsd_m(detections: SearchResult, params: ScenesParams | None) -> float:
    """Return the GSD of a window: the project's, else that of the first raster."""
    if params is not None:
        return params.gsd_m
    return max(detections.scenes[0].gsd_m)


def _order_rows(
    detections: SearchResult,
    request: ReviewRequest,
    state: LabelState,
    params: ScenesParams | None,
    *,
    window_m: float,
) -> Ints:
    """Return the detections in the order that is asked for, those without an answer in front."""
    order = _asked_order(detections, request, window_m)
    if request.order == "random":
        return order
    around_labels = params is not None and params.labelled_within_m is not None
    answered = is_answered(detections, state, around_labels=around_labels)[order]
    return np.concatenate([order[~answered], order[answered]])


def _asked_order(detections: SearchResult, request: ReviewRequest, window_m: float) -> Ints:
    """Return the detections in the order that is asked for."""
    if request.order == "false-alarms":
        return order_by_false_alarms(detections.score)
    if request.order == "random":
        seeds = [request.seed, len(detections.score)]
        return np.random.default_rng(seeds).permutation(len(detections.score))
    doubt = order_by_doubt(detections.score, detections.threshold)
    if request.order == "doubt" or not len(doubt):
        return doubt
    if request.order == "grid":
        gsd = np.array([max(scene.gsd_m) for scene in detections.scenes])
        cell = AREA_WINDOWS * window_m / gsd[detections.scene]
        return order_by_grid(detections.scene, detections.centers, cell)
    # variety among all would read every picture, and show mostly what is sure
    doubtful = doubt[: DOUBTFUL_PER_ROW * request.budget]
    rows = [_row_of(detections, n) for n in doubtful]
    if request.features is not None:
        features = window_features(rows, detections.scenes, request.features)
    else:
        features = chip_features(rows, detections.scenes)
    varied = doubtful[order_by_variety(features, 0, request.budget)]
    return np.concatenate([varied, doubt[len(doubtful) :]])


def _row_of(detections: SearchResult, n: int, **sampled: Any) -> ReviewRow:
    """Return the row of a detection."""
    return ReviewRow(
        id=str(detections.id[n]),
        scene=detections.scenes[detections.scene[n]].scene,
        class_name=str(detections.class_name[n]),
        score=float(detections.score[n]),
        box=tuple(detections.box[n].tolist()),
        **sampled,
    )


def _rows_of(
    detections: SearchResult,
    sample: RowSample,
    cell_of: Ints,
    number_of_cell: Mapping[int, int],
    *,
    window_m: float,
) -> tuple[ReviewRow, ...]:
    """Return the rows in the order of review: those that were chosen, then those of the areas."""
    area_of = [number_of_cell.get(int(cell)) for cell in cell_of]
    in_areas = np.array([area is not None for area in area_of], bool)
    is_selected = np.zeros(len(cell_of), bool)
    is_selected[sample.order] = True
    order = np.concatenate([sample.order, np.flatnonzero(in_areas & ~is_selected)]).astype(np.int64)
    near = _others_near(detections, order, window_m)
    rows = [
        _row_of(
            detections,
            int(n),
            is_selected=bool(is_selected[n]),
            is_random=bool(sample.is_random[n]),
            is_ordered=bool(sample.is_ordered[n]),
            stratum=int(sample.stratum[n]),
            area=area_of[n],
            others=tuple(map(tuple, detections.box[near.get(int(n), [])].tolist())),
        )
        for n in order
    ]
    return tuple(rows)


def _others_near(detections: SearchResult, rows: Ints, window_m: float) -> dict[int, list[int]]:
    """Return row -> the other detections within a window of it."""
    near: dict[int, list[int]] = {}
    boxes = np.asarray(shapely.box(*detections.box.T), object)
    for number, scene in enumerate(detections.scenes):
        members = np.flatnonzero(detections.scene == number)
        reviewed = np.intersect1d(members, rows)
        half_x, half_y = (window_m / 2 / gsd for gsd in scene.gsd_m)
        x, y = detections.centers[reviewed].T
        ground = shapely.box(x - half_x, y - half_y, x + half_x, y + half_y)
        found = shapely.STRtree(boxes[members]).query(ground, predicate="intersects")
        for row, other in zip(reviewed[found[0]].tolist(), members[found[1]].tolist(), strict=True):
            if row != other:
                near.setdefault(row, []).append(other)
    return near


def _areas_of(
    selected: Ints, prob: Floats, cells: GroundGrid, scenes: Sequence[ReviewScene]
) -> tuple[ReviewArea, ...]:
    """Return the drawn areas, numbered from 1."""
    areas = []
    for number, (cell, chance) in enumerate(zip(selected, prob, strict=True), 1):
        areas.append(
            ReviewArea(
                number=number,
                scene=scenes[cells.scene[cell]].scene,
                wkt=cells.shape[cell].wkt,
                prob=float(chance),
            )
        )
    return tuple(areas)


def _labels_of(
    detections: SearchResult,
    state: LabelState,
    params: ScenesParams | None,
    request: ReviewRequest,
    *,
    window_m: float,
) -> tuple[tuple[ReviewLabel, ...], tuple[str, ...]]:
    """Return the labels on the rasters with the classes of the model, and all classes."""
    renamed = {} if params is None else params.classes
    ignored = set() if params is None else set(params.ignore_classes)
    labels = [
        ReviewLabel(
            id=label.id,
            scene=label.scene,
            class_name=renamed.get(label.class_name, label.class_name),
            wkt=shown_shape(label.shape, scene, window_m).wkt,
            is_ignored=label.is_ignored or label.class_name in ignored,
        )
        for scene in detections.scenes
        for label in state.labels_of(scene.scene)
    ]
    thresholds = detections.summary.thresholds if detections.summary else {}
    known = {*thresholds, *request.classes, *renamed.values()}
    known |= {label.class_name for label in labels}
    return tuple(labels), tuple(sorted(known)) or (CLASS_OF_NOTHING,)
