"""Objects of a collection: views grouped, seen or missed by every raster, and their change.

Numbers alone; texts and shapes stay in the spill until a file is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.collection.change_status import Changes, Observations, changes_of
from windhover.collection.collection_counts import FoundOnDates, scene_dates
from windhover.collection.detection_spill import DetectionSpill
from windhover.collection.group_views import Groups, group_views, quality_order
from windhover.collection.match_views import MergeLimits, matching_pairs
from windhover.collection.seen_ground import SearchedGround, seen_without_finding
from windhover.collection.views import Views
from windhover.export.expected_counts import NO_DATE as UNKNOWN_DATE
from windhover.geometry.arrays import Bools, Floats, Ints


class PlacelessViews(NamedTuple):
    """What writing needs of all detections (N,); places take most of the memory of `Views`."""

    class_index: Ints
    scene: Ints
    score: Floats
    edge: Bools

    @classmethod
    def of(cls, views: Views) -> PlacelessViews:
        """Return these columns."""
        return cls(views.class_index, views.scene, views.score, views.edge)


@dataclass(frozen=True)
class CollectedObjects:
    """All objects (M,) of a collection, in the order of their best views' numbers.

    Attributes:
        spill: that holds every detection.
        views: all detections (N,), without their places.
        best: the best view of each object.
        ids: (N,) of the detections.
        groups: which object each detection is of, and the best one of each object.
        place: (N,) of each detection in the order of quality.
        n_views: (M,) rasters in which it was found.
        n_possible: (M,) rasters that could have seen it; those that found it did.
        dates: days in their order.
        found: objects and dates on which they were found.
        changes: what became of them.
        unread: rasters that could not be read again, by name.
    """

    spill: DetectionSpill
    views: PlacelessViews
    best: Views
    ids: NDArray[np.bytes_]
    groups: Groups
    place: Ints
    n_views: Ints
    n_possible: Ints
    dates: list[str]
    found: FoundOnDates
    changes: Changes
    unread: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.groups.best)


def merge_views(
    spill: DetectionSpill,
    grounds: Sequence[SearchedGround],
    recalls: Mapping[str, float | None],
    limits: MergeLimits,
) -> CollectedObjects:
    """Return the objects that detections of many rasters are of.

    Args:
        spill: of all detections; scenes numbered as `grounds`.
        grounds: all rasters searched, in the order of their names.
        recalls: of each class at its threshold; None where unknown.
        limits: of the search, within one raster and between two.
    """
    views, ids = spill.take_views()
    place = quality_order(views, np.arange(len(grounds)), ids)
    groups = group_views(matching_pairs(views, limits), views.scene, place)
    best = views.select(groups.best)
    kept = PlacelessViews.of(views)
    del views  # places of views that are not the best are needed no more
    count = len(best)
    missed = seen_without_finding(best, (groups.object_index, kept.scene), grounds)
    n_views = np.bincount(groups.object_index, minlength=count)
    dates, date_of_scene = scene_dates([ground.summary for ground in grounds])
    found = _found_on_dates(kept, groups.object_index, place, date_of_scene)
    observations = _observations(
        found,
        Observations(
            missed.object_index,
            date_of_scene[missed.scene],
            np.full(len(missed.scene), np.nan),
        ),
        dates,
    )
    recall_of_class = [recalls.get(name) for name in spill.classes]
    recall = np.array([np.nan if value is None else value for value in recall_of_class])
    return CollectedObjects(
        spill=spill,
        views=kept,
        best=best,
        ids=ids,
        groups=groups,
        place=place,
        n_views=n_views,
        n_possible=n_views + np.bincount(missed.object_index, minlength=count),
        dates=dates,
        found=found,
        changes=changes_of(observations, recall[best.class_index]),
        unread=missed.unread,
    )


def _found_on_dates(
    views: PlacelessViews, object_index: Ints, place: Ints, date_of_scene: Ints
) -> FoundOnDates:
    """Return objects and dates on which they were found, with the score of the best view."""
    date = date_of_scene[views.scene]
    order = np.lexsort((place, date, object_index))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(object_index[order]) != 0) | (np.diff(date[order]) != 0)
    rows = order[is_first]
    return FoundOnDates(object_index[rows], date[rows], views.score[rows])


def _observations(found: FoundOnDates, missed: Observations, dates: list[str]) -> Observations:
    """Return what known dates show of objects: found at a date, or else missed by all its rasters.

    Args:
        found: objects and dates.
        missed: the same of rasters that saw the ground and did not find it.
        dates: days in their order, `unknown` last where there is one.
    """
    n_dates = max(len(dates), 1)
    keys = np.unique(missed.object_index * n_dates + missed.date)
    keys = keys[~np.isin(keys, found.object_index * n_dates + found.date)]
    object_index = np.concatenate([found.object_index, keys // n_dates])
    date = np.concatenate([found.date, keys % n_dates])
    score = np.concatenate([found.score, np.full(len(keys), np.nan)])
    is_known = np.array([name != UNKNOWN_DATE for name in [*dates, ""]])[date]
    return Observations(object_index[is_known], date[is_known], score[is_known])
