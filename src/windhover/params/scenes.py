"""Parameters of the `scenes` stage."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from windhover.errors import ParameterError
from windhover.geometry.windows import WINDOW_PX
from windhover.params import StageParams
from windhover.params.allowed_values import EmptyScenes, SplitName, Task

BACKGROUND = "background"  # what none of the classes covers, in `mask_values` and `classes`


class ScenesParams(StageParams):
    """Which rasters and labels there are, what their classes mean, and how places are split."""

    task: Task = Field(
        default="objects",
        description="objects: things with a place and a box; coverage: classes of ground without "
        "boxes, such as cloud",
    )
    raw: str = Field(
        default="data/raw",
        min_length=1,
        description="folder of the rasters and their labels, absolute or from the project's root",
    )
    rasters: str | None = Field(
        default=None,
        description="glob pattern of the rasters inside `raw`, such as tiles/*.tif; null takes all",
    )
    exclude: list[str] = Field(
        default=[],
        description="rasters that are left out: paths or patterns inside `raw`, such as "
        "quicklooks/*.png",
    )
    stack: dict[str, str] | None = Field(
        default=None,
        description="band name: file pattern; makes one scene of a folder's "
        "single-band files, "
        'such as {B04: "*_B04.tif"}; null for none',
    )
    gsd_m: float = Field(
        default=1.25,
        gt=0,
        le=1000,
        description="GSD to which every raster is resampled in training and inference, m",
    )
    native_gsd_m: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="GSD of rasters without georeference, m; null where all have one",
    )
    bands: list[str] | None = Field(
        default=None,
        description="names of the bands in order; null takes all, the same in every raster",
    )
    labels: str = Field(
        default="auto",
        min_length=1,
        description="auto, or a file or pattern inside `raw`, such as labels/*.gpkg, or a file "
        "from the project's root, such as labels/v001/labels.json",
    )
    class_column: str | None = Field(
        default=None, description="column of the class; null tries class, label, category, name"
    )
    classes: dict[str, str] = Field(
        default={}, description="class in the labels: class of the model; empty keeps all names"
    )
    ignore_classes: list[str] = Field(
        default=[], description="label classes that are ignored in training and evaluation"
    )
    masks: str | None = Field(
        default=None,
        description="coverage: pattern of the class rasters inside `raw`, such as masks/*.tif; "
        "null finds masks/NAME.tif and NAME_mask.tif",
    )
    mask_values: dict[int, str] = Field(
        default={},
        description="coverage: value of the class rasters: class, such as {0: background, 4: "
        "cloud}; `background` is none of the classes",
    )
    mask_ignore: list[int] = Field(
        default=[], description="coverage: values of which the class is not known"
    )
    duplicate_iou: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="IoU above which two labels of one class are duplicates; 1 keeps all",
    )
    empty_scenes: EmptyScenes = Field(
        default="unlabelled",
        description="a raster without labels is `unlabelled`, or `complete`: it holds no object",
    )
    groups: str | None = Field(
        default="places.csv",
        description="CSV inside `raw` with the place of each raster, and its split "
        "where fixed; null for none",
    )
    group_column: str | None = Field(
        default="place", description="column of the place in that CSV; null for `place`"
    )
    fixed_splits: dict[str, SplitName] = Field(
        default={},
        description="place: split, where it is decided; the other places are assigned",
    )
    areas: str | None = Field(
        default=None,
        description="vector file inside `raw`, or from the project's root, with a column `role`: "
        "complete, positive_only, ignore, presumed_empty; null for none",
    )
    labelled_within_m: float | None = Field(
        default=None,
        gt=0,
        description="distance from a labelled object within which all objects are labelled, m; "
        "farther away nothing is known; null where labels are complete",
    )
    spatial_block_m: float | None = Field(
        default=None,
        gt=0,
        description="side of the blocks into which larger scenes are cut, so that they "
        "can be in different splits, m; null keeps scenes whole",
    )
    guard_m: float | None = Field(
        default=None,
        ge=0,
        description="distance between two blocks, m; at least one window, which null takes",
    )
    blocks: str | None = Field(
        default=None,
        description="JSON file of blocks that scenes are cut into, as `windhover init` plans them; "
        "null for none",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        le=50,
        description="number of folds of places; null for a plain split",
    )
    fold: int = Field(
        default=0,
        ge=0,
        description="fold used as test; the next one is val, the others are train",
    )
    fold_val: bool = Field(
        default=True,
        description="whether the fold after the test fold is val; false: it is train too",
    )
    split_fractions: list[float] = Field(
        default=[0.6, 0.15, 0.25],
        min_length=3,
        max_length=3,
        description="wanted fraction of the objects in train, val, test",
    )
    seed: int = Field(default=0, ge=0, description="random seed of the split")

    def require_objects(self, command: str) -> None:
        """Check that the task is objects, which is all that some commands know.

        Args:
            command: that asks, as a user writes it.

        Raises:
            ParameterError: the task is coverage.
        """
        if self.task != "objects":
            raise ParameterError(
                f"`{command}` is about objects, and `scenes.task` is {self.task}. Run `dvc repro "
                "export`, and read data/scenes/report.html and reports/index.html."
            )

    @property
    def guard_width_m(self) -> float:
        """Distance between two blocks, m: one window where `guard_m` is null."""
        return WINDOW_PX * self.gsd_m if self.guard_m is None else self.guard_m

    @field_validator("split_fractions")
    @classmethod
    def _check_fractions(cls, fractions: list[float]) -> list[float]:
        total = sum(fractions)
        if abs(total - 100) < 0.5 and min(fractions) >= 0:
            of_one = ", ".join(f"{value / 100:g}" for value in fractions)
            raise ValueError(f"fractions of 1, not percent: write [{of_one}]")
        if abs(total - 1) > 1e-6 or min(fractions) < 0:
            raise ValueError(f"they must be 0 or more and sum to 1, not to {total:g}")
        return fractions

    @model_validator(mode="after")
    def _check_masks(self) -> ScenesParams:
        both = sorted(set(self.mask_values) & set(self.mask_ignore))
        if both:
            raise ValueError(
                f"mask_values and mask_ignore both name the value {both[0]}: keep one of them"
            )
        is_named = any(name != BACKGROUND for name in self.mask_values.values())
        if self.mask_values and not is_named:
            raise ValueError("mask_values must name a class besides background")
        return self

    @model_validator(mode="after")
    def _check_split(self) -> ScenesParams:
        guard_m = self.guard_width_m
        if self.spatial_block_m is not None and self.spatial_block_m <= guard_m:
            raise ValueError(
                f"spatial_block_m must be larger than guard_m ({guard_m:g} m), which is taken "
                f"off every block, got {self.spatial_block_m:g} m"
            )
        if self.spatial_block_m is not None and self.blocks is not None:
            raise ValueError("spatial_block_m and blocks both cut scenes: set one of them to null")
        window_m = WINDOW_PX * self.gsd_m
        if self.spatial_block_m is not None and guard_m < window_m:
            raise ValueError(
                f"guard_m must be at least one window ({WINDOW_PX} px = {window_m:g} m), got "
                f"{guard_m / self.gsd_m:g} px = {guard_m:g} m"
            )
        if self.folds == 2 and self.fold_val:
            raise ValueError(
                "folds must be at least 3 where one is val, got 2: set fold_val to false, or "
                "folds to 3"
            )
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be under folds ({self.folds}), got {self.fold}")
        return self
