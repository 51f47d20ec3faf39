"""Curves and their figures against scikit-learn, plain loops, and the rule of an independent judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from windhover.geometry.matching import assign, boxes_as_polygons, inside_any, pairs_by_center
from windhover.metrics.bootstrap import bootstrap, choose_groups, draw_weights, interval
from windhover.metrics.score_curve import Tally, average_precision, recall_at_alarms, tally


def random_tally(
    seed: int, groups: int = 4, n: int = 80, ties: bool = True
) -> tuple[Tally, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, n) / 12 if ties else rng.random(n)
    hit, group = rng.random(n) < 0.4, rng.integers(0, groups, n)
    missed = rng.integers(0, 4, groups)
    n_truth = np.bincount(group[hit], minlength=groups) + missed
    km2 = rng.uniform(0.1, 3, groups)
    raw = {"scores": scores, "hit": hit, "group": group, "n_truth": n_truth, "km2": km2}
    return tally(
        **{("is_hit" if name == "hit" else name): value for name, value in raw.items()}
    ), raw


def plain_points(
    raw: dict[str, np.ndarray], weight: np.ndarray
) -> list[tuple[float, float, float, float]]:
    """(threshold, hits, alarms, km2) at every distinct score, by counting."""
    out = []
    for threshold in sorted(set(raw["scores"].tolist()), reverse=True):
        w = weight[raw["group"]] * (raw["scores"] >= threshold)
        out.append(
            (
                threshold,
                (w * raw["hit"]).sum(),
                (w * ~raw["hit"]).sum(),
                (weight * raw["km2"]).sum(),
            )
        )
    return out


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 60))
def test_weighted_figures_equal_plain_counting(seed: int, n: int) -> None:
    made, raw = random_tally(seed, n=n)
    weight = np.random.default_rng(seed + 1).integers(0, 4, 4).astype(float)
    truth = float((weight * raw["n_truth"]).sum())
    curve = made.curve(weight)
    points = plain_points(raw, weight)
    if truth == 0:
        assert np.isnan(average_precision(curve)[0])
        return
    precision = [h / (h + a) if h + a else 0.0 for _, h, a, _ in points]
    recall = [0.0, *(h / truth for _, h, _, _ in points)]
    ap = sum((recall[k + 1] - recall[k]) * max(precision[k:]) for k in range(len(points)))
    assert average_precision(curve)[0] == pytest.approx(ap)
    for limit in (0.0, 0.5, 2.0, 100.0):
        best = max((h / truth for _, h, a, km2 in points if a <= limit * km2), default=0.0)
        assert recall_at_alarms(curve, limit)[0] == pytest.approx(best)
    for threshold, hits, alarms, km2 in points:
        at = made.at(threshold, weight)
        assert (at.hits[0, 0], at.alarms[0, 0]) == (hits, alarms)
        assert (
            at.alarms_per_km2[0, 0] == pytest.approx(alarms / km2)
            if km2
            else np.isnan(at.alarms_per_km2[0, 0])
        )
    if points:
        assert (curve.hits[-1, 0], curve.alarms[-1, 0]) == points[-1][1:3]
        best_f = max(5 * h / (4 * truth + h + a) for _, h, a, _ in points)
        assert curve.f_beta(2.0).max() == pytest.approx(best_f)


def test_levels_lie_on_the_curve_of_scikit_learn() -> None:
    made, raw = random_tally(3, groups=1, n=200)
    made = tally(raw["scores"], raw["hit"], raw["group"], [raw["hit"].sum()], [1.0])
    precision, recall, thresholds = precision_recall_curve(raw["hit"], raw["scores"])
    theirs = {t: (p, r) for t, p, r in zip(thresholds, precision[:-1], recall[:-1], strict=True)}
    curve = made.curve()
    assert len(curve.scores) > 5
    for score, p, r in zip(curve.scores, curve.precision[:, 0], curve.recall[:, 0], strict=True):
        assert theirs[score] == pytest.approx((p, r))


def judges_figures(scenes: list[dict[str, np.ndarray]], km2: float) -> dict[str, float]:
    """An independent rule: each detection takes the nearest free object within half its longer
    side; all-point AP.
    """
    out, n_truth = [], 0
    for scene in scenes:
        boxes, ignored = scene["boxes"], scene["ignored"]
        n_truth += len(boxes)
        centers, reach = (
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) / 2,
        )
        free = np.ones(len(boxes), bool)
        for score, x, y in sorted(map(tuple, scene["found"]), reverse=True):
            distance = np.hypot(centers[:, 0] - x, centers[:, 1] - y)
            near = np.flatnonzero(free & (distance <= reach))
            if len(near):
                free[near[distance[near].argmin()]] = False
                out.append((score, 1))
            elif not any(a <= x <= c and b <= y <= d for a, b, c, d in ignored):
                out.append((score, 0))
    judged = np.array(sorted(out, key=lambda pair: -pair[0]))
    hits, k = np.cumsum(judged[:, 1]), np.arange(1, len(judged) + 1)
    precision, recall, alarms = hits / k, hits / n_truth, (k - hits) / (km2 * len(scenes))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return {
        "ap": float(np.sum(np.diff(np.r_[0, recall]) * envelope)),
        "f1": float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()),
        "recall_at_1": float(recall[alarms <= 1].max(initial=0)),
        "recall_at_5": float(recall[alarms <= 5].max(initial=0)),
    }


def our_figures(scenes: list[dict[str, np.ndarray]], km2: float) -> dict[str, float]:
    scores, hits, groups = [], [], []
    for index, scene in enumerate(scenes):
        found = scene["found"][np.argsort(-scene["found"][:, 0])]
        boxes = scene["boxes"]
        centers, reach = (
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) / 2,
        )
        taken = assign(pairs_by_center(found[:, 1:], centers, reach), len(found), len(boxes))
        keep = (taken >= 0) | ~inside_any(found[:, 1:], boxes_as_polygons(scene["ignored"]))
        scores.append(found[keep, 0])
        hits.append(taken[keep] >= 0)
        groups.append(np.full(keep.sum(), index))
    n = [len(scene["boxes"]) for scene in scenes]
    judged = [np.concatenate(parts) for parts in (scores, hits, groups)]
    curve = tally(*judged, n, np.full(len(scenes), km2)).curve()
    return {
        "ap": float(average_precision(curve)[0]),
        "f1": float(np.nanmax(curve.f_beta())),
        "recall_at_1": float(recall_at_alarms(curve, 1)[0]),
        "recall_at_5": float(recall_at_alarms(curve, 5)[0]),
    }


def random_scene(rng: np.random.Generator, objects: int, others: int) -> dict[str, np.ndarray]:
    corner, size = rng.uniform(0, 900, (objects, 2)), rng.uniform(8, 90, (objects, 2))
    boxes = np.c_[corner, corner + size]
    near = (corner + size / 2)[rng.random(objects) < 0.8]
    twice = near[rng.random(len(near)) < 0.3]
    hits, doubles = near + rng.normal(0, 12, near.shape), twice + rng.normal(0, 9, twice.shape)
    xy = np.concatenate([hits, doubles, rng.uniform(0, 900, (others, 2))])
    spot = rng.uniform(0, 800, (2, 2))
    return {
        "boxes": boxes,
        "ignored": np.c_[spot, spot + np.array([150, 60])],
        "found": np.c_[rng.random(len(xy)), xy],
    }


@pytest.mark.parametrize("seed", range(12))
def test_figures_agree_with_an_independent_judge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [
        random_scene(rng, int(rng.integers(0, 40)), int(rng.integers(1, 60))) for _ in range(5)
    ]
    scenes.append(random_scene(rng, 0, 5))
    assert our_figures(scenes, 1.6) == pytest.approx(judges_figures(scenes, 1.6), abs=1e-12)


def test_no_detection_no_object_and_neither() -> None:
    none = np.zeros(0)
    assert average_precision(tally(none, none, none, [3], [1.0]).curve())[0] == 0.0
    assert recall_at_alarms(tally(none, none, none, [3], [1.0]).curve(), 5)[0] == 0.0
    assert np.isnan(average_precision(tally(none, none, none, [0], [1.0]).curve())[0])
    only_alarms = tally([0.9, 0.8], [False, False], [0, 0], [0], [2.0])
    assert np.isnan(average_precision(only_alarms.curve())[0])
    assert only_alarms.at(0.85).alarms_per_km2[0, 0] == 0.5
    assert np.isnan(only_alarms.at(0.95).precision[0, 0])
    assert (
        average_precision(tally([0.9, 0.8], [False, False], [0, 0], [4], [2.0]).curve())[0] == 0.0
    )


def test_bootstrap_gives_what_drawing_by_hand_gives() -> None:
    made, raw = random_tally(8, groups=5, n=150)
    weights = draw_weights(5, 40, seed=1)
    assert weights.sum(axis=0).tolist() == [5.0] * 40
    drawn = bootstrap(
        lambda w: {"ap": average_precision(made.curve(w))}, weights, rows=10**6
    )  # a few draws at a time
    for column in range(0, 40, 7):
        names = np.repeat(np.arange(5), weights[:, column].astype(int))
        parts = [np.flatnonzero(raw["group"] == name) for name in names]
        where = np.concatenate(parts)
        n_truth = [raw["n_truth"][names].sum()]
        again = tally(raw["scores"][where], raw["hit"][where], np.zeros(len(where)), n_truth, [1.0])
        assert drawn["ap"][column] == pytest.approx(
            average_precision(again.curve())[0], nan_ok=True
        )


def test_intervals_hold_the_middle_and_say_when_there_is_none() -> None:
    assert interval(np.arange(1001)) == pytest.approx((25.0, 975.0))
    assert interval([0.4, np.nan]) is None
    assert interval([]) is None
    assert interval([0.4, np.nan, 0.6]) == pytest.approx((0.405, 0.595))


def test_the_interval_of_a_known_rate_covers_it() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        found = rng.binomial(20, 0.7, 40)
        weights = draw_weights(40, 400, seed)
        low, high = interval((found @ weights) / (20 * weights.sum(axis=0))) or (0, 0)
        covered += low <= 0.7 <= high
    assert 48 <= covered <= 60


def test_places_are_drawn_where_there_are_ten() -> None:
    scenes = [f"s{k:02d}" for k in range(12)]
    kind, index, names = choose_groups([f"p{k % 10}" for k in range(12)], scenes)
    assert (kind, len(names), index[0] == index[10]) == ("places", 10, True)
    assert choose_groups([f"p{k % 9}" for k in range(12)], scenes)[0] == "scenes"
    assert choose_groups([], [])[2] == []


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(draw_weights(7, 20, 3), draw_weights(7, 20, 3))
    assert not np.array_equal(draw_weights(7, 20, 3), draw_weights(7, 20, 4))
    assert draw_weights(0, 5, 0).shape == (0, 5)
