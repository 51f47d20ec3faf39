"""Patches as they are written: right pixels, right labels, right counts, nothing shared between
splits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from conftest import MakeScene
from toy_catalog import CENTERS, SCENES, catalog_of, cut, write_labels
from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.dataset.data_statistics import window_prior
from windhover.errors import DataError, FormatError, MissingFileError
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene
from windhover.params.scenes import ScenesParams
from windhover.patches import cut_patches
from windhover.patches.cut_patches import summary_lines
from windhover.patches.cut_statistics import WindowTotals
from windhover.patches.patch_store import (
    KINDS,
    PatchWriter,
    load_patches,
    read_summary,
)


@pytest.fixture
def world(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Three places with four objects each (one of them to be ignored), and one scene known to be
    empty.
    """
    for number in range(4):
        scene = make_scene(
            f"raw/s{number}.tif", shape_hw=(210, 400), origin=(4e5 + 1e4 * number, 5e6), seed=number
        )
        objects = CENTERS if number < 3 else []
        write_labels(
            tmp_path / f"raw/s{number}.gpkg",
            scene,
            objects,
            ["plane", "tug", "cut", "plane"][: len(objects)],
        )
    return tmp_path


def window_of(
    catalog: Catalog, row: Any, padding_value: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a patch's window (C, 64, 64) and what of it is valid, padded beyond the scene."""
    with open_catalog_scene(
        next(one for one in catalog if one.scene == row.scene), row.gsd_m
    ) as scene:
        array, valid = scene.read(0, 0, *scene.shape_hw)
    inside = slice(row.top_px + 64, row.top_px + 128), slice(row.left_px + 64, row.left_px + 128)
    bands = [
        np.pad(band, 64, constant_values=value)[inside]
        for band, value in zip(array, padding_value, strict=True)
    ]
    return np.stack(bands), np.pad(valid, 64)[inside]


def test_patches_are_the_pixels_of_their_windows(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_patches, "MAPPED_PATCHES", 7)
    catalog = catalog_of(world)
    summary = cut(catalog, world / "out")
    assert summary.padding_value == tuple(np.rint(summary.mean))
    outside = 0
    for split in ("train", "val", "test"):
        patches = load_patches(world / "out", split)
        for row in patches.index.sample(40, random_state=0).itertuples():
            array, _ = window_of(catalog, row, summary.padding_value)
            assert (patches.images[row.patch] == array.transpose(1, 2, 0)).all()
            outside += min(row.left_px, row.top_px) < 0
    assert outside > 3


def test_positives_and_negatives_keep_the_rule(world: Path) -> None:
    catalog = catalog_of(world)
    cut(catalog, world / "out")
    index = pd.read_parquet(world / "out/index.parquet")
    assert set(index["kind"]) == set(KINDS)
    objects = np.array([CENTERS[0], CENTERS[1], CENTERS[3]])
    for row in index[index["scene"] != "s3"].itertuples():
        offset = objects - (row.left_px + 32, row.top_px + 32)
        distance = np.abs(offset).max(axis=1)
        if row.kind == "positive":
            assert distance.min() <= 8.0
            assert (row.dx_px, row.dy_px) == pytest.approx(
                tuple(offset[distance.argmin()]), abs=1e-6
            )
            assert (row.w_px, row.h_px) == pytest.approx((24, 24), abs=1e-6)
            assert (
                getattr(row, "_6", None)
                or index.loc[row.Index, "class"] == ["plane", "tug", "plane"][distance.argmin()]
            )
        else:
            assert distance.min() > 15.0
            beside = np.maximum(
                np.abs(np.array(CENTERS[2]) - (row.left_px + 32, row.top_px + 32)) - 12, 0
            )
            assert beside.max() > 15.0  # the ignored box is no background
            assert index.loc[row.Index, "class"] == ""
            assert np.isnan(row.dx_px) == (row.kind != "offcenter")


def test_counts_follow_the_wanted_composition(world: Path) -> None:
    summary = cut(catalog_of(world), world / "out")
    for split in ("train", "val", "test"):
        counts = summary.counts[split]
        positives = counts["positive"]
        scenes = positives // 9
        assert positives >= 9 * scenes
        assert counts["random"] == pytest.approx(2 * positives, rel=0.3)
        assert counts["offcenter"] == pytest.approx(positives, rel=0.3)
    assert (
        pd.read_parquet(world / "out/index.parquet")["scene"] == "s3"
    ).any()  # background from the empty scene
    assert read_summary(world / "out") == summary
    assert any("1 in" in line for line in summary_lines(summary))


def test_the_true_prior_is_that_of_counting_every_searched_window(world: Path) -> None:
    catalog = catalog_of(world)
    summary = cut(catalog, world / "out")
    objects = np.array([CENTERS[0], CENTERS[1], CENTERS[3]])
    ignored = np.array(CENTERS[2])
    for split in ("train", "val", "test"):
        hits = course = windows = 0
        for row in catalog.split(split):
            # a search looks half a window beyond the borders
            for top in range(-32, 210 - 32 + 4, 8):
                for left in range(-32, 400 - 32 + 4, 8):
                    center = (left + 32, top + 32)
                    if row.scene == "s3":
                        windows += 1
                        continue
                    nearest = np.abs(objects - center).max(axis=1).min()
                    beside = max(np.abs(ignored - center).max() - 12, 0)
                    windows += nearest <= 8 or beside > 8
                    hits += nearest <= 8
                    course += nearest <= 16
        prior = summary.prior[split]
        assert prior.windows == windows
        assert prior.true == pytest.approx(hits / windows)
        assert prior.true_central_32_px == pytest.approx(course / windows)


def test_statistics_are_those_of_the_training_patches(world: Path) -> None:
    summary = cut(catalog_of(world), world / "out")
    catalog = catalog_of(world)
    pixels = []
    for row in load_patches(world / "out", "train").index.itertuples():
        array, valid = window_of(catalog, row, summary.padding_value)
        pixels.append(array[:, valid])
    everything = np.concatenate(pixels, axis=1).astype(float)
    assert summary.mean == pytest.approx(everything.mean(axis=1), abs=1e-3)
    assert summary.std == pytest.approx(everything.std(axis=1), abs=1e-3)


def test_a_split_without_a_whole_window_has_no_prior() -> None:
    nothing = WindowTotals(positive_by_class=Counter(plane=0)).to_prior(sampled=None)
    assert (nothing.true, nothing.by_class) == (None, {})
    totals = WindowTotals(
        total=600, positive=3, positive_central=3, positive_by_class=Counter(plane=3)
    )
    prior = totals.to_prior(sampled=0.1)
    assert (prior.true, prior.by_class, prior.sampled) == (0.005, {"plane": 0.005}, 0.1)


def test_the_same_seed_gives_the_same_bytes(world: Path) -> None:
    catalog = catalog_of(world)
    for name in ("one", "two"):
        cut(catalog, world / name, scale_jitter=(0.8, 1.25))
    for name in ("train.npy", "val.npy", "test.npy", "summary.json"):
        assert (world / "one" / name).read_bytes() == (world / "two" / name).read_bytes()
    cut(catalog, world / "three", scale_jitter=(0.8, 1.25), seed=1)
    assert (world / "one/train.npy").read_bytes() != (world / "three/train.npy").read_bytes()


def test_jitter_is_of_training_alone_and_keeps_the_centers(world: Path) -> None:
    cut(catalog_of(world), world / "out", scale_jitter=(0.8, 1.25))
    index = pd.read_parquet(world / "out/index.parquet")
    train = index[index["split"] == "train"]
    assert train["gsd_m"].min() == pytest.approx(1.0)
    assert train["gsd_m"].max() == pytest.approx(1.5625)
    assert train["gsd_m"].nunique() > 4
    assert (index.loc[index["split"] != "train", "gsd_m"] == 1.25).all()
    for row in train[train["kind"] == "positive"].itertuples():
        ratio = row.gsd_m / 1.25 if abs(row.gsd_m / 1.25 - 1) > 0.01 else 1.0
        center = (np.array([row.left_px, row.top_px]) + 32 + (row.dx_px, row.dy_px)) * ratio
        assert np.abs(np.array(CENTERS) - center).max(axis=1).min() < 1e-6
        assert row.w_px * ratio == pytest.approx(24)


def test_windows_without_data_or_of_one_color_are_skipped_and_counted(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    for number in range(3):
        data = np.random.default_rng(number).integers(1, 255, (3, 300, 500)).astype(np.uint8)
        data[:, :, 250:] = 0
        data[:, 100:, 100:250] = 9
        scene = make_scene(
            f"raw/s{number}.tif", data=data, nodata=0, origin=(4e5 + 1e4 * number, 5e6)
        )
        write_labels(tmp_path / f"raw/s{number}.gpkg", scene, [(60, 50)], ["plane"])
    summary = cut(catalog_of(tmp_path), tmp_path / "out", positives_per_object=20)
    assert summary.skipped["window without data"] > 0
    assert summary.skipped["window of one colour"] > 0
    for split in ("train", "val", "test"):
        assert all(image.any() for image in load_patches(tmp_path / "out", split).images)


def test_negatives_come_from_complete_areas_alone(world: Path) -> None:
    info = inspect_scene(world / "raw/s0.tif")
    areas = [("complete", (0, 0, 180, 210)), ("ignore", (40, 30, 80, 70))]
    shapes = georef.box_polygons([box for _, box in areas], info.transform)
    roles = [role for role, _ in areas]
    geopandas.GeoDataFrame({"role": roles}, geometry=list(shapes), crs=info.crs).to_file(
        world / "raw/areas.gpkg"
    )
    catalog = catalog_of(world, areas="areas.gpkg", fixed_splits={"s0": "train"})
    assert catalog.labels_of("s0")["role"].tolist() == ["ignore", "ignore", "object", "object"]
    cut(catalog, world / "out")
    index = pd.read_parquet(world / "out/index.parquet")
    negatives = index[(index["scene"] == "s0") & (index["kind"] != "positive")]
    assert len(negatives)
    assert negatives["left_px"].between(0, 180 - 64).all()
    assert negatives["top_px"].between(0, 210 - 64).all()
    apart = (negatives["left_px"] > 80) | (negatives["top_px"] > 70)
    assert apart.all()


def test_scenes_whose_background_is_known_give_what_the_others_cannot(world: Path) -> None:
    params = {"split_fractions": [1.0, 0.0, 0.0], "fixed_splits": {"s0": "train"}}
    whole = cut(catalog_of(world, **params), world / "out").counts["train"]
    info = inspect_scene(world / "raw/s0.tif")
    shapes = georef.box_polygons([(0, 0, 400, 210), (300, 100, 372, 172)], info.transform)
    roles = ["positive_only", "complete"]
    shapes = [shapes[0] - shapes[1], shapes[1]]  # all but a rejected detection is unknown
    geopandas.GeoDataFrame({"role": roles}, geometry=shapes, crs=info.crs).to_file(
        world / "raw/areas.gpkg"
    )
    ratios = {"random": 2.0, "lookalike": 1.0, "offcenter": 0.5}
    limited = cut(
        catalog_of(world, areas="areas.gpkg", **params),
        world / "limited",
        negatives_per_positive=ratios,
    )
    counts = limited.counts["train"]
    assert counts["random"] == pytest.approx(whole["random"], abs=4)
    index = pd.read_parquet(world / "limited/index.parquet")
    rejected = index[(index["scene"] == "s0") & (index["kind"] != "positive")]
    assert 1 <= len(rejected) <= 6, "by the ground that is known"
    assert rejected["left_px"].between(300, 308).all()
    assert rejected["top_px"].between(100, 108).all()


def test_the_prior_of_the_report_is_that_of_the_patches(world: Path) -> None:
    info = inspect_scene(world / "raw/s0.tif")
    shapes = georef.box_polygons([(0, 0, 180, 210), (40, 30, 80, 70)], info.transform)
    geopandas.GeoDataFrame(
        {"role": ["complete", "ignore"]}, geometry=list(shapes), crs=info.crs
    ).to_file(world / "raw/areas.gpkg")
    whole, limited = (catalog_of(world, areas=areas) for areas in (None, "areas.gpkg"))
    assert window_prior(limited).windows < window_prior(whole).windows
    for catalog in (whole, limited):
        by_split = cut(catalog, world / "out").prior.values()
        whole_prior = window_prior(catalog)
        # fewer by what the older rule, which reaches farther, leaves out about ignored labels
        n_windows = sum(prior.windows for prior in by_split)
        assert n_windows - 6 * 20 <= whole_prior.windows <= n_windows
        positive = 0.0
        for prior in by_split:
            positive += (prior.true_central_32_px or 0.0) * prior.windows
        assert whole_prior.with_an_object == pytest.approx(positive)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"kind": ["complete"]}, "need a column `role`"),
        ({"role": ["whole"]}, "need a column `role`"),
        ({"role": ["complete"], "split": ["dev"]}, "got 'dev'"),
    ],
)
def test_broken_areas_are_named(world: Path, columns: dict[str, list[str]], sentence: str) -> None:
    shape = [shapely.box(4e5, 4.9e6, 5e5, 5e6)]
    geopandas.GeoDataFrame(columns, geometry=shape, crs="EPSG:32631").to_file(
        world / "raw/areas.gpkg"
    )
    with pytest.raises(FormatError, match=sentence):
        catalog_of(world, areas="areas.gpkg")


def test_areas_fix_the_split_of_scenes_inside(world: Path) -> None:
    shape = [shapely.box(4.09e5, 4.99e6, 4.11e5, 5.01e6)]
    geopandas.GeoDataFrame(
        {"role": ["complete"], "split": ["val"]}, geometry=shape, crs="EPSG:32631"
    ).to_file(world / "raw/areas.gpkg")
    assert catalog_of(world, areas="areas.gpkg").scenes.set_index("scene")["split"]["s1"] == "val"
    with pytest.raises(MissingFileError, match=r"none\.gpkg does not exist"):
        catalog_of(world, areas="none.gpkg")


def test_blocks_of_one_scene_stand_apart_by_the_guard(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    scene = make_scene("raw/big.tif", shape_hw=(700, 1100))
    grid = [(x, y) for x in range(30, 1100, 60) for y in range(30, 700, 60)]
    write_labels(
        tmp_path / "raw/big.gpkg",
        scene,
        [(float(x), float(y)) for x, y in grid],
        ["plane"] * len(grid),
    )
    catalog = catalog_of(tmp_path, spatial_block_m=450.0, guard_m=100.0)
    assert len(catalog.scenes) == 6
    assert set(catalog.scenes["split"]) == {"train", "val", "test"}
    lost = catalog.report.dropped["in the guard strips between blocks"]
    assert len(catalog.labels) + lost == len(grid)
    assert lost > 0
    for label in catalog.labels.itertuples():
        row = next(one for one in catalog if one.scene == label.scene)
        with open_catalog_scene(row) as block, open_catalog_scene(row) as again:
            x, y = georef.pixel_to_world(block.transform, label.col, label.row)
            assert block.read(0, 0, 9, 9)[0].tobytes() == again.read(0, 0, 9, 9)[0].tobytes()
        whole = georef.world_to_pixel(inspect_scene(scene).transform, x, y)
        assert np.abs(np.array(grid) - whole).max(axis=1).min() < 1e-6
    summary = cut(catalog, tmp_path / "out", positives_per_object=1)
    assert summary.leakage.overlapping_patches == 0
    assert summary.leakage.smallest_distance_m is not None


def test_too_small_a_guard_is_refused() -> None:
    with pytest.raises(ValueError, match="guard_m must be at least one window"):
        ScenesParams(raw="x", **(SCENES | {"spatial_block_m": 400.0, "guard_m": 10.0}))


def test_the_same_picture_in_two_splits_fails_the_stage(world: Path) -> None:
    data = (world / "raw/s0.tif").read_bytes()
    for name in ("copy0", "copy1"):
        (world / f"raw/{name}.png").write_bytes(data)  # GDAL looks at the bytes, not at the suffix
    import rasterio

    with rasterio.open(world / "raw/s0.tif") as dataset:
        pixels = dataset.read()
    for number, name in enumerate(("copy0", "copy1")):
        (world / f"raw/{name}.png").unlink()
        with rasterio.open(
            world / f"raw/{name}.tif",
            "w",
            driver="GTiff",
            height=210,
            width=400,
            count=3,
            dtype="uint8",
            crs="EPSG:32631",
            transform=rasterio.Affine(1.25, 0, 6e5 + 1e4 * number, 0, -1.25, 5e6),
        ) as dataset:
            dataset.write(pixels)
        write_labels(world / f"raw/{name}.gpkg", world / f"raw/{name}.tif", CENTERS[:1], ["plane"])
    catalog = catalog_of(world, fixed_splits={"copy0": "train", "copy1": "test"})
    many = {"random": 300.0, "offcenter": 300.0, "lookalike": 0.0}
    with pytest.raises(DataError, match="have the same pixels as a patch of another split"):
        cut(
            catalog,
            world / "out",
            positives_per_object=200,
            negatives_per_positive=many | {"random": 0.0, "offcenter": 0.0},
        )


def test_a_catalog_without_objects_is_refused(world: Path) -> None:
    catalog = catalog_of(world, ignore_classes=["plane", "tug", "cut"])
    with pytest.raises(DataError, match="holds no object to learn"):
        cut(catalog, world / "out")


def test_the_writer_appends_and_refuses_other_shapes(tmp_path: Path) -> None:
    with PatchWriter(tmp_path / "a.npy", (64, 64, 2), np.dtype("uint16")) as writer:
        for count in (3, 0, 40):
            writer.append(np.full((count, 64, 64, 2), count, np.uint16))
        with pytest.raises(FormatError, match="Patches must be"):
            writer.append(np.zeros((1, 64, 64, 3), np.uint16))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert array.shape == (43, 64, 64, 2)
    assert (array[:3] == 3).all()
    assert (array[3:] == 40).all()


def test_an_index_that_does_not_fit_its_array_is_refused(world: Path) -> None:
    cut(catalog_of(world), world / "out")
    index = pd.read_parquet(world / "out/index.parquet")
    index.iloc[:-1].to_parquet(world / "out/index.parquet")
    with pytest.raises(FormatError, match="but the index lists"):
        load_patches(
            world / "out", "val" if index["split"].iloc[-1] == "val" else index["split"].iloc[-1]
        )
    (world / "out/index.parquet").unlink()
    with pytest.raises(MissingFileError, match=r"no such file. Run the stage that writes it"):
        load_patches(world / "out", "train")


def test_patches_read_in_turn_are_those_of_the_file(world: Path) -> None:
    cut(catalog_of(world), world / "out")
    patches = load_patches(world / "out", "train")
    parts = [patches.read(first, first + 37) for first in range(0, len(patches), 37)]
    assert (np.concatenate(parts) == np.load(world / "out" / "train.npy")).all()
    assert (patches.read(0, 5) == parts[0][:5]).all()  # again, after it was given back
