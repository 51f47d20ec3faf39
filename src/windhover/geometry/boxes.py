"""Boxes in the pixel plane: how much they overlap, and which candidates show one object.

`merge_duplicates` is greedy in order of score, as non-maximum suppression is, with two rules at
once: near centres, and overlap. It reads no file, knows no class names, and needs memory for the
candidates only, never for all their pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools, Floats

Indices = NDArray[np.intp]
BATCH = 20_000  # candidates compared with those kept before them at once
MAX_COMPARED_PAIRS = 100_000  # all are compared up to this; more are found by trees
QUERY_BATCH = 100_000  # candidates whose neighbours are searched at once
LEVELS_PER_OCTAVE = 2  # of the longer side, by which candidates are grouped for the search
MIN_SIDE = 1e-3  # px; smaller sides count as this in the grouping
ROUNDING = 1e-9  # relative


def to_xyxy(col: Floats, row: Floats, w: Floats, h: Floats) -> Floats:
    """Return (N, 4) boxes left, top, right, bottom from centres and sizes, same unit."""
    return np.stack([col - w / 2, row - h / 2, col + w / 2, row + h / 2], axis=-1)


def iou(boxes: Floats, others: Floats) -> Floats:
    """Return intersection over union of boxes one to one, in [0, 1]; two boxes without area have 0.

    Args:
        boxes: (N, 4) xyxy.
        others: (N, 4) xyxy.
    """
    return iou_from_areas(intersection_area(boxes, others), _area(boxes), _area(others))


def iou_from_areas(intersection: Floats, area: Floats, other_area: Floats) -> Floats:
    """Return IoU (N,) from the areas of intersections and shapes; 0 where neither has an area."""
    union = area + other_area - intersection
    result: Floats = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=union > 0
    )
    return result


def intersection_area(boxes: Floats, others: Floats) -> Floats:
    """Return the area (N,) that boxes (N, 4) xyxy and others (N, 4) have in common, one to one."""
    left, top, right, bottom = boxes.T
    other_left, other_top, other_right, other_bottom = others.T
    width = np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0.0)
    height = np.maximum(np.minimum(bottom, other_bottom) - np.maximum(top, other_top), 0.0)
    area: Floats = width * height
    return area


def merge_duplicates(
    boxes: Floats,
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    center_distance: float | Floats,
    iou_threshold: float,
) -> Indices:
    """Return which candidates are kept when duplicates are removed, best first.

    In order of score (ties: by row, column, label, then size), a candidate is kept unless a kept
    one of its label is the same object: their centres are nearer than `center_distance` times the
    smaller of their sizes (root of the area), or their intersection over union is above
    `iou_threshold`. The result does not depend on the order of the input, and the result at a
    higher minimum score is the part of this one above that score.

    Args:
        boxes: (N, 4) xyxy, finite.
        scores: (N,) any monotone score.
        labels: (N,) only candidates of one label can be duplicates.
        center_distance: in units of the objects' size, 0 or more; one number, or one a candidate
            (N,), of which the larger of two counts.
        iou_threshold: in (0, 1]; 1 turns that rule off.

    Returns:
        (M,) indices into the input.
    """
    order = _best_first(boxes, scores, labels)
    rule = _DuplicateRule(
        boxes[order],
        labels[order],
        center_distances=np.broadcast_to(center_distance, scores.shape)[order],
        iou_threshold=iou_threshold,
    )
    kept = np.zeros(0, np.intp)
    start = 0
    while start < len(order):
        # batches as large as what is kept already, so that trees are built few times
        stop = min(start + max(BATCH, len(kept)), len(order))
        batch = np.arange(start, stop)
        start = stop
        batch = batch[~rule.is_duplicate(batch, kept)]
        kept = np.concatenate([kept, rule.keep_greedily(batch)])
    return np.asarray(order[kept])


def _best_first(
    boxes: Floats, scores: NDArray[np.floating], labels: NDArray[np.integer]
) -> Indices:
    """Return the order of falling score; ties by row, column, label, then width and height."""
    col, row = _centers(boxes).T
    width, height = _sides(boxes).T
    return np.lexsort((height, width, labels, col, row, -scores.astype(np.float64)))


class _DuplicateRule:
    """When two of the candidates, sorted best first, are the same object.

    Candidates are grouped into levels, half octaves of their longer side, so that near pairs are
    searched level by level, each with its own radius.
    """

    def __init__(
        self,
        boxes: Floats,
        labels: NDArray[np.integer],
        *,
        center_distances: Floats,
        iou_threshold: float,
    ) -> None:
        self.boxes = boxes
        self.labels = labels
        self.center_distances = center_distances
        self.iou_threshold = iou_threshold
        self.max_center_distance = float(center_distances.max(initial=0.0))
        self.centers = _centers(boxes)
        self.x, self.y = np.ascontiguousarray(self.centers.T)
        self.has_several_labels = len(labels) > 0 and bool((labels != labels[0]).any())
        sides = _sides(boxes)
        self.sizes = np.sqrt(np.prod(sides, axis=1))
        longer_side = np.maximum(sides.max(axis=1, initial=0.0), MIN_SIDE)
        self.levels = np.floor(LEVELS_PER_OCTAVE * np.log2(longer_side)).astype(int)

    def search_radius(self, level: int, other_level: int) -> float:
        """Return the largest distance along an axis between centres of duplicates of two levels.

        Overlap above t leaves along each axis less than (a + b) / 2 * (1 - t) / (1 + t) between the
        centres of sides a and b, and no side ratio below t.
        """
        longer = 2.0 ** ((max(level, other_level) + 1) / LEVELS_PER_OCTAVE)
        shorter = 2.0 ** ((min(level, other_level) + 1) / LEVELS_PER_OCTAVE)
        threshold = self.iou_threshold
        radius = self.max_center_distance * shorter
        if shorter / longer * 2**0.5 > threshold:
            radius = max(radius, (longer + shorter) / 2 * (1 - threshold) / (1 + threshold))
        return float(radius * (1 + ROUNDING))

    def is_same_object(self, first: Indices, second: Indices) -> Bools:
        """Return pair by pair whether two candidates are the same object."""
        distance = np.hypot(self.x[first] - self.x[second], self.y[first] - self.y[second])
        factor = np.maximum(self.center_distances[first], self.center_distances[second])
        same = distance < factor * np.minimum(self.sizes[first], self.sizes[second])
        apart = np.nonzero(~same)[0]
        overlap = iou(self.boxes[first[apart]], self.boxes[second[apart]])
        same[apart] = overlap > self.iou_threshold
        if self.has_several_labels:
            same &= self.labels[first] == self.labels[second]
        return np.asarray(same)

    def duplicate_pairs(self, first: Indices, second: Indices) -> tuple[Indices, Indices]:
        """Return all pairs of one object, one of each list, never holding all near pairs."""
        if len(first) * len(second) <= MAX_COMPARED_PAIRS:
            one = np.repeat(first, len(second))
            two = np.tile(second, len(first))
            same = self.is_same_object(one, two)
            return one[same], two[same]
        from scipy.spatial import cKDTree  # loads as slowly as a small raster is searched

        firsts = [np.zeros(0, np.intp)]
        seconds = [np.zeros(0, np.intp)]
        others = [
            (level, members, cKDTree(self.centers[members]))
            for level, members in self._by_level(second)
        ]
        for level, batch in self._query_batches(first):
            tree = cKDTree(self.centers[batch])
            for other_level, other_members, other_tree in others:
                radius = self.search_radius(level, other_level)
                near = tree.sparse_distance_matrix(
                    other_tree, radius, p=np.inf, output_type="ndarray"
                )
                one = batch[near["i"]]
                two = other_members[near["j"]]
                same = self.is_same_object(one, two)
                firsts.append(one[same])
                seconds.append(two[same])
        return np.concatenate(firsts), np.concatenate(seconds)

    def _query_batches(self, members: Indices) -> Iterator[tuple[int, Indices]]:
        """Yield each level with up to `QUERY_BATCH` of its members at a time."""
        for level, group in self._by_level(members):
            for start in range(0, len(group), QUERY_BATCH):
                yield level, group[start : start + QUERY_BATCH]

    def _by_level(self, members: Indices) -> list[tuple[int, Indices]]:
        levels = self.levels[members]
        return [(int(level), members[levels == level]) for level in np.unique(levels)]

    def is_duplicate(self, batch: Indices, kept: Indices) -> Bools:
        """Return which of the batch are the same object as one that is kept."""
        duplicates, _ = self.duplicate_pairs(batch, kept)
        return np.isin(batch, duplicates)

    def keep_greedily(self, batch: Indices) -> Indices:
        """Return what remains of a batch, best first, when each removes its duplicates below it."""
        better, worse = self.duplicate_pairs(batch, batch)
        in_order = better < worse
        better = better[in_order]
        worse = worse[in_order]
        order = np.lexsort((worse, better))
        better = better[order]
        worse = worse[order]
        leaders, starts = np.unique(better, return_index=True)
        stops = np.append(starts, len(better))[1:]
        removed = np.zeros(len(self.labels), bool)
        for leader, start, stop in zip(leaders, starts, stops, strict=True):
            if not removed[leader]:
                removed[worse[start:stop]] = True
        return batch[~removed[batch]]


def _centers(boxes: Floats) -> Floats:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sides(boxes: Floats) -> Floats:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)


def _area(boxes: Floats) -> Floats:
    width = np.maximum(boxes[:, 2] - boxes[:, 0], 0.0)
    height = np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
    return np.asarray(width * height)
