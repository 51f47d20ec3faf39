"""Explanations of the worst errors of test: the window around each, and its attribution maps."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.evaluation.explain import explain_window, read_window
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import WindowExplanation
from windhover.models.bundle import Bundle
from windhover.report.error_examples import worst_false_negatives, worst_false_positives

# errors of each kind that are explained
MAX_EXPLAINED = 3


def explain_errors(
    bundle: Bundle, test: DetectionMetrics, thresholds: dict[str, float], *, catalog: Catalog
) -> tuple[WindowExplanation, ...]:
    """Explain the worst false alarms and misses of test, in the window around each."""
    rows = {row.scene: row for row in catalog}
    worst = {
        "false positive": worst_false_positives(test, thresholds, MAX_EXPLAINED),
        "missed": worst_false_negatives(test, thresholds, MAX_EXPLAINED),
    }
    explanations = []
    for kind, errors in worst.items():
        explanations += [
            _explain_error(bundle, rows[error["scene"]], kind, error=error)
            for error in errors.to_dict("records")
        ]
    return tuple(explanations)


def _explain_error(
    bundle: Bundle, row: SceneRow, kind: str, *, error: dict[Hashable, Any]
) -> WindowExplanation:
    card = bundle.card
    with open_catalog_scene(row, card.gsd_m, list(card.bands)) as scene:
        height, width = scene.shape_hw
        # the centre of an object at the border may be a little outside
        col = float(np.clip(error["x_m"] / scene.gsd_m[0], 0, width))
        line = float(np.clip(error["y_m"] / scene.gsd_m[1], 0, height))
        window, valid = read_window(scene, col, line, window_px=card.window_px)
    return explain_window(
        bundle,
        window,
        valid,
        class_index=card.classes.index(error["class"]),
        caption=f"{kind}, {error['scene'][:24]}",
    )
