"""Cutting the patches of one scene: windows chosen scale by scale, read and described."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.dataset.class_prior import count_positive_windows, searched_windows
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import CENTRAL_WINDOW_RULE, LabelRule
from windhover.geometry.arrays import Bools, Ints
from windhover.geometry.lattice import ReadBlock, outside_scene, read_mirrored
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX, block_windows
from windhover.imagery.scenes import Scene
from windhover.params.patches import PatchesParams
from windhover.patches import sampling
from windhover.patches.cut_statistics import CutStatistics
from windhover.patches.sampling import SceneLabels

N_SCALES = 9  # scales that a jitter range is cut into: one reading of the scene each
BLOCK_PX = 4096  # read at once from larger scenes; a multiple of the stride
# a scene of at most this many px at the training GSD is held in memory while it is cut
MAX_HELD_PX = 64_000_000


class CutBatch(NamedTuple):
    """Patches of one kind at one scale."""

    images: NDArray[Any]  # (N, H, W, C)
    rows: pd.DataFrame  # N rows of the index, without the patch number
    scene_hw: tuple[int, int]  # of the scene at that scale, px


class HeldScene(NamedTuple):
    """All pixels of a scene in memory."""

    pixels: NDArray[Any]  # (C, H, W)
    valid: Bools  # (H, W)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[Any], Bools]:
        """Return a part of the scene, as `Scene.read` would."""
        rows = slice(row, row + height)
        cols = slice(col, col + width)
        return self.pixels[:, rows, cols], self.valid[rows, cols]


@dataclass(frozen=True)
class CutSettings:
    """What is the same for all scenes.

    Attributes:
        params: of the stage.
        rule: when a window shows an object, px at the training GSD.
        gsd_m: of the training.
        bands: names, in order.
        classes: names, in the order of their index.
    """

    params: PatchesParams
    rule: LabelRule
    gsd_m: float
    bands: list[str]
    classes: list[str]


class SceneCutter:
    """Chooses and cuts the patches of one scene, by a seed of its own."""

    def __init__(
        self,
        row: SceneRow,
        catalog: Catalog,
        settings: CutSettings,
        *,
        n_negatives: Mapping[str, int],
        statistics: CutStatistics,
    ) -> None:
        """Prepare the cutting of a scene.

        Args:
            row: of the scene.
            catalog: with its labels and areas.
            settings: for all scenes.
            n_negatives: wanted, by kind.
            statistics: what is cut and left out is added here.
        """
        self._row = row
        self._catalog = catalog
        self._settings = settings
        self._n_negatives = n_negatives
        self._statistics = statistics
        digest = hashlib.sha256(f"{settings.params.seed}/{row.scene}".encode()).digest()
        self._rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def cut(self) -> Iterator[CutBatch]:
        """Yield patches with their index rows, scale by scale."""
        settings = self._settings
        with open_catalog_scene(self._row, settings.gsd_m, settings.bands) as scene:
            scene.preload()
            labels = self._labels_of(scene)
            held = _hold(scene)
            self._count_windows(scene, held, labels)
            scales = self._scales()
            repeats = self._repeats_by_scale(len(labels.objects), len(scales))
            n_negatives = divide_evenly(self._n_negatives, len(scales))
            for number, scale in enumerate(scales):
                gsd_m = settings.gsd_m * scale
                with scene.at_gsd(gsd_m) as seen:
                    if len(scales) > 1:
                        held = _hold(seen)
                    yield from self._cut_at_scale(
                        seen, held, gsd_m, repeats=repeats[number], n_negatives=n_negatives[number]
                    )

    def _labels_of(self, scene: Scene) -> SceneLabels:
        """Return the labels in px of a scene's grid."""
        name = self._row.scene
        ratio_xy = scene.ratio_xy
        objects = self._catalog.objects_of(name, ratio_xy, self._settings.classes)
        return SceneLabels(
            objects=objects.select(~objects.is_ignored),
            ignored_xyxy=self._catalog.ignored_boxes_of(name, ratio_xy),
            coverage=LabelCoverage.in_grid(self._catalog.areas_of(name), ratio_xy),
            rule=self._settings.rule,
        )

    def _count_windows(self, scene: Scene, held: HeldScene | None, labels: SceneLabels) -> None:
        """Add the searched windows at the training GSD to the totals of the scene's split."""
        read = scene.read if held is None else held.read
        count = partial(
            count_positive_windows,
            scene.shape_hw,
            coverage=labels.coverage,
            ignored_xyxy=labels.ignored_xyxy,
            has_data=searched_windows(read, scene.shape_hw),
        )
        objects = labels.objects
        totals = self._statistics.windows[self._row.split]
        counted = count(objects, rule=labels.rule)
        central = count(objects, rule=CENTRAL_WINDOW_RULE)
        totals.total += counted.total
        totals.positive += counted.positive
        totals.positive_central += central.positive
        for index in np.unique(objects.class_index):
            one_class = objects.select(objects.class_index == index)
            shown = count(one_class, rule=labels.rule)
            totals.positive_by_class[self._settings.classes[index]] += shown.positive

    def _scales(self) -> NDArray[np.float64]:
        """Return the factors of the training GSD: several where training patches are jittered."""
        low, high = self._settings.params.scale_jitter
        if self._row.split != "train" or low == high == 1.0:
            return np.ones(1)
        return np.exp(np.linspace(np.log(low), np.log(high), N_SCALES))

    def _repeats_by_scale(self, n_objects: int, n_scales: int) -> Ints:
        """Return how many windows each object gets at each scale, (n_scales, n_objects)."""
        params = self._settings.params
        chosen = np.arange(n_objects)
        limit = params.max_objects_per_scene
        if limit is not None and n_objects > limit:
            chosen = np.sort(self._rng.permutation(n_objects)[:limit])
        shown = np.repeat(chosen, params.positives_per_object)
        scale_of = self._rng.integers(0, n_scales, len(shown))
        repeats = np.zeros((n_scales, n_objects), np.int64)
        for number in range(n_scales):
            repeats[number] = np.bincount(shown[scale_of == number], minlength=n_objects)
        return repeats

    def _cut_at_scale(
        self,
        seen: Scene,
        held: HeldScene | None,
        gsd_m: float,
        *,
        repeats: Ints,
        n_negatives: Mapping[str, int],
    ) -> Iterator[CutBatch]:
        """Yield the patches of one scale, kind by kind."""
        labels = self._labels_of(seen)
        corners_by_kind = self._choose_windows(
            seen, held, labels, repeats=repeats, n_negatives=n_negatives
        )
        read = seen.read if held is None else held.read
        for kind, corners in corners_by_kind.items():
            shortfall = n_negatives.get(kind, 0) - len(corners)
            if shortfall > 0:
                self._statistics.skipped[f"{kind}: no room for as many as wanted"] += shortfall
            if len(corners):
                images, is_kept = self._read_windows(seen, read, corners)
                index = self._describe(kind, corners[is_kept], labels, gsd_m=gsd_m)
                yield CutBatch(images, index, seen.shape_hw)

    def _choose_windows(
        self,
        seen: Scene,
        held: HeldScene | None,
        labels: SceneLabels,
        *,
        repeats: Ints,
        n_negatives: Mapping[str, int],
    ) -> dict[str, Ints]:
        """Return the windows' upper left corners (K, 2) by kind."""
        rng = self._rng
        corners = {
            "positive": sampling.positive_windows(labels, repeats, rng),
            "offcenter": sampling.offcenter_windows(
                seen.shape_hw, labels, n_negatives["offcenter"], rng=rng
            ),
            "random": sampling.random_windows(
                seen.shape_hw, labels, n_negatives["random"], rng=rng
            ),
        }
        if n_negatives["lookalike"]:
            if held is None:
                structure = _structure_by_blocks(seen)
            else:
                structure = sampling.structure_map(held.pixels)
            corners["lookalike"] = sampling.lookalike_windows(
                structure, labels, n_negatives["lookalike"], rng=rng
            )
        return corners

    def _read_windows(
        self, seen: Scene, read: ReadBlock, corners: Ints
    ) -> tuple[NDArray[Any], Bools]:
        """Return patches (k, H, W, C), and which of the (n, 2) windows they are.

        Beyond a scene's borders windows are mirrored, until what a search pads them with is known.
        Windows without a valid pixel, or all of one color, are left out and counted.
        """
        images = np.zeros((len(corners), WINDOW_PX, WINDOW_PX, seen.n_bands), seen.dtype)
        is_kept = np.zeros(len(corners), bool)
        for number, (left, top) in enumerate(corners.tolist()):
            extent = (top, top + WINDOW_PX, left, left + WINDOW_PX)
            pixels, valid = read_mirrored(read, seen.shape_hw, extent)
            if not valid.any():
                self._statistics.skipped["window without data"] += 1
                continue
            if (pixels == pixels[:, :1, :1]).all():
                self._statistics.skipped["window of one colour"] += 1
                continue
            is_kept[number] = True
            images[number] = pixels.transpose(1, 2, 0)
            if self._row.split == "train":
                in_scene = valid & ~outside_scene(seen.shape_hw, extent)
                self._statistics.training_pixels.add(pixels[:, in_scene])
        return images[is_kept], is_kept

    def _describe(
        self, kind: str, corners: Ints, labels: SceneLabels, *, gsd_m: float
    ) -> pd.DataFrame:
        """Return the index rows of windows; only positive and off-center ones have an object."""
        objects = labels.objects
        centers = corners + np.float64(HALF_WINDOW_PX)
        offsets = np.full(centers.shape, np.nan)
        sizes = np.full(centers.shape, np.nan)
        names: Any = ""
        if kind in ("positive", "offcenter"):
            _, nearest = sampling.nearest_object(centers, objects, labels.rule)
            offsets = objects.centers_xy[nearest] - centers
            sizes = objects.sizes_wh[nearest]
            if kind == "positive":
                classes = np.array(self._settings.classes, object)
                names = classes[objects.class_index[nearest]]
        return pd.DataFrame(
            {
                "left_px": corners[:, 0],
                "top_px": corners[:, 1],
                "gsd_m": gsd_m,
                "kind": kind,
                "scene": self._row.scene,
                "place": self._row.place,
                "split": self._row.split,
                "class": names,
                "dx_px": offsets[:, 0],
                "dy_px": offsets[:, 1],
                "w_px": sizes[:, 0],
                "h_px": sizes[:, 1],
                "origin": "cut",
            }
        )


def _hold(scene: Scene) -> HeldScene | None:
    """Return all pixels of a scene; None where they are too many to be held in memory."""
    if scene.shape_hw[0] * scene.shape_hw[1] > MAX_HELD_PX:
        return None
    return HeldScene(*scene.read(0, 0, *scene.shape_hw))


def _structure_by_blocks(seen: Scene) -> NDArray[np.float32]:
    """Return the structure of a scene too large to hold, block by block."""
    n_rows, n_cols = (length // STRIDE_PX for length in seen.shape_hw)
    structure = np.zeros((n_rows, n_cols), np.float32)
    whole_cells = (n_rows * STRIDE_PX, n_cols * STRIDE_PX)
    for block in block_windows(whole_cells, (BLOCK_PX, BLOCK_PX)):
        part = sampling.structure_map(seen.read(*block)[0])
        top = block.row // STRIDE_PX
        left = block.col // STRIDE_PX
        structure[top : top + part.shape[0], left : left + part.shape[1]] = part
    return structure


def divide_evenly(counts: Mapping[str, int], n_parts: int) -> list[dict[str, int]]:
    """Divide counts by kind into parts that differ by at most 1; the first parts get more."""
    parts = []
    for number in range(n_parts):
        part = {}
        for kind, count in counts.items():
            part[kind] = count // n_parts + (number < count % n_parts)
        parts.append(part)
    return parts
