"""When a detection is an object: the match rules by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.params.allowed_values import MatchBy


@dataclass(frozen=True)
class MatchRule:
    """When a detection is an object.

    Attributes:
        by: `size`: centre within `value` times the object's longer side; `distance`: within
            `value` metres; `iou`: boxes overlap by at least `value`; `oriented_iou`: so do the
            polygons as delivered.
        value: see `by`.
        point_match_radius_m: distance for objects of unknown size (used by `size`) and for ignored
            labels without one, in metres.

    Raises:
        ParameterError: the value is out of range.
    """

    by: MatchBy
    value: float
    point_match_radius_m: float

    def __post_init__(self) -> None:
        highest = np.inf
        if self.is_by_iou:
            highest = 1.0
        if not 0 < self.value <= highest:
            raise ParameterError(
                f"matching by {self.by} needs a value in (0, {highest:g}], got {self.value}. "
                "Change it."
            )

    def __str__(self) -> str:
        return {
            "size": f"centre within {self.value:g} of the longer side",
            "distance": f"centre within {self.value:g} m",
            "iou": f"box IoU at least {self.value:g}",
            "oriented_iou": f"polygon IoU at least {self.value:g}",
        }[self.by]

    @property
    def is_by_iou(self) -> bool:
        """Whether shapes must overlap; else centres must be near."""
        return self.by in ("iou", "oriented_iou")

    def max_distance_m(self, objects: pd.DataFrame) -> NDArray[np.float64]:
        """Return (M,) the largest distance of a centre that matches each object, metres."""
        if self.by == "size":
            distance = (objects["longer_m"] * self.value).fillna(self.point_match_radius_m)
            return distance.to_numpy(np.float64)
        return np.full(len(objects), self.value)
