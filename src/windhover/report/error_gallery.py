"""The worst errors of an evaluation, cut out of their scenes: the surest false alarms and the most
overlooked objects.

A sure false alarm is often a missing label, so people look at these first. Draws nothing:
`windhover.report.plots` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.metrics.detection_metrics import Assessment
from windhover.report.plots import Chip

CHIP_PX = 128  # at the training GSD
SHOWN = 18


def worst_false_alarms(
    made: Assessment, thresholds: Mapping[str, float], number: int = SHOWN
) -> pd.DataFrame:
    """Return the false alarms of the highest scores: `scene, class, score, x_m, y_m, geometry`."""
    judged = made.judged
    wrong = (
        ~judged["hit"]
        & ~judged["free"]
        & (judged["score"] >= judged["class"].map(dict(thresholds)))
    )
    return judged[wrong].head(number)  # judged is in falling score


def worst_misses(
    made: Assessment, thresholds: Mapping[str, float], number: int = SHOWN
) -> pd.DataFrame:
    """Return the objects that were not reported, the most overlooked first, with the score of the
    detection there.

    A score of NaN: nothing was found there at all.
    """
    hits = made.judged[made.judged["hit"]]
    score = pd.Series(hits["score"].to_numpy(), index=hits["truth"].to_numpy(np.int64))
    objects = made.ground.objects.assign(
        score=score.reindex(range(len(made.ground.objects))).to_numpy()
    )
    missed = ~(objects["score"] >= objects["class"].map(dict(thresholds)))
    return (
        objects[missed]
        .sort_values(["score", "scene", "x_m", "y_m"], na_position="first", kind="stable")
        .head(number)
    )


def some_hits(
    made: Assessment, thresholds: Mapping[str, float], number: int = SHOWN
) -> pd.DataFrame:
    """Return reported detections that are right, drawn at random (always the same), best first."""
    judged = made.judged
    right = judged[judged["hit"] & (judged["score"] >= judged["class"].map(dict(thresholds)))]
    return right.sample(min(number, len(right)), random_state=0).sort_index()


def picture_errors(
    made: Assessment,
    thresholds: Mapping[str, float],
    catalog: Catalog,
    gsd_m: float,
    bands: Sequence[str],
) -> tuple[tuple[str, tuple[Chip, ...]], ...]:
    """Cut the worst errors out of their scenes, at the training GSD, with boxes of what was found
    and what is there.
    """
    groups = []
    for title, errors in (
        ("The surest false alarms", worst_false_alarms(made, thresholds)),
        ("The most overlooked objects", worst_misses(made, thresholds)),
        ("Found, drawn at random", some_hits(made, thresholds)),
    ):
        chips = [
            _chip(error, made, thresholds, catalog, gsd_m, bands)
            for error in errors.itertuples(index=False)
        ]
        groups.append((title, tuple(chips)))
    return tuple(groups)


def _chip(
    error: Any,
    made: Assessment,
    thresholds: Mapping[str, float],
    catalog: Catalog,
    gsd_m: float,
    bands: Sequence[str],
) -> Chip:
    row = next(catalog.scenes[catalog.scenes["scene"] == error.scene].itertuples(index=False))
    with open_catalog_scene(row, gsd_m, list(bands)) as scene:
        # about the error, but inside the scene where it is large enough: what lies around tells
        # more than nodata
        left, top = (
            int(np.clip(center / gsd - CHIP_PX / 2, 0, max(side - CHIP_PX, 0)))
            for center, gsd, side in zip(
                (error.x_m, error.y_m), scene.gsd_m, scene.shape_hw[::-1], strict=True
            )
        )
        pixels, valid = scene.read(top, left, CHIP_PX, CHIP_PX)
        scale = scene.gsd_m
    near = shapely.box(
        left * scale[0], top * scale[1], (left + CHIP_PX) * scale[0], (top + CHIP_PX) * scale[1]
    )
    reported = made.judged[made.judged["score"] >= made.judged["class"].map(dict(thresholds))]
    boxes = [
        (
            "error" if kind == "found" and shape == error.geometry else kind,
            tuple((np.array(shape.bounds).reshape(2, 2) / scale - (left, top)).ravel().tolist()),
        )
        for kind, table in (("truth", made.ground.objects), ("found", reported))
        for shape in table.loc[table["scene"] == error.scene, "geometry"]
        if shape.intersects(near)
    ]
    score = "never seen" if np.isnan(error.score) else f"score {error.score:.3f}"
    caption = f"{error.scene[:24]}\n{row.place[:16]}, {score}"
    return Chip(to_rgb(pixels, valid), caption, tuple(boxes))  # type: ignore[arg-type]


def to_rgb(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return (H, W, 3) bytes of (C, H, W) pixels of any type: uint8 as it is, others stretched
    between percentiles.
    """
    shown = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, axis=0)
    if shown.dtype != np.uint8:
        values = shown[:, valid] if valid.any() else np.zeros((3, 1))
        low, high = np.percentile(values, [1, 99])
        shown = np.clip((shown.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1) * 255
    rgb = np.where(valid[None], shown, 40).astype(np.uint8)
    return np.ascontiguousarray(rgb.transpose(1, 2, 0))
