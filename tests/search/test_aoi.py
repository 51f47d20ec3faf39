"""The area to be searched: which layer of a file it is, and what is no area."""

from __future__ import annotations

import warnings
from pathlib import Path

import geopandas
import pytest
import shapely

from windhover.errors import DataError, FormatError
from windhover.maps.layer_style import add_style
from windhover.search.aoi import read_aoi

AREA = geopandas.GeoDataFrame({"name": ["here"]}, geometry=[shapely.box(0, 0, 30, 20)], crs="EPSG:32631")


def test_a_table_of_styles_beside_the_layer_is_passed_over_without_a_warning(tmp_path: Path) -> None:
    AREA.to_file(tmp_path / "found.gpkg", layer="detections")
    add_style(tmp_path / "found.gpkg", "detections")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shapes = read_aoi(tmp_path / "found.gpkg")
    assert shapes.iloc[0].equals(AREA.geometry.iloc[0])


def test_of_several_layers_one_must_be_called_aoi(tmp_path: Path) -> None:
    for layer, size in (("one", 1), ("two", 2)):
        AREA.assign(geometry=AREA.scale(size, size)).to_file(tmp_path / "a.gpkg", layer=layer)
    with pytest.raises(FormatError, match="has the layers one, two and none called 'aoi'"):
        read_aoi(tmp_path / "a.gpkg")
    AREA.assign(geometry=AREA.scale(3, 3)).to_file(tmp_path / "a.gpkg", layer="aoi")
    assert read_aoi(tmp_path / "a.gpkg").area.tolist() == [9 * 600]


def test_points_alone_are_no_area(tmp_path: Path) -> None:
    AREA.assign(geometry=AREA.centroid).to_file(tmp_path / "a.gpkg")
    with pytest.raises(DataError, match=r"a\.gpkg: holds no polygon"):
        read_aoi(tmp_path / "a.gpkg")
