"""Parameters of the `patches` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from windhover.params import StageParams


class NegativesPerPositive(StageParams):
    """How many negatives of each kind are cut for one positive."""

    random: float = Field(ge=0, le=1000, description="anywhere on labelled ground")
    offcenter: float = Field(
        ge=0, le=1000, description="an object in the window but not at its centre"
    )
    lookalike: float = Field(
        ge=0, le=1000, description="windows full of structure, away from objects"
    )


class PatchesParams(StageParams):
    """Which windows are cut, and when a window counts as showing an object."""

    positive_radius_m: float = Field(
        gt=0, description="a window is positive when an object's centre is this near to its own, m"
    )
    ignore_radius_m: float = Field(
        gt=0,
        description="a window is negative when no object's centre is this near, m; between the two it is not used",
    )
    radius_shape: Literal["square", "circle"] = Field(
        description="`square`: the larger of |dx| and |dy| counts; `circle`: the distance"
    )
    positives_per_object: int = Field(
        ge=1,
        le=1000,
        description="windows cut for one object, each shifted within the positive radius",
    )
    negatives_per_positive: NegativesPerPositive = Field(description="by kind")
    scale_jitter: tuple[float, float] = Field(
        description="training patches are seen at the training GSD times a factor from this range; 1, 1 for none"
    )
    max_objects_per_scene: int | None = Field(
        ge=1,
        description="at most this many objects of one scene are used, drawn by the seed; null for all",
    )
    npz: str | None = Field(
        description=(
            "ready-made patches (.npz) from the project's root, taken as they are; null cuts them from the scenes"
        )
    )
    seed: int = Field(ge=0, description="of every draw")

    @model_validator(mode="after")
    def _ranges(self) -> PatchesParams:
        low, high = self.scale_jitter
        if not 0.25 <= low <= high <= 4:
            raise ValueError(
                f"scale_jitter must be low <= high within 0.25..4, got {low} and {high}"
            )
        if self.ignore_radius_m < self.positive_radius_m:
            raise ValueError(
                f"ignore_radius_m ({self.ignore_radius_m} m) must be at least positive_radius_m "
                f"({self.positive_radius_m} m)"
            )
        return self
