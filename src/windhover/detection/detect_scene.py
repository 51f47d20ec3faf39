"""The search of one scene with a model, from the open scene to its detections and score map.

Used by both flows, `detect_catalog` and `detect_rasters`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from shapely import to_wkt
from shapely.geometry.base import BaseGeometry

from windhover import __version__
from windhover.detection.journal import SceneJournal
from windhover.detection.unusual_values import log_unusual_values
from windhover.detection.usable_ground import MaskRequest, measure_ground
from windhover.errors import shown_path
from windhover.export.detection_summary import SCORES, DetectionSummary, SceneSummary
from windhover.export.score_map import ScoreBlock, write_score_map
from windhover.imagery.missing_sources import missing_sources
from windhover.imagery.overviews import MIN_OVERVIEW_SCALE
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.inference.detection_columns import DetectionColumns
from windhover.inference.detector import Detector
from windhover.inference.scene_search import Progress
from windhover.inference.search_results import FailedBlock, SearchReport

logger = logging.getLogger(__name__)


@dataclass
class DetectionOutcome:
    """What the search of several scenes gave, apart from its detections.

    Attributes:
        scenes: what was searched and found in each.
        failed: parts of scenes that could not be read.
        n_unusual: scenes whose values the model cannot know.
    """

    scenes: list[SceneSummary] = field(default_factory=list)
    failed: list[FailedBlock] = field(default_factory=list)
    n_unusual: int = 0

    @property
    def n_objects(self) -> int:
        """Objects in all scenes."""
        return sum(scene.objects for scene in self.scenes)

    @property
    def km2_clear(self) -> float | None:
        """Ground of all scenes that a mask leaves clear; None without a mask or a GSD."""
        areas = [scene.clear.km2 for scene in self.scenes if scene.clear is not None]
        known = [area for area in areas if area is not None]
        return sum(known) if known else None

    def summarize(
        self, detector: Detector, thresholds: dict[str, float], notes: list[str]
    ) -> DetectionSummary:
        """Return what is written with the detections.

        Args:
            detector: that searched.
            thresholds: score that was reached, by class.
            notes: on the whole search, a sentence each.
        """
        return DetectionSummary.of_scenes(
            self.scenes,
            model=detector.bundle.card.name,
            run=detector.run_name(thresholds),
            program=__version__,
            thresholds=thresholds,
            operating_point=detector.bundle.operating_thresholds(),
            search=detector.settings.to_json(),
            notes=notes,
        )


class SceneRun:
    """The search of one scene: planned when it is made, run once.

    Attributes:
        number: of the scene among those of the request.
        scene: as the model sees it.
        search: its planned search.
        mpx: px of all passes, in millions.
    """

    def __init__(
        self,
        detector: Detector,
        scene: Scene,
        thresholds: Mapping[str, float],
        *,
        number: int = 0,
        aoi: BaseGeometry | None = None,
        block_px: int | None = None,
        score_map: Path | None = None,
        split: str | None = None,
        mask: MaskRequest | None = None,
    ) -> None:
        """Plan the search.

        Args:
            detector: that opened the scene.
            scene: to be searched.
            thresholds: score to reach, by class.
            number: of the scene among those of the request.
            aoi: polygon in the scene's coordinate system.
            block_px: side of the blocks.
            score_map: GeoTIFF to write; needs a journal.
            split: of a scene of a catalog.
            mask: of ground that cannot be used; None without one.
        """
        self.number = number
        self.scene = scene
        self.search = detector.plan(
            scene,
            thresholds,
            aoi=aoi,
            block_px=block_px,
            keep_logits=score_map is not None,
        )
        self.mpx = self.search.mpx
        self._detector = detector
        self._thresholds = thresholds
        self._score_map = score_map
        self._split = split
        self._aoi = aoi
        self._mask = mask

    def run(
        self,
        outcome: DetectionOutcome,
        *,
        progress: Progress | None = None,
        journal: SceneJournal | None = None,
    ) -> DetectionColumns:
        """Search the scene, close it, and return its detections in its own coordinate system.

        Args:
            outcome: the scene's summary and its failed parts are added to it.
            progress: called with the Mpx just done.
            journal: keeps finished blocks.
        """
        report = SearchReport()
        card = self._detector.bundle.card
        with self.scene:
            outcome.n_unusual = log_unusual_values(self.scene, card, outcome.n_unusual)
            result = self.search.run(progress=progress, report=report, journal=journal)
            detections = self._detector.detections(
                result.candidates, self._thresholds, self.scene, split=self._split
            )
            if self._score_map is not None and journal is not None:
                self._write_score_map(self._score_map, journal)
            summary = self._summarize(detections, report)
        outcome.scenes.append(summary)
        outcome.failed += report.failed
        outcome.failed += missing_parts(self.scene.info)
        return detections

    def _summarize(self, detections: DetectionColumns, report: SearchReport) -> SceneSummary:
        """Return what was searched and found; with a mask, detections get their clear share."""
        products = {}
        if self._score_map is not None:
            products[SCORES] = str(self._score_map)
        summary = summarize_scene(
            self.scene,
            detections,
            report,
            split=self._split,
            aoi=self._aoi,
            products=products,
        )
        if self._mask is None:
            return summary
        clear = measure_ground(self._mask, self.scene, detections, km2=summary.km2, aoi=self._aoi)
        return summary.model_copy(update={"clear": clear})

    def _write_score_map(self, path: Path, journal: SceneJournal) -> None:
        """Write the scores of the pass nearest to the training GSD."""
        shown = self.search.nearest_pass
        write_score_map(
            path,
            self._score_blocks(journal),
            lattice=shown.lattice,
            scene_transform=shown.grid.transform,
            crs=self.scene.crs,
            classes=self._detector.bundle.card.classes,
        )

    def _score_blocks(self, journal: SceneJournal) -> Iterator[ScoreBlock]:
        """Yield the blocks of the score map that were searched."""
        shown = self.search.nearest_pass
        for block in shown.blocks:
            scores = journal.load_scores(shown.number, block.number)
            if scores is not None:
                yield ScoreBlock(block.row0, block.col0, scores)


def missing_parts(info: SceneInfo) -> list[FailedBlock]:
    """Return the parts of a virtual raster whose source files are missing or damaged."""
    parts = []
    for source in missing_sources(info.path):
        last_row = source.row + source.height
        last_col = source.col + source.width
        reason = (
            f"{info.path}: its source {source.path} is missing or damaged, so rows {source.row} "
            f"to {last_row} and columns {source.col} to {last_col} are not searched. "
            "Put the file back."
        )
        part = FailedBlock(
            info.name,
            row_px=source.row,
            col_px=source.col,
            height_px=source.height,
            width_px=source.width,
            reason=shown_path(reason),
        )
        parts.append(part)
    return parts


def summarize_scene(
    scene: Scene,
    detections: DetectionColumns,
    report: SearchReport,
    *,
    split: str | None = None,
    aoi: BaseGeometry | None = None,
    products: Mapping[str, str] | None = None,
) -> SceneSummary:
    """Return what was searched and found in one scene.

    Args:
        scene: that was searched.
        detections: in it.
        report: of the search.
        split: of a scene of a catalog.
        aoi: polygon that was searched; None for all.
        products: rasters that were written of it, by kind.
    """
    info = scene.info
    names, counts = np.unique(detections["class"].astype(str), return_counts=True)
    return SceneSummary(
        scene=info.name,
        crs=scene.crs,
        objects=len(detections["score"]),
        by_class=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        expected_objects=round(float(detections["score"].sum()), 3),
        windows_searched=report.windows_searched,
        windows_skipped=report.windows_skipped,
        km2=round(report.km2, 6) if info.is_gsd_known else None,
        split=split,
        path=shown_path(info.path),
        width_px=info.width_px,
        height_px=info.height_px,
        origin_px=info.origin_px,
        transform=tuple(info.transform)[:6],
        gsd_m=info.gsd_m if info.is_gsd_known else None,
        acquired=info.acquired,
        area_wkt=None if aoi is None else to_wkt(aoi, rounding_precision=9),
        stac_item=info.stac_item,
        products=dict(products or {}),
    )


def log_overview_use(runs: Sequence[SceneRun]) -> None:
    """Log how many coarse passes are read from overviews, if there are coarse passes."""
    from_overview: list[bool] = []
    for run in runs:
        scales = run.search.settings.scales
        coarse = [
            scale_pass
            for scale_pass in run.search.passes
            if scales[scale_pass.number] >= MIN_OVERVIEW_SCALE
        ]
        from_overview += [scale_pass.grid.overview is not None for scale_pass in coarse]
    if not from_overview:
        return
    rest = ""
    if not all(from_overview):
        rest = ", the others from every px again (gdaladdo -r average spares that)"
    logger.info(
        "coarser passes: %d of %d are read from overviews%s",
        sum(from_overview),
        len(from_overview),
        rest,
    )
