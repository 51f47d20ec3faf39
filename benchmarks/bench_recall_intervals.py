"""How often the interval of recall holds the truth, by many simulations of places.

    python benchmarks/bench_recall_intervals.py [SIMULATIONS [WORLD ...]]

The worlds of `bench_intervals.py`, of which only objects and whether they are found are drawn: a
simulation takes a millisecond, so that a share is known to 0.3 points in place of 1.5.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from bench_intervals import DETECTED_SHARE, LOGIT_SPREAD, LOGIT_STEP, WORLDS, World
from measuring import save
from scipy.stats import norm

from windhover.geometry.arrays import Floats
from windhover.metrics.place_intervals import share_interval

SIMULATIONS = 6000
N_PLACES = (6, 8, 10, 14, 20, 28, 40)
TRUTH_PLACES = 2_000_000


class Found(NamedTuple):
    """Objects of each place, and how many of them are found at the score 0.5."""

    objects: Floats
    found: Floats

    @property
    def recall(self) -> float:
        """Share of the objects of all places that is found."""
        return float(self.found.sum() / self.objects.sum())


def draw_found(world: World, n_places: int, rng: np.random.Generator) -> Found:
    """Draw places of a world."""
    share = world.alikeness / (world.alikeness + world.objects)
    objects = rng.negative_binomial(world.alikeness, share, n_places)
    quality = world.mean_logit + rng.normal(0, world.quality_spread, n_places)
    # logits are rounded to a step
    above = norm.sf((-LOGIT_STEP / 2 - quality) / LOGIT_SPREAD)
    return Found(objects, rng.binomial(objects, DETECTED_SHARE * above))


def coverage(world: World, truth: float, n_places: int, simulations: int) -> dict[str, float]:
    """Return the share of simulations whose interval holds the truth, and the misses' sides."""
    rng = np.random.default_rng([9, n_places])
    n_defined, n_below, n_above = 0, 0, 0
    for _ in range(simulations):
        objects, found = draw_found(world, n_places, rng)
        others = objects.sum() - objects
        if (others == 0).any():
            continue
        n_defined += 1
        value = float(found.sum() / objects.sum())
        without_one = (found.sum() - found) / others
        interval = share_interval(value, without_one, sizes=objects, n_trials=objects.sum())
        low, high = interval or (1.0, 1.0)
        n_below += truth < low - 1e-9
        n_above += truth > high + 1e-9
    below, above = (round(count / n_defined, 4) for count in (n_below, n_above))
    return {"holds": round(1 - below - above, 4), "truth_below": below, "truth_above": above}


def main() -> None:
    """Print and save the coverage of every world and number of places."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    results: dict[str, Any] = {}
    for name in sys.argv[2:] or WORLDS:
        truth = draw_found(WORLDS[name], TRUTH_PLACES, np.random.default_rng(1)).recall
        results[name] = {"truth": round(truth, 4)}
        for n_places in N_PLACES:
            shares = coverage(WORLDS[name], truth, n_places, simulations)
            results[name][f"{n_places} places"] = shares
            print(f"{name:24s} {n_places:3d} places  {shares}", flush=True)
    save("recall_intervals", {"simulations": simulations, "worlds": results}, "90 to 100 %")


if __name__ == "__main__":
    main()
