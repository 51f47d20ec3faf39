"""Mining and crops: only true false alarms, capped; missed objects; nothing in ignored places; the
same by the seed.
"""

from __future__ import annotations

from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from shapely.geometry import box

from fake_models import Identity, PlantedNetwork, squares
from windhover.dataset.catalog import Catalog, empty_areas
from windhover.dataset.label_rule import Rule
from windhover.imagery.rasters import inspect_scene
from windhover.inference.dense import DenseScorer
from windhover.params.train import LargePatchesParams, HardNegativeMiningParams
from windhover.training.hard_negatives import mine, pick
from windhover.training.large_patches import Crops, cut_crops, objects_near
from windhover.training.losses import IGNORED, PAD, cell_targets

SHAPE = (300, 420)
OBJECT, TRUCK, SILENT, HIDDEN = (100.0, 90.0), (300.0, 200.0), (330.0, 80.0), (200.0, 250.0)
NOTHING = {"class": "0", "logit": 5.0}
RULE = Rule(8.0, 12.0, "square")


@pytest.fixture
def catalog(make_scene) -> Catalog:
    """One scene: an object found, a black one missed, a look-alike, and one under an ignored label."""
    path = make_scene(shape_hw=SHAPE, data=squares(SHAPE, [OBJECT, TRUCK, SILENT]))
    info = inspect_scene(path)
    scenes = pd.DataFrame(
        [
            {
                "scene": info.name,
                "path": str(path),
                "width_px": SHAPE[1],
                "height_px": SHAPE[0],
                "bands": list(info.bands),
                "dtype": "uint8",
                "nodata": None,
                "crs": info.crs,
                "transform": list(info.transform)[:6],
                "gsd_x_m": 1.25,
                "gsd_y_m": 1.25,
                "place": "here",
                "split": "train",
                "labeled": True,
                "footprint_wkt_4326": None,
            }
        ]
    )
    labels = pd.DataFrame(
        [
            {
                "scene": info.name,
                "class": name,
                "role": role,
                "col": x,
                "row": y,
                "left": x - 5,
                "top": y - 5,
                "right": x + 5,
                "bottom": y + 5,
            }
            for name, role, (x, y) in (
                ("square", "object", OBJECT),
                ("square", "object", HIDDEN),
                ("part", "ignore", SILENT),
            )
        ]
    )
    shapes = [box(*row) for row in labels[["left", "top", "right", "bottom"]].to_numpy()]
    report = {"training_gsd_m": 1.25, "bands": list(info.bands)}
    return Catalog(scenes, geopandas.GeoDataFrame(labels, geometry=shapes), empty_areas(), report)


def mining(**changes) -> HardNegativeMiningParams:
    return HardNegativeMiningParams(
        **{
            "after": (0.5,),
            "max_per_scene": 10,
            "min_score": 0.5,
            "patches_per_miss": 3,
            "scales": (1.0,),
            **changes,
        }
    )


def test_a_round_finds_the_look_alike_and_the_missed_and_nothing_else(catalog: Catalog) -> None:
    scorer = DenseScorer(PlantedNetwork(), Identity())
    found = mine(catalog, scorer, ["square"], mining(), RULE, "mined-1", seed=1)
    alarms, missed = (
        found.index[found.index["class"] == ""],
        found.index[found.index["class"] == "square"],
    )
    assert len(alarms) == 1
    assert len(missed) == 3
    assert set(found.index["origin"]) == {"mined-1"}
    center = alarms.iloc[0][["left_px", "top_px"]].to_numpy(float) + 32
    assert np.abs(center - TRUCK).max() <= 5
    assert (missed["left_px"] + 32 + missed["dx_px"]).tolist() == [HIDDEN[0]] * 3
    assert missed[["dx_px", "dy_px"]].abs().to_numpy().max() <= 8
    assert found.images.shape == (4, 64, 64, 3)
    assert found.images[0].max() == 255, "the patch shows the look-alike"
    again = mine(catalog, scorer, ["square"], mining(), RULE, "mined-1", seed=1)
    pd.testing.assert_frame_equal(found.index, again.index)


def test_an_ignored_area_and_a_high_bar_silence_a_round(catalog: Catalog) -> None:
    scorer = DenseScorer(PlantedNetwork(), Identity())
    area = geopandas.GeoDataFrame(
        [{"scene": catalog.scenes["scene"][0], "role": "ignore", "split": None}],
        geometry=[box(250, 150, 400, 260)],
    )
    silent = Catalog(catalog.scenes, catalog.labels, area, catalog.report)
    assert (
        mine(silent, scorer, ["square"], mining(patches_per_miss=0), RULE, "m", 1).index["class"] == ""
    ).sum() == 0
    bar = mining(min_score=0.99999, patches_per_miss=0)
    assert len(mine(catalog, scorer, ["square"], bar, RULE, "m", 1).index) == 0


AREAS = [
    ("ignore", box(250, 150, 400, 260)),
    ("positive_only", box(250, 150, 400, 260)),
    ("complete", box(0, 0, 200, 150)),  # the look-alike stands where nobody looked
]


def with_area(catalog: Catalog, role: str, shape: Any) -> Catalog:
    area = geopandas.GeoDataFrame(
        [{"scene": catalog.scenes["scene"][0], "role": role, "split": None}], geometry=[shape]
    )
    return Catalog(catalog.scenes, catalog.labels, area, catalog.report)


@pytest.mark.parametrize(("role", "shape"), AREAS)
def test_nothing_is_mined_where_not_everything_is_known(
    catalog: Catalog, role: str, shape: Any
) -> None:
    scorer = DenseScorer(PlantedNetwork(), Identity())
    found = mine(with_area(catalog, role, shape), scorer, ["square"], mining(), RULE, "m", 1).index
    assert (found["class"] == "").sum() == 0
    assert (found["class"] == "square").sum() == 3, "a missed object is a missed object"


@pytest.mark.parametrize(("role", "shape"), AREAS)
def test_windows_of_crops_on_unknown_ground_say_nothing(
    catalog: Catalog, role: str, shape: Any
) -> None:
    params = LargePatchesParams(
        per_batch=2, side_px=96, count=30, per_epoch=9, object_fraction=0.5, crowded=0.0,
        negatives_per_positive=3.0, scales=(1.0,),
    )  # fmt: skip
    plain, table, *_ = cut_crops(catalog, ["square"], params, seed=2)
    images, objects, *_ = cut_crops(with_area(catalog, role, shape), ["square"], params, seed=2)
    assert np.array_equal(plain, images)
    for one in (table, objects):
        one[..., 1:3] += 48  # from the crop's centre to its corner
    before, after = (
        cell_targets(torch.from_numpy(one), (96, 96), 1, 8.0, 12.0) for one in (table, objects)
    )
    assert torch.equal(before.classes, after.classes), "positives stay"
    background = after.weights[(after.classes == 0) & (before.weights > 0)]
    assert {0.0, 1.0} == set(background.unique().tolist()), (
        "some of the ground falls silent, some does not"
    )
    assert (after.weights[after.classes == 1] == 1).all()


def test_the_cap_keeps_the_most_confident() -> None:
    found = pd.DataFrame(
        [{**NOTHING, "col": 40.0 + 60 * number, "row": 50.0} for number in range(5)]
    )
    nobody = np.zeros((0, 5), np.float32)
    rows = pick(
        found,
        nobody,
        shapely.Polygon(),
        (200, 400),
        RULE,
        cap=2,
        patches_per_miss=0,
        random=np.random.default_rng(0),
    )
    assert [round((row["left_px"] + 32 - 40) / 60) for row in rows] == [0, 1]


def test_the_cap_holds_over_all_scales(catalog: Catalog) -> None:
    scorer = DenseScorer(PlantedNetwork(), Identity())
    for cap in (1, 2):
        params = mining(max_per_scene=cap, patches_per_miss=0, scales=(1.0, 0.9, 1.1))
        assert len(mine(catalog, scorer, ["square"], params, RULE, "m", 1).index) <= cap
    both = mining(max_per_scene=2, patches_per_miss=0, scales=(1.0, 0.9))
    assert set(mine(catalog, scorer, ["square"], both, RULE, "m", 1).index["gsd_m"]) == {
        1.25,
        1.125,
    }


@pytest.mark.parametrize(
    ("rule", "count"), [(RULE, 0), (Rule(8.0, 12.0, "circle"), 1)], ids=["square", "circle"]
)
def test_the_ring_has_the_shape_of_the_label_rule(rule: Rule, count: int) -> None:
    objects = np.array([[0, 100, 100, 20, 20]], np.float32)
    found = pd.DataFrame(
        [{**NOTHING, "col": 112.0, "row": 112.0}]
    )  # 12 px along each axis, 17 px away
    rows = pick(found, objects, shapely.Polygon(), (200, 400), rule, 9, 0, np.random.default_rng(0))
    assert len(rows) == count
    missed = pick(
        found[:0], objects, shapely.Polygon(), (200, 400), rule, 9, 200, np.random.default_rng(0)
    )
    furthest = max(float(rule.measure(row["dx_px"], row["dy_px"])) for row in missed)
    assert 6 < furthest <= 8


def test_an_alarm_within_the_ring_of_an_object_is_no_negative() -> None:
    objects = np.array([[0, 100, 100, 20, 20], [IGNORED, 160, 100, 30, 30]], np.float32)
    found = pd.DataFrame(
        [{**NOTHING, "col": col, "row": 100.0} for col in (104.0, 111.0, 118.0, 165.0)]
    )
    rows = pick(
        found,
        objects,
        shapely.Polygon(),
        (200, 400),
        RULE,
        cap=9,
        patches_per_miss=0,
        random=np.random.default_rng(0),
    )
    assert all(row["class"] == -1 and abs(row["left_px"] + 32 - 100) > 12 for row in rows)
    assert len(rows) == 1


def test_crops_show_what_their_objects_say(catalog: Catalog) -> None:
    params = LargePatchesParams(
        per_batch=2,
        side_px=96,
        count=30,
        per_epoch=30,
        object_fraction=0.5,
        crowded=0.0,
        negatives_per_positive=3.0,
        scales=(1.0, 1.25),
    )
    images, objects, *_ = cut_crops(catalog, ["square"], params, seed=2)
    assert images.shape == (30, 96, 96, 3)
    seen = 0
    for image, table in zip(images, objects, strict=True):
        for kind, x, y, width, _ in table.tolist():
            col, row = int(x + 48), int(y + 48)
            if kind == 0 and 4 <= col < 92 and 4 <= row < 92:
                seen += 1
                lit = image[row, col].max() > 200
                dark = image[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3].max() < 50
                assert lit or dark
                assert width == pytest.approx(10, abs=0.1) or width == pytest.approx(8, abs=0.1)
    assert seen >= 15
    assert {-1.0, 0.0, IGNORED} >= set(np.unique(objects[..., 0]).tolist())
    again, *_ = cut_crops(catalog, ["square"], params, seed=2)
    assert np.array_equal(images, again)
    other, *_ = cut_crops(catalog, ["square"], params, seed=3)
    assert not np.array_equal(images, other)


def test_crowding_adds_to_a_share_of_the_crops_about_objects_and_leaves_the_others(
    catalog: Catalog,
) -> None:
    def cut(crowded: float) -> Crops:
        params = LargePatchesParams(
            per_batch=2, side_px=128, count=60, per_epoch=9, object_fraction=0.5, crowded=crowded,
            negatives_per_positive=3.0, scales=(1.0, 1.25),
        )  # fmt: skip
        return cut_crops(catalog, ["square"], params, seed=2)

    plain, some, every = (cut(share) for share in (0.0, 0.5, 1.0))
    assert (plain.chosen, plain.crowded) == (0, 0)
    assert 5 <= some.chosen < every.chosen == 30, "those that lie anywhere are not chosen"
    few = (plain.objects[..., 0] >= 0).sum(1)
    for cuts in (some, every):
        added = (cuts.objects[..., 0] >= 0).sum(1) > few
        assert added.sum() == cuts.crowded
        same = np.array(
            [
                np.array_equal(one, other)
                for one, other in zip(plain.images, cuts.images, strict=True)
            ]
        )
        assert same[~added].all(), "no picture changes without its table"
        for number in np.flatnonzero(added):
            before = plain.objects[number][plain.objects[number, :, 0] != PAD]
            assert np.array_equal(cuts.objects[number, : len(before)], before), (
                "crops lie where they lay"
            )
            assert (plain.images[number] == cuts.images[number]).mean() > 0.5
    assert np.array_equal(some.images, cut(0.5).images)


def test_objects_far_from_a_crop_do_not_come_along_and_areas_that_reach_in_do() -> None:
    objects = np.array(
        [[0, 50, 50, 9, 9], [0, 500, 50, 9, 9], [IGNORED, 300, 50, 450, 40]], np.float32
    )
    near = objects_near(objects, left=0, top=0, side_px=96)
    assert near[:, 0].tolist() == [0, IGNORED]
    assert near[0, 1:3].tolist() == [2, 2]
    assert PAD not in near


def test_shapely_areas_are_taken_in_the_grid_of_the_search() -> None:
    found = pd.DataFrame([{**NOTHING, "col": 50.0, "row": 50.0}])
    nobody = np.zeros((0, 5), np.float32)
    random = np.random.default_rng(0)
    assert pick(found, nobody, shapely.box(40, 40, 60, 60), (200, 200), RULE, 5, 0, random) == []
    assert (
        len(pick(found, nobody, shapely.box(60, 60, 90, 90), (200, 200), RULE, 5, 0, random)) == 1
    )
