"""Products of a probability map against counting pixel by pixel; maps of nothing and of all."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask, rasterize, shapes
from rasterio.windows import Window
from scipy import ndimage

from windhover.errors import ParameterError
from windhover.export import coverage_mask, coverage_polygons
from windhover.export.coverage_polygon_file import polygon_file
from windhover.export.coverage_products import write_coverage_products
from windhover.export.coverage_shares import share_interval
from windhover.export.coverage_specks import label_patches, speck_halo_px, without_specks
from windhover.geometry.mask_borders import simplify_regions
from windhover.imagery.ground_mask import class_names
from windhover.metrics.coverage_metrics import classes_at

CLASSES = ["cloud", "shadow"]
THRESHOLDS = {"cloud": 0.5, "shadow": 0.4}
LIMITS = [0.5, 0.4]
TRANSFORM = Affine(30.0, 0, 400_000.0, 0, -30.0, 5_000_000.0)


def fractal(seed: int, shape: tuple[int, int], sigma: float = 3.0) -> np.ndarray:
    """Return smooth scores (2, rows, cols) as values of a probability map, with unknown ground."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, sigma, sigma))
    scores = 1 / (1 + np.exp(-noise / noise.std() * 2))
    values = np.rint(scores * 254).astype(np.uint8)
    values[:, ndimage.gaussian_filter(rng.normal(size=shape), 5) > 0.08] = 255
    return values


def write_map(path: Path, values: np.ndarray, **profile: Any) -> Path:
    profile = {"crs": "EPSG:32631", "transform": TRANSFORM, "nodata": 255} | profile
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype="uint8",
        **profile,
    ) as dataset:
        dataset.write(values)
    return path


def products(folder: Path, values: np.ndarray, **options: Any) -> Any:
    path = write_map(folder / "scores.tif", values, **options.pop("profile", {}))
    settings = {"classes": CLASSES, "thresholds": THRESHOLDS, "gsd_m": (30.0, 30.0)} | options
    with polygon_file(folder / "out" / "coverage.gpkg", settings["classes"]) as polygons:
        return write_coverage_products(path, folder / "out", "tile", polygons=polygons, **settings)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the windows so small that a test's map has many."""
    many = coverage_mask.map_windows

    def small(dataset: Any, side_px: int = 37) -> Any:
        return many(dataset, min(side_px, 37))

    monkeypatch.setattr(coverage_mask, "map_windows", small)
    monkeypatch.setattr(coverage_polygons, "map_windows", small)


def regions_of(seed: int, shape: tuple[int, int], sigma: float) -> tuple[np.ndarray, list]:
    """Return labels of patches, and the rings of each."""
    values = fractal(seed, shape, sigma)
    labels, _ = label_patches(classes_at(values, LIMITS))
    polygons = []
    for geometry, _ in shapes(labels, connectivity=4):
        polygons.append([np.asarray(ring, np.int64) for ring in geometry["coordinates"]])
    return labels, polygons


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), sigma=st.sampled_from([0.5, 1.0, 3.0]))
def test_simplified_borders_are_near_shared_and_keep_areas(seed: int, sigma: float) -> None:
    labels, polygons = regions_of(seed, (31, 47), sigma)
    simple = simplify_regions(polygons, labels)
    exact = np.array([shapely.Polygon(rings[0], rings[1:]) for rings in polygons])
    assert shapely.is_valid(simple).all()
    assert (shapely.get_num_interior_rings(simple) == [len(rings) - 1 for rings in polygons]).all()
    assert (shapely.hausdorff_distance(simple, exact) < 0.5).all()
    assert (np.abs(shapely.area(simple) - shapely.area(exact)) <= shapely.length(exact) / 2).all()
    # neither gaps nor overlaps
    assert shapely.area(simple).sum() == pytest.approx(31 * 47)
    assert shapely.union_all(simple).area == pytest.approx(31 * 47)
    assert shapely.coverage_is_valid(simple)


def test_a_slanted_border_has_fewer_vertices_than_steps() -> None:
    rows, cols = np.mgrid[:60, :90]
    labels = (3 * rows > cols + 30).astype(np.int32)
    polygons = [
        [np.asarray(ring, np.int64) for ring in geometry["coordinates"]]
        for geometry, _ in shapes(labels, connectivity=4)
    ]
    before = sum(len(ring) for rings in polygons for ring in rings)
    after = shapely.get_num_coordinates(simplify_regions(polygons, labels)).sum()
    assert after < 0.7 * before


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mask_and_polygons_hold_what_the_thresholds_say(tmp_path: Path, seed: int) -> None:
    values = fractal(seed, (83, 141))
    products(tmp_path, values)
    truth = classes_at(values, LIMITS)
    with rasterio.open(tmp_path / "out" / "tile_mask.tif") as dataset:
        assert (dataset.read(1) == truth).all()
        assert dataset.nodata == 255
        assert dataset.crs.to_epsg() == 32631
        assert dataset.colormap(1)[1] == (235, 235, 245, 255)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    names = class_names(tmp_path / "out" / "tile_mask.tif")
    assert names == {0: "background", 1: "cloud", 2: "shadow"}
    layer = geopandas.read_file(tmp_path / "out" / "coverage.gpkg", layer="coverage")
    _, class_of = label_patches(truth)
    assert sorted(layer["class"]) == sorted(CLASSES[k - 1] for k in class_of if k in (1, 2))
    for number, name in enumerate(CLASSES, 1):
        of_class = layer[layer["class"] == name]
        border = shapely.length(of_class.geometry).sum()
        px = (truth == number).sum()
        assert of_class["km2"].sum() == pytest.approx(px * 900 / 1e6)
        assert abs(of_class.area.sum() - px * 900) <= border * 30 / 2
        burnt = rasterize(of_class.geometry, truth.shape, transform=TRANSFORM)
        inner = ndimage.binary_erosion(truth == number)
        assert burnt[inner].all()
        mean = (of_class["mean_probability"] * of_class["km2"]).sum() / of_class["km2"].sum()
        assert mean == pytest.approx(values[number - 1][truth == number].mean() / 254)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("seed", [3, 4])
def test_polygons_do_not_depend_on_the_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    values = fractal(seed, (83, 141))
    (tmp_path / "whole").mkdir()
    products(tmp_path, values, min_speck_px=6, simplify=False)
    monkeypatch.undo()
    products(tmp_path / "whole", values, min_speck_px=6, simplify=False)
    layers = [
        geopandas.read_file(folder / "out" / "coverage.gpkg")
        for folder in (tmp_path, tmp_path / "whole")
    ]
    keys = [layer.normalize().to_wkt().sort_values().tolist() for layer in layers]
    assert len(keys[0]) > 5
    for one, other in zip(*map(sorted, keys), strict=True):
        assert shapely.equals(*shapely.from_wkt([one, other]))
    with (
        rasterio.open(tmp_path / "out" / "tile_mask.tif") as one,
        rasterio.open(tmp_path / "whole" / "out" / "tile_mask.tif") as other,
    ):
        assert (one.read() == other.read()).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(2, 7))
def test_small_patches_go_and_windows_change_nothing(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, (60, 97)).astype(np.uint8)
    classes = ndimage.median_filter(classes, 3)
    classes[:9, :13] = 255
    result = without_specks(classes, size)
    assert ((result == 255) == (classes == 255)).all()
    labels, class_of = label_patches(result)
    px = np.bincount(labels.ravel())
    for label in np.flatnonzero((px < size) & (class_of != 255)):
        around = ndimage.binary_dilation(labels == label) & (labels != label)
        others = np.unique(labels[around])
        assert all(px[k] < size or class_of[k] == 255 for k in others)
    changed = result != classes
    before, _ = label_patches(classes)
    assert (np.bincount(before.ravel())[before[changed]] < size).mean() >= 0.5 or not changed.any()
    halo = speck_halo_px(size)
    top, left = max(20 - halo, 0), max(30 - halo, 0)
    part = without_specks(classes[top : 40 + halo, left : 60 + halo], size)
    assert (part[20 - top : 40 - top, 30 - left : 60 - left] == result[20:40, 30:60]).all()


def test_a_speck_takes_the_class_of_most_of_its_border() -> None:
    classes = np.zeros((7, 9), np.uint8)
    classes[:, 5:] = 1
    classes[3, 4] = 2
    assert without_specks(classes, 2)[3, 4] == 0
    assert without_specks(classes, 1)[3, 4] == 2
    unknown = np.full((5, 7), 255, np.uint8)
    unknown[2, 3] = 1
    assert without_specks(unknown, 4)[2, 3] == 1


@pytest.mark.parametrize(
    ("values", "share"),
    [
        (np.full((2, 33, 57), 255, np.uint8), np.nan),
        (np.stack([np.full((33, 57), 254, np.uint8), np.zeros((33, 57), np.uint8)]), 1.0),
        (np.zeros((2, 33, 57), np.uint8), 0.0),
    ],
    ids=["nothing known", "all cloud", "no cloud"],
)
def test_maps_of_nothing_and_of_all_give_valid_files(
    tmp_path: Path, values: np.ndarray, share: float
) -> None:
    table = products(tmp_path, values)
    cloud = table[table["class"] == "cloud"].iloc[0]
    assert cloud["share"] == pytest.approx(share, nan_ok=True)
    assert cloud["km2_known"] == pytest.approx(0.0 if np.isnan(share) else 33 * 57 * 900 / 1e6)
    layer = geopandas.read_file(tmp_path / "out" / "coverage.gpkg", layer="coverage")
    assert len(layer) == (1 if share == 1 else 0)
    assert {"class", "km2", "mean_probability"} <= set(layer.columns)
    if share == 1:
        assert layer.geometry.iloc[0].equals(shapely.box(400_000, 4_999_010, 401_710, 5_000_000))
    with rasterio.open(tmp_path / "out" / "tile_mask.tif") as dataset:
        assert dataset.shape == (33, 57)
        assert np.unique(dataset.read(1)).tolist() == [{1.0: 1, 0.0: 0}.get(share, 255)]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), rows=st.integers(20, 70), cols=st.integers(20, 90),
    square=st.integers(3, 40),
)  # fmt: skip
def test_shares_and_areas_are_counted_pixel_by_pixel(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, cols: int, square: int
) -> None:
    values = fractal(seed, (rows, cols))
    aoi = shapely.Polygon([(399_900, 4_999_000), (400_950, 4_999_900), (400_700, 4_998_500)])
    table = products(
        tmp_path_factory.mktemp("shares"), values, aoi=[("field", aoi)], correlation_px=square
    ).set_index(["area", "class"])
    truth = classes_at(values, LIMITS)
    inside = ~geometry_mask([aoi], truth.shape, TRANSFORM)
    for area, mask in (("", np.ones_like(inside)), ("field", inside)):
        known = mask & (truth != 255)
        for number, name in enumerate(CLASSES, 1):
            row = table.loc[(area, name)]
            covered = (known & (truth == number)).sum()
            assert row["km2"] == pytest.approx(covered * 900 / 1e6)
            assert row["km2_known"] == pytest.approx(known.sum() * 900 / 1e6)
            if known.any():
                assert row["share"] == pytest.approx(covered / known.sum())
                assert 0 <= row["share_low"] <= row["share"] <= row["share_high"] <= 1


def test_cells_beyond_the_raster_count_by_their_part_inside(tmp_path: Path) -> None:
    values = np.stack([np.full((33, 57), 254, np.uint8), np.zeros((33, 57), np.uint8)])
    table = products(tmp_path, values, extent_px=(0.5, 0.25, 56.5, 30.0))
    km2 = 56 * 29.75 * 900 / 1e6
    assert table["km2"].iloc[0] == pytest.approx(km2)
    assert table["km2_known"].iloc[0] == pytest.approx(km2)
    layer = geopandas.read_file(tmp_path / "out" / "coverage.gpkg", layer="coverage")
    assert layer["km2"].tolist() == [pytest.approx(km2)]
    assert layer.area.tolist() == [pytest.approx(km2 * 1e6)]


def test_areas_in_degrees_are_those_on_the_ground(tmp_path: Path) -> None:
    values = np.zeros((2, 40, 60), np.uint8)
    values[0] = 254
    step = 0.001
    table = products(
        tmp_path, values, profile={"crs": 4326, "transform": Affine(step, 0, 5, 0, -step, 60.04)}
    )
    expected = 111_412 * 0.04 * 55_800 * 0.06 / 1e6  # lengths of degrees at 60 N
    assert table["km2"].iloc[0] == pytest.approx(expected, rel=2e-3)


def test_an_unknown_gsd_has_shares_without_areas(tmp_path: Path) -> None:
    table = products(
        tmp_path,
        fractal(0, (40, 70)),
        gsd_m=None,
        profile={"crs": None, "transform": Affine(1, 0, 0, 0, -1, 0)},
    )
    assert table["share"].notna().all()
    assert table[["km2", "km2_known"]].isna().all(axis=None)


def test_intervals_hold_the_true_share_where_scores_are_true() -> None:
    rng = np.random.default_rng(7)
    held = {16: 0, 1: 0}
    for _ in range(200):
        rough = rng.normal(size=(8, 12))
        scores = 1 / (1 + np.exp(-np.kron(rough, np.ones((16, 16))) * 2))
        # all pixels of a square of 16 px are of the class, or none
        truth = (np.kron(rng.random((8, 12)), np.ones((16, 16))) < scores).mean()
        for square in held:
            sums = np.sqrt(scores * (1 - scores)).reshape(128 // square, square, -1, square)
            deviation = np.sqrt((sums.sum(axis=(1, 3)) ** 2).sum()) / scores.size
            low, high = share_interval(float(scores.mean()), float(scores.mean()), deviation)
            held[square] += low <= truth <= high
    assert 0.92 <= held[16] / 200 <= 0.99
    assert held[1] / 200 < 0.5  # as if pixels were independent


def test_errors_of_validation_scenes_widen_and_shift_an_interval() -> None:
    low, high = share_interval(0.4, 0.4, 0.001, errors=[0.05, 0.07, 0.09, 0.06])
    assert low < 0.4 - 0.0675 < high
    assert high == pytest.approx(0.402, abs=0.001)
    assert share_interval(0.4, 0.4, 0.001, errors=[0.05, 0.07])[0] > 0.39


def test_styles_name_every_class(tmp_path: Path) -> None:
    products(tmp_path, fractal(0, (40, 70)))
    with sqlite3.connect(tmp_path / "out" / "coverage.gpkg") as database:
        (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    raster = (tmp_path / "out" / "tile_mask.qml").read_text()
    for name in CLASSES:
        assert f'value="{name}"' in style
        assert f'label="{name}"' in raster


def test_one_file_holds_the_polygons_of_all_rasters_a_layer_for_each_system(
    tmp_path: Path,
) -> None:
    systems = {"a": "EPSG:32631", "b": "EPSG:32632", "c": "EPSG:32631", "local": None}
    n_polygons = {}
    path = tmp_path / "coverage.gpkg"
    with polygon_file(path, CLASSES) as polygons:
        for seed, (name, crs) in enumerate(systems.items()):
            values = fractal(seed, (40, 70))
            if name == "c":
                values[:] = 0  # no class anywhere
            write_coverage_products(
                write_map(tmp_path / f"{name}.tif", values, crs=crs),
                tmp_path,
                name,
                classes=CLASSES,
                thresholds=THRESHOLDS,
                polygons=polygons,
                gsd_m=(30.0, 30.0),
            )
            _, class_of = label_patches(classes_at(values, LIMITS))
            n_polygons[name] = int(np.isin(class_of, (1, 2)).sum())
    first, second, local = (
        geopandas.read_file(path, layer=layer) for layer in ("coverage", "coverage_2", "coverage_3")
    )
    assert [part.crs and part.crs.to_epsg() for part in (first, second)] == [32631, 32632]
    assert n_polygons["c"] == 0
    assert first["scene"].tolist() == ["a"] * n_polygons["a"]
    assert second["scene"].tolist() == ["b"] * n_polygons["b"]
    assert local["scene"].tolist() == ["local"] * n_polygons["local"]
    with sqlite3.connect(path) as database:
        styled = database.execute("SELECT f_table_name FROM layer_styles").fetchall()
    assert {name for (name,) in styled} == {"coverage", "coverage_2", "coverage_3"}


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"`min_speck_px` must be in 0\.\.200 px, got 999"):
        products(tmp_path, fractal(0, (40, 70)), min_speck_px=999)
    with pytest.raises(ParameterError, match=r"must have a band for each of .* cloud, .* has 1"):
        products(tmp_path, fractal(0, (40, 70))[:1])
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_map(tmp_path: Path) -> None:
    import tracemalloc

    peaks = []
    for side in (1500, 4500):
        path = tmp_path / f"{side}.tif"
        tile = np.rint(fractal(1, (500, 500), 8.0) % 255).astype(np.uint8)
        profile = {"crs": "EPSG:32631", "transform": TRANSFORM, "nodata": 255, "dtype": "uint8"}
        with rasterio.open(
            path, "w", driver="GTiff", count=2, height=side, width=side, tiled=True, **profile
        ) as dataset:
            for row in range(0, side, 500):
                for col in range(0, side, 500):
                    dataset.write(tile, window=Window(col, row, 500, 500))
        tracemalloc.start()
        with polygon_file(tmp_path / "out" / f"{side}.gpkg", CLASSES) as polygons:
            write_coverage_products(
                path,
                tmp_path / "out",
                str(side),
                classes=CLASSES,
                thresholds=THRESHOLDS,
                polygons=polygons,
            )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0]
