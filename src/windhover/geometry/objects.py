"""One table of objects: where they are, how large, of which class, and whether they count.

Every room that handles objects takes and returns this class: labels placed on a scene, the objects
of a training patch, candidates of a search. It knows no file, no raster and no class names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools, Floats, Ints


class Role(IntEnum):
    """What an object means to learning and to evaluation."""

    OBJECT = 0
    IGNORE = 1  # neither finding it nor missing it counts


@dataclass(frozen=True)
class Objects:
    """Objects in one plane, in one unit (px of a grid, or metres).

    Attributes:
        centers_xy: (N, 2) x, y.
        sizes_wh: (N, 2) width and height of the boxes; NaN where no size is known.
        class_index: (N,) index into the classes; of an ignored object it means nothing.
        role: (N,) values of `Role`.
        scores: (N,) raw logits or probabilities, as the caller documents; None for labels.
        angles_rad: (N,) turn of each box from the x axis towards the y axis, radians; None for
            boxes along the axes.
    """

    centers_xy: Floats
    sizes_wh: Floats
    class_index: Ints
    role: NDArray[np.int8]
    scores: Floats | None = None
    angles_rad: Floats | None = None

    @classmethod
    def empty(cls) -> Objects:
        """Return a table without objects."""
        nothing = np.zeros((0, 2))
        return cls(nothing, nothing, np.zeros(0, np.int64), np.zeros(0, np.int8))

    @classmethod
    def from_xyxy(
        cls,
        boxes_xyxy: Floats,
        class_index: Ints,
        role: NDArray[np.int8] | None = None,
        *,
        scores: Floats | None = None,
    ) -> Objects:
        """Return objects from boxes (N, 4) left, top, right, bottom; all count without `role`."""
        boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        if role is None:
            role = np.zeros(len(boxes), np.int8)
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        return cls(centers, boxes[:, 2:] - boxes[:, :2], class_index, role, scores)

    def __len__(self) -> int:
        return len(self.centers_xy)

    @property
    def is_ignored(self) -> Bools:
        """(N,) which objects do not count."""
        return np.asarray(self.role == Role.IGNORE)

    @property
    def longer_side(self) -> Floats:
        """(N,) the longer of width and height, NaN where no size is known."""
        return np.asarray(self.sizes_wh.max(axis=1, initial=-np.inf)) if len(self) else np.zeros(0)

    def select(self, rows: NDArray[Any]) -> Objects:
        """Return the objects of `rows`, a mask (N,) or indices."""
        return replace(
            self,
            centers_xy=self.centers_xy[rows],
            sizes_wh=self.sizes_wh[rows],
            class_index=self.class_index[rows],
            role=self.role[rows],
            scores=None if self.scores is None else self.scores[rows],
            angles_rad=None if self.angles_rad is None else self.angles_rad[rows],
        )

    def to_xyxy(self) -> Floats:
        """Return boxes (N, 4) left, top, right, bottom; NaN where no size is known."""
        half = self.sizes_wh / 2
        return np.concatenate([self.centers_xy - half, self.centers_xy + half], axis=1)

    def scaled(self, factor_xy: float | Sequence[float] | Floats) -> Objects:
        """Return the objects with centres and sizes multiplied by one factor, or by one an axis."""
        factor = np.asarray(factor_xy, np.float64)
        return replace(self, centers_xy=self.centers_xy * factor, sizes_wh=self.sizes_wh * factor)

    def shifted(self, dx: float, dy: float) -> Objects:
        """Return the objects moved."""
        return replace(self, centers_xy=self.centers_xy + np.array([dx, dy], np.float64))

    def within(self, extent_xyxy: Sequence[float], margin: float = 0.0) -> Bools:
        """Return which centres are in an extent, borders included, or at most `margin` outside."""
        low = np.asarray(extent_xyxy[:2], np.float64) - margin
        high = np.asarray(extent_xyxy[2:], np.float64) + margin
        inside = (self.centers_xy >= low) & (self.centers_xy <= high)
        return np.asarray(inside.all(axis=1))


def concatenate(tables: Sequence[Objects]) -> Objects:
    """Return the objects of several tables as one; scores and angles only where all have them."""
    if not tables:
        return Objects.empty()
    scores = [table.scores for table in tables if table.scores is not None]
    angles = [table.angles_rad for table in tables if table.angles_rad is not None]
    return Objects(
        np.concatenate([table.centers_xy for table in tables]),
        np.concatenate([table.sizes_wh for table in tables]),
        np.concatenate([table.class_index for table in tables]),
        np.concatenate([table.role for table in tables]),
        np.concatenate(scores) if len(scores) == len(tables) else None,
        np.concatenate(angles) if len(angles) == len(tables) else None,
    )
