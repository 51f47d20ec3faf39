"""The flow behind `windhover plan`: scenes, their tasks and what they will take, in one folder.

Searches nothing but a few blocks, from which the hours are estimated.
"""

from __future__ import annotations

import glob
import logging
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rasterio

from windhover import __version__
from windhover.batch.divide_tasks import SceneBlocks, SearchSpeed, divide_tasks
from windhover.batch.measure_speed import measure_speed, stated_speed
from windhover.batch.model_files import model_hashes
from windhover.batch.plan import (
    FORMAT,
    PARTS,
    PLAN,
    SCENES,
    TASKS,
    PlannedModel,
    PlannedSearch,
    PlanRecord,
    save_record,
    write_tables,
)
from windhover.batch.plan_scenes import ScenePlanner, absolute_path, known_infos
from windhover.batch.scene_row import PlannedScene
from windhover.detection.check_against_model import not_in_area
from windhover.detection.detect_rasters import make_detector
from windhover.detection.detect_request import (
    DetectRequest,
    check_block_size,
    check_model_folder,
    check_names,
    expand_scenes,
)
from windhover.detection.model_task import task_of_model
from windhover.detection.overlaps import notes_on_overlaps
from windhover.detection.stac_scenes import with_stac_scenes
from windhover.errors import MissingFileError, ParameterError, UnsupportedError
from windhover.files import atomic_folder, check_replaceable, lock_output
from windhover.imagery.rasters import gdal_options
from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle
from windhover.models.card import CARD
from windhover.progress import counted, progress_bar

logger = logging.getLogger(__name__)

PATTERN_SIGNS = frozenset("*?[")
LIBRARIES = ("numpy", "scipy", "rasterio", "shapely", "pyproj", "torch", "openvino", "onnxruntime")
SHOWN_FAULTS = 10


@dataclass(frozen=True)
class PlanRequest:
    """What `windhover plan` is asked for.

    Attributes:
        search: what to search and how, as for `windhover detect`; its output is the plan's folder.
        minutes_per_task: wanted time of a task.
        max_tasks: most tasks; schedulers take arrays of about a thousand.
        mpx_per_second: of one worker; None to measure it here.
    """

    search: DetectRequest
    minutes_per_task: float = 10.0
    max_tasks: int = 1000
    mpx_per_second: float | None = None


@dataclass(frozen=True)
class PlanOutcome:
    """A plan that was written.

    Attributes:
        record: of `plan.json`.
        folder: of the plan.
        failed: scenes whose raster cannot be opened.
    """

    record: PlanRecord
    folder: Path
    failed: tuple[PlannedScene, ...]

    def lines(self) -> list[str]:
        """Return what is planned, for the terminal."""
        record = self.record
        n_outside = record.scenes_unsearched - len(self.failed)
        first = f"{counted(record.scenes, 'scene')}, {record.km2:.2f} km2, {record.mpx:.0f} Mpx"
        if n_outside:
            first += f"; {counted(n_outside, 'scene')} outside the area"
        if self.failed:
            first += f"; {counted(len(self.failed), 'raster')} cannot be opened"
        hours = (
            f"{counted(record.tasks, 'task')}, about {record.hours:.2g} hours of one worker at "
            f"{record.mpx_per_second:.2f} Mpx/s ({record.speed})"
        )
        run = f"windhover run {self.folder}"
        how = f"run them here: {run} --local 2; one of them: {run} --task 0"
        return [f"{first} -> {self.folder}", hours, how]


def make_plan(request: PlanRequest) -> PlanOutcome:
    """Plan the search of many rasters; write the folder of the plan, whole or not at all.

    Args:
        request: what to plan.

    Raises:
        WindhoverError: a child that names the fault of the rasters, the model or an option, or
            that no raster can be searched.
    """
    search = request.search
    _check_request(request)
    with gdal_options(), ExitStack() as stack:
        stack.enter_context(lock_output(search.output))
        search = replace(search, scenes=expand_patterns(search.scenes))
        search, items = with_stac_scenes(search, stack)
        request = replace(request, search=search)
        bundle = load_bundle(search.model)
        bundle.card.require_objects()
        thresholds = bundle.choose_thresholds(search.threshold)
        detector = make_detector(search, bundle)
        logger.info(detector.describe())
        planner = ScenePlanner(search, detector, thresholds, items=items)
        started = time.perf_counter()
        scenes, blocks = _plan_scenes(planner, expand_scenes(search.scenes))
        per_scene_s = (time.perf_counter() - started) / len(scenes)
        if not blocks:
            raise planner.first_error or not_in_area(search, known_infos(scenes))
        speed = _speed(request, detector, thresholds, scenes, per_scene_s)
        return _write(request, detector, thresholds, scenes=scenes, blocks=blocks, speed=speed)


def _check_request(request: PlanRequest) -> None:
    """Check options and folders before rasters are opened.

    Raises:
        WindhoverError: a child that names the option or folder.
    """
    search = request.search
    check_model_folder(search.model)
    if task_of_model(search.model) == "coverage":
        raise UnsupportedError(
            f"{search.model}: is a model of coverage, and tasks search for objects. Map the scenes "
            "by windhover detect, one list of them a machine."
        )
    if search.mask is not None and (search.mask / CARD).is_file():
        raise UnsupportedError(
            f"--mask {search.mask}: is a model, and a plan takes masks. Map the scenes first, "
            f"windhover detect SCENES --model {search.mask} -o masks, then give --mask masks."
        )
    if not 0 < request.minutes_per_task < float("inf"):
        raise ParameterError(
            f"--minutes-per-task must be above 0, got {request.minutes_per_task:g}. Try 10."
        )
    if request.max_tasks < 1:
        raise ParameterError(f"--max-tasks must be 1 or more, got {request.max_tasks}. Try 1000.")
    check_block_size(search)
    if (search.output / PARTS).exists():
        raise ParameterError(
            f"{search.output}: holds the parts of an earlier plan. Name a new folder, or remove "
            "this one."
        )
    check_replaceable(search.output, (PLAN, SCENES, TASKS), [search.model])


def expand_patterns(sources: Sequence[str]) -> list[str]:
    """Return the sources, patterns such as `scenes/*.tif` replaced by the files they match.

    Raises:
        MissingFileError: a pattern matches nothing.
    """
    expanded: list[str] = []
    for source in sources:
        is_pattern = PATTERN_SIGNS & set(source) and "://" not in source
        if not is_pattern or Path(source).exists():
            expanded.append(source)
            continue
        found = sorted(glob.glob(source, recursive=True))
        if not found:
            raise MissingFileError(f"{source}: no file has such a name. Correct the pattern.")
        expanded += found
    return expanded


def _plan_scenes(
    planner: ScenePlanner, rasters: Sequence[str]
) -> tuple[list[PlannedScene], list[SceneBlocks]]:
    """Return the scenes of all rasters, and the blocks of those that are searched."""
    scenes: list[PlannedScene] = []
    blocks: list[SceneBlocks] = []
    with progress_bar("planning", len(rasters), "rasters") as advance:
        for number, raster in enumerate(rasters):
            plan = planner.plan(number, raster)
            scenes.append(plan.scene)
            if plan.blocks is not None:
                blocks.append(plan.blocks)
            for note in plan.scene.info.notes:
                logger.info("%s: %s", plan.scene.info.name, note)
            advance()
    check_names(known_infos(scenes))
    return scenes, blocks


def _speed(
    request: PlanRequest,
    detector: Detector,
    thresholds: dict[str, float],
    scenes: Sequence[PlannedScene],
    per_scene_s: float,
) -> SearchSpeed:
    """Return the speed of a worker, as stated or measured."""
    if request.mpx_per_second is not None:
        return stated_speed(request.mpx_per_second)
    searched = [scene for scene in scenes if scene.n_blocks]
    return measure_speed(detector, thresholds, searched, seconds_per_scene=per_scene_s)


def _write(
    request: PlanRequest,
    detector: Detector,
    thresholds: dict[str, float],
    *,
    scenes: Sequence[PlannedScene],
    blocks: Sequence[SceneBlocks],
    speed: SearchSpeed,
) -> PlanOutcome:
    """Write the plan's folder and return what is in it."""
    search = request.search
    tasks = divide_tasks(
        blocks,
        speed,
        minutes_per_task=request.minutes_per_task,
        max_tasks=request.max_tasks,
    )
    notes = notes_on_overlaps(known_infos(scenes))
    with atomic_folder(search.output) as folder:
        record = PlanRecord(
            format=FORMAT,
            windhover=__version__,
            versions=_versions(),
            model=PlannedModel(
                folder=str(search.model.absolute()),
                name=detector.bundle.card.name,
                files=model_hashes(search.model),
            ),
            search=_planned_search(search, detector, thresholds),
            scenes=len(blocks),
            scenes_unsearched=len(scenes) - len(blocks),
            tasks=tasks[-1].task + 1,
            mpx=sum(row.mpx for row in tasks),
            km2=sum(row.km2 or 0.0 for row in tasks),
            hours=sum(row.minutes for row in tasks) / 60,
            mpx_per_second=speed.mpx_per_second,
            speed=speed.source,
            notes=tuple(notes),
            tables=write_tables(folder, (scene.to_row() for scene in scenes), tasks),
        ).with_digest()
        save_record(record, folder)
    failed = tuple(scene for scene in scenes if scene.unsearched and not scene.is_outside)
    for note in notes:
        logger.warning(note)
    for scene in failed[:SHOWN_FAULTS]:
        logger.warning("not planned: %s", scene.unsearched)
    return PlanOutcome(record, search.output, failed)


def _planned_search(
    search: DetectRequest, detector: Detector, thresholds: dict[str, float]
) -> PlannedSearch:
    """Return how every scene is searched."""
    return PlannedSearch(
        thresholds=thresholds,
        settings=detector.settings.to_json(),
        stride_px=search.stride_px,
        scales=search.searched_scales,
        bands=search.bands,
        match_radiometry=search.match_radiometry,
        runtime=search.runtime,
        device=search.device,
        inference_precision=search.inference_precision,
        batch_px=search.batch_px,
        block_px=search.block_px,
        mask=None if search.mask is None else absolute_path(str(search.mask)),
        mask_values=search.mask_values,
    )


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, as far as they are installed."""
    versions = {"python": platform.python_version(), "gdal": rasterio.__gdal_version__}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions
