"""Parameters of the `augment` stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from windhover.params import StageParams


class AugmentParams(StageParams):
    """Which augmented copies of the training patches are made."""

    seed: int = Field(ge=0, description="with a patch's row and the copy's number, decides a copy")
    variants: int = Field(ge=0, le=16, description="augmented copies of each training patch")
    keep_original: bool = Field(description="whether the patch itself is kept beside them")
    transforms: tuple[dict[str, Any], ...] = Field(
        description="albumentations' transforms in order: name and arguments"
    )
    sheet_rows: int = Field(ge=1, le=64, description="rows of the contact sheet")

    @field_validator("transforms")
    @classmethod
    def _named(cls, value: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any(not isinstance(entry.get("name"), str) for entry in value):
            raise ValueError("every transform must have a `name`")
        return value
