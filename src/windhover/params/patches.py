"""Parameters of the `patches` stage."""

from __future__ import annotations

from pydantic import Field, model_validator

from windhover.geometry.windows import WINDOW_PX
from windhover.params import StageParams
from windhover.params.allowed_values import RadiusShape

LABEL_STEP_PX = 8  # the square that labels a patch lies on cells of half of it


class NegativesPerPositive(StageParams):
    """Negatives of each kind per positive."""

    random: float = Field(default=4.0, ge=0, le=1000, description="anywhere on labelled ground")
    offcenter: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="with an object in the window but not at its center",
    )
    lookalike: float = Field(
        default=1.0, ge=0, le=1000, description="windows full of structure, away from objects"
    )


class CoveragePatchesParams(StageParams):
    """Patches of classes without boxes: labeled by the share of their pixels."""

    label_px: int = Field(
        default=WINDOW_PX,
        ge=LABEL_STEP_PX,
        le=WINDOW_PX,
        multiple_of=LABEL_STEP_PX,
        description="side of the square in the middle of a patch whose pixels decide, px; a "
        "smaller one gives a sharper map",
    )
    min_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="a patch shows a class that covers at least this share of that square",
    )
    max_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="a patch is background if all classes together cover at most this share; "
        "patches between the two are not used",
    )
    train_patches: int = Field(
        default=4000, ge=2, le=10_000_000, description="training patches that are wanted"
    )
    test_patches: int = Field(
        default=640, ge=2, le=10_000_000, description="patches of val, and of test, that are wanted"
    )
    balance: bool = Field(
        default=True,
        description="whether background and each class get the same number of patches; else as "
        "they come",
    )
    keep_masks: bool = Field(
        default=False, description="whether each patch's class raster is kept with it"
    )

    @model_validator(mode="after")
    def _check_shares(self) -> CoveragePatchesParams:
        if self.max_share >= self.min_share:
            raise ValueError(
                f"max_share must be under min_share ({self.min_share:g}), got {self.max_share:g}"
            )
        return self


class PatchesParams(StageParams):
    """Which windows are cut, and when a window counts as showing an object."""

    positive_radius_px: float = Field(
        default=8.0,
        gt=0,
        description="a window is positive if an object's center is this near to its own, px at "
        "the training GSD",
    )
    ignore_radius_px: float = Field(
        default=15.0,
        gt=0,
        description="a window is negative if no object's center is this near, px; "
        "windows between the two radii are not used",
    )
    positive_radius_m: float | None = Field(
        default=None,
        gt=0,
        description="the positive radius in m, in place of positive_radius_px; null for none",
    )
    ignore_radius_m: float | None = Field(
        default=None,
        gt=0,
        description="the ignore radius in m, in place of ignore_radius_px; null for none",
    )
    radius_shape: RadiusShape = Field(
        default="square",
        description="distance used: `square` = the larger of |dx| and |dy|, `circle` = Euclidean",
    )
    positives_per_object: int = Field(
        default=24,
        ge=1,
        le=1000,
        description="windows cut for each object, shifted at random within the positive radius",
    )
    negatives_per_positive: NegativesPerPositive = Field(
        default=NegativesPerPositive(),
        description="negatives of each kind per positive; more are mined in training",
    )
    coverage: CoveragePatchesParams = Field(
        default=CoveragePatchesParams(),
        description="patches of classes without boxes, where `scenes.task` is coverage",
    )
    scale_jitter: tuple[float, float] = Field(
        default=(1.0, 1.0),
        description="training patches are resampled to `gsd_m` times a random factor "
        "from this range; 1, 1 for none",
    )
    npz: str | None = Field(
        default=None,
        description="file of ready-made patches (.npz), used unchanged; null cuts them from scenes",
    )
    max_objects_per_scene: int | None = Field(
        default=None,
        ge=1,
        description="largest number of objects used from one scene; null for all",
    )
    seed: int = Field(default=0, ge=0, description="random seed of all sampling")

    @model_validator(mode="after")
    def _check_ranges(self) -> PatchesParams:
        low, high = self.scale_jitter
        if not 0.25 <= low <= high <= 4:
            raise ValueError(
                f"scale_jitter must be low <= high within 0.25..4, got {low} and {high}"
            )
        _check_order(self.positive_radius_m, self.ignore_radius_m, "m")
        if self.positive_radius_m is None and self.ignore_radius_m is None:
            _check_order(self.positive_radius_px, self.ignore_radius_px, "px")
        return self


def _check_order(positive: float | None, ignore: float | None, unit: str) -> None:
    """Raise if both radii are given in a unit and the ignore radius is the smaller one.

    Raises:
        ValueError: it is.
    """
    if positive is not None and ignore is not None and ignore < positive:
        raise ValueError(
            f"ignore_radius_{unit} ({ignore:g} {unit}) must be at least positive_radius_{unit} "
            f"({positive:g} {unit})"
        )
