"""The record of a catalog's report: what the scenes stage read, dropped and counted.

The typed content of `data/scenes/report.json`. Computes nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from windhover.json_record import JsonRecord

TableRow = dict[str, Any]  # of a table of the report page: column -> number or text


class _Part(BaseModel):
    """Base of the parts of the record."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )


class PixelShares(_Part):
    """Shares of a raster's pixels, 0 to 1."""

    valid: float
    black: float  # valid and 0 in every band
    sampled: bool  # whether only a sample of the pixels was read
    note: str | None = None  # a sentence on values that are no picture


class LabelCount(_Part):
    """How many labels of one class and role a split has."""

    split: str
    class_name: str = Field(validation_alias="class", serialization_alias="class")
    role: str
    labels: int


class NamedLabels(_Part):
    """Labels with something odd about them."""

    count: int
    first: list[TableRow]  # the first of them: scene, class, col, row, length_m


class WindowPrior(_Part):
    """How rare windows with an object in their middle are, over all labeled scenes."""

    stride_px: int
    windows: int
    with_an_object: int
    one_in: int | None  # None where no window shows an object


class CatalogReport(JsonRecord):
    """What is known of a catalog that its tables do not hold.

    Keys without a value are not written: a folder of ready-made patches has no label files, and
    the statistics are added after the catalog is built.
    """

    stage: ClassVar[str] = "scenes"

    training_gsd_m: float
    class_names: dict[str, str] = Field(default_factory=dict)  # in label files -> of the catalog
    label_files: int | None = None
    labels_in_files: int | None = None
    dropped: dict[str, int] = Field(default_factory=dict)  # reason -> labels
    leaving_the_raster: int | None = None
    pixels: dict[str, PixelShares] | None = None  # by raster
    bands: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    places: int = 0
    places_joined_because_footprints_touch: list[tuple[str, str]] | None = None
    scenes: int = 0
    unlabelled_scenes: list[str] = Field(default_factory=list)
    labels: int = 0
    by_split: list[LabelCount] = Field(default_factory=list)
    scenes_by_split: dict[str, int] = Field(default_factory=dict)
    coverage_classes: list[str] | None = None  # of the task coverage, without background
    coverage_table: list[TableRow] | None = None  # shares of the classes in each scene

    # statistics, of `windhover.dataset.data_statistics`
    scene_table: list[TableRow] | None = None
    class_table: list[TableRow] | None = None
    larger_than_the_window: NamedLabels | None = None
    smaller_than_3_px: NamedLabels | None = None
    prior: WindowPrior | None = None
    dark_scenes: list[str] | None = None
