"""The result of an evaluation as plain data: what the report and the records are written from.

Computes and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL.Image import Image

from windhover.errors import ParameterError
from windhover.geometry.windows import WINDOW_PX
from windhover.metrics.bootstrap import MIN_PLACES, TOO_FEW_PLACES
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.detection_metrics import DetectionMetrics
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.window_metrics import WindowMetrics
from windhover.params.evaluate import EvaluateParams

EVALUATED_SPLITS = ("val", "test")


@dataclass(frozen=True)
class ErrorThumbnail:
    """A part of a scene around one error, or around one true positive.

    Attributes:
        image: (H, W, 3) uint8.
        caption: what it is, in one or two short lines.
        boxes_xyxy: boxes in px of the image, with the kind of each: `found`, `truth` or `error`.
    """

    image: NDArray[np.uint8]
    caption: str
    boxes_xyxy: tuple[tuple[str, tuple[float, float, float, float]], ...]


@dataclass(frozen=True)
class WindowExplanation:
    """A window and the maps that explain its logit.

    Attributes:
        image: (H, W, 3) uint8.
        caption: what it is.
        logit: of the class.
        saliency: (H, W), as the other two; see `windhover.evaluation.attribution`.
    """

    image: NDArray[np.uint8]
    caption: str
    logit: float
    saliency: NDArray[np.float64]
    occlusion: NDArray[np.float64]
    activation: NDArray[np.float64]


@dataclass(frozen=True)
class UnlabeledObjects:
    """Detections on training ground that score like objects where no label is.

    Attributes:
        detections: rows of the matches, highest scores first.
        sentence: how many there are, of what, and what is assumed.
        effect: a row for each split: precision and AP as labelled, and if they were objects.
        thumbnails: of the first of them.
    """

    detections: pd.DataFrame
    sentence: str
    effect: pd.DataFrame
    thumbnails: tuple[ErrorThumbnail, ...] = ()


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        model: name of the finished model, its content key.
        card: what was trained here, and on what, plain values; its name is that of its own weights.
        classes: names, in the model's order.
        params: of the stage.
        windows: metrics on patches, by split and class.
        scenes: metrics on whole scenes, by split.
        chosen_thresholds: by class.
        calibration: temperatures and biases by name.
        notes: what could not be done as asked, in sentences.
        error_thumbnails: the worst false alarms, the worst misses and some true positives of test,
            each under a title.
        explanations: of the very worst of both.
        train_ground_truth: of the scenes that were trained on.
        patch_sheet: contact sheet of patches of each split; None if there are none.
        training_images: pictures that the training left, with captions.
        fitted_on: split of calibration and thresholds: val; train where all labelled scenes are
            there, so that no accuracy is known; or `folds`, what a cross-validation held out.
        unlabeled_objects: objects on training ground that perhaps lack a label; None where it was
            not searched.
        detections: of val and test in the schema of results, with `is_tp` and `ignored`, in
            falling score within a split; None where they are not kept.
        held_out: metrics on what the models of a cross-validation found on scenes that each had not
            seen; None where a split is tested.
    """

    model: str
    card: Mapping[str, Any]
    classes: tuple[str, ...]
    params: EvaluateParams
    windows: Mapping[str, Mapping[str, WindowMetrics]]
    scenes: Mapping[str, DetectionMetrics]
    chosen_thresholds: Mapping[str, ChosenThreshold]
    calibration: Mapping[str, float | tuple[float, ...]]
    notes: tuple[str, ...]
    error_thumbnails: tuple[tuple[str, tuple[ErrorThumbnail, ...]], ...] = ()
    explanations: tuple[WindowExplanation, ...] = ()
    train_ground_truth: GroundTruth | None = None
    patch_sheet: Image | None = None
    training_images: tuple[tuple[Path, str], ...] = ()
    fitted_on: str = "val"
    unlabeled_objects: UnlabeledObjects | None = None
    detections: pd.DataFrame | None = None
    held_out: DetectionMetrics | None = None

    @property
    def gsd_m(self) -> float:
        """Training GSD, m."""
        return float(self.card["gsd_m"])

    @property
    def has_scenes(self) -> bool:
        """Whether anything was measured on scenes; ready-made patches alone have none."""
        return any(len(metrics.per_scene) for metrics in self.scenes.values())

    @property
    def measured(self) -> DetectionMetrics:
        """Metrics on the scenes that nothing was learned from: held out, or of test."""
        return self.held_out or self.scenes["test"]

    @property
    def has_windows(self) -> bool:
        """Whether anything was measured on patches."""
        by_class = [metrics for classes in self.windows.values() for metrics in classes.values()]
        return any(metrics.positives + metrics.negatives for metrics in by_class)

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold of each class."""
        return thresholds_of(self.chosen_thresholds)


def thresholds_of(chosen: Mapping[str, ChosenThreshold]) -> dict[str, float]:
    """Return the threshold of each class."""
    return {name: choice.threshold for name, choice in chosen.items()}


def match_rule_of(params: EvaluateParams, gsd_m: float) -> MatchRule:
    """Return the match rule that the stage's parameters describe, at the training GSD.

    Raises:
        ParameterError: a distance is below a px, or beyond a window.
    """
    radius_m = params.point_radius_m(gsd_m)
    key = "point_match_radius_px" if params.point_match_radius_m is None else "point_match_radius_m"
    _require_distance(key, radius_m, gsd_m)
    if params.match_by == "distance":
        _require_distance("match_value", params.match_value, gsd_m)
    return MatchRule(params.match_by, params.match_value, radius_m)


def _require_distance(key: str, distance_m: float, gsd_m: float) -> None:
    """Raise if a distance of matching is below a px, or beyond a window.

    Raises:
        ParameterError: it is; with the limits and the value in px and in m.
    """
    px = distance_m / gsd_m
    if 1 <= px <= WINDOW_PX:
        return
    raise ParameterError(
        f"`evaluate.{key}`: must be 1 to {WINDOW_PX} px ({gsd_m:g} to "
        f"{WINDOW_PX * gsd_m:g} m) at the training GSD of {gsd_m:g} m, got {px:.3g} px = "
        f"{distance_m:g} m. Change it in params.yaml."
    )


def describe_sizes(params: EvaluateParams, gsd_m: float) -> str:
    """Return the distances and size bands that follow the training GSD, in px and in m."""
    edges_m = params.size_edges_m(gsd_m)
    in_px = ", ".join(f"{edge_m / gsd_m:g}" for edge_m in edges_m)
    in_m = ", ".join(f"{edge_m:g}" for edge_m in edges_m)
    radius_m = params.point_radius_m(gsd_m)
    return (
        f"at the training GSD of {gsd_m:g} m: an object labelled by a point is found within "
        f"{radius_m / gsd_m:g} px = {radius_m:g} m; size bands end at {in_px} px = {in_m} m"
    )


def scenes_summary(metrics: DetectionMetrics, name: str = "test") -> str:
    """Return a line: how many objects and scenes were searched, and what was resampled.

    Args:
        metrics: on the scenes.
        name: of what they are.
    """
    table = metrics.per_scene
    n_objects = int(table["objects"].sum())
    n_places = table["place"].nunique()
    searched = f"{len(table)} scenes of {n_places} places, {table['km2'].sum():.3g} km²"
    return f"{name}: {n_objects} objects in {searched}; {describe_intervals(metrics)}"


def describe_intervals(metrics: DetectionMetrics) -> str:
    """Return what the intervals of a split are over, or why there are none."""
    if metrics.sample.has_enough_places:
        return f"intervals over {metrics.sample.unit}"
    return f"{TOO_FEW_PLACES} ({MIN_PLACES} at least)"
