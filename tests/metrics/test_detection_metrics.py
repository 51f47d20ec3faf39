"""Whole-scene assessment: the rules, the free detections, the figures, the table and the sweep, on
made-up ground.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.special import expit, logit

from toy_matches import Box, found_table, ground_truth, random_world
from windhover.errors import ParameterError
from windhover.metrics.ap_by_threshold import ap_by_threshold, report_ap_table, swept_rules
from windhover.metrics.bootstrap import resample
from windhover.metrics.choose_threshold import choose_threshold
from windhover.metrics.curve_points import precision_band
from windhover.metrics.detection_metrics import class_score_curve, measure_detections
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import counts_by_size
from windhover.metrics.match_detections import match_detections, match_detections_by_rules
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.place_intervals import NORMAL_95
from windhover.metrics.score_curve import score_curve
from windhover.metrics.threshold_rule import ThresholdRule


def test_classes_and_scenes_never_share_objects() -> None:
    truth = ground_truth([("a", "jet", (0, 0, 10, 20))], ["a", "b"])
    found = found_table(
        [
            ("b", "jet", 0.9, (0, 0, 10, 20)),
            ("a", "prop", 0.8, (0, 0, 10, 20)),
            ("a", "jet", 0.7, (0, 0, 10, 20)),
        ]
    )
    assert match_detections(found, truth, MatchRule("size", 0.5, 20.0))["is_tp"].tolist() == [
        False,
        False,
        True,
    ]


def test_ignored_areas_cost_nothing_but_objects_in_them_count() -> None:
    truth = ground_truth([("a", "jet", (10, 10, 30, 40))], ["a"], [("a", (0, 0, 100, 100))])
    found = found_table(
        [
            ("a", "jet", 0.9, (10, 10, 30, 40)),
            ("a", "jet", 0.8, (60, 60, 80, 80)),
            ("a", "jet", 0.7, (200, 0, 220, 9)),
        ]
    )
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    assert matches["is_tp"].tolist() == [True, False, False]
    assert matches["ignored"].tolist() == [False, True, False]
    metrics = measure_detections(
        matches, truth, {"jet": 0.0}, sample=resample(truth.scenes, n_bootstrap=0, seed=0)
    )
    assert metrics.estimates["precision"].value == 0.5
    assert metrics.estimates["count_bias"].value == 1.0


@pytest.mark.parametrize(
    ("by", "value", "hit"),
    [
        ("size", 0.5, True),
        ("size", 0.2, False),
        ("distance", 6.0, True),
        ("distance", 4.9, False),
        ("iou", 0.6, True),
        ("iou", 0.61, False),
    ],
)
def test_each_rule_of_nearness(by: Any, value: float, hit: bool) -> None:
    truth = ground_truth([("a", "jet", (0, 0, 20, 10))], ["a"])
    found = found_table([("a", "jet", 0.9, (5, 0, 25, 10))])  # 5 m off; overlap 15 of 25
    assert match_detections(found, truth, MatchRule(by, value, 20.0))["is_tp"].tolist() == [hit]


def test_turned_objects_match_by_their_own_outline() -> None:
    truth = ground_truth([("a", "jet", (0, 0, 20, 20))], ["a"])
    diamond = shapely.Polygon([(10, 0), (20, 10), (10, 20), (0, 10)])
    truth.objects["geometry"] = pd.Series([diamond], dtype=object)
    found = found_table([("a", "jet", 0.9, (0, 0, 20, 20))])
    assert match_detections(found, truth, MatchRule("iou", 0.99, 20.0))["is_tp"].tolist() == [True]
    assert match_detections(found, truth, MatchRule("oriented_iou", 0.51, 20.0))[
        "is_tp"
    ].tolist() == [False]
    assert match_detections(
        found.assign(geometry=pd.Series([diamond], dtype=object)),
        truth,
        MatchRule("oriented_iou", 1.0, 20.0),
    )["is_tp"].tolist() == [True]


def test_points_have_a_reach_of_their_own() -> None:
    truth = ground_truth([("a", "jet", (10, 10, 10, 10))], ["a"])
    truth.objects["longer_m"] = np.nan
    found = found_table([("a", "jet", 0.9, (20, 10, 20, 10))])
    assert match_detections(found, truth, MatchRule("size", 0.5, point_match_radius_m=10))[
        "is_tp"
    ].tolist() == [True]
    assert match_detections(found, truth, MatchRule("size", 0.5, point_match_radius_m=9.9))[
        "is_tp"
    ].tolist() == [False]


def test_many_values_at_once_are_each_value_by_itself() -> None:
    found, truth = random_world(5)
    for by, values in (
        ("size", (0.1, 0.5, 0.3)),
        ("distance", (3.0, 12.0)),
        ("iou", (0.9, 0.5)),
        ("oriented_iou", (0.6,)),
    ):
        matches = [MatchRule(by, value, 20.0) for value in values]  # type: ignore[arg-type]
        for match, many in zip(
            matches, match_detections_by_rules(found, truth, matches), strict=True
        ):
            pd.testing.assert_frame_equal(many, match_detections(found, truth, match))


def test_the_order_of_the_input_changes_nothing() -> None:
    found, truth = random_world(6)
    shuffled = found.sample(frac=1, random_state=1)
    first, second = (
        match_detections(table, truth, MatchRule("size", 0.5, 20.0)) for table in (found, shuffled)
    )
    pd.testing.assert_frame_equal(first, second)


def test_matches_have_the_columns_of_detections_and_three_more() -> None:
    found, truth = random_world(6)
    table = match_detections(found.set_index(found.index + 7), truth, MatchRule("size", 0.5, 20.0))
    assert list(table.columns) == [*found.columns, "object_index", "is_tp", "ignored"]
    assert table.index.tolist() == list(range(len(found)))


def test_a_report_has_the_mean_of_each_kind_of_rule_by_its_name() -> None:
    found, truth = random_world(3)
    table = report_ap_table(found, truth, ["jet", "prop"], gsd_m=1.25, point_match_radius_m=20.0)
    for by in ("size", "distance", "iou"):
        rows = table[table["match_by"] == by]
        rules = swept_rules(MatchRule(by, 8.0 if by == "distance" else 0.5, 20.0))
        expected = ap_by_threshold(found, truth, ["jet", "prop"], rules)
        names = [f"{value:g}" for value in expected["value"][:-1]]
        assert rows["threshold"].tolist() == [*names, "mean"]
        assert rows["ap"].to_numpy() == pytest.approx(expected["ap"].to_numpy())
        assert rows["ap"].iloc[-1] == pytest.approx(rows["ap"].iloc[:-1].mean())
    assert table["match_by"].nunique() == 3


def test_places_that_are_alike_have_the_interval_of_independent_trials() -> None:
    """In each of eight places one of four objects is found, and two alarms are false."""
    names = [f"p{k}" for k in range(8)]
    boxes = [(100.0 * k, 0.0, 100.0 * k + 20, 10.0) for k in range(6)]
    truth = ground_truth([(name, "jet", box) for name in names for box in boxes[:4]], names)
    found = [(name, "jet", 0.9, box) for name in names for box in (boxes[0], *boxes[4:])]
    matches = match_detections(found_table(found), truth, MatchRule("size", 0.5, 20.0))
    sample = resample(truth.scenes, n_bootstrap=50, seed=0)
    estimates = measure_detections(matches, truth, {"jet": 0.5}, sample=sample).estimates
    for metric, share, n_trials in (("recall", 1 / 4, 32), ("precision", 1 / 3, 24)):
        smoothed = (share * n_trials + 0.5) / (n_trials + 1)
        error = 1 / np.sqrt(n_trials * smoothed * (1 - smoothed))
        ends = expit(logit(share) + np.array([-1, 1]) * NORMAL_95 * error)
        estimate = estimates[metric]
        assert (estimate.low, estimate.high) == pytest.approx(tuple(ends))


def test_figures_of_classes_and_of_all() -> None:
    found, truth = random_world(7)
    sample = resample(truth.scenes, n_bootstrap=200, seed=0)
    assert sample.unit == "places"
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    metrics = measure_detections(matches, truth, {"jet": 0.5, "prop": 0.3}, sample=sample)
    assert metrics.estimates["ap"].value == pytest.approx(
        np.mean([metrics.per_class[name]["ap"].value for name in ("jet", "prop")])
    )
    table = metrics.per_scene
    reported = matches[
        ~matches["ignored"] & (matches["score"] >= matches["class"].map({"jet": 0.5, "prop": 0.3}))
    ]
    assert table["reported"].sum() == len(reported)
    assert metrics.estimates["precision"].value == pytest.approx(reported["is_tp"].mean())
    assert metrics.estimates["recall"].value == pytest.approx(
        reported["is_tp"].sum() / len(truth.objects)
    )
    assert metrics.estimates["false_alarms_per_km2"].value == pytest.approx(
        (~reported["is_tp"]).sum() / 24
    )
    assert metrics.estimates["count_error"].value == pytest.approx(
        table["count_error"].abs().mean()
    )
    for figure in metrics.estimates.values():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.high


def test_the_expected_count_is_the_sum_of_the_scores() -> None:
    found, truth = random_world(8)
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    table = measure_detections(
        matches,
        truth,
        {"jet": 0.5, "prop": 0.5},
        sample=resample(truth.scenes, n_bootstrap=0, seed=0),
    ).per_scene.set_index("scene")
    counted = matches[~matches["ignored"]]
    expected = counted.groupby("scene")["score"].sum()
    assert table["expected"][expected.index].to_numpy() == pytest.approx(expected.to_numpy())
    assert (table["expected_low"] <= table["expected"]).all()
    assert (table["expected_high"] >= table["expected"]).all()


def test_expected_counts_cover_what_is_there_when_scores_are_true() -> None:
    rng = np.random.default_rng(0)
    names = [f"s{k:03d}" for k in range(300)]
    rows, truth = [], []
    for scene in names:
        for k, score in enumerate(rng.uniform(0, 1, 40)):
            box = (k * 50.0, 0.0, k * 50.0 + 20, 20.0)
            rows.append((scene, "jet", float(score), box))
            if rng.random() < score:
                truth.append((scene, "jet", box))
    there = ground_truth(truth, names)
    table = measure_detections(
        match_detections(found_table(rows), there, MatchRule("size", 0.5, 20.0)),
        there,
        {"jet": 0.5},
        sample=resample(there.scenes, n_bootstrap=0, seed=0),
    ).per_scene
    covered = (
        (table["expected_low"] <= table["objects"]) & (table["objects"] <= table["expected_high"])
    ).mean()
    assert 0.92 <= covered <= 1.0


def test_size_bands_count_every_object_once() -> None:
    found, truth = random_world(9)
    truth.objects.loc[0, "longer_m"] = np.nan
    thresholds = {"jet": 0.5, "prop": 0.5}
    metrics = measure_detections(
        match_detections(found, truth, MatchRule("size", 0.5, 20.0)),
        truth,
        thresholds,
        sample=resample(truth.scenes, n_bootstrap=0, seed=0),
    )
    table = counts_by_size(metrics.matches, truth, thresholds, edges_m=[20.0, 40.0])
    assert table["objects"].sum() == len(truth.objects)
    assert table["found"].sum() == metrics.per_scene["found"].sum()
    assert np.isnan(table["from_m"].iloc[-1])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_froc_bands_and_counts_are_what_counting_by_hand_gives(seed: int) -> None:
    found, truth = random_world(seed)
    thresholds = {"jet": 0.5, "prop": 0.35}
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    metrics = measure_detections(
        matches, truth, thresholds, sample=resample(truth.scenes, n_bootstrap=0, seed=0)
    )
    rows = [row for row in matches.to_dict("records") if not row["ignored"]]
    km2, objects = 2.0 * len(truth.scenes), truth.objects.to_dict("records")
    for name in thresholds:
        mine = [row for row in rows if row["class"] == name]
        there = sum(one["class"] == name for one in objects)
        for rate in (1, 5):
            best = 0.0
            for cut in [row["score"] for row in mine]:
                taken = [row["is_tp"] for row in mine if row["score"] >= cut]
                if taken.count(False) / km2 <= rate:
                    best = max(best, taken.count(True) / there)
            assert metrics.per_class[name][f"recall_at_{rate}_per_km2"].value == pytest.approx(best)
    reported = [row for row in rows if row["score"] >= thresholds[row["class"]]]
    taken_objects = {row["object_index"] for row in reported if row["is_tp"]}
    for band in counts_by_size(metrics.matches, truth, thresholds, edges_m=[20.0, 40.0]).to_dict(
        "records"
    ):
        inside = [
            k for k, one in enumerate(objects) if band["from_m"] <= one["longer_m"] < band["to_m"]
        ]
        assert (band["objects"], band["found"]) == (len(inside), len(taken_objects & set(inside)))
    off = [
        sum(row["scene"] == scene for row in reported)
        - sum(one["scene"] == scene for one in objects)
        for scene in truth.scenes["scene"]
    ]
    assert metrics.estimates["count_error"].value == pytest.approx(sum(map(abs, off)) / len(off))
    assert metrics.estimates["count_bias"].value == pytest.approx(sum(off) / len(off))
    for line in metrics.per_scene.to_dict("records"):
        scores = [row["score"] for row in rows if row["scene"] == line["scene"]]
        spread = 1.96 * sum(score * (1 - score) for score in scores) ** 0.5
        assert line["expected"] == pytest.approx(sum(scores))
        assert line["expected_low"] == pytest.approx(max(sum(scores) - spread, 0), abs=1e-2)
        assert line["expected_high"] == pytest.approx(sum(scores) + spread, abs=1e-2)


def test_the_band_holds_the_curve() -> None:
    found, truth = random_world(10, scenes=30)
    sample = resample(truth.scenes, n_bootstrap=300, seed=0)
    curve = class_score_curve(
        match_detections(found, truth, MatchRule("size", 0.5, 20.0)), truth, sample
    )
    band = precision_band(curve, sample)
    counts = curve.counts()
    envelope = np.maximum.accumulate(counts.precision[::-1, 0])[::-1]
    reached = np.searchsorted(counts.recall[:, 0], band["recall"] - 1e-12)
    ours = np.r_[envelope, 0.0][reached]
    assert (band["low"] <= ours + 1e-9).mean() > 0.9
    assert (ours <= band["high"] + 1e-9).mean() > 0.9


def test_a_point_chosen_on_the_whole_lies_in_its_interval() -> None:
    found, truth = random_world(11, scenes=30)
    sample = resample(truth.scenes, n_bootstrap=300, seed=0)
    point = choose_threshold(
        class_score_curve(
            match_detections(found, truth, MatchRule("size", 0.5, 20.0)),
            truth,
            sample,
            class_name="jet",
        ),
        sample,
        ThresholdRule("max_fbeta", 1),
    )
    assert point.low is not None
    assert point.high is not None
    assert point.low <= point.threshold <= point.high
    assert (point.met, point.note) == (True, "")


def test_the_sweep_falls_as_the_rule_gets_stricter() -> None:
    found, truth = random_world(12)
    table = ap_by_threshold(found, truth, ["jet", "prop"], swept_rules(MatchRule("iou", 0.5, 20.0)))
    aps = table["ap"].to_numpy()[:-1]
    assert len(aps) == 10
    assert (np.diff(aps) <= 1e-12).all()
    assert table["ap"].iloc[-1] == pytest.approx(aps.mean())
    by_size = swept_rules(MatchRule("size", 0.5, 20.0))
    sizes = ap_by_threshold(found, truth, ["jet", "prop"], by_size)["ap"]
    assert sizes.iloc[0] <= sizes.iloc[4]


def test_the_distances_of_the_sweep_go_with_that_of_the_rule() -> None:
    truth = ground_truth([("a", "jet", (0, 0, 30, 20))], ["a"])
    for off_m, n_reached in ((1.9, 4), (2.1, 3), (3.9, 3), (4.1, 2), (7.9, 2), (8.1, 1), (16.1, 0)):
        found = found_table([("a", "jet", 0.9, (off_m, 0, 30 + off_m, 20))])
        table = ap_by_threshold(found, truth, ["jet"], swept_rules(MatchRule("distance", 8.0, 8.0)))
        assert table["value"].tolist()[:-1] == [2, 4, 8, 16]
        expected = [0.0] * (4 - n_reached) + [1.0] * n_reached
        assert table["ap"].tolist() == [*expected, n_reached / 4]


def test_wrong_values_are_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"matching by iou needs a value in \(0, 1\], got 1\.5"
    ):
        MatchRule("iou", 1.5, 20.0)
    with pytest.raises(
        ParameterError, match=r"matching by distance needs a value in \(0, inf\], got 0"
    ):
        MatchRule("distance", 0, 20.0)


def test_nothing_found_and_nothing_there() -> None:
    empty = ground_truth([], ["a"])
    none = found_table([])
    metrics = measure_detections(
        match_detections(none, empty, MatchRule("iou", 0.5, 20.0)),
        empty,
        {"jet": 0.5},
        sample=resample(empty.scenes, n_bootstrap=100, seed=0),
    )
    assert {
        figure.value for name, figure in metrics.estimates.items() if not name.startswith("count")
    } == {None, 0.0}
    assert metrics.estimates["count_error"].value == 0.0
    rules = swept_rules(MatchRule("size", 0.5, 20.0))
    assert ap_by_threshold(none, empty, ["jet"], rules)["ap"].isna().all()


def test_the_threshold_leaves_room_below_the_last_object_it_keeps() -> None:
    scores, tp = [0.9, 0.8, 0.4, 0.3], [True, True, False, False]
    curve = score_curve(scores, tp, [0, 0, 0, 0], n_gt=[2], km2=[1.0])
    point = choose_threshold(
        curve,
        resample(random_world(3, scenes=1)[1].scenes, n_bootstrap=0, seed=0),
        ThresholdRule("precision_at_least", 1.0),
    )
    assert point.threshold == pytest.approx(
        0.6
    )  # not 0.8: 0.79 on another scene is more likely an object than not
    assert (point.precision, point.recall) == (1.0, 1.0)


@pytest.mark.parametrize(("distance", "is_ignored"), [(19.0, True), (21.0, False)])
def test_an_ignored_point_has_the_reach_of_a_point(distance: float, is_ignored: bool) -> None:
    truth = ground_truth([], ["a"], [("a", (50, 50, 50, 50))])
    x = 50 + distance
    found = found_table([("a", "jet", 0.9, (x, 50, x, 50))])
    rule = MatchRule("size", 0.5, point_match_radius_m=20)
    assert match_detections(found, truth, rule)["ignored"].tolist() == [is_ignored]


SMALL = ("a", (50, 50, 53, 53))
LARGE = ("a", (50, 50, 90, 90))


@pytest.mark.parametrize(
    ("ignored", "rule", "box", "is_ignored"),
    [
        # a detection of 20 m whose middle is 8 m from that of a marker of 3 m lies on it
        (SMALL, MatchRule("size", 0.5, 20.0), (49.5, 41.5, 69.5, 61.5), True),
        (SMALL, MatchRule("size", 0.5, 20.0), (52.0, 41.5, 72.0, 61.5), False),
        (SMALL, MatchRule("size", 0.2, 20.0), (49.5, 41.5, 69.5, 61.5), False),
        (SMALL, MatchRule("distance", 9.0, 20.0), (49.5, 41.5, 69.5, 61.5), True),
        (SMALL, MatchRule("distance", 7.0, 20.0), (49.5, 41.5, 69.5, 61.5), False),
        (SMALL, MatchRule("iou", 0.5, 20.0), (49.5, 41.5, 69.5, 61.5), True),
        (SMALL, MatchRule("iou", 0.5, 20.0), (51.6, 41.5, 71.6, 61.5), False),
        (SMALL, MatchRule("oriented_iou", 0.5, 20.0), (49.5, 41.5, 69.5, 61.5), True),
        # the outline of a box that is no marker is where it ends
        (LARGE, MatchRule("size", 0.5, 20.0), (79.0, 60.0, 99.0, 80.0), True),
        (LARGE, MatchRule("size", 0.5, 20.0), (81.0, 60.0, 101.0, 80.0), False),
        # without a size of its own a small box has the outline alone
        (SMALL, MatchRule("size", 0.5, 20.0), (55.0, 51.5, 55.0, 51.5), False),
        (SMALL, MatchRule("size", 0.5, 20.0), (52.5, 51.5, 52.5, 51.5), True),
    ],
)
def test_what_lies_on_a_small_ignored_box_is_ignored_by_the_match_rule(
    ignored: tuple[str, Box], rule: MatchRule, box: Box, is_ignored: bool
) -> None:
    plain = ground_truth([("a", "jet", (200, 200, 230, 210))], ["a", "b"], [ignored])
    side = ignored[1][2] - ignored[1][0]
    truth = GroundTruth(plain.scenes, plain.objects, plain.ignored.assign(longer_m=float(side)))
    found = found_table([("a", "jet", 0.9, box), ("b", "jet", 0.8, box)])
    assert match_detections(found, truth, rule)["ignored"].tolist() == [is_ignored, False]


def test_a_score_at_the_threshold_is_reported() -> None:
    truth = ground_truth([("a", "jet", (0, 0, 10, 10))], ["a"])
    found = found_table([("a", "jet", 0.5, (0, 0, 10, 10)), ("a", "jet", 0.5, (90, 0, 99, 9))])
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    sample = resample(truth.scenes, n_bootstrap=0, seed=0)
    metrics = measure_detections(matches, truth, {"jet": 0.5}, sample=sample)
    assert metrics.estimates["recall"].value == 1.0
    assert metrics.estimates["precision"].value == 0.5
    assert metrics.per_scene["reported"].tolist() == [2]
    assert counts_by_size(matches, truth, {"jet": 0.5}, edges_m=[])["found"].sum() == 1


def test_a_recall_that_is_just_reached_is_enough() -> None:
    curve = score_curve([0.9, 0.8, 0.4], [True, True, True], [0, 0, 0], n_gt=[4], km2=[1.0])
    sample = resample(random_world(3, scenes=1)[1].scenes, n_bootstrap=0, seed=0)
    point = choose_threshold(curve, sample, ThresholdRule("recall_at_least", 0.5))
    assert (point.met, point.recall) == (True, 0.5)
