"""The area to be searched: which layer of a file it is, and what is no area."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
import shapely.affinity

from conftest import MakeScene
from windhover.errors import DataError, FormatError
from windhover.export.qgis_style import add_style
from windhover.geometry.georef import WGS84, transformer
from windhover.imagery.rasters import inspect_scene
from windhover.inference.aoi import area_in_scene, describe_misplacement, read_aoi

AREA = geopandas.GeoDataFrame(
    {"name": ["here"]}, geometry=[shapely.box(0, 0, 30, 20)], crs="EPSG:32631"
)


def test_a_table_of_styles_beside_the_layer_is_passed_over_without_a_warning(
    tmp_path: Path,
) -> None:
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


@pytest.mark.parametrize("left", [-180.0, 0.0, 180.0])
def test_half_the_world_limits_a_scene_across_the_antimeridian(
    make_scene: MakeScene, left: float
) -> None:
    """EPSG:32660 goes on beyond 180 degrees: half of the scene lies in either half of the world."""
    info = inspect_scene(
        make_scene(shape_hw=(400, 600), crs="EPSG:32660", gsd_m=10.0, origin=(830_000.0, 5_000.0))
    )
    east, west = (
        transformer("EPSG:32660", WGS84).transform(x, 3_000.0)[0] for x in (830_100, 835_900)
    )
    assert 179 < east < 180
    assert -180 < west < -179
    half = geopandas.GeoSeries([shapely.box(left, -80, left + 180, 80)], crs="EPSG:4326")
    area = area_in_scene(half, info)
    assert shapely.contains_xy(area, 830_100, 3_000) == (left == 0)
    assert shapely.contains_xy(area, 835_900, 3_000) == (left != 0)


def test_points_alone_are_no_area(tmp_path: Path) -> None:
    AREA.assign(geometry=AREA.centroid).to_file(tmp_path / "a.gpkg")
    with pytest.raises(DataError, match=r"a\.gpkg: holds no polygon"):
        read_aoi(tmp_path / "a.gpkg")


def test_crossed_polygons_are_made_valid_one_by_one(make_scene: MakeScene, tmp_path: Path) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 40)))
    left, top = info.transform.c, info.transform.f
    crossed = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    shapes = [crossed, shapely.affinity.translate(crossed, 7.3, 3.1), shapely.box(5, 5, 30, 30)]
    placed = [shapely.affinity.translate(shape, left, top - 50) for shape in shapes]
    geopandas.GeoDataFrame(geometry=placed, crs=info.crs).to_file(tmp_path / "a.gpkg", layer="aoi")
    area = area_in_scene(read_aoi(tmp_path / "a.gpkg"), info)
    parts = [shapely.make_valid(shape) for shape in placed]
    assert area.is_valid
    assert area.area == pytest.approx(shapely.union_all(parts).area)


@pytest.mark.parametrize(
    ("box", "hint"),
    [
        (lambda lon, lat: shapely.box(lat, lon, lat + 1, lon + 1), "With x and y swapped it would"),
        (lambda lon, lat: shapely.box(4e5, 5e6, 4.1e5, 5.1e6), "Its numbers look like metres"),
        (lambda lon, lat: shapely.box(lon + 20, lat, lon + 21, lat + 1), "of two places, or"),
    ],
)
def test_an_area_elsewhere_is_told_why(make_scene: MakeScene, box: Any, hint: str) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 40)))
    lon, lat = transformer(str(info.crs), WGS84).transform(info.transform.c, info.transform.f)
    shapes = geopandas.GeoSeries([box(lon - 0.5, lat - 0.5)], crs=WGS84)
    assert re.search(hint, describe_misplacement(shapes, [info]))


def test_an_area_in_metres_of_another_zone_tells_both_places(make_scene: MakeScene) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 60)))  # of zone 31
    lon, lat = transformer(str(info.crs), WGS84).transform(info.transform.c, info.transform.f)
    near = shapely.box(info.transform.c, info.transform.f, info.transform.c + 9, info.transform.f)
    shapes = geopandas.GeoSeries([near.buffer(5)], crs="EPSG:32632")
    said = describe_misplacement(shapes, [info])
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", said)]
    assert numbers == pytest.approx([lon + 6, lat, lon, lat], abs=1e-3)


def test_an_area_without_a_system_is_named(tmp_path: Path, make_scene: MakeScene) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 60)))
    AREA.set_crs(None, allow_override=True).to_file(tmp_path / "field.gpkg")
    with pytest.raises(DataError, match=r"field\.gpkg: has no coordinate system, so it cannot"):
        area_in_scene(read_aoi(tmp_path / "field.gpkg"), info)
    picture = inspect_scene(make_scene(crs=None, shape_hw=(40, 60)), 0.5)
    AREA.to_file(tmp_path / "town.gpkg")
    with pytest.raises(DataError, match=r"has no georeference, so .*town\.gpkg"):
        area_in_scene(read_aoi(tmp_path / "town.gpkg"), picture)


@pytest.mark.parametrize(
    "box", [(0, 0, 1, 500), (0, -500, 1, 0), (0, 0, 400, 1), (-400, 0, 1, 1), (0, 0, 1, 180.5)]
)
def test_one_edge_beyond_all_degrees_is_enough_to_look_like_metres(
    make_scene: MakeScene, box: tuple[float, float, float, float]
) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 60)))
    shapes = geopandas.GeoSeries([shapely.box(*box)], crs=WGS84)
    assert "Its numbers look like metres" in describe_misplacement(shapes, [info])


def test_swapped_longitudes_beyond_90_degrees_are_no_metres(make_scene: MakeScene) -> None:
    info = inspect_scene(make_scene(shape_hw=(40, 60), crs="EPSG:32654"))
    lon, lat = transformer(str(info.crs), WGS84).transform(info.transform.c, info.transform.f)
    assert lon > 130
    swapped = shapely.box(lat - 0.5, lon - 0.5, lat + 0.5, lon + 0.5)
    shapes = geopandas.GeoSeries([swapped], crs=WGS84)
    assert "With x and y swapped it would" in describe_misplacement(shapes, [info])
