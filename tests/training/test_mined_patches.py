"""Hard negatives: only true false positives, limited; missed objects; nothing in ignored places;
the same by the seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import box

from fake_models import Identity, PlantedNetwork
from one_scene import AREAS, LOOKALIKE, MISSED, with_area
from windhover.dataset.catalog import Catalog
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.objects import Objects, Role
from windhover.inference.torch_scorer import TorchScorer
from windhover.params.train import HardNegativeMiningParams
from windhover.training.mined_patches import (
    LabeledGround,
    MinedPatches,
    mine_hard_negatives,
    select_windows,
)

RULE = LabelRule(8.0, 12.0, "square")


def mine(catalog: Catalog, *, seed: int = 1, **changes: Any) -> MinedPatches:
    """Mine the catalog with a network that finds every white square."""
    params = {
        "after": (0.5,),
        "max_per_scene": 10,
        "min_score": 0.5,
        "patches_per_miss": 3,
        "scales": (1.0,),
    }
    return mine_hard_negatives(
        catalog,
        TorchScorer(PlantedNetwork(), Identity()),
        ["square"],
        params=HardNegativeMiningParams(**{**params, **changes}),
        rule=RULE,
        origin="mined-1",
        seed=seed,
    )


def object_at(x: float, y: float, side: float, role: Role = Role.OBJECT) -> Objects:
    """Return one square object."""
    return Objects(
        np.array([[x, y]]),
        np.array([[side, side]]),
        np.array([0]),
        np.array([role], np.int8),
    )


def windows_of(
    candidates: list[tuple[float, float]],
    objects: Objects | None = None,
    *,
    ignored: Any = None,
    rule: LabelRule = RULE,
    max_false_positives: int = 9,
    patches_per_miss: int = 0,
) -> list[dict[str, Any]]:
    """Select windows on a scene of 200 x 400 px."""
    ground = LabeledGround(
        Objects.empty() if objects is None else objects,
        shapely.Polygon() if ignored is None else ignored,
        (200, 400),
        rule,
    )
    return select_windows(
        np.array(candidates, float).reshape(-1, 2),
        ground,
        max_false_positives=max_false_positives,
        patches_per_miss=patches_per_miss,
        random=np.random.default_rng(0),
    )


def test_a_round_finds_the_look_alike_and_the_missed_and_nothing_else(catalog: Catalog) -> None:
    mined = mine(catalog)
    false_positives = mined.index[mined.index["class"] == ""]
    missed = mined.index[mined.index["class"] == "square"]
    assert len(false_positives) == mined.n_false_positives == 1
    assert len(missed) == mined.n_positives == 3
    assert set(mined.index["origin"]) == {"mined-1"}
    center = false_positives.iloc[0][["left_px", "top_px"]].to_numpy(float) + 32
    assert np.abs(center - LOOKALIKE).max() <= 5
    assert (missed["left_px"] + 32 + missed["dx_px"]).tolist() == [MISSED[0]] * 3
    assert missed[["dx_px", "dy_px"]].abs().to_numpy().max() <= 8
    assert mined.images.shape == (4, 64, 64, 3)
    assert mined.images[0].max() == 255, "the patch shows the look-alike"
    pd.testing.assert_frame_equal(mined.index, mine(catalog).index)


def test_an_ignored_area_or_a_high_score_leaves_a_round_empty(catalog: Catalog) -> None:
    ignored = with_area(catalog, "ignore", box(250, 150, 400, 260))
    assert mine(ignored, patches_per_miss=0).n_false_positives == 0
    assert len(mine(catalog, min_score=0.99999, patches_per_miss=0).index) == 0


@pytest.mark.parametrize(("role", "shape"), AREAS)
def test_nothing_is_mined_where_not_everything_is_labeled(
    catalog: Catalog, role: str, shape: Any
) -> None:
    mined = mine(with_area(catalog, role, shape))
    assert mined.n_false_positives == 0
    assert mined.n_positives == 3, "a missed object is a missed object"


def test_the_limit_keeps_the_most_confident() -> None:
    candidates = [(40.0 + 60 * number, 50.0) for number in range(5)]
    windows = windows_of(candidates, max_false_positives=2)
    assert [round((window["left_px"] + 32 - 40) / 60) for window in windows] == [0, 1]


def test_the_limit_holds_over_all_scales(catalog: Catalog) -> None:
    for most in (1, 2):
        mined = mine(catalog, max_per_scene=most, patches_per_miss=0, scales=(1.0, 0.9, 1.1))
        assert len(mined.index) <= most
    both = mine(catalog, max_per_scene=2, patches_per_miss=0, scales=(1.0, 0.9))
    assert set(both.index["gsd_m"]) == {1.25, 1.125}


@pytest.mark.parametrize(
    ("rule", "count"), [(RULE, 0), (LabelRule(8.0, 12.0, "circle"), 1)], ids=["square", "circle"]
)
def test_the_ring_has_the_shape_of_the_label_rule(rule: LabelRule, count: int) -> None:
    objects = object_at(100, 100, 20)
    # 12 px along each axis, 17 px away
    assert len(windows_of([(112.0, 112.0)], objects, rule=rule)) == count
    missed = windows_of([], objects, rule=rule, patches_per_miss=200)
    furthest = max(float(rule.distance(row["dx_px"], row["dy_px"])) for row in missed)
    assert 6 < furthest <= 8


def test_a_false_positive_within_the_ring_of_an_object_is_no_negative() -> None:
    objects = Objects(
        np.array([[100.0, 100.0], [160.0, 100.0]]),
        np.array([[20.0, 20.0], [30.0, 30.0]]),
        np.array([0, -1]),
        np.array([Role.OBJECT, Role.IGNORE], np.int8),
    )
    windows = windows_of([(104.0, 100.0), (111.0, 100.0), (118.0, 100.0), (165.0, 100.0)], objects)
    assert len(windows) == 1
    assert windows[0]["class_index"] is None
    assert abs(windows[0]["left_px"] + 32 - 100) > 12


def test_the_ignored_region_is_in_the_grid_of_the_search() -> None:
    candidates = [(50.0, 50.0)]
    assert windows_of(candidates, ignored=shapely.box(40, 40, 60, 60)) == []
    assert len(windows_of(candidates, ignored=shapely.box(60, 60, 90, 90))) == 1
