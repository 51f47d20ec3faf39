"""DOTA corners in px."""

from __future__ import annotations

from pathlib import Path

import shapely

from windhover.labels.formats import read_labels


def test_dota_corners_are_px(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "imagesource:GoogleEarth\ngsd:0.14\n"
        "10 20 30 20 30 50 10 50 plane 0\n0 0 4 0 4 4 0 4 ship 1\n"
    )
    labels = read_labels(tmp_path / "a.txt")
    assert shapely.bounds(labels.geometry).tolist() == [[10, 20, 30, 50], [0, 0, 4, 4]]
    assert labels.class_name.tolist() == ["plane", "ship"]
    assert labels.space == "px"
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]
