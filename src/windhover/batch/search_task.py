"""One task of a plan searched: the model is loaded once, then any number of tasks leave their part.

Merges nothing and applies no threshold but the lowest logit of interest; collecting does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from windhover.batch.divide_tasks import TaskRow
from windhover.batch.model_files import check_model
from windhover.batch.part import BlockRow, ClearCount, Part, PartHeader, SceneFailure
from windhover.batch.plan import Plan, PlannedSearch
from windhover.batch.scene_row import PlannedScene
from windhover.detection.detect_rasters import files_state
from windhover.detection.detect_scene import missing_parts
from windhover.detection.unusual_values import log_unusual_values
from windhover.detection.usable_ground import MaskRequest, count_clear_px
from windhover.errors import DataError, WindhoverError
from windhover.geometry.lattice import Block
from windhover.imagery.rasters import SceneInfo, gdal_options, inspect_scene
from windhover.imagery.scenes import Scene
from windhover.inference.candidates import Candidates
from windhover.inference.detector import Detector
from windhover.inference.multi_scale import ScalePass
from windhover.inference.scene_search import Progress, SceneSearch, block_km2
from windhover.inference.search_results import BlockResult, FailedBlock, SearchReport
from windhover.models.bundle import load_bundle


@dataclass
class _TaskResult:
    """What of a task is done so far."""

    blocks: list[BlockRow] = field(default_factory=list)
    failures: list[SceneFailure] = field(default_factory=list)
    clear: list[ClearCount] = field(default_factory=list)

    def fail(self, scene: int, reason: str) -> None:
        """Replace what there is of a scene by the reason why it could not be read."""
        self.blocks = [one for one in self.blocks if one.scene != scene]
        self.failures = [one for one in self.failures if one.scene != scene]
        self.failures.append(SceneFailure(scene=scene, reason=reason))


class TaskSearch:
    """A plan's model, loaded and ready to search the plan's tasks.

    Attributes:
        plan: whose tasks.
        detector: of its model.
    """

    def __init__(self, plan: Plan, model: Path | None = None) -> None:
        """Load the model.

        Args:
            plan: whose tasks are to be searched.
            model: where the model is now; None for where it was when the plan was made.

        Raises:
            MissingFileError: there is no such folder.
            ParameterError: it is another model than the plan's.
        """
        folder = Path(plan.record.model.folder) if model is None else model
        check_model(plan.record.model, folder)
        self.plan = plan
        self.detector = make_detector(plan.record.search, folder)
        self._mask = mask_of(plan.record.search)
        self._n_unusual = 0

    @property
    def searched_by(self) -> str:
        """Runtime, device and number type of the network."""
        scorer = self.detector.scorer
        device = scorer.device.partition(":")[0]  # the number of a GPU changes nothing
        return f"{scorer.runtime} on {device} in {scorer.inference_precision}"

    def search(
        self, task: int, *, earlier: Part | None = None, progress: Progress | None = None
    ) -> Part:
        """Search the blocks of a task.

        Args:
            task: its number.
            earlier: part of the same task from which finished blocks are taken.
            progress: called with the Mpx just done.

        Returns:
            The part; what could not be read, and rasters that were changed after the plan was
            made, are in its header.

        Raises:
            ParameterError: the plan has no such task.
        """
        rows = self.plan.rows_of(task)
        if earlier is not None and earlier.header.searched_by != self.searched_by:
            earlier = None
        result = _TaskResult()
        with gdal_options():
            for row in rows:
                scene = self.plan.scenes[row.scene]
                try:
                    self._search_row(row, scene, result, earlier=earlier, progress=progress)
                except WindhoverError as error:
                    result.fail(row.scene, error.sentence())
        header = PartHeader(
            plan=self.plan.record.digest,
            task=task,
            searched_by=self.searched_by,
            failures=tuple(result.failures),
            clear=tuple(result.clear),
        )
        return Part(header, tuple(result.blocks))

    def _search_row(
        self,
        row: TaskRow,
        planned: PlannedScene,
        result: _TaskResult,
        *,
        earlier: Part | None,
        progress: Progress | None,
    ) -> None:
        """Search a task's blocks of one scene.

        Raises:
            WindhoverError: the scene cannot be opened.
        """
        searched = self.plan.record.search
        report = SearchReport()
        missing: list[FailedBlock] = []
        with planned.stacked():
            info = _unchanged_info(planned)
            with self.detector.open(info) as scene:
                if row.first == 0:
                    card = self.detector.bundle.card
                    self._n_unusual = log_unusual_values(scene, card, self._n_unusual)
                search = self.detector.plan(
                    scene, searched.thresholds, aoi=planned.area, block_px=searched.block_px
                )
                part = _PartOfSearch(search, row, planned, earlier)
                result.blocks += part.search(report, progress)
                if row.first == 0:
                    missing = missing_parts(info)
                if self._mask is not None:
                    result.clear.append(_count_clear(self._mask, scene, row, planned))
        if report.failed or missing:
            failure = SceneFailure(
                scene=row.scene,
                blocks=tuple(asdict(block) for block in report.failed),
                missing=tuple(asdict(block) for block in missing),
            )
            result.failures.append(failure)


def _count_clear(
    mask: MaskRequest, scene: Scene, row: TaskRow, planned: PlannedScene
) -> ClearCount:
    """Return the clear px of the task's share of a scene."""
    share = (row.first / planned.n_blocks, row.stop / planned.n_blocks)
    counts = count_clear_px(mask, scene, aoi=planned.area, share=share)
    return ClearCount(scene=row.scene, **counts._asdict())


class _PartOfSearch:
    """The search of some of a scene's blocks."""

    def __init__(
        self, search: SceneSearch, row: TaskRow, planned: PlannedScene, earlier: Part | None
    ) -> None:
        """Take the blocks of a row.

        Args:
            search: of the whole scene.
            row: which of its blocks.
            planned: the scene.
            earlier: part of the same task.

        Raises:
            DataError: the scene has another number of blocks than in the plan.
        """
        positions: dict[tuple[int, int], int] = {}
        passes = []
        for scale_pass in search.passes:
            first = len(positions)
            for position, block in enumerate(scale_pass.blocks, first):
                positions[scale_pass.number, block.number] = position
            wanted = slice(max(row.first - first, 0), max(row.stop - first, 0))
            passes.append(replace(scale_pass, blocks=scale_pass.blocks[wanted]))
        if len(positions) != planned.n_blocks:
            raise DataError(
                f"{planned.opened_path}: was planned in {planned.n_blocks} blocks and has "
                f"{len(positions)} now: it was changed after the plan was made. Plan again."
            )
        self._search = replace(search, passes=tuple(passes))
        self._scene = row.scene
        self._positions = positions
        self._finished = _finished_blocks(earlier, row.scene)

    def search(self, report: SearchReport, progress: Progress | None) -> Iterator[BlockRow]:
        """Yield the rows of the blocks, those of the earlier part first.

        Args:
            report: filled with the blocks that cannot be read.
            progress: called with the Mpx just done.
        """
        results = self._search.block_results(report, progress=progress, journal=self)
        for scale_pass, block, result in results:
            yield self._row(scale_pass, block, result)

    def load(self, pass_number: int, block_number: int) -> BlockResult | None:
        """Return a block of the earlier part; None where it is not there."""
        row = self._finished.get(self._positions[pass_number, block_number])
        if row is None:
            return None
        candidates = Candidates.from_bytes(row.candidates)
        return BlockResult(candidates, row.windows_searched, row.windows_skipped)

    def save(self, pass_number: int, block_number: int, result: BlockResult) -> None:
        """Keep nothing: the rows are kept by the caller."""

    def _row(self, scale_pass: ScalePass, block: Block, result: BlockResult) -> BlockRow:
        return BlockRow(
            scene=self._scene,
            position=self._positions[scale_pass.number, block.number],
            windows_searched=result.windows_searched,
            windows_skipped=result.windows_skipped,
            km2=block_km2(scale_pass, result.windows_searched),
            mpx=scale_pass.block_area_px(block) / 1e6,
            candidates=result.candidates.to_bytes(),
        )


def _finished_blocks(earlier: Part | None, scene: int) -> dict[int, BlockRow]:
    """Return the blocks of a scene in an earlier part, by position."""
    if earlier is None:
        return {}
    return {block.position: block for block in earlier.blocks if block.scene == scene}


def _unchanged_info(planned: PlannedScene) -> SceneInfo:
    """Return the description of a raster that is as it was when the plan was made.

    Raises:
        DataError: it was changed.
        MissingFileError: it is not there.
        FormatError: a server does not give it.
    """
    info = planned.opened_info
    is_on_disk = len(planned.files) > 0 and len(planned.files[0]) > 1
    if is_on_disk and Path(planned.opened_path).exists():
        states = files_state([state[0] for state in planned.files])
        changed = [
            state[0] for state, now in zip(planned.files, states, strict=True) if list(state) != now
        ]
        if changed:
            raise _changed(changed[0])
        return info
    now = inspect_scene(planned.opened_path, _stated_gsd(info))
    kept = replace(now, name=info.name, acquired=info.acquired, stac_item=info.stac_item)
    if replace(kept, is_gsd_known=info.is_gsd_known, gsd_m=info.gsd_m) != info:
        raise _changed(planned.opened_path)
    return info


def _stated_gsd(info: SceneInfo) -> float | None:
    """Return the GSD that was stated for a raster without georeference, None for others."""
    return max(info.gsd_m) if info.crs is None else None


def _changed(path: str) -> DataError:
    return DataError(
        f"{path}: was changed after the plan was made, so results would not belong together. "
        "Restore it, or plan again."
    )


def make_detector(planned: PlannedSearch, model: Path) -> Detector:
    """Return the detector of a plan, its model read from a folder."""
    return Detector(
        load_bundle(model),
        runtime=planned.runtime,
        device=planned.device,
        inference_precision=planned.inference_precision,
        stride_px=planned.stride_px,
        batch_px=planned.batch_px,
        scales=planned.scales,
        bands=planned.bands,
        match_radiometry=planned.match_radiometry,
    )


def mask_of(planned: PlannedSearch) -> MaskRequest | None:
    """Return the masks of a plan, None where there are none."""
    if planned.mask is None:
        return None
    return MaskRequest(Path(planned.mask), planned.mask_values)
