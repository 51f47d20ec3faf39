"""Parameters of the `evaluate` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from windhover.params import StageParams

RuleName = Literal[
    "max_fbeta",
    "recall_at_least",
    "precision_at_least",
    "false_alarms_per_km2_at_most",
    "least_cost",
]


class EvaluateParams(StageParams):
    """How scenes are searched, what counts as found, and by which rule the threshold is chosen.

    The search settings travel with the model in `operating_point.json`: `detect` searches as was
    evaluated.
    """

    stride_px: int = Field(
        ge=1, description="px between windows; the network's own stride, or half of it"
    )
    scales: list[float] = Field(
        min_length=1,
        description="GSD of each pass over a scene, in units of the training GSD",
    )
    merge_distance: float = Field(
        ge=0,
        description="two peaks nearer than this are one object, in units of the smaller one's size",
    )
    merge_iou: float = Field(
        gt=0, le=1, description="two boxes that overlap more than this are one object"
    )
    min_logit: float = Field(
        ge=-20, le=5, description="lowest raw logit that is kept: the curves end there"
    )
    peak_tta: Literal[0, 1, 8] = Field(
        description="how often a peak is looked at again in a window moved to have the object in its middle: "
        "not at all, once, or turned and mirrored in all eight ways"
    )
    rescore_min_logit: float = Field(
        ge=-20, le=20, description="raw logit from which a peak is looked at again"
    )
    second_stage: str | None = Field(
        description="folder of another trained model that scores those peaks too; null for none"
    )
    match_by: Literal["size", "distance", "iou", "oriented_iou"] = Field(
        description="a detection is an object when its centre is near (in object sizes, or metres) or boxes overlap"
    )
    match_value: float = Field(gt=0, description="how near: 0.5 of the longer side, metres, or IoU")
    point_match_radius_m: float = Field(gt=0, description="how near for objects labelled by a point, m")
    threshold_rule: Literal[
        "max_fbeta",
        "recall_at_least",
        "precision_at_least",
        "false_alarms_per_km2_at_most",
        "least_cost",
    ] = Field(description="how the threshold is chosen on val")
    threshold_rule_value: float = Field(
        gt=0,
        description="beta, recall, precision, false alarms per km2, or the cost of a miss in false alarms",
    )
    size_bands_m: list[float] = Field(
        min_length=1, description="borders between size bands of objects, by their longer side, m"
    )
    n_bootstrap: int = Field(ge=100, le=100_000, description="bootstrap draws behind each interval")
    seed: int = Field(ge=0, description="of the draws")

    @model_validator(mode="after")
    def _ranges(self) -> EvaluateParams:
        if min(self.scales) <= 0:
            raise ValueError(f"scales must be above 0, got {self.scales}")
        if self.second_stage is not None and not self.peak_tta:
            raise ValueError(
                "second_stage needs peaks that are looked at again: set peak_tta to 1 or 8"
            )
        if self.size_bands_m != sorted(set(self.size_bands_m)) or self.size_bands_m[0] <= 0:
            raise ValueError(f"size_bands_m must rise and be above 0, got {self.size_bands_m}")
        if self.match_by.endswith("iou") and self.match_value > 1:
            raise ValueError(f"match_value is an IoU and must be in (0, 1], got {self.match_value}")
        if self.threshold_rule in ("recall_at_least", "precision_at_least") and self.threshold_rule_value > 1:
            raise ValueError(
                f"threshold_rule_value is a {self.threshold_rule.split('_')[0]} and must be in (0, 1], got {self.threshold_rule_value}"
            )
        return self
