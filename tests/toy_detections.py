"""Tables of detections from made-up candidates on real rasters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from windhover.imagery.scenes import open_scene
from windhover.inference.result_table import to_result_table


def candidates(*rows: tuple[float, float, float, float]) -> pd.DataFrame:
    col, row, w, h = np.array(rows, float).reshape(-1, 4).T
    return pd.DataFrame(
        {
            "class": ["plane"] * len(rows),
            "logit": 1.0,
            "col": col,
            "row": row,
            "w": w,
            "h": h,
            "edge": False,
        }
    )


def table_of(
    path: Path,
    *rows: tuple[float, float, float, float],
    gsd: float | None = None,
    target: float | None = None,
) -> Any:
    with open_scene(path, target, gsd) as scene:
        return to_result_table(
            candidates(*rows), np.linspace(0.9, 0.5, len(rows)), scene, model="model"
        )
