"""The label rule: when a window shows an object, and when it is background.

Works on distances in px between the center of a window and the center of an object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from windhover.geometry.arrays import Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.params.allowed_values import RadiusShape


@dataclass(frozen=True)
class LabelRule:
    """When a window shows an object.

    Attributes:
        positive_px: a window is positive if an object's center is at most this far from its own.
        ignore_px: a window is negative if every object's center is farther away than this; windows
            between the two radii are neither.
        shape: `square` measures the larger of |dx| and |dy|, `circle` the Euclidean distance.
    """

    positive_px: float
    ignore_px: float
    shape: RadiusShape

    def distance(self, dx: Floats, dy: Floats) -> Floats:
        """Return the distance, px, by which the rule decides, for offsets along x and y, px."""
        if self.shape == "square":
            return np.maximum(np.abs(dx), np.abs(dy))
        return np.hypot(dx, dy)

    def sample_offsets(
        self, rng: np.random.Generator, count: int, *, low_px: float, high_px: float
    ) -> Floats:
        """Return (count, 2) offsets dx, dy, px, uniform over the ring between two radii."""
        if self.shape == "circle":
            radius = np.sqrt(rng.uniform(low_px**2, high_px**2, count))
            angle = rng.uniform(0, 2 * np.pi, count)
            return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        offsets: Floats = rng.uniform(-high_px, high_px, (count, 2))
        too_near = np.abs(offsets).max(axis=1) < low_px
        while too_near.any():
            offsets[too_near] = rng.uniform(-high_px, high_px, (int(too_near.sum()), 2))
            too_near = np.abs(offsets).max(axis=1) < low_px
        return offsets


# an object's center in the central 32 x 32 px of the window, a common older rule
CENTRAL_WINDOW_RULE = LabelRule(WINDOW_PX / 4, WINDOW_PX / 4, "square")
