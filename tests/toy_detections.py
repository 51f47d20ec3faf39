"""Candidates as tables, and tables of detections from made-up candidates on real rasters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from windhover.geometry.objects import Objects
from windhover.imagery.scenes import open_scene
from windhover.inference.candidates import Candidates
from windhover.inference.detection_columns import DetectionColumns, scene_columns
from windhover.inference.result_table import table_of_columns


def candidates(*rows: tuple[float, float, float, float]) -> Candidates:
    """Return candidates of one class from centre x, y, width and height."""
    boxes = np.array(rows, float).reshape(-1, 4)
    count = len(boxes)
    objects = Objects(
        boxes[:, :2],
        boxes[:, 2:],
        np.zeros(count, np.int64),
        np.zeros(count, np.int8),
        np.ones(count),
    )
    return Candidates(objects, np.zeros(count, bool), np.zeros(count, bool))


def candidate_table(found: Candidates) -> pd.DataFrame:
    """Return candidates as a table, for tests that sort, join and compare rows."""
    return pd.DataFrame(
        {
            "class_index": found.class_index,
            "logit": found.logits,
            "col": found.objects.centers_xy[:, 0],
            "row": found.objects.centers_xy[:, 1],
            "w": found.objects.sizes_wh[:, 0],
            "h": found.objects.sizes_wh[:, 1],
            "edge": found.touches_edge,
        }
    )


def columns_of(
    path: Path,
    *rows: tuple[float, float, float, float],
    gsd: float | None = None,
    target: float | None = None,
) -> DetectionColumns:
    with open_scene(path, target, gsd) as scene:
        return scene_columns(
            candidates(*rows),
            np.linspace(0.9, 0.5, len(rows)),
            scene,
            classes=("plane",),
            model="model",
        )


def table_of(path: Path, *rows: tuple[float, float, float, float], **options: Any) -> Any:
    return table_of_columns([columns_of(path, *rows, **options)])
