"""What a person did in one review file, as records; reads nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from windhover.review.review_record import ReviewArea, ReviewLabel, ReviewRecord, ReviewRow


@dataclass(frozen=True)
class RowEdit:
    """A verdict on a detection.

    Attributes:
        row: what was asked.
        verdict: of `VERDICTS`.
        class_name: of the object: the detection's, or the other class.
        shape: of the object, px; None where it was not moved.
        reviewer: "" where no name was written.
        comment: of the reviewer.
    """

    row: ReviewRow
    verdict: str
    class_name: str
    shape: BaseGeometry | None
    reviewer: str
    comment: str


@dataclass(frozen=True)
class LabelEdit:
    """A change of a label; what is None stays.

    Attributes:
        label: before the review.
        is_removed: it is gone.
        shape: moved to, px.
        class_name: the new one.
        is_ignored: the new value.
        reviewer: "" where no name was written.
        comment: of the reviewer.
    """

    label: ReviewLabel
    is_removed: bool = False
    shape: BaseGeometry | None = None
    class_name: str | None = None
    is_ignored: bool | None = None
    reviewer: str = ""
    comment: str = ""


@dataclass(frozen=True)
class NewShape:
    """An object that was drawn.

    Attributes:
        scene: its raster.
        class_name: of it.
        shape: px.
        is_ignored: counts neither way.
        reviewer: "" where no name was written.
        comment: of the reviewer.
    """

    scene: str
    class_name: str
    shape: BaseGeometry
    is_ignored: bool
    reviewer: str
    comment: str


@dataclass(frozen=True)
class AreaEdit:
    """An area that was declared.

    Attributes:
        scene: its raster.
        role: of `scenes.areas`.
        shape: px.
        asked: the drawn area that it is, None where a person drew it or changed its outline.
        reviewer: "" where no name was written.
    """

    scene: str
    role: str
    shape: BaseGeometry
    asked: ReviewArea | None
    reviewer: str


@dataclass
class EditSet:
    """The edits of one file.

    Attributes:
        path: of the file.
        record: what was asked.
        rows: verdicts.
        labels: changes of labels.
        new: drawn objects.
        areas: declared ones.
        notes: sentences on what is unclear or odd.
        left_out: reason -> rows that are left out for it.
    """

    path: Path
    record: ReviewRecord
    rows: list[RowEdit] = field(default_factory=list)
    labels: list[LabelEdit] = field(default_factory=list)
    new: list[NewShape] = field(default_factory=list)
    areas: list[AreaEdit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, where: str, reason: str) -> None:
        """Count a row that is left out."""
        self.left_out.setdefault(reason, []).append(where)

    def left_out_notes(self) -> list[str]:
        """Return a sentence on each reason, with the first row."""
        notes = []
        for reason, rows in self.left_out.items():
            more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
            notes.append(f"{rows[0]}{more}: {reason}")
        return notes
