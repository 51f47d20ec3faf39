"""Maps of the labeled scenes of val and test, and what they are measured by.

Scenes are mapped once, their logits kept until they are calibrated; what is counted of each is
small: a confusion matrix, histograms of scores and shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene, open_class_map
from windhover.evaluation.coverage_calibration import samples_of_map
from windhover.export.score_map import quantize_scores
from windhover.geometry.arrays import Bools
from windhover.geometry.lattice import Lattice
from windhover.inference.coverage_map import CoverageMap, map_scene, px_of_cells, to_px
from windhover.inference.scorer import Scorer
from windhover.metrics.coverage_curves import UNKNOWN, ScoreHistogram
from windhover.metrics.coverage_metrics import (
    SHARE_COLUMNS,
    classes_at,
    confusion_matrix,
)
from windhover.models.apply_calibration import Calibration, window_scores
from windhover.models.card import Card
from windhover.progress import progress_bar

STRIP_ROWS = 1024  # of a scene that are compared at once


@dataclass(frozen=True)
class MappedScene:
    """A labeled scene with its map.

    Attributes:
        row: of the catalog.
        map: logits of its cells.
    """

    row: SceneRow
    map: CoverageMap


@dataclass(frozen=True)
class ScoredScene:
    """A labeled scene with its probability map.

    Attributes:
        row: of the catalog.
        values: (K, r, c) of the probability map, 255 where there is no data.
        lattice: of the map.
    """

    row: SceneRow
    values: NDArray[np.uint8]
    lattice: Lattice


@dataclass
class CoverageCounts:
    """What is counted of the scenes of one split, or of its patches.

    Attributes:
        matrices: confusion (K + 1, K + 1) of each scene.
        places: of the scenes.
        histograms: of each class, by name.
        shares: a row for each scene and class, `SHARE_COLUMNS`; None of patches.
    """

    matrices: list[NDArray[np.int64]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    histograms: dict[str, ScoreHistogram] = field(default_factory=dict)
    shares: pd.DataFrame | None = None


def map_labeled_scenes(
    scorer: Scorer, catalog: Catalog, card: Card, *, splits: Sequence[str]
) -> dict[str, list[MappedScene]]:
    """Return split -> its scenes with a class map, each with the logits of its cells."""
    rows = {}
    for split in splits:
        rows[split] = [row for row in catalog.split(split) if row.class_map is not None]
    total_mpx = sum(row.area_m2 / card.gsd_m**2 / 1e6 for part in rows.values() for row in part)
    mapped: dict[str, list[MappedScene]] = {split: [] for split in splits}
    with progress_bar("mapping labeled scenes", total_mpx, "Mpx") as advance:
        for split, part in rows.items():
            for row in part:
                with open_catalog_scene(row, card.gsd_m, list(card.bands)) as scene:
                    of_scene = map_scene(scorer, scene, len(card.classes), progress=advance)
                mapped[split].append(MappedScene(row, of_scene))
    return mapped


def calibration_samples(
    scenes: Sequence[MappedScene], card: Card
) -> tuple[NDArray[np.float32], Bools]:
    """Return logits (N, K) of the known cells of scenes, and which class each shows."""
    logits = [np.zeros((0, len(card.classes)), np.float32)]
    is_class = [np.zeros((0, len(card.classes)), bool)]
    for scene in scenes:
        truth = _truth_of_cells(scene, card)
        part, true = samples_of_map(scene.map.logits, truth)
        logits.append(part)
        is_class.append(true)
    return np.concatenate(logits), np.concatenate(is_class)


def _truth_of_cells(scene: MappedScene, card: Card) -> NDArray[np.uint8]:
    """Return the class in the middle of each cell of a map, (r, c)."""
    rows, cols = px_of_cells(scene.map.lattice)
    with (
        open_catalog_scene(scene.row, card.gsd_m) as opened,
        open_class_map(scene.row, opened) as class_map,
    ):
        height, width = class_map.shape_hw
        return class_map.read(0, 0, height, width)[np.ix_(rows, cols)]


def scored(scene: MappedScene, calibration: Calibration) -> ScoredScene:
    """Return a scene with its probability map, as it would be written."""
    scores = window_scores(scene.map.logits, calibration, class_axis=0)
    return ScoredScene(scene.row, quantize_scores(scores), scene.map.lattice)


def histograms_of_scenes(scenes: Sequence[ScoredScene], card: Card) -> dict[str, ScoreHistogram]:
    """Return the scores of the px of each class and of all else, over scenes."""
    histograms = {name: ScoreHistogram.empty() for name in card.classes}
    for scene in scenes:
        for truth, rows in _truth_strips(scene, card):
            known = truth <= len(card.classes)
            for index, name in enumerate(card.classes):
                values = to_px(scene.values[index], scene.lattice, rows)[known]
                histograms[name] += ScoreHistogram.of(values, truth[known] == index + 1)
    return histograms


def count_scenes(
    scenes: Sequence[ScoredScene], card: Card, thresholds: Sequence[float]
) -> CoverageCounts:
    """Return what is counted of scenes at thresholds, px by px.

    Args:
        scenes: of one split.
        card: of the model.
        thresholds: of its classes.
    """
    counts = CoverageCounts(histograms=histograms_of_scenes(scenes, card))
    n_classes = len(card.classes)
    rows: list[dict[str, Any]] = []
    for scene in scenes:
        classes = classes_at(scene.values, thresholds)
        matrix = np.zeros((n_classes + 1, n_classes + 1), np.int64)
        for truth, strip in _truth_strips(scene, card):
            predicted = to_px(classes, scene.lattice, strip)
            matrix += confusion_matrix(predicted, truth, n_classes)
        counts.matrices.append(matrix)
        counts.places.append(scene.row.place)
        rows += _share_rows(scene.row, matrix, card)
    counts.shares = pd.DataFrame(rows, columns=list(SHARE_COLUMNS))
    return counts


def _share_rows(row: SceneRow, matrix: NDArray[np.int64], card: Card) -> list[dict[str, Any]]:
    """Return the true and the predicted share of each class in a scene."""
    total = int(matrix.sum())
    rows = []
    for index, name in enumerate(card.classes, 1):
        true_share = float("nan")
        predicted_share = float("nan")
        if total:
            true_share = float(matrix[index].sum() / total)
            predicted_share = float(matrix[:, index].sum() / total)
        rows.append(
            dict(
                zip(
                    SHARE_COLUMNS,
                    (row.scene, row.place, name, total, true_share, predicted_share),
                    strict=True,
                )
            )
        )
    return rows


def _truth_strips(scene: ScoredScene, card: Card) -> list[tuple[NDArray[np.uint8], slice]]:
    """Return the class map of a scene at the training GSD in strips, each with its rows."""
    strips = []
    with (
        open_catalog_scene(scene.row, card.gsd_m) as opened,
        open_class_map(scene.row, opened) as class_map,
    ):
        height, width = class_map.shape_hw
        for row in range(0, height, STRIP_ROWS):
            rows = slice(row, min(row + STRIP_ROWS, height))
            strips.append((class_map.read(row, 0, rows.stop - row, width), rows))
    return strips


def count_patches(
    values: NDArray[np.uint8], index: pd.DataFrame, card: Card, *, thresholds: Sequence[float]
) -> CoverageCounts:
    """Return what is counted of patches at thresholds, scene by scene.

    Args:
        values: (N, K) quantized scores.
        index: of the patches.
        card: of the model.
        thresholds: of its classes.
    """
    counts = CoverageCounts()
    number = {"": 0} | {name: k for k, name in enumerate(card.classes, 1)}
    names = index["class"].fillna("").tolist()
    truth = np.array([number.get(name, UNKNOWN) for name in names], np.uint8)
    for k, name in enumerate(card.classes):
        counts.histograms[name] = ScoreHistogram.of(values[:, k], truth == k + 1)
    predicted = classes_at(values.T[:, :, None], thresholds)[:, 0]
    for rows in index.groupby("scene", sort=True).indices.values():
        matrix = confusion_matrix(predicted[rows], truth[rows], len(card.classes))
        counts.matrices.append(matrix)
        counts.places.append(str(index["place"].iloc[int(rows[0])]))
    return counts
