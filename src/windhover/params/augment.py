"""Parameters of the `augment` stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from windhover.params import StageParams

DEFAULT_TRANSFORMS: tuple[dict[str, Any], ...] = (
    {"name": "D4", "p": 1.0},
    {
        "name": "Affine",
        "scale": [0.92, 1.08],
        "rotate": [-20, 20],
        "border_mode": 4,
        "p": 0.5,
    },
    {
        "name": "RandomBrightnessContrast",
        "brightness_limit": 0.12,
        "contrast_limit": 0.25,
        "p": 0.7,
    },
    {"name": "RandomGamma", "gamma_limit": [75, 135], "p": 0.4},
    {
        "name": "HueSaturationValue",
        "hue_shift_limit": 6,
        "sat_shift_limit": 25,
        "val_shift_limit": 0,
        "p": 0.3,
    },
    {"name": "GaussianBlur", "blur_limit": 0, "sigma_limit": [0.3, 1.0], "p": 0.2},
    {"name": "GaussNoise", "std_range": [0.005, 0.03], "p": 0.3},
)


class AugmentParams(StageParams):
    """Augmented copies of the training patches."""

    seed: int = Field(
        default=11,
        ge=0,
        description="random seed; with a patch's row and copy number it decides a copy",
    )
    variants: int = Field(
        default=1, ge=0, le=16, description="augmented copies of each training patch"
    )
    keep_original: bool = Field(default=True, description="whether the unchanged patch is kept too")
    transforms: tuple[dict[str, Any], ...] = Field(
        default=DEFAULT_TRANSFORMS,
        description="albumentations transforms in order: name and arguments",
    )
    sheet_rows: int = Field(default=12, ge=1, le=64, description="rows of the contact sheet")

    @field_validator("transforms")
    @classmethod
    def _check_names(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any(not isinstance(entry.get("name"), str) for entry in value):
            raise ValueError("every transform must have a `name`")
        return value
