"""The flow of `windhover review --apply FILES`: edits -> the next version of the labels.

The old labels stay as they are. In a project, `params.yaml` is pointed at the new version, so that
the next `dvc repro` learns from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from windhover.dataset.areas import PRESUMED_EMPTY
from windhover.errors import DataError
from windhover.files import lock_output
from windhover.params.parameter_sets import set_parameters
from windhover.params.scenes import ScenesParams
from windhover.progress import counted
from windhover.review.edit_set import EditSet
from windhover.review.estimates import (
    Estimate,
    SampledAreas,
    SampledRows,
    estimate_precision,
    estimate_recall,
)
from windhover.review.forms import NOT_OBJECT, OBJECT, UNSURE
from windhover.review.label_state import (
    AREAS_FILE,
    CHANGES_FILE,
    LABELS_FILE,
    VERSIONS,
    Label,
    LabelState,
    holds_same,
    latest_version,
    load_project_state,
    load_version,
    next_version,
    version_folder,
    write_version,
)
from windhover.review.merge_edits import Merged, merge_edits
from windhover.review.read_edits import read_edits
from windhover.review.review_record import ReviewRecord
from windhover.review.update_labels import KINDS, ChangeLog, LabelUpdate, nearest_match

N_SHOWN = 10  # of conflicts and scenes, the others are in `changes.json`


@dataclass(frozen=True)
class ApplyRequest:
    """What is applied, and to what.

    Attributes:
        files: review files.
        params: of the project, None outside one.
        params_file: that is pointed at the new version, None to leave it.
        root: folder of the versions.
    """

    files: Sequence[Path]
    params: ScenesParams | None = None
    params_file: Path | None = None
    root: Path = VERSIONS


def apply_review(request: ApplyRequest) -> list[str]:
    """Make the next version of the labels of review files; return lines for the terminal.

    Raises:
        MissingFileError: a file is not there.
        FormatError: one is no review, or half of it is gone.
        DataError: a review is of rasters that the project does not have.
    """
    edit_sets = [read_edits(path) for path in request.files]
    with lock_output(request.root):
        state = _state_before(request, edit_sets)
        merged = merge_edits(edit_sets, state.applied)
        update = _label_update(request, state, edit_sets)
        update.make(merged.changes)
        lines = [note for edit_set in edit_sets for note in edit_set.notes]
        lines += update.log.notes + _conflict_lines(merged)
        estimates = [_estimate(edit_set, state, update) for edit_set in edit_sets]
        if merged.changes:
            lines += _write_version(request, state, merged, update.log, estimates)
        else:
            lines.append(_no_change(merged))
    return lines + [line for estimate in estimates for line in estimate]


def _state_before(request: ApplyRequest, edit_sets: Sequence[EditSet]) -> LabelState:
    """Return the labels that the changes are made to, with the rasters of the reviews.

    Raises:
        DataError: a raster of a review has another size in the project.
    """
    scenes = {scene.scene: scene for edit_set in edit_sets for scene in edit_set.record.scenes}
    if request.params is not None:
        state = load_project_state(request.params)
        for name, scene in scenes.items():
            known = state.scenes.setdefault(name, scene)
            if known.width_px < scene.width_px or known.height_px < scene.height_px:
                raise DataError(
                    f"the review is of {name} with {scene.width_px} x {scene.height_px} px, and "
                    f"the project's has {known.width_px} x {known.height_px}. It is another raster."
                )
        return state
    folder = latest_version(request.root)
    if folder is not None:
        state = load_version(folder, scenes)
    else:
        state = LabelState(scenes=scenes)
        for edit_set in edit_sets:
            _add_asked_labels(state, edit_set.record)
    return state


def _add_asked_labels(state: LabelState, record: ReviewRecord) -> None:
    """Add the labels that a review showed, where no project has them."""
    for label in record.labels:
        state.labels[label.id] = Label(
            id=label.id,
            scene=label.scene,
            class_name=label.class_name,
            shape=label.shape,
            is_ignored=label.is_ignored,
            provenance={"origin": "labels"},
        )
        state.covered.add(label.scene)


def _label_update(
    request: ApplyRequest, state: LabelState, edit_sets: Sequence[EditSet]
) -> LabelUpdate:
    """Return what makes the changes, by the rules of the project."""
    params = request.params
    file_class: dict[str, str] = {}
    ignore_class = None
    if params is not None:
        for in_file, in_model in params.classes.items():
            file_class.setdefault(in_model, in_file)
        if params.classes and params.ignore_classes:
            ignore_class = params.ignore_classes[0]
    return LabelUpdate(
        state,
        file_class=file_class,
        ignore_class=ignore_class,
        window_m=max(edit_set.record.window_m for edit_set in edit_sets),
        date=datetime.now(UTC).date().isoformat(),
        around_labels=params is not None and params.labelled_within_m is not None,
        empty_ground={
            scene: shapely.from_wkt(ground)
            for edit_set in edit_sets
            for scene, ground in edit_set.record.empty_ground.items()
        },
    )


def _write_version(
    request: ApplyRequest,
    state: LabelState,
    merged: Merged,
    log: ChangeLog,
    estimates: Sequence[list[str]],
) -> list[str]:
    """Write the version, point the parameters at it, and return lines on both."""
    raw = Path(request.params.raw) if request.params is not None else Path()
    latest = latest_version(request.root)
    if latest is not None and holds_same(latest, state, raw=raw):
        return [f"nothing new: {latest} holds these changes", *_point_at(request, latest)]
    state.version = next_version(request.root)
    folder = version_folder(request.root, state.version)
    changes: dict[str, Any] = {
        "version": state.version,
        "files": [str(path) for path in request.files],
        "total": dict(log.total),
        "by_scene": {scene: dict(counts) for scene, counts in sorted(log.by_scene.items())},
        "changes": log.entries,
        "conflicts": merged.conflicts,
        "estimates": [line for lines in estimates for line in lines],
    }
    write_version(state, folder, raw=raw, changes=changes)
    total = log.total
    counts = ", ".join(f"{total[kind]} {kind}" for kind in KINDS if total[kind])
    lines = [f"{folder}: {counts}"]
    for scene, by_kind in sorted(log.by_scene.items())[:N_SHOWN]:
        parts = ", ".join(f"{by_kind[kind]} {kind}" for kind in KINDS if by_kind[kind])
        lines.append(f"  {scene}: {parts}")
    if len(log.by_scene) > N_SHOWN:
        lines.append(f"  and {len(log.by_scene) - N_SHOWN} more scenes in {folder / CHANGES_FILE}")
    if state.n_left_out:
        lines.append(
            f"{counted(state.n_left_out, 'label')} of the label files are on no raster, and not in "
            "this version"
        )
    return [*lines, *_presumed_lines(state), *_point_at(request, folder)]


def _presumed_lines(state: LabelState) -> list[str]:
    """Return a line on the ground that is presumed empty; none where there is none."""
    presumed = [area for area in state.areas if area.role == PRESUMED_EMPTY]
    if not presumed:
        return []
    km2 = sum(area.shape.area * prod(state.scenes[area.scene].gsd_m) for area in presumed) / 1e6
    rasters = counted(len({area.scene for area in presumed}), "raster")
    ground = f"presumed empty: {km2:.3g} km2 of {rasters}, where a deep search found nothing"
    return [f"{ground}; taught as background, never tested"]


def _point_at(request: ApplyRequest, folder: Path) -> list[str]:
    """Point the parameters at a version, or show how to; return lines."""
    settings = [f"scenes.labels={(folder / LABELS_FILE).as_posix()}"]
    if (folder / AREAS_FILE).is_file():
        settings.append(f"scenes.areas={(folder / AREAS_FILE).as_posix()}")
    if request.params_file is None:
        return [f"to learn from it: windhover set {' '.join(settings)}"]
    set_parameters(request.params_file, settings)
    return [f"{request.params_file}: {', '.join(settings)}; dvc repro learns from it"]


def _no_change(merged: Merged) -> str:
    """Return a sentence where no change was made."""
    if merged.n_known:
        return f"nothing new: all {counted(merged.n_known, 'change')} were applied before"
    if merged.conflicts:
        return "nothing was applied: all changes are in conflict"
    return "nothing to apply: no row has a verdict, and no shape was changed"


def _conflict_lines(merged: Merged) -> list[str]:
    """Return the conflicts, the first of many."""
    if not merged.conflicts:
        return []
    lines = [f"{counted(len(merged.conflicts), 'conflict')}, not decided:"]
    lines += [f"  {conflict}" for conflict in merged.conflicts[:N_SHOWN]]
    if len(merged.conflicts) > N_SHOWN:
        lines.append(f"  and {len(merged.conflicts) - N_SHOWN} more")
    return lines


def _estimate(edit_set: EditSet, state: LabelState, update: LabelUpdate) -> list[str]:
    """Return precision and recall of all detections by one file; nothing where there are none."""
    record = edit_set.record
    if not record.n_detections:
        return []
    verdicts = {edit.row.id: edit.verdict for edit in edit_set.rows}
    sampled = [
        row for row in record.rows if row.is_random or (row.is_ordered and row.id in verdicts)
    ]
    answered = [row for row in sampled if verdicts.get(row.id, UNSURE) != UNSURE]
    rows = SampledRows(
        is_true=np.array([verdicts[row.id] == OBJECT for row in answered], bool),
        is_random=np.array([row.is_random for row in answered], bool),
        is_ordered=np.array([row.is_ordered for row in answered], bool),
        stratum=np.array([row.stratum for row in answered], np.int64),
        stratum_sizes=np.array(record.stratum_sizes, np.int64),
    )
    precision = estimate_precision(rows)
    areas = _sampled_areas(edit_set, state, update)
    recall = estimate_recall(areas, precision, record.n_detections)
    return [_estimate_line(precision, recall, edit_set)]


def _estimate_line(precision: Estimate, recall: Estimate, edit_set: EditSet) -> str:
    """Return such as `precision 0.92 [...], recall 0.90 [...] from 60 rows and 6 areas`."""
    line = f"{precision.describe('precision')}, {recall.describe('recall')} from "
    line += f"{counted(precision.n_rows, 'row')} and {counted(recall.n_rows, 'area')}"
    n_unsure = sum(edit.verdict == UNSURE for edit in edit_set.rows)
    if n_unsure:
        line += f" ({n_unsure} unsure, not counted)"
    n_drawn = len(edit_set.record.areas)
    if recall.n_rows < n_drawn:
        line += f"; {n_drawn - recall.n_rows} of {n_drawn} areas not declared complete"
    return line


def _sampled_areas(edit_set: EditSet, state: LabelState, update: LabelUpdate) -> SampledAreas:
    """Return the drawn areas that were declared complete, with what they hold now.

    In such an area every shape is an object: a detection without a verdict too.
    """
    record = edit_set.record
    complete = [
        edit.asked for edit in edit_set.areas if edit.role == "complete" and edit.asked is not None
    ]
    rejected = {edit.row.id for edit in edit_set.rows if edit.verdict == NOT_OBJECT}
    found = []
    missed = []
    for area in complete:
        ground = area.shape
        labels = [
            label
            for label in state.labels_of(area.scene)
            if not label.is_ignored and ground.intersects(label.shape.envelope.centroid)
        ]
        rows = [row for row in record.rows if row.scene == area.scene and row.id not in rejected]
        n_found = 0
        for label in labels:
            same = [row for row in rows if row.class_name == update.model_class(label)]
            number = nearest_match(label.shape, [row.shape for row in same])
            n_found += number is not None
        found.append(float(n_found))
        missed.append(float(len(labels) - n_found))
    chances = np.array([area.prob for area in complete], np.float64)
    share = len(complete) / max(len(record.areas), 1)  # declared ones stand for the others
    return SampledAreas(np.array(found), np.array(missed), chances * share)
