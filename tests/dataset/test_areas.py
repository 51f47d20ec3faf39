"""Areas that name their scene: of that one alone, which scenes without georeference need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from windhover.dataset.areas import read_areas
from windhover.imagery.rasters import inspect_scene


@pytest.mark.parametrize(
    ("scene", "expected"), [("a", ["a"]), (None, ["a", "b"]), ("sheet 7", ["a", "b"])]
)
def test_an_area_is_of_the_scene_that_it_names(
    make_scene: Any, tmp_path: Path, scene: str | None, expected: list[str]
) -> None:
    infos = [inspect_scene(make_scene(f"{name}.tif", crs=None), 2.0) for name in "ab"]
    table = geopandas.GeoDataFrame(
        {"role": ["complete"], "scene": [scene]}, geometry=[shapely.box(10, -60, 50, -20)]
    )
    table.to_file(tmp_path / "areas.gpkg", layer="areas")
    found = read_areas(tmp_path / "areas.gpkg", infos)
    assert list(found["scene"]) == expected
    assert found.geometry.iloc[0].bounds == pytest.approx((5, 10, 25, 30))
