"""The record of `metrics.json`: equal after writing and reading, and files of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from windhover.errors import FormatError
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
