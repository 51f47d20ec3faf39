"""The flow behind `windhover collect`: the parts of a plan become one file, or a collection.

A file is that of `windhover detect` over the same rasters, byte for byte. A folder is written scene
by scene, so that memory does not grow with their number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windhover import __version__
from windhover.batch.collect_scenes import PartsFound, SceneCollector, find_parts
from windhover.batch.plan import PARTS, PLAN, SCENES, TASKS, Plan
from windhover.batch.task_numbers import format_tasks
from windhover.collection.write_collection import check_folder, write_collection
from windhover.detection.usable_ground import notes_on_ground, validation_recalls
from windhover.errors import DataError, ParameterError
from windhover.export.collected_scene import CollectedScene, UnsearchedScene
from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.export.expected_counts import read_areas
from windhover.export.map_files import check_suffix, is_own_map
from windhover.files import check_output, lock_output
from windhover.imagery.rasters import gdal_options
from windhover.inference.detection_columns import DetectionColumns
from windhover.progress import counted, progress_bar

if TYPE_CHECKING:
    import geopandas

logger = logging.getLogger(__name__)


@dataclass
class CollectOutcome:
    """What was collected.

    Attributes:
        output: file or folder.
        n_scenes: that were searched.
        n_objects: in them.
        failed: reasons of parts of scenes that could not be read.
        unsearched: scenes of which nothing was searched.
        missing: tasks without a part.
        lines: of what wrote the collection.
    """

    output: Path
    n_scenes: int = 0
    n_objects: int = 0
    failed: list[str] = field(default_factory=list)
    unsearched: tuple[UnsearchedScene, ...] = ()
    missing: tuple[int, ...] = ()
    lines: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was planned was searched."""
        return not (self.losses or self.missing)

    @property
    def losses(self) -> list[str]:
        """Why parts of scenes, or whole scenes, were not searched; those outside the area are no
        loss.
        """
        lost = [scene.reason for scene in self.unsearched if scene.kind != "outside"]
        return [*self.failed, *lost]

    def shown_lines(self) -> list[str]:
        """Return what was collected and where it is, for the terminal."""
        if not self.lines:
            n_objects = counted(self.n_objects, "object")
            return [f"{n_objects} in {counted(self.n_scenes, 'scene')} -> {self.output}"]
        return [f"{self.lines[0]} -> {self.output}", *self.lines[1:]]

    def counting(self, scenes: Iterable[CollectedScene]) -> Iterator[CollectedScene]:
        """Yield scenes and count them."""
        for scene in scenes:
            self._add(scene)
            yield scene

    def _add(self, scene: CollectedScene) -> None:
        """Count a scene."""
        self.n_scenes += 1
        self.n_objects += scene.summary.objects
        self.failed += [block.reason for block in scene.failed]


def collect_plan(
    folder: Path,
    output: Path,
    *,
    model: Path | None = None,
    partial: bool = False,
    areas: Path | None = None,
) -> CollectOutcome:
    """Write what the parts of a plan found.

    Args:
        folder: of the plan.
        output: a file of detections, or a folder.
        model: where the model is now; None for where it was when the plan was made.
        partial: whether tasks that have not run are left out; else they are an error.
        areas: vector file of polygons to count the objects of a folder in.

    Raises:
        ParameterError: tasks have not run, or the output cannot be written.
        WindhoverError: another child that names the fault of the plan or a part.
    """
    plan = Plan.load(folder)
    with gdal_options(), lock_output(output):
        _check_request(plan, output, areas)
        found = find_parts(plan)
        _check_missing(plan, found, partial=partial)
        collector = SceneCollector(plan, found, model)
        notes = _notes_on_parts(found)
        outcome = CollectOutcome(output, unsearched=collector.unsearched, missing=found.missing)
        scenes = _counted_scenes(collector, outcome)
        if output.suffix:
            _write_file(scenes, collector, [*plan.record.notes, *notes], output)
        else:
            _write_folder(scenes, collector, notes, outcome=outcome, areas=areas)
    return outcome


def gather_plan(
    folder: Path, model: Path
) -> tuple[geopandas.GeoDataFrame, DetectionSummary, CollectOutcome]:
    """Return what the parts of a plan found, and what could not be searched.

    Args:
        folder: of the plan, all of whose tasks have run.
        model: where the model is now.

    Returns:
        the detections, each in its scene's coordinate system, their summary, and the outcome.

    Raises:
        ParameterError: tasks have not run, or it is another model than the plan's.
        WindhoverError: another child that names the fault of the plan or a part.
    """
    plan = Plan.load(folder)
    with gdal_options():
        found = find_parts(plan)
        _check_missing(plan, found, partial=False)
        collector = SceneCollector(plan, found, model)
        notes = [*plan.record.notes, *_notes_on_parts(found)]
        outcome = CollectOutcome(folder, unsearched=collector.unsearched)
        table, summary = _gather(_counted_scenes(collector, outcome), collector, notes)
    return table, summary, outcome


def _check_request(plan: Plan, output: Path, areas: Path | None) -> None:
    """Raise before the work if it could not be written.

    Raises:
        ParameterError: the output cannot be written, or areas are given for a file.
        WindhoverError: another child that names the fault of the areas.
    """
    if not output.suffix:
        check_folder(output, [plan.folder, *filter(None, [areas])])
        if areas is not None:
            read_areas(areas)
        return
    if areas is not None:
        raise ParameterError(
            f"--areas {areas}: objects are counted in areas where a folder is written. Name one by "
            "--output, or leave --areas out."
        )
    check_suffix(output, georeferenced=True)
    inputs = [plan.folder / name for name in (PLAN, SCENES, TASKS, PARTS)]
    check_output(output, inputs=inputs, is_own=is_own_map)


def _check_missing(plan: Plan, found: PartsFound, *, partial: bool) -> None:
    """Raise if tasks have no part, or none has.

    Raises:
        ParameterError: so.
    """
    if not found.missing:
        return
    for reason in list(found.damaged.values())[:3]:
        logger.warning(reason)
    if partial and found.headers:
        return
    tasks = format_tasks(found.missing)
    raise ParameterError(
        f"{plan.folder}: {len(found.missing)} of {counted(plan.record.tasks, 'task')} have no "
        f"part. Run them, windhover run {plan.folder} --task {tasks}, or collect what is there "
        "with --partial."
    )


def _notes_on_parts(found: PartsFound) -> list[str]:
    """Return and log sentences on parts that are missing or were searched in different ways."""
    notes = []
    if found.missing:
        tasks = format_tasks(found.missing)
        notes.append(f"not searched yet: {counted(len(found.missing), 'task')} ({tasks})")
    if len(found.searched_by) > 1:
        ways = " and ".join(found.searched_by)
        notes.append(f"searched {ways}, which round differently: scores are not those of one run")
    for note in notes:
        logger.warning(note)
    return notes


def _counted_scenes(collector: SceneCollector, outcome: CollectOutcome) -> Iterator[CollectedScene]:
    """Yield the scenes while a bar counts them."""
    with progress_bar("collecting", collector.plan.record.scenes, "scenes") as advance:
        for scene in outcome.counting(collector.scenes()):
            yield scene
            advance()


def _write_file(
    scenes: Iterator[CollectedScene],
    collector: SceneCollector,
    notes: list[str],
    output: Path,
) -> None:
    """Write one file as `windhover detect` does, all detections in memory."""
    from windhover.export.write_detections import write_detections

    table, summary = _gather(scenes, collector, notes)
    if len({scene.crs is None for scene in summary.scenes}) > 1:
        raise DataError(
            "scenes with and without georeference cannot share one file. Collect into a folder."
        )
    write_detections(table, summary, output)


def _gather(
    scenes: Iterator[CollectedScene], collector: SceneCollector, notes: list[str]
) -> tuple[geopandas.GeoDataFrame, DetectionSummary]:
    """Return all detections, each in its scene's system, and the summary of the search."""
    from windhover.inference.result_table import table_of_columns

    detections: list[DetectionColumns] = []
    summaries: list[SceneSummary] = []
    for scene in scenes:
        detections.append(scene.detections)
        summaries.append(scene.summary)
    bundle = collector.rules.bundle
    recalls = validation_recalls(bundle.operating_point, collector.rules.thresholds)
    ground = notes_on_ground(summaries, bundle.card.classes, recalls)
    for note in ground:
        logger.info(note)
    summary = _header(collector, [*notes, *ground]).of(summaries)
    return table_of_columns(detections), summary


def _write_folder(
    scenes: Iterator[CollectedScene],
    collector: SceneCollector,
    notes: list[str],
    *,
    outcome: CollectOutcome,
    areas: Path | None,
) -> None:
    """Write a collection, each object of overlapping scenes once."""
    rules = collector.rules
    manifest = write_collection(
        scenes,
        _header(collector, notes),
        outcome.output,
        unsearched=collector.unsearched,
        plan=_plan_values(collector, outcome),
        recalls=validation_recalls(rules.bundle.operating_point, rules.thresholds),
        areas=areas,
    )
    outcome.lines = manifest.lines()


def _plan_values(collector: SceneCollector, outcome: CollectOutcome) -> Mapping[str, Any]:
    """Return what a manifest needs to know of a plan."""
    record = collector.plan.record
    return {
        "sha256": record.digest,
        "tasks": record.tasks,
        "tasks_missing": list(outcome.missing),
        "model": record.model.model_dump(mode="json"),
    }


def _header(collector: SceneCollector, notes: list[str]) -> DetectionSummary:
    """Return what is known of the search before its scenes."""
    rules = collector.rules
    return DetectionSummary.of_scenes(
        [],
        model=rules.bundle.card.name,
        run=rules.run_name,
        program=__version__,
        thresholds=rules.thresholds,
        operating_point=rules.bundle.operating_thresholds(),
        search=rules.settings.to_json(),
        notes=notes,
    )
