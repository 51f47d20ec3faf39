"""Maps of coverage of every scene of a catalog: the detect stage of such a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from windhover import __version__
from windhover.dataset.catalog import load_catalog, scene_info
from windhover.detection.detect_catalog import note_on_accuracy, with_file_blocks
from windhover.detection.detect_scene import DetectionOutcome, SceneRun
from windhover.detection.journal import SceneJournal, SearchJournal
from windhover.detection.overlaps import notes_on_overlaps
from windhover.errors import DataError
from windhover.export.coverage_summary import (
    COVERAGE_SUMMARY,
    MAP_SUFFIX,
    CoverageSummary,
    MappedRaster,
)
from windhover.files import atomic_folder, file_stem
from windhover.inference.detector import Detector
from windhover.progress import progress_bar

logger = logging.getLogger(__name__)

JOURNAL = ".maps.journal"  # of finished blocks, while a scene is mapped


def map_catalog(
    catalog_folder: str | Path,
    model_folder: str | Path,
    out_folder: str | Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    inference_precision: str = "auto",
    block_px: int | None = None,
) -> CoverageSummary:
    """Map every scene of a catalog; write a probability map of each and `coverage.json`.

    Args:
        catalog_folder: written by the scenes stage.
        model_folder: written by the evaluate stage; its operating point gives the thresholds.
        out_folder: replaced whole when all is done.
        runtime: `auto`, `torch`, `onnx` or `openvino`.
        device: `auto`, `cpu` or `cuda`.
        inference_precision: as for `Detector`.
        block_px: side of the blocks.

    Raises:
        DataError: a part of a scene cannot be read.
    """
    catalog = load_catalog(catalog_folder)
    detector = Detector.from_bundle(
        model_folder, runtime=runtime, device=device, inference_precision=inference_precision
    )
    logger.info(detector.describe())
    thresholds = detector.thresholds()
    rows = list(catalog)
    infos = [with_file_blocks(scene_info(row)) for row in rows]
    notes = [*notes_on_overlaps(infos), *note_on_accuracy(detector)]
    for note in notes:
        logger.warning(note)
    outcome = DetectionOutcome()
    total_mpx = sum(row.area_m2 / catalog.gsd_m**2 / 1e6 for row in rows)
    with (
        atomic_folder(out_folder) as folder,
        progress_bar("mapping", total_mpx, "Mpx") as advance,
    ):
        for row, info in zip(rows, infos, strict=True):
            run = SceneRun(
                detector,
                detector.open(info),
                thresholds,
                block_px=block_px,
                split=row.split,
                score_map=folder / f"{file_stem(row.scene)}{MAP_SUFFIX}",
            )
            with SearchJournal(folder / JOURNAL, {}, resume=False) as journal:
                of_scene = SceneJournal(journal, run.number, detector.bundle.calibration)
                run.run(outcome, progress=advance, journal=of_scene)
                journal.remove()
            if outcome.failed:
                raise DataError(outcome.failed[0].reason)
        summary = summarize_maps(detector, thresholds, outcome, notes=notes)
        summary.save(folder / COVERAGE_SUMMARY)
    return summary


def summarize_maps(
    detector: Detector,
    thresholds: Mapping[str, float],
    outcome: DetectionOutcome,
    *,
    notes: Sequence[str],
) -> CoverageSummary:
    """Return the record of maps.

    Args:
        detector: that made them.
        thresholds: by class.
        outcome: of the search.
        notes: on the whole search, a sentence each.
    """
    bundle = detector.bundle
    point = None
    if bundle.operating_point is not None:
        point = bundle.operating_point.coverage
    return CoverageSummary(
        model=bundle.card.name,
        run=detector.run_name(thresholds),
        program=__version__,
        classes=bundle.card.classes,
        thresholds=dict(thresholds),
        share_errors={} if point is None else point.share_errors,
        min_speck_px=0 if point is None else point.min_speck_px,
        cell_px=detector.scorer.stride_px,
        search=detector.settings.to_json(),
        notes=tuple(notes),
        scenes=tuple(MappedRaster.of(scene) for scene in outcome.scenes),
    )
