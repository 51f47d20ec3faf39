"""The table that matching takes: a row for each object, or detection, of many scenes.

Objects of one scene come as `geometry.objects.Objects`, in metres of the scene's plane; names of
scenes and classes and the shapes as delivered, which `Objects` does not know, are added here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from windhover.geometry.objects import Objects


def matching_table(objects: Objects, *, scene: Any, class_name: Any, shapes: Any) -> pd.DataFrame:
    """Return objects as rows, with their scores where they have any.

    Args:
        objects: in metres; their `class_index` is not used.
        scene: name of the scene, or (N,) a name each.
        class_name: name of the class, or (N,) a name each.
        shapes: (N,) shapely geometries in metres.

    Returns:
        Columns `scene`, `class`, `x_m`, `y_m` (centres), `longer_m` (longer side, NaN where
        unknown), `geometry`, and `score` where the objects have scores.
    """
    names = {"scene": scene, "class": class_name}
    columns: dict[str, Any] = {}
    for key, name in names.items():
        columns[key] = pd.Series(np.broadcast_to(name, len(objects)), dtype=object)
    columns["x_m"] = objects.centers_xy[:, 0]
    columns["y_m"] = objects.centers_xy[:, 1]
    columns["longer_m"] = objects.longer_side
    columns["geometry"] = pd.Series(shapes, dtype=object)
    if objects.scores is not None:
        columns["score"] = objects.scores
    return pd.DataFrame(columns)


def empty_matching_table(*, has_scores: bool = False) -> pd.DataFrame:
    """Return a table without rows, each column of its type."""
    table = matching_table(Objects.empty(), scene="", class_name="", shapes=[])
    if has_scores:
        table["score"] = np.zeros(0)
    return table
