"""Aliases of all closed sets of choices, for parameter models and the modules that implement them.

Imports only `typing`, so that any module can use it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

# simulate
WorldDtype: TypeAlias = Literal["uint8", "uint16", "float32"]

# scenes
Task: TypeAlias = Literal["objects", "coverage"]
SplitName: TypeAlias = Literal["train", "val", "test"]
EmptyScenes: TypeAlias = Literal["unlabelled", "complete"]

# patches
RadiusShape: TypeAlias = Literal["square", "circle"]

# train
Optimizer: TypeAlias = Literal["adamw", "sgd"]
Schedule: TypeAlias = Literal["cosine", "onecycle", "step", "exponential", "constant", "plateau"]
TrainingPrecision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
Loss: TypeAlias = Literal["bce", "weighted_bce", "focal", "class_balanced", "logit_adjusted"]
SegmentationLossName: TypeAlias = Literal[
    "bce", "dice", "focal", "lovasz", "dice_bce", "dice_focal", "lovasz_bce"
]
SamplerStrategy: TypeAlias = Literal["none", "under", "over"]

# evaluate
PeakTta: TypeAlias = Literal["none", "recenter", "d4"]
MatchBy: TypeAlias = Literal["size", "distance", "iou", "oriented_iou"]
ThresholdRuleName: TypeAlias = Literal[
    "max_fbeta",
    "recall_at_least",
    "precision_at_least",
    "false_alarms_per_km2_at_most",
    "least_cost",
]

CoverageRuleName: TypeAlias = Literal[
    "max_iou",
    "max_fbeta",
    "max_balanced_accuracy",
    "false_positive_rate_at_most",
    "recall_at_least",
    "precision_at_least",
    "unbiased_share",
]

# detect
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Runtime: TypeAlias = Literal["auto", "torch", "onnx", "openvino"]
InferencePrecision: TypeAlias = Literal["auto", "fp32", "fp16", "bf16", "int8"]
INFERENCE_PRECISIONS: tuple[str, ...] = get_args(InferencePrecision)[1:]  # `auto` chooses one

# export
MapFormat: TypeAlias = Literal[
    "gpkg",
    "parquet",
    "geojson",
    "fgb",
    "csv",
    "coco",
    "label-studio",
    "pmtiles",
    "html",
    "stac",
    "counts",
]
