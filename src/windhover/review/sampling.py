"""Which detections and areas are reviewed, and with what probability each was chosen.

Two parts that need one another. Some rows are chosen by an order, such as doubt: they teach the
next model most, and show nothing of the others. The rest are drawn at random, stratified by score;
areas are drawn with probability proportional to size. Every probability is known, so that
`estimates` can give precision and recall of the whole without bias (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from windhover.errors import ParameterError
from windhover.geometry.arrays import Bools, Floats, Ints

RANDOM_SHARE = 0.5  # of the rows; the others follow the order
MAX_STRATA = 3  # of the score
ROWS_PER_STRATUM = 6  # drawn in each, at least
# of the areas' chances that those without detections share; a miss can be anywhere
FLOOR_SHARE = 0.2


@dataclass(frozen=True)
class RowSample:
    """The detections to review, and how each was chosen.

    Attributes:
        stratum: (N,) of every detection, from 0.
        is_random: (N,) drawn at random.
        is_ordered: (N,) among the first of the order; reviewed with certainty.
        order: (K,) detections in the order of review: both kinds in turn, so that a review that
            stops early has some of each.
    """

    stratum: Ints
    is_random: Bools
    is_ordered: Bools
    order: Ints

    def prob(self) -> Floats:
        """Return (N,) the chance of each detection to be drawn at random."""
        n_strata = int(self.stratum.max(initial=-1)) + 1
        sizes = np.bincount(self.stratum, minlength=n_strata)
        sampled = np.bincount(self.stratum[self.is_random], minlength=n_strata)
        return np.asarray((sampled / np.maximum(sizes, 1))[self.stratum], np.float64)


def sample_rows(scores: Floats, order: Ints, budget: int, *, seed: int) -> RowSample:
    """Choose detections to review: the first of an order, and others at random.

    The random ones are drawn from all detections, stratified by score, without regard to the
    order; where both choose one, the next of the order is reviewed too.

    Args:
        scores: (N,) of the detections.
        order: (N,) detections, those to review first in front.
        budget: number of rows.
        seed: of the draw.

    Raises:
        ParameterError: the budget is less than 2.
    """
    if budget < 2:
        raise ParameterError(
            f"--budget must be 2 rows or more, one by the order and one at random, got {budget}."
        )
    count = len(scores)
    n_random = min(round(budget * RANDOM_SHARE), count)
    rng = np.random.default_rng(seed)
    stratum = _strata_of_scores(scores, n_random)
    sampled = _draw_groups(stratum, n_random, rng)
    is_random = np.zeros(count, bool)
    is_random[sampled] = True
    is_ordered = np.zeros(count, bool)
    n_ordered = count if budget >= count else budget - n_random  # all are reviewed where few are
    is_ordered[order[:n_ordered]] = True
    more = order[~is_random[order]][: budget - len(sampled)]
    return RowSample(stratum, is_random, is_ordered, _in_turn(more, sampled))


def _strata_of_scores(scores: Floats, n_random: int) -> Ints:
    """Return the stratum (N,) of each detection: equal parts of the detections by score."""
    n_strata = int(np.clip(n_random // ROWS_PER_STRATUM, 1, MAX_STRATA))
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return rank * n_strata // max(len(scores), 1)


def _draw_groups(stratum: Ints, n_random: int, rng: np.random.Generator) -> Ints:
    """Return detections drawn at random, as many of each stratum as its size asks, shuffled."""
    n_strata = int(stratum.max(initial=-1)) + 1
    bounds = np.rint(np.linspace(0, n_random, n_strata + 1)).astype(int)
    parts = []
    for number in range(n_strata):
        members = np.flatnonzero(stratum == number)
        size = min(int(bounds[number + 1] - bounds[number]), len(members))
        parts.append(rng.choice(members, size, replace=False))
    sampled = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return np.asarray(rng.permutation(sampled), np.int64)


def _in_turn(first: Ints, second: Ints) -> Ints:
    """Return two lists as one, spread evenly through one another."""
    places = np.concatenate(
        [(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (first, second)]
    )
    return np.concatenate([first, second])[np.argsort(places, kind="stable")]


@dataclass(frozen=True)
class AreaSample:
    """The areas that are reviewed as a whole.

    Attributes:
        selected: (M,) index into all areas, in the order of the draw.
        prob: (M,) with which each was to be chosen.
    """

    selected: Ints
    prob: Floats


def sample_areas(n_detections: Floats, count: int, *, seed: int) -> AreaSample:
    """Draw areas with probability proportional to their detections, plus a floor.

    Systematic, of areas in random order (Hartley and Rao 1962): the probabilities are exact.

    Args:
        n_detections: (A,) in each area.
        count: number of areas wanted; all are taken where there are no more.
        seed: of the draw.
    """
    n_areas = len(n_detections)
    if count <= 0 or n_areas == 0:
        return AreaSample(np.zeros(0, np.int64), np.zeros(0))
    prob = _inclusion_probabilities(n_detections, min(count, n_areas))
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(n_areas)
    steps = np.concatenate([[0.0], np.cumsum(prob[order])])
    ticks = rng.uniform() + np.arange(min(count, n_areas))
    picked = np.clip(np.searchsorted(steps, ticks, side="right") - 1, 0, n_areas - 1)
    selected = np.unique(order[picked])
    return AreaSample(selected, prob[selected])


def _inclusion_probabilities(n_detections: Floats, count: int) -> Floats:
    """Return (A,) chances that sum to `count`, none above 1."""
    floor = max(float(n_detections.sum()), 1.0) / len(n_detections)
    size = n_detections + floor * FLOOR_SHARE / (1 - FLOOR_SHARE)
    certain = np.zeros(len(size), bool)
    while True:
        left = count - int(certain.sum())
        chances = np.where(certain, 1.0, left * size / max(size[~certain].sum(), 1e-300))
        above = (chances >= 1) & ~certain
        if not above.any():
            return chances
        certain |= above
