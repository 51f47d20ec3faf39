"""The patches of classes without boxes, cut by the shares of their pixels in class maps.

Two passes over the scenes: the first labels their windows by the class maps alone, so that the
numbers wanted of each class can be divided; the second reads and writes the chosen ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import ClassMap, class_counts
from windhover.dataset.splits import SPLITS
from windhover.errors import DataError
from windhover.geometry.arrays import Ints
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.scenes import Scene
from windhover.params.patches import CoveragePatchesParams, PatchesParams
from windhover.patches.coverage_labels import (
    CELL_PX,
    WindowLabels,
    divide_among_scenes,
    draw_windows,
    label_windows,
    wanted_by_label,
)
from windhover.patches.cut_statistics import CutStatistics
from windhover.patches.patch_store import INDEX_COLUMNS, PatchWriter, index_table, masks_file
from windhover.progress import track

STRIP_ROWS = 1024  # of a class map that are read at once; a multiple of the cells
BACKGROUND_KIND = "random"
CLASS_KIND = "positive"


@dataclass
class CoverageCut:
    """What was cut.

    Attributes:
        index: of the patches, all splits.
        statistics: what was counted and left out.
    """

    index: pd.DataFrame
    statistics: CutStatistics


@dataclass
class _Plan:
    """The windows of the scenes of a catalog, and how many are wanted of each.

    Attributes:
        labels: scene -> labels of its windows.
        wanted: scene -> label -> number.
    """

    labels: dict[str, WindowLabels] = field(default_factory=dict)
    wanted: dict[str, dict[int, int]] = field(default_factory=dict)


def cut_coverage_patches(catalog: Catalog, params: PatchesParams, folder: Path) -> CoverageCut:
    """Write the arrays of all splits; return the index and what was counted.

    Args:
        catalog: with class maps.
        params: of the stage.
        folder: where the arrays are written.

    Raises:
        DataError: the training scenes give no patch of a class, or none of background.
        FormatError: a raster or a class map cannot be read.
    """
    statistics = CutStatistics()
    plan = _plan_windows(catalog, params.coverage, statistics)
    rows = [row for row in catalog if row.scene in plan.labels]
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        writers = _open_writers(catalog, params.coverage, folder, stack=stack)
        for row in track(rows, "cutting patches", len(rows)):
            cutter = _SceneCutter(row, catalog, plan, params=params, statistics=statistics)
            records += cutter.cut(writers[row.split])
    index = index_table(records)
    _check_training(index)
    return CoverageCut(index, statistics)


def _plan_windows(
    catalog: Catalog, params: CoveragePatchesParams, statistics: CutStatistics
) -> _Plan:
    """Label the windows of all scenes, and divide the wanted numbers among them."""
    plan = _Plan()
    n_classes = len(catalog.classes)
    labeled = [row for row in catalog if row.class_map is not None]
    for row in track(labeled, "labeling windows", len(labeled)):
        with (
            open_catalog_scene(row, catalog.gsd_m) as scene,
            open_class_map(row, scene) as class_map,
        ):
            labels = label_windows(_cell_counts(class_map, n_classes), params)
        plan.labels[row.scene] = labels
        _count(labels, row.split, catalog.classes, statistics=statistics)
    for split in SPLITS:
        scenes = [row.scene for row in labeled if row.split == split]
        counts = np.array([plan.labels[scene].counts(n_classes) for scene in scenes])
        n_patches = params.train_patches if split == "train" else params.test_patches
        available = counts.reshape(len(scenes), n_classes + 1)
        wanted = wanted_by_label(available.sum(axis=0), n_patches, balance=params.balance)
        for label in range(n_classes + 1):
            given = divide_among_scenes(int(wanted[label]), available[:, label].tolist())
            for name, number in zip(scenes, given, strict=True):
                plan.wanted.setdefault(name, {})[label] = number
    return plan


def _cell_counts(class_map: ClassMap, n_classes: int) -> NDArray[np.uint16]:
    """Return the px of background and of each class in the cells of a class map."""
    height, width = class_map.shape_hw
    parts = []
    for row in range(0, max(height, 1), STRIP_ROWS):
        strip = class_map.read(row, 0, min(STRIP_ROWS, height - row), width)
        parts.append(class_counts(strip, CELL_PX, n_classes))
    return np.concatenate(parts, axis=1)


def _count(
    labels: WindowLabels, split: str, classes: list[str], *, statistics: CutStatistics
) -> None:
    """Add the windows of a scene to the totals of its split, and those that are not used."""
    counts = labels.counts(len(classes))
    totals = statistics.windows[split]
    totals.total += int(counts.sum())
    totals.positive += int(counts[1:].sum())
    totals.positive_central += int(counts[1:].sum())
    for name, count in zip(classes, counts[1:].tolist(), strict=True):
        totals.positive_by_class[name] += count
    n_unknown = int((~labels.known).sum())
    n_between = int((labels.known & (labels.label < 0)).sum())
    for reason, count in (
        ("windows whose class is not known", n_unknown),
        ("windows between the two shares", n_between),
    ):
        if count:
            statistics.skipped[reason] += count


@dataclass(frozen=True)
class _Writers:
    """The files of one split."""

    images: PatchWriter
    masks: PatchWriter | None


def _open_writers(
    catalog: Catalog, params: CoveragePatchesParams, folder: Path, *, stack: ExitStack
) -> dict[str, _Writers]:
    """Open the files of all splits."""
    writers = {}
    shape_hwc = (WINDOW_PX, WINDOW_PX, len(catalog.bands))
    for split in SPLITS:
        images = PatchWriter(folder / f"{split}.npy", shape_hwc, np.dtype(catalog.dtype))
        masks = None
        if params.keep_masks:
            path = folder / masks_file(split)
            masks = PatchWriter(path, (WINDOW_PX, WINDOW_PX, 1), np.dtype(np.uint8))
            stack.enter_context(masks)
        writers[split] = _Writers(stack.enter_context(images), masks)
    return writers


class _SceneCutter:
    """Reads and writes the chosen windows of one scene, by a seed of its own."""

    def __init__(
        self,
        row: SceneRow,
        catalog: Catalog,
        plan: _Plan,
        *,
        params: PatchesParams,
        statistics: CutStatistics,
    ) -> None:
        self._row = row
        self._catalog = catalog
        self._labels = plan.labels[row.scene]
        self._wanted: Mapping[int, int] = plan.wanted[row.scene]
        self._statistics = statistics
        digest = hashlib.sha256(f"{params.seed}/{row.scene}".encode()).digest()
        self._rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def cut(self, writers: _Writers) -> list[dict[str, Any]]:
        """Write the patches of the scene; return their index rows."""
        records: list[dict[str, Any]] = []
        drawn = draw_windows(self._labels, self._wanted, self._rng)
        catalog = self._catalog
        with (
            open_catalog_scene(self._row, catalog.gsd_m, catalog.bands) as scene,
            open_class_map(self._row, scene) as class_map,
        ):
            scene.preload()
            for label, corners in drawn.items():
                images = self._read(scene, corners)
                is_new = self._statistics.select_new(images, self._row.split)
                first = writers.images.count
                writers.images.append(images[is_new])
                if writers.masks is not None:
                    writers.masks.append(_read_masks(class_map, corners[is_new]))
                index = self._describe(label, corners[is_new], first)
                records += index.to_dict("records")  # type: ignore[arg-type]
        return records

    def _read(self, scene: Scene, corners: Ints) -> NDArray[Any]:
        """Return the patches (n, H, W, C) at corners, and add their pixels to the statistics."""
        images = np.zeros((len(corners), WINDOW_PX, WINDOW_PX, scene.n_bands), scene.dtype)
        for number, (left, top) in enumerate(corners.tolist()):
            pixels, valid = scene.read(top, left, WINDOW_PX, WINDOW_PX)
            images[number] = pixels.transpose(1, 2, 0)
            if self._row.split == "train":
                self._statistics.training_pixels.add(pixels[:, valid])
        return images

    def _describe(self, label: int, corners: Ints, first: int) -> pd.DataFrame:
        """Return the index rows of patches, numbered from `first`."""
        name = self._catalog.classes[label - 1] if label else ""
        unknown = float("nan")
        table = pd.DataFrame(
            {
                "patch": np.arange(first, first + len(corners)),
                "left_px": corners[:, 0],
                "top_px": corners[:, 1],
            }
        )
        table = table.assign(
            split=self._row.split,
            scene=self._row.scene,
            place=self._row.place,
            kind=CLASS_KIND if label else BACKGROUND_KIND,
            dx_px=unknown,
            dy_px=unknown,
            w_px=unknown,
            h_px=unknown,
            gsd_m=self._catalog.gsd_m,
            origin="cut",
        )
        table["class"] = name
        return table[list(INDEX_COLUMNS)]


def _read_masks(class_map: ClassMap, corners: Ints) -> NDArray[np.uint8]:
    """Return the class maps of patches, (n, H, W, 1)."""
    masks = np.zeros((len(corners), WINDOW_PX, WINDOW_PX, 1), np.uint8)
    for number, (left, top) in enumerate(corners.tolist()):
        masks[number, :, :, 0] = class_map.read(top, left, WINDOW_PX, WINDOW_PX)
    return masks


def _check_training(index: pd.DataFrame) -> None:
    """Check that the training patches show a class, and background.

    Raises:
        DataError: one of them is missing.
    """
    training = index[index["split"] == "train"]
    for kind, what in ((CLASS_KIND, "a class"), (BACKGROUND_KIND, "background")):
        if not (training["kind"] == kind).any():
            raise DataError(
                f"The training scenes hold no patch of {what}. Bring more places, or change "
                "`patches.coverage.min_share`, `patches.coverage.max_share` or `scenes.seed`."
            )
