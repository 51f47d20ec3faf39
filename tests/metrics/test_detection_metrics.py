"""Whole-scene assessment: the rules, the free detections, the figures, the table and the sweep, on
made-up ground.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.errors import ParameterError
from windhover.metrics.ap_by_threshold import sweep
from windhover.metrics.detection_metrics import (
    assess,
    choose_point,
    draw,
    precision_band,
    size_table,
    tally_class,
)
from windhover.metrics.ground_truth import Ground
from windhover.metrics.match_detections import Match, judge, judge_many
from windhover.metrics.operating_point import Rule
from windhover.metrics.score_curve import tally

Box = tuple[float, float, float, float]


def objects_table(rows: list[tuple[str, str, Box]]) -> pd.DataFrame:
    boxes = [shapely.box(*box) for _, _, box in rows]
    return pd.DataFrame(
        {
            "scene": pd.Series([row[0] for row in rows], dtype=object),
            "class": pd.Series([row[1] for row in rows], dtype=object),
            "x_m": [(box[0] + box[2]) / 2 for *_, box in rows],
            "y_m": [(box[1] + box[3]) / 2 for *_, box in rows],
            "longer_m": [max(box[2] - box[0], box[3] - box[1]) for *_, box in rows],
            "geometry": pd.Series(boxes, dtype=object),
        }
    ).astype({"x_m": float, "y_m": float, "longer_m": float})


def found_table(rows: list[tuple[str, str, float, Box]]) -> pd.DataFrame:
    table = objects_table([(scene, name, box) for scene, name, _, box in rows])
    return table.assign(score=np.array([row[2] for row in rows], float))


def ground(
    rows: list[tuple[str, str, Box]], scenes: list[str], ignored: list[tuple[str, Box]] = []
) -> Ground:
    areas = pd.DataFrame(
        {"scene": [s for s, _ in ignored], "geometry": [shapely.box(*b) for _, b in ignored]},
        dtype=object,
    )
    places = pd.DataFrame({"scene": scenes, "place": scenes, "km2": 2.0})
    return Ground(places, objects_table(rows), areas)


def random_world(seed: int, scenes: int = 12) -> tuple[pd.DataFrame, Ground]:
    rng = np.random.default_rng(seed)
    names, truth, found = [f"s{k:02d}" for k in range(scenes)], [], []
    for scene in names:
        for name in ("jet", "prop"):
            for x, y in rng.uniform(0, 900, (rng.integers(0, 6), 2)):
                w, h = rng.uniform(10, 60, 2)
                truth.append((scene, name, (x, y, x + w, y + h)))
                if rng.random() < 0.8:
                    dx, dy = rng.normal(0, 5, 2)
                    found.append(
                        (
                            scene,
                            name,
                            float(rng.beta(5, 2)),
                            (x + dx, y + dy, x + dx + w * 1.1, y + dy + h),
                        )
                    )
            for x, y in rng.uniform(0, 900, (rng.integers(0, 8), 2)):
                found.append((scene, name, float(rng.beta(2, 5)), (x, y, x + 30, y + 30)))
    return found_table(found), ground(truth, names, [("s00", (0, 0, 400, 400))])


def test_classes_and_scenes_never_share_objects() -> None:
    truth = ground([("a", "jet", (0, 0, 10, 20))], ["a", "b"])
    found = found_table(
        [
            ("b", "jet", 0.9, (0, 0, 10, 20)),
            ("a", "prop", 0.8, (0, 0, 10, 20)),
            ("a", "jet", 0.7, (0, 0, 10, 20)),
        ]
    )
    assert judge(found, truth, Match("size", 0.5))["hit"].tolist() == [False, False, True]


def test_ignored_areas_cost_nothing_but_objects_in_them_count() -> None:
    truth = ground([("a", "jet", (10, 10, 30, 40))], ["a"], [("a", (0, 0, 100, 100))])
    found = found_table(
        [
            ("a", "jet", 0.9, (10, 10, 30, 40)),
            ("a", "jet", 0.8, (60, 60, 80, 80)),
            ("a", "jet", 0.7, (200, 0, 220, 9)),
        ]
    )
    judged = judge(found, truth, Match("size", 0.5))
    assert judged["hit"].tolist() == [True, False, False]
    assert judged["free"].tolist() == [False, True, False]
    made = assess(judged, truth, {"jet": 0.0}, draw(truth.scenes, 0, 0))
    assert made.figures["precision"].value == 0.5
    assert made.figures["count_bias"].value == 1.0


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
    truth = ground([("a", "jet", (0, 0, 20, 10))], ["a"])
    found = found_table([("a", "jet", 0.9, (5, 0, 25, 10))])  # 5 m off; overlap 15 of 25
    assert judge(found, truth, Match(by, value))["hit"].tolist() == [hit]


def test_turned_objects_match_by_their_own_outline() -> None:
    truth = ground([("a", "jet", (0, 0, 20, 20))], ["a"])
    diamond = shapely.Polygon([(10, 0), (20, 10), (10, 20), (0, 10)])
    truth.objects["geometry"] = pd.Series([diamond], dtype=object)
    found = found_table([("a", "jet", 0.9, (0, 0, 20, 20))])
    assert judge(found, truth, Match("iou", 0.99))["hit"].tolist() == [True]
    assert judge(found, truth, Match("oriented_iou", 0.51))["hit"].tolist() == [False]
    assert judge(
        found.assign(geometry=pd.Series([diamond], dtype=object)), truth, Match("oriented_iou", 1.0)
    )["hit"].tolist() == [True]


def test_points_have_a_reach_of_their_own() -> None:
    truth = ground([("a", "jet", (10, 10, 10, 10))], ["a"])
    truth.objects["longer_m"] = np.nan
    found = found_table([("a", "jet", 0.9, (20, 10, 20, 10))])
    assert judge(found, truth, Match("size", 0.5, point_match_radius_m=10))["hit"].tolist() == [True]
    assert judge(found, truth, Match("size", 0.5, point_match_radius_m=9.9))["hit"].tolist() == [False]


def test_many_values_at_once_are_each_value_by_itself() -> None:
    found, truth = random_world(5)
    for by, values in (
        ("size", (0.1, 0.5, 0.3)),
        ("distance", (3.0, 12.0)),
        ("iou", (0.9, 0.5)),
        ("oriented_iou", (0.6,)),
    ):
        matches = [Match(by, value) for value in values]  # type: ignore[arg-type]
        for match, many in zip(matches, judge_many(found, truth, matches), strict=True):
            pd.testing.assert_frame_equal(many, judge(found, truth, match))


def test_the_order_of_the_input_changes_nothing() -> None:
    found, truth = random_world(6)
    shuffled = found.sample(frac=1, random_state=1)
    first, second = (judge(table, truth, Match("size", 0.5)) for table in (found, shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_figures_of_classes_and_of_all() -> None:
    found, truth = random_world(7)
    drawn = draw(truth.scenes, 200, 0)
    assert drawn.over == "places"
    judged = judge(found, truth, Match("size", 0.5))
    made = assess(judged, truth, {"jet": 0.5, "prop": 0.3}, drawn)
    assert made.figures["ap"].value == pytest.approx(
        np.mean([made.per_class[name]["ap"].value for name in ("jet", "prop")])
    )
    table = made.per_scene
    reported = judged[
        ~judged["free"] & (judged["score"] >= judged["class"].map({"jet": 0.5, "prop": 0.3}))
    ]
    assert table["reported"].sum() == len(reported)
    assert made.figures["precision"].value == pytest.approx(reported["hit"].mean())
    assert made.figures["recall"].value == pytest.approx(reported["hit"].sum() / len(truth.objects))
    assert made.figures["false_alarms_per_km2"].value == pytest.approx(
        (~reported["hit"]).sum() / 24
    )
    assert made.figures["count_error"].value == pytest.approx(table["count_error"].abs().mean())
    for figure in made.figures.values():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.high


def test_the_expected_count_is_the_sum_of_the_scores() -> None:
    found, truth = random_world(8)
    judged = judge(found, truth, Match("size", 0.5))
    table = assess(
        judged, truth, {"jet": 0.5, "prop": 0.5}, draw(truth.scenes, 0, 0)
    ).per_scene.set_index("scene")
    counted = judged[~judged["free"]]
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
    there = ground(truth, names)
    table = assess(
        judge(found_table(rows), there, Match("size", 0.5)),
        there,
        {"jet": 0.5},
        draw(there.scenes, 0, 0),
    ).per_scene
    covered = (
        (table["expected_low"] <= table["objects"]) & (table["objects"] <= table["expected_high"])
    ).mean()
    assert 0.92 <= covered <= 1.0


def test_size_bands_count_every_object_once() -> None:
    found, truth = random_world(9)
    truth.objects.loc[0, "longer_m"] = np.nan
    thresholds = {"jet": 0.5, "prop": 0.5}
    made = assess(
        judge(found, truth, Match("size", 0.5)), truth, thresholds, draw(truth.scenes, 0, 0)
    )
    table = size_table(made, thresholds, [20.0, 40.0])
    assert table["objects"].sum() == len(truth.objects)
    assert table["found"].sum() == made.per_scene["found"].sum()
    assert np.isnan(table["from_m"].iloc[-1])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_froc_bands_and_counts_are_what_counting_by_hand_gives(seed: int) -> None:
    found, truth = random_world(seed)
    thresholds = {"jet": 0.5, "prop": 0.35}
    judged = judge(found, truth, Match("size", 0.5))
    made = assess(judged, truth, thresholds, draw(truth.scenes, 0, 0))
    rows = [row for row in judged.to_dict("records") if not row["free"]]
    km2, objects = 2.0 * len(truth.scenes), truth.objects.to_dict("records")
    for name in thresholds:
        mine = [row for row in rows if row["class"] == name]
        there = sum(one["class"] == name for one in objects)
        for rate in (1, 5):
            best = 0.0
            for cut in [row["score"] for row in mine]:
                taken = [row["hit"] for row in mine if row["score"] >= cut]
                if taken.count(False) / km2 <= rate:
                    best = max(best, taken.count(True) / there)
            assert made.per_class[name][f"recall_at_{rate}_per_km2"].value == pytest.approx(best)
    reported = [row for row in rows if row["score"] >= thresholds[row["class"]]]
    taken_objects = {row["truth"] for row in reported if row["hit"]}
    for band in size_table(made, thresholds, [20.0, 40.0]).to_dict("records"):
        inside = [
            k for k, one in enumerate(objects) if band["from_m"] <= one["longer_m"] < band["to_m"]
        ]
        assert (band["objects"], band["found"]) == (len(inside), len(taken_objects & set(inside)))
    off = [
        sum(row["scene"] == scene for row in reported)
        - sum(one["scene"] == scene for one in objects)
        for scene in truth.scenes["scene"]
    ]
    assert made.figures["count_error"].value == pytest.approx(sum(map(abs, off)) / len(off))
    assert made.figures["count_bias"].value == pytest.approx(sum(off) / len(off))
    for line in made.per_scene.to_dict("records"):
        scores = [row["score"] for row in rows if row["scene"] == line["scene"]]
        spread = 1.96 * sum(score * (1 - score) for score in scores) ** 0.5
        assert line["expected"] == pytest.approx(sum(scores))
        assert line["expected_low"] == pytest.approx(max(sum(scores) - spread, 0), abs=1e-2)
        assert line["expected_high"] == pytest.approx(sum(scores) + spread, abs=1e-2)


def test_the_band_holds_the_curve() -> None:
    found, truth = random_world(10, scenes=30)
    drawn = draw(truth.scenes, 300, 0)
    tallied = tally_class(judge(found, truth, Match("size", 0.5)), truth, drawn)
    band = precision_band(tallied, drawn)
    counts = tallied.curve()
    envelope = np.maximum.accumulate(counts.precision[::-1, 0])[::-1]
    reached = np.searchsorted(counts.recall[:, 0], band["recall"] - 1e-12)
    ours = np.r_[envelope, 0.0][reached]
    assert (band["low"] <= ours + 1e-9).mean() > 0.9
    assert (ours <= band["high"] + 1e-9).mean() > 0.9


def test_a_point_chosen_on_the_whole_lies_in_its_interval() -> None:
    found, truth = random_world(11, scenes=30)
    drawn = draw(truth.scenes, 300, 0)
    point = choose_point(
        tally_class(judge(found, truth, Match("size", 0.5)), truth, drawn, "jet"),
        drawn,
        Rule("max_fbeta", 1),
    )
    assert point.low is not None
    assert point.high is not None
    assert point.low <= point.threshold <= point.high
    assert (point.met, point.note) == (True, "")


def test_the_sweep_falls_as_the_rule_gets_stricter() -> None:
    found, truth = random_world(12)
    table = sweep(found, truth, ["jet", "prop"], "iou")
    aps = table["ap"].to_numpy()[:-1]
    assert len(aps) == 10
    assert (np.diff(aps) <= 1e-12).all()
    assert table["ap"].iloc[-1] == pytest.approx(aps.mean())
    assert (
        sweep(found, truth, ["jet", "prop"], "size")["ap"].iloc[0]
        <= sweep(found, truth, ["jet", "prop"], "size")["ap"].iloc[4]
    )


def coco_ap(found: pd.DataFrame, truth: Ground, ious: list[float]) -> np.ndarray:
    """AP by pycocotools, no cap on detections: 101 recalls, all classes."""
    coco = pytest.importorskip(
        "pycocotools.coco", reason="compares with pycocotools where it is installed"
    )
    from pycocotools.cocoeval import COCOeval

    scenes, classes = truth.scenes["scene"].tolist(), ["jet", "prop"]

    def rows(table: pd.DataFrame, **more: Any) -> list[dict[str, Any]]:
        out = []
        for index, row in enumerate(table.to_dict("records"), start=1):
            left, top, right, bottom = row["geometry"].bounds
            out.append({
                "id": index, "image_id": scenes.index(row["scene"]), "category_id": classes.index(row["class"]) + 1,
                "bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top), "iscrowd": 0,
                **{key: row[key] for key in more},
            })  # fmt: skip
        return out

    gt = coco.COCO()
    gt.dataset = {
        "images": [{"id": k} for k in range(len(scenes))],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": rows(truth.objects),
    }
    gt.createIndex()
    run = COCOeval(gt, gt.loadRes(rows(found, score=True)), "bbox")
    run.params.maxDets, run.params.iouThrs, run.params.areaRng, run.params.areaRngLbl = (
        [10**6],
        np.array(ious),
        [[0, 1e12]],
        ["all"],
    )
    run.evaluate()
    run.accumulate()
    return run.eval["precision"][:, :, :, 0, 0]  # (T, 101, K)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_iou_curves_agree_with_pycocotools(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = random_world(seed)
    truth = Ground(truth.scenes, truth.objects, truth.ignored.iloc[:0])
    ious = [0.5, 0.75, 0.85]
    theirs = coco_ap(found, truth, ious)
    drawn = draw(truth.scenes, 0, 0)
    for row, judged in enumerate(judge_many(found, truth, [Match("iou", value) for value in ious])):
        for column, name in enumerate(("jet", "prop")):
            counts = tally_class(judged, truth, drawn, name).curve()
            envelope = np.maximum.accumulate(counts.precision[::-1, 0])[::-1]
            at = np.searchsorted(counts.recall[:, 0], np.linspace(0, 1, 101), side="left")
            assert np.r_[envelope, 0.0][at] == pytest.approx(theirs[row, :, column], abs=1e-9)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"matching by iou needs a value in \(0, 1\], got 1\.5"
    ):
        Match("iou", 1.5)
    with pytest.raises(
        ParameterError, match=r"matching by metres needs a value in \(0, inf\], got 0"
    ):
        Match("distance", 0)


def test_nothing_found_and_nothing_there() -> None:
    empty = ground([], ["a"])
    none = found_table([])
    made = assess(
        judge(none, empty, Match("iou", 0.5)), empty, {"jet": 0.5}, draw(empty.scenes, 100, 0)
    )
    assert {
        figure.value for name, figure in made.figures.items() if not name.startswith("count")
    } == {None, 0.0}
    assert made.figures["count_error"].value == 0.0
    assert sweep(none, empty, ["jet"], "size")["ap"].isna().all()


def test_300_000_detections_in_seconds() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 30_000, (30_000, 2))
    hits = xy[:28_000] + rng.normal(0, 4, (28_000, 2))
    where = np.concatenate([hits, rng.uniform(0, 30_000, (272_000, 2))])
    scores = np.concatenate([rng.beta(5, 2, 28_000), rng.beta(1, 6, 272_000)])
    columns = {"scene": "a", "class": "jet"}
    truth = pd.DataFrame(
        {"x_m": xy[:, 0], "y_m": xy[:, 1], "longer_m": 40.0, "geometry": None}
    ).assign(**columns)
    found = pd.DataFrame({"x_m": where[:, 0], "y_m": where[:, 1], "score": scores}).assign(
        **columns
    )
    there = Ground(
        pd.DataFrame({"scene": ["a"], "place": ["a"], "km2": [900.0]}),
        truth,
        pd.DataFrame({"scene": [], "geometry": []}, dtype=object),
    )
    started = time.process_time()
    made = assess(
        judge(found, there, Match("size", 0.5)), there, {"jet": 0.5}, draw(there.scenes, 1000, 0)
    )
    assert time.process_time() - started < 12
    assert 0.8 < (made.figures["ap"].value or 0) < 1


def test_the_figures_are_those_of_the_independent_judge_on_real_labels(real_data: Path) -> None:
    file = real_data.parent / "judge" / "judge.py"
    labels = real_data / "airbus-aircraft" / "annotations.csv"
    if not file.is_file() or not labels.is_file():
        pytest.skip("needs the judge and the Airbus labels beside the real scenes")
    spec = importlib.util.spec_from_file_location("judge", file)
    assert spec is not None
    assert spec.loader is not None
    judge_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge_module)
    theirs, gsd, rng = judge_module.read_truth(labels), 0.5, np.random.default_rng(1)
    rows, ignored, found, plain = [], [], [], {}
    for scene, (boxes, cut) in sorted(theirs.items()):
        rows += [(scene, "aircraft", tuple(box * gsd)) for box in boxes]
        ignored += [(scene, tuple(box * gsd)) for box in cut]
        near = (boxes[:, :2] + boxes[:, 2:]) / 2 + rng.normal(0, 20, (len(boxes), 2))
        xy = np.concatenate(
            [near, near[::3] + rng.normal(0, 25, near[::3].shape), rng.uniform(0, 2560, (40, 2))]
        )
        scores = rng.random(len(xy))
        plain[scene] = np.array(sorted(np.c_[scores, xy].tolist(), reverse=True))
        found += [
            (scene, "aircraft", float(s), (x * gsd, y * gsd, x * gsd, y * gsd))
            for s, (x, y) in zip(scores, xy, strict=True)
        ]
    expected = judge_module.judge(theirs, plain, gsd, (2560, 2560), draws=2)
    there = ground(rows, sorted(theirs), ignored)
    there.scenes["km2"] = (2560 * gsd) ** 2 / 1e6
    made = assess(
        judge(found_table(found), there, Match("size", 0.5)),
        there,
        {"aircraft": expected["threshold"]},
        draw(there.scenes, 0, 0),
    )
    ours = {
        name: made.figures[name].value
        for name in (
            "ap",
            "f1",
            "precision",
            "recall",
            "recall_at_1_per_km2",
            "recall_at_5_per_km2",
        )
    }
    assert ours == pytest.approx({name: expected[name] for name in ours}, abs=1e-12)


def test_the_threshold_leaves_room_below_the_last_object_it_keeps() -> None:
    scores, hits = [0.9, 0.8, 0.4, 0.3], [True, True, False, False]
    tallied = tally(scores, hits, [0, 0, 0, 0], [2], [1.0])
    point = choose_point(
        tallied, draw(random_world(3, scenes=1)[1].scenes, 0, 0), Rule("max_fbeta", 1.0)
    )
    assert point.threshold == pytest.approx(
        0.6
    )  # not 0.8: 0.79 on another scene is more likely an object than not
    assert (point.precision, point.recall) == (1.0, 1.0)
