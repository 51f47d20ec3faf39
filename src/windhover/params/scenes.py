"""Parameters of the `scenes` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from windhover.params import StageParams


class ScenesParams(StageParams):
    """Which rasters and labels there are, what their classes mean, and how places are divided."""

    raw: str = Field(
        min_length=1, description="folder of the rasters and their labels, absolute or from the project's root"
    )
    gsd_m: float = Field(gt=0, le=1000, description="GSD at which every raster is seen in training and search, m")
    native_gsd_m: float | None = Field(
        gt=0, le=1000, description="GSD of rasters without georeference, m; null where all have one"
    )
    bands: list[str] | None = Field(
        description="names of the bands, in order; null takes all, which must be the same in every raster"
    )
    labels: str = Field(min_length=1, description="`auto`, or a file or pattern relative to `raw`")
    class_column: str | None = Field(description="column of the class; null looks for class, label, category, name")
    classes: dict[str, str] = Field(description="label class -> class; empty takes them as they are")
    ignore_classes: list[str] = Field(description="label classes that cost nothing in training and evaluation")
    empty_scenes: Literal["unlabelled", "complete"] = Field(
        description="what a raster is that no label file speaks of: `unlabelled` or `complete` (it holds none)"
    )
    groups: str | None = Field(
        description=(
            "CSV relative to `raw` that gives the place of each raster, and a fixed split where it has that column"
        )
    )
    group_column: str | None = Field(description="its column of the place; null where it is called place")
    fixed_splits: dict[str, Literal["train", "val", "test"]] = Field(
        description="place -> split, where it is decided; the others are divided"
    )
    split_fractions: list[float] = Field(
        min_length=3, max_length=3, description="wanted share of objects in train, val, test"
    )
    seed: int = Field(ge=0, description="of the division of places")

    @model_validator(mode="after")
    def _shares(self) -> ScenesParams:
        if abs(sum(self.split_fractions) - 1) > 1e-6 or min(self.split_fractions) < 0:
            raise ValueError(f"split_fractions must be 0 or more and sum to 1, got {self.split_fractions}")
        return self
