"""The table that ends `make repro`, and what it shows when something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from windhover.errors import FormatError, MissingFileError
from windhover.export.detection_summary import DetectionSummary, TotalSummary
from windhover.run_stage import log_seconds
from windhover.summary import summary_lines


def estimate(
    value: float | None, low: float | None = None, high: float | None = None
) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    test: dict[str, Any] = {
        name: estimate(0.9, 0.85, 0.95) for name in ("ap", "recall", "f1", "false_alarms_per_km2")
    }
    test |= {
        "precision": estimate(None),
        "scenes": 36,
        "places": 4,
        "objects": 40,
        "reported": 38,
        "found": 36,
    }
    test |= {"false_alarms": 2, "bootstrap_unit": "scenes", "km2": 14.7}
    metrics = {
        "model": "0123456789abcdef",
        "scenes": {"test": test},
        "operating_point": {"aircraft": {"threshold": estimate(0.41, 0.3, 0.6), "met": True}},
        "notes": ["aircraft: rule `recall_at_least 1` cannot be met."],
    }
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/metrics.json").write_text(json.dumps(metrics))
    total = TotalSummary(scenes=46, objects=123, windows_searched=9, windows_skipped=0, km2=51.234)
    detections = DetectionSummary(
        model="0123456789abcdef", thresholds={"aircraft": 0.41}, search={}, total=total, scenes=()
    )
    detections.save(tmp_path / "data/detections/summary.json")
    log = tmp_path / ".windhover/stage_seconds.jsonl"
    for stage, seconds in (("train", 200.0), ("scenes", 2.5), ("train", 240.25)):
        log_seconds(stage, seconds, log)
    (tmp_path / "mlflow.db").touch()
    return tmp_path


def test_it_shows_detections_metrics_seconds_and_files(project: Path) -> None:
    text = "\n".join(summary_lines(project))
    assert "123 in 46 scenes, 51.2 km2" in text
    assert "38 detections of 40 objects: 36 true, 2 false positives" in text
    assert "36 scenes of 4 places; 95 % intervals over scenes" in text
    assert "  AP                    0.900 [0.850, 0.950]" in text
    assert "  precision             undefined\n" in text
    assert "0.410 [0.300, 0.600] chosen on val" in text
    assert "note: aircraft: rule `recall_at_least 1` cannot be met." in text
    assert "  experiments           mlflow.db" in text
    assert "detections.gpkg" not in text  # it was not written


def test_stages_are_in_their_order_with_their_last_seconds(project: Path) -> None:
    lines = summary_lines(project)
    start = lines.index("seconds, last run of each stage")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["scenes", "2.5"],
        ["train", "240.2"],
        ["together", "242.8"],
    ]


def test_before_any_stage_ran_it_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        MissingFileError, match=r"metrics\.json: no such file\. Run `dvc repro` first"
    ):
        summary_lines(tmp_path)


def test_a_broken_file_is_named(project: Path) -> None:
    (project / "reports/metrics.json").write_text("{")
    with pytest.raises(FormatError, match=r"metrics\.json: not valid JSON"):
        summary_lines(project)


def test_without_a_search_the_metrics_on_test_are_shown(project: Path) -> None:
    (project / "data/detections/summary.json").unlink()
    assert "38 detections of 40" in "\n".join(summary_lines(project))


PICTURES = "reports/" + ", ".join(f"picture-{i}.png" for i in range(6))


def test_what_a_person_opens_is_listed_by_folder_and_no_line_is_wide(project: Path) -> None:
    names = ["data/map/map.html", "data/map/detections.gpkg", "data/map/stac/collection.json"]
    names += ["data/map/counts_by_scene.csv", "data/scenes/report.html", "data/train/curves.png"]
    names += ["reports/index.html", *(f"reports/picture-{i}.png" for i in range(6))]
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    lines = summary_lines(project)
    files = lines[lines.index("files") :]
    text = " ".join(" ".join(files).split())
    assert f"report reports/index.html pictures of it {PICTURES} tables of it" in text
    assert "map for programs data/map/stac/collection.json map as tables" in text
    assert all(Path(name).name in text for name in names)
    assert "  map in a browser      data/map/map.html" in files
    assert max(map(len, lines)) <= 100


def test_a_long_note_is_wrapped(project: Path) -> None:
    path = project / "reports/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["notes"] = ["Label scenes of more places. " * 8]
    path.write_text(json.dumps(metrics))
    lines = summary_lines(project)
    first = next(i for i, line in enumerate(lines) if line.startswith("  note: Label"))
    assert lines[first + 1].startswith("        ")
    assert max(map(len, lines)) <= 100
