"""What a search on many machines leaves of one scene, as it is handed to what writes a collection.

Records alone; reads no part and writes no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shapely.geometry.base import BaseGeometry

from windhover.export.detection_summary import SceneSummary
from windhover.geometry.georef import footprint_4326
from windhover.imagery.ground_mask import GroundMask
from windhover.inference.detection_columns import DetectionColumns
from windhover.inference.search_results import FailedBlock

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True)
class CollectedScene:
    """One searched scene: its description and its detections, duplicates in it removed.

    Attributes:
        summary: name, system, size, transform, time, km2, and the clear ground where a mask was
            given; as in the summary of `windhover detect`.
        detections: columns of `detection_columns`, in the scene's own system, best first; with
            `clear` where a mask was given.
        failed: parts of the scene that could not be read.
        mask: from which the clear ground was measured, None where none was given.
    """

    summary: SceneSummary
    detections: DetectionColumns
    failed: tuple[FailedBlock, ...] = ()
    mask: GroundMask | None = None

    @property
    def footprint(self) -> BaseGeometry | None:
        """Outline of the raster in longitude and latitude; None for a local grid."""
        if self.summary.crs is None:
            return None
        shape_hw = (self.summary.height_px, self.summary.width_px)
        return footprint_4326(self.summary.affine, self.summary.crs, shape_hw)

    @property
    def acquired(self) -> str | None:
        """Time of the picture in ISO 8601, None where unknown."""
        return self.summary.acquired

    @property
    def km2(self) -> float | None:
        """Ground that was searched, None where the GSD is unknown."""
        return self.summary.km2

    @property
    def km2_clear(self) -> float | None:
        """Ground of it that is clear by the mask; None without a mask or a GSD."""
        return None if self.summary.clear is None else self.summary.clear.km2

    def table(self) -> geopandas.GeoDataFrame:
        """Return the detections as rows of `result_table.RESULTS`, `scene_crs` last."""
        from windhover.inference.result_table import table_of_columns

        return table_of_columns([self.detections])


@dataclass(frozen=True)
class UnsearchedScene:
    """A raster of which nothing was searched.

    Attributes:
        scene: its name.
        path: of the raster, without credentials.
        reason: a sentence.
        kind: `failed` where it could not be read, `missing` where its task has not run, `outside`
            where no part of it is in the area of interest.
    """

    scene: str
    path: str
    reason: str
    kind: str = "failed"
