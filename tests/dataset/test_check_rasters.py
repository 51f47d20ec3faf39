"""Check of rasters: a large one that is damaged is noticed by its samples."""

from __future__ import annotations

import pytest

from conftest import MakeScene
from windhover.dataset import check_rasters
from windhover.errors import FormatError
from windhover.imagery.rasters import inspect_scene


def test_a_large_raster_that_was_cut_short_is_noticed(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(
        "cut.tif", shape_hw=(2400, 3200), bands=1, tiled=True, blockxsize=64, blockysize=64
    )
    path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.setattr(check_rasters, "MAX_WHOLE_PX", 50_000)
    with pytest.raises(
        FormatError, match=r"cut\.tif: cannot read rows 2336 to 2400 and columns 3136 to 3200"
    ):
        check_rasters.check_pixels([inspect_scene(path)])
