"""Dividing places between train, val and test: by place, never by patch, the same for the same
seed.

Works on names, counts and footprints; opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from windhover.errors import DataError

SPLITS = ("train", "val", "test")
# seeded orders in which places are dealt out; the one nearest to the wanted fractions is kept
TRIALS = 400


class TooFewPlacesError(DataError):
    """There are fewer places than parts that they are divided into."""


def join_places(
    places: Sequence[str], footprints: Sequence[BaseGeometry | None]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Give one name to places whose footprints touch or overlap: such scenes must share a split.

    Args:
        places: place of each scene.
        footprints: outline of each scene in longitude and latitude, None where it is not known.

    Returns:
        The place of each scene, where joined the first name in the alphabet; and the pairs of
        places that were joined.
    """
    parent = {place: place for place in places}

    def root(place: str) -> str:
        while parent[place] != place:
            place = parent[place]
        return place

    known = [index for index, outline in enumerate(footprints) if outline is not None]
    pairs = []
    if known:
        outlines = np.array([footprints[index] for index in known], dtype=object)
        left, right = shapely.STRtree(outlines).query(outlines, predicate="intersects")
        for first, second in zip(left.tolist(), right.tolist(), strict=True):
            one, two = sorted((root(places[known[first]]), root(places[known[second]])))
            if one != two:
                parent[two] = one
                pairs.append((one, two))
    return [root(place) for place in places], pairs


def assign_splits(
    objects: Mapping[str, int],
    fractions: Sequence[float],
    seed: int,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Deal places out to the splits so that their objects come near the wanted fractions.

    Places are dealt in many seeded orders, each to the split that lacks most; the best dealing is
    kept.

    Args:
        objects: place -> number of objects on it.
        fractions: wanted share of the objects in train, val and test; they sum to 1. A share of
            0 leaves the split empty.
        seed: of the orders.
        fixed: place -> split, where it is decided already.

    Raises:
        TooFewPlacesError: there are fewer places than splits that want objects.
    """
    fixed = dict(fixed or {})
    free = sorted(place for place in objects if place not in fixed)
    wanted = [name for name, share in zip(SPLITS, fractions, strict=True) if share > 0]
    lacking = [name for name in wanted if name not in fixed.values()]
    if free and len(free) < len(lacking):
        raise TooFewPlacesError(
            f"{len(objects)} places cannot be divided between {', '.join(wanted)}: one place is never in two splits. "
            "Bring more places, or set the shares in `scenes.split_fractions` to 0 for splits that you can do without."
        )
    if not free:
        return fixed
    # in order, because sums of fractions depend on it; an empty place still counts for something
    weight = {place: objects[place] + 1e-3 for place in sorted(objects)}
    target = np.asarray(fractions, np.float64) * sum(weight.values())
    start = np.array(
        [
            sum(amount for place, amount in weight.items() if fixed.get(place) == name)
            for name in SPLITS
        ]
    )
    rng = np.random.default_rng(seed)
    best: tuple[float, list[int], list[str]] = (math.inf, [], [])
    for _ in range(TRIALS):
        order = [free[index] for index in rng.permutation(len(free))]
        chosen, cost = _deal(
            order, weight, target, start.copy(), [SPLITS.index(name) for name in lacking]
        )
        if cost < best[0]:
            best = (cost, chosen, order)
    return {
        **fixed,
        **{place: SPLITS[index] for place, index in zip(best[2], best[1], strict=True)},
    }


def assign_folds(objects: Mapping[str, int], folds: int, fold: int, seed: int) -> dict[str, str]:
    """Divide places into folds of like numbers of objects: one is test, the next one val, the
    others train.

    The folds depend on the places and the seed alone, so that the runs of all folds together test
    every place once.

    Args:
        objects: place -> number of objects on it.
        folds: how many.
        fold: which one is test.
        seed: of the order in which places of like size are dealt out.

    Raises:
        TooFewPlacesError: there are fewer places than folds.
    """
    if len(objects) < folds:
        raise TooFewPlacesError(
            f"{len(objects)} places cannot make {folds} folds. Set `scenes.folds` to at most that, or null."
        )
    rng = np.random.default_rng(seed)
    places = sorted(objects)
    order = sorted(
        (places[index] for index in rng.permutation(len(places))), key=lambda place: -objects[place]
    )
    held = [(0, 0)] * folds  # objects, places
    number: dict[str, int] = {}
    for place in order:
        least = min(range(folds), key=lambda one: held[one])
        held[least] = held[least][0] + objects[place], held[least][1] + 1
        number[place] = least
    names = {fold: "test", (fold + 1) % folds: "val"}
    return {place: names.get(one, "train") for place, one in number.items()}


def _deal(
    order: list[str],
    weight: Mapping[str, float],
    target: np.ndarray,
    held: np.ndarray,
    lacking: list[int],
) -> tuple[list[int], float]:
    """Deal places in one order; return the split of each and how far the shares are from the wanted
    ones.
    """
    chosen: list[int] = []
    empty = list(lacking)
    for position, place in enumerate(order):
        options = (
            empty
            if len(order) - position <= len(empty)
            else [index for index in range(len(SPLITS)) if target[index] > 0]
        )
        index = max(options, key=lambda one: (target[one] - held[one]) / target[one])
        chosen.append(index)
        held[index] += weight[place]
        if index in empty:
            empty.remove(index)
    wanted = target > 0
    return chosen, float((((held - target)[wanted] / target[wanted]) ** 2).sum())
