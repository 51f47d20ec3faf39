"""The record of a folder of patches: what was cut, how, and how rare its objects are.

The typed content of `data/patches/summary.json`. Computes nothing.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from windhover.dataset.label_rule import LabelRule
from windhover.json_record import JsonRecord
from windhover.params.allowed_values import RadiusShape

SUMMARY_FILE = "summary.json"


class _Part(BaseModel):
    """Base of the parts of the record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitPrior(_Part):
    """How many of a split's windows show an object; shares are None where they are not known."""

    windows: int = 0  # of the labeled scenes, at the stride of the search
    true: float | None = None  # share of the windows that show an object by the label rule
    true_central_32_px: float | None = None  # by the central 32 x 32 px, a common older rule
    by_class: dict[str, float] = Field(default_factory=dict)  # share of those that show a class
    sampled: float | None = None  # share of positives among the patches


class Leakage(_Part):
    """How far the splits are apart on the ground, and what two of them share."""

    smallest_distance_m: float | None = None  # None for fewer than two splits with a georeference
    between: tuple[str, str] | None = None  # the scenes of that distance
    overlapping_patches: int = 0
    identical_patches: int = 0
    scenes_without_georeference: int = 0


class ShareRule(_Part):
    """By which shares patches of classes without boxes are labeled."""

    label_px: int  # side of the square in the middle that decides
    min_share: float  # of that square, from which a patch shows a class
    max_share: float  # of all classes together, up to which a patch is background


class PatchSummary(JsonRecord):
    """What a folder of patches holds."""

    stage: ClassVar[str] = "patches"

    window_px: int
    stride_px: int
    gsd_m: float
    bands: list[str]
    positive_radius_px: float
    ignore_radius_px: float
    radius_shape: RadiusShape
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)  # split -> kind -> patches
    prior: dict[str, SplitPrior] = Field(default_factory=dict)  # by split
    skipped: dict[str, int] = Field(default_factory=dict)  # reason -> patches left out
    leakage: Leakage = Leakage()
    dtype: str
    classes: list[str]  # names, in the order of their index
    mean: list[float]  # of the training pixels, by band
    std: list[float]  # above 0
    # of each band beyond a scene's border; None for its mirror image, as earlier versions cut it
    padding_value: tuple[float, ...] | None = None
    source: str | None = None  # of ready-made patches
    coverage: ShareRule | None = None  # where the task is coverage

    @property
    def label_rule(self) -> LabelRule:
        """When a window of these patches shows an object."""
        return LabelRule(self.positive_radius_px, self.ignore_radius_px, self.radius_shape)
