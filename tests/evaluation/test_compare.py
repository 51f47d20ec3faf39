"""Two models on the same scenes: real differences are shown, chance is not, other scenes fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from windhover.errors import DataError, MissingFileError
from windhover.evaluation.compare import (
    TestRecord,
    compare,
    compare_runs,
    load_test_record,
)
from windhover.metrics.ground_truth import GroundTruth

SCENES = [f"s{k:02d}" for k in range(40)]


def evaluated(skill: float, seed: int, ground_seed: int = 0, threshold: float = 0.5) -> TestRecord:
    """A model that finds each object with the chance `skill`, and scores alarms low."""
    world, rng = np.random.default_rng(ground_seed), np.random.default_rng(seed)
    rows, objects = [], []
    for scene in SCENES:
        number = int(world.integers(0, 8))
        objects += [(scene, "jet")] * number
        found = rng.random(number) < skill
        rows += [(scene, "jet", float(score), True) for score in rng.beta(6, 3, found.sum())]
        rows += [
            (scene, "jet", float(score), False) for score in rng.beta(3, 6, rng.integers(0, 5))
        ]
    scenes = pd.DataFrame({"scene": SCENES, "place": SCENES, "km2": 0.5})
    matches = pd.DataFrame(rows, columns=["scene", "class", "score", "is_tp"]).sort_values(
        "score", ascending=False
    )
    ground_truth = GroundTruth(
        scenes,
        pd.DataFrame(objects, columns=["scene", "class"]),
        pd.DataFrame({"scene": [], "geometry": []}),
    )
    return TestRecord(
        f"model-{seed}", matches.assign(ignored=False), ground_truth, {"jet": threshold}
    )


def save(model: TestRecord, folder: Path) -> Path:
    folder.mkdir()
    model.matches.drop(columns="ignored").to_parquet(folder / "matches.parquet")
    counts = (
        model.ground_truth.objects.groupby(["scene", "class"])
        .size()
        .rename("objects")
        .reset_index()
    )
    rows = model.ground_truth.scenes.merge(counts, on="scene", how="left")
    rows.assign(objects=rows["objects"].fillna(0).astype(int)).to_parquet(
        folder / "ground_truth.parquet"
    )
    points = {name: {"threshold": {"value": value}} for name, value in model.thresholds.items()}
    (folder / "metrics.json").write_text(
        json.dumps({"model": model.model, "operating_point": points})
    )
    return folder


def test_a_real_difference_is_shown_both_ways_round() -> None:
    worse, better = evaluated(0.6, 1), evaluated(0.95, 2)
    there = compare(worse, better).set_index("metric")
    back = compare(better, worse).set_index("metric")
    assert there.loc["AP", "verdict"] == "second is better"
    assert back.loc["AP", "verdict"] == "first is better"
    assert there.loc["AP", "difference"] == pytest.approx(-back.loc["AP", "difference"])
    assert there.loc["AP", "low"] == pytest.approx(-back.loc["AP", "high"])
    assert there.loc["AP", "low"] <= there.loc["AP", "difference"] <= there.loc["AP", "high"]
    assert there.loc["recall", "first"] < there.loc["recall", "second"]


def test_a_model_does_not_differ_from_itself() -> None:
    table = compare(evaluated(0.8, 3), evaluated(0.8, 3))
    assert (table["difference"] == 0).all()
    assert (table["verdict"] == "no difference shown").all()


def test_equal_skill_mostly_shows_no_difference() -> None:
    verdicts = [
        compare(evaluated(0.8, 10 + k), evaluated(0.8, 50 + k))
        .set_index("metric")
        .loc["AP", "verdict"]
        for k in range(8)
    ]
    assert verdicts.count("no difference shown") >= 6


def test_fewer_alarms_are_better() -> None:
    loud, quiet = evaluated(0.9, 5, threshold=0.1), evaluated(0.9, 5, threshold=0.6)
    table = compare(loud, quiet).set_index("metric")
    assert table.loc["false alarms per km2", "difference"] < 0
    assert table.loc["false alarms per km2", "verdict"] == "second is better"
    assert table.loc["AP", "verdict"] == "no difference shown"


def test_folders_of_reports_are_read_and_printed(tmp_path: Path) -> None:
    first, second = (
        save(evaluated(0.6, 1), tmp_path / "a"),
        save(evaluated(0.95, 2), tmp_path / "b"),
    )
    again = load_test_record(first)
    pd.testing.assert_frame_equal(
        compare(again, load_test_record(second)), compare(evaluated(0.6, 1), evaluated(0.95, 2))
    )
    lines = compare_runs(str(first), str(second))
    assert "40 test scenes; paired bootstrap over places, 2000 resamples" in lines[2]
    assert any(
        line.lstrip().startswith("AP") and line.endswith("second is better") for line in lines
    )


def test_other_scenes_and_other_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="different labels of the same scenes"):
        compare(evaluated(0.8, 1), evaluated(0.8, 1, ground_seed=9))
    other = evaluated(0.8, 1)
    fewer = GroundTruth(
        other.ground_truth.scenes.iloc[1:], other.ground_truth.objects, other.ground_truth.ignored
    )
    with pytest.raises(DataError, match=r"different scenes \(s00 is in one only\)"):
        compare(evaluated(0.8, 1), TestRecord("x", other.matches, fewer, other.thresholds))
    none = GroundTruth(
        other.ground_truth.scenes.iloc[:0],
        other.ground_truth.objects.iloc[:0],
        other.ground_truth.ignored,
    )
    of_patches = save(
        TestRecord("x", other.matches.iloc[:0], none, other.thresholds), tmp_path / "patches"
    )
    with pytest.raises(
        DataError,
        match="patches: this model was tested on patches alone, and models are compared on",
    ):
        compare_runs(str(save(other, tmp_path / "scenes")), str(of_patches))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"matches\.parquet: no such file"):
        compare_runs(str(tmp_path / "empty"), str(tmp_path / "empty"))


def test_reports_of_earlier_versions_are_read_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(evaluated(0.8, 1), tmp_path / "old")
    new = load_test_record(folder)
    assert not caplog.messages
    matches = pd.read_parquet(folder / "matches.parquet").rename(columns={"is_tp": "hit"})
    matches.to_parquet(folder / "judged.parquet")
    (folder / "matches.parquet").unlink()
    (folder / "ground_truth.parquet").rename(folder / "ground.parquet")
    old = load_test_record(folder)
    pd.testing.assert_frame_equal(old.matches, new.matches)
    assert old.thresholds == new.thresholds
    assert len(caplog.messages) == 2
    assert "judged.parquet: read as matches.parquet of an earlier version" in caplog.messages[0]
