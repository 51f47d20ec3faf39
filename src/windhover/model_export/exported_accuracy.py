"""AP of an exported detector on `test` next to the model's own, before it is given to anyone.

The exported file holds the model's thresholds, above which no curve can be drawn: what is measured
is the same graph with thresholds lowered to the lowest logit that `evaluate` keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.errors import DataError
from windhover.evaluation.compare import compare
from windhover.evaluation.model_test import TestRecord
from windhover.geometry.objects import Objects
from windhover.imagery.scenes import Scene
from windhover.inference.detector import Detector
from windhover.metrics.evaluation_result import match_rule_of
from windhover.metrics.ground_truth import GroundTruth, ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.matching_table import empty_matching_table, matching_table
from windhover.metrics.nan_safe import finite_or_none
from windhover.model_export.parity import add_parities, compare_objects, detect_objects
from windhover.model_export.tiled_client import TiledClient
from windhover.models.apply_calibration import detection_scores
from windhover.models.bundle import Bundle
from windhover.models.model_description import ExportedAccuracy
from windhover.params.evaluate import EvaluateParams
from windhover.progress import progress_bar

DIGITS = 6
EXPORTED = "exported"
DETECT = "detect"


def lowest_scores(bundle: Bundle, min_logit: float) -> dict[str, float]:
    """Return the score of each class at a raw logit."""
    classes = bundle.card.classes
    logits = np.full(len(classes), min_logit)
    scores = detection_scores(logits, bundle.calibration, np.arange(len(classes)))
    return dict(zip(classes, scores.tolist(), strict=True))


def measure_on_test(
    detector: Detector, model: Path, catalog: Catalog, params: EvaluateParams
) -> ExportedAccuracy:
    """Search the labelled scenes of test by an exported detector and by the model itself.

    Args:
        detector: the model, in fp32.
        model: file of its detector graph with the thresholds of `lowest_scores`.
        catalog: whose split `test` is searched.
        params: the match rule and the lowest logit.

    Raises:
        DataError: no scene of test is labelled.
    """
    test = catalog.split("test")
    rows = [row for row in test if row.labeled]
    if not rows:
        raise DataError(
            "the catalog has no labelled scene in `test`, so the exported model cannot be measured "
            "on it. Label one, or compare rasters by --check."
        )
    card = detector.bundle.card
    lowest = lowest_scores(detector.bundle, params.min_logit)
    thresholds = detector.thresholds()
    client = TiledClient(model, min_score=min(lowest.values()))
    tables: dict[str, list[pd.DataFrame]] = {EXPORTED: [], DETECT: []}
    parities = []
    with progress_bar("measuring the exported model", len(rows), "scenes") as advance:
        for row in rows:
            with open_catalog_scene(row, card.gsd_m, list(card.bands)) as scene:
                found = _search_by_both(detector, client, scene, lowest)
                for name, objects in found.items():
                    scaled = objects.scaled(scene.gsd_m)
                    tables[name].append(_matching_rows(scaled, row.scene, card.classes))
                exported = _above(found[EXPORTED], thresholds, card.classes)
                detected = _above(found[DETECT], thresholds, card.classes)
                parities.append(compare_objects(exported, detected, scene.shape_hw))
            advance()
    ground_truth = ground_truth_of(test)
    rule = match_rule_of(params, card.gsd_m)
    tests = {
        name: _test_record(name, parts, ground_truth, rule, thresholds=thresholds)
        for name, parts in tables.items()
    }
    ap = compare(tests[DETECT], tests[EXPORTED]).iloc[0]
    parity = add_parities(parities)
    return ExportedAccuracy(
        scenes=len(rows),
        objects=len(ground_truth.objects),
        ap_exported=_rounded(ap["second"]),
        ap_detect=_rounded(ap["first"]),
        difference_low=_rounded(ap["low"]),
        difference_high=_rounded(ap["high"]),
        alike=parity.both,
        differing_inside=parity.differing_inside,
        largest_score_difference=round(parity.largest_score_difference, DIGITS),
    )


def _search_by_both(
    detector: Detector, client: TiledClient, scene: Scene, lowest: dict[str, float]
) -> dict[str, Objects]:
    """Return the objects of a scene by the exported detector and by the model, px of its grid."""
    height, width = scene.shape_hw
    return {
        EXPORTED: client.detect(scene.read(0, 0, height, width)[0]),
        DETECT: detect_objects(detector, scene, lowest),
    }


def _matching_rows(objects: Objects, scene: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return objects in metres, with scores, as rows to be matched."""
    return matching_table(
        objects,
        scene=scene,
        class_name=np.asarray(classes, object)[objects.class_index],
        shapes=shapely.box(*objects.to_xyxy().T),
    )


def _above(objects: Objects, thresholds: Mapping[str, float], classes: tuple[str, ...]) -> Objects:
    """Return the objects that reach the threshold of their class."""
    assert objects.scores is not None
    lowest = np.array([thresholds[name] for name in classes])[objects.class_index]
    return objects.select(objects.scores >= lowest)


def _test_record(
    name: str,
    tables: list[pd.DataFrame],
    ground_truth: GroundTruth,
    rule: MatchRule,
    *,
    thresholds: Mapping[str, float],
) -> TestRecord:
    """Return detections of scenes matched with their objects."""
    found = pd.concat([empty_matching_table(has_scores=True), *tables], ignore_index=True)
    matches = match_detections(found, ground_truth, rule)
    counted = matches[~matches["ignored"]].reset_index(drop=True)
    return TestRecord(name, counted, ground_truth, thresholds)


def _rounded(value: float) -> float | None:
    """Return a number with few digits, None where it is undefined."""
    finite = finite_or_none(value)
    return None if finite is None else round(finite, DIGITS)
