"""Detections on training ground that score like labelled objects where no label is.

The model was taught that ground without a label is background. Where it still gives such ground the
score of a labelled object, a label is probably missing. Nothing is changed by it: labels, figures
and thresholds stay; the effect is a table of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import shapely

from windhover.dataset.catalog import Catalog
from windhover.evaluation.fit_calibration import calibrated_matches
from windhover.evaluation.search_splits import SearchedSplit, search_training_ground
from windhover.geometry.arrays import Bools
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import DetectionMetrics, measure_detections
from windhover.metrics.evaluation_result import EvaluationResult, UnlabeledObjects
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import Bundle
from windhover.progress import counted
from windhover.report.error_examples import thumbnails_of

MAX_MPX = 60.0  # of training ground that is searched, half a minute on two cores
MIN_TRUE_POSITIVES = 5  # from which a score can be said to be that of an object
LEAST_SCORE = 0.5  # below, a detection is rather none: a weak model finds nothing unlabelled
MAX_OVERLAP = 0.1  # share of a box inside labelled ones; more is a second box of the same object
MAX_IN_LAYER = 1000
N_THUMBNAILS = 18
N_RESAMPLES = 100  # the intervals are not shown
ASSUMED = (
    "It is assumed that every object on a labelled scene has its label; nothing else was said "
    "(`scenes.areas`)"
)
STATED = (
    "Only ground stated to be completely labelled counts here (`scenes.areas`, or "
    "`--labelled positive-only`: within one window of a label)"
)
ADD_THEM = "Add those that are objects to the labels and run again"
OR_STATE_IT = ", or say `--labelled positive-only` to `windhover init`"


def with_unlabeled_objects(
    result: EvaluationResult,
    bundle: Bundle,
    catalog: Catalog,
    searched: SearchedSplit | None,
    *,
    device: str,
) -> EvaluationResult:
    """Return the result with the surest false alarms on training ground, and their effect.

    Args:
        result: with metrics of val and test.
        bundle: the model.
        catalog: of all scenes.
        searched: the training scenes, where they were searched already.
        device: such as cpu.
    """
    if bundle.card.true_prior is None or not catalog.split("train").scenes["labeled"].any():
        return result
    if searched is None:
        searched = search_training_ground(
            bundle, catalog, result.params, max_mpx=MAX_MPX, device=device
        )
    calibration = Calibration.from_json(dict(result.calibration))
    matches = calibrated_matches(searched.matches, calibration, bundle.card.classes)
    sample = resample(searched.ground_truth.scenes, N_RESAMPLES, result.params.seed)
    train = measure_detections(matches, searched.ground_truth, result.thresholds, sample=sample)
    cuts = surest_scores(matches, result.thresholds)
    chosen = surest_without_label(train, cuts)
    effect = [_effect_row("training ground", train, cuts, thresholds=result.thresholds)]
    test = result.scenes["test"]
    if len(test.per_scene):
        effect.append(_effect_row("test", test, cuts, thresholds=result.thresholds))
    card = bundle.card
    thumbnails = thumbnails_of(
        chosen.head(N_THUMBNAILS), train, catalog, gsd_m=card.gsd_m, bands=card.bands
    )
    found = UnlabeledObjects(
        detections=chosen.head(MAX_IN_LAYER),
        sentence=describe_unlabeled(chosen, train, catalog, cuts),
        effect=pd.DataFrame(effect),
        thumbnails=thumbnails,
    )
    return replace(result, unlabeled_objects=found)


def surest_scores(matches: pd.DataFrame, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Return for each class the score that half of its labelled objects that were found reach.

    A class with too few true positives has infinity: none of its detections is chosen.

    Args:
        matches: of the training ground, with calibrated scores.
        thresholds: by class; the score is never below, nor below `LEAST_SCORE`.
    """
    cuts = {}
    for name, threshold in thresholds.items():
        of_class = matches[(matches["class"] == name) & (matches["score"] >= threshold)]
        scores = of_class.loc[of_class["is_tp"], "score"]
        cuts[name] = np.inf
        if len(scores) >= MIN_TRUE_POSITIVES:
            cuts[name] = max(float(scores.median()), threshold, LEAST_SCORE)
    return cuts


def surest_without_label(metrics: DetectionMetrics, cuts: Mapping[str, float]) -> pd.DataFrame:
    """Return the false positives that score like objects and are apart from every label."""
    matches = metrics.matches
    is_sure = matches["score"] >= matches["class"].map(dict(cuts))
    sure = matches[is_sure & ~matches["is_tp"] & ~matches["ignored"]]
    return sure[_is_apart(sure, metrics.ground_truth.objects)]


def _is_apart(detections: pd.DataFrame, objects: pd.DataFrame) -> Bools:
    """Return (N,) whether boxes hardly overlap a labelled object, and hold no labelled point."""
    apart = np.ones(len(detections), bool)
    positions = pd.Series(np.arange(len(detections)), index=detections.index)
    for scene, group in detections.groupby("scene"):
        shapes = objects.loc[objects["scene"] == scene, "geometry"].to_numpy(object)
        boxes = group["geometry"].to_numpy(object)
        box, other = shapely.STRtree(shapes).query(boxes, predicate="intersects")
        shared = shapely.area(shapely.intersection(boxes[box], shapes[other]))
        is_same = shared > MAX_OVERLAP * shapely.area(boxes[box])
        is_same |= shapely.area(shapes[other]) == 0
        apart[positions[group.index].to_numpy()[box[is_same]]] = False
    return apart


def if_they_were_objects(
    metrics: DetectionMetrics, chosen: pd.DataFrame, thresholds: Mapping[str, float]
) -> DetectionMetrics:
    """Return the metrics that there would be if chosen false positives were labelled objects."""
    truth = metrics.ground_truth
    added = chosen[truth.objects.columns]
    matches = metrics.matches.copy()
    matches.loc[chosen.index, "is_tp"] = True
    first = len(truth.objects)
    matches.loc[chosen.index, "object_index"] = np.arange(first, first + len(chosen))
    objects = truth.objects
    if len(added):
        objects = pd.concat([objects, added], ignore_index=True)
    sample = resample(truth.scenes, N_RESAMPLES, 0)
    return measure_detections(matches, replace(truth, objects=objects), thresholds, sample=sample)


def _effect_row(
    ground: str,
    metrics: DetectionMetrics,
    cuts: Mapping[str, float],
    *,
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    chosen = surest_without_label(metrics, cuts)
    then = if_they_were_objects(metrics, chosen, thresholds)
    row: dict[str, Any] = {
        "ground": ground,
        "objects": len(metrics.ground_truth.objects),
        "perhaps unlabelled": len(chosen),
    }
    for key, name in (("precision", "precision"), ("ap", "AP")):
        row[name] = metrics.estimates[key].value
        row[f"{name} if they were objects"] = then.estimates[key].value
    return row


def describe_unlabeled(
    chosen: pd.DataFrame, train: DetectionMetrics, catalog: Catalog, cuts: Mapping[str, float]
) -> str:
    """Return what was found and what is assumed."""
    n_searched = len(train.ground_truth.scenes)
    n_labeled = int(catalog.split("train").scenes["labeled"].sum())
    searched = f"{n_searched} of {counted(n_labeled, 'labelled training scene')}"
    if not n_searched:
        return (
            "Training ground was not searched for objects that nobody labelled: each scene is "
            f"larger than the {MAX_MPX:g} Mpx that are looked at."
        )
    if not np.isfinite(list(cuts.values())).any():
        return f"Too few labelled objects were found on {searched} to say what an object scores."
    assumption = ASSUMED
    what_to_do = ADD_THEM + OR_STATE_IT
    if not catalog.areas.empty:
        assumption = STATED
        what_to_do = ADD_THEM
    if chosen.empty:
        return (
            f"On {searched} no detection without a label scores like the labelled objects: the "
            f"labels look complete to this model. {assumption}."
        )
    count = f"These {len(chosen)} detections look like objects"
    if len(chosen) == 1:
        count = "This detection looks like an object"
    return (
        f"{count} nobody labelled, on {searched}: no label is there, it was learned as background, "
        "and the score is still at least that of half of the labelled objects that were found. "
        f"{assumption}. {what_to_do}."
    )
