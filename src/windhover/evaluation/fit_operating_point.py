"""The threshold of every class, chosen on val: on its scenes, or on its patches alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from windhover.evaluation.score_windows import WindowLogits
from windhover.metrics.bootstrap import BootstrapSample, resample
from windhover.metrics.choose_threshold import ChosenThreshold, choose_threshold
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.score_curve import score_curve
from windhover.metrics.threshold_rule import ThresholdRule
from windhover.models.apply_calibration import Calibration, detection_scores
from windhover.models.bundle import Bundle
from windhover.params.evaluate import EvaluateParams

# patches of unknown places: one group, so there is nothing to resample
ONE_GROUP = pd.DataFrame({"place": ["val"], "scene": ["val"]})
ON_WINDOWS = (
    "no scene of val is labelled: the threshold was chosen on its patches, of which {share:.0%} "
    "show an object. In a scene objects are far rarer, so expect more false alarms; label a few "
    "scenes to choose it on them."
)


def threshold_rule_of(params: EvaluateParams) -> ThresholdRule:
    """Return the threshold rule that the stage's parameters describe."""
    return ThresholdRule(params.threshold_rule, params.threshold_rule_value)


def choose_on_windows(bundle: Bundle, ground_truth: GroundTruth, windows: WindowLogits) -> bool:
    """Return whether thresholds are chosen on patches: ready-made ones, and no labelled scene."""
    has_scenes = len(ground_truth.scenes) > 0
    return not has_scenes and bundle.card.true_prior is None and len(windows.logits) > 0


def choose_scene_thresholds(
    matches: pd.DataFrame,
    ground_truth: GroundTruth,
    sample: BootstrapSample,
    *,
    classes: tuple[str, ...],
    rule: ThresholdRule,
) -> dict[str, ChosenThreshold]:
    """Choose the threshold of each class on scenes.

    Args:
        matches: from `match_detections`, with calibrated scores.
        ground_truth: what they were matched with.
        sample: from `resample`.
        classes: names.
        rule: by which the thresholds are chosen.
    """
    chosen = {}
    for name in classes:
        curve = class_score_curve(matches, ground_truth, sample, class_name=name)
        chosen[name] = choose_threshold(curve, sample, rule)
    return chosen


def choose_window_thresholds(
    windows: WindowLogits,
    calibration: Calibration,
    *,
    classes: tuple[str, ...],
    rule: ThresholdRule,
) -> tuple[dict[str, ChosenThreshold], list[str]]:
    """Choose the threshold of each class on patches, as if they were detections.

    Args:
        windows: of val.
        calibration: of the model.
        classes: names.
        rule: by which the thresholds are chosen; one that needs an area becomes the largest F1.

    Returns:
        the thresholds by class, and sentences about how they were chosen.
    """
    notes = [ON_WINDOWS.format(share=windows.is_true.any(axis=1).mean())]
    if rule.name == "false_alarms_per_km2_at_most":
        notes.append(
            f"rule `{rule}` needs scenes, because patches have no area: the largest F1 was chosen "
            "instead."
        )
        rule = ThresholdRule("max_fbeta", 1.0)
    scores = detection_scores(windows.logits, calibration, np.arange(len(classes)))
    sample = resample(ONE_GROUP, n_bootstrap=0, seed=0)
    chosen = {}
    for index, name in enumerate(classes):
        is_true = windows.is_true[:, index]
        curve = score_curve(
            scores[:, index],
            is_true,
            np.zeros(len(is_true)),
            n_gt=[is_true.sum()],
            km2=[np.nan],
        )
        chosen[name] = choose_threshold(curve, sample, rule)
    return chosen, notes
