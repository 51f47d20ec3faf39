"""Detection in every scene of a catalog: the flow behind the detect stage."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from windhover.dataset.catalog import load_catalog, scene_info
from windhover.detection.detect_scene import DetectionOutcome, SceneRun, log_overview_use
from windhover.detection.overlaps import notes_on_overlaps
from windhover.errors import DataError
from windhover.export.detection_summary import SUMMARY, DetectionSummary
from windhover.export.detections import save_table
from windhover.export.export_map import TABLE
from windhover.files import atomic_folder
from windhover.imagery.acquisition_time import acquisition_time
from windhover.imagery.rasters import SceneInfo, open_raster
from windhover.inference.detector import Detector
from windhover.inference.result_table import table_of_columns
from windhover.progress import progress_bar

logger = logging.getLogger(__name__)

ACCURACY_UNKNOWN = (
    "the model learned from every labelled scene, and its threshold was chosen on them: how "
    "accurate these detections are is not measured here (reports/index.html)"
)

ACCURACY_OF_FOLDS = (
    "the model learned from every labelled scene, and its threshold was chosen on what the models "
    "of a cross-validation found where they had not learned: their accuracy is in "
    "reports/index.html"
)


def detect_catalog(
    catalog_folder: str | Path,
    model_folder: str | Path,
    out_folder: str | Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    inference_precision: str = "auto",
    block_px: int | None = None,
) -> DetectionSummary:
    """Search every scene of a catalog; write `detections.parquet` and `summary.json`.

    Args:
        catalog_folder: written by the scenes stage.
        model_folder: written by the evaluate stage; its operating point gives the thresholds.
        out_folder: replaced whole when all is done.
        runtime: `auto`, `torch`, `onnx` or `openvino`.
        device: `auto`, `cpu` or `cuda`.
        inference_precision: as for `Detector`.
        block_px: side of the blocks.

    Returns:
        The summary: per scene and in all, objects by class, windows searched and skipped, km2.

    Raises:
        DataError: a part of a scene cannot be read.
    """
    catalog = load_catalog(catalog_folder)
    detector = Detector.from_bundle(
        model_folder,
        runtime=runtime,
        device=device,
        inference_precision=inference_precision,
    )
    detector.bundle.card.require_objects()
    logger.info(detector.describe())
    thresholds = detector.thresholds()
    runs = []
    for row in catalog:
        scene = detector.open(with_file_blocks(scene_info(row)))
        runs.append(SceneRun(detector, scene, thresholds, block_px=block_px, split=row.split))
    notes = notes_on_overlaps([run.scene.info for run in runs])
    notes += note_on_accuracy(detector)
    for note in notes:
        logger.warning(note)
    log_overview_use(runs)
    outcome = DetectionOutcome()
    total_mpx = sum(run.mpx for run in runs)
    with progress_bar("detecting", total_mpx, "Mpx") as advance:
        detections = [run.run(outcome, progress=advance) for run in runs]
    if outcome.failed:
        raise DataError(f"{outcome.failed[0].reason} ({len(outcome.failed)} such parts.)")
    summary = outcome.summarize(detector, thresholds, notes)
    with atomic_folder(out_folder) as folder:
        save_table(table_of_columns(detections), folder / TABLE)
        summary.save(folder / SUMMARY)
    return summary


def note_on_accuracy(detector: Detector) -> list[str]:
    """Return a sentence where the model learned from every labelled scene."""
    point = detector.bundle.operating_point
    if point is None:
        return []
    notes = {"train": [ACCURACY_UNKNOWN], "folds": [ACCURACY_OF_FOLDS]}
    return notes.get(point.chosen_on.split, [])


def with_file_blocks(info: SceneInfo) -> SceneInfo:
    """Return a catalog's scene with the blocks of its file, along which it is read fastest.

    And with the time that the file holds.
    """
    with open_raster(info.path) as dataset:
        return replace(
            info,
            file_block_hw=tuple(dataset.block_shapes[0]),
            acquired=acquisition_time(dataset),
        )
