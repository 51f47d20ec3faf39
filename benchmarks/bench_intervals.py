"""How often 95 % intervals hold the truth where places are few: simulated places, known truth.

    python benchmarks/bench_intervals.py [SIMULATIONS [WORLD ...]]

A world is a law of places. Each simulation draws 6 to 40 places from it, measures AP, recall, false
alarms per km2, F1 and precision with the library's own functions, and notes whether each interval
holds the value of 20,000 places of the same law. Beside the library's interval stand the percentile
interval and BCa (Efron 1987) of the same resamples. An interval that is undefined holds nothing.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from measuring import save
from scipy.special import expit
from scipy.stats import norm

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import (
    BootstrapSample,
    bootstrap_values,
    percentile_interval,
    resample,
)
from windhover.metrics.detection_metrics import (
    WeightedMetrics,
    interval_of_metric,
    weighted_metrics,
)
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.group_counts import counts_by_scene
from windhover.metrics.place_intervals import leave_one_out_weights

SIMULATIONS = 400
N_BOOTSTRAP = 200
N_PLACES = (6, 10, 20, 40)
TRUTH_PLACES = 20_000
METRICS = ("ap", "recall", "false_alarms_per_km2", "f1", "precision")
METHODS = ("percentile", "bca", "library")
THRESHOLDS = {"object": 0.5}
# logits are rounded to it, so that curves are short
LOGIT_STEP = 0.1
LOGIT_SPREAD = 1.3  # of the objects of one place
DETECTED_SHARE = 0.985  # of objects that have a score at all


@dataclass(frozen=True)
class World:
    """A law of places.

    Attributes:
        objects: mean number in a place.
        alikeness: the larger, the less places differ in it (negative binomial).
        quality_spread: standard deviation between places of the mean logit of objects.
        alarms_per_km2: mean number of false positives, at any score.
        alarm_spread: standard deviation between places of its logarithm.
        mean_logit: of objects.
        km2: smallest and largest area of a place.
    """

    objects: float
    alikeness: float
    quality_spread: float
    alarms_per_km2: float
    alarm_spread: float
    mean_logit: float
    km2: tuple[float, float]


WORLDS = {
    "alike, many objects": World(60, 5, 0.2, 4, 0.2, 3.0, (1, 3)),
    "different, many objects": World(60, 1, 0.9, 4, 1.0, 3.0, (1, 6)),
    "alike, few objects": World(6, 5, 0.2, 1, 0.2, 3.0, (1, 3)),
    "different, few objects": World(6, 1, 0.9, 1, 1.0, 3.0, (1, 6)),
    "few objects, good model": World(8, 2, 0.4, 0.3, 0.6, 4.2, (1, 4)),
    "different, half is found": World(60, 1, 0.9, 4, 1.0, 0.5, (1, 6)),
}


class Drawn(NamedTuple):
    """Places drawn from a world: matched detections, and what is there."""

    matches: pd.DataFrame
    ground_truth: GroundTruth


def draw_places(world: World, n_places: int, rng: np.random.Generator) -> Drawn:
    """Draw places: how many objects each has, which are found at which score, and false alarms."""
    share = world.alikeness / (world.alikeness + world.objects)
    n_objects = rng.negative_binomial(world.alikeness, share, n_places)
    km2 = rng.uniform(*world.km2, n_places)
    quality = rng.normal(0, world.quality_spread, n_places)
    spread = world.alarm_spread
    rate = world.alarms_per_km2 * np.exp(rng.normal(0, spread, n_places) - spread**2 / 2)
    n_alarms = rng.poisson(rate * km2)
    names = np.array([f"p{number:05d}" for number in range(n_places)], object)
    place = np.repeat(np.arange(n_places), n_objects)
    found = rng.random(len(place)) < DETECTED_SHARE
    logits = rng.normal(world.mean_logit + quality[place], LOGIT_SPREAD)
    alarm_place = np.repeat(np.arange(n_places), n_alarms)
    alarm_logits = rng.exponential(1.3, len(alarm_place)) - 4
    scored = np.concatenate([logits[found], alarm_logits])
    matches = pd.DataFrame(
        {
            "scene": names[np.concatenate([place[found], alarm_place])],
            "class": "object",
            "score": expit(np.round(scored / LOGIT_STEP) * LOGIT_STEP),
            "is_tp": np.arange(found.sum() + len(alarm_place)) < found.sum(),
            "ignored": False,
        }
    )
    scenes = pd.DataFrame({"scene": names, "place": names, "km2": km2})
    objects = pd.DataFrame({"scene": names[place], "class": "object"})
    ignored = pd.DataFrame({"scene": [], "geometry": []})
    return Drawn(matches, GroundTruth(scenes, objects, ignored))


def metrics_of(drawn: Drawn, sample: BootstrapSample) -> WeightedMetrics:
    """Return the library's metrics of drawn places, as a function of weights."""
    truth = drawn.ground_truth
    per_scene = counts_by_scene(drawn.matches, truth, THRESHOLDS)
    return weighted_metrics(drawn.matches, truth, THRESHOLDS, sample=sample, per_scene=per_scene)


def true_values(world: World) -> dict[str, float]:
    """Return each metric over very many places of a world."""
    drawn = draw_places(world, TRUTH_PLACES, np.random.default_rng(1))
    sample = resample(drawn.ground_truth.scenes, 0, 0)
    values = metrics_of(drawn, sample)(np.ones((TRUTH_PLACES, 1)))
    return {name: float(values[name][0]) for name in METRICS}


def intervals(drawn: Drawn, seed: int) -> dict[str, dict[str, tuple[float, float] | None]]:
    """Return the interval of each metric by each method."""
    sample = resample(drawn.ground_truth.scenes, N_BOOTSTRAP, seed)
    metrics = metrics_of(drawn, sample)
    values = metrics(np.ones((len(sample.names), 1)))
    resampled = bootstrap_values(metrics, sample.weights, metrics.n_rows)
    counts = metrics.counts_by_group()[""]
    without_one = metrics(leave_one_out_weights(len(sample.names)))
    found: dict[str, dict[str, tuple[float, float] | None]] = {}
    for name in METRICS:
        value = float(values[name][0])
        found[name] = {
            "percentile": percentile_interval(resampled[name]),
            "bca": bca_interval(value, resampled[name], without_one[name]),
            "library": interval_of_metric(
                name, value, without_one[name], counts=counts, n_scenes=metrics.scenes_by_group
            ),
        }
    return found


def bca_interval(
    value: float, resampled: Floats, without_one: Floats
) -> tuple[float, float] | None:
    """Return the bias-corrected and accelerated interval (Efron 1987)."""
    values = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(values) < 2:
        return None
    below = ((values < value).mean() + (values <= value).mean()) / 2
    bias = norm.ppf(np.clip(below, 1 / len(values), 1 - 1 / len(values)))
    left_out = without_one[np.isfinite(without_one)]
    influence = left_out.mean() - left_out
    size = 6 * (influence**2).sum() ** 1.5
    acceleration = (influence**3).sum() / size if size > 0 else 0.0
    shifted = bias + norm.ppf([0.025, 0.975])
    levels = norm.cdf(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(values, levels)
    return float(low), float(high)


def coverage(
    world: World, truth: dict[str, float], *, n_places: int, simulations: int
) -> dict[str, dict[str, float]]:
    """Return the share of simulations in which each interval holds the truth."""
    held = {name: dict.fromkeys(METHODS, 0) for name in METRICS}
    defined = dict.fromkeys(METRICS, 0)
    rng = np.random.default_rng([7, n_places])
    for seed in range(simulations):
        for name, by_method in intervals(draw_places(world, n_places, rng), seed).items():
            if by_method["library"] is None and by_method["percentile"] is None:
                continue
            defined[name] += 1
            value = truth[name]
            for method, interval in by_method.items():
                inside = interval is not None and interval[0] - 1e-9 <= value <= interval[1] + 1e-9
                held[name][method] += inside
    return {
        name: {method: round(count / max(defined[name], 1), 4) for method, count in counts.items()}
        for name, counts in held.items()
    }


def main() -> None:
    """Print and save the coverage of every world, number of places, metric and method."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    worlds = {name: WORLDS[name] for name in sys.argv[2:] or WORLDS}
    results: dict[str, Any] = {}
    for world_name, world in worlds.items():
        truth = true_values(world)
        of_world: dict[str, Any] = {"law": asdict(world), "truth": truth}
        for n_places in N_PLACES:
            shares = coverage(world, truth, n_places=n_places, simulations=simulations)
            of_world[f"{n_places} places"] = shares
            for name, by_method in shares.items():
                text = "  ".join(f"{method} {100 * by_method[method]:5.1f}" for method in METHODS)
                print(f"{world_name:24s} {n_places:3d} places  {name:21s} {text}", flush=True)
        results[world_name] = of_world
    save(
        "intervals",
        {"simulations": simulations, "resamples": N_BOOTSTRAP, "worlds": results},
        "92 to 100 %",
    )


if __name__ == "__main__":
    main()
