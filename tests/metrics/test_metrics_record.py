"""The record of `metrics.json`: equal after writing and reading, and files of earlier versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toy_evaluation import evaluation_result, record_of
from windhover.errors import FormatError
from windhover.metrics.calibration import detection_reliability
from windhover.metrics.evaluation_result import describe_intervals
from windhover.metrics.metrics_record import MetricsRecord


def record_values() -> dict[str, Any]:
    estimate = {"value": 0.5, "low": 0.25, "high": None}
    counts = {"objects": 4, "found": 2}
    reported = {"reported": 3, "false_alarms": 1}
    scenes = {
        "ap": estimate,
        "scenes": 2,
        "places": 1,
        "km2": 1.5,
        **counts,
        **reported,
        "bootstrap_unit": "scenes",
        "by_place": {
            "p": {
                **counts,
                **reported,
                "precision": None,
                "recall": 0.5,
                "false_alarms_per_km2": 1.0,
            }
        },
        "by_size": {"0 to 20 m": {**counts, "recall": 0.5}},
    }
    return {
        "model": "abc",
        "scenes": {"test": scenes},
        "ap_by_threshold": {"center_size_mean": 0.75, "box_iou_50": None},
        "operating_point": {"jet": {"threshold": estimate, "met": False}},
        "calibration": {"window_bias": {"jet": -1.0}, "ece_before": {"val": 0.125}},
        "notes": ["a note"],
    }


def test_a_record_is_equal_after_writing_and_reading(tmp_path: Path) -> None:
    record = MetricsRecord.model_validate(record_values())
    record.save(tmp_path / "metrics.json")
    assert MetricsRecord.load(tmp_path / "metrics.json") == record
    assert record.to_json()["scenes"]["test"]["by_place"]["p"]["objects"] == 4


def test_classes_are_written_only_if_there_are_several() -> None:
    values = record_values()
    assert "classes" not in MetricsRecord.model_validate(values).to_json()["scenes"]["test"]
    values["scenes"]["test"]["classes"] = {"jet": {"ap": {"value": 1.0}}}
    written = MetricsRecord.model_validate(values).to_json()["scenes"]["test"]["classes"]
    assert written == {"jet": {"ap": {"value": 1.0, "low": None, "high": None}}}


def test_keys_of_earlier_versions_are_read_with_one_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = record_values()
    new = MetricsRecord.model_validate(values)
    values["ap_by_nearness"] = {"centre_sizes_mean": 0.75, "box_iou_50": None}
    del values["ap_by_threshold"]
    values["scenes"]["test"]["intervals_drawn_over"] = "scenes"
    del values["scenes"]["test"]["bootstrap_unit"]
    values["calibration"]["gap_before"] = values["calibration"].pop("ece_before")
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    assert MetricsRecord.load(tmp_path / "metrics.json") == new
    assert len(caplog.messages) == 1
    assert "gap_before is ece_before" in caplog.messages[0]


def test_a_file_without_a_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(FormatError, match=r"metrics\.json: `model` is missing"):
        MetricsRecord.load(tmp_path / "metrics.json")


def rounded(value: float | None) -> float:
    return pytest.approx(value, rel=1e-5)


def test_a_record_holds_what_was_measured() -> None:
    result = evaluation_result(n_scenes=7)
    record = record_of(result).to_json()
    table = result.scenes["test"].per_scene
    test = record["scenes"]["test"]
    assert (test["scenes"], test["places"]) == (7, 7)
    for name in ("objects", "reported", "found", "false_alarms"):
        assert test[name] == table[name].sum()
        assert sum(place[name] for place in test["by_place"].values()) == table[name].sum()
    assert test["km2"] == rounded(table["km2"].sum())
    assert sum(band["objects"] for band in test["by_size"].values()) == table["objects"].sum()
    assert sum(band["found"] for band in test["by_size"].values()) == table["found"].sum()
    half_width = ((table["expected_high"] - table["expected"]) ** 2).sum() ** 0.5
    total = table["expected"].sum()
    assert test["expected"]["value"] == rounded(total)
    assert test["expected"]["low"] == rounded(total - half_width)
    assert test["expected"]["high"] == rounded(total + half_width)


def test_thresholds_keep_their_intervals_apart_from_what_they_reach() -> None:
    result = evaluation_result(n_scenes=7)
    points = record_of(result).to_json()["operating_point"]
    for name, chosen in result.chosen_thresholds.items():
        threshold = points[name]["threshold"]
        assert threshold["value"] == rounded(chosen.threshold)
        assert (threshold["low"], threshold["high"]) == (rounded(chosen.low), rounded(chosen.high))
        assert threshold["low"] < threshold["high"]
        on_val = points[name]["on_val"]
        for key in ("precision", "recall", "f1", "false_alarms_per_km2"):
            assert on_val[key] == rounded(getattr(chosen, key))


def test_errors_of_calibration_stand_before_and_after() -> None:
    result = evaluation_result(n_scenes=7)
    for split in ("val", "test"):
        matches = result.scenes[split].matches
        matches["logit"] = matches["logit"] * 3
    calibration = record_of(result).to_json()["calibration"]
    for split in ("val", "test"):
        matches = result.scenes[split].matches
        for key, is_after in (("before", False), ("after", True)):
            table = detection_reliability(matches, calibrated=is_after)
            assert calibration[f"ece_{key}"][split] == rounded(table.ece)
            assert calibration[f"brier_{key}"][split] == rounded(table.brier)
        assert calibration["brier_before"][split] != calibration["brier_after"][split]


def test_windows_have_their_confusion() -> None:
    result = evaluation_result()
    windows = record_of(result).to_json()["windows"]["val"]
    for name, metrics in result.windows["val"].items():
        tp, fp, fn, tn = metrics.confusion
        assert len({tp, fp, fn, tn}) == 4
        assert windows[name]["confusion"] == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
        assert (windows[name]["positives"], windows[name]["negatives"]) == (50, 150)


def test_one_split_with_scenes_is_enough_to_have_some() -> None:
    result = evaluation_result()
    assert result.has_scenes
    nothing = evaluation_result(n_scenes=0)
    assert not nothing.has_scenes
    both = replace(result, scenes={"val": nothing.scenes["val"], "test": result.scenes["test"]})
    assert both.has_scenes


def test_intervals_are_told_with_what_they_are_over_or_why_there_are_none() -> None:
    many = evaluation_result(n_scenes=6).scenes["test"]
    assert describe_intervals(many) == "intervals over places"
    few = evaluation_result(n_scenes=5).scenes["test"]
    assert describe_intervals(few) == "too few places for an interval (6 at least)"
