"""Pixel <-> map through any affine, metres on the ground, footprints on the globe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.transform
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from windhover.dataset.discover import raster_paths
from windhover.dataset.label_pieces import to_pixels
from windhover.errors import DataError, FormatError, WindhoverError
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene

angles = st.floats(0, 360)
steps = st.floats(0.01, 1000)
signs = st.sampled_from([-1.0, 1.0])


@st.composite
def affines(draw: st.DrawFn) -> Affine:
    """Any affine of an Earth raster: rotated, sheared, south-up, not square."""
    origin = Affine.translation(draw(st.floats(-2e7, 2e7)), draw(st.floats(-2e7, 2e7)))
    turn = Affine.rotation(draw(angles)) @ Affine.shear(draw(st.floats(-30, 30)), 0)
    step = draw(steps)
    return origin @ turn @ Affine.scale(step, draw(signs) * step * draw(st.floats(0.3, 3)))


@given(affines(), st.floats(-50, 40_000), st.floats(-50, 40_000))
def test_pixel_to_map_and_back_is_identity(transform: Affine, col: float, row: float) -> None:
    back = georef.world_to_pixel(transform, *georef.pixel_to_world(transform, col, row))
    # doubles at 2e7 m hold 4e-9 m: 1e-6 px is reachable from a pixel of 1 cm on
    assert np.abs(np.array(back) - [col, row]).max() < 1e-6


def test_every_real_raster_is_placed_to_a_millionth_of_a_pixel(real_data: Path) -> None:
    paths = [
        path
        for folder in ("georaster", "sen2ships", "neon-trees")
        for path in raster_paths(real_data / folder)
    ]
    random, placed = np.random.default_rng(0), 0
    for path in paths:
        try:
            info = inspect_scene(path, 0.5)
        except WindhoverError:  # its message is the matter of another test
            continue
        col, row = random.uniform(-0.5, 1.5, (2, 200)) * np.array(
            [[info.width_px], [info.height_px]]
        )
        x, y = georef.pixel_to_world(info.transform, col, row)
        back = georef.world_to_pixel(info.transform, x, y)
        assert np.abs(np.array(back) - [col, row]).max() < 1e-6, path
        if info.crs is None:
            continue
        placed += 1
        with rasterio.open(path) as file:  # rasterio's own word, of pixel centres
            theirs = rasterio.transform.xy(
                file.transform, [0, info.height_px - 1], [0, info.width_px - 1]
            )
        ours = georef.pixel_to_world(
            info.transform, [0.5, info.width_px - 0.5], [0.5, info.height_px - 0.5]
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        system = georef.parse_crs(info.crs)
        if system.is_geographic or "geos" in info.crs.lower():
            continue
        own = (
            system.geodetic_crs.to_wkt()
        )  # no change of datum, which PROJ does not undo to a micrometre
        inside = np.stack([col, row]).T[
            (col > 0) & (col < info.width_px) & (row > 0) & (row < info.height_px)
        ]
        lon, lat = georef.transformer(info.crs, own).transform(
            *georef.pixel_to_world(info.transform, *inside.T)
        )
        again = to_pixels(shapely.points(lon, lat), own, info)
        assert np.abs(shapely.get_coordinates(again) - inside).max() < 1e-6, path
    assert placed > 40


def test_corner_convention_is_gdals() -> None:
    transform = Affine(2.0, 0, 100.0, 0, -2.0, 50.0)
    assert georef.pixel_to_world(transform, 0, 0) == (100.0, 50.0)
    assert georef.pixel_to_world(transform, 0.5, 0.5) == (101.0, 49.0)


def test_flat_transform_raises() -> None:
    with pytest.raises(DataError, match="has no inverse"):
        georef.world_to_pixel(Affine(1, 1, 0, 1, 1, 0), 3, 4)


@pytest.mark.parametrize("row", [(1.0, 1.0), (2.0, 2.0), (1.0, 1.0 + 1e-6)])
def test_rows_along_columns_have_no_gsd(row: tuple[float, float]) -> None:
    transform = Affine(1.0, row[0], 500_000.0, 1.0, row[1], 5_400_000.0)
    with pytest.raises(DataError, match="rows and columns along one line"):
        georef.gsd_m(transform, "EPSG:32632", (90, 130))


def test_gsd_of_utm_is_planar_and_exact() -> None:
    assert georef.gsd_m(Affine(1.25, 0, 4e5, 0, -1.25, 5e6), "EPSG:32631", (100, 300)) == (
        1.25,
        1.25,
    )


def test_gsd_of_a_rotated_grid_is_the_length_of_its_steps() -> None:
    transform = Affine.translation(4e5, 5e6) @ Affine.rotation(33) @ Affine.scale(0.5, -0.7)
    assert georef.gsd_m(transform, "EPSG:32631", (100, 300)) == pytest.approx((0.5, 0.7))


def test_gsd_in_feet_is_meters() -> None:
    foot = 1200 / 3937
    assert georef.gsd_m(Affine(3, 0, 2e6, 0, -3, 7e5), "EPSG:2263", (100, 300)) == pytest.approx(
        (3 * foot, 3 * foot)
    )


@pytest.mark.parametrize(
    ("lat", "north"), [(0.0, 110_574.0), (60.0, 111_412.0), (-80.0, 111_660.0)]
)
def test_gsd_of_degrees_is_geodesic(lat: float, north: float) -> None:
    x, y = georef.gsd_m(Affine(1e-5, 0, 10, 0, -1e-5, lat + 0.0005), "EPSG:4326", (100, 100))
    assert y == pytest.approx(north * 1e-5, rel=1e-3)
    # length of a degree of longitude on WGS 84
    assert x == pytest.approx(
        111_320 * np.cos(np.radians(lat)) * 1e-5, rel=5e-3 if abs(lat) < 70 else 2e-2
    )


def test_gsd_of_web_mercator_is_corrected() -> None:
    transform = Affine(10, 0, -17_580_000, 0, -10, 2_430_000)  # Honolulu, 21.3 degrees north
    x, y = georef.gsd_m(transform, "EPSG:3857", (400, 500))
    assert x == pytest.approx(9.3, abs=0.05)
    assert y == pytest.approx(9.3, abs=0.05)
    assert x != y  # Web Mercator is not conformal on the ellipsoid


def test_equal_area_grid_stretched_at_its_border_is_geodesic() -> None:
    x, y = georef.gsd_m(Affine(1000, 0, 8_000_000, 0, -1000, 6_500_000), "EPSG:6933", (10, 10))
    assert x < 700 < 1400 < y  # cylindrical equal-area at 63 degrees north
    assert x * y == pytest.approx(1e6, rel=1e-2)


def test_box_sides_follow_the_affine() -> None:
    sides = georef.box_sides_m([[0, 0, 10, 4], [5, 5, 5, 9]], Affine(2, 0, 0, 0, -3, 0), None)
    assert sides.tolist() == [[20.0, 12.0], [0.0, 12.0]]


def test_box_polygons_go_through_the_full_affine() -> None:
    transform = Affine.translation(10, 20) @ Affine.rotation(90) @ Affine.scale(2, -2)
    polygon = georef.box_polygons([[1, 2, 3, 6]], transform)[0]
    corners = [transform @ corner for corner in ((1, 2), (3, 2), (3, 6), (1, 6))]
    assert np.allclose(np.array(polygon.exterior.coords)[:4], corners)


def test_footprint_crosses_the_antimeridian_in_two_parts() -> None:
    outline = georef.footprint_4326(Affine(0.01, 0, 179.5, 0, -0.01, 10), "EPSG:4326", (100, 100))
    assert outline is not None
    assert outline.geom_type == "MultiPolygon"
    assert outline.area == pytest.approx(1.0)
    assert outline.contains(shapely.Point(179.9, 9.5))
    assert outline.contains(shapely.Point(-179.6, 9.5))
    assert not outline.contains(shapely.Point(0, 9.5))


def test_footprint_over_a_pole_holds_the_pole() -> None:
    outline = georef.footprint_4326(Affine(1000, 0, -5e5, 0, -1000, 5e5), "EPSG:3413", (1000, 1000))
    assert outline is not None
    assert outline.bounds[3] == 90.0
    assert outline.bounds[0] == -180.0
    assert outline.bounds[2] == 180.0


def test_local_grid_has_no_footprint() -> None:
    assert georef.footprint_4326(georef.local_transform(0.5), None, (10, 20)) is None


@pytest.mark.parametrize("crs", ["EPSG:99999999", "somewhere"])
def test_unknown_system_is_refused(crs: str) -> None:
    with pytest.raises(FormatError, match="not a coordinate system"):
        georef.parse_crs(crs)


def test_same_crs_looks_past_axis_order_and_spelling() -> None:
    assert georef.same_crs("EPSG:32631", georef.parse_crs("EPSG:32631").to_wkt())
    assert georef.same_crs("EPSG:4326", "OGC:CRS84")
    assert not georef.same_crs("EPSG:4326", None)
    assert georef.same_crs(None, None)


@pytest.mark.parametrize(
    ("crs", "lon", "lat"), [("EPSG:27573", 2.0, 44.0), ("EPSG:27562", 3.0, 46.8)]
)
def test_systems_on_grads_have_true_sizes(crs: str, lon: float, lat: float) -> None:
    x, y = georef.transformer("EPSG:4326", crs).transform(lon, lat)
    transform = Affine(0.5, 0, x, 0, -0.5, y)
    assert georef.gsd_m(transform, crs, (100, 100)) == pytest.approx((0.5, 0.5), rel=1e-3)


def test_a_raster_in_grads_has_its_size_and_its_pole() -> None:
    paris = Affine(1e-5, 0, 0, 0, -1e-5, 54.0)  # 54 grads are 48.6 degrees
    along, down = georef.gsd_m(paris, "EPSG:4807", (10, 10))
    assert down == pytest.approx(1e-5 * 0.9 * 111_206, rel=1e-3)
    assert along == pytest.approx(1e-5 * 0.9 * 73_740, rel=2e-3)
    high = Affine(1e-5, 0, 0, 0, -1e-5, 95.0)  # 85.5 degrees
    assert georef.gsd_m(high, "EPSG:4807", (10, 10))[1] == pytest.approx(1.005, rel=1e-2)
    assert georef.degrees_per_unit("EPSG:4807") == pytest.approx(0.9)
    assert georef.degrees_per_unit("EPSG:4326") == 1


@pytest.mark.parametrize(
    ("crs", "is_true"),
    [
        ("EPSG:32633", True),
        ("EPSG:3035", True),
        ("EPSG:25833", True),
        ("EPSG:3857", False),
        ("+proj=merc +ellps=GRS80 +units=m", False),
        ("EPSG:4087", False),
        ("+proj=eqc +lat_ts=30 +datum=WGS84", False),
        ("+proj=mill +datum=WGS84", False),
        ("EPSG:6933", False),
        ("EPSG:2263", False),
        ("EPSG:4326", False),
        ("EPSG:2154", False),  # of France, and the ground is in Sweden
    ],
)
def test_metres_that_are_true_are_measured(crs: str, is_true: bool) -> None:
    x, y = georef.transformer("EPSG:4326", crs).transform(14.0, 63.0)
    assert georef.is_true_metric(crs, (x, y, x + 500, y + 500)) is is_true


def test_a_system_without_a_place_is_not_told_to_be_reprojected() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    assert georef.is_engineering(local)
    assert not georef.is_engineering("EPSG:32631")
    with pytest.raises(DataError, match=r"\(LOCAL_CS\) without a place on Earth, which cannot"):
        georef.transformer(local, "EPSG:4326")
