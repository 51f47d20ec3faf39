"""The world of clouds: the same bytes for a seed, light that adds up, truth at every px."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy import ndimage

from windhover.errors import ParameterError
from windhover.files import sha256_file
from windhover.params import check_params
from windhover.params.simulate import SimulateParams
from windhover.simulate.cloud_layers import KINDS, CloudLayer
from windhover.simulate.fractals import fractal_noise, level_above
from windhover.simulate.ground_cover import COVERS, paint_ground
from windhover.simulate.sky_light import (
    Light,
    add_layer,
    cloud_reflectance,
    lit_ground,
    shadow_depth,
    sunlit,
)
from windhover.simulate.sky_scene import CLEAR, CLOUD, SHADOW, WATER, render_sky
from windhover.simulate.sky_world import BAND_NAMES, make_sky, plan_sky, render_scene

SMALL: dict[str, Any] = {
    "world": "clouds",
    "dtype": "uint16",
    "gsd_m": 30.0,
    "train_places": 2,
    "val_places": 1,
    "test_places": 2,
    "scenes_per_place": 2,
    "scene_width_px": 200,
    "scene_height_px": 210,
    "search_tiles": 3,
    "search_tile_px": 128,
}


def sky_params(**changes: Any) -> SimulateParams:
    """Return the parameters of a small world of clouds."""
    return check_params("simulate", SimulateParams, SMALL | changes)


def light(zenith_deg: float = 45.0, azimuth_deg: float = 90.0) -> Light:
    """Return clean air and a sun to the right of the picture."""
    return Light(math.radians(zenith_deg), math.radians(azimuth_deg), aerosol=0.1, skylight=0.1)


def one_cloud(base_m: float, optical_depth: float = 20.0) -> CloudLayer:
    """Return a square cloud of 10 px in the middle of 100 x 120 px."""
    depth = np.zeros((100, 120), np.float32)
    depth[45:55, 55:65] = optical_depth
    return CloudLayer(depth, base_m, depth_m=0.0, ice=0.0, relief=0.0)


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        assert make_sky(sky_params(), tmp_path / name, workers) == 2 * 2 + 2 + 3
    files = sorted(
        path.relative_to(tmp_path / "one")
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    )
    assert len(files) == 9 * 2 + 1
    for file in files:
        assert sha256_file(tmp_path / "one" / file) == sha256_file(tmp_path / "two" / file), file


def test_another_seed_gives_another_sky() -> None:
    first, second = (render_scene(plan_sky(sky_params(seed=seed))[0])[0] for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_files_have_bands_a_grid_and_a_mask_of_the_same_grid(tmp_path: Path) -> None:
    make_sky(sky_params(nodata_border=0.2), tmp_path / "raw", 1)
    table = pd.read_csv(tmp_path / "raw" / "places.csv")
    assert table["split"].value_counts().to_dict() == {"train": 4, "val": 2, "test": 3}
    for name in table["scene"]:
        with (
            rasterio.open(tmp_path / "raw" / f"{name}.tif") as scene,
            rasterio.open(tmp_path / "raw" / "masks" / f"{name}.tif") as mask,
        ):
            assert scene.descriptions == BAND_NAMES
            assert scene.res == (30.0, 30.0)
            assert (scene.transform, scene.crs) == (mask.transform, mask.crs)
            assert scene.shape == mask.shape
            image = scene.read()
            classes = mask.read(1)
        assert set(np.unique(classes)) <= {CLEAR, CLOUD, SHADOW, WATER, 255}
        np.testing.assert_array_equal((image == 0).all(axis=0), classes == 255)
        np.testing.assert_array_equal((image == 0).any(axis=0), classes == 255)


def test_scenes_of_a_place_do_not_overlap() -> None:
    specs = [spec for spec in plan_sky(sky_params()) if spec.place.name == "alder"]
    bounds = sorted(
        rasterio.transform.array_bounds(*spec.shape_hw, spec.transform) for spec in specs
    )
    assert len(bounds) == 2
    assert bounds[0][2] < bounds[1][0]


def test_every_kind_of_cloud_comes_equally_often() -> None:
    specs = plan_sky(sky_params(scenes_per_place=11))
    counts = pd.Series([spec.kind for spec in specs if spec.place.split == "train"]).value_counts()
    assert set(counts.index) == set(KINDS)
    assert set(counts) == {2}


def test_float_and_integer_scenes_are_the_same_reflectance() -> None:
    counts, classes = render_scene(plan_sky(sky_params())[0])
    values, same_classes = render_scene(plan_sky(sky_params(dtype="float32"))[0])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, counts / 10_000, atol=0.6e-4)
    np.testing.assert_array_equal(classes, same_classes)


@pytest.mark.parametrize("climate", list(COVERS))
def test_ground_is_a_reflectance_in_every_climate(climate: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        ground = paint_ground(rng, (90, 110), 30.0, climate=climate, sun_rc=(0, 1))
        assert ground.reflectance.shape == (6, 90, 110)
        assert ground.reflectance.min() > 0
        assert ground.reflectance.max() < 1


def test_vegetation_is_bright_in_the_near_infrared_and_snow_dark_at_two_micrometres() -> None:
    rng = np.random.default_rng(3)
    scene = render_sky(rng, (160, 160), 30.0, climate="tropical", kind="clear")
    _, _, red, nir, _, swir22 = np.median(scene.reflectance.reshape(6, -1), axis=1)
    assert nir > 1.8 * red
    assert swir22 < nir


@pytest.mark.parametrize("kind", list(KINDS))
def test_clouds_brighten_and_shadows_darken(kind: str) -> None:
    rng = np.random.default_rng(5)
    scene = render_sky(rng, (256, 256), 30.0, climate="tropical", kind=kind)
    assert scene.reflectance.max() < 1.7
    green = scene.reflectance[1]
    near_infrared = scene.reflectance[3]
    clear = scene.classes == CLEAR
    if kind == "clear":
        assert not np.isin(scene.classes, (CLOUD, SHADOW)).any()
        return
    assert (scene.classes == CLOUD).any()
    if clear.sum() > 500:
        assert green[scene.classes == CLOUD].mean() > green[clear].mean()
    if clear.sum() > 500 and (scene.classes == SHADOW).sum() > 500:
        assert near_infrared[scene.classes == SHADOW].mean() < near_infrared[clear].mean()


@pytest.mark.parametrize(("zenith_deg", "base_m"), [(20.0, 1500.0), (45.0, 900.0), (60.0, 700.0)])
def test_a_shadow_is_cast_away_from_the_sun_by_height_and_angle(
    zenith_deg: float, base_m: float
) -> None:
    sun = light(zenith_deg, azimuth_deg=90)
    shade = shadow_depth([one_cloud(base_m)], sun, 30.0)
    row, col = ndimage.center_of_mass(shade)
    shift_px = base_m * math.tan(math.radians(zenith_deg)) / 30
    assert row == pytest.approx(49.5, abs=0.6)
    assert col == pytest.approx(59.5 - shift_px, abs=0.6)


def test_the_shadow_follows_the_azimuth() -> None:
    shade = shadow_depth([one_cloud(900.0)], light(45, azimuth_deg=0), 30.0)
    row, col = ndimage.center_of_mass(shade)
    # the sun is up in the picture, the shadow falls down
    assert row == pytest.approx(49.5 + 30, abs=0.6)
    assert col == pytest.approx(59.5, abs=0.6)


def test_more_cloud_reflects_more_and_lets_less_through() -> None:
    depth = np.geomspace(0.01, 200, 50).astype(np.float32)[None]
    reflected = cloud_reflectance(depth)[0]
    passed = sunlit(depth, light())[0]
    assert (np.diff(reflected) > 0).all()
    assert (np.diff(passed) <= 0).all()
    assert 0 < reflected[0] < reflected[-1] < 1
    assert 0 <= passed[-1] < passed[0] <= 1


def test_no_cloud_changes_nothing_and_thin_cloud_mixes_with_the_ground() -> None:
    image = np.random.default_rng(0).uniform(0.02, 0.5, (6, 100, 120)).astype(np.float32)
    seen = add_layer(image, one_cloud(500.0, optical_depth=1.0), light())
    outside = np.ones((100, 120), bool)
    outside[45:55, 55:65] = False
    np.testing.assert_allclose(seen[:, outside], image[:, outside], rtol=1e-6)
    # semitransparent: bright ground stays brighter than dark ground, with less contrast
    below = image[0, ~outside]
    above = seen[0, ~outside]
    assert np.corrcoef(below, above)[0, 1] > 0.99
    assert above.std() < below.std()
    assert above.min() > below.min()


def test_ice_is_darker_than_water_droplets_in_the_short_wave_infrared() -> None:
    dark = np.full((6, 100, 120), 0.05, np.float32)
    water = one_cloud(500.0, optical_depth=30.0)
    ice = CloudLayer(water.optical_depth, 9000.0, depth_m=0.0, ice=1.0, relief=0.0)
    of_water, of_ice = (add_layer(dark, layer, light())[:, 50, 60] for layer in (water, ice))
    assert of_ice[4] < 0.8 * of_water[4]
    assert of_ice[1] == pytest.approx(of_water[1], rel=0.05)


def test_a_shadow_is_bluer_than_lit_ground() -> None:
    ground = paint_ground(np.random.default_rng(1), (100, 120), 30.0, climate="dry", sun_rc=(0, 1))
    dark = lit_ground(ground, np.zeros((100, 120), np.float32), light())
    ratio = (dark / ground.reflectance).mean(axis=(1, 2))
    assert (np.diff(ratio) < 0).all()
    assert ratio.max() < 0.6


@pytest.mark.parametrize("roughness", [1.0, 1.6, 2.4])
def test_fractal_noise_is_normalized_and_rougher_with_less_exponent(roughness: float) -> None:
    field = fractal_noise(np.random.default_rng(2), (128, 96), 40, roughness=roughness)
    smoother = fractal_noise(np.random.default_rng(2), (128, 96), 40, roughness=roughness + 0.6)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)
    assert np.abs(np.diff(field)).mean() > np.abs(np.diff(smoother)).mean()
    assert (field > level_above(field, 0.3)).mean() == pytest.approx(0.3, abs=0.03)


def test_memory_does_not_grow_with_the_number_of_scenes(tmp_path: Path) -> None:
    peaks = []
    for count in (1, 4):
        params = sky_params(train_places=1, test_places=1, search_tiles=1, scenes_per_place=count)
        tracemalloc.start()
        make_sky(params, tmp_path / str(count), 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gsd_m": 1.25}, "`gsd_m` of a world of clouds must be 10 to 60 m, got 1.25"),
        ({"dtype": "uint8"}, "`dtype` of a world of clouds must be uint16 or float32, got uint8"),
        ({"world": "aircraft"}, "`gsd_m` of a world of aircraft must be 0.3 to 3 m, got 30"),
        (
            {"world": "aircraft", "gsd_m": 1.0, "dtype": "float32"},
            "`dtype` of a world of aircraft must be uint8 or uint16, got float32",
        ),
    ],
)
def test_what_a_world_cannot_have_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        sky_params(**changes)


def test_more_places_than_tiles_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"simulate\.test_places` must be at most"):
        plan_sky(sky_params(test_places=8))
