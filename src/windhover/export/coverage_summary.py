"""The record of maps of coverage: the rasters that were mapped, the model and its thresholds."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from affine import Affine
from pydantic import BaseModel, ConfigDict

from windhover.export.detection_summary import SceneSummary
from windhover.json_record import JsonRecord

COVERAGE_SUMMARY = "coverage.json"
TABLE = "coverage.csv"
MAP_SUFFIX = "_probability.tif"


class MappedRaster(BaseModel):
    """A raster whose map was written.

    Attributes:
        scene: its name, with which the names of its files begin.
        path: of the raster, without credentials.
        crs: its coordinate system, None for a local grid.
        gsd_m: metres per px, along a row and down a column; None where unknown.
        km2: ground that was mapped; None where the GSD is unknown.
        split: of a scene of the catalog.
        acquired: time of the picture in ISO 8601.
        width_px: columns of the raster.
        height_px: its rows.
        transform: the six coefficients of the affine, px of the raster -> world.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scene: str
    path: str
    crs: str | None
    gsd_m: tuple[float, float] | None
    km2: float | None
    split: str | None = None
    acquired: str | None = None
    width_px: int
    height_px: int
    transform: tuple[float, float, float, float, float, float]

    @classmethod
    def of(cls, summary: SceneSummary) -> MappedRaster:
        """Return what of a search's summary concerns a map."""
        return cls(
            scene=summary.scene,
            path=summary.path,
            crs=summary.crs,
            gsd_m=summary.gsd_m,
            km2=summary.km2,
            split=summary.split,
            acquired=summary.acquired,
            width_px=summary.width_px,
            height_px=summary.height_px,
            transform=summary.transform,
        )

    def extent_on(self, map_transform: Affine) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of the raster in px of a map of it.

        Args:
            map_transform: px of the map -> world, turned as the raster is.
        """
        to_map = ~map_transform @ Affine(*self.transform)
        left, top = to_map @ (0, 0)
        right, bottom = to_map @ (self.width_px, self.height_px)
        return left, top, right, bottom


class CoverageSummary(JsonRecord):
    """What `coverage.json` holds.

    Attributes:
        task: `coverage`.
        model: its name.
        run: name of the search.
        program: version of windhover.
        classes: in the order of the bands of the maps.
        thresholds: score from which a px is taken for a class.
        share_errors: found less true share of each scene of val, by class.
        min_speck_px: smallest patch of a class map that stays.
        cell_px: side of a px of the maps, px of the training GSD.
        search: settings of the search, by name.
        notes: sentences for a reader of the table.
        scenes: in the order in which they were mapped.
    """

    stage: ClassVar[str] = "detect"

    task: Literal["coverage"] = "coverage"
    model: str
    run: str = ""
    program: str = ""
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    share_errors: dict[str, list[float]]
    min_speck_px: int = 0
    cell_px: int = 8
    search: dict[str, Any]
    notes: tuple[str, ...] = ()
    scenes: tuple[MappedRaster, ...] = ()
