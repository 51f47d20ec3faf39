"""What a person did in a review file, read against what was asked; changes no label.

Layers may be reprojected, half done, with rows or columns gone: what is clear is taken, the rest
is a sentence. A row that was deleted counts as not reviewed: nothing shows why it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError
from windhover.progress import counted
from windhover.review.edit_set import AreaEdit, EditSet, LabelEdit, NewShape, RowEdit
from windhover.review.edited_layers import LayerRow, read_layer
from windhover.review.forms import (
    AREAS_LAYER,
    LABELS_LAYER,
    OBJECT,
    OTHER_CLASS,
    REVIEW_LAYER,
    STATES,
    VERDICTS,
)
from windhover.review.review_record import ReviewRecord, ReviewRow, ReviewScene, read_record

MOVED_PX = 0.05  # a shape whose corners moved less was only written by another program
DRAWN_VERDICTS = ("", OBJECT, OTHER_CLASS)  # of a copied row, that make it another object
NO_SHAPE = "left out, since it has no shape"
NO_CLASS = "left out, since it has no class: choose one"
UNKNOWN_ID = (
    "left out, since this review has no row of its id: take the id over from a copy of the file "
    "from before, or empty it where an object was drawn"
)
LOST_ID = (
    "left out, since a detection stands there and its `row_id` is gone: take it over from a copy "
    "of the file from before"
)
NO_OBJECT_DRAWN = "left out, since its verdict is not that of an object that was drawn"
OFF_RASTER = (
    "left out, since it was moved off its raster: move it back, or give the layer the coordinate "
    "system that it had"
)
SEVERAL_SCENES = (
    "left out, since it is on no scene or on several: write the name of one into its column `scene`"
)


def read_edits(path: Path) -> EditSet:
    """Return what a person did in a review file.

    Raises:
        MissingFileError: no such file.
        FormatError: it is no review, a layer or a needed column is gone or renamed, or a value is
            none of those that the form offers.
        DataError: a layer lost its coordinate system.
    """
    edit_set = EditSet(path, read_record(path))
    names = (REVIEW_LAYER, LABELS_LAYER, AREAS_LAYER)
    rows, labels, areas = (read_layer(path, name, edit_set.record) for name in names)
    _read_rows(edit_set, rows)
    _read_labels(edit_set, labels)
    _read_areas(edit_set, areas)
    _confirm_in_complete_areas(edit_set)
    edit_set.notes += edit_set.left_out_notes()
    answered = {edit.row.id for edit in edit_set.rows}
    asked = [row for row in edit_set.record.rows if row.is_selected]
    n_empty = sum(row.id not in answered for row in asked)
    if n_empty:
        edit_set.notes.append(
            f"{n_empty} of {counted(len(asked), 'row')} of {path} have no verdict"
        )
    return edit_set


def _read_rows(edit_set: EditSet, rows: Iterable[LayerRow]) -> None:
    """Take the verdicts and the drawn objects of the layer of detections."""
    record = edit_set.record
    asked = {row.id: row for row in record.rows}
    scenes = record.scenes_by_name
    seen = set()
    for row in rows:
        detection = asked.get(row.text("row_id"))
        verdict = row.text("verdict").lower()
        if detection is None:
            reason = _reason_against_drawn(record, row, verdict)
            if reason:
                edit_set.leave_out(row.where, reason)
            else:
                _add_new(edit_set, row)
            continue
        scene = scenes[detection.scene]
        moved = _moved_shape(row, scene, detection.shape)
        is_elsewhere = moved is not None and not moved.intersects(detection.shape)
        if detection.id in seen and is_elsewhere and verdict in DRAWN_VERDICTS:
            _add_new(edit_set, row)  # a copy on another object
            continue
        seen.add(detection.id)
        if not verdict:
            continue
        _check_choice(verdict, VERDICTS, "verdict", where=row.where)
        if moved is not None and not _is_on(moved, scene):
            edit_set.leave_out(row.where, OFF_RASTER)
            continue
        edit_set.rows.append(
            RowEdit(
                row=detection,
                verdict=verdict,
                class_name=_class_of(record, row, detection, verdict),
                shape=moved,
                reviewer=row.text("reviewer"),
                comment=row.text("comment"),
            )
        )
    n_gone = len(set(asked) - seen)
    if n_gone:
        edit_set.notes.append(
            f"{counted(n_gone, 'row')} deleted from {edit_set.path}, counted as not reviewed; "
            "the verdict `not an object` rejects a detection"
        )


def _reason_against_drawn(record: ReviewRecord, row: LayerRow, verdict: str) -> str:
    """Return why a row of no known id is no object that was drawn; "" where it may be one."""
    if row.text("row_id"):
        return UNKNOWN_ID
    if verdict not in DRAWN_VERDICTS:
        return NO_OBJECT_DRAWN
    if row.shape is None:
        return ""
    for name in _scenes_at(record, row, row.shape):
        now = row.to_px(row.shape, record.scenes_by_name[name])
        there = [detection.shape for detection in record.rows if detection.scene == name]
        if (shapely.hausdorff_distance(np.array(there, object), now) <= MOVED_PX).any():
            return LOST_ID
    return ""


def _is_on(shape: BaseGeometry, scene: ReviewScene) -> bool:
    """Return whether the center of a shape is on its raster."""
    return bool(scene.extent.covers(shape.envelope.centroid))


def _class_of(record: ReviewRecord, row: LayerRow, detection: ReviewRow, verdict: str) -> str:
    """Return the class of the object of a row.

    Raises:
        FormatError: another class is meant, and none or an unknown one is named.
    """
    if verdict != OTHER_CLASS:
        return detection.class_name
    name = row.text("other_class")
    if not name or name == detection.class_name:
        raise FormatError(
            f"{row.where}: its verdict is `{OTHER_CLASS}`, and `other_class` names no other one. "
            "Choose the class there."
        )
    _check_class(name, record.classes, where=row.where)
    return name


def _check_class(name: str, classes: Sequence[str], *, where: str) -> None:
    """Check that the review has a class: a slip of the pen would be a class of its own.

    Raises:
        FormatError: the review does not have it.
    """
    if name not in classes:
        raise FormatError(
            f"{where}: the class {name[:40]!r} is none of {', '.join(classes)}. "
            f"Choose one of them, or make the review with --classes {name[:40]}."
        )


def _check_choice(value: str, choices: Iterable[str], column: str, *, where: str) -> None:
    """Check that a value is one that the form offers.

    Raises:
        FormatError: it is not.
    """
    if value not in choices:
        raise FormatError(
            f"{where}: `{column}` must be {', '.join(choices)} or empty, got {value[:40]!r}. "
            "Choose one of them."
        )


def _moved_shape(row: LayerRow, scene: ReviewScene, before: BaseGeometry) -> BaseGeometry | None:
    """Return the shape of a row in px if it is another than before, else None."""
    if row.shape is None:
        return None
    now = row.to_px(row.shape, scene)
    if now.is_empty or shapely.hausdorff_distance(now, before) <= MOVED_PX:
        return None
    return now


def _add_new(edit_set: EditSet, row: LayerRow) -> None:
    """Take an object that was drawn, or note why it cannot be."""
    record = edit_set.record
    if row.shape is None:
        edit_set.leave_out(row.where, NO_SHAPE)
        return
    names = _scenes_at(record, row, row.shape)
    if len(names) != 1:
        edit_set.leave_out(row.where, SEVERAL_SCENES)
        return
    class_name = row.text("other_class") or row.text("class")
    if not class_name and len(record.classes) == 1:
        class_name = record.classes[0]
    if not class_name:
        edit_set.leave_out(row.where, NO_CLASS)
        return
    _check_class(class_name, record.classes, where=row.where)
    for part in shapely.get_parts(row.shape):  # a shape of several parts is several objects
        edit_set.new.append(
            NewShape(
                scene=names[0],
                class_name=class_name,
                shape=row.to_px(part, record.scenes_by_name[names[0]]),
                is_ignored=row.flag("ignored"),
                reviewer=row.text("reviewer"),
                comment=row.text("comment"),
            )
        )


def _scenes_at(record: ReviewRecord, row: LayerRow, shape: BaseGeometry) -> list[str]:
    """Return the scenes that a drawn shape may be on: the stated one, else those of its center.

    Of several, the one whose drawn area holds it.
    """
    stated = row.text("scene")
    if stated:
        return [scene.scene for scene in record.scenes if scene.scene == stated]
    found = []
    in_area = []
    for scene in record.scenes:
        center = row.to_px(shape, scene).centroid
        if center.is_empty or not scene.extent.covers(center):
            continue
        found.append(scene.scene)
        areas = [area for area in record.areas if area.scene == scene.scene]
        if any(area.shape.covers(center) for area in areas):
            in_area.append(scene.scene)
    return in_area if len(in_area) == 1 else found


def _read_labels(edit_set: EditSet, rows: Iterable[LayerRow]) -> None:
    """Take the changes of the labels, and the objects drawn next to them."""
    record = edit_set.record
    asked = {label.id: label for label in record.labels}
    scenes = record.scenes_by_name
    seen: set[str] = set()
    for row in rows:
        label = asked.get(row.text("label_id"))
        if label is None and row.text("label_id"):
            edit_set.leave_out(row.where, UNKNOWN_ID)
            continue
        if label is None or label.id in seen:  # a second row of one label is a copy that was drawn
            _add_new(edit_set, row)
            continue
        seen.add(label.id)
        moved = _moved_shape(row, scenes[label.scene], label.shape)
        if moved is not None and not _is_on(moved, scenes[label.scene]):
            edit_set.leave_out(row.where, OFF_RASTER)
            continue
        class_name = row.text("class") or label.class_name
        if class_name != label.class_name:
            _check_class(class_name, record.classes, where=row.where)
        is_ignored = label.is_ignored
        if "ignored" in row.values:
            is_ignored = row.flag("ignored")
        edit = LabelEdit(
            label=label,
            shape=moved,
            class_name=None if class_name == label.class_name else class_name,
            is_ignored=None if is_ignored == label.is_ignored else is_ignored,
            reviewer=row.text("reviewer"),
            comment=row.text("comment"),
        )
        if (edit.shape, edit.class_name, edit.is_ignored) != (None, None, None):
            edit_set.labels.append(edit)
    gone = [label for label in record.labels if label.id not in seen]
    if len(gone) > 1 and len(gone) == len(asked):
        edit_set.notes.append(
            f"all {len(gone)} labels are gone from the layer {LABELS_LAYER!r} of {edit_set.path}, "
            "as after an export of a selection: none is removed"
        )
        return
    edit_set.labels += [LabelEdit(label=label, is_removed=True) for label in gone]


def _read_areas(edit_set: EditSet, rows: Iterable[LayerRow]) -> None:
    """Take the areas that were declared."""
    record = edit_set.record
    asked = {area.number: area for area in record.areas}
    for row in rows:
        role = row.text("state").lower()
        if not role:
            continue
        _check_choice(role, tuple(STATES.values()), "state", where=row.where)
        if row.shape is None:
            edit_set.leave_out(row.where, NO_SHAPE)
            continue
        area = asked.get(row.number("number"))
        names = [area.scene] if area else _scenes_at(record, row, row.shape)
        if len(names) != 1:
            edit_set.leave_out(row.where, SEVERAL_SCENES)
            continue
        scene = record.scenes_by_name[names[0]]
        shape = row.to_px(row.shape, scene)
        if area is not None and shapely.hausdorff_distance(shape, area.shape) <= MOVED_PX:
            shape = area.shape
        else:
            area = None
            shape = shape & scene.extent
        edit_set.areas.append(
            AreaEdit(
                scene=scene.scene,
                role=role,
                shape=shape,
                asked=area,
                reviewer=row.text("reviewer"),
            )
        )


def _confirm_in_complete_areas(edit_set: EditSet) -> None:
    """Take detections without a verdict in an area that was declared complete as objects.

    That is what the declaration means: every object has a shape, and every shape is an object.
    """
    answered = {edit.row.id for edit in edit_set.rows}
    for area in edit_set.areas:
        if area.role != "complete":
            continue
        for row in edit_set.record.rows:
            center = row.shape.centroid
            if row.id in answered or row.scene != area.scene or not area.shape.covers(center):
                continue
            answered.add(row.id)
            edit_set.rows.append(
                RowEdit(
                    row=row,
                    verdict=OBJECT,
                    class_name=row.class_name,
                    shape=None,
                    reviewer=area.reviewer,
                    comment="in an area declared complete",
                )
            )
