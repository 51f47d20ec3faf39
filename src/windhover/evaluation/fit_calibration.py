"""The calibration of a model on val: the numbers that turn its logits into probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from windhover.evaluation.score_windows import WindowLogits
from windhover.metrics.calibration import Scaling, fit_scaling, prior_shift
from windhover.models.apply_calibration import Calibration, detection_scores
from windhover.models.bundle import Bundle
from windhover.models.card import Card

# windows or detections of each outcome that a class needs for a fit of its own
MIN_OF_EACH = 10
NO_PRIOR = (
    "the patches were ready-made, so the share of windows with an object is unknown: scores are "
    "probabilities among patches like those of val, and there are no metrics at the true prior. "
    "Places are unknown too: a leak between splits cannot be excluded."
)
SMALL_SCENES = (
    "no window of {window_px} px at {gsd_m:g} m fits into a labeled scene of train, so the share "
    "of windows with an object is unknown: scores are probabilities among patches like those of "
    "val, and there are no metrics at the true prior."
)
NO_WINDOW_FIT = (
    "val has no windows of both kinds: window scores are the network's own, shifted to the true "
    "prior."
)
NO_DETECTION_FIT = (
    "val scenes do not have both true and false positives: detections are scored as windows are."
)


def prior_notes(card: Card, *, is_ready_made: bool) -> list[str]:
    """Return a sentence on why the true prior is not known, nothing where it is.

    Args:
        card: of the model.
        is_ready_made: whether its patches were not cut from scenes.
    """
    if card.true_prior is not None:
        return []
    if is_ready_made:
        return [NO_PRIOR]
    return [SMALL_SCENES.format(window_px=card.window_px, gsd_m=card.gsd_m)]


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
    card = bundle.card
    notes = _few_objects_notes(card, windows, matches)
    shared = fit_scaling(windows.logits.ravel(), windows.is_true.ravel())
    if shared is None:
        notes.append(NO_WINDOW_FIT)
        shared = Scaling(1.0, 0.0)
        sampled_priors = [card.sampled_prior / len(card.classes)] * len(card.classes)
    else:
        sampled_priors = windows.is_true.mean(axis=0).tolist()
    fits = [
        _fit_of_class(windows.logits[:, index], windows.is_true[:, index], shared)
        for index in range(len(card.classes))
    ]
    biases = _window_biases(card, [fit.bias for fit in fits], sampled_priors)
    temperatures = [fit.temperature for fit in fits]
    counted = matches[~matches["ignored"]]
    shared_detection = fit_scaling(counted["score"], counted["is_tp"])
    if shared_detection is None:
        notes.append(NO_DETECTION_FIT)
        detections = [Scaling(*pair) for pair in zip(temperatures, biases, strict=True)]
        if len(set(temperatures)) == 1:
            # a shared fit: the detections are scored as the mean of the classes' windows
            detections = [Scaling(temperatures[0], float(np.mean(biases)))] * len(fits)
    else:
        detections = []
        for name in card.classes:
            of_class = counted[counted["class"] == name]
            detections.append(_fit_of_class(of_class["score"], of_class["is_tp"], shared_detection))
    calibration = Calibration(
        _one_or_each(temperatures),
        _one_or_each(biases, keep=True),
        _one_or_each([fit.temperature for fit in detections]),
        _one_or_each([fit.bias for fit in detections]),
    )
    return calibration, notes


def _few_objects_notes(card: Card, windows: WindowLogits, matches: pd.DataFrame) -> list[str]:
    """Return a sentence for each of several classes that has too little for a fit of its own."""
    notes: list[str] = []
    if len(card.classes) == 1:
        return notes
    counted = matches[~matches["ignored"]]
    for index, name in enumerate(card.classes):
        parts = []
        of_class = counted.loc[counted["class"] == name, "is_tp"].to_numpy(bool)
        for kind, is_true in (("windows", windows.is_true[:, index]), ("detections", of_class)):
            if _is_too_few(is_true):
                n_true = int(is_true.sum())
                parts.append(f"{n_true} true and {len(is_true) - n_true} other {kind}")
        if parts:
            notes.append(
                f"{name}: val has {', and '.join(parts)}; a calibration of its own needs "
                f"{MIN_OF_EACH} of each, so it takes that of all classes together."
            )
    return notes


def _is_too_few(is_true: NDArray[np.bool_]) -> bool:
    """Return whether there are too few of one outcome for a fit."""
    return bool(min(is_true.sum(), (~is_true).sum()) < MIN_OF_EACH)


def _fit_of_class(logits: ArrayLike, is_true: ArrayLike, shared: Scaling) -> Scaling:
    """Return the fit of one class where it has enough of both outcomes, else the shared one."""
    true = np.asarray(is_true, bool)
    if _is_too_few(true):
        return shared
    return fit_scaling(logits, true) or shared


def _one_or_each(values: list[float], keep: bool = False) -> float | tuple[float, ...]:
    """Return the value of all classes where they are alike, else those of each.

    Args:
        values: by class.
        keep: whether several equal values are kept as they are.
    """
    if len(values) == 1 or (len(set(values)) == 1 and not keep):
        return values[0]
    return tuple(values)


def _window_biases(card: Card, fitted: list[float], sampled_priors: list[float]) -> list[float]:
    """Return the bias of each class, shifted from the prior of the sample to the true one."""
    # of a class that no window of val shows
    mean_prior = float(np.mean(sampled_priors))
    biases = []
    for index, sampled_prior in enumerate(sampled_priors):
        from_prior = sampled_prior or mean_prior
        to_prior = card.prior_of(index)
        if to_prior is None:
            to_prior = from_prior
        biases.append(fitted[index] + prior_shift(from_prior, to_prior))
    return biases


def calibrated_matches(
    matches: pd.DataFrame, calibration: Calibration, classes: Sequence[str]
) -> pd.DataFrame:
    """Return matches with `logit` (raw) and `score` (calibrated), in falling score.

    Args:
        matches: from `match_detections`, with raw logits as scores.
        calibration: of the model.
        classes: names, in the model's order.
    """
    logits = matches["score"]
    class_index = pd.Index(classes).get_indexer(pd.Index(matches["class"]))
    table = matches.assign(logit=logits, score=detection_scores(logits, calibration, class_index))
    if isinstance(calibration.detection_bias, tuple) or isinstance(
        calibration.detection_temperature, tuple
    ):
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    return table
