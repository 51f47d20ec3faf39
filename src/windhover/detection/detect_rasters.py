"""Detection in raster files: the flow behind `windhover detect`.

Writes one file of detections, whole or not at all, and score maps where asked. Each finished block
is kept in a journal, from which a killed run goes on to byte-identical files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from shapely.geometry.base import BaseGeometry

from windhover import __version__
from windhover.detection.check_against_model import check_against_model, not_in_area
from windhover.detection.detect_request import (
    DetectRequest,
    check_model_folder,
    check_request,
    inspect_scenes,
    output_paths,
    score_map_path,
    with_assumed_gsd,
)
from windhover.detection.detect_scene import DetectionOutcome, SceneRun, log_overview_use
from windhover.detection.journal import SceneJournal, SearchJournal
from windhover.detection.overlaps import notes_on_overlaps
from windhover.detection.stac_scenes import named_by_item, with_stac_scenes
from windhover.detection.usable_ground import (
    check_mask,
    mask_request,
    notes_on_ground,
    validation_recalls,
)
from windhover.errors import DataError, shown_path
from windhover.export.detection_summary import DetectionSummary
from windhover.files import lock_output
from windhover.imagery.rasters import SceneInfo, files_read, gdal_options
from windhover.imagery.scenes import Scene
from windhover.inference.aoi import area_in_scene, read_aoi
from windhover.inference.detection_columns import DetectionColumns
from windhover.inference.detector import Detector
from windhover.models.bundle import Bundle, load_bundle
from windhover.progress import counted, progress_bar

logger = logging.getLogger(__name__)

FilesRead: TypeAlias = Mapping[str, Sequence[str]]  # path of a raster -> files it is read from

# From here on a user is warned: the details that the model knows are not in the raster.
ENLARGED_RATIO = 2.0
# Searches of less end within a minute or so. A CPU's core searches some 20 Mpx a minute by the
# slower networks, eight cores some 500 by the faster ones.
LONG_SEARCH_MPX = 50.0
SLOW_MPX_PER_MINUTE = 20.0
FAST_MPX_PER_MINUTE = 500.0


def detect_rasters(request: DetectRequest) -> DetectionOutcome:
    """Search raster files and write one file of detections, and score maps where asked.

    Args:
        request: what to do.

    Returns:
        Counts per scene, and the parts that could not be read.

    Raises:
        WindhoverError: a child that names the fault of the files, the model or an option.
    """
    check_model_folder(request.model)
    with gdal_options(), ExitStack() as locks:
        request, items = with_stac_scenes(request, locks)
        infos = [named_by_item(info, items) for info in inspect_scenes(request)]
        files = {info.path: files_read(info.path, info.files) for info in infos}
        check_request(request, infos, list(chain.from_iterable(files.values())))
        for path in output_paths(request, infos):
            locks.enter_context(lock_output(path))
        return _search_scenes(request, infos, files)


def _search_scenes(
    request: DetectRequest, infos: Sequence[SceneInfo], files: FilesRead
) -> DetectionOutcome:
    """Search the scenes of a checked request and write its files."""
    bundle = load_bundle(request.model)
    bundle.card.require_objects()
    if request.gsd_m == "unknown":
        infos = with_assumed_gsd(infos, bundle.card.gsd_m)
    areas = areas_of_interest(request, infos)
    check_against_model(request, bundle, infos, areas)
    for info in infos:
        for note in info.notes:
            logger.info("%s: %s", info.name, note)
    notes = notes_on_overlaps(infos)
    for note in notes:
        logger.warning(note)
    detector = make_detector(request, bundle)
    thresholds = detector.thresholds(request.threshold)
    runs = plan_runs(request, detector, thresholds, infos=infos, areas=areas)
    logger.info(detector.describe())
    _log_unsearched_scenes(runs)
    runs = [run for run in runs if run.mpx]
    if not runs:
        raise not_in_area(request, infos)
    for run in runs:
        _log_enlargement(run.scene)
    log_overview_use(runs)
    _log_amount(runs)
    fingerprint = run_fingerprint(
        request, detector, thresholds, infos=infos, areas=areas, runs=runs, files=files
    )
    return _run_with_journal(request, runs, fingerprint, detector=detector, notes=notes)


def make_detector(request: DetectRequest, bundle: Bundle) -> Detector:
    """Return the detector that a request asks for."""
    return Detector(
        bundle,
        runtime=request.runtime,
        device=request.device,
        inference_precision=request.inference_precision,
        stride_px=request.stride_px,
        batch_px=request.batch_px,
        scales=request.searched_scales,
        bands=request.bands,
        match_radiometry=request.match_radiometry,
    )


def areas_of_interest(
    request: DetectRequest, infos: Sequence[SceneInfo]
) -> list[BaseGeometry | None]:
    """Return the area to search of each scene; None for all of it."""
    if request.aoi is None:
        return [None] * len(infos)
    shapes = read_aoi(request.aoi)
    try:
        return [area_in_scene(shapes, info) for info in infos]
    except DataError as error:
        raise DataError(f"{request.aoi}: {error}") from None


def plan_runs(
    request: DetectRequest,
    detector: Detector,
    thresholds: dict[str, float],
    *,
    infos: Sequence[SceneInfo],
    areas: Sequence[BaseGeometry | None],
    map_path: Callable[[DetectRequest, SceneInfo], Path | None] = score_map_path,
) -> list[SceneRun]:
    """Open every raster and plan its search.

    Args:
        request: what to do.
        detector: of the model.
        thresholds: score to reach, by class.
        infos: the rasters.
        areas: of interest in each.
        map_path: gives where the map of a raster is written, None for none.
    """
    runs = []
    # takes long where radiometry is measured
    with progress_bar("opening", len(infos), "rasters") as advance:
        for number, (info, area) in enumerate(zip(infos, areas, strict=True)):
            run = SceneRun(
                detector,
                detector.open(info),
                thresholds,
                number=number,
                aoi=area,
                block_px=request.block_px,
                score_map=map_path(request, info),
                mask=mask_request(request),
            )
            check_mask(request, run.scene)
            runs.append(run)
            advance()
    return runs


def _log_unsearched_scenes(runs: Sequence[SceneRun]) -> None:
    """Log which scenes are outside the area of interest."""
    for run in runs:
        if not run.mpx:
            logger.info("%s: no part of it lies in the area, not searched", run.scene.info.name)


def _log_amount(runs: Sequence[SceneRun]) -> None:
    """Log how much is to be searched, before the first block, where it takes long."""
    mpx = sum(run.mpx for run in runs)
    n_blocks = sum(len(scale_pass.blocks) for run in runs for scale_pass in run.search.passes)
    if mpx >= LONG_SEARCH_MPX:
        logger.info(
            "%.0f Mpx are to be searched in %d blocks: about %.0f to %.0f minutes on a CPU; the "
            "first block tells how fast this machine is",
            mpx,
            n_blocks,
            mpx / FAST_MPX_PER_MINUTE,
            mpx / SLOW_MPX_PER_MINUTE,
        )


def _log_enlargement(scene: Scene) -> None:
    """Warn where a raster is much coarser than the model."""
    enlargement = 1 / min(scene.ratio_xy)
    if enlargement >= ENLARGED_RATIO:
        logger.info(
            "%s: its px is %.3g m, the model's %.3g m: enlarged %.0f times, what is found there is "
            "doubtful",
            scene.info.name,
            max(scene.info.gsd_m),
            min(scene.gsd_m),
            enlargement,
        )


def run_fingerprint(
    request: DetectRequest,
    detector: Detector,
    thresholds: dict[str, float],
    *,
    infos: Sequence[SceneInfo],
    areas: Sequence[BaseGeometry | None],
    runs: Sequence[SceneRun],
    files: FilesRead,
) -> dict[str, Any]:
    """Return all that determines the blocks' results: equal fingerprints, equal bytes.

    Args:
        request: what to do.
        detector: of the model.
        thresholds: score to reach, by class.
        infos: the rasters.
        areas: of interest in each.
        runs: searches of those that have a part in their area.
        files: from which each raster is read.
    """
    precisions = [detector.scorer.inference_precision]
    if detector.second_stage is not None:
        precisions.append(detector.second_stage.inference_precision)
    bands = []
    overviews = []
    for run in runs:
        bands.append(run.scene.bands)
        overviews += [scale_pass.grid.overview for scale_pass in run.search.passes]
    scenes = []
    area_codes = []
    for info, area in zip(infos, areas, strict=True):
        georeference = [info.crs, *tuple(info.transform)[:6]]
        state = files_state(files[info.path])
        scenes.append([shown_path(info.path), *info.gsd_m, *georeference, *state])
        area_codes.append(None if area is None else area.wkb_hex)
    return {
        "program": __version__,
        "model": detector.bundle.card.name,
        "calibration": detector.bundle.calibration.to_json(),
        "search": detector.settings.to_json(),
        "thresholds": thresholds,
        "device": detector.scorer.device,
        "runtime": detector.scorer.runtime,
        "inference_precision": precisions,
        "match_radiometry": request.match_radiometry,
        "bands": bands,
        "batch_px": request.batch_px,
        "block_px": request.block_px,
        "scores": request.scores is not None,
        "scenes": scenes,
        "areas": area_codes,
        "overviews": overviews,
    }


def files_state(names: Sequence[str]) -> list[list[Any]]:
    """Return name, size and time of change of each file.

    Nothing but the name of what is no file, such as a URL, or a source that is missing.
    """
    states: list[list[Any]] = []
    for name in names:
        state: list[Any] = [shown_path(name)]
        if Path(name).exists():
            stat = Path(name).stat()
            state += [stat.st_size, stat.st_mtime_ns]
        states.append(state)
    return states


def _run_with_journal(
    request: DetectRequest,
    runs: Sequence[SceneRun],
    fingerprint: dict[str, Any],
    *,
    detector: Detector,
    notes: list[str],
) -> DetectionOutcome:
    """Run the searches, resuming where asked, and write the file of detections."""
    journal_path = request.output.with_name(f".{request.output.name}.journal")
    detections = []
    outcome = DetectionOutcome()
    with SearchJournal(journal_path, fingerprint, resume=request.resume) as journal:
        if request.resume:
            logger.info(describe_resuming(journal))
        total_mpx = sum(run.mpx for run in runs)
        with progress_bar("detecting", total_mpx, "Mpx") as advance:
            for run in runs:
                scene_journal = SceneJournal(journal, run.number, detector.bundle.calibration)
                detections.append(run.run(outcome, progress=advance, journal=scene_journal))
                logger.info(outcome.scenes[-1].describe())
        thresholds = detector.thresholds(request.threshold)
        notes = [*notes, *_notes_on_ground(outcome, detector, thresholds)]
        summary = outcome.summarize(detector, thresholds, notes)
        _write_detections(detections, request.output, summary)
        if not outcome.failed:
            journal.remove()
    return outcome


def _notes_on_ground(
    outcome: DetectionOutcome, detector: Detector, thresholds: Mapping[str, float]
) -> list[str]:
    """Return and log sentences on the ground that a mask leaves clear; none without a mask."""
    recalls = validation_recalls(detector.bundle.operating_point, thresholds)
    notes = notes_on_ground(outcome.scenes, detector.bundle.card.classes, recalls)
    for note in notes:
        logger.info(note)
    return notes


def _write_detections(
    detections: Sequence[DetectionColumns], path: Path, summary: DetectionSummary
) -> None:
    """Write the detections of all scenes; what writes them is loaded now, since it loads slowly."""
    from windhover.export.write_detections import write_detections
    from windhover.inference.result_table import table_of_columns

    write_detections(table_of_columns(detections), summary, path)


def describe_resuming(journal: SearchJournal) -> str:
    """Return a sentence about what of an earlier run is used."""
    if journal.state == "damaged":
        return f"the journal {journal.path} is damaged: begun anew"
    if journal.state == "other_version":
        return f"the journal {journal.path} is of another version of Windhover: begun anew"
    if journal.state != "resumed":
        return "no journal of this run: begun anew"
    line = f"going on after {len(journal)} blocks"
    if journal.n_damaged:
        line += f"; {counted(journal.n_damaged, 'damaged block')} searched again"
    return line
