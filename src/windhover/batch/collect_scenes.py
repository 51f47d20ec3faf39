"""Parts read back, scene by scene: what one process would have found in each scene.

The candidates of all blocks of a scene are merged once, as in a search by one process, so the
tasks that they come from change nothing. Needs neither the rasters nor a network, except for masks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from windhover.batch.divide_tasks import TaskRow
from windhover.batch.model_files import check_model
from windhover.batch.part import BlockRow, Part, PartHeader, load_header
from windhover.batch.plan import Plan
from windhover.batch.scene_row import PlannedScene
from windhover.batch.search_task import mask_of
from windhover.detection.detect_scene import summarize_scene
from windhover.detection.usable_ground import ClearPx, measure_ground
from windhover.errors import FormatError, shown_path
from windhover.export.collected_scene import CollectedScene, UnsearchedScene
from windhover.imagery.ground_mask import GroundMask
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates, merge_candidates
from windhover.inference.result_rules import ResultRules, search_settings
from windhover.inference.search_results import FailedBlock, SearchReport
from windhover.models.bundle import load_bundle

NOT_RUN = "has not run"


@dataclass(frozen=True)
class PartsFound:
    """Which parts of a plan are there.

    Attributes:
        headers: of the parts that are whole, by task.
        missing: tasks without a part, or with a damaged one.
        damaged: why a part cannot be read, by task.
    """

    headers: dict[int, PartHeader]
    missing: tuple[int, ...]
    damaged: dict[int, str]

    @property
    def searched_by(self) -> tuple[str, ...]:
        """Runtimes, devices and number types of all parts."""
        return tuple(sorted({header.searched_by for header in self.headers.values()}))


def find_parts(plan: Plan) -> PartsFound:
    """Return which parts of a plan are there; those of another plan count as missing."""
    headers: dict[int, PartHeader] = {}
    damaged: dict[int, str] = {}
    for task in range(plan.record.tasks):
        path = plan.part_path(task)
        if not path.is_file():
            continue
        try:
            header = load_header(path)
        except FormatError as error:
            damaged[task] = error.sentence()
            continue
        if header.plan == plan.record.digest and header.task == task:
            headers[task] = header
        else:
            damaged[task] = f"{path}: is of another plan. Run its task again."
    missing = tuple(task for task in range(plan.record.tasks) if task not in headers)
    return PartsFound(headers, missing, damaged)


@dataclass
class _SceneParts:
    """What the parts hold of one scene."""

    report: SearchReport = field(default_factory=SearchReport)
    candidates: list[Candidates] = field(default_factory=list)
    missing: list[FailedBlock] = field(default_factory=list)
    clear: ClearPx = field(default_factory=ClearPx)


class _OpenPart:
    """A part in memory, its content by scene."""

    def __init__(self, task: int, part: Part) -> None:
        """Sort the content of a part."""
        self.task = task
        self.blocks: dict[int, list[BlockRow]] = defaultdict(list)
        for block in part.blocks:
            self.blocks[block.scene].append(block)
        self.failures = {failure.scene: failure for failure in part.header.failures}
        self.clear: dict[int, ClearPx] = defaultdict(ClearPx)
        for count in part.header.clear:
            self.clear[count.scene] += ClearPx(count.valid, count.clear, count.known)

    def add_to(self, parts: _SceneParts, scene: int) -> None:
        """Add what the part holds of a scene, in the order of its blocks."""
        report = parts.report
        for block in self.blocks[scene]:
            parts.candidates.append(Candidates.from_bytes(block.candidates))
            report.windows_searched += block.windows_searched
            report.windows_skipped += block.windows_skipped
            report.mpx += block.mpx
            report.km2 += block.km2
        parts.clear += self.clear[scene]
        failure = self.failures.get(scene)
        if failure is not None:
            report.failed += failure.failed_blocks()
            parts.missing += failure.missing_parts()

    def reason(self, scene: int) -> str:
        """Return why the part has nothing of a scene; empty where it has something."""
        failure = self.failures.get(scene)
        return "" if failure is None else failure.reason


class SceneCollector:
    """Reads the parts of a plan once, in order, and gives its scenes one after another.

    Attributes:
        plan: whose parts.
        rules: that make detections of candidates.
        unsearched: scenes that no part has anything of.
    """

    def __init__(self, plan: Plan, found: PartsFound, model: Path | None = None) -> None:
        """Read the model's card and calibration.

        Args:
            plan: whose parts.
            found: which of them are there.
            model: where the model is now; None for where it was when the plan was made.

        Raises:
            ParameterError: it is another model than the plan's.
        """
        folder = Path(plan.record.model.folder) if model is None else model
        check_model(plan.record.model, folder)
        bundle = load_bundle(folder)
        search = plan.record.search
        self.plan = plan
        self.rules = ResultRules(
            bundle,
            search_settings(bundle, search.stride_px, search.scales),
            search.thresholds,
            bands=search.bands,
            match_radiometry=search.match_radiometry,
        )
        self._found = found
        self._mask = mask_of(search)
        self._open: _OpenPart | None = None
        without_part = _scenes_without_part(plan, found)
        self._left_out = {number for number, _, _ in without_part}
        never = [_never_searched(scene) for scene in plan.scenes.unsearched()]
        self.unsearched = (*never, *(_unsearched(plan, *reason) for reason in without_part))

    def scenes(self) -> Iterator[CollectedScene]:
        """Yield the scenes of the plan, in its order; at most one part is in memory.

        Raises:
            FormatError: a part is damaged.
        """
        for number, rows in groupby(self.plan.tasks, key=lambda row: row.scene):
            if number not in self._left_out:
                planned = self.plan.scenes[number]
                yield self._collect(planned, self._read_parts(planned, list(rows)))

    def _read_parts(self, planned: PlannedScene, rows: Sequence[TaskRow]) -> _SceneParts:
        """Return what the parts of some rows' tasks hold of a scene."""
        parts = _SceneParts()
        for task, in_task in groupby(rows, key=lambda row: row.task):
            reason = f"task {task} {NOT_RUN}"
            if task in self._found.headers:
                part = self._part(task)
                part.add_to(parts, planned.number)
                reason = part.reason(planned.number)
            if reason:
                parts.report.failed += [_lost_row(planned, row, reason) for row in in_task]
        return parts

    def _part(self, task: int) -> _OpenPart:
        """Return a part; the last one is kept, since the next scene is mostly in it too."""
        if self._open is None or self._open.task != task:
            self._open = None
            part = Part.load(self.plan.part_path(task))
            if not part.covers(self.plan.rows_of(task)):
                raise FormatError(
                    f"{self.plan.part_path(task)}: lacks blocks of its task. Remove it and run "
                    f"windhover run {self.plan.folder} --task {task}."
                )
            self._open = _OpenPart(task, part)
        return self._open

    def _collect(self, planned: PlannedScene, parts: _SceneParts) -> CollectedScene:
        """Return the detections of a scene, duplicates removed, and its summary."""
        scene = Scene(planned.info, self.rules.bundle.card.gsd_m)
        merged = merge_candidates(
            parts.candidates, self.rules.settings, aoi=planned.area, transform=scene.transform
        )
        detections = self.rules.columns(merged, scene)
        summary = summarize_scene(scene, detections, parts.report, aoi=planned.area)
        mask: GroundMask | None = None
        if self._mask is not None:
            mask = self._mask.mask_of(planned.info.name)
            clear = measure_ground(
                self._mask,
                Scene(planned.opened_info, self.rules.bundle.card.gsd_m),
                detections,
                km2=summary.km2,
                aoi=planned.area,
                counts=parts.clear,
            )
            summary = summary.model_copy(update={"clear": clear})
        failed = (*parts.report.failed, *parts.missing)
        return CollectedScene(summary, detections, failed, mask)


def _scenes_without_part(plan: Plan, found: PartsFound) -> list[tuple[int, str, str]]:
    """Return number, kind and reason of each scene that no part has anything of."""
    lost = {
        (task, failure.scene): failure.reason
        for task, header in found.headers.items()
        for failure in header.failures
        if failure.reason
    }
    scenes = []
    for number, rows in groupby(plan.tasks, key=lambda row: row.scene):
        tasks = list(dict.fromkeys(row.task for row in rows))
        absent = [task for task in tasks if task not in found.headers]
        reasons = [lost[task, number] for task in tasks if (task, number) in lost]
        if len(absent) + len(reasons) < len(tasks):
            continue
        if reasons:
            scenes.append((number, "failed", reasons[0]))
        else:
            scenes.append((number, "missing", f"task {absent[0]} {NOT_RUN}"))
    return scenes


def _unsearched(plan: Plan, number: int, kind: str, reason: str) -> UnsearchedScene:
    """Return a scene that no part has anything of."""
    info = plan.scenes[number].info
    return UnsearchedScene(info.name, shown_path(info.path), reason, kind)


def _never_searched(planned: PlannedScene) -> UnsearchedScene:
    """Return a scene of which the plan searches nothing."""
    kind = "outside" if planned.is_outside else "failed"
    info = planned.info
    return UnsearchedScene(info.name, shown_path(info.path), planned.unsearched, kind)


def _lost_row(planned: PlannedScene, row: TaskRow, reason: str) -> FailedBlock:
    """Return the failure of all blocks of a row."""
    return FailedBlock(
        planned.info.name, row.row_px, row.col_px, row.height_px, row.width_px, reason
    )
