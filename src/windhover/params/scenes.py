"""Parameters of the `scenes` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from windhover.params import StageParams


class ScenesParams(StageParams):
    """Which rasters and labels there are, what their classes mean, and how places are divided."""

    raw: str = Field(
        min_length=1,
        description="folder of the rasters and their labels, absolute or from the project's root",
    )
    rasters: str | None = Field(
        description="pattern of the rasters inside `raw`, such as tiles/*.tif; null takes all"
    )
    stack: dict[str, str] | None = Field(
        description="band name -> pattern of its file: each folder's single-band files become one scene; null for none"
    )
    gsd_m: float = Field(
        gt=0, le=1000, description="GSD at which every raster is seen in training and search, m"
    )
    native_gsd_m: float | None = Field(
        gt=0, le=1000, description="GSD of rasters without georeference, m; null where all have one"
    )
    bands: list[str] | None = Field(
        description="names of the bands, in order; null takes all, which must be the same in every raster"
    )
    labels: str = Field(min_length=1, description="`auto`, or a file or pattern relative to `raw`")
    class_column: str | None = Field(
        description="column of the class; null looks for class, label, category, name"
    )
    classes: dict[str, str] = Field(
        description="label class -> class; empty takes them as they are"
    )
    ignore_classes: list[str] = Field(
        description="label classes that cost nothing in training and evaluation"
    )
    duplicate_iou: float = Field(
        gt=0,
        le=1,
        description="boxes of one class that overlap more than this mark one object twice; 1 keeps all",
    )
    empty_scenes: Literal["unlabelled", "complete"] = Field(
        description="what a raster is that no label file speaks of: `unlabelled` or `complete` (it holds none)"
    )
    groups: str | None = Field(
        description=(
            "CSV relative to `raw` that gives the place of each raster, and a fixed split where it has that column"
        )
    )
    group_column: str | None = Field(
        description="its column of the place; null where it is called place"
    )
    fixed_splits: dict[str, Literal["train", "val", "test"]] = Field(
        description="place -> split, where it is decided; the others are divided"
    )
    areas: str | None = Field(
        description="vector file relative to `raw` with a column role: complete, positive_only, ignore"
    )
    spatial_block_m: float | None = Field(
        gt=0,
        description=(
            "larger scenes are cut into blocks of about this side, m, that may be in different splits; "
            "null keeps scenes whole"
        ),
    )
    guard_m: float = Field(ge=0, description="between two blocks, m; at least one window")
    folds: int | None = Field(
        ge=3, le=50, description="places are divided into so many folds instead; null for none"
    )
    fold: int = Field(
        ge=0, description="the fold that is test; the next one is val, the others are train"
    )
    split_fractions: list[float] = Field(
        min_length=3, max_length=3, description="wanted share of objects in train, val, test"
    )
    seed: int = Field(ge=0, description="of the division of places")

    @model_validator(mode="after")
    def _fit(self) -> ScenesParams:
        if abs(sum(self.split_fractions) - 1) > 1e-6 or min(self.split_fractions) < 0:
            raise ValueError(
                f"split_fractions must be 0 or more and sum to 1, got {self.split_fractions}"
            )
        if self.spatial_block_m is not None and self.guard_m < 64 * self.gsd_m:
            raise ValueError(
                f"guard_m must be at least one window ({64 * self.gsd_m:g} m), got {self.guard_m:g} m"
            )
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be under folds ({self.folds}), got {self.fold}")
        return self
