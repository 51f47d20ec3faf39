"""Candidate objects of a search, and how those of one scene become one table without duplicates.

Peaks of all blocks and passes are merged once, so objects do not depend on how a scene is cut.
Finds no peak and computes no probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.geometry import objects as object_tables
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.boxes import merge_duplicates
from windhover.geometry.georef import pixel_to_world
from windhover.geometry.objects import Objects
from windhover.inference.search_settings import SearchSettings

# a secondary peak nearer than this to a better candidate, in units of its size, is a duplicate ...
SECONDARY_PEAK_DISTANCE = 0.7
# ... or nearer than this in merge distances, where crowds have a smaller one
SECONDARY_PEAK_FACTOR = 1.4
# how a candidate is kept in a journal: 46 bytes, the same on every machine
STORED = np.dtype(
    [
        ("center_xy", "<f8", 2),
        ("size_wh", "<f8", 2),
        ("logit", "<f8"),
        ("class_index", "<i4"),
        ("touches_edge", "?"),
        ("is_secondary", "?"),
    ]
)


@dataclass(frozen=True)
class Candidates:
    """Candidates of a search, in px of one grid.

    Attributes:
        objects: centres, sizes and classes; their scores are raw logits of the network.
        touches_edge: (N,) whether the window reaches beyond the scene.
        is_secondary: (N,) whether a neighbouring cell is higher, but for another object.
    """

    objects: Objects
    touches_edge: Bools
    is_secondary: Bools

    @classmethod
    def empty(cls) -> Candidates:
        """Return no candidates."""
        objects = replace(Objects.empty(), scores=np.zeros(0))
        return cls(objects, np.zeros(0, bool), np.zeros(0, bool))

    @classmethod
    def from_bytes(cls, stored: bytes) -> Candidates:
        """Return the candidates that `to_bytes` wrote."""
        records = np.frombuffer(stored, STORED)
        objects = Objects(
            records["center_xy"],
            records["size_wh"],
            records["class_index"].astype(np.int64),
            np.zeros(len(records), np.int8),
            records["logit"],
        )
        return cls(objects, records["touches_edge"], records["is_secondary"])

    def to_bytes(self) -> bytes:
        """Return the candidates as bytes that hold every number exactly."""
        records = np.zeros(len(self), STORED)
        records["center_xy"] = self.objects.centers_xy
        records["size_wh"] = self.objects.sizes_wh
        records["logit"] = self.logits
        records["class_index"] = self.class_index
        records["touches_edge"] = self.touches_edge
        records["is_secondary"] = self.is_secondary
        return records.tobytes()

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def logits(self) -> Floats:
        """(N,) raw logits."""
        if self.objects.scores is None:
            return np.full(len(self), np.nan)
        return self.objects.scores

    @property
    def class_index(self) -> Ints:
        """(N,) index into the classes of the model."""
        return self.objects.class_index

    def select(self, rows: NDArray[Any]) -> Candidates:
        """Return the candidates of `rows`, a mask (N,) or indices."""
        return Candidates(
            self.objects.select(rows), self.touches_edge[rows], self.is_secondary[rows]
        )

    def scaled(self, factor_xy: tuple[float, float]) -> Candidates:
        """Return the candidates in px of another grid, which are `factor_xy` times as many."""
        return replace(self, objects=self.objects.scaled(factor_xy))


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of several parts as one."""
    parts = [Candidates.empty(), *parts]
    return Candidates(
        object_tables.concatenate([part.objects for part in parts]),
        np.concatenate([part.touches_edge for part in parts]),
        np.concatenate([part.is_secondary for part in parts]),
    )


def secondary_peak_distance(merge_distance: float) -> float:
    """Return how near a secondary peak is the same object as a better candidate, in sizes.

    Args:
        merge_distance: the same of peaks; below the default, for crowds, this follows.
    """
    in_crowds = SECONDARY_PEAK_FACTOR * merge_distance
    return max(min(SECONDARY_PEAK_DISTANCE, in_crowds), merge_distance)


def merge_candidates(
    parts: Sequence[Candidates],
    settings: SearchSettings,
    *,
    aoi: BaseGeometry | None = None,
    transform: Affine | None = None,
) -> Candidates:
    """Return the candidates of all blocks and passes without duplicates, best first.

    Args:
        parts: of each block, in px of the scene.
        settings: when two candidates are the same object.
        aoi: polygon in the scene's coordinate system; candidates outside are dropped.
        transform: px of the scene -> world; needed with `aoi`.
    """
    candidates = concatenate(parts)
    of_secondary = secondary_peak_distance(settings.merge_distance)
    distance = np.where(candidates.is_secondary, of_secondary, settings.merge_distance)
    kept = merge_duplicates(
        candidates.objects.to_xyxy(),
        candidates.logits,
        candidates.class_index,
        center_distance=distance,
        iou_threshold=settings.merge_iou,
    )
    candidates = candidates.select(kept)
    if aoi is not None and transform is not None:
        x, y = pixel_to_world(transform, *candidates.objects.centers_xy.T)
        candidates = candidates.select(shapely.contains_xy(aoi, x, y))
    return candidates
