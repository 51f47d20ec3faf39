"""What `windhover init` measures is what the scenes stage will learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conftest import MakeScene
from windhover.project.measure import measure
from windhover.project.request import ProjectRequest


def test_labels_without_data_are_not_measured(tmp_path: Path, make_scene: MakeScene) -> None:
    data = np.random.default_rng(2).integers(1, 250, (3, 150, 210)).astype(np.uint8)
    data[:, :, 120:] = 0
    make_scene("s/half.tif", data=data, nodata=0)
    seen = [f"half,{left},30,{left + 8},40,a" for left in (10, 30, 50, 70)]
    unseen = ["half,150,30,200,60,a"]
    rows = ["image,xmin,ymin,xmax,ymax,class", *seen, *unseen]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    request = ProjectRequest(
        tmp_path / "project", scenes=tmp_path / "s", labels=tmp_path / "labels.csv"
    )
    record = measure(request).record
    assert record.classes == {"a": 4}
    assert record.length_m is not None
    assert record.length_m.p95 < 13  # that of the unseen one is 62.5
    assert record.notes[0] == (
        "1 label lies where its raster has no data; it is left out: half (1)"
    )
