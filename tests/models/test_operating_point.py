"""The record of an operating point: written, read back, read from old files, or refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from windhover.errors import FormatError, MissingFileError
from windhover.models.operating_point import (
    ChosenOn,
    ChosenRule,
    ClassOperatingPoint,
    CurvePoint,
    OperatingPoint,
)

SEARCH = {"stride_px": 8, "scales": [1.0], "peak_tta": "recenter", "rescore_min_logit": -1.0}


def make_point() -> OperatingPoint:
    row = {"threshold": 0.9, "recall": 0.5, "precision": 1.0, "false_alarms_per_km2": None}
    return OperatingPoint(
        rule=ChosenRule(name="max_fbeta", value=1.0),
        per_class={
            "ship": ClassOperatingPoint(
                threshold=0.25,
                interval=(0.2, 0.5),
                note="few objects",
                precision=0.7,
                recall=0.6,
                f1=0.65,
                false_alarms_per_km2=1.5,
            )
        },
        chosen_on=ChosenOn(scenes=3, objects=21, km2=7.25, inference_precision="int8"),
        search=SEARCH,
        curve=(CurvePoint(class_name="ship", tp=4, fp=1, **row),),
    )


def old_file() -> dict[str, Any]:
    """Return the content of a file as written before the keys were renamed."""
    return {
        "rule": {"name": "max_fbeta", "value": 1.0},
        "per_class": {
            "ship": {
                "threshold": 0.25,
                "interval": [0.2, 0.5],
                "met": True,
                "note": "few objects",
                "precision": 0.7,
                "recall": 0.6,
                "f1": 0.65,
                "false_alarms_per_km2": 1.5,
            }
        },
        "chosen_on": {
            "split": "val",
            "scenes": 3,
            "objects": 21,
            "km2": 7.25,
            "intervals_drawn_over": None,
            "match": None,
            "precision": "int8",
        },
        "search": {"stride_px": 8, "scales": [1.0], "peak_looks": 1, "peak_looks_from": -1.0},
        "curve": [
            {
                "class": "ship",
                "threshold": 0.9,
                "recall": 0.5,
                "precision": 1.0,
                "false_alarms_per_km2": None,
                "found": 4,
                "false_alarms": 1,
            }
        ],
    }


def write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    make_point().save(tmp_path / "point.json")
    assert OperatingPoint.load(tmp_path / "point.json", ["ship"]) == make_point()
    assert make_point().thresholds() == {"ship": 0.25}


def test_the_file_is_the_old_one_but_for_renamed_keys(tmp_path: Path) -> None:
    make_point().save(tmp_path / "point.json")
    text = json.dumps(old_file(), indent=2) + "\n"
    for old, new in (
        ('"intervals_drawn_over"', '"bootstrap_unit"'),
        ('"precision": "int8"', '"inference_precision": "int8"'),
        ('"peak_looks": 1', '"peak_tta": "recenter"'),
        ("peak_looks_from", "rescore_min_logit"),
        ('"found"', '"tp"'),
        ('"false_alarms"', '"fp"'),
    ):
        text = text.replace(old, new)
    assert (tmp_path / "point.json").read_text() == text


def test_old_keys_are_read_with_one_logged_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "point.json", old_file())
    with caplog.at_level(logging.WARNING):
        assert OperatingPoint.load(path, ["ship"]) == make_point()
    assert len(caplog.messages) == 1
    for words in (
        "point.json",
        "search.peak_looks is peak_tta",
        "precision is inference_precision",
    ):
        assert words in caplog.text


def test_a_file_of_today_is_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_point().save(tmp_path / "point.json")
    OperatingPoint.load(tmp_path / "point.json")
    assert not caplog.messages


@pytest.mark.parametrize(("looks", "peak_tta"), [(0, "none"), (1, "recenter"), (8, "d4")])
def test_old_counts_of_looks_are_named(tmp_path: Path, looks: int, peak_tta: str) -> None:
    path = write(tmp_path / "point.json", old_file() | {"search": {"peak_looks": looks}})
    assert OperatingPoint.load(path).search == {"peak_tta": peak_tta}


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "point.json", old_file() | {"mood": "good"})
    assert OperatingPoint.load(path) == make_point()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "`the file`: Input should be an object, got"),
        ({}, "`per_class` is missing"),
        ({"per_class": {}}, "`per_class` must name the classes ship"),
        ({"per_class": {"boat": {"threshold": 0.5}}}, "`per_class` must name the classes ship"),
        ({"per_class": {"ship": {}}}, r"`per_class\.ship\.threshold` is missing"),
        ({"per_class": {"ship": 0.5}}, r"`per_class\.ship`: Input should be an object, got 0\.5"),
        (
            {"per_class": {"ship": {"threshold": 7}}},
            r"`per_class\.ship\.threshold`: must be in 0\.\.1, got 7",
        ),
        (
            {"per_class": {"ship": {"threshold": "0.5"}}},
            r"`per_class\.ship\.threshold`: Input should be a valid number, got \"0\.5\"",
        ),
        (
            {"per_class": {"ship": {"threshold": float("nan")}}},
            r"`per_class\.ship\.threshold`: Input should be a finite number, got NaN",
        ),
        (
            old_file() | {"search": "fast"},
            '`search`: Input should be an object, got "fast"',
        ),
        (
            old_file() | {"chosen_on": {"scenes": "three"}},
            r"`chosen_on\.scenes`: Input should be a valid integer, got \"three\"",
        ),
        (
            old_file() | {"curve": [{"class": "ship"}]},
            r"`curve\.0\.threshold` is missing",
        ),
        (
            old_file() | {"curve": [*old_file()["curve"], 7]},
            r"`curve\.1`: Input should be an object, got 7",
        ),
    ],
)
def test_a_damaged_file_is_named_with_key_and_rule(
    tmp_path: Path, values: Any, sentence: str
) -> None:
    path = write(tmp_path / "point.json", values)
    with pytest.raises(FormatError, match=rf"point\.json: {sentence}.*\. Run evaluate again\."):
        OperatingPoint.load(path, ["ship"])


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"point\.json: no such file.*Run evaluate again"):
        OperatingPoint.load(tmp_path / "point.json")
    (tmp_path / "point.json").write_text("{")
    with pytest.raises(FormatError, match=r"not valid JSON.*Run evaluate again"):
        OperatingPoint.load(tmp_path / "point.json")
