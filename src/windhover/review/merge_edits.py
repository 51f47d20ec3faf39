"""Edits of one or more reviewers made one list of changes; what contradicts is set apart.

A change has a target, such as one label, and a content. The same content twice is one change; two
contents for one target by two people are a conflict, which is listed and not decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import shapely
from shapely.geometry.base import BaseGeometry

from windhover.review.edit_set import AreaEdit, EditSet, LabelEdit, NewShape, RowEdit

SAME_OVERLAP = 0.5  # IoU from which two drawn shapes are one object
WKT_DECIMALS = 2  # of a shape's px where two contents are compared

AnyEdit = RowEdit | LabelEdit | NewShape | AreaEdit


@dataclass(frozen=True)
class Change:
    """One edit and what it is of.

    Attributes:
        target: what it changes, the same for two edits of one thing.
        content: a hash of its meaning.
        words: its meaning, for a person.
        edit: as it was read.
        scene: its raster.
        reviewer: "" where no name was written.
        review: id of the review.
        model: whose detections were reviewed.
    """

    target: str
    content: str
    words: str
    edit: AnyEdit
    scene: str
    reviewer: str
    review: str
    model: str

    def to_applied(self) -> dict[str, str]:
        """Return what is kept of a change that was made."""
        return {
            "target": self.target,
            "content": self.content,
            "words": self.words,
            "reviewer": self.reviewer,
            "review": self.review,
        }


@dataclass(frozen=True)
class Merged:
    """Changes to make, and what was left out.

    Attributes:
        changes: each target once.
        conflicts: sentences on targets that two people see differently.
        n_known: changes that were made before.
    """

    changes: list[Change]
    conflicts: list[str]
    n_known: int


def merge_edits(edit_sets: Sequence[EditSet], applied: Sequence[Mapping[str, str]]) -> Merged:
    """Return the changes of review files that are not made yet, without those in conflict.

    Args:
        edit_sets: of each file.
        applied: changes that were made before.
    """
    made = {(entry["target"], entry["content"]) for entry in applied}
    latest = {entry["target"]: entry for entry in applied}
    by_target: dict[str, list[Change]] = {}
    n_known = 0
    for change in _drawn_once([one for edit_set in edit_sets for one in _changes_of(edit_set)]):
        if (change.target, change.content) in made:
            n_known += 1
        else:
            by_target.setdefault(change.target, []).append(change)
    changes = []
    conflicts = []
    for target, rivals in by_target.items():
        contents = {change.content for change in rivals}
        before = latest.get(target)
        if len(contents) > 1:
            conflicts.append(_conflict(target, [(one.reviewer, one.words) for one in rivals]))
        elif before is not None and not _is_same_person(before, rivals[0]):
            pair = [(before["reviewer"], before["words"]), (rivals[0].reviewer, rivals[0].words)]
            conflicts.append(_conflict(target, pair))
        else:
            changes.append(rivals[0])
    return Merged(changes, conflicts, n_known)


def _is_same_person(before: Mapping[str, str], change: Change) -> bool:
    """Return whether a change is by the reviewer of an earlier one, or of the same unnamed file."""
    if before["reviewer"] != change.reviewer:
        return False
    return bool(change.reviewer) or before["review"] == change.review


def _conflict(target: str, sides: Iterable[tuple[str, str]]) -> str:
    """Return a sentence on a target that people see differently."""
    words = " but ".join(
        dict.fromkeys(f"{reviewer or 'one without a name'} has {what}" for reviewer, what in sides)
    )
    return f"{target}: {words}; nothing is changed there until one of them gives way"


def _changes_of(edit_set: EditSet) -> list[Change]:
    """Return the edits of one file as changes."""
    record = edit_set.record
    changes: list[tuple[str, str, AnyEdit, str, str]] = []
    for row in edit_set.rows:
        words = row.verdict if row.class_name == row.row.class_name else f"class {row.class_name}"
        words += _moved_words(row.shape)
        target = f"detection {row.row.id} of {row.row.scene}"
        changes.append((target, words, row, row.row.scene, row.reviewer))
    for label in edit_set.labels:
        target = f"label {label.label.id} of {label.label.scene}"
        changes.append((target, _label_words(label), label, label.label.scene, label.reviewer))
    for new in edit_set.new:
        target = f"{new.class_name} at {_place(new.shape)} of {new.scene}"
        words = "ignored" if new.is_ignored else "drawn"
        changes.append((target, words, new, new.scene, new.reviewer))
    for area in edit_set.areas:
        number = f"area {area.asked.number}" if area.asked else f"area at {_place(area.shape)}"
        target = f"{number} of {area.scene}, review {record.id}"
        words = f"{area.role} {_wkt_words(area.shape)}"
        changes.append((target, words, area, area.scene, area.reviewer))
    return [
        Change(target, _digest(words), words, edit, scene, reviewer, record.id, record.model)
        for target, words, edit, scene, reviewer in changes
    ]


def _label_words(edit: LabelEdit) -> str:
    """Return an edit of a label in words."""
    if edit.is_removed:
        return "removed"
    words = []
    if edit.class_name is not None:
        words.append(f"class {edit.class_name}")
    if edit.is_ignored is not None:
        words.append("ignored" if edit.is_ignored else "not ignored")
    return ", ".join(words) + _moved_words(edit.shape)


def _moved_words(shape: BaseGeometry | None) -> str:
    return "" if shape is None else f" moved to {_wkt_words(shape)}"


def _wkt_words(shape: BaseGeometry) -> str:
    """Return a shape by its bounds and a hash of its corners."""
    bounds = " ".join(f"{value:.1f}" for value in shape.bounds)
    text = shapely.to_wkt(shapely.normalize(shape), rounding_precision=WKT_DECIMALS)
    return f"px {bounds} ({_digest(text)[:6]})"


def _place(shape: BaseGeometry) -> str:
    center = shape.envelope.centroid
    return f"px {center.x:.1f} {center.y:.1f}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _drawn_once(changes: Sequence[Change]) -> list[Change]:
    """Return the changes, of two drawn shapes of one object the first; unlike classes conflict.

    Two shapes are one object where they overlap by more than half; the second gets the target of
    the first.
    """
    kept: list[Change] = []
    drawn: list[tuple[Change, NewShape]] = []
    for change in changes:
        edit = change.edit
        if not isinstance(edit, NewShape):
            kept.append(change)
            continue
        twin = next((one for one, shape in drawn if _is_same_object(shape, edit)), None)
        if twin is None:
            drawn.append((change, edit))
            kept.append(change)
            continue
        first = twin.edit
        assert isinstance(first, NewShape)
        if first.class_name != edit.class_name:
            words = f"class {edit.class_name}"
            kept.append(
                Change(
                    twin.target, _digest(words), words, edit, change.scene, change.reviewer,
                    change.review, change.model,
                )
            )  # fmt: skip
    return kept


def _is_same_object(first: NewShape, second: NewShape) -> bool:
    """Return whether two drawn shapes are one object."""
    if first.scene != second.scene or not first.shape.intersects(second.shape):
        return False
    union = first.shape.union(second.shape).area
    if union == 0:
        return True
    return bool(first.shape.intersection(second.shape).area / union > SAME_OVERLAP)
