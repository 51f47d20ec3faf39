"""The one loop that searches a scene: all passes, all blocks, duplicates removed once.

The detect stage, `windhover detect`, `Detector.detect`, evaluation and hard-negative mining all run
it. Chooses no threshold and writes no file; a journal, if given, keeps finished blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shapely.geometry.base import BaseGeometry

from windhover.errors import FormatError
from windhover.geometry.lattice import Block
from windhover.imagery.scenes import Scene
from windhover.inference.block_search import BlockSearch
from windhover.inference.candidates import Candidates, merge_candidates
from windhover.inference.multi_scale import ScalePass, plan_passes
from windhover.inference.pixel_search import PixelBlockSearch, PixelScorer
from windhover.inference.scorer import Scorer
from windhover.inference.search_results import BlockResult, SceneResult, SearchReport
from windhover.inference.search_settings import SearchSettings

Progress = Callable[[float], None]


class BlockJournal(Protocol):
    """Keeps finished blocks of one scene, so that a killed search can be resumed."""

    def load(self, pass_number: int, block_number: int) -> BlockResult | None:
        """Return a finished block, without its logits; None where it is not finished."""

    def save(self, pass_number: int, block_number: int, result: BlockResult) -> None:
        """Keep a finished block."""


@dataclass(frozen=True)
class SceneSearch:
    """The search of one scene, planned and not yet run.

    Attributes:
        scene: opened at the training GSD, with the training bands.
        settings: stride, scales and the rules by which candidates are the same object.
        block_search: how blocks are searched.
        passes: over the scene, each with its blocks.
        aoi: polygon in the scene's coordinate system; None for all of the scene.
        keep_logits: whether blocks of `nearest_pass` keep their logits, for a score map.
    """

    scene: Scene
    settings: SearchSettings
    block_search: BlockSearch | PixelBlockSearch
    passes: tuple[ScalePass, ...]
    aoi: BaseGeometry | None = None
    keep_logits: bool = False

    @classmethod
    def plan(
        cls,
        scorer: Scorer,
        scene: Scene,
        settings: SearchSettings,
        *,
        min_logit: float | Sequence[float],
        aoi: BaseGeometry | None = None,
        block_px: int | None = None,
        second_stage: Scorer | None = None,
        keep_logits: bool = False,
        cells_alone: bool = False,
    ) -> SceneSearch:
        """Return the search of a scene; arguments as for `search_scene`.

        Args:
            scorer: network at the settings' stride.
            scene: opened at the training GSD, with the training bands.
            settings: stride, scales and the rules by which candidates are the same object.
            min_logit: lowest raw logit of interest, one for all classes or one each.
            aoi: polygon in the scene's coordinate system.
            block_px: side of the blocks.
            second_stage: scorer of another network for the peaks that are scored again.
            keep_logits: whether blocks of the pass nearest to the training GSD keep their logits,
                for a score map.
            cells_alone: whether these are of windows with data in their middle alone.

        Raises:
            ParameterError: scorer and settings disagree about the stride.
        """
        passes = plan_passes(scorer, scene, settings, aoi=aoi, block_px=block_px)
        block_search: BlockSearch | PixelBlockSearch
        if isinstance(scorer, PixelScorer):
            block_search = PixelBlockSearch(scorer)
        else:
            block_search = BlockSearch(scorer, min_logit, second_stage, cells_alone)
        return cls(
            scene,
            settings,
            block_search,
            passes=tuple(passes),
            aoi=aoi,
            keep_logits=keep_logits,
        )

    @property
    def mpx(self) -> float:
        """Px of all passes, in millions."""
        return sum(scale_pass.mpx for scale_pass in self.passes)

    @property
    def nearest_pass(self) -> ScalePass:
        """The pass whose GSD is nearest to that of the training, which a score map shows."""
        scales = self.settings.scales
        return min(self.passes, key=lambda scale_pass: abs(math.log(scales[scale_pass.number])))

    def run(
        self,
        *,
        progress: Progress | None = None,
        report: SearchReport | None = None,
        journal: BlockJournal | None = None,
    ) -> SceneResult:
        """Search the scene.

        Args:
            progress: called with the Mpx just done.
            report: filled with what was searched. Without one, a block that cannot be read is an
                error.
            journal: finished blocks are taken from it, and others added to it.

        Raises:
            FormatError: a block cannot be read, and no `report` is given.
        """
        filled_report = SearchReport() if report is None else report
        parts = []
        for _, _, result in self.block_results(filled_report, progress=progress, journal=journal):
            parts.append(result.candidates)
        if report is None and filled_report.failed:
            raise FormatError(filled_report.failed[0].reason)
        return SceneResult(self._merge(parts), filled_report)

    def block_results(
        self,
        report: SearchReport,
        *,
        progress: Progress | None = None,
        journal: BlockJournal | None = None,
    ) -> Iterator[tuple[ScalePass, Block, BlockResult]]:
        """Yield each block's result, pass by pass, not merged with those of other blocks.

        Args:
            report: filled with what was searched, and with the blocks that cannot be read.
            progress: called with the Mpx just done.
            journal: finished blocks are taken from it, and others added to it.
        """
        for scale_pass in self.passes:
            for block, result in self._results_of_pass(scale_pass, report, progress, journal):
                _count_block(report, scale_pass, block, result)
                yield scale_pass, block, result

    def _merge(self, parts: Sequence[Candidates]) -> Candidates:
        """Return the candidates of all blocks without duplicates."""
        return merge_candidates(parts, self.settings, aoi=self.aoi, transform=self.scene.transform)

    def _results_of_pass(
        self,
        scale_pass: ScalePass,
        report: SearchReport,
        progress: Progress | None,
        journal: BlockJournal | None,
    ) -> Iterator[tuple[Block, BlockResult]]:
        """Yield the blocks that the journal holds, then the others as they are finished."""
        finished = set()
        if journal is not None:
            for block in scale_pass.blocks:
                result = journal.load(scale_pass.number, block.number)
                if result is None:
                    continue
                finished.add(block.number)
                yield block, result
                if progress is not None:
                    progress(scale_pass.block_area_px(block) / 1e6)
        keep_logits = self.keep_logits and scale_pass.number == self.nearest_pass.number
        results = self.block_search.run(
            scale_pass,
            failed=report.failed,
            finished=finished,
            keep_logits=keep_logits,
            progress=progress,
        )
        for block, result in results:
            if journal is not None:
                journal.save(scale_pass.number, block.number, result)
            yield block, result


def search_scene(
    scorer: Scorer,
    scene: Scene,
    settings: SearchSettings,
    *,
    min_logit: float | Sequence[float],
    aoi: BaseGeometry | None = None,
    block_px: int | None = None,
    second_stage: Scorer | None = None,
    progress: Progress | None = None,
    report: SearchReport | None = None,
) -> SceneResult:
    """Find the candidate objects of a scene.

    Args:
        scorer: network at the settings' stride.
        scene: opened at the training GSD, with the training bands.
        settings: stride, scales and the rules by which candidates are the same object.
        min_logit: lowest raw logit of interest, one for all classes or one each.
        aoi: polygon in the scene's coordinate system (its local grid where it has none); nothing
            else is read.
        block_px: side of the blocks; changes memory and speed alone.
        second_stage: scorer of another network, for the peaks that are scored again.
        progress: called with the Mpx just done.
        report: filled with what was searched. Without one, a block that cannot be read is an error.

    Returns:
        Merged candidates, best first, ties by position; and what was searched.

    Raises:
        FormatError: a block cannot be read, and no `report` is given.
        ParameterError: scorer and settings disagree about the stride.
    """
    search = SceneSearch.plan(
        scorer,
        scene,
        settings,
        min_logit=min_logit,
        aoi=aoi,
        block_px=block_px,
        second_stage=second_stage,
    )
    return search.run(progress=progress, report=report)


def _count_block(
    report: SearchReport, scale_pass: ScalePass, block: Block, result: BlockResult
) -> None:
    """Add one block's result to the report."""
    report.windows_searched += result.windows_searched
    report.windows_skipped += result.windows_skipped
    report.mpx += scale_pass.block_area_px(block) / 1e6
    report.km2 += block_km2(scale_pass, result.windows_searched)


def block_km2(scale_pass: ScalePass, n_windows: int) -> float:
    """Return the ground that windows of a block stand for, km2; 0 in all passes but the first."""
    if scale_pass.number > 0:
        return 0.0
    info = scale_pass.grid.info
    scene_km2 = info.width_px * info.gsd_m[0] * info.height_px * info.gsd_m[1] / 1e6
    rows, cols = scale_pass.lattice.shape_cells
    return scene_km2 * n_windows / (rows * cols) * scale_pass.aoi_fraction
