"""The table of detections: exact polygons, sides in metres, one coordinate system for a map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyproj import Geod
from rasterio.transform import Affine

from toy_detections import columns_of, table_of
from windhover.errors import DataError
from windhover.imagery.scenes import open_scene
from windhover.inference.detection_columns import COLUMNS, SCENE_CRS
from windhover.inference.result_table import (
    empty_result_table,
    table_of_columns,
    to_map_table,
)

SHEARED = Affine(0.9, 0.35, 500_000, 0.4, -1.1, 4_500_000)


@pytest.mark.parametrize(
    "transform", [None, SHEARED, Affine(0, 1.25, 300_000, 1.25, 0, 5e6), Affine(2, 0, 0, 0, 3, 0)]
)
def test_polygons_are_exact_through_the_full_affine(
    make_scene: Any, transform: Affine | None
) -> None:
    path = make_scene(transform=transform)
    table = table_of(path, (100.25, 60.5, 20, 11.5))
    with open_scene(path) as scene:
        matrix = scene.info.transform
    expected = [
        matrix @ corner
        for corner in [(90.25, 54.75), (110.25, 54.75), (110.25, 66.25), (90.25, 66.25)]
    ]
    assert np.abs(np.array(table.geometry[0].exterior.coords)[:4] - expected).max() < 1e-6
    assert table.loc[0, ["col", "row"]].tolist() == [100.25, 60.5]


def test_centers_are_px_of_the_raster_as_delivered_and_sides_are_meters(make_scene: Any) -> None:
    table = table_of(
        make_scene(gsd_m=0.5), (40, 24, 20, 30), target=1.25
    )  # 2.5 px of the raster each
    assert table.loc[0, ["col", "row"]].tolist() == [100, 60]
    assert table.loc[0, ["length_m", "width_m"]].tolist() == pytest.approx([37.5, 25])


def test_sides_are_meters_on_the_ground_in_degrees_and_mercator_too(make_scene: Any) -> None:
    degree = Affine(1e-5, 0, 2.0, 0, -1e-5, 48.0)
    table = table_of(make_scene(crs="EPSG:4326", transform=degree), (100, 60, 50, 20))
    across = Geod(ellps="WGS84").inv(2.00075, 47.9994, 2.00125, 47.9994)[2]
    assert table["length_m"][0] == pytest.approx(across, rel=1e-4)
    table = table_of(
        make_scene(crs="EPSG:3857", transform=Affine(10, 0, 0, 0, -10, 8_399_737)), (100, 60, 3, 3)
    )
    assert table["length_m"][0] == pytest.approx(30 * 0.5, rel=0.01)  # 60 degrees north


def test_scenes_of_one_system_stay_in_it(make_scene: Any) -> None:
    table = table_of_columns(
        [columns_of(make_scene(name), (50, 60, 10, 20)) for name in ("a.tif", "b.tif")]
    )
    mapped = to_map_table(table)
    assert mapped.crs == "EPSG:32631"
    assert tuple(mapped.columns) == COLUMNS


def test_scenes_of_several_systems_meet_in_longitude_and_latitude(make_scene: Any) -> None:
    table = table_of_columns(
        [
            columns_of(make_scene(f"{crs[5:]}.tif", crs=crs), (50, 60, 10, 20))
            for crs in ("EPSG:32631", "EPSG:32632")
        ]
    )
    mapped = to_map_table(table)
    assert mapped.crs == "EPSG:4326"
    assert tuple(mapped.columns) == (*COLUMNS, SCENE_CRS)
    assert mapped[SCENE_CRS].tolist() == ["EPSG:32631", "EPSG:32632"]
    back = mapped.geometry[1:2].to_crs("EPSG:32632")[1]
    assert back.hausdorff_distance(table.geometry[1]) < 1e-3


def test_a_scene_without_detections_counts_for_the_system(make_scene: Any) -> None:
    assert to_map_table(table_of(make_scene(), (50, 60, 10, 20)), ["EPSG:32632"]).crs == "EPSG:4326"
    assert to_map_table(empty_result_table(), ["EPSG:32631"]).crs == "EPSG:32631"


def test_local_and_placed_scenes_do_not_mix(make_scene: Any) -> None:
    local_columns = columns_of(
        make_scene("local.png", crs=None, driver="PNG"), (50, 60, 10, 20), gsd=0.5
    )
    local = table_of_columns([local_columns])
    assert local.geometry[0].bounds == pytest.approx((22.5, -35, 27.5, -25))
    assert to_map_table(local).crs is None
    with pytest.raises(DataError, match="cannot share one map"):
        to_map_table(table_of_columns([local_columns, columns_of(make_scene(), (50, 60, 10, 20))]))
