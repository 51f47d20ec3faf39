"""The manifest of a collection: what was searched and what was not, what came of it, and its files.

The typed record of `manifest.json`; nothing in it differs between two equal runs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from windhover.json_record import JsonRecord
from windhover.progress import counted

MANIFEST = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Searched(_Part):
    """The ground that was searched.

    Attributes:
        scenes: rasters.
        km2: sum over them, so that ground in two rasters counts twice.
        km2_ground: area of their outlines together, so that ground in two counts once; None for
            local grids.
        km2_clear: sum of what is clear by masks; None where no scene has one.
        dates: days (UTC) on which they were taken, where rasters hold it.
    """

    scenes: int
    km2: float
    km2_ground: float | None
    km2_clear: float | None = None
    dates: tuple[str, ...]


class Unsearched(_Part):
    """A raster of which nothing was searched: name, path, why, and which kind of reason."""

    scene: str
    path: str
    reason: str
    kind: str


class FailedPart(_Part):
    """A part of a raster that could not be read, px of the raster as delivered."""

    scene: str
    row_px: int
    col_px: int
    height_px: int
    width_px: int
    km2: float | None
    reason: str


class ObjectCounts(_Part):
    """What was found, each object once.

    Attributes:
        objects: their number.
        detections: in all rasters; one of each object's is its row.
        expected: sum of the scores of the rows.
        by_class: objects of each class.
        by_views: objects by the number of rasters they were found in.
        by_status: objects by what became of them between dates.
    """

    objects: int
    detections: int
    expected: float
    by_class: dict[str, int]
    by_views: dict[str, int]
    by_status: dict[str, int]


class WrittenFile(_Part):
    """A file: its path in the folder, its rows where it is a table of objects, and its SHA-256."""

    path: str
    rows: int | None = None
    sha256: str


class Manifest(JsonRecord):
    """What `manifest.json` holds.

    Attributes:
        program: version of windhover.
        model: its name.
        run: name of the search.
        thresholds: score that detections of each class reached.
        search: settings of the search, by name.
        plan: of the search, where it was planned: its hash, tasks, and those that are missing.
        searched: the ground that was searched.
        unsearched: rasters of which nothing was searched.
        failed: parts of rasters that could not be read.
        found: what was found.
        counted_by_outline: rasters whose px or masks could not be read again, so that it is not
            known which ground in them holds data.
        notes: sentences for a reader of the counts.
        files: all others in the folder but those of `stac`, which name them.
    """

    stage: ClassVar[str] = "collect"

    program: str
    model: str
    run: str
    thresholds: dict[str, float]
    search: dict[str, Any]
    plan: dict[str, Any] | None = None
    searched: Searched
    unsearched: tuple[Unsearched, ...] = ()
    failed: tuple[FailedPart, ...] = ()
    found: ObjectCounts
    counted_by_outline: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[WrittenFile, ...] = ()

    def lines(self) -> list[str]:
        """Return what to print: objects, ground, dates, and what was not searched."""
        found = self.found
        ground = self.searched
        n_objects = counted(found.objects, "object")
        n_scenes = counted(ground.scenes, "scene")
        origin = f"{counted(found.detections, 'detection')} in {n_scenes}"
        lines = [f"{n_objects} from {origin}, {found.expected:.1f} expected to be right"]
        area = f"{ground.km2:.2f} km2 searched"
        if ground.km2_ground is not None:
            area += f", {ground.km2_ground:.2f} km2 of ground"
        lines.append(area)
        if found.by_status:
            changes = ", ".join(f"{count} {name}" for name, count in found.by_status.items())
            lines.append(f"between {counted(len(ground.dates), 'date')}: {changes}")
        if self.unsearched:
            first = self.unsearched[0]
            lines.append(
                f"{counted(len(self.unsearched), 'scene')} not searched, such as {first.scene}: "
                f"{first.reason}"
            )
        if self.failed:
            lines.append(f"{counted(len(self.failed), 'block')} could not be read")
        if self.counted_by_outline:
            lines.append(
                f"{counted(len(self.counted_by_outline), 'scene')} could not be read again: which "
                "ground they show is known by their outlines alone"
            )
        return [*lines, *self.notes]
