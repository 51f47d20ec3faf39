"""Detections and objects as tables, drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import shapely

from windhover.metrics.ground_truth import GroundTruth

Box = tuple[float, float, float, float]


def objects_table(rows: list[tuple[str, str, Box]]) -> pd.DataFrame:
    boxes = [shapely.box(*box) for _, _, box in rows]
    return pd.DataFrame(
        {
            "scene": pd.Series([row[0] for row in rows], dtype=object),
            "class": pd.Series([row[1] for row in rows], dtype=object),
            "x_m": [(box[0] + box[2]) / 2 for *_, box in rows],
            "y_m": [(box[1] + box[3]) / 2 for *_, box in rows],
            "longer_m": [max(box[2] - box[0], box[3] - box[1]) for *_, box in rows],
            "geometry": pd.Series(boxes, dtype=object),
        }
    ).astype({"x_m": float, "y_m": float, "longer_m": float})


def found_table(rows: list[tuple[str, str, float, Box]]) -> pd.DataFrame:
    table = objects_table([(scene, name, box) for scene, name, _, box in rows])
    return table.assign(score=np.array([row[2] for row in rows], float))


def ground_truth(
    rows: list[tuple[str, str, Box]], scenes: list[str], ignored: Sequence[tuple[str, Box]] = ()
) -> GroundTruth:
    areas = pd.DataFrame(
        {"scene": [s for s, _ in ignored], "geometry": [shapely.box(*b) for _, b in ignored]},
        dtype=object,
    )
    places = pd.DataFrame({"scene": scenes, "place": scenes, "km2": 2.0})
    return GroundTruth(places, objects_table(rows), areas)


def random_world(seed: int, scenes: int = 12) -> tuple[pd.DataFrame, GroundTruth]:
    rng = np.random.default_rng(seed)
    names, truth, found = [f"s{k:02d}" for k in range(scenes)], [], []
    for scene in names:
        for name in ("jet", "prop"):
            for x, y in rng.uniform(0, 900, (rng.integers(0, 6), 2)):
                w, h = rng.uniform(10, 60, 2)
                truth.append((scene, name, (x, y, x + w, y + h)))
                if rng.random() < 0.8:
                    dx, dy = rng.normal(0, 5, 2)
                    found.append(
                        (
                            scene,
                            name,
                            float(rng.beta(5, 2)),
                            (x + dx, y + dy, x + dx + w * 1.1, y + dy + h),
                        )
                    )
            for x, y in rng.uniform(0, 900, (rng.integers(0, 8), 2)):
                found.append((scene, name, float(rng.beta(2, 5)), (x, y, x + 30, y + 30)))
    return found_table(found), ground_truth(truth, names, [("s00", (0, 0, 400, 400))])
