"""Two models on the same scenes: real differences are shown, chance is not, other scenes fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import windhover.evaluation.compare as compare_module
from toy_records import evaluated, model_of_places, save
from windhover.errors import DataError, MissingFileError
from windhover.evaluation.compare import compare, compare_runs
from windhover.evaluation.model_test import TestRecord, load_test_record
from windhover.metrics.ground_truth import GroundTruth


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


@pytest.mark.parametrize("n_places", [6, 12])
def test_equals_are_called_different_by_any_metric_in_few_trials(
    n_places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_module, "N_BOOTSTRAP", 200)
    rng = np.random.default_rng(n_places)
    n_trials, n_wrong = 40, 0
    for trial in range(n_trials):
        objects = rng.poisson(8, n_places) + 1
        first = model_of_places("one", objects, 2 * trial)
        second = model_of_places("two", objects, 2 * trial + 1)
        n_wrong += compare(first, second)["verdict"].str.contains("better").any()
    assert n_wrong <= 0.05 * n_trials


@pytest.mark.parametrize("n_places", [1, 2, 5])
def test_there_is_no_verdict_with_fewer_than_six_places(n_places: int, tmp_path: Path) -> None:
    objects = np.full(n_places, 30)
    first = model_of_places("one", objects, 0, skill=0.2)
    second = model_of_places("two", objects, 1, skill=0.95)
    table = compare(first, second)
    assert (table["verdict"] == "too few places").all()
    assert table[["low", "high", "p_value"]].isna().all(axis=None)
    lines = compare_runs(str(save(first, tmp_path / "a")), str(save(second, tmp_path / "b")))
    expected = f"{n_places} places: too few places for an interval or a verdict (6 at least)"
    assert expected in lines[2]
    six = np.full(6, 30)
    table = compare(
        model_of_places("one", six, 0, skill=0.2), model_of_places("two", six, 1, skill=0.95)
    )
    assert table.set_index("metric").loc["AP", "verdict"] == "second is better"
    assert table["metric"].iloc[0] == "AP"


def test_a_difference_that_is_unknown_in_the_data_is_not_tested() -> None:
    resampled = np.linspace(-1, 1, 50)
    test = compare_module._less_sure_test
    assert test(np.nan, resampled, None, n_places=6) == {}
    assert test(0.1, np.full(50, np.nan), None, n_places=6) == {}
    assert test(0.1, resampled, None, n_places=6)["p_value"] > 0.05


def test_a_model_that_found_nothing_is_compared(tmp_path: Path) -> None:
    objects = np.full(6, 9)
    first = model_of_places("one", objects, 0)
    nothing = TestRecord("two", first.matches.iloc[:0], first.ground_truth, first.thresholds)
    table = compare(first, nothing).set_index("metric")
    assert table.loc["AP", "verdict"] == table.loc["recall", "verdict"] == "first is better"
    lines = compare_runs(str(save(first, tmp_path / "a")), str(save(nothing, tmp_path / "b")))
    assert any(line.lstrip().startswith("AP ") and "first is better" in line for line in lines)


def test_places_are_counted_not_scenes() -> None:
    objects = np.full(36, 8)
    first = model_of_places("one", objects, 0, skill=0.3)
    second = model_of_places("two", objects, 1, skill=0.95)
    for record in (first, second):
        record.ground_truth.scenes["place"] = [f"p{k % 4}" for k in range(36)]
    assert (compare(first, second)["verdict"] == "too few places").all()


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [True, False, False]),  # 0.01 <= 0.05 / 3; 0.03 > 0.05 / 2
        ([0.016, 0.025, 0.05], [True, True, True]),
        ([np.nan, 0.025, 0.03], [False, True, True]),
        ([0.02, 0.02, 0.02], [False, False, False]),
        ([], []),
    ],
)
def test_holm_rejects_step_by_step(p_values: list[float], expected: list[bool]) -> None:
    assert compare_module.holm_rejections(np.array(p_values)).tolist() == expected
