"""Detections on training ground that perhaps lack a label, and what they change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from conftest import MakeScene
from one_scene import one_scene_catalog
from windhover.evaluation.unlabeled_layer import LAYER_FILE, write_unlabeled_layer
from windhover.evaluation.unlabeled_objects import (
    describe_unlabeled,
    if_they_were_objects,
    surest_scores,
    surest_without_label,
)
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import DetectionMetrics, measure_detections
from windhover.metrics.evaluation_result import UnlabeledObjects
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule

SIDE_M = 10.0
THRESHOLDS = {"boat": 0.5}


def table(x_m: list[float], scores: list[float] | None = None) -> pd.DataFrame:
    """Return boxes of 10 m in a row, one scene."""
    x = np.array(x_m, np.float64)
    half = SIDE_M / 2
    columns = {
        "scene": pd.Series(["one"] * len(x), dtype=object),
        "class": pd.Series(["boat"] * len(x), dtype=object),
        "x_m": x,
        "y_m": np.full(len(x), 50.0),
        "longer_m": np.full(len(x), SIDE_M),
        "geometry": pd.Series(shapely.box(x - half, 50 - half, x + half, 50 + half), dtype=object),
    }
    frame = pd.DataFrame(columns)
    return frame if scores is None else frame.assign(score=scores)


def measured(labels: list[float], found: dict[float, float]) -> DetectionMetrics:
    """Return the metrics of detections at places (m) with scores."""
    scenes = pd.DataFrame({"scene": ["one"], "place": ["one"], "km2": [1.0]})
    ignored = pd.DataFrame({"scene": [], "geometry": [], "longer_m": []}, dtype=object)
    truth = GroundTruth(scenes, table(labels), ignored)
    rule = MatchRule("size", 0.5, 8.0)
    matches = match_detections(table(list(found), list(found.values())), truth, rule)
    sample = resample(truth.scenes, 100, 0)
    return measure_detections(matches, truth, THRESHOLDS, sample=sample)


LABELS = [100.0, 200.0, 300.0, 400.0, 500.0, 600.0]
FOUND = {100.0: 0.95, 200.0: 0.9, 300.0: 0.8, 400.0: 0.8, 500.0: 0.7, 600.0: 0.6}


def test_what_scores_like_labels_and_is_apart_from_them_is_named() -> None:
    metrics = measured(LABELS, FOUND | {700.0: 0.92, 800.0: 0.75, 107.0: 0.93})
    cuts = surest_scores(metrics.matches, THRESHOLDS)
    assert cuts == {"boat": 0.8}
    chosen = surest_without_label(metrics, cuts)
    assert chosen["x_m"].tolist() == [700.0]


def test_figures_are_those_of_the_complete_labels() -> None:
    extra = {700.0: 0.92, 750.0: 0.85}
    metrics = measured(LABELS, FOUND | extra)
    chosen = surest_without_label(metrics, surest_scores(metrics.matches, THRESHOLDS))
    then = if_they_were_objects(metrics, chosen, THRESHOLDS).estimates
    complete = measured([*LABELS, *extra], FOUND | extra).estimates
    for name in ("precision", "recall", "ap"):
        assert then[name].value == pytest.approx(complete[name].value)
    assert then["precision"].value == 1.0
    assert metrics.estimates["precision"].value == pytest.approx(6 / 8)


def test_nothing_is_said_where_few_labels_were_found() -> None:
    metrics = measured(LABELS[:4], {100.0: 0.9, 700.0: 0.99})
    cuts = surest_scores(metrics.matches, THRESHOLDS)
    assert cuts == {"boat": np.inf}
    chosen = surest_without_label(metrics, cuts)
    assert chosen.empty
    then = if_they_were_objects(metrics, chosen, THRESHOLDS).estimates
    assert then["ap"].value == metrics.estimates["ap"].value


def test_the_layer_has_the_places_and_the_sentence(tmp_path: Path, make_scene: MakeScene) -> None:
    catalog = one_scene_catalog(make_scene)
    row = next(iter(catalog))
    metrics = measured(LABELS, FOUND | {350.0: 0.92})
    chosen = surest_without_label(metrics, {"boat": 0.8}).assign(scene=row.scene)
    found = UnlabeledObjects(chosen, "1 of them.", pd.DataFrame())
    for name, content, count in (("a", found, 1), ("b", None, 0)):
        (tmp_path / name).mkdir()
        write_unlabeled_layer(content, catalog, tmp_path / name)
        layer = geopandas.read_file(tmp_path / name / LAYER_FILE)
        assert len(layer) == count
        assert {"scene", "class", "score"} <= set(layer.columns)
    layer = geopandas.read_file(tmp_path / "a" / LAYER_FILE)
    assert layer.crs == row.crs
    x, y = layer.geometry.iloc[0].centroid.coords[0]
    assert x == pytest.approx(row.transform[2] + 350.0)
    assert y == pytest.approx(row.transform[5] - 50.0)


@pytest.mark.parametrize(("has_areas", "advised"), [(False, True), (True, False)])
def test_what_is_assumed_of_labels_is_told_as_it_was_stated(
    has_areas: bool, advised: bool, make_scene: MakeScene
) -> None:
    catalog = one_scene_catalog(make_scene)
    if has_areas:
        row = next(iter(catalog))
        area = {"scene": [row.scene], "role": ["complete"]}
        areas = geopandas.GeoDataFrame(area, geometry=[shapely.box(0, 0, 9, 9)])
        catalog = replace(catalog, areas=areas)
    metrics = measured(LABELS, FOUND | {350.0: 0.92})
    chosen = surest_without_label(metrics, {"boat": 0.8})
    sentence = describe_unlabeled(chosen, metrics, catalog, {"boat": 0.8})
    assert ("or say `--labelled positive-only`" in sentence) == advised
    assert ("It is assumed" in sentence) == advised
    assert sentence.startswith("This detection looks like an object nobody labelled")


def test_a_weak_model_finds_no_unlabelled_object() -> None:
    weak = {place: score / 2 for place, score in FOUND.items()}
    metrics = measured(LABELS, weak | {700.0: 0.45})
    low = {"boat": 0.2}
    cuts = surest_scores(metrics.matches, low)
    assert cuts == {"boat": 0.5}
    assert surest_without_label(metrics, cuts).empty
