"""Maps of coverage of raster files: `windhover detect` with such a model.

Writes a folder: of each raster a probability map, a class map and its style, of all of them one
file of polygons and one table.
Each finished block is kept in a journal, from which a killed run goes on to the same files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import pandas as pd

from windhover.detection.check_against_model import check_against_model, not_in_area
from windhover.detection.detect_rasters import (
    FilesRead,
    areas_of_interest,
    describe_resuming,
    make_detector,
    plan_runs,
    run_fingerprint,
)
from windhover.detection.detect_request import (
    DEFAULT_OUTPUT,
    DetectRequest,
    check_block_size,
    check_names,
    inspect_scenes,
)
from windhover.detection.detect_scene import DetectionOutcome, SceneRun
from windhover.detection.journal import SceneJournal, SearchJournal
from windhover.detection.map_catalog import summarize_maps
from windhover.detection.overlaps import notes_on_overlaps
from windhover.detection.stac_scenes import named_by_item, with_stac_scenes
from windhover.errors import ParameterError
from windhover.export.coverage_polygon_file import POLYGONS, polygon_file
from windhover.export.coverage_summary import COVERAGE_SUMMARY, MAP_SUFFIX, CoverageSummary
from windhover.export.export_coverage import (
    describe_table,
    read_named_areas,
    write_products,
    write_table,
)
from windhover.export.score_map import is_own_score_map
from windhover.files import check_output, file_stem, lock_output
from windhover.imagery.rasters import SceneInfo, files_read, gdal_options
from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle
from windhover.progress import progress_bar

logger = logging.getLogger(__name__)

DEFAULT_FOLDER = Path("coverage")
JOURNAL = ".coverage.journal"


@dataclass
class MappingOutcome(DetectionOutcome):
    """What the mapping of several rasters gave.

    Attributes:
        folder: of the files.
        table: of covered shares.
    """

    folder: Path = DEFAULT_FOLDER
    table: pd.DataFrame = field(default_factory=pd.DataFrame)

    def lines(self) -> list[str]:
        """Return what is covered, for the terminal."""
        return describe_table(self.table, self.folder)


def map_rasters(request: DetectRequest) -> MappingOutcome:
    """Map raster files and write the products of each, and one table.

    Args:
        request: what to do; its output is a folder.

    Raises:
        WindhoverError: a child that names the fault of the files, the model or an option.
    """
    if request.mask is not None:
        raise ParameterError(
            f"--mask {request.mask}: is for models of objects, and {request.model} maps coverage. "
            "Leave it out."
        )
    request = _with_folder(request)
    with gdal_options(), ExitStack() as stacks:
        request, items = with_stac_scenes(request, stacks)
        infos = [named_by_item(info, items) for info in inspect_scenes(request)]
        files = {info.path: files_read(info.path, info.files) for info in infos}
        _check_request(request, infos, list(chain.from_iterable(files.values())))
        return _map_scenes(request, infos, files)


def _map_scenes(
    request: DetectRequest, infos: Sequence[SceneInfo], files: FilesRead
) -> MappingOutcome:
    """Map the scenes of a checked request and write its files."""
    bundle = load_bundle(request.model)
    areas = areas_of_interest(request, infos)
    check_against_model(request, bundle, infos, areas)
    detector = make_detector(request, bundle)
    thresholds = detector.thresholds(request.threshold)
    runs = plan_runs(request, detector, thresholds, infos=infos, areas=areas, map_path=map_path)
    logger.info(detector.describe())
    runs = [run for run in runs if run.mpx]
    if not runs:
        raise not_in_area(request, infos)
    fingerprint = run_fingerprint(
        request, detector, thresholds, infos=infos, areas=areas, runs=runs, files=files
    )
    request.output.mkdir(parents=True, exist_ok=True)
    with (
        lock_output(request.output / COVERAGE_SUMMARY),
        SearchJournal(request.output / JOURNAL, fingerprint, resume=request.resume) as journal,
    ):
        if request.resume:
            logger.info(describe_resuming(journal))
        outcome = _map_runs(request, runs, detector, journal=journal)
        summary = summarize_maps(detector, thresholds, outcome, notes=notes_on_overlaps(infos))
        outcome.table = _write_all(request, summary)
        if not outcome.failed:
            journal.remove()
    return outcome


def map_path(request: DetectRequest, info: SceneInfo) -> Path:
    """Return where the probability map of a raster is written."""
    return request.output / f"{file_stem(info.name)}{MAP_SUFFIX}"


def _with_folder(request: DetectRequest) -> DetectRequest:
    """Return a request whose output is a folder.

    Raises:
        ParameterError: it is a file, or an option has no meaning for maps.
    """
    if request.output == DEFAULT_OUTPUT:
        request = replace(request, output=DEFAULT_FOLDER)
    if request.output.suffix or request.output.is_file():
        raise ParameterError(
            f"--output {request.output}: a model of coverage writes several files, so it must be a "
            "folder. Name one, such as coverage."
        )
    if request.scores is not None:
        raise ParameterError(
            "--scores: a model of coverage writes its maps into the folder of --output. Leave it "
            "out."
        )
    if request.gsd_m == "unknown" or len(request.scales or ()) > 1:
        raise ParameterError(
            "--gsd unknown and several --scales are for objects of unknown size: a map of coverage "
            "has one GSD. State it in metres per px."
        )
    return request


def _check_request(
    request: DetectRequest, infos: Sequence[SceneInfo], files: Sequence[str]
) -> None:
    """Check that names and sizes are possible, and that no file that is read is written over.

    Raises:
        ParameterError: they are not.
    """
    check_names(infos)
    check_block_size(request)
    inputs: list[str | Path] = [request.model, *files]
    if request.aoi is not None:
        inputs.append(request.aoi)
    for info in infos:
        check_output(map_path(request, info), inputs=inputs, is_own=is_own_score_map)
        mask = request.output / f"{file_stem(info.name)}_mask.tif"
        check_output(mask, inputs=inputs, is_own=Path.is_file)
    check_output(request.output / POLYGONS, inputs=inputs, is_own=Path.is_file)


def _map_runs(
    request: DetectRequest,
    runs: Sequence[SceneRun],
    detector: Detector,
    *,
    journal: SearchJournal,
) -> MappingOutcome:
    """Write the probability map of each raster."""
    outcome = MappingOutcome(folder=request.output)
    with progress_bar("mapping", sum(run.mpx for run in runs), "Mpx") as advance:
        for run in runs:
            of_scene = SceneJournal(journal, run.number, detector.bundle.calibration)
            run.run(outcome, progress=advance, journal=of_scene)
    return outcome


def _write_all(request: DetectRequest, summary: CoverageSummary) -> pd.DataFrame:
    """Write the products of all maps, the table and the summary; return the table."""
    areas = None
    if request.aoi is not None:
        areas = read_named_areas(request.aoi)
    tables = []
    with polygon_file(request.output / POLYGONS, summary.classes) as polygons:
        for scene in summary.scenes:
            path = request.output / f"{file_stem(scene.scene)}{MAP_SUFFIX}"
            tables.append(
                write_products(
                    path, request.output, scene, summary=summary, polygons=polygons, areas=areas
                )
            )
    table = write_table(tables, request.output)
    summary.save(request.output / COVERAGE_SUMMARY)
    return table
