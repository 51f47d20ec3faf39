"""Searching scenes one after another with a model: the flow behind the `detect` stage and
`windhover detect`.

Each finished block may be written to a journal, from which a killed run goes on to byte-identical
files. Decides
neither threshold nor search settings: these come with the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from shapely.geometry.base import BaseGeometry

from windhover import __version__
from windhover.dataset.catalog import load_catalog, scene_info
from windhover.errors import DataError
from windhover.export.detections import concatenated, for_map, save_table, write_map
from windhover.export.score_map import quantized, write_score_map
from windhover.files import atomic_folder, write_json
from windhover.geometry.lattice import Block
from windhover.imagery.overviews import LEAST_SCALE
from windhover.imagery.rasters import SceneInfo, opened
from windhover.imagery.scenes import Scene
from windhover.inference.aoi import area_in, read_aoi
from windhover.inference.detect_request import Request, check_request, inspect_scenes, score_path
from windhover.inference.detector import Detector, merged
from windhover.inference.journal import Journal
from windhover.inference.multi_scale import (
    BlockResult,
    FailedBlock,
    Pass,
    Progress,
    SearchReport,
    note,
    plan_passes,
    search_blocks,
)
from windhover.inference.peaks import CANDIDATE
from windhover.models.calibrated_scores import window_scores
from windhover.progress import counted, progress_bar

ENLARGED = 2.0  # from here a person is told: the details that the model knows are not in the raster
TABLE, SUMMARY = "detections.parquet", "summary.json"

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a search of several scenes gave."""

    records: list[dict[str, Any]] = field(default_factory=list)
    failed: list[FailedBlock] = field(default_factory=list)

    @property
    def objects(self) -> int:
        """Objects in all scenes."""
        return sum(record["objects"] for record in self.records)


def detect_catalog(
    catalog_folder: str | Path,
    model_folder: str | Path,
    out_folder: str | Path,
    device: str = "auto",
    precision: str = "auto",
    block_px: int | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Search every scene of a catalog at the operating point; write `detections.parquet` and
    `summary.json`.

    Args:
        catalog_folder: written by the scenes stage.
        model_folder: written by the evaluate stage.
        out_folder: replaced whole when all is done.
        device: `auto`, `cpu` or `cuda`.
        precision: as for `Detector`.
        block_px: side of the blocks.
        say: takes one line for a person.

    Returns:
        The summary: per scene and in all, objects by class, windows searched and skipped, km2.

    Raises:
        DataError: a part of a scene cannot be read.
    """
    catalog = load_catalog(catalog_folder)
    detector = Detector.from_bundle(model_folder, device=device, precision=precision)
    say(detector.describe())
    thresholds = detector.thresholds()
    scenes = [detector.open(_with_blocks(scene_info(row))) for row in catalog]
    runs = [SceneRun(detector, scene, thresholds, block_px=block_px) for scene in scenes]
    _say_what_is_read_twice(runs, say)
    outcome = Outcome()
    with progress_bar("detecting", sum(run.mpx for run in runs), "Mpx") as advance:
        tables = [run.search(outcome, advance) for run in runs]
    if outcome.failed:
        raise DataError(f"{outcome.failed[0].reason} ({len(outcome.failed)} such parts.)")
    records = [
        {**record, "split": row.split} for record, row in zip(outcome.records, catalog, strict=True)
    ]
    summary = _summary(records, detector, thresholds)
    with atomic_folder(out_folder) as folder:
        save_table(concatenated(tables), folder / TABLE)
        write_json(folder / SUMMARY, summary)
    return summary


def detect_rasters(request: Request, say: Say = print) -> Outcome:
    """Search raster files and write one file of detections, and score maps where asked.

    Args:
        request: what to do.
        say: takes one line for a person.

    Returns:
        Counts per scene, and the parts that could not be read.

    Raises:
        WindhoverError: a child that says what is wrong with the files, the model or an option.
    """
    detector = Detector.from_bundle(
        request.model,
        device=request.device,
        precision=request.precision,
        stride_px=request.stride_px,
        batch_px=request.batch_px,
        scales=request.searched_scales,
        bands=request.bands,
        match_radiometry=request.match_radiometry,
    )
    thresholds = detector.thresholds(request.threshold)
    infos = inspect_scenes(request, detector.bundle.card.gsd_m)
    check_request(request, infos)
    areas = _areas(request, infos)
    for info in infos:
        for word in info.notes:
            say(f"{info.name}: {word}")
    runs = []
    with progress_bar(
        "opening", len(infos), "rasters"
    ) as advance:  # long where their light is measured
        for number, (info, area) in enumerate(zip(infos, areas, strict=True)):
            scene, scores = detector.open(info), score_path(request, info)
            runs.append(
                SceneRun(detector, scene, thresholds, area, request.block_px, number, scores)
            )
            advance()
    outside = [run.scene.info for run in runs if not run.mpx]
    if len(outside) == len(runs):
        raise DataError(
            f"{outside[0].path}: no part of it lies in the area to be searched. Mend the area."
        )
    say(detector.describe())
    for info in outside:
        say(f"{info.name}: no part of it lies in the area, not searched")
    runs = [run for run in runs if run.mpx]
    for run in runs:
        _say_where_enlarged(run.scene, say)
    _say_what_is_read_twice(runs, say)
    tables, outcome = [], Outcome()
    journal_path = request.output.with_name(f".{request.output.name}.journal")
    fingerprint = _fingerprint(request, detector, thresholds, infos, areas, runs)
    with Journal(journal_path, fingerprint, request.resume) as journal:
        if request.resume:
            say(
                f"going on after {len(journal)} blocks"
                if journal.resumed
                else "no journal of this run: begun anew"
            )
        with progress_bar("detecting", sum(run.mpx for run in runs), "Mpx") as advance:
            for run in runs:
                tables.append(run.search(outcome, advance, journal))
                say(_line(outcome.records[-1]))
        write_map(for_map(concatenated(tables), [info.crs for info in infos]), request.output)
        if not outcome.failed:
            journal.remove()
    return outcome


class SceneRun:
    """The search of one scene: its blocks from the journal or computed, its table, its score map."""

    def __init__(
        self,
        detector: Detector,
        scene: Scene,
        thresholds: dict[str, float],
        area: BaseGeometry | None = None,
        block_px: int | None = None,
        number: int = 0,
        scores: Path | None = None,
    ) -> None:
        self.detector, self.scene, self.thresholds, self.area = detector, scene, thresholds, area
        self.number, self.scores = number, scores
        self.journal: Journal | None = None
        self.passes = plan_passes(detector.scorer, scene, detector.settings, area, block_px)

    @property
    def shown(self) -> int:
        """Number of the pass whose scores are mapped: the one nearest to the training's GSD."""
        scales = self.detector.settings.scales
        return min(range(len(scales)), key=lambda number: abs(math.log(scales[number])))

    @property
    def mpx(self) -> float:
        """Px of all passes, in millions."""
        return sum(search.own_px(block) for search in self.passes for block in search.blocks) / 1e6

    def search(
        self, outcome: Outcome, progress: Progress, journal: Journal | None = None
    ) -> geopandas.GeoDataFrame:
        """Search the scene, close it, add its record to the outcome, and return its detections in
        its own system.
        """
        self.journal = journal
        with self.scene:
            return self._search(outcome, progress)

    def _search(self, outcome: Outcome, progress: Progress) -> geopandas.GeoDataFrame:
        report = SearchReport()
        parts = []
        for search in self.passes:
            for block, result in self._results(search, report, progress):
                parts.append(result.candidates)
                note(report, search, block, result)
        classes = self.detector.bundle.card.classes
        candidates = merged(parts, self.scene, self.detector.settings, self.area, classes)
        table = self.detector.table(candidates, self.thresholds, self.scene)
        if self.scores is not None:
            shown = self.passes[self.shown]
            write_score_map(
                self.scores,
                shown.lattice,
                shown.grid.transform,
                self.scene.crs,
                classes,
                self._score_blocks(shown),
            )
        outcome.records.append(_record(self.scene, table, report))
        outcome.failed += report.failed
        return table

    def _key(self, search: Pass, block: Block) -> str:
        return f"{self.number}/{search.number}/{block.number}"

    def _results(
        self, search: Pass, report: SearchReport, progress: Progress
    ) -> Iterator[tuple[Block, BlockResult]]:
        """Yield what is in the journal, then what is not, journalled as it comes."""
        done = set()
        for block in search.blocks if self.journal is not None else ():
            key = self._key(search, block)
            if self.journal is not None and key in self.journal:
                done.add(block.number)
                yield block, _unpacked(self.journal.read(key))
                progress(search.own_px(block) / 1e6)
        floors = self.detector.floors(self.thresholds)
        keep = self.scores is not None and search.number == self.shown
        for block, result in search_blocks(
            self.detector.scorer,
            search,
            floors,
            report,
            progress,
            keep,
            frozenset(done),
            self.detector.second_stage,
        ):
            if self.journal is not None:
                self.journal.add(self._key(search, block), self._packed(result))
            yield block, result

    def _packed(self, result: BlockResult) -> bytes:
        """Return a block's result as bytes: a line of JSON, the candidates, the quantised scores."""
        scores = np.zeros((0, 0, 0), np.uint8)
        if result.scores is not None:
            known = window_scores(result.scores, self.detector.bundle.calibration, class_axis=0)
            scores = quantized(np.where(np.isneginf(result.scores), np.nan, known))
        head = {
            "n": len(result.candidates),
            "searched": result.searched,
            "skipped": result.skipped,
            "scores": scores.shape,
        }
        return json.dumps(head).encode() + b"\n" + result.candidates.tobytes() + scores.tobytes()

    def _score_blocks(self, search: Pass) -> Iterator[tuple[int, int, Any]]:
        for block in search.blocks:
            key = self._key(search, block)
            if self.journal is None or key not in self.journal:
                continue  # it could not be read
            payload = self.journal.read(key)
            head, start = _head(payload)
            values = np.frombuffer(
                payload, np.uint8, offset=start + head["n"] * CANDIDATE.itemsize
            ).reshape(head["scores"])
            if values.size:
                yield block.row0, block.col0, values


def _head(payload: bytes) -> tuple[dict[str, Any], int]:
    end = payload.index(b"\n") + 1
    return json.loads(payload[:end]), end


def _unpacked(payload: bytes) -> BlockResult:
    head, start = _head(payload)
    candidates = np.frombuffer(payload, CANDIDATE, count=head["n"], offset=start)
    return BlockResult(candidates, head["searched"], head["skipped"])


def _with_blocks(info: SceneInfo) -> SceneInfo:
    """Return a catalog's scene with the blocks of its file, along which it is read fastest."""
    with opened(info.path) as dataset:
        return replace(info, block_hw=tuple(dataset.block_shapes[0]))


def _areas(request: Request, infos: Sequence[SceneInfo]) -> list[BaseGeometry | None]:
    if request.aoi is None:
        return [None] * len(infos)
    shapes = read_aoi(request.aoi)
    return [area_in(shapes, info) for info in infos]


def _say_where_enlarged(scene: Scene, say: Say) -> None:
    times = 1 / min(scene.ratio_xy)
    if times >= ENLARGED:
        say(
            f"{scene.info.name}: its px is {max(scene.info.gsd_m):.3g} m, the model's {min(scene.gsd_m):.3g} m: "
            f"enlarged {times:.0f} times, what is found there is doubtful"
        )


def _say_what_is_read_twice(runs: Sequence[SceneRun], say: Say) -> None:
    coarse = [
        search.grid.overview is not None
        for run in runs
        for search, scale in zip(run.passes, run.detector.settings.scales, strict=True)
        if scale >= LEAST_SCALE
    ]
    if coarse:
        rest = (
            ""
            if all(coarse)
            else ", the others from every px again (gdaladdo -r average spares that)"
        )
        say(f"coarser passes: {sum(coarse)} of {len(coarse)} are read from overviews{rest}")


def _fingerprint(
    request: Request,
    detector: Detector,
    thresholds: dict[str, float],
    infos: Sequence[SceneInfo],
    areas: Sequence[BaseGeometry | None],
    runs: Sequence[SceneRun],
) -> dict[str, Any]:
    """Return all that decides what the blocks' results are: equal fingerprints, equal bytes."""

    def state(path: str) -> list[int]:
        stat = Path(path).stat() if Path(path).exists() else None
        return [stat.st_size, stat.st_mtime_ns] if stat else []

    return {
        "program": __version__,
        "model": detector.bundle.card.name,
        "calibration": detector.bundle.calibration.to_json(),
        "search": detector.settings.to_json(),
        "thresholds": thresholds,
        "device": str(detector.scorer.device),
        "precision": [
            scorer.precision
            for scorer in (detector.scorer, detector.second_stage)
            if scorer is not None
        ],
        "match_radiometry": request.match_radiometry,
        "bands": [run.scene.bands for run in runs],
        "batch_px": request.batch_px,
        "block_px": request.block_px,
        "scores": request.scores is not None,
        "scenes": [[info.path, *info.gsd_m, *state(info.path)] for info in infos],
        "areas": [None if area is None else area.wkb_hex for area in areas],
        "overviews": [search.grid.overview for run in runs for search in run.passes],
    }


def _record(scene: Scene, table: geopandas.GeoDataFrame, report: SearchReport) -> dict[str, Any]:
    """Return what was searched and found in one scene; nothing in it differs between two equal
    runs.
    """
    return {
        "scene": scene.info.name,
        "crs": scene.crs,
        "objects": len(table),
        "by_class": {
            name: int(count) for name, count in table["class"].value_counts().sort_index().items()
        },
        "expected_objects": round(float(table["score"].sum()), 3),
        "windows_searched": report.windows_searched,
        "windows_skipped": report.windows_skipped,
        "km2": round(report.km2, 6) if scene.info.gsd_known else None,
    }


def _line(record: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {name}" for name, count in record["by_class"].items())
    skipped = (
        f", {record['windows_skipped']} windows without a valid pixel skipped"
        if record["windows_skipped"]
        else ""
    )
    what = counted(record["objects"], "object") + (f" ({kinds})" if kinds else "")
    where = "at an unknown GSD" if record["km2"] is None else f"in {record['km2']:.2f} km2"
    return f"{record['scene']}: {what} {where}{skipped}"


def _summary(
    records: list[dict[str, Any]], detector: Detector, thresholds: dict[str, float]
) -> dict[str, Any]:
    """Return the records with their totals, the model and the thresholds."""
    names = ("objects", "windows_searched", "windows_skipped", "km2")
    return {
        "model": detector.bundle.card.name,
        "thresholds": thresholds,
        "search": detector.settings.to_json() | {"scales": list(detector.settings.scales)},
        "total": {
            "scenes": len(records),
            **{name: round(sum(record[name] for record in records), 6) for name in names},
        },
        "scenes": records,
    }
