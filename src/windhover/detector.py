"""Searching a scene: every window scored, block by block, in memory that does not grow with the raster.

A block is read (on a thread of its own, one ahead), scored densely, reduced to its peaks and forgotten; duplicates are removed
once, over all peaks of the scene. So objects do not depend on how the scene is cut. Mining and evaluation stand on `search_scene`;
`Detector` adds a saved model's calibration and thresholds. Refuses to choose a threshold: that is `evaluate`.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.boxes import merge, to_xyxy
from windhover.bundles import Bundle, Card, check_thresholds, load_bundle
from windhover.dense import DenseScorer, RawScores
from windhover.detections import for_map, to_table
from windhover.errors import FormatError, ParameterError, UnsupportedError
from windhover.georef import pixel_to_world, world_to_pixel
from windhover.inference import detection_scores
from windhover.lattice import Block, Lattice, read_mirrored, seen_windows
from windhover.peaks import CANDIDATE, find_peaks, margin_cells
from windhover.scenes import Scene, SceneInfo, inspect_scene

BLOCK_PX = 1536
AOI_MARGIN_WINDOWS = 2  # searched around an area, so that what is found inside does not depend on its outline

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}

Progress = Callable[[float], None]


@dataclass(frozen=True)
class SearchSettings:
    """How a scene is searched, as far as it can change what is found."""

    stride_px: int = 8
    scales: tuple[float, ...] = (
        1.0,
    )  # GSD of each pass in units of the training GSD; 2.0 for objects larger than a window
    merge_distance: float = 0.5  # in units of the smaller object's size
    merge_iou: float = 0.3

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ParameterError(
                f"`scales` must hold numbers above 0, got {self.scales}. Set evaluate.scales, such as [1.0]."
            )
        if self.merge_distance < 0 or not 0 < self.merge_iou <= 1:
            raise ParameterError(
                f"`merge_distance` must be 0 or more and `merge_iou` in (0, 1], got {self.merge_distance} and {self.merge_iou}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SearchSettings:
        """Read settings; unknown names are refused.

        Raises:
            FormatError: a name or a value that is not a setting's.
        """
        try:
            return cls(**{**values, "scales": tuple(float(scale) for scale in values.get("scales", (1.0,)))})
        except TypeError as error:
            raise FormatError(f"search settings: {error}. Run evaluate again.") from None


@dataclass(frozen=True)
class FailedBlock:
    """A part of a scene that could not be read."""

    scene: str
    row_px: int
    col_px: int
    height_px: int
    width_px: int
    reason: str


@dataclass
class SearchReport:
    """What was searched, counted while it is; windows and px over all passes, km2 once."""

    windows_searched: int = 0
    windows_skipped: int = 0  # no valid pixel in them
    mpx: float = 0.0
    km2: float = 0.0
    failed: list[FailedBlock] = field(default_factory=list)


@dataclass(frozen=True)
class BlockResult:
    """What one block gave, all that is kept of it."""

    candidates: NDArray[np.void]
    searched: int
    skipped: int
    scores: NDArray[np.float32] | None = None  # (K, rows, cols) logits of the owned cells, for a score map


@dataclass(frozen=True)
class Pass:
    """One search of a scene at one GSD: its grid, lattice and blocks."""

    number: int
    scale: float
    grid: Scene
    lattice: Lattice
    blocks: tuple[Block, ...]

    def own_px(self, block: Block) -> int:
        """Return the px of the grid that a block stands for."""
        return (block.row1 - block.row0) * (block.col1 - block.col0) * self.lattice.stride_px**2


def search_scene(
    scorer: DenseScorer,
    scene: Scene,
    settings: SearchSettings,
    floor_logit: float | Sequence[float],
    aoi: BaseGeometry | None = None,
    progress: Progress | None = None,
    classes: Sequence[str] | None = None,
    block_px: int | None = None,
    report: SearchReport | None = None,
) -> pd.DataFrame:
    """Find candidate objects in a scene.

    Args:
        scorer: network at the settings' stride.
        scene: opened at the training GSD, with the training bands.
        settings: stride, scales and the rules by which candidates are the same object.
        floor_logit: lowest raw logit of interest, one for all classes or one each.
        aoi: polygon in the scene's coordinate system (its local grid where it has none); nothing else is read.
        progress: called with the Mpx just done.
        classes: names; numbers as text without them.
        block_px: side of the blocks; changes memory and speed alone.
        report: filled with what was searched. Without one, a block that cannot be read is an error.

    Returns:
        Merged candidates, columns class, logit, col, row, w, h (scene px, centre and size), edge; best first, ties by position.

    Raises:
        FormatError: a block cannot be read, and there is no `report` to say so.
        ParameterError: scorer and settings disagree.
    """
    own_report = SearchReport()
    parts = []
    for search in plan_passes(scorer, scene, settings, aoi, block_px):
        for block, result in search_blocks(scorer, search, floor_logit, report or own_report, progress):
            parts.append(result.candidates)
            note(report or own_report, search, block, result)
    if report is None and own_report.failed:
        raise FormatError(own_report.failed[0].reason)
    return merged(parts, scene, settings, aoi, classes)


def plan_passes(
    scorer: DenseScorer,
    scene: Scene,
    settings: SearchSettings,
    aoi: BaseGeometry | None = None,
    block_px: int | None = None,
) -> list[Pass]:
    """Return the passes over a scene, each with the blocks it must read.

    Raises:
        ParameterError: scorer and settings disagree about the stride.
    """
    if settings.stride_px != scorer.stride_px:
        raise ParameterError(
            f"the search is at stride {settings.stride_px} px and the scorer at {scorer.stride_px} px. Make them equal."
        )
    passes = []
    for number, scale in enumerate(settings.scales):
        grid = scene if scale == 1.0 else Scene(scene.info, scene.gsd_m[0] * scale, scene.bands)
        lattice = Lattice(grid.shape_hw, scorer.window_px, scorer.stride_px)
        blocks: Iterator[Block] = lattice.blocks(block_px or BLOCK_PX)
        if aoi is not None:
            blocks = _blocks_inside(lattice, blocks, _to_grid(aoi, grid))
        passes.append(Pass(number, scale, grid, lattice, tuple(blocks)))
    return passes


def _to_grid(aoi: BaseGeometry, grid: Scene) -> BaseGeometry:
    """Return a map polygon in the grid's px."""
    return shapely.transform(aoi, lambda xy: np.stack(world_to_pixel(grid.transform, xy[:, 0], xy[:, 1]), axis=1))


def _blocks_inside(lattice: Lattice, blocks: Iterator[Block], area: BaseGeometry) -> Iterator[Block]:
    """Yield the parts of blocks that are near an area in px: its bounds within each block, and a margin."""
    area = area.buffer(AOI_MARGIN_WINDOWS * lattice.window_px)
    shapely.prepare(area)
    for block in blocks:
        row0, row1, col0, col1 = lattice.extent_px(block)
        part = area.intersection(shapely.box(col0, row0, col1, row1))
        narrowed = None if part.is_empty else lattice.narrowed(block, part.bounds)
        if narrowed is not None:
            yield narrowed


def search_blocks(
    scorer: DenseScorer,
    search: Pass,
    floor_logit: float | Sequence[float],
    report: SearchReport,
    progress: Progress | None = None,
    keep_scores: bool = False,
    skip: frozenset[int] = frozenset(),
) -> Iterator[tuple[Block, BlockResult]]:
    """Yield each block's result in reading order, the next block being read meanwhile.

    A block that cannot be read is noted in the report and left out; `skip` holds numbers of blocks already done.
    """
    wanted = [block for block in search.blocks if block.number not in skip]
    margin = margin_cells(search.lattice.stride_px)

    def read(block: Block) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        wide = search.lattice.widened(block, margin)
        return read_mirrored(search.grid.read, search.lattice.shape_hw, search.lattice.extent_px(wide))

    for block, reading in _ahead(read, wanted, readers=1 if scorer.device.type == "cpu" else 8):
        try:
            pixels, valid = reading.result()
        except FormatError as error:
            report.failed.append(_failed(search, block, error))
            continue
        yield block, _search_block(scorer, search, block, pixels, valid, floor_logit, keep_scores)
        if progress is not None:
            progress(search.own_px(block) / 1e6)


def _ahead(read: Callable[[Block], Any], blocks: Sequence[Block], readers: int) -> Iterator[tuple[Block, Future[Any]]]:
    """Yield blocks with their readings, keeping `readers` of them under way: memory is bounded by these alone."""
    with ThreadPoolExecutor(readers, thread_name_prefix="windhover-read") as pool:
        coming = iter(blocks)
        under_way = deque((block, pool.submit(read, block)) for block in itertools.islice(coming, readers))
        try:
            while under_way:
                block, reading = under_way.popleft()
                reading.exception()  # wait, so that at most `readers` blocks wait beside the one in hand
                under_way.extend((block, pool.submit(read, block)) for block in itertools.islice(coming, 1))
                yield block, reading
        finally:
            for _, reading in under_way:
                reading.cancel()


def _search_block(
    scorer: DenseScorer,
    search: Pass,
    block: Block,
    pixels: NDArray[Any],
    valid: NDArray[np.bool_],
    floor_logit: float | Sequence[float],
    keep_scores: bool,
) -> BlockResult:
    lattice = search.lattice
    wide = lattice.widened(block, margin_cells(lattice.stride_px))
    own = (slice(block.row0 - wide.row0, block.row1 - wide.row0), slice(block.col0 - wide.col0, block.col1 - wide.col0))
    seen = seen_windows(valid, lattice.window_px, lattice.stride_px)
    searched = int(seen[own].sum())
    skipped = seen[own].size - searched
    if searched == 0:
        return BlockResult(np.zeros(0, CANDIDATE), 0, skipped)
    maps = scorer.score(pixels)
    logits = np.where(seen, maps.logits, -np.inf)
    floors = np.broadcast_to(np.asarray(floor_logit, np.float64), (len(logits),))
    candidates = find_peaks(lattice, wide, block, RawScores(logits, maps.offsets_px, maps.log_sizes), floors)
    if search.scale != 1.0:
        for name in ("col", "row", "w", "h"):
            candidates[name] *= search.scale
    return BlockResult(candidates, searched, skipped, logits[:, *own] if keep_scores else None)


def _failed(search: Pass, block: Block, error: FormatError) -> FailedBlock:
    row0, row1, col0, col1 = search.lattice.extent_px(block)
    x, y = search.grid.ratio_xy
    return FailedBlock(
        search.grid.info.name,
        int(row0 * y),
        int(col0 * x),
        int((row1 - row0) * y),
        int((col1 - col0) * x),
        error.sentence(),
    )


def note(report: SearchReport, search: Pass, block: Block, result: BlockResult) -> None:
    """Count one block's result."""
    report.windows_searched += result.searched
    report.windows_skipped += result.skipped
    report.mpx += search.own_px(block) / 1e6
    if search.number == 0:
        info = search.grid.info
        area = info.width_px * info.gsd_m[0] * info.height_px * info.gsd_m[1] / 1e6
        rows, cols = search.lattice.shape_cells
        report.km2 += area * result.searched / (rows * cols)


def merged(
    parts: Sequence[NDArray[np.void]],
    scene: Scene,
    settings: SearchSettings,
    aoi: BaseGeometry | None = None,
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the candidates of all blocks and passes without duplicates, best first; those outside the area left out."""
    found = np.concatenate([np.zeros(0, CANDIDATE), *parts])
    boxes = to_xyxy(found["col"], found["row"], found["w"], found["h"])
    kept = merge(boxes, found["logit"], found["class_index"], settings.merge_distance, settings.merge_iou)
    found = found[kept]
    if aoi is not None:
        x, y = pixel_to_world(scene.transform, found["col"], found["row"])
        found = found[shapely.contains_xy(aoi, x, y)]
    index = found["class_index"]
    names = np.asarray(classes, object)[index] if classes is not None else index.astype(str)
    columns: dict[str, Any] = {"class": pd.Series(names, dtype="str")}
    columns |= {name: found[name].astype(np.float64) for name in ("logit", "col", "row", "w", "h")}
    return pd.DataFrame(columns | {"edge": found["edge"]})


class Detector:
    """A saved model made ready to search: its network on a device, its calibration and its operating point."""

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        precision: str | None = None,
        stride_px: int | None = None,
        batch_px: int | None = None,
    ) -> None:
        """Put the bundle's network on a device.

        Args:
            bundle: from `load_bundle`.
            device: `auto` takes the GPU where there is one, else the CPU; or a torch device's name.
            precision: `fp32`, `fp16` or `bf16`; half precision on a GPU and `fp32` on a CPU by default.
            stride_px: the operating point's by default.
            batch_px: px scored at once.

        Raises:
            ParameterError: a device, precision or stride that cannot be had.
        """
        point = bundle.operating_point or {}
        settings = SearchSettings.from_json({"stride_px": bundle.card.stride_px, **point.get("search", {})})
        self.bundle = bundle
        self.settings = settings if stride_px is None else replace(settings, stride_px=stride_px)
        device = choose_device(device)
        precision = precision or ("fp16" if device.startswith("cuda") else "fp32")
        network, normalizer = bundle.network(), bundle.normalizer()
        self.scorer = DenseScorer(network, normalizer, device, precision, self.settings.stride_px, batch_px)

    @classmethod
    def from_bundle(cls, path: str | Path, **options: Any) -> Detector:
        """Load a bundle from its folder; options as for `Detector`.

        Raises:
            MissingFileError: the folder or one of its files is not there.
            FormatError: a file of the bundle is not what it should be.
        """
        return cls(load_bundle(path), **options)

    def describe(self) -> str:
        """Return one line: model, way of scoring, stride, device."""
        way = "densely" if self.scorer.dense else "window by window (its network is padded)"
        return f"model {self.bundle.card.name}, scored {way} at stride {self.settings.stride_px} px on {self.scorer.device}"

    def thresholds(self, threshold: float | Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the score each class must reach: the operating point's, or what is given.

        Raises:
            MissingFileError: none is given and the model was never evaluated.
            ParameterError: not a probability, or a class the model does not know.
        """
        classes = self.bundle.card.classes
        if threshold is None:
            return self.bundle.thresholds()
        given = dict(threshold) if isinstance(threshold, Mapping) else dict.fromkeys(classes, threshold)
        if unknown := sorted(set(given) - set(classes)):
            raise ParameterError(
                f"the model has no class `{unknown[0]}`; it knows {', '.join(classes)}. Name one of these."
            )
        chosen = {**(self.bundle.thresholds() if set(given) != set(classes) else {}), **given}
        check_thresholds(chosen)
        return chosen

    def open(self, raster: str | Path | SceneInfo, gsd_m: float | None = None) -> Scene:
        """Open a raster as the model must see it: its training GSD and bands.

        Raises:
            MissingFileError: no such raster.
            UnsupportedError: another number type, or bands that are missing.
            DataError: no georeference and no `gsd_m`.
        """
        return open_for(self.bundle.card, raster, gsd_m)

    def floors(self, thresholds: Mapping[str, float]) -> list[float]:
        """Return the lowest raw logit of interest for each class; a hair low, because scores decide in the end."""
        return [logit - 1e-4 for logit in self.bundle.floor_logits(thresholds)]

    def table(self, candidates: pd.DataFrame, thresholds: Mapping[str, float], scene: Scene) -> geopandas.GeoDataFrame:
        """Return the candidates that reach their class's threshold, as the result schema in the scene's system."""
        scores = detection_scores(candidates["logit"], self.bundle.calibration)
        good = scores >= candidates["class"].map(thresholds).to_numpy(np.float64)
        return to_table(candidates[good], scores[good], scene, self.bundle.card.name)

    def detect(
        self,
        raster: str | Path,
        gsd_m: float | None = None,
        threshold: float | Mapping[str, float] | None = None,
        aoi: BaseGeometry | None = None,
        progress: Progress | None = None,
        block_px: int | None = None,
        report: SearchReport | None = None,
    ) -> geopandas.GeoDataFrame:
        """Find the objects of a raster.

        Args:
            raster: path of anything GDAL opens.
            gsd_m: metres per px, for images without georeference.
            threshold: score to reach, for all classes or by class; the operating point's by default.
            aoi: polygon in the raster's coordinate system; nothing else is read.
            progress: called with the Mpx just done.
            block_px: side of the blocks; changes memory and speed alone.
            report: filled with what was searched. Without one, a block that cannot be read is an error.

        Returns:
            One row an object, best first: `windhover.detections.COLUMNS`, in the raster's coordinate system.

        Raises:
            WindhoverError: a child that says what is wrong with the raster, the model or an option.
        """
        thresholds = self.thresholds(threshold)
        with self.open(raster, gsd_m) as scene:
            candidates = search_scene(
                self.scorer,
                scene,
                self.settings,
                self.floors(thresholds),
                aoi,
                progress,
                self.bundle.card.classes,
                block_px,
                report,
            )
            return for_map(self.table(candidates, thresholds, scene), [scene.crs])


def choose_device(device: str) -> str:
    """Return a torch device's name, `auto` made real.

    Raises:
        ParameterError: no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ParameterError(f"device {device!r} cannot be had here ({reason}). Use auto, cpu or cuda.") from None
    return device


def open_for(card: Card, raster: str | Path | SceneInfo, gsd_m: float | None = None) -> Scene:
    """Open a raster at a model's GSD with its bands, by name, or by position where the names say nothing.

    Raises:
        UnsupportedError: another number type than the model was trained on, or bands that are missing.
    """
    info = raster if isinstance(raster, SceneInfo) else inspect_scene(raster, gsd_m)
    if info.dtype != card.dtype:
        raise UnsupportedError(
            f"{info.path}: holds {info.dtype} and the model was trained on {card.dtype}. "
            f"Convert it as the training scenes were: gdal_translate -ot {GDAL_TYPES[card.dtype]} -scale ..."
        )
    if set(card.bands) <= set(info.bands):
        return Scene(info, card.gsd_m, card.bands)
    unnamed = any(all(re.fullmatch(r"band\d+", name) for name in names) for names in (info.bands, card.bands))
    if unnamed and len(info.bands) == len(card.bands):
        return Scene(info, card.gsd_m, info.bands)
    raise UnsupportedError(
        f"{info.path}: the model needs the bands {', '.join(card.bands)}, and this raster has {', '.join(info.bands)}. "
        "Give it those bands, in that order: gdal_translate -b ..."
    )
