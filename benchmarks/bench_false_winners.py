"""How often `windhover compare` names a winner between two models that are equally good.

    python benchmarks/bench_false_winners.py [TRIALS [WORLD ...]]

Both models are tested on the same simulated places (the worlds of `bench_intervals.py`), which are
as hard and as full for the one as for the other; scores, finds and false alarms are drawn anew for
each model from one law. One test has a model each; the other pools five folds of places, each of
them with a model of its own, whose training and threshold came out by chance a little better or
worse than the recipe's mean. A trial is wrong where any of the figures has a winner, and wrong by
AP where AP has one.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bench_intervals import LOGIT_STEP, WORLDS, World
from measuring import save
from scipy.special import expit

import windhover.evaluation.compare as compare_module
from windhover.evaluation.compare import compare
from windhover.evaluation.model_test import TestRecord, pool_folds
from windhover.geometry.arrays import Floats
from windhover.metrics.ground_truth import GroundTruth

TRIALS = 250
N_BOOTSTRAP = 400
N_PLACES = (6, 20)
N_FOLDS = 5
SHARE_FOUND = 0.985
# of what makes an object hard, logits: the object itself, and the chance of a training
OBJECT_SPREAD = 1.0
SCORE_SPREAD = 0.8
# standard deviation between the trainings of one recipe, logits
TRAINING_SPREADS = (0.0, 0.3)
THRESHOLD_SPREAD = 0.3


class Places(NamedTuple):
    """What places are for every model: area, objects and how hard they are, rate of alarms."""

    names: np.ndarray
    km2: Floats
    alarm_rate: Floats  # false positives in a place, mean
    object_place: np.ndarray
    object_logit: Floats  # mean over models


def draw_places(world: World, n_places: int, rng: np.random.Generator) -> Places:
    """Draw what places are, before any model sees them."""
    share = world.alikeness / (world.alikeness + world.objects)
    n_objects = rng.negative_binomial(world.alikeness, share, n_places)
    km2 = rng.uniform(*world.km2, n_places)
    spread = world.alarm_spread
    rate = world.alarms_per_km2 * np.exp(rng.normal(0, spread, n_places) - spread**2 / 2)
    place = np.repeat(np.arange(n_places), n_objects)
    quality = rng.normal(world.mean_logit, world.quality_spread, n_places)
    difficulty = rng.normal(0, OBJECT_SPREAD, len(place))
    names = np.array([f"p{number:03d}" for number in range(n_places)], object)
    return Places(names, km2, rate * km2, place, quality[place] + difficulty)


def record_of_model(
    places: Places, chosen: np.ndarray, seed: int, training_spread: float
) -> TestRecord:
    """Return the test of one model on some places: what it found, at its threshold."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, training_spread)
    threshold = float(expit(rng.normal(0, THRESHOLD_SPREAD * (training_spread > 0))))
    seen = np.isin(places.object_place, chosen)
    place = places.object_place[seen]
    found = rng.random(len(place)) < SHARE_FOUND
    logits = places.object_logit[seen] + shift + rng.normal(0, SCORE_SPREAD, len(place))
    alarm_place = np.repeat(chosen, rng.poisson(places.alarm_rate[chosen]))
    alarm_logits = rng.exponential(1.3, len(alarm_place)) - 4
    scored = np.concatenate([logits[found], alarm_logits])
    matches = pd.DataFrame(
        {
            "scene": places.names[np.concatenate([place[found], alarm_place])],
            "class": "object",
            "score": expit(np.round(scored / LOGIT_STEP) * LOGIT_STEP),
            "is_tp": np.arange(len(scored)) < found.sum(),
            "ignored": False,
        }
    )
    names = places.names[chosen]
    scenes = pd.DataFrame({"scene": names, "place": names, "km2": places.km2[chosen]})
    objects = pd.DataFrame({"scene": places.names[place], "class": "object"})
    truth = GroundTruth(scenes, objects, pd.DataFrame({"scene": [], "geometry": []}))
    return TestRecord(f"model {seed}", matches, truth, {"object": threshold})


def record_of_recipe(places: Places, n_folds: int, seed: int, training_spread: float) -> TestRecord:
    """Return the test of a recipe: of one model, or of the models of its folds, pooled."""
    numbers = np.arange(len(places.names))
    if n_folds == 1:
        return record_of_model(places, numbers, seed, 0.0)
    folds = np.array_split(numbers, n_folds)
    tests = [
        record_of_model(places, fold, seed * 100 + number, training_spread)
        for number, fold in enumerate(folds)
    ]
    return pool_folds(tests)


def wrong_verdicts(
    world: World, *, n_places: int, n_folds: int, training_spread: float, trials: int
) -> dict[str, float]:
    """Return the share of trials with a winner by AP, and by any figure."""
    rng = np.random.default_rng([11, n_places, n_folds])
    by_ap = 0
    by_any = 0
    for trial in range(trials):
        places = draw_places(world, n_places, rng)
        first = record_of_recipe(places, n_folds, 2 * trial, training_spread)
        second = record_of_recipe(places, n_folds, 2 * trial + 1, training_spread)
        has_winner = compare(first, second)["verdict"].str.contains("better")
        by_ap += bool(has_winner.iloc[0])
        by_any += bool(has_winner.any())
    return {"ap": round(by_ap / trials, 4), "any": round(by_any / trials, 4)}


def main() -> None:
    """Print and save the shares of every world, number of places and kind of test."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    compare_module.N_BOOTSTRAP = N_BOOTSTRAP
    tests = {"one model each": (1, 0.0)}
    for spread in TRAINING_SPREADS:
        tests[f"{N_FOLDS} folds, trainings {spread:g} apart"] = (N_FOLDS, spread)
    worlds = {name: WORLDS[name] for name in sys.argv[2:] or WORLDS}
    results: dict[str, Any] = {}
    for world_name, world in worlds.items():
        for n_places in N_PLACES:
            for test_name, (n_folds, spread) in tests.items():
                shares = wrong_verdicts(
                    world,
                    n_places=n_places,
                    n_folds=n_folds,
                    training_spread=spread,
                    trials=trials,
                )
                results.setdefault(world_name, {})[f"{n_places} places, {test_name}"] = shares
                print(
                    f"{world_name:26s} {n_places:3d} places  {test_name:28s} {shares}", flush=True
                )
    save(
        "false_winners",
        {"trials": trials, "resamples": N_BOOTSTRAP, "worlds": results},
        "a winner between equals in at most 7 % of trials",
    )


if __name__ == "__main__":
    main()
