"""The worst errors of an evaluation, cut out of their scenes: false positives and misses.

A false positive of a high score is often a missing label, so people check these first. Plots
nothing: `windhover.report.error_plots` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import shapely

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.evaluation_result import ErrorThumbnail
from windhover.metrics.group_counts import is_reported
from windhover.rendering.images import thumbnail_around

THUMBNAIL_PX = 128  # at the training GSD
N_PER_GROUP = 18
SCENE_LETTERS = 24
PLACE_LETTERS = 16
FALSE_POSITIVES = "False positives of the highest scores"
FALSE_NEGATIVES = "Missed objects, those of the lowest scores first"
TRUE_POSITIVES = "True positives, a random choice"

ExampleGroup: TypeAlias = tuple[str, tuple[ErrorThumbnail, ...]]


def worst_false_positives(
    metrics: DetectionMetrics, thresholds: Mapping[str, float], n: int = N_PER_GROUP
) -> pd.DataFrame:
    """Return the false positives of the highest scores, highest first, as rows of the matches."""
    matches = metrics.matches  # by falling score
    is_counted = is_reported(matches, thresholds) & ~matches["ignored"]
    return matches[is_counted & ~matches["is_tp"]].head(n)


def worst_false_negatives(
    metrics: DetectionMetrics, thresholds: Mapping[str, float], n: int = N_PER_GROUP
) -> pd.DataFrame:
    """Return the objects that are not reported, with the score of their detection, lowest first.

    A score of NaN: nothing was detected there at any threshold.
    """
    true_positives = metrics.matches[metrics.matches["is_tp"]]
    score_of = pd.Series(
        true_positives["score"].to_numpy(),
        index=true_positives["object_index"].to_numpy(np.int64),
    )
    objects = metrics.ground_truth.objects
    objects = objects.assign(score=score_of.reindex(range(len(objects))).to_numpy())
    missed = objects[~is_reported(objects, thresholds)]
    order = ["score", "scene", "x_m", "y_m"]
    return missed.sort_values(order, na_position="first", kind="stable").head(n)


def random_true_positives(
    metrics: DetectionMetrics, thresholds: Mapping[str, float]
) -> pd.DataFrame:
    """Return true positives chosen at random with a fixed seed, highest scores first."""
    matches = metrics.matches
    true_positives = matches[matches["is_tp"] & is_reported(matches, thresholds)]
    return true_positives.sample(min(N_PER_GROUP, len(true_positives)), random_state=0).sort_index()


def example_groups(
    metrics: DetectionMetrics,
    thresholds: Mapping[str, float],
    catalog: Catalog,
    *,
    gsd_m: float,
    bands: Sequence[str],
) -> tuple[ExampleGroup, ...]:
    """Return thumbnails of errors and true positives in titled groups, with boxes.

    Args:
        metrics: of the split.
        thresholds: by class.
        catalog: of its scenes.
        gsd_m: the training GSD.
        bands: of the model.
    """
    groups = (
        ("False positives of the highest scores", worst_false_positives(metrics, thresholds)),
        ("Missed objects, lowest scores first", worst_false_negatives(metrics, thresholds)),
        ("True positives, a random choice", random_true_positives(metrics, thresholds)),
    )
    reported = metrics.matches[is_reported(metrics.matches, thresholds)]
    boxes = (("object", metrics.ground_truth.objects), ("detection", reported))
    rows = {row.scene: row for row in catalog}
    titled = []
    for title, errors in groups:
        thumbnails = [
            _thumbnail(error, boxes, rows[str(error.scene)], gsd_m=gsd_m, bands=bands)
            for error in errors.itertuples(index=False)
        ]
        titled.append((title, tuple(thumbnails)))
    return tuple(titled)


def thumbnails_of(
    chosen: pd.DataFrame,
    metrics: DetectionMetrics,
    catalog: Catalog,
    *,
    gsd_m: float,
    bands: Sequence[str],
) -> tuple[ErrorThumbnail, ...]:
    """Return thumbnails of chosen detections, with the labelled objects around them.

    Args:
        chosen: rows of the matches.
        metrics: of their scenes.
        catalog: of their scenes.
        gsd_m: the training GSD.
        bands: of the model.
    """
    boxes = (("object", metrics.ground_truth.objects), ("detection", chosen))
    rows = {row.scene: row for row in catalog}
    return tuple(
        _thumbnail(one, boxes, rows[str(one.scene)], gsd_m=gsd_m, bands=bands)
        for one in chosen.itertuples(index=False)
    )


def _thumbnail(
    error: Any,
    boxes: Sequence[tuple[str, pd.DataFrame]],
    row: SceneRow,
    *,
    gsd_m: float,
    bands: Sequence[str],
) -> ErrorThumbnail:
    """Return the surroundings of an error, with what is there and what is reported.

    Args:
        error: a row of the matches or of the objects.
        boxes: kind of box, and the table of those of all scenes.
        row: of its scene in the catalog.
        gsd_m: the training GSD.
        bands: of the model.
    """
    with open_catalog_scene(row, gsd_m, list(bands)) as scene:
        scale = np.array(scene.gsd_m)
        center = (error.x_m / scale[0], error.y_m / scale[1])
        thumbnail = thumbnail_around(scene, center, THUMBNAIL_PX)
    corner = np.array((thumbnail.left, thumbnail.top))
    extent = shapely.box(*(corner * scale), *((corner + THUMBNAIL_PX) * scale))
    boxes_xyxy = []
    for kind, table in boxes:
        for geometry in table.loc[table["scene"] == error.scene, "geometry"]:
            if not geometry.intersects(extent):
                continue
            box = np.array(geometry.bounds).reshape(2, 2) / scale - corner
            is_the_error = kind == "detection" and geometry == error.geometry
            boxes_xyxy.append(("error" if is_the_error else kind, tuple(box.ravel().tolist())))
    score = "not detected" if np.isnan(error.score) else f"score {error.score:.3f}"
    caption = f"{error.scene[:SCENE_LETTERS]}\n{row.place[:PLACE_LETTERS]}, {score}"
    return ErrorThumbnail(thumbnail.image, caption, tuple(boxes_xyxy))
