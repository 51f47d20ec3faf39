"""What `windhover detect` is asked for: options in words, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from windhover.detection.detect_request import (
    DetectRequest,
    parse_bands,
    parse_scales,
    score_map_path,
)
from windhover.errors import ParameterError
from windhover.imagery.rasters import inspect_scene


@pytest.mark.parametrize("text", ["", "1,", ",2", "1,,2"])
def test_bands_with_nothing_between_commas_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="--bands must be bands with commas between"):
        parse_bands(text)


@pytest.mark.parametrize("text", ["", "1,", "a", "0", "1,-2", "nan", "1000"])
def test_other_scales_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"--scales must be numbers in 0\.1\.\.10"):
        parse_scales(text)


def test_score_maps_stay_in_their_folder_whatever_a_scene_is_called(
    make_scene: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "scores"
    scenes = (str(make_scene("a.tif")),)
    request = DetectRequest(scenes, tmp_path / "model", tmp_path / "a.gpkg", scores=folder)
    info = inspect_scene(scenes[0])
    assert score_map_path(request, info) == folder / "a.tif"
    for name in ("../../evil", "/tmp/evil", "S2/A"):
        path = score_map_path(request, replace(info, name=name))
        assert path is not None
        assert path.resolve().parent == folder.resolve()
