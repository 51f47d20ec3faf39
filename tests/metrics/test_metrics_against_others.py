"""Metrics against other programs that compute them, and at size."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toy_matches import found_table, ground_truth, random_world
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import class_score_curve, measure_detections
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections, match_detections_by_rules
from windhover.metrics.match_rule import MatchRule


def coco_ap(found: pd.DataFrame, truth: GroundTruth, ious: list[float]) -> np.ndarray:
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
            record = {
                "id": index,
                "image_id": scenes.index(row["scene"]),
                "category_id": classes.index(row["class"]) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            out.append(record | {key: row[key] for key in more})
        return out

    gt = coco.COCO()
    gt.dataset = {
        "images": [{"id": k} for k in range(len(scenes))],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": rows(truth.objects),
    }
    gt.createIndex()
    run = COCOeval(gt, gt.loadRes(rows(found, score=True)), "bbox")
    run.params.maxDets = [10**6]
    run.params.iouThrs = np.array(ious)
    run.params.areaRng = [[0, 1e12]]
    run.params.areaRngLbl = ["all"]
    run.evaluate()
    run.accumulate()
    return run.eval["precision"][:, :, :, 0, 0]  # (T, 101, K)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_iou_curves_agree_with_pycocotools(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = random_world(seed)
    truth = GroundTruth(truth.scenes, truth.objects, truth.ignored.iloc[:0])
    ious = [0.5, 0.75, 0.85]
    theirs = coco_ap(found, truth, ious)
    sample = resample(truth.scenes, n_bootstrap=0, seed=0)
    for row, matches in enumerate(
        match_detections_by_rules(found, truth, [MatchRule("iou", value, 20.0) for value in ious])
    ):
        for column, name in enumerate(("jet", "prop")):
            counts = class_score_curve(matches, truth, sample, class_name=name).counts()
            envelope = np.maximum.accumulate(counts.precision[::-1, 0])[::-1]
            at = np.searchsorted(counts.recall[:, 0], np.linspace(0, 1, 101), side="left")
            assert np.r_[envelope, 0.0][at] == pytest.approx(theirs[row, :, column], abs=1e-9)


def test_300_000_detections_in_seconds() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 30_000, (30_000, 2))
    tp = xy[:28_000] + rng.normal(0, 4, (28_000, 2))
    where = np.concatenate([tp, rng.uniform(0, 30_000, (272_000, 2))])
    scores = np.concatenate([rng.beta(5, 2, 28_000), rng.beta(1, 6, 272_000)])
    columns = {"scene": "a", "class": "jet"}
    truth = pd.DataFrame(
        {"x_m": xy[:, 0], "y_m": xy[:, 1], "longer_m": 40.0, "geometry": None}
    ).assign(**columns)
    found = pd.DataFrame({"x_m": where[:, 0], "y_m": where[:, 1], "score": scores}).assign(
        **columns
    )
    there = GroundTruth(
        pd.DataFrame({"scene": ["a"], "place": ["a"], "km2": [900.0]}),
        truth,
        pd.DataFrame({"scene": [], "geometry": []}, dtype=object),
    )
    metrics = measure_detections(
        match_detections(found, there, MatchRule("size", 0.5, 20.0)),
        there,
        {"jet": 0.5},
        sample=resample(there.scenes, n_bootstrap=1000, seed=0),
    )
    assert 0.8 < (metrics.estimates["ap"].value or 0) < 1


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
    there = ground_truth(rows, sorted(theirs), ignored)
    there.scenes["km2"] = (2560 * gsd) ** 2 / 1e6
    metrics = measure_detections(
        match_detections(found_table(found), there, MatchRule("size", 0.5, 20.0)),
        there,
        {"aircraft": expected["threshold"]},
        sample=resample(there.scenes, n_bootstrap=0, seed=0),
    )
    ours = {
        name: metrics.estimates[name].value
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
