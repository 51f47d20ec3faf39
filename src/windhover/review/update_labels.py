"""Changes of a review made to the labels and areas of a project, one by one, and counted.

A verdict on a detection changes the label that it matches, or makes one. What is learned of ground
without labels follows the rules of `scenes.areas`: in a raster that was not labelled, a new label
leaves the rest of it unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.dataset.areas import PRESUMED_EMPTY
from windhover.geometry.arrays import Floats
from windhover.geometry.pairing import Pairs, pairs_by_center
from windhover.review.edit_set import AreaEdit, LabelEdit, NewShape, RowEdit
from windhover.review.forms import NOT_OBJECT, UNSURE
from windhover.review.label_state import Area, Label, LabelState, label_id
from windhover.review.merge_edits import Change
from windhover.review.review_record import ReviewRow, ReviewScene

UNKNOWN_ROLES = ("positive_only", PRESUMED_EMPTY)
SIZE_SHARE = 0.5  # of an object's longer side: a center within it matches, as in `evaluate`
KINDS = (
    "added", "removed", "moved", "reclassified", "ignored", "rejected", "confirmed",
    "declared complete", "declared otherwise",
)  # fmt: skip


@dataclass
class ChangeLog:
    """What became of the changes.

    Attributes:
        by_scene: scene -> kind of change -> number.
        entries: one a change: its kind, scene, words, reviewer and label.
        notes: sentences on changes that found nothing to change.
    """

    by_scene: dict[str, Counter[str]] = field(default_factory=dict)
    entries: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, change: Change, label: str = "") -> None:
        """Count a change of a kind."""
        self.by_scene.setdefault(change.scene, Counter())[kind] += 1
        self.entries.append(
            {
                "kind": kind,
                "scene": change.scene,
                "target": change.target,
                "words": change.words,
                "reviewer": change.reviewer,
                "label": label,
            }
        )

    @property
    def total(self) -> Counter[str]:
        """Kind of change -> number over all scenes."""
        return sum(self.by_scene.values(), Counter())


class LabelUpdate:
    """Makes changes to a state of labels."""

    def __init__(
        self,
        state: LabelState,
        *,
        file_class: Mapping[str, str],
        ignore_class: str | None,
        window_m: float,
        date: str,
        around_labels: bool = False,
        empty_ground: Mapping[str, BaseGeometry] | None = None,
    ) -> None:
        """Take what the changes are made to.

        Args:
            state: changed in place.
            file_class: class of the model -> class as label files have it.
            ignore_class: class of new ignored labels, None for that of the detection.
            window_m: side of the ground around a rejected detection that is known.
            date: of the changes.
            around_labels: whether only the ground around labels is known
                (`scenes.labelled_within_m`), which then needs no area of its own.
            empty_ground: raster -> where a deep search found nothing, px; None for none.
        """
        self.state = state
        self.log = ChangeLog()
        self._file_class = file_class
        self._ignore_class = ignore_class
        self._window_m = window_m
        self._date = date
        self._model_class = {name: model for model, name in file_class.items()}
        self._around_labels = around_labels
        self._empty_ground = empty_ground or {}
        self._wholly_labeled = set() if around_labels else wholly_labeled(state)
        self._rejected: list[tuple[ReviewRow, str]] = []

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes, then settle which ground is known of rasters that had no labels."""
        for change in changes:
            edit = change.edit
            if isinstance(edit, RowEdit):
                self._apply_row(change, edit)
            elif isinstance(edit, LabelEdit):
                self._apply_label(change, edit)
            elif isinstance(edit, NewShape):
                self._apply_new(change, edit)
            else:
                self._apply_area(change, edit)
            self.state.applied.append(change.to_applied())
        self._settle_ground({change.scene for change in changes})

    def _apply_row(self, change: Change, edit: RowEdit) -> None:
        """Apply a verdict on a detection."""
        box = edit.row.shape
        matched = self._match(edit.row.scene, box)
        if edit.verdict == NOT_OBJECT:
            if matched is not None and not matched.is_ignored:
                del self.state.labels[matched.id]
                self.log.add("removed", change, matched.id)
            else:
                self.log.add("rejected", change)
            self._rejected.append((edit.row, change.review))
            return
        is_ignored = edit.verdict == UNSURE
        shape = edit.shape if edit.shape is not None else box
        if matched is None:
            self._add(change, f"d-{edit.row.id}", edit.class_name, shape, is_ignored=is_ignored)
            return
        self._change_label(
            change,
            matched,
            shape=edit.shape,
            class_name=None if is_ignored else edit.class_name,
            is_ignored=matched.is_ignored if is_ignored else False,
        )

    def _apply_label(self, change: Change, edit: LabelEdit) -> None:
        """Apply an edit of a label."""
        label = self.state.labels.get(edit.label.id)
        if label is None:
            if not edit.is_removed:
                self.log.notes.append(f"{change.target} is gone since: {change.words} is left out")
            return
        if edit.is_removed:
            del self.state.labels[label.id]
            self.log.add("removed", change, label.id)
            return
        shape = edit.shape
        if shape is not None and label.shape.geom_type == "Point":
            shape = shape.centroid
        self._change_label(
            change, label, shape=shape, class_name=edit.class_name, is_ignored=edit.is_ignored
        )

    def _apply_new(self, change: Change, edit: NewShape) -> None:
        """Add an object that was drawn, unless a label is there already."""
        matched = self._match(edit.scene, edit.shape)
        if matched is None:
            name = label_id(edit.scene, edit.class_name, edit.shape)
            self._add(change, name, edit.class_name, edit.shape, is_ignored=edit.is_ignored)
            return
        self._change_label(
            change, matched, shape=None, class_name=edit.class_name, is_ignored=edit.is_ignored
        )

    def _apply_area(self, change: Change, edit: AreaEdit) -> None:
        """Add a declared area; on a raster that is complete as a whole it would lessen that."""
        if edit.role != "complete" or edit.scene not in self._wholly_labeled:
            self.state.areas.append(Area(edit.scene, edit.role, edit.shape, review=change.review))
        kind = "declared complete" if edit.role == "complete" else "declared otherwise"
        self.log.add(kind, change)

    def _add(
        self, change: Change, name: str, class_name: str, shape: BaseGeometry, *, is_ignored: bool
    ) -> None:
        """Add a label."""
        in_file = self._file_class.get(class_name, class_name)
        if is_ignored and self._ignore_class is not None:
            in_file = self._ignore_class
        self.state.labels[name] = Label(
            name, change.scene, in_file, shape, is_ignored, self._provenance(change)
        )
        self.log.add("ignored" if is_ignored else "added", change, name)

    def _change_label(
        self,
        change: Change,
        label: Label,
        *,
        shape: BaseGeometry | None,
        class_name: str | None,
        is_ignored: bool | None,
    ) -> None:
        """Change a label that is there, and count each kind of change."""
        before = label
        if shape is not None:
            label = replace(label, shape=shape)
            self.log.add("moved", change, label.id)
        if class_name is not None and class_name != self.model_class(label):
            label = replace(label, class_name=self._file_class.get(class_name, class_name))
            self.log.add("reclassified", change, label.id)
        if is_ignored is not None and is_ignored != label.is_ignored:
            label = replace(label, is_ignored=is_ignored)
            self.log.add("ignored" if is_ignored else "confirmed", change, label.id)
        if label is before:
            self.log.add("confirmed", change, label.id)
            return
        provenance = {**label.provenance, **self._provenance(change)}
        provenance["origin"] = before.provenance.get("origin", provenance["origin"])
        self.state.labels[label.id] = replace(label, provenance=provenance)

    def _provenance(self, change: Change) -> dict[str, str]:
        """Return where a label is from that a change made."""
        edit = change.edit
        entries = {
            "origin": "review",
            "review": change.review,
            "model": change.model,
            "reviewer": change.reviewer,
            "date": self._date,
            "words": change.words,
        }
        if isinstance(edit, RowEdit):
            entries["detection"] = edit.row.id
            entries["score"] = f"{edit.row.score:.4f}"
        comment = getattr(edit, "comment", "")
        if comment:
            entries["comment"] = comment
        return {key: value for key, value in entries.items() if value}

    def model_class(self, label: Label) -> str:
        """Return the class of a label as the model has it."""
        return self._model_class.get(label.class_name, label.class_name)

    def _match(self, scene: str, shape: BaseGeometry) -> Label | None:
        """Return the label that a shape is, the nearest by its center; None for none."""
        labels = self.state.labels_of(scene)
        number = nearest_match(shape, [label.shape for label in labels])
        return None if number is None else labels[number]

    def _settle_ground(self, scenes: set[str]) -> None:
        """Add the areas that follow from the changes, in rasters that were not wholly labelled.

        Ground around a rejected detection is known, and so is a declared area; where a deep search
        found nothing the ground is presumed empty; of all else of such a raster only the labels are
        known.
        """
        for row, review in self._rejected:
            if row.scene not in self._wholly_labeled:
                seen = self._seen_around(row)
                if seen.area > 0:
                    self.state.areas.append(Area(row.scene, "complete", seen, review=review))
        self.state.covered |= scenes
        if self._around_labels:
            return
        for scene in sorted(scenes - self._wholly_labeled):
            self._set_unknown(scene)

    def _seen_around(self, row: ReviewRow) -> BaseGeometry:
        """Return the ground of one window around a rejected detection, px.

        Other detections in it stay unknown unless they were answered too.
        """
        raster = self.state.scenes[row.scene]
        ground = window_around(row.shape, raster, self._window_m)
        rejected = {other.box for other, _ in self._rejected if other.scene == row.scene}
        unknown = [
            box
            for box in (shapely.box(*corners) for corners in set(row.others) - rejected)
            if self._match(row.scene, box) is None
        ]
        seen: BaseGeometry = (ground & raster.extent).difference(shapely.union_all(unknown))
        return seen

    def _set_unknown(self, scene: str) -> None:
        """Set the role of all ground of a raster that is neither complete nor ignored."""
        extent = self.state.scenes[scene].extent
        others = [area for area in self.state.areas if area.scene != scene]
        here = self.state.areas_of(scene)
        known = [area for area in here if area.role not in UNKNOWN_ROLES]
        rest = extent.difference(shapely.union_all([area.shape for area in known]))
        empty = rest & self._presumed_empty(scene, here)
        self.state.areas[:] = others + known
        for role, shape in ((PRESUMED_EMPTY, empty), ("positive_only", rest.difference(empty))):
            if shape.area > 0:
                self.state.areas.append(Area(scene, role, shape))

    def _presumed_empty(self, scene: str, areas: Sequence[Area]) -> BaseGeometry:
        """Return where the newest deep search found nothing, without windows around labels."""
        raster = self.state.scenes[scene]
        before = shapely.union_all([area.shape for area in areas if area.role == PRESUMED_EMPTY])
        empty = self._empty_ground.get(scene, before)
        windows = [
            window_around(label.shape, raster, self._window_m)
            for label in self.state.labels_of(scene)
        ]
        left: BaseGeometry = empty.difference(shapely.union_all(windows))
        return left


def window_around(shape: BaseGeometry, raster: ReviewScene, window_m: float) -> BaseGeometry:
    """Return the square of a side in meters around the middle of a shape, in whole px."""
    half_x, half_y = (window_m / 2 / gsd for gsd in raster.gsd_m)
    left, top, right, bottom = shape.bounds
    x, y = (left + right) / 2, (top + bottom) / 2
    return shapely.box(floor(x - half_x), floor(y - half_y), ceil(x + half_x), ceil(y + half_y))


def wholly_labeled(state: LabelState) -> set[str]:
    """Return the rasters on which everything is labelled, but for areas of another role."""
    names = set()
    for name in state.covered:
        areas = state.areas_of(name)
        if any(area.role == "complete" for area in areas):
            continue
        partly = [area.shape for area in areas if area.role in UNKNOWN_ROLES]
        left = state.scenes[name].extent.difference(shapely.union_all(partly))
        if left.area > 0:
            names.add(name)
    return names


def nearest_match(shape: BaseGeometry, others: Sequence[BaseGeometry]) -> int | None:
    """Return which of some objects a shape is, by the nearest center; None for none.

    The center must be within half of the longer side of the object, or of the shape where the
    object is a point.
    """
    left, top, right, bottom = shape.bounds
    center = np.array([[(left + right) / 2, (top + bottom) / 2]])
    pairs = pairs_with_shapes(center, others, of_points=max(right - left, bottom - top))
    if not len(pairs.cost):
        return None
    return int(pairs.truth[np.argmin(pairs.cost)])


def pairs_with_shapes(
    centers: Floats, shapes: Sequence[BaseGeometry], *, of_points: float
) -> Pairs:
    """Return which centers (N, 2) are within half of the longer side of a shape.

    Args:
        centers: px of the raster.
        shapes: of labels or boxes, px.
        of_points: longer side of an object whose shape is a point, px.
    """
    bounds = shapely.bounds(np.array(shapes, object)).reshape(-1, 4)
    longer = (bounds[:, 2:] - bounds[:, :2]).max(axis=1, initial=0.0)
    reach = SIZE_SHARE * np.where(longer > 0, longer, of_points)
    return pairs_by_center(centers, (bounds[:, :2] + bounds[:, 2:]) / 2, reach)
