"""Labelled objects in px of the search: how long they are, and how many share a window.

Works on the catalog's tables; opens no raster.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

from windhover.dataset.catalog import Catalog, SceneRow
from windhover.geometry.windows import WINDOW_PX

# x, y: center; width, height: 0 for points; length: the longer side; crowd: other objects centered
# in the window around this one; all but crowd in px at the GSD of the search
COLUMNS = ("scene", "x", "y", "width", "height", "length", "crowd")


def ratio_of(row: SceneRow, gsd_m: float) -> tuple[float, float]:
    """Return the native px of a scene in one px of a GSD, along x and y."""
    return gsd_m / row.gsd_x_m, gsd_m / row.gsd_y_m


def objects_in_px(catalog: Catalog) -> pd.DataFrame:
    """Return the labels that count, in px at the GSD of the catalog; `COLUMNS`."""
    tables = [pd.DataFrame({name: [] for name in COLUMNS}).astype({"scene": object})]
    for row in catalog:
        labels = catalog.labels_of(row.scene)
        labels = labels[labels["role"] == "object"]
        if labels.empty:
            continue
        ratio_x, ratio_y = ratio_of(row, catalog.gsd_m)
        width = ((labels["right"] - labels["left"]) / ratio_x).to_numpy(np.float64)
        height = ((labels["bottom"] - labels["top"]) / ratio_y).to_numpy(np.float64)
        centers = np.column_stack([labels["col"] / ratio_x, labels["row"] / ratio_y])
        around = KDTree(centers).query_ball_point(
            centers, WINDOW_PX / 2, p=np.inf, return_length=True
        )
        table = pd.DataFrame({"scene": row.scene, "x": centers[:, 0], "y": centers[:, 1]})
        length = np.maximum(width, height)
        tables.append(table.assign(width=width, height=height, length=length, crowd=around - 1))
    return pd.concat(tables[1:] or tables, ignore_index=True)
