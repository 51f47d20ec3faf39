"""Boxes in the pixel plane: how much they overlap, and which of many candidates are the same
object.

`merge` is greedy in order of score, as non-maximum suppression is, with two rules at once: near
centres, and overlap. It reads no file, knows no class names, and needs memory for the candidates
only, never for all their pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
BATCH = 20_000
PAIRS_AT_ONCE = 100_000  # candidates asked at once for what is near them


def to_xyxy(col: Floats, row: Floats, w: Floats, h: Floats) -> Floats:
    """Return (N, 4) boxes left, top, right, bottom from centres and sizes, same unit."""
    return np.stack([col - w / 2, row - h / 2, col + w / 2, row + h / 2], axis=-1)


def iou(boxes: Floats, others: Floats) -> Floats:
    """Return intersection over union of boxes one to one, in [0, 1]; two boxes without area have 0.

    Args:
        boxes: (N, 4) xyxy.
        others: (N, 4) xyxy.
    """
    both = shared(boxes, others)
    union = _area(boxes) + _area(others) - both
    shares: Floats = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return shares


def shared(boxes: Floats, others: Floats) -> Floats:
    """Return the area that boxes (N, 4) xyxy and others (N, 4) have in common, one to one."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = boxes.T, others.T
    both: Floats = np.maximum(np.minimum(right, right2) - np.maximum(left, left2), 0.0)
    both *= np.maximum(np.minimum(bottom, bottom2) - np.maximum(top, top2), 0.0)
    return both


def _area(boxes: Floats) -> Floats:
    return np.asarray(
        np.maximum(boxes[:, 2] - boxes[:, 0], 0.0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0.0)
    )


def merge(
    boxes: Floats,
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    distance: float | Floats,
    overlap: float,
) -> NDArray[np.intp]:
    """Return which candidates are kept when duplicates are removed, best first.

    In order of score (ties: by row, column, label, then size), a candidate is kept unless a kept
    one of its label is
    the same object: their centres are nearer than `distance` times the smaller of their sizes (root
    of the area), or their intersection over union is above `overlap`. The result does not depend on
    the order of the input, and the result at a higher score floor is the part of this one above
    that floor.

    Args:
        boxes: (N, 4) xyxy, finite.
        scores: (N,) any monotone score.
        labels: (N,) only candidates of one label can be duplicates.
        distance: in units of the objects' size, 0 or more; of each candidate (N,), where it is
            not one for all: the larger of two counts.
        overlap: in (0, 1]; 1 turns that rule off.

    Returns:
        (M,) indices into the input.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    order = np.lexsort(
        (sides[:, 1], sides[:, 0], labels, centers[:, 0], centers[:, 1], -scores.astype(np.float64))
    )
    rules = _Rules(
        boxes[order], labels[order], np.broadcast_to(distance, scores.shape)[order], overlap
    )
    kept = np.zeros(0, np.intp)
    start = 0
    while start < len(
        order
    ):  # batches as large as what is kept already, so that trees are built few times
        batch = np.arange(start, min(start + max(BATCH, len(kept)), len(order)))
        start += len(batch)
        batch = batch[~rules.duplicates(batch, kept)]
        kept = np.concatenate([kept, rules.greedy(batch)])
    return np.asarray(order[kept])


class _Rules:
    """When two of the candidates, sorted best first, are the same object."""

    def __init__(
        self, boxes: Floats, labels: NDArray[np.integer], distances: Floats, overlap: float
    ) -> None:
        self.boxes, self.labels, self.distances, self.overlap = boxes, labels, distances, overlap
        self.farthest = float(distances.max(initial=0.0))
        self.centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        self.x, self.y = np.ascontiguousarray(self.centers.T)
        self.labeled = len(labels) > 0 and bool((labels != labels[0]).any())
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
        self.sizes = np.sqrt(np.prod(sides, axis=1))
        # half octaves of the longer side: near pairs are looked for level by level, each with its
        # own radius
        self.levels = np.floor(
            2 * np.log2(np.maximum(sides.max(axis=1, initial=0.0), 1e-3))
        ).astype(int)

    def reach(self, level: int, other: int) -> float:
        """Return how far apart along either axis the centres of a same object can be, for two
        levels of size.

        Overlap above t leaves along each axis less than (a + b) / 2 * (1 - t) / (1 + t) between the
        centres of sides a and b, and no side ratio below t.
        """
        long, short = 2.0 ** ((max(level, other) + 1) / 2), 2.0 ** ((min(level, other) + 1) / 2)
        near = self.farthest * short
        if short / long * 2**0.5 > self.overlap:
            near = max(near, (long + short) / 2 * (1 - self.overlap) / (1 + self.overlap))
        return float(near * (1 + 1e-9))

    def same(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell pair by pair whether two candidates are the same object."""
        apart = np.hypot(self.x[first] - self.x[second], self.y[first] - self.y[second])
        distance = np.maximum(self.distances[first], self.distances[second])
        near = apart < distance * np.minimum(self.sizes[first], self.sizes[second])
        far = np.nonzero(~near)[0]
        near[far] = iou(self.boxes[first[far]], self.boxes[second[far]]) > self.overlap
        if self.labeled:
            near &= self.labels[first] == self.labels[second]
        return np.asarray(near)

    def pairs(
        self, first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return every pair of the same object, one from each list; some at a time, never all near
        pairs at once.
        """
        found = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
        trees = [
            (level, group, cKDTree(self.centers[group])) for level, group in self._by_level(second)
        ]
        for level, group in self._by_level(first):
            for start in range(0, len(group), PAIRS_AT_ONCE):
                some = group[start : start + PAIRS_AT_ONCE]
                tree = cKDTree(self.centers[some])
                for other_level, others, other_tree in trees:
                    radius = self.reach(level, other_level)
                    near = tree.sparse_distance_matrix(
                        other_tree, radius, p=np.inf, output_type="ndarray"
                    )
                    one, two = some[near["i"]], others[near["j"]]
                    same = self.same(one, two)
                    found.append((one[same], two[same]))
        ones, twos = zip(*found, strict=True)
        return np.concatenate(ones), np.concatenate(twos)

    def _by_level(self, members: NDArray[np.intp]) -> list[tuple[int, NDArray[np.intp]]]:
        levels = self.levels[members]
        return [(int(level), members[levels == level]) for level in np.unique(levels)]

    def duplicates(self, batch: NDArray[np.intp], kept: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which of the batch are the same object as one that is kept."""
        ones, _ = self.pairs(batch, kept)
        return np.isin(batch, ones)

    def greedy(self, batch: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return what remains of a batch, best first, when each removes its duplicates below it."""
        ones, twos = self.pairs(batch, batch)
        ones, twos = ones[ones < twos], twos[ones < twos]  # the better one first
        order = np.lexsort((twos, ones))
        ones, twos = ones[order], twos[order]
        leaders, starts = np.unique(ones, return_index=True)
        ends = np.append(starts, len(ones))[1:]
        removed = np.zeros(len(self.labels), bool)
        for leader, start, end in zip(leaders, starts, ends, strict=True):
            if not removed[leader]:
                removed[twos[start:end]] = True
        return batch[~removed[batch]]
