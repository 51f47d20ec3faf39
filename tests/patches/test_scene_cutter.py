"""What is cut of one scene: its sizes axis by axis, its windows class by class, its own seed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import MakeScene
from toy_catalog import catalog_of, cut
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene
from windhover.params.patches import PatchesParams
from windhover.patches import scene_cutter
from windhover.patches.cut_patches import negatives_by_scene
from windhover.patches.cut_statistics import PixelMoments, rounded_mean, rounded_std
from windhover.patches.patch_store import load_patches
from windhover.patches.scene_cutter import divide_evenly

SHAPE_HW = (208, 400)
WIDE_WH = (36.0, 10.0)
TALL_WH = (8.0, 28.0)
# x, y, class, w, h; two of a class share windows, and so do two of different classes
OBJECTS = [
    (60.0, 50.0, "barge", WIDE_WH),
    (66.0, 50.0, "barge", WIDE_WH),
    (200.0, 140.0, "mast", TALL_WH),
    (206.0, 141.0, "barge", WIDE_WH),
    (320.0, 70.0, "mast", TALL_WH),
]


@pytest.fixture
def world(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Three places with the same objects, none of them square."""
    for number in range(3):
        origin = (4e5 + 1e4 * number, 5e6)
        scene = make_scene(f"raw/s{number}.tif", shape_hw=SHAPE_HW, origin=origin, seed=number)
        boxes = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, _, (w, h) in OBJECTS]
        info = inspect_scene(scene)
        shapes = list(georef.box_polygons(np.array(boxes), info.transform))
        table = geopandas.GeoDataFrame(
            {"class": [name for _, _, name, _ in OBJECTS]}, geometry=shapes, crs=info.crs
        )
        table.to_file(scene.with_suffix(".gpkg"), layer="labels")
    return tmp_path


def index_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "index.parquet")


@pytest.mark.parametrize("scale_jitter", [(1.0, 1.0), (0.8, 1.25)])
def test_width_and_height_are_those_of_the_object(
    world: Path, scale_jitter: tuple[float, float]
) -> None:
    cut(catalog_of(world), world / "out", scale_jitter=scale_jitter)
    index = index_of(world / "out")
    shown = index[index["kind"].isin(["positive", "offcenter"])]
    ratio = shown["gsd_m"].to_numpy() / 1.25
    centers_x = (shown["left_px"] + 32 + shown["dx_px"]) * ratio
    centers_y = (shown["top_px"] + 32 + shown["dy_px"]) * ratio
    for x, y, name, (width, height) in OBJECTS:
        is_it = np.hypot(centers_x - x, centers_y - y) < 0.5
        assert is_it.sum() > 5
        sizes = shown[["w_px", "h_px"]].mul(ratio, axis=0)[is_it].to_numpy()
        assert np.allclose(sizes, (width, height), rtol=0.01)
        assert set(shown.loc[is_it & (shown["kind"] == "positive"), "class"]) == {name}


def test_each_class_has_the_prior_of_its_own_windows(world: Path) -> None:
    summary = cut(catalog_of(world), world / "out")
    n_windows = 0
    hits = {"barge": 0, "mast": 0}
    any_class = 0
    for top in range(-32, SHAPE_HW[0] - 31, 8):  # half a window beyond the borders
        for left in range(-32, SHAPE_HW[1] - 31, 8):
            shown = set()
            for x, y, name, _ in OBJECTS:
                if max(abs(x - left - 32), abs(y - top - 32)) <= 8:
                    shown.add(name)
            n_windows += 1
            any_class += bool(shown)
            for name in shown:
                hits[name] += 1
    assert hits["barge"] + hits["mast"] > any_class  # some windows show both
    for prior in summary.prior.values():
        assert prior.by_class == pytest.approx(
            {name: count / n_windows for name, count in hits.items()}
        )
        assert prior.true == pytest.approx(any_class / n_windows)


def test_scenes_are_drawn_from_apart_and_independently_of_one_another(
    world: Path, make_scene: MakeScene
) -> None:
    options: dict[str, Any] = {"negatives_per_positive": {"random": 1.0, "lookalike": 0.0}}
    cut(catalog_of(world), world / "out", **options)
    index = index_of(world / "out")
    corners = {}
    for scene, rows in index[index["kind"] == "positive"].groupby("scene"):
        corners[scene] = rows[["left_px", "top_px"]].to_numpy().tolist()
    assert corners["s0"] != corners["s1"] != corners["s2"] != corners["s0"]
    # a further scene changes nothing of the windows about the others' objects
    make_scene("raw/s9.tif", shape_hw=SHAPE_HW, origin=(6e5, 5e6), seed=9)
    splits = index.drop_duplicates("scene").set_index("scene")["split"].to_dict()
    more = catalog_of(world, fixed_splits=splits | {"s9": "train"})
    cut(more, world / "more", **options)
    again = index_of(world / "more")
    again = again[again["kind"] == "positive"]
    for scene, rows in again.groupby("scene"):
        assert rows[["left_px", "top_px"]].to_numpy().tolist() == corners[scene]


def test_a_limit_draws_that_many_objects_and_all_of_their_windows(world: Path) -> None:
    summary = cut(catalog_of(world), world / "out", max_objects_per_scene=2, positives_per_object=7)
    n_same = summary.skipped.get("same pixels as another patch", 0)
    index = index_of(world / "out")
    positive = index[index["kind"] == "positive"]
    drawn = set()
    for _, rows in positive.groupby("scene"):
        assert 14 - n_same <= len(rows) <= 14
        centers = rows[["left_px", "top_px"]].to_numpy() + 32 + rows[["dx_px", "dy_px"]].to_numpy()
        drawn.add(tuple(sorted(set(map(tuple, centers.round(2))))))
    assert len(drawn) > 1  # not always the first ones


def test_a_scene_too_large_to_hold_gives_the_same_patches(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(world)
    cut(catalog, world / "held")
    monkeypatch.setattr(scene_cutter, "MAX_HELD_PX", 0)
    cut(catalog, world / "read")
    for split in ("train", "val", "test"):
        held, read = (load_patches(str(world / name), split) for name in ("held", "read"))
        assert np.array_equal(held.images, read.images)
        pd.testing.assert_frame_equal(held.index, read.index)


def write_flat_scenes(folder: Path, make_scene: MakeScene, *, with_lookalike: bool) -> None:
    """Write three scenes of one color but for an object's texture, and a second texture."""
    for number in range(3):
        data = np.full((3, *SHAPE_HW), 40, np.uint8)
        rng = np.random.default_rng(number)
        data[:, 40:48, 56:64] = rng.integers(0, 255, (3, 8, 8))
        if with_lookalike:
            data[:, 152:184, 232:312] = rng.integers(0, 255, (3, 32, 80))
        origin = (4e5 + 1e4 * number, 5e6)
        scene = make_scene(f"raw/s{number}.tif", data=data, origin=origin)
        info = inspect_scene(scene)
        shapes = list(georef.box_polygons(np.array([(50.0, 40, 70, 48)]), info.transform))
        labels = geopandas.GeoDataFrame({"class": ["barge"]}, geometry=shapes, crs=info.crs)
        labels.to_file(scene.with_suffix(".gpkg"), layer="labels")


@pytest.mark.parametrize("block_px", [64, 4096])
def test_lookalikes_are_found_where_the_structure_is_block_by_block(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, block_px: int
) -> None:
    write_flat_scenes(tmp_path, make_scene, with_lookalike=True)
    monkeypatch.setattr(scene_cutter, "MAX_HELD_PX", 0)
    monkeypatch.setattr(scene_cutter, "BLOCK_PX", block_px)
    cut(catalog_of(tmp_path), tmp_path / "out", positives_per_object=40)
    index = index_of(tmp_path / "out")
    lookalikes = index[index["kind"] == "lookalike"]
    assert len(lookalikes) > 60
    # smoothed over three cells of 8 px
    assert (lookalikes["left_px"] + 32).between(224, 320).all()
    assert (lookalikes["top_px"] + 32).between(144, 192).all()


def test_what_finds_no_room_is_counted(tmp_path: Path, make_scene: MakeScene) -> None:
    """The only structure is the object's own, and next to no window near it is background."""
    write_flat_scenes(tmp_path, make_scene, with_lookalike=False)
    summary = cut(catalog_of(tmp_path), tmp_path / "out", positives_per_object=5)
    found = sum(counts["lookalike"] for counts in summary.counts.values())
    shortfalls = {kind: n for kind, n in summary.skipped.items() if "no room" in kind}
    assert shortfalls == {"lookalike: no room for as many as wanted": 15 - found}
    assert found < 5


@given(
    counts=st.dictionaries(st.sampled_from(["random", "offcenter"]), st.integers(0, 50)),
    n_parts=st.integers(1, 9),
)
def test_counts_are_divided_evenly_and_the_first_parts_get_more(
    counts: dict[str, int], n_parts: int
) -> None:
    parts = divide_evenly(counts, n_parts)
    assert len(parts) == n_parts
    for kind, count in counts.items():
        numbers = [part[kind] for part in parts]
        assert sum(numbers) == count
        assert max(numbers) - min(numbers) <= 1
        assert numbers == sorted(numbers, reverse=True)


def test_negatives_are_wanted_in_proportion_to_objects_and_area(world: Path) -> None:
    catalog = catalog_of(world, fixed_splits={"s0": "train", "s1": "train", "s2": "val"})
    options = {
        "positives_per_object": 7,
        "negatives_per_positive": {"random": 1.5, "offcenter": 0.5, "lookalike": 2.0},
    }
    whole = negatives_by_scene(catalog, PatchesParams.model_validate(options))
    n_positives = 7 * len(OBJECTS)
    for wanted in whole.values():  # scenes of one size
        assert wanted["random"] == math.ceil(1.5 * n_positives)
        assert wanted["lookalike"] == math.ceil(2.0 * n_positives)
        assert wanted["offcenter"] == math.ceil(0.5 * n_positives)
    limit = PatchesParams.model_validate(options | {"max_objects_per_scene": 2})
    for wanted in negatives_by_scene(catalog, limit).values():
        assert wanted == {"random": 21, "lookalike": 28, "offcenter": 7}


def test_pixels_are_summed_up_window_by_window() -> None:
    moments = PixelMoments()
    assert moments.is_empty
    with pytest.raises(ValueError, match="no pixel was added"):
        moments.mean_and_std()
    parts = [np.random.default_rng(n).normal(100, 9, (2, 50 + n)) for n in range(3)]
    for part in parts:
        moments.add(part)
    assert not moments.is_empty
    mean, std = moments.mean_and_std()
    together = np.concatenate(parts, axis=1)
    assert mean == pytest.approx(together.mean(axis=1))
    assert std == pytest.approx(together.std(axis=1))


def test_means_of_decibels_stay_below_zero_and_bands_without_spread_have_a_divisor() -> None:
    assert rounded_mean(np.array([-12.25, 1 / 3])) == [-12.25, 0.333333]
    assert rounded_std(np.array([0.0, 2 / 3])) == [1e-6, 0.666667]
