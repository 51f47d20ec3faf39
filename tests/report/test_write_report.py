"""The files of the report: complete, the same for the same result, readable by tools."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from toy_evaluation import evaluation_result
from windhover.rendering import plot_style
from windhover.report.text_summary import summary_lines
from windhover.report.write_report import write_report

COLUMNS = {
    "pr_scenes": ["recall", "precision", "threshold"],
    "froc_scenes": ["false_alarms_per_km2", "recall", "threshold"],
    "pr_windows": ["class", "recall", "precision", "precision_true", "threshold"],
    "roc_windows": ["class", "false_alarm_rate", "recall", "threshold"],
    "reliability": ["calibration", "split", "confidence", "accuracy", "n_scores"],
    "ap_by_threshold": ["match_by", "threshold", "ap"],
    "size_bands": ["from_m", "to_m", "objects", "found", "recall", "split"],
}
PICTURES = {
    "errors", "explained", "froc_scenes", "operating_point", "patches", "pr_scenes", "reliability",
    "size_bands", "windows",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plot_style, "DPI", 30)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "covered_shares.png").touch()  # of an earlier report, on coverage
    write_report(evaluation_result(), tmp_path / "a")
    return tmp_path / "a"


def test_tables_have_their_columns(folder: Path) -> None:
    for name, columns in COLUMNS.items():
        assert pd.read_csv(folder / f"{name}.csv").columns.tolist() == columns
    assert len(pd.read_csv(folder / "per_scene.csv")) == 8


def test_pictures_can_be_opened(folder: Path) -> None:
    assert {path.stem for path in folder.glob("*.png")} == PICTURES
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.verify()


def test_what_compare_needs_is_kept(folder: Path) -> None:
    matches = pd.read_parquet(folder / "matches.parquet")
    pd.testing.assert_frame_equal(matches, evaluation_result().detections)
    truth = pd.read_parquet(folder / "ground_truth.parquet")
    assert truth["objects"].sum() == 4 * 2 * 6
    assert matches["is_tp"].any()


def test_metrics_agree_with_the_tables(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())["scenes"]["test"]
    scenes = pd.read_csv(folder / "per_scene.csv").query("split == 'test'")
    assert metrics["found"] == scenes["found"].sum()
    assert metrics["false_alarms"] == scenes["false_alarms"].sum()


def test_the_same_result_gives_the_same_bytes(folder: Path) -> None:
    again = folder.with_name("b")
    write_report(evaluation_result(), again)
    names = {path.name for path in folder.iterdir()}
    assert names == {path.name for path in again.iterdir()}
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_the_headline_has_intervals_and_notes() -> None:
    few = summary_lines(evaluation_result(n_scenes=4))
    assert few[0].startswith("test: 48 objects in 4 scenes of 4 places, 4 km²")
    assert few[0].endswith("too few places for an interval (6 at least)")
    assert not any("[" in line for line in few[1:6])
    lines = summary_lines(evaluation_result(n_scenes=6))
    assert lines[0].endswith("6 scenes of 6 places, 6 km²; intervals over places")
    assert all("[" in line for line in lines[1:6])
    assert lines[-1] == "note: a note of <the user>."


def test_without_scenes_the_headline_is_of_patches() -> None:
    lines = summary_lines(evaluation_result(n_scenes=0))
    assert lines[0] == "test: no labelled scene; metrics on patches"
    assert lines[1].startswith("  aircraft: 50 patches with it, 150 without; AP 0.")
