"""What a person did in a review file, read against what was asked; changes no label.

Layers may be reprojected, half done, with rows or columns gone: what is clear is taken, the rest
is a sentence. A row that was deleted counts as not reviewed: nothing shows why it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError
from windhover.imagery.vector_files import crs_text
from windhover.labels.table import is_true
from windhover.progress import counted
from windhover.review.edit_set import AreaEdit, EditSet, LabelEdit, NewShape, RowEdit
from windhover.review.forms import (
    AREAS_LAYER,
    LABELS_LAYER,
    OBJECT,
    OTHER_CLASS,
    REVIEW_LAYER,
    STATES,
    VERDICTS,
)
from windhover.review.placing import to_raster_px
from windhover.review.review_record import (
    LOCKED,
    ReviewRecord,
    ReviewRow,
    ReviewScene,
    locked_error,
    read_record,
)

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
NEEDED = {
    REVIEW_LAYER: ("row_id", "verdict"),
    LABELS_LAYER: ("label_id",),
    AREAS_LAYER: ("number", "state"),
}


def read_edits(path: Path) -> EditSet:
    """Return what a person did in a review file.

    Raises:
        MissingFileError: no such file.
        FormatError: it is no review, a layer or a needed column is gone or renamed, or a value is
            none of those that the form offers.
        DataError: a layer lost its coordinate system.
    """
    edit_set = EditSet(path, read_record(path))
    layers = {name: _read_layer(path, name, edit_set.record) for name in NEEDED}
    _read_rows(edit_set, layers[REVIEW_LAYER])
    _read_labels(edit_set, layers[LABELS_LAYER])
    _read_areas(edit_set, layers[AREAS_LAYER])
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


def _read_layer(path: Path, layer: str, record: ReviewRecord) -> geopandas.GeoDataFrame:
    """Return a layer as it is now.

    Raises:
        FormatError: it is gone, renamed or lacks a needed column.
    """
    try:
        names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer not in names:
            raise FormatError(
                f"{path}: has no layer {layer!r}, only {', '.join(names)}. Give the layer its name "
                "back; a deleted one is in a copy from before."
            )
        table = geopandas.GeoDataFrame(pyogrio.read_dataframe(path, layer=layer))
    except (DataSourceError, DataLayerError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        reason = " ".join(str(error).split())[:160]
        if LOCKED in reason:
            raise locked_error(path) from None
        raise FormatError(f"{path}: its layer {layer!r} cannot be read ({reason}).") from None
    asked = {REVIEW_LAYER: record.rows, LABELS_LAYER: record.labels, AREAS_LAYER: record.areas}
    lacking = [name for name in NEEDED[layer] if name not in table.columns]
    if lacking and asked[layer]:
        raise FormatError(
            f"{path}: the layer {layer!r} has no column {lacking[0]!r}, so its rows cannot be "
            "told apart. Take it over from a copy of the file from before."
        )
    if (table.crs is None) != (record.crs is None) and len(table):
        raise FormatError(
            f"{path}: the layer {layer!r} has {'no' if table.crs is None else 'a'} coordinate "
            f"system, and was made with {record.crs or 'none'}. Give it that one again."
        )
    return table


def _text(record: Mapping[Any, Any], name: str) -> str:
    """Return a text of a row, "" where the column or the value is missing."""
    value = record.get(name)
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return str(value).strip()


def _read_rows(edit_set: EditSet, table: geopandas.GeoDataFrame) -> None:
    """Take the verdicts and the drawn objects of the layer of detections."""
    asked = {row.id: row for row in edit_set.record.rows}
    scenes = {scene.scene: scene for scene in edit_set.record.scenes}
    seen = set()
    for number, record in enumerate(table.to_dict("records"), 1):
        where = f"{edit_set.path}: row {number} of the layer {REVIEW_LAYER!r}"
        row = asked.get(_text(record, "row_id"))
        shape = record[table.geometry.name]
        verdict = _text(record, "verdict").lower()
        if row is None:
            reason = _reason_against_drawn(edit_set, record, verdict, shape, table)
            if reason:
                edit_set.leave_out(where, reason)
            else:
                _add_new(edit_set, record, shape, table, where=where)
            continue
        before = shapely.box(*row.box)
        moved = _moved_shape(shape, table, scenes[row.scene], before, edit_set)
        is_elsewhere = moved is not None and not moved.intersects(before)
        if row.id in seen and is_elsewhere and verdict in DRAWN_VERDICTS:
            _add_new(edit_set, record, shape, table, where=where)  # a copy on another object
            continue
        seen.add(row.id)
        if not verdict:
            continue
        _check_choice(verdict, VERDICTS, "verdict", where=where)
        if moved is not None and not _is_on(moved, scenes[row.scene]):
            edit_set.leave_out(where, OFF_RASTER)
            continue
        edit_set.rows.append(
            RowEdit(
                row=row,
                verdict=verdict,
                class_name=_class_of(record, row, verdict, edit_set, where=where),
                shape=moved,
                reviewer=_text(record, "reviewer"),
                comment=_text(record, "comment"),
            )
        )
    n_gone = len(set(asked) - seen)
    if n_gone:
        edit_set.notes.append(
            f"{counted(n_gone, 'row')} deleted from {edit_set.path}, counted as not reviewed; "
            "the verdict `not an object` rejects a detection"
        )


def _reason_against_drawn(
    edit_set: EditSet,
    record: Mapping[Any, Any],
    verdict: str,
    shape: BaseGeometry | None,
    table: geopandas.GeoDataFrame,
) -> str:
    """Return why a row of no known id is no object that was drawn; "" where it may be one."""
    if _text(record, "row_id"):
        return UNKNOWN_ID
    if verdict not in DRAWN_VERDICTS:
        return NO_OBJECT_DRAWN
    scenes = {scene.scene: scene for scene in edit_set.record.scenes}
    if shape is None or shape.is_empty:
        return ""
    for name in _scenes_at(edit_set, shape, table, _text(record, "scene")):
        now = _in_px(shape, table, scenes[name], edit_set.path)
        boxes = [row.box for row in edit_set.record.rows if row.scene == name]
        there = shapely.box(*np.array(boxes, np.float64).reshape(-1, 4).T)
        if (shapely.hausdorff_distance(there, now) <= MOVED_PX).any():
            return LOST_ID
    return ""


def _is_on(shape: BaseGeometry, scene: ReviewScene) -> bool:
    """Return whether the center of a shape is on its raster."""
    center = shape.envelope.centroid
    return bool(shapely.box(0, 0, scene.width_px, scene.height_px).covers(center))


def _class_of(
    record: Mapping[Any, Any], row: ReviewRow, verdict: str, edit_set: EditSet, *, where: str
) -> str:
    """Return the class of the object of a row.

    Raises:
        FormatError: another class is meant, and none or an unknown one is named.
    """
    if verdict != OTHER_CLASS:
        return row.class_name
    name = _text(record, "other_class")
    if not name or name == row.class_name:
        raise FormatError(
            f"{where}: its verdict is `{OTHER_CLASS}`, and `other_class` names no other one. "
            "Choose the class there."
        )
    return _known_class(name, edit_set, where=where)


def _known_class(name: str, edit_set: EditSet, *, where: str) -> str:
    """Return a class if the review has it: a slip of the pen would be a class of its own.

    Raises:
        FormatError: the review does not have it.
    """
    if name not in edit_set.record.classes:
        raise FormatError(
            f"{where}: the class {name[:40]!r} is none of {', '.join(edit_set.record.classes)}. "
            f"Choose one of them, or make the review with --classes {name[:40]}."
        )
    return name


def _check_choice(value: str, choices: Any, column: str, *, where: str) -> None:
    """Check that a value is one that the form offers.

    Raises:
        FormatError: it is not.
    """
    if value not in choices:
        raise FormatError(
            f"{where}: `{column}` must be {', '.join(choices)} or empty, got {value[:40]!r}. "
            "Choose one of them."
        )


def _moved_shape(
    shape: BaseGeometry | None,
    table: geopandas.GeoDataFrame,
    scene: ReviewScene,
    before: BaseGeometry,
    edit_set: EditSet,
) -> BaseGeometry | None:
    """Return the shape of a row in px if it is another than before, else None."""
    if shape is None or shape.is_empty:
        return None
    now = _in_px(shape, table, scene, edit_set.path)
    distance = shapely.hausdorff_distance(now, before)
    if now.is_empty or distance <= MOVED_PX:
        return None
    return now


def _in_px(
    shape: BaseGeometry, table: geopandas.GeoDataFrame, scene: ReviewScene, path: Path
) -> BaseGeometry:
    """Return a shape of a layer in px of a raster.

    A shape of one part is no multi-part, and an outline that crosses itself becomes its hull.
    """
    parts = shapely.get_parts(shape)
    single = parts[0] if len(parts) == 1 else shape
    array = np.array([single], object)
    moved: BaseGeometry = to_raster_px(array, crs_text(table), scene, source=str(path))[0]
    return moved if moved.is_valid else moved.convex_hull


def _add_new(
    edit_set: EditSet,
    record: Mapping[Any, Any],
    shape: BaseGeometry | None,
    table: geopandas.GeoDataFrame,
    *,
    where: str,
) -> None:
    """Take an object that was drawn, or note why it cannot be."""
    if shape is None or shape.is_empty:
        edit_set.leave_out(where, NO_SHAPE)
        return
    names = _scenes_at(edit_set, shape, table, _text(record, "scene"))
    if len(names) != 1:
        edit_set.leave_out(where, SEVERAL_SCENES)
        return
    class_name = _text(record, "other_class") or _text(record, "class")
    classes = edit_set.record.classes
    if not class_name and len(classes) == 1:
        class_name = classes[0]
    if not class_name:
        edit_set.leave_out(where, NO_CLASS)
        return
    scene = next(one for one in edit_set.record.scenes if one.scene == names[0])
    for part in shapely.get_parts(shape):  # a shape of several parts is several objects
        edit_set.new.append(
            NewShape(
                scene=scene.scene,
                class_name=_known_class(class_name, edit_set, where=where),
                shape=_in_px(part, table, scene, edit_set.path),
                is_ignored=is_true(_flag(record, "ignored"), where),
                reviewer=_text(record, "reviewer"),
                comment=_text(record, "comment"),
            )
        )


def _flag(record: Mapping[Any, Any], name: str) -> Any:
    value = record.get(name)
    return False if value is None else value


def _scenes_at(
    edit_set: EditSet, shape: BaseGeometry, table: geopandas.GeoDataFrame, stated: str
) -> list[str]:
    """Return the scenes that a drawn shape may be on: the stated one, else those of its center.

    Of several, the one whose drawn area holds it.
    """
    scenes = edit_set.record.scenes
    if stated:
        return [scene.scene for scene in scenes if scene.scene == stated]
    found = []
    in_area = []
    for scene in scenes:
        center = _in_px(shape, table, scene, edit_set.path).centroid
        if center.is_empty or not shapely.box(0, 0, scene.width_px, scene.height_px).covers(center):
            continue
        found.append(scene.scene)
        areas = [area for area in edit_set.record.areas if area.scene == scene.scene]
        if any(shapely.from_wkt(area.wkt).covers(center) for area in areas):
            in_area.append(scene.scene)
    return in_area if len(in_area) == 1 else found


def _read_labels(edit_set: EditSet, table: geopandas.GeoDataFrame) -> None:
    """Take the changes of the labels, and the objects drawn next to them."""
    asked = {label.id: label for label in edit_set.record.labels}
    scenes = {scene.scene: scene for scene in edit_set.record.scenes}
    seen: set[str] = set()
    for number, record in enumerate(table.to_dict("records"), 1):
        where = f"{edit_set.path}: row {number} of the layer {LABELS_LAYER!r}"
        label = asked.get(_text(record, "label_id"))
        shape = record[table.geometry.name]
        if label is None and _text(record, "label_id"):
            edit_set.leave_out(where, UNKNOWN_ID)
            continue
        if label is None or label.id in seen:  # a second row of one label is a copy that was drawn
            _add_new(edit_set, record, shape, table, where=where)
            continue
        seen.add(label.id)
        before = shapely.from_wkt(label.wkt)
        moved = _moved_shape(shape, table, scenes[label.scene], before, edit_set)
        if moved is not None and not _is_on(moved, scenes[label.scene]):
            edit_set.leave_out(where, OFF_RASTER)
            continue
        class_name = _text(record, "class") or label.class_name
        if class_name != label.class_name:
            _known_class(class_name, edit_set, where=where)
        is_ignored = label.is_ignored
        if "ignored" in table.columns:
            is_ignored = is_true(_flag(record, "ignored"), where)
        edit = LabelEdit(
            label=label,
            shape=moved,
            class_name=None if class_name == label.class_name else class_name,
            is_ignored=None if is_ignored == label.is_ignored else is_ignored,
            reviewer=_text(record, "reviewer"),
            comment=_text(record, "comment"),
        )
        if (edit.shape, edit.class_name, edit.is_ignored) != (None, None, None):
            edit_set.labels.append(edit)
    gone = [label for label in edit_set.record.labels if label.id not in seen]
    if len(gone) > 1 and len(gone) == len(asked):
        edit_set.notes.append(
            f"all {len(gone)} labels are gone from the layer {LABELS_LAYER!r} of {edit_set.path}, "
            "as after an export of a selection: none is removed"
        )
        return
    edit_set.labels += [LabelEdit(label=label, is_removed=True) for label in gone]


def _read_areas(edit_set: EditSet, table: geopandas.GeoDataFrame) -> None:
    """Take the areas that were declared."""
    asked = {area.number: area for area in edit_set.record.areas}
    scenes = {scene.scene: scene for scene in edit_set.record.scenes}
    for number, record in enumerate(table.to_dict("records"), 1):
        where = f"{edit_set.path}: row {number} of the layer {AREAS_LAYER!r}"
        role = _text(record, "state").lower()
        if not role:
            continue
        _check_choice(role, tuple(STATES.values()), "state", where=where)
        shape = record[table.geometry.name]
        if shape is None or shape.is_empty:
            edit_set.leave_out(where, NO_SHAPE)
            continue
        area = asked.get(_number(record.get("number")))
        names = [area.scene] if area else _scenes_at(edit_set, shape, table, _text(record, "scene"))
        if len(names) != 1:
            edit_set.leave_out(where, SEVERAL_SCENES)
            continue
        scene = scenes[names[0]]
        inside = shapely.box(0, 0, scene.width_px, scene.height_px)
        moved = _in_px(shape, table, scene, edit_set.path)
        is_as_asked = area is not None and (
            shapely.hausdorff_distance(moved, shapely.from_wkt(area.wkt)) <= MOVED_PX
        )
        edit_set.areas.append(
            AreaEdit(
                scene=scene.scene,
                role=role,
                shape=shapely.from_wkt(area.wkt) if area and is_as_asked else moved & inside,
                asked=area if is_as_asked else None,
                reviewer=_text(record, "reviewer"),
            )
        )


def _number(value: Any) -> int:
    """Return a number of a row, 0 where there is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def _confirm_in_complete_areas(edit_set: EditSet) -> None:
    """Take detections without a verdict in an area that was declared complete as objects.

    That is what the declaration means: every object has a shape, and every shape is an object.
    """
    answered = {edit.row.id for edit in edit_set.rows}
    for area in edit_set.areas:
        if area.role != "complete":
            continue
        for row in edit_set.record.rows:
            center = shapely.box(*row.box).centroid
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
