"""Division of places between train, val and test: by place, never by patch, the same for one seed.

Works on names, counts and footprints; opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry.base import BaseGeometry

from windhover.dataset.touching_scenes import ROUNDING_M, touching_pairs
from windhover.errors import DataError
from windhover.geometry.arrays import Floats

SPLITS = ("train", "val", "test")
# seeded orders in which places are assigned; the one nearest to the wanted fractions is kept
N_TRIALS = 400
EMPTY_PLACE_WEIGHT = 1e-3  # objects that a place without any counts for


class TooFewPlacesError(DataError):
    """There are fewer places than parts that they are divided into."""


def join_places(
    places: Sequence[str],
    footprints: Sequence[BaseGeometry | None],
    tolerances_m: Sequence[float] | None = None,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Give one name to places whose footprints touch or overlap: such scenes must share a split.

    Args:
        places: place of each scene.
        footprints: outline of each scene in longitude and latitude, None where it is not known.
        tolerances_m: gap on the ground up to which each scene still touches others, m, such as one
            px of its raster; None for what rounding of coordinates leaves.

    Returns:
        The place of each scene, where joined the first name in the alphabet; and for each place
        that lost its name the pair of the new name and its own, sorted.
    """
    unique_names, numbers = np.unique(np.array(places), return_inverse=True)
    names: list[str] = unique_names.tolist()
    if tolerances_m is None:
        tolerances_m = [ROUNDING_M] * len(places)
    edges = numbers[touching_pairs(footprints, tolerances_m)]  # (2, K) of the graph of places
    ones = np.ones(edges.shape[1], bool)
    graph = coo_array((ones, (edges[0], edges[1])), shape=(len(names), len(names)))
    _, component = connected_components(graph, directed=False)
    first_of: dict[int, str] = {}
    joined = []
    # in order, so that the first name of a component stands for it
    for name, number in zip(names, component.tolist(), strict=True):
        first = first_of.setdefault(number, name)
        if first != name:
            joined.append((first, name))
    return [first_of[number] for number in component[numbers].tolist()], sorted(joined)


def assign_splits(
    n_objects: Mapping[str, int],
    fractions: Sequence[float],
    seed: int,
    *,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Assign places to splits so that their objects come near the wanted fractions.

    Places are assigned in many seeded orders, each to the split that lacks most; the best order is
    kept.

    Args:
        n_objects: place -> number of objects on it.
        fractions: wanted share of the objects in train, val and test; they sum to 1. A share of
            0 leaves the split empty.
        seed: of the orders.
        fixed: place -> split, where it is decided already.

    Raises:
        TooFewPlacesError: there are fewer places than splits that want objects.
    """
    fixed = dict(fixed or {})
    free = sorted(place for place in n_objects if place not in fixed)
    wanted = [name for name, share in zip(SPLITS, fractions, strict=True) if share > 0]
    empty = [name for name in wanted if name not in fixed.values()]
    if free and len(free) < len(empty):
        raise TooFewPlacesError(
            f"{len(n_objects)} places cannot be divided between {', '.join(wanted)}: one place is "
            "never in two splits. Bring more places, or set the shares in `scenes.split_fractions` "
            "to 0 for splits that you can do without."
        )
    if not free:
        return fixed
    problem = _SplitProblem(n_objects, fractions, fixed, empty=empty)
    rng = np.random.default_rng(seed)
    best = _Assignment({}, math.inf)
    for _ in range(N_TRIALS):
        order = np.array(free)[rng.permutation(len(free))].tolist()
        assignment = problem.assign_in_order(order)
        if assignment.cost < best.cost:
            best = assignment
    return {**fixed, **best.split_of}


class _Assignment(NamedTuple):
    """Splits of places, and the squared relative deviation from the wanted numbers of objects."""

    split_of: dict[str, str]
    cost: float


class _SplitProblem:
    """What is to be divided: the weight of each place, and the wanted weight of each split."""

    def __init__(
        self,
        n_objects: Mapping[str, int],
        fractions: Sequence[float],
        fixed: Mapping[str, str],
        *,
        empty: Sequence[str],
    ) -> None:
        # sorted, because sums of fractions depend on the order
        self._weight = {place: n_objects[place] + EMPTY_PLACE_WEIGHT for place in sorted(n_objects)}
        self._target: Floats = np.asarray(fractions, np.float64) * sum(self._weight.values())
        self._empty = [SPLITS.index(name) for name in empty]
        assigned: dict[str, float] = dict.fromkeys(SPLITS, 0)
        for place, weight in self._weight.items():
            if place in fixed:
                assigned[fixed[place]] += weight
        # integers where no place is fixed: the weight of an empty place is then rounded away
        self._assigned = np.array(list(assigned.values()))

    def assign_in_order(self, order: Sequence[str]) -> _Assignment:
        """Assign places one by one to the split that lacks most; leave no wanted split empty."""
        target = self._target
        assigned = self._assigned.copy()
        empty = list(self._empty)
        with_target = [index for index in range(len(SPLITS)) if target[index] > 0]
        split_of = {}
        for position, place in enumerate(order):
            options = with_target
            if len(order) - position <= len(empty):
                options = empty
            lacking = [(target[index] - assigned[index]) / target[index] for index in options]
            index = options[int(np.argmax(lacking))]
            split_of[place] = SPLITS[index]
            assigned[index] += self._weight[place]
            if index in empty:
                empty.remove(index)
        deviation = ((assigned - target)[with_target] / target[with_target]) ** 2
        return _Assignment(split_of, float(deviation.sum()))


def assign_folds(
    n_objects: Mapping[str, int], n_folds: int, fold: int, *, seed: int, with_val: bool = True
) -> dict[str, str]:
    """Divide places into folds of similar numbers of objects; one is test, the next one val.

    The folds depend on the places and the seed alone, so that the runs of all folds together test
    every place once. Unlike scikit-learn's `GroupKFold`, places without objects are spread over
    the folds too, and the seed decides between places of one size.

    Args:
        n_objects: place -> number of objects on it.
        n_folds: how many.
        fold: which one is test.
        seed: of the order in which places of one size are assigned.
        with_val: whether the next fold is val; else it is train.

    Raises:
        TooFewPlacesError: there are fewer places than folds.
    """
    if len(n_objects) < n_folds:
        raise TooFewPlacesError(
            f"{len(n_objects)} places cannot make {n_folds} folds. Set `scenes.folds` to at most "
            "that, or null."
        )
    rng = np.random.default_rng(seed)
    shuffled = np.array(sorted(n_objects))[rng.permutation(len(n_objects))].tolist()
    sizes = [(0, 0)] * n_folds  # objects, places
    split_names = {fold: "test"}
    if with_val:
        split_names[(fold + 1) % n_folds] = "val"
    split_of = {}
    for place in sorted(shuffled, key=lambda name: -n_objects[name]):
        smallest = sizes.index(min(sizes))
        objects_in_fold, places_in_fold = sizes[smallest]
        sizes[smallest] = (objects_in_fold + n_objects[place], places_in_fold + 1)
        split_of[place] = split_names.get(smallest, "train")
    return split_of
