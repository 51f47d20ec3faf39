"""The summary of the detect stage: what was searched and found, by scene and in all.

The typed record of `summary.json`; nothing in it differs between two equal runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from affine import Affine
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from windhover.json_record import JsonRecord
from windhover.progress import counted

SUMMARY = "summary.json"
SCORES = "scores"  # kinds of rasters that are written of a scene
MASK = "mask"


class ClearGround(BaseModel):
    """Which ground of a scene could be seen, by a mask of clouds or the like.

    Attributes:
        mask: path of the mask, without credentials.
        share: of the searched ground that is clear, 0..1; what the mask does not know is not.
        share_known: of which the mask knows whether it is clear.
        km2: clear; None where the GSD is unknown.
        objects: detections of whose box at least half is clear.
        by_class: of each class.
        expected_false_alarms_per_km2: of them on a clear km2, by their scores.
        values: of the mask that stand for unusable ground; None, and not written, for all but 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: str
    share: float
    share_known: float
    km2: float | None
    objects: int
    by_class: dict[str, int]
    expected_false_alarms_per_km2: float | None = None
    values: tuple[int, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_values(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.values is None:
            content.pop("values", None)
        return content


class SceneSummary(BaseModel):
    """What was searched and found in one scene.

    Attributes:
        scene: its name.
        crs: its coordinate system, None for a local grid.
        objects: detections.
        by_class: detections of each class.
        expected_objects: sum of the detections' scores.
        windows_searched: windows over all passes.
        windows_skipped: windows without a valid pixel.
        km2: area searched; None where the GSD is unknown.
        split: of a scene of the catalog.
        path: of the raster, without credentials.
        width_px: columns of the raster, or of the spatial block of it that is the scene.
        height_px: its rows.
        origin_px: column and row, in the raster as delivered, of the scene's first px.
        transform: the six coefficients of the affine, scene px -> world.
        gsd_m: metres per px, along a row and down a column; None where unknown.
        acquired: time of the picture in ISO 8601.
        area_wkt: polygon searched, in the scene's coordinate system; None for all of it.
        stac_item: file of the STAC item that names the raster; None where none does.
        products: rasters that were written of the scene, by kind (`scores`, `mask`).
        clear: which ground could be seen; None, and not written, where no mask was given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: str
    crs: str | None
    objects: int
    by_class: dict[str, int]
    expected_objects: float
    windows_searched: int
    windows_skipped: int
    km2: float | None
    split: str | None = None
    path: str = ""
    width_px: int = 0
    height_px: int = 0
    origin_px: tuple[int, int] = (0, 0)
    transform: tuple[float, float, float, float, float, float] = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    gsd_m: tuple[float, float] | None = None
    acquired: str | None = None
    area_wkt: str | None = None
    stac_item: str | None = None
    products: dict[str, str] = {}
    clear: ClearGround | None = None

    @model_serializer(mode="wrap")
    def _without_clear(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.clear is None:
            values.pop("clear", None)
        return values

    @property
    def affine(self) -> Affine:
        """Scene px -> world."""
        return Affine(*self.transform)

    def describe(self) -> str:
        """Return one line for a person: objects by class, area, windows skipped."""
        line = f"{self.scene}: {counted(self.objects, 'object')}"
        if self.by_class:
            classes = ", ".join(f"{count} {name}" for name, count in self.by_class.items())
            line += f" ({classes})"
        if self.km2 is None:
            line += " at an unknown GSD"
        else:
            line += f" in {self.km2:.2f} km2"
        if self.clear is not None and self.clear.km2 is not None:
            line += f", {self.clear.km2:.2f} km2 of it clear with {self.clear.objects} of them"
        if self.windows_skipped:
            line += f", {self.windows_skipped} windows without a valid pixel skipped"
        return line


class TotalSummary(BaseModel):
    """Sums over all scenes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenes: int
    objects: int
    windows_searched: int
    windows_skipped: int
    km2: float

    @classmethod
    def of_scenes(cls, scenes: Sequence[SceneSummary]) -> TotalSummary:
        """Return the sums of some scenes; of areas, over those of known GSD."""
        km2 = sum(scene.km2 for scene in scenes if scene.km2 is not None)
        return cls(
            scenes=len(scenes),
            objects=sum(scene.objects for scene in scenes),
            windows_searched=sum(scene.windows_searched for scene in scenes),
            windows_skipped=sum(scene.windows_skipped for scene in scenes),
            km2=round(km2, 6),
        )


class DetectionSummary(JsonRecord):
    """What `summary.json` holds.

    Attributes:
        model: its name.
        run: name of the search, as in the column `run`.
        program: version of windhover.
        thresholds: score that detections of each class reached.
        operating_point: score of each class that the model's evaluation chose; empty where it had
            none.
        search: settings of the search, by name.
        notes: sentences for a reader of the counts, such as on scenes that overlap.
        total: over all scenes.
        scenes: in the order of the catalog.
    """

    stage: ClassVar[str] = "detect"

    model: str
    run: str = ""
    program: str = ""
    thresholds: dict[str, float]
    operating_point: dict[str, float] = Field(default_factory=dict)
    search: dict[str, Any]
    notes: tuple[str, ...] = ()
    total: TotalSummary
    scenes: tuple[SceneSummary, ...]

    def of(self, scenes: Sequence[SceneSummary]) -> DetectionSummary:
        """Return the same search of some of its scenes, with their totals."""
        return self.model_copy(
            update={"scenes": tuple(scenes), "total": TotalSummary.of_scenes(scenes)}
        )

    @classmethod
    def of_scenes(
        cls,
        scenes: Sequence[SceneSummary],
        *,
        model: str,
        run: str = "",
        program: str = "",
        thresholds: Mapping[str, float],
        operating_point: Mapping[str, float] | None = None,
        search: Mapping[str, Any],
        notes: Sequence[str] = (),
    ) -> DetectionSummary:
        """Return the summary of scenes, with their totals."""
        return cls(
            model=model,
            run=run,
            program=program,
            thresholds=dict(thresholds),
            operating_point=dict(operating_point or {}),
            search=dict(search),
            notes=tuple(notes),
            total=TotalSummary.of_scenes(scenes),
            scenes=tuple(scenes),
        )
