"""Parameters of the `evaluate` stage."""

from __future__ import annotations

from pydantic import Field, model_validator

from windhover.params import StageParams
from windhover.params.allowed_values import CoverageRuleName, MatchBy, PeakTta, ThresholdRuleName


class ModelCardParams(StageParams):
    """What the model's card states that no file knows."""

    sensor: str | None = Field(
        default=None, description="that took the scenes, such as Pleiades; null: not named"
    )
    license: str | None = Field(
        default=None, description="of the model, such as apache-2.0 (SPDX); null: not named"
    )
    data_license: str | None = Field(
        default=None, description="of scenes and labels, such as CC-BY-4.0; null: not named"
    )
    limits: list[str] = Field(
        default=[], description="sentences: where the model is not to be trusted"
    )

    @model_validator(mode="after")
    def _check_texts(self) -> ModelCardParams:
        for text in (self.sensor, self.license, self.data_license, *self.limits):
            if text is not None and (not text.strip() or not text.isprintable()):
                raise ValueError(f"texts are single lines that are not empty, got {text!r}")
        return self


class CoverageEvaluateParams(StageParams):
    """How the threshold of classes without boxes is chosen, and what of a mask is kept."""

    threshold_rule: CoverageRuleName = Field(
        default="max_iou",
        description="how the threshold is chosen on val: max_iou, max_fbeta, "
        "max_balanced_accuracy, false_positive_rate_at_most, recall_at_least, "
        "precision_at_least, unbiased_share",
    )
    threshold_rule_value: float = Field(
        default=1.0,
        gt=0,
        description="beta, or the rate, recall or precision, such as 0.012 false positives",
    )
    min_speck_px: int = Field(
        default=0,
        ge=0,
        description="specks of a mask of fewer px of the map are left out of its polygons; 0 "
        "keeps all",
    )

    @model_validator(mode="after")
    def _check_rule(self) -> CoverageEvaluateParams:
        is_share = self.threshold_rule.endswith(("_at_most", "_at_least"))
        if is_share and self.threshold_rule_value >= 1:
            raise ValueError(
                f"threshold_rule_value is a share with {self.threshold_rule} and must be below 1, "
                f"got {self.threshold_rule_value:g}"
            )
        return self


class EvaluateParams(StageParams):
    """How scenes are searched, what counts as found, and how the threshold is chosen.

    The search settings travel with the model in `operating_point.json`: `detect` searches as was
    evaluated.
    """

    stride_px: int = Field(
        default=8,
        ge=1,
        description="distance of windows, px: the network's stride, or half of it",
    )
    scales: list[float] = Field(
        default=[1.0],
        min_length=1,
        description="GSD of each pass over a scene, in units of the training GSD; "
        "[1.0, 2.0] where objects exceed a window",
    )
    merge_distance: float = Field(
        default=0.5,
        ge=0,
        description="peaks nearer than this are one object, in units of the smaller one's size",
    )
    merge_iou: float = Field(
        default=0.3, gt=0, le=1, description="IoU above which two boxes are one object"
    )
    min_logit: float = Field(
        default=-4.0, ge=-20, le=5, description="lowest raw logit kept; the curves end there"
    )
    peak_tta: PeakTta = Field(
        default="recenter",
        description="test-time augmentation at peaks: none; recenter (rescored in a "
        "window with the object at its center); d4 (also flipped and rotated)",
    )
    rescore_min_logit: float = Field(
        default=-1.0,
        ge=-20,
        le=20,
        description="raw logit from which a peak is rescored by `peak_tta`",
    )
    second_stage: str | None = Field(
        default=None,
        description="folder of another trained model that scores those peaks too; null for none",
    )
    match_by: MatchBy = Field(
        default="size",
        description="how a detection is matched to an object: size (distance of the "
        "centers in units of the object's longer side), distance (m), iou, "
        "oriented_iou",
    )
    match_value: float = Field(
        default=0.5,
        gt=0,
        description="largest distance of the centers (object sizes or m), or smallest IoU",
    )
    point_match_radius_px: float = Field(
        default=16.0,
        gt=0,
        description="largest distance for objects labelled by a point, px at the training GSD",
    )
    point_match_radius_m: float | None = Field(
        default=None,
        gt=0,
        description="the same in m, in place of point_match_radius_px; null for none",
    )
    threshold_rule: ThresholdRuleName = Field(
        default="max_fbeta",
        description="how the threshold is chosen on val: max_fbeta, recall_at_least, "
        "precision_at_least, false_alarms_per_km2_at_most, least_cost",
    )
    threshold_rule_value: float = Field(
        default=1.0,
        gt=0,
        description="beta, recall, precision, false alarms per km2, or the cost of a "
        "miss in false alarms",
    )
    coverage: CoverageEvaluateParams = Field(
        default=CoverageEvaluateParams(),
        description="the same of classes without boxes, where `scenes.task` is coverage",
    )
    size_bands_px: list[float] = Field(
        default=[16.0, 28.0, 40.0],
        min_length=1,
        description="limits between size bands of objects, by their longer side, px at the "
        "training GSD",
    )
    size_bands_m: list[float] | None = Field(
        default=None,
        min_length=1,
        description="the same in m, in place of size_bands_px; null for none",
    )
    cross_validation: str | None = Field(
        default=None,
        description="JSON of `windhover kfold`, whose figures the report tells where the model "
        "learned from every scene; null for none",
    )
    n_bootstrap: int = Field(
        default=1000, ge=100, le=100_000, description="bootstrap resamples behind each interval"
    )
    seed: int = Field(default=0, ge=0, description="random seed of the bootstrap")
    export_onnx: bool = Field(
        default=False,
        description="also write the model as ONNX for other programs, to data/model/exported, and "
        "measure it on test",
    )
    model_card: ModelCardParams = Field(
        default=ModelCardParams(), description="what the model's card states that no file knows"
    )

    def point_radius_m(self, gsd_m: float) -> float:
        """Return the largest distance for objects labelled by a point, m, at a training GSD."""
        if self.point_match_radius_m is not None:
            return self.point_match_radius_m
        return self.point_match_radius_px * gsd_m

    def size_edges_m(self, gsd_m: float) -> list[float]:
        """Return the limits between size bands, m, at a training GSD."""
        if self.size_bands_m is not None:
            return self.size_bands_m
        return [px * gsd_m for px in self.size_bands_px]

    @model_validator(mode="after")
    def _check_ranges(self) -> EvaluateParams:
        if min(self.scales) <= 0:
            raise ValueError(f"scales must be above 0, got {self.scales}")
        if self.second_stage is not None and self.peak_tta == "none":
            raise ValueError("second_stage needs rescored peaks: set peak_tta to recenter or d4")
        for name, limits in (("px", self.size_bands_px), ("m", self.size_bands_m or [1.0])):
            if limits != sorted(set(limits)) or limits[0] <= 0:
                raise ValueError(f"size_bands_{name} must rise and be above 0, got {limits}")
        if self.match_by.endswith("iou") and self.match_value > 1:
            raise ValueError(f"match_value is an IoU and must be in (0, 1], got {self.match_value}")
        is_fraction = self.threshold_rule in ("recall_at_least", "precision_at_least")
        if is_fraction and self.threshold_rule_value > 1:
            measure = self.threshold_rule.split("_")[0]
            raise ValueError(
                f"threshold_rule_value is a {measure} and must be in (0, 1], "
                f"got {self.threshold_rule_value}"
            )
        return self
