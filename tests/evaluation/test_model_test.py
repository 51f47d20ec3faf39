"""Pooled folds: each place once, by its own model's thresholds, as if one model had been tested."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from toy_records import evaluated, model_of_places, save
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.evaluation.compare import compare, compare_runs
from windhover.evaluation.model_test import TestRecord, find_test_record, pool_folds
from windhover.metrics.ground_truth import GroundTruth

FOLD = dict.fromkeys(("ap", "f1", "precision", "recall", "false_alarms_per_km2"))


def part_of(record: TestRecord, scenes: list[str], name: str, threshold: float) -> TestRecord:
    """The test of some scenes alone, at a threshold of its own."""
    truth = record.ground_truth
    return TestRecord(
        name,
        record.matches[record.matches["scene"].isin(scenes)],
        GroundTruth(
            truth.scenes[truth.scenes["scene"].isin(scenes)].reset_index(drop=True),
            truth.objects[truth.objects["scene"].isin(scenes)],
            truth.ignored,
        ),
        {"jet": threshold},
    )


def in_three_folds(record: TestRecord, thresholds: tuple[float, ...]) -> list[TestRecord]:
    scenes = record.ground_truth.scenes["scene"].tolist()
    return [
        part_of(record, scenes[number::3], f"{record.model}-{number}", threshold)
        for number, threshold in enumerate(thresholds)
    ]


def save_kfold(folds: list[TestRecord], folder: Path) -> Path:
    folder.mkdir()
    rows = []
    for number, fold in enumerate(folds):
        (folder / f"fold-{number}").mkdir()
        save(fold, folder / f"fold-{number}" / "reports")
        rows.append({"fold": number, "model": fold.model, "places": [], **FOLD})
    (folder / "kfold.json").write_text(json.dumps({"folds": rows, "summary": {}}))
    return folder


def test_pooled_folds_of_one_model_are_that_model() -> None:
    whole = evaluated(0.8, 1)
    other = evaluated(0.6, 2)
    pooled = pool_folds(in_three_folds(whole, (0.5, 0.5, 0.5)))
    table = compare(pooled, other)
    pd.testing.assert_frame_equal(table, compare(whole, other))
    assert pooled.description.startswith("3 folds of places, models model-1-0, model-1-1")


def test_each_fold_is_judged_at_its_own_thresholds() -> None:
    whole = evaluated(0.8, 1)
    folds = in_three_folds(whole, (0.2, 0.5, 0.9))
    table = compare(pool_folds(folds), whole).set_index("metric")
    n_found = n_reported = 0
    for fold in folds:
        reported = fold.matches[fold.matches["score"] >= fold.thresholds["jet"]]
        n_found += int(reported["is_tp"].sum())
        n_reported += len(reported)
    n_objects = len(whole.ground_truth.objects)
    assert table.loc["recall", "first"] == pytest.approx(n_found / n_objects)
    assert table.loc["precision", "first"] == pytest.approx(n_found / n_reported)
    per_scene = pool_folds(folds).counts_by_scene()
    assert per_scene["reported"].sum() == n_reported
    assert per_scene["scene"].tolist() == whole.ground_truth.scenes["scene"].tolist()


def test_places_of_all_folds_bear_a_verdict_that_one_fold_cannot(tmp_path: Path) -> None:
    objects = np.full(12, 30)
    worse = in_three_folds(model_of_places("worse", objects, 0, skill=0.3), (0.4,) * 3)
    better = in_three_folds(model_of_places("better", objects, 1, skill=0.95), (0.4,) * 3)
    assert (compare(worse[0], better[0])["verdict"] == "too few places").all()
    names = [
        str(save_kfold(worse, tmp_path / "worse")),
        str(save_kfold(better, tmp_path / "better")),
    ]
    lines = compare_runs(*names)
    assert "12 test scenes; paired bootstrap over places" in lines[2]
    assert "(3 folds of places, models worse-0, worse-1, worse-2)" in lines[0]
    assert any(line.split()[0] == "AP" and line.endswith("second is better") for line in lines[5:])


def test_equal_folds_are_mostly_called_equal() -> None:
    rng = np.random.default_rng(5)
    n_wrong = 0
    for trial in range(15):
        objects = rng.poisson(8, 9) + 1
        pooled = [
            pool_folds(in_three_folds(model_of_places("m", objects, seed), (0.35, 0.4, 0.45)))
            for seed in (2 * trial, 2 * trial + 1)
        ]
        n_wrong += compare(*pooled)["verdict"].str.contains("better").any()
    assert n_wrong <= 2


def test_what_all_places_of_a_fold_share_makes_a_comparison_less_sure() -> None:
    """Equal recipes of five trainings, each of which came out better or worse by chance."""
    rng = np.random.default_rng(6)
    objects = rng.poisson(20, 20) + 1
    p_values = []
    for trial in range(10):
        recipes = []
        for number in (0, 1):
            folds = [
                part_of(
                    model_of_places(f"m{number}", objects, 20 * trial + number, skill=skill),
                    [f"s{place:02d}" for place in range(4 * fold, 4 * fold + 4)],
                    f"m{number}-{fold}",
                    0.4,
                )
                for fold, skill in enumerate(expit(rng.normal(0.0, 1.5, 5)))
            ]
            recipes.append(pool_folds(folds))
        as_one_model = [replace(record, folds=()) for record in recipes]
        p_values.append([compare(*pair)["p_value"] for pair in (recipes, as_one_model)])
    of_folds, of_places = np.array(p_values).transpose(1, 0, 2)
    assert (of_folds >= of_places).all()
    assert (of_folds > of_places).mean() > 0.4


def test_a_place_that_two_folds_tested_is_an_error(tmp_path: Path) -> None:
    whole = evaluated(0.8, 1)
    folds = in_three_folds(whole, (0.5,) * 3)
    with pytest.raises(DataError, match="place s00 was tested by two folds, model-1-0 and model-1"):
        pool_folds([folds[0], folds[0]])
    other = TestRecord("x", folds[1].matches, folds[1].ground_truth, {"ship": 0.5})
    with pytest.raises(DataError, match="the folds know different classes: ship and jet"):
        pool_folds([folds[0], other])
    folder = save_kfold(folds, tmp_path / "kfold")
    (folder / "fold-1" / "reports" / "metrics.json").unlink()
    with pytest.raises(MissingFileError, match=r"fold-1/reports/metrics\.json: no such file"):
        find_test_record(str(folder))
    (folder / "kfold.json").write_text('{"folds": [{"fold": 0}], "summary": {}}')
    with pytest.raises(FormatError, match=r"`folds\.0\.model` is missing\. Run windhover kfold"):
        find_test_record(str(folder))
