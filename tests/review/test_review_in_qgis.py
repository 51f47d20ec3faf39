"""A review file in QGIS itself: it opens with its form, is edited and saved, and is applied."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from project import ROOT
from toy_results import searched
from windhover.export.write_detections import write_detections
from windhover.review.apply_review import ApplyRequest, apply_review
from windhover.review.make_review import ReviewRequest, make_review
from windhover.review.review_record import read_record

PYTHON = "/usr/bin/python3"  # that QGIS is installed for
MOVED_PX = (4.0, 2.0)  # by `--move`, 5 m east and 2.5 m south


def can_run_qgis() -> bool:
    command = [PYTHON, "-c", "import qgis.core, qgis.gui"]
    return (
        shutil.which(PYTHON) is not None
        and subprocess.run(command, capture_output=True, env={}, check=False).returncode == 0
    )


@pytest.mark.slow
def test_qgis_shows_the_form_and_what_it_saves_is_applied(make_scene: Any, tmp_path: Path) -> None:
    if not can_run_qgis():
        pytest.skip("needs QGIS and its Python: apt-get install qgis python3-qgis")
    gray = np.full((3, 150, 210), 90, np.uint8)
    table, summary = searched([make_scene(data=gray)], (50, 60, 10, 20), (150, 40, 12, 12))
    write_detections(table, summary, tmp_path / "detections.gpkg")
    path = tmp_path / "review.gpkg"
    make_review(tmp_path / "detections.gpkg", ReviewRequest(output=path, budget=4, n_areas=1))
    script = ROOT / "docs/images/qgis_review.py"
    command = [PYTHON, str(script), str(path), str(tmp_path / "form.png"), "--answer", "--move"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True, env={})
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["valid"] == [True] * 4
    assert seen["rows"] == {"review": 2, "labels": 1, "areas": 1, "scenes": 1}
    assert seen["widget"] == "ValueMap"
    assert seen["project_read"]
    assert seen["project"] == [True] * 5, "four layers over the raster"
    assert seen["saved"] == [True] * 3
    assert {"question", "score", "row_id"} <= set(seen["read_only"])
    assert not {"verdict", "other_class", "reviewer", "comment"} & set(seen["read_only"])
    form = np.asarray(Image.open(tmp_path / "form.png").convert("RGB"), np.int64)
    is_gray = (np.abs(form - 90) < 6).all(axis=-1)
    assert is_gray.sum() > 50_000, "the form shows the picture of the detection"
    is_box = (np.abs(form - [255, 190, 0]) < 60).all(axis=-1)
    assert is_box.sum() > 50, "with its box"

    apply_review(ApplyRequest([path], root=tmp_path / "labels"))
    document = json.loads((tmp_path / "labels/v001/labels.json").read_text())
    assert [entry["name"] for entry in document["categories"]] == ["plane"]
    labels = {label["label_id"]: label for label in document["annotations"]}
    first, second = read_record(path).rows
    left, top, *_ = first.box
    moved = labels[f"d-{first.id}"]
    assert moved["bbox"][:2] == pytest.approx([left + MOVED_PX[0], top + MOVED_PX[1]], abs=1e-4)
    assert labels[f"d-{second.id}"]["provenance"]["comment"] == "in an area declared complete"
    (sampled,) = [label for name, label in labels.items() if not name.startswith("d-")]
    assert sampled["bbox"] == pytest.approx([105 - 6.4, 75 - 6.4, 12.8, 12.8], abs=1e-4)
