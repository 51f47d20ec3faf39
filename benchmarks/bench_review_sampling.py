"""How often the intervals of a review hold the truth, in simulated reviews.

    python benchmarks/bench_review_sampling.py [--rounds 400]

Worlds of cells with clustered objects (log-normal intensities), detections of a true precision and
recall, misses that are more frequent where detections are rare; the review of `--budget` rows and
`--areas` areas by a reviewer without fault. Prints coverage of the nominal 95 % intervals and their
mean length; needs no model and takes seconds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
from measuring import RESULTS, machine

from windhover.review.estimates import (
    Estimate,
    SampledAreas,
    SampledRows,
    estimate_precision,
    estimate_recall,
)
from windhover.review.sampling import sample_areas, sample_rows


@dataclass(frozen=True)
class World:
    """A simulated result of a search and what is really there."""

    cell: np.ndarray  # (N,) of each detection
    score: np.ndarray  # (N,)
    is_true: np.ndarray  # (N,)
    missed: np.ndarray  # (A,) objects without a detection


def make_world(n_cells: int, n_objects: int, *, recall: float, precision: float, rng) -> World:
    """Return a world of clustered objects; a fifth of the misses fall evenly on all cells."""
    intensity = rng.lognormal(0, 1.5, n_cells)
    intensity /= intensity.sum()
    found = rng.poisson(n_objects * recall * intensity)
    n_missed = n_objects * (1 - recall)
    evenly = n_missed * 0.2 / n_cells
    clustered = n_missed * 0.8 * intensity * rng.gamma(1.0, 1.0, n_cells)
    missed = rng.poisson(evenly + clustered)
    n_false = found.sum() * (1 - precision) / precision
    false = rng.poisson(n_false * (0.5 * intensity + 0.5 / n_cells))
    cell = np.concatenate(
        [np.repeat(np.arange(n_cells), found), np.repeat(np.arange(n_cells), false)]
    )
    is_true = np.arange(len(cell)) < found.sum()
    score = np.clip(rng.normal(np.where(is_true, 0.8, 0.6), 0.15), 0.4, 1.0)
    return World(cell, score, is_true, missed)


def review(world: World, budget: int, n_areas: int, seed: int) -> tuple[Estimate, Estimate]:
    """Return the estimates of precision and recall of one review."""
    order = np.argsort(np.abs(world.score - 0.5), kind="stable")
    rows = sample_rows(world.score, order, budget, seed=seed)
    seen = rows.order
    precision = estimate_precision(
        SampledRows(
            is_true=world.is_true[seen],
            is_random=rows.is_random[seen],
            is_ordered=rows.is_ordered[seen],
            stratum=rows.stratum[seen],
            stratum_sizes=np.bincount(rows.stratum),
        )
    )
    n_detections = np.bincount(world.cell, minlength=len(world.missed)).astype(float)
    areas = sample_areas(n_detections, n_areas, seed=seed)
    found = np.bincount(world.cell[world.is_true], minlength=len(world.missed))
    reviewed = SampledAreas(
        n_found=found[areas.selected].astype(float),
        n_missed=world.missed[areas.selected].astype(float),
        prob=areas.prob,
    )
    return precision, estimate_recall(reviewed, precision, len(world.cell))


def coverage(
    n_cells: int, n_objects: int, recall: float, precision: float, *, asked: argparse.Namespace
) -> dict[str, list[float]]:
    """Return of precision and of recall: coverage, mean length and bias over simulated reviews."""
    held = np.zeros(2)
    length = np.zeros(2)
    error = np.zeros(2)
    for number in range(asked.rounds):
        rng = np.random.default_rng([number, n_cells, n_objects])
        world = make_world(n_cells, n_objects, recall=recall, precision=precision, rng=rng)
        n_true = world.is_true.sum()
        truths = (n_true / len(world.score), n_true / (n_true + world.missed.sum()))
        estimates = review(world, asked.budget, asked.areas, number)
        for which, (truth, estimate) in enumerate(zip(truths, estimates, strict=True)):
            held[which] += estimate.low <= truth <= estimate.high
            length[which] += estimate.high - estimate.low
            error[which] += estimate.value - truth
    names = ("coverage", "mean_length", "bias")
    columns = (held, length, error)
    return {
        name: (column / asked.rounds).round(4).tolist()
        for name, column in zip(names, columns, strict=True)
    }


def main() -> None:
    """Print a table of coverage, a line a world, and write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--areas", type=int, default=6)
    asked = parser.parse_args()
    rows = []
    for n_cells, n_objects in ((60, 150), (60, 600), (400, 600), (400, 3000)):
        for recall, precision in ((0.9, 0.92), (0.7, 0.7), (0.97, 0.5)):
            found = coverage(n_cells, n_objects, recall, precision, asked=asked)
            world = {"cells": n_cells, "objects": n_objects, "recall": recall}
            rows.append(world | {"precision": precision} | found)
            print(json.dumps(rows[-1]), flush=True)
    document = {"asked": vars(asked), "machine": machine(), "precision_and_recall": rows}
    (RESULTS / "review_sampling.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
