"""The fit of every class: found again, never worse than the network's own scores, and safe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from windhover.evaluation.fit_calibration import MIN_OF_EACH, calibrate
from windhover.evaluation.score_windows import WindowLogits
from windhover.metrics.calibration import fit_scaling
from windhover.models.apply_calibration import detection_scores, window_scores

# temperature and bias of each class
LAW = ((1.8, -1.0), (0.6, 1.5))
CLASSES = ("jet", "tug")


def bundle_of(priors: tuple[float, float] | None = None) -> Any:
    """A model whose card alone is asked; without priors nothing is shifted."""
    card = SimpleNamespace(
        classes=CLASSES,
        sampled_prior=0.5,
        true_prior=None if priors is None else sum(priors),
        prior_of=lambda index: None if priors is None else priors[index],
    )
    return SimpleNamespace(card=card)


def sample(n: int, seed: int, law: Any = LAW) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits (n, 2) of which the law of each class gives the probability of being true."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 2))
    temperature, bias = np.array(law).T
    return logits, rng.random((n, 2)) < expit(logits / temperature + bias)


def matches_of(logits: NDArray[np.float64], is_true: NDArray[np.bool_]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "class": np.repeat(CLASSES, len(logits)),
            "score": logits.T.ravel(),
            "is_tp": is_true.T.ravel(),
            "ignored": False,
        }
    )


def log_loss(scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean log loss of each class."""
    inside = np.clip(scores, 1e-12, 1 - 1e-12)
    return -np.where(is_true, np.log(inside), np.log1p(-inside)).mean(axis=0)


def test_temperature_and_bias_of_each_class_are_found_again() -> None:
    logits, is_true = sample(40_000, 0)
    calibration, _ = calibrate(
        bundle_of(), WindowLogits(logits, is_true), matches_of(logits, is_true)
    )
    temperatures, biases = np.array(LAW).T
    for kind in ("window", "detection"):
        fitted = getattr(calibration, f"{kind}_temperature")
        assert fitted == pytest.approx(temperatures.tolist(), rel=0.05)
        assert getattr(calibration, f"{kind}_bias") == pytest.approx(biases.tolist(), abs=0.08)


@pytest.mark.parametrize("n", [15, 60, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scores_are_never_worse_than_the_networks_own(n: int, seed: int) -> None:
    logits, is_true = sample(n, seed)
    is_true[:10], is_true[10:12] = True, False
    calibration, _ = calibrate(
        bundle_of(), WindowLogits(logits, is_true), matches_of(logits, is_true)
    )
    before = log_loss(expit(logits), is_true)
    windows = log_loss(window_scores(logits, calibration), is_true)
    detections = log_loss(detection_scores(logits, calibration, np.arange(2)), is_true)
    # Platt's targets keep few data from certainty, at a price of at most one datum
    assert (windows <= before + 2 / n).all()
    assert (detections <= before + 2 / n).all()
    if n == 1000:
        assert (windows < before).all()


def test_a_class_with_few_objects_takes_the_fit_of_all_classes() -> None:
    logits, is_true = sample(4000, 4)
    is_true[:, 1] = False
    is_true[: MIN_OF_EACH - 1, 1] = True
    windows = WindowLogits(logits, is_true)
    shared = fit_scaling(logits.ravel(), is_true.ravel())
    own = fit_scaling(logits[:, 0], is_true[:, 0])
    assert shared is not None
    assert own is not None
    calibration, notes = calibrate(bundle_of(), windows, matches_of(logits, is_true))
    for kind in ("window", "detection"):
        temperatures = getattr(calibration, f"{kind}_temperature")
        assert temperatures == pytest.approx((own.temperature, shared.temperature))
        assert getattr(calibration, f"{kind}_bias") == pytest.approx((own.bias, shared.bias))
    few = [note for note in notes if note.startswith("tug")]
    sentence = (
        "tug: val has 9 true and 3991 other windows, and 9 true and 3991 other detections; a "
        "calibration of its own needs 10 of each, so it takes that of all classes together."
    )
    assert few == [sentence]
    is_true[MIN_OF_EACH - 1, 1] = True
    calibration, notes = calibrate(bundle_of(), windows, matches_of(logits, is_true))
    assert calibration.window_temperature[1] != pytest.approx(shared.temperature)  # type: ignore[index]
    assert not [note for note in notes if note.startswith("tug")]


def test_windows_of_each_class_are_shifted_to_its_own_prior() -> None:
    logits, is_true = sample(40_000, 5)
    priors = (0.02, 0.003)
    calibration, _ = calibrate(
        bundle_of(priors), WindowLogits(logits, is_true), matches_of(logits, is_true)
    )
    rng = np.random.default_rng(6)
    others, other_true = sample(400_000, 7)
    for index, prior in enumerate(priors):
        true = other_true[:, index]
        odds = true.mean() / (1 - true.mean())
        keep = ~true | (rng.random(len(true)) < prior / (1 - prior) / odds)
        scores = window_scores(others[keep], calibration)[:, index]
        assert scores.mean() == pytest.approx(true[keep].mean(), rel=0.1)
