"""The calibration of a model on val: the numbers that turn its logits into probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from windhover.evaluation.score_windows import WindowLogits
from windhover.metrics.calibration import Scaling, fit_scaling, prior_shift
from windhover.models.bundle import Bundle, Card
from windhover.models.calibrated_scores import Calibration, detection_scores

NO_PRIOR = (
    "the patches were ready-made, so the share of windows with an object is unknown: scores are "
    "probabilities among patches like those of val, and there are no metrics at the true prior. "
    "Places are unknown too: a leak between splits cannot be excluded."
)
NO_WINDOW_FIT = (
    "val has no windows of both kinds: window scores are the network's own, shifted to the true "
    "prior."
)
NO_DETECTION_FIT = (
    "val scenes do not have both true and false positives: detections are scored as windows are."
)


def calibrate(
    bundle: Bundle, windows: WindowLogits, matches: pd.DataFrame
) -> tuple[Calibration, list[str]]:
    """Fit what turns logits into probabilities, on val.

    Args:
        bundle: the model.
        windows: of val.
        matches: detections of val, from `match_detections`, with raw logits as scores.

    Returns:
        the calibration, and a sentence for each part that could not be fitted.
    """
    notes = []
    card = bundle.card
    window = fit_scaling(windows.logits.ravel(), windows.is_true.ravel())
    if window is None:
        notes.append(NO_WINDOW_FIT)
        window = Scaling(1.0, 0.0)
        sampled_priors = [card.sampled_prior / len(card.classes)] * len(card.classes)
    else:
        sampled_priors = windows.is_true.mean(axis=0).tolist()
    biases = _window_biases(card, window.bias, sampled_priors)
    if card.true_prior is None:
        notes.append(NO_PRIOR)
    counted = matches[~matches["ignored"]]
    detection = fit_scaling(counted["score"], counted["is_tp"])
    if detection is None:
        notes.append(NO_DETECTION_FIT)
        detection = Scaling(window.temperature, float(np.mean(biases)))
    bias = biases[0] if len(biases) == 1 else tuple(biases)
    return Calibration(window.temperature, bias, detection.temperature, detection.bias), notes


def _window_biases(card: Card, bias: float, sampled_priors: list[float]) -> list[float]:
    """Return the bias of each class, shifted from the prior of the sample to the true one."""
    # of a class that no window of val shows
    mean_prior = float(np.mean(sampled_priors))
    biases = []
    for index, sampled_prior in enumerate(sampled_priors):
        from_prior = sampled_prior or mean_prior
        to_prior = card.prior_of(index)
        if to_prior is None:
            to_prior = from_prior
        biases.append(bias + prior_shift(from_prior, to_prior))
    return biases


def calibrated_matches(matches: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return matches with `logit` (raw) and `score` (calibrated)."""
    logits = matches["score"]
    return matches.assign(logit=logits, score=detection_scores(logits, calibration))
