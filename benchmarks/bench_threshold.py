"""What a threshold chosen on few places loses on new ground: smoothed counts against raw ones.

    python benchmarks/bench_threshold.py [SIMULATIONS [WORLD ...]]

Places are drawn from the worlds of `bench_intervals.py`; each rule chooses a threshold on them, as
`choose_threshold` does (smoothed) and at the best of the raw counts, as it did before. The loss is
how much the rule's own figure, over 5,000 other places of the same world, lies below the best that
any threshold reaches there: F-beta in thousandths, cost in false alarms per thousand objects.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from bench_intervals import WORLDS, World, draw_places
from measuring import save
from scipy.special import expit, logit

from windhover.geometry.arrays import Floats
from windhover.metrics.bootstrap import BootstrapSample, resample
from windhover.metrics.choose_threshold import choose_threshold
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.score_curve import ScoreCurve
from windhover.metrics.threshold_rule import ThresholdRule, choose_level

SIMULATIONS = 200
N_PLACES = (3, 6, 12)
TRUTH_PLACES = 5_000
# logits at which the truth is known
GRID = np.linspace(-8, 8, 321)
RULES = (
    ThresholdRule("max_fbeta", 0.5),
    ThresholdRule("max_fbeta", 1.0),
    ThresholdRule("max_fbeta", 2.0),
    ThresholdRule("least_cost", 1.0),
)


def drawn_curve(
    world: World, n_places: int, rng: np.random.Generator
) -> tuple[ScoreCurve, BootstrapSample]:
    """Return the score curve of drawn places."""
    drawn = draw_places(world, n_places, rng)
    sample = resample(drawn.ground_truth.scenes, 0, 0)
    return class_score_curve(drawn.matches, drawn.ground_truth, sample, class_name="object"), sample


def figure_at(curve: ScoreCurve, threshold: float, rule: ThresholdRule) -> float:
    """Return what the rule seeks the best of, in thousandths, at a threshold."""
    counts = curve.counts_at(threshold)
    if rule.name == "max_fbeta":
        return 1000 * float(counts.f_beta(rule.value)[0, 0])
    misses = counts.n_gt - counts.tp
    return -1000 * float(((counts.fp + rule.value * misses) / counts.n_gt)[0, 0])


def raw_threshold(curve: ScoreCurve, rule: ThresholdRule) -> float:
    """Return the best threshold of the raw counts, midway to the next score below."""
    counts = curve.counts()
    kept = counts.thresholds[choose_level(counts, rule).level[0]]
    lower = curve.scores[curve.scores < kept]
    return float((kept + lower.max(initial=0.0)) / 2)


def losses(
    world: World, truth: Floats, rule: ThresholdRule, *, n_places: int, simulations: int
) -> dict[str, dict[str, float]]:
    """Return the mean loss of each way, and the spread of its threshold in logits."""
    rng = np.random.default_rng([5, n_places])
    chosen: dict[str, list[float]] = {"raw": [], "smoothed": []}
    for _ in range(simulations):
        curve, sample = drawn_curve(world, n_places, rng)
        if curve.is_tp.any():
            chosen["raw"].append(raw_threshold(curve, rule))
            chosen["smoothed"].append(choose_threshold(curve, sample, rule).threshold)
    table = {}
    for name, thresholds in chosen.items():
        logits = logit(np.clip(thresholds, expit(GRID[0]), expit(GRID[-1])))
        loss = truth.max() - np.interp(logits, GRID, truth)
        table[name] = {
            "loss": round(float(loss.mean()), 2),
            "error": round(float(loss.std() / np.sqrt(len(loss))), 2),
            "spread": round(float(logits.std()), 2),
        }
    return table


def main() -> None:
    """Print and save the losses of every world, rule and number of places."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    results: dict[str, Any] = {}
    for world_name in sys.argv[2:] or WORLDS:
        world = WORLDS[world_name]
        everywhere, _ = drawn_curve(world, TRUTH_PLACES, np.random.default_rng(1))
        for rule in RULES:
            truth = np.array([figure_at(everywhere, expit(level), rule) for level in GRID])
            for n_places in N_PLACES:
                row = losses(world, truth, rule, n_places=n_places, simulations=simulations)
                results.setdefault(world_name, {})[f"{rule}, {n_places} places"] = row
                print(f"{world_name:26s} {rule!s:14s} {n_places:3d} places {row}", flush=True)
    save(
        "threshold",
        {"simulations": simulations, "worlds": results},
        "smoothed loses no more than raw, in every world",
    )


if __name__ == "__main__":
    main()
