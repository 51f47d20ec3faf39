"""Views grouped into objects: one of each raster at most, each of them near the best one.

Nearest pairs are joined first. A pair is joined if the two groups share no raster, and if every
view of them matches the best of both: so a row of neighbours never becomes one object, as it would
by joining all that touch. The order of rasters and their parts changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from windhover.collection.match_views import ViewPairs
from windhover.collection.views import Views
from windhover.geometry.arrays import Ints

BATCH_PAIRS = 50_000  # that are joined at once


class Groups(NamedTuple):
    """Objects, as groups of views.

    Attributes:
        object_index: (N,) number of each view's object.
        best: (M,) number of each object's best view, in rising order.
    """

    object_index: Ints
    best: Ints


def quality_order(views: Views, scene_rank: Ints, ids: NDArray[np.bytes_]) -> Ints:
    """Return the place (N,) of each view among all, best first.

    A view away from its raster's edge is better than one at an edge; then the score decides, then
    names, so that the order of the input does not.

    Args:
        views: to be ordered.
        scene_rank: of each raster, by its name.
        ids: (N,) of the views; two views of a raster have different ones.
    """
    order = np.lexsort((ids, scene_rank[views.scene], -views.score, views.edge))
    place = np.empty(len(views), np.int64)
    place[order] = np.arange(len(views))
    return place


def group_views(pairs: ViewPairs, scene: Ints, place: Ints) -> Groups:
    """Return the objects that views are of.

    Args:
        pairs: of views that may be of one object.
        scene: (N,) number of each view's raster.
        place: (N,) of each view in the order of quality, 0 is the best.
    """
    count = len(scene)
    leader = np.arange(count)
    n_pairs = np.bincount(pairs.first, minlength=count) + np.bincount(pairs.second, minlength=count)
    # most views match one other or none, and need no comparison
    is_alone = (n_pairs[pairs.first] == 1) & (n_pairs[pairs.second] == 1)
    leader[pairs.second[is_alone]] = pairs.first[is_alone]
    rest = pairs.select(~is_alone)
    low = np.minimum(place[rest.first], place[rest.second])
    high = np.maximum(place[rest.first], place[rest.second])
    order = np.lexsort((high, low, rest.cost))
    rest = rest.select(order)
    for rows in _batches(rest, count):
        joined = _Joining(rest.select(rows), scene, place)
        for members in joined.groups():
            leader[members] = members[0]
    return _by_best(leader, place)


def _batches(pairs: ViewPairs, count: int) -> Iterator[Ints]:
    """Yield rows of pairs in their order, those of one object all in one batch.

    Pairs that no chain of pairs connects have nothing to do with one another.

    Args:
        pairs: of views.
        count: of all views.
    """
    if not len(pairs.first):
        return
    links = coo_array((np.ones(len(pairs.first), bool), pairs[:2]), (count, count))
    component = connected_components(links, directed=False)[1][pairs.first]
    by_component = np.argsort(component, kind="stable")
    is_last = np.append(np.diff(component[by_component]) != 0, True)
    ends = np.flatnonzero(is_last) + 1
    number = (ends - 1) // BATCH_PAIRS
    stops = ends[np.append(np.diff(number) != 0, True)]
    for start, stop in pairwise([0, *stops.tolist()]):
        yield np.sort(by_component[start:stop])


class _Joining:
    """Groups that grow pair by pair, over the views that have a choice."""

    def __init__(self, pairs: ViewPairs, scene: Ints, place: Ints) -> None:
        """Join pairs in their order, from a group for each view."""
        views = np.unique(np.concatenate([pairs.first, pairs.second]))
        self._scene = dict(zip(views.tolist(), scene[views].tolist(), strict=True))
        self._place = dict(zip(views.tolist(), place[views].tolist(), strict=True))
        self._members: dict[int, list[int]] = {view: [view] for view in views.tolist()}
        self._group = {view: view for view in self._members}
        self._matches: dict[int, set[int]] = {view: set() for view in self._members}
        for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            self._matches[one].add(other)
            self._matches[other].add(one)
        for one, other in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            self._join(one, other)

    def _join(self, one: int, other: int) -> None:
        """Join the groups of two views, where the rule lets them."""
        first = self._group[one]
        second = self._group[other]
        if first == second:
            return
        members = self._members[first] + self._members[second]
        scenes = {self._scene[view] for view in members}
        if len(scenes) < len(members):
            return
        best = min(members, key=self._place.__getitem__)
        if not self._matches[best].issuperset(view for view in members if view != best):
            return
        self._members[first] = members
        for view in self._members.pop(second):
            self._group[view] = first

    def groups(self) -> list[list[int]]:
        """Return the views of each group."""
        return list(self._members.values())


def _by_best(leader: Ints, place: Ints) -> Groups:
    """Return groups named by their best views."""
    order = np.lexsort((place, leader))
    is_best = np.ones(len(order), bool)
    is_best[1:] = leader[order][1:] != leader[order][:-1]
    number = np.cumsum(is_best) - 1
    best = order[is_best]
    by_view = np.argsort(best)
    rank = np.empty(len(best), np.int64)
    rank[by_view] = np.arange(len(best))
    object_index = np.empty(len(order), np.int64)
    object_index[order] = rank[number]
    return Groups(object_index, best[by_view])
