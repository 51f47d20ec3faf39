"""Score curves and their metrics against scikit-learn, plain loops, and an independent matcher."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from windhover.geometry.pairing import assign_one_to_one, inside_any, pairs_by_center
from windhover.metrics.bootstrap import (
    bootstrap_values,
    bootstrap_weights,
    percentile_interval,
    resampling_groups,
)
from windhover.metrics.score_curve import (
    ScoreCurve,
    average_precision,
    recall_at_false_alarm_rate,
    score_curve,
)


def random_curve(
    seed: int, groups: int = 4, n: int = 80, ties: bool = True
) -> tuple[ScoreCurve, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, n) / 12 if ties else rng.random(n)
    is_tp = rng.random(n) < 0.4
    group = rng.integers(0, groups, n)
    missed = rng.integers(0, 4, groups)
    raw = {
        "scores": scores,
        "is_tp": is_tp,
        "group": group,
        "n_gt": np.bincount(group[is_tp], minlength=groups) + missed,
        "km2": rng.uniform(0.1, 3, groups),
    }
    return score_curve(**raw), raw


def counted_points(
    raw: dict[str, np.ndarray], weight: np.ndarray
) -> list[tuple[float, float, float, float]]:
    """Return (threshold, tp, fp, km2) at every distinct score, by counting."""
    out = []
    for threshold in sorted(set(raw["scores"].tolist()), reverse=True):
        w = weight[raw["group"]] * (raw["scores"] >= threshold)
        out.append(
            (
                threshold,
                (w * raw["is_tp"]).sum(),
                (w * ~raw["is_tp"]).sum(),
                (weight * raw["km2"]).sum(),
            )
        )
    return out


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60))
def test_weighted_metrics_equal_plain_counting(seed: int, n: int) -> None:
    curve_of_groups, raw = random_curve(seed, n=n)
    weight = np.random.default_rng(seed + 1).integers(0, 4, 4).astype(float)
    truth = float((weight * raw["n_gt"]).sum())
    counts = curve_of_groups.counts(weight)
    points = counted_points(raw, weight)
    if truth == 0:
        assert np.isnan(average_precision(counts)[0])
        return
    precision = [h / (h + a) if h + a else 0.0 for _, h, a, _ in points]
    recall = [0.0, *(h / truth for _, h, _, _ in points)]
    ap = sum((recall[k + 1] - recall[k]) * max(precision[k:]) for k in range(len(points)))
    assert average_precision(counts)[0] == pytest.approx(ap)
    for limit in (0.0, 0.5, 2.0, 100.0):
        best = max((h / truth for _, h, a, km2 in points if a <= limit * km2), default=0.0)
        assert recall_at_false_alarm_rate(counts, limit)[0] == pytest.approx(best)
    for threshold, tp, fp, km2 in points:
        at = curve_of_groups.counts_at(threshold, weight)
        assert (at.tp[0, 0], at.fp[0, 0]) == (tp, fp)
        assert (
            at.false_alarms_per_km2[0, 0] == pytest.approx(fp / km2)
            if km2
            else np.isnan(at.false_alarms_per_km2[0, 0])
        )
    if points:
        assert (counts.tp[-1, 0], counts.fp[-1, 0]) == points[-1][1:3]
        best_f = max(5 * h / (4 * truth + h + a) for _, h, a, _ in points)
        assert counts.f_beta(2.0).max() == pytest.approx(best_f)


def test_thresholds_are_on_the_curve_of_scikit_learn() -> None:
    _, raw = random_curve(3, groups=1, n=200)
    n_gt = [raw["is_tp"].sum()]
    curve = score_curve(raw["scores"], raw["is_tp"], raw["group"], n_gt=n_gt, km2=[1.0])
    precision, recall, thresholds = precision_recall_curve(raw["is_tp"], raw["scores"])
    theirs = {t: (p, r) for t, p, r in zip(thresholds, precision[:-1], recall[:-1], strict=True)}
    counts = curve.counts()
    assert len(counts.thresholds) > 5
    for score, p, r in zip(
        counts.thresholds, counts.precision[:, 0], counts.recall[:, 0], strict=True
    ):
        assert theirs[score] == pytest.approx((p, r))


def independent_metrics(scenes: list[dict[str, np.ndarray]], km2: float) -> dict[str, float]:
    """Match by an independent rule, the nearest free object within half its side; all-point AP."""
    out = []
    n_gt = 0
    for scene in scenes:
        boxes = scene["boxes"]
        ignored = scene["ignored"]
        n_gt += len(boxes)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        reach = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) / 2
        is_free = np.ones(len(boxes), bool)
        for score, x, y in sorted(map(tuple, scene["found"]), reverse=True):
            distance = np.hypot(centers[:, 0] - x, centers[:, 1] - y)
            near = np.flatnonzero(is_free & (distance <= reach))
            if len(near):
                is_free[near[distance[near].argmin()]] = False
                out.append((score, 1))
            elif not any(a <= x <= c and b <= y <= d for a, b, c, d in ignored):
                out.append((score, 0))
    matches = np.array(sorted(out, key=lambda pair: -pair[0]))
    tp = np.cumsum(matches[:, 1])
    k = np.arange(1, len(matches) + 1)
    precision = tp / k
    recall = tp / n_gt
    fp_per_km2 = (k - tp) / (km2 * len(scenes))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return {
        "ap": float(np.sum(np.diff(np.r_[0, recall]) * envelope)),
        "f1": float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()),
        "recall_at_1": float(recall[fp_per_km2 <= 1].max(initial=0)),
        "recall_at_5": float(recall[fp_per_km2 <= 5].max(initial=0)),
    }


def our_metrics(scenes: list[dict[str, np.ndarray]], km2: float) -> dict[str, float]:
    scores = []
    is_tp = []
    groups = []
    for index, scene in enumerate(scenes):
        found = scene["found"][np.argsort(-scene["found"][:, 0])]
        boxes = scene["boxes"]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        reach = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) / 2
        taken = assign_one_to_one(
            pairs_by_center(found[:, 1:], centers, reach), len(found), len(boxes)
        )
        keep = (taken >= 0) | ~inside_any(found[:, 1:], shapely.box(*scene["ignored"].T))
        scores.append(found[keep, 0])
        is_tp.append(taken[keep] >= 0)
        groups.append(np.full(keep.sum(), index))
    n = [len(scene["boxes"]) for scene in scenes]
    matches = [np.concatenate(parts) for parts in (scores, is_tp, groups)]
    curve = score_curve(*matches, n_gt=n, km2=np.full(len(scenes), km2)).counts()
    return {
        "ap": float(average_precision(curve)[0]),
        "f1": float(np.nanmax(curve.f_beta())),
        "recall_at_1": float(recall_at_false_alarm_rate(curve, 1)[0]),
        "recall_at_5": float(recall_at_false_alarm_rate(curve, 5)[0]),
    }


def random_scene(rng: np.random.Generator, objects: int, others: int) -> dict[str, np.ndarray]:
    corner = rng.uniform(0, 900, (objects, 2))
    size = rng.uniform(8, 90, (objects, 2))
    boxes = np.c_[corner, corner + size]
    near = (corner + size / 2)[rng.random(objects) < 0.8]
    twice = near[rng.random(len(near)) < 0.3]
    tp = near + rng.normal(0, 12, near.shape)
    doubles = twice + rng.normal(0, 9, twice.shape)
    xy = np.concatenate([tp, doubles, rng.uniform(0, 900, (others, 2))])
    corners = rng.uniform(0, 800, (2, 2))
    return {
        "boxes": boxes,
        "ignored": np.c_[corners, corners + np.array([150, 60])],
        "found": np.c_[rng.random(len(xy)), xy],
    }


@pytest.mark.parametrize("seed", range(12))
def test_metrics_agree_with_an_independent_matcher(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [
        random_scene(rng, int(rng.integers(0, 40)), int(rng.integers(1, 60))) for _ in range(5)
    ]
    scenes.append(random_scene(rng, 0, 5))
    assert our_metrics(scenes, 1.6) == pytest.approx(independent_metrics(scenes, 1.6), abs=1e-12)


def test_no_detection_no_object_and_neither() -> None:
    none = np.zeros(0)
    no_detection = score_curve(none, none, none, n_gt=[3], km2=[1.0]).counts()
    assert average_precision(no_detection)[0] == 0.0
    assert recall_at_false_alarm_rate(no_detection, 5)[0] == 0.0
    neither = score_curve(none, none, none, n_gt=[0], km2=[1.0]).counts()
    assert np.isnan(average_precision(neither)[0])
    no_object = score_curve([0.9, 0.8], [False, False], [0, 0], n_gt=[0], km2=[2.0])
    assert np.isnan(average_precision(no_object.counts())[0])
    assert no_object.counts_at(0.85).false_alarms_per_km2[0, 0] == 0.5
    assert np.isnan(no_object.counts_at(0.95).precision[0, 0])
    all_missed = score_curve([0.9, 0.8], [False, False], [0, 0], n_gt=[4], km2=[2.0]).counts()
    assert average_precision(all_missed)[0] == 0.0


def test_bootstrap_equals_resampling_by_hand() -> None:
    curve, raw = random_curve(8, groups=5, n=150)
    weights = bootstrap_weights(5, 40, seed=1)
    assert weights.sum(axis=0).tolist() == [5.0] * 40
    sample = bootstrap_values(
        lambda w: {"ap": average_precision(curve.counts(w))}, weights, n_rows=10**6
    )  # a few draws at a time
    for column in range(0, 40, 7):
        names = np.repeat(np.arange(5), weights[:, column].astype(int))
        parts = [np.flatnonzero(raw["group"] == name) for name in names]
        where = np.concatenate(parts)
        n_gt = [raw["n_gt"][names].sum()]
        again = score_curve(
            raw["scores"][where], raw["is_tp"][where], np.zeros(len(where)), n_gt=n_gt, km2=[1.0]
        )
        assert sample["ap"][column] == pytest.approx(
            average_precision(again.counts())[0], nan_ok=True
        )


def test_intervals_hold_the_middle_and_say_when_there_is_none() -> None:
    assert percentile_interval(np.arange(1001)) == pytest.approx((25.0, 975.0))
    assert percentile_interval([0.4, np.nan]) is None
    assert percentile_interval([]) is None
    assert percentile_interval([0.4, np.nan, 0.6]) == pytest.approx((0.405, 0.595))


def test_the_interval_of_a_known_rate_covers_it() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        found = rng.binomial(20, 0.7, 40)
        weights = bootstrap_weights(40, 400, seed)
        low, high = percentile_interval((found @ weights) / (20 * weights.sum(axis=0))) or (0, 0)
        covered += low <= 0.7 <= high
    assert 48 <= covered <= 60


def test_places_are_resampled_where_there_are_six() -> None:
    scenes = [f"s{k:02d}" for k in range(12)]
    kind, index, names = resampling_groups([f"p{k % 6}" for k in range(12)], scenes)
    assert (kind, len(names), index[0] == index[6]) == ("places", 6, True)
    assert resampling_groups([f"p{k % 5}" for k in range(12)], scenes)[0] == "scenes"
    assert resampling_groups([], [])[2] == []


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(bootstrap_weights(7, 20, 3), bootstrap_weights(7, 20, 3))
    assert not np.array_equal(bootstrap_weights(7, 20, 3), bootstrap_weights(7, 20, 4))
    assert bootstrap_weights(0, 5, 0).shape == (0, 5)
