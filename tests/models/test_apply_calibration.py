"""Scores are probabilities, and their inverse is one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.errors import FormatError
from windhover.models.apply_calibration import (
    Calibration,
    detection_logits,
    detection_scores,
    window_scores,
)

numbers = st.floats(-30, 30)


@settings(deadline=None)  # the first call imports SciPy
@given(logit=numbers, temperature=st.floats(0.1, 10), bias=st.floats(-8, 8))
def test_scores_follow_the_formula_and_come_back(
    logit: float, temperature: float, bias: float
) -> None:
    calibration = Calibration(temperature, bias, temperature, bias)
    score = 1 / (1 + np.exp(-(logit / temperature + bias)))
    assert detection_scores([logit], calibration) == pytest.approx(score, rel=1e-9)
    assert window_scores([logit], calibration) == pytest.approx(score, rel=1e-9)
    if abs(logit / temperature + bias) < 10:
        assert detection_logits(
            detection_scores([logit], calibration), calibration
        ) == pytest.approx(logit, abs=1e-6 * temperature * 10)


def test_order_is_kept_and_far_logits_stay_within_0_and_1() -> None:
    scores = detection_scores(np.array([-1e6, -700, -1, 0, 1, 700, 1e6]), Calibration())
    assert np.isfinite(scores).all()
    assert (np.diff(scores) >= 0).all()
    assert scores[0] == 0
    assert scores[-1] == 1
    assert detection_logits([0.0, 1.0], Calibration()).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize(
    "values", [{"window_temperature": 0.0}, {"detection_temperature": float("nan")}]
)
def test_temperatures_are_above_0(values: dict) -> None:
    with pytest.raises(FormatError, match="must be a finite number above 0"):
        Calibration(**values)


def test_a_bias_is_finite_and_a_file_is_whole() -> None:
    with pytest.raises(FormatError, match="`window_bias` must be finite"):
        Calibration(window_bias=float("inf"))
    with pytest.raises(FormatError, match="`window_bias` must be finite"):
        Calibration(window_bias=(0.0, float("nan")))
    for wrong in ({"detection_bias": []}, {"window_bias": []}, {"window_bias": ["a"]}):
        with pytest.raises(FormatError, match="calibration: "):
            Calibration.from_json(Calibration().to_json() | wrong)
    with pytest.raises(FormatError, match="must hold exactly"):
        Calibration.from_json({"window_temperature": 1})
    with pytest.raises(FormatError, match="calibration"):
        Calibration.from_json(dict.fromkeys(Calibration().to_json(), "warm"))
    for whole in (Calibration(2, 1, 3, 0), Calibration(2, (1, -2.5), 3, 0)):
        assert Calibration.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_classes_have_biases_of_their_own_along_any_axis() -> None:
    calibration, logits = (
        Calibration(2.0, (1.0, -1.0)),
        np.array([[0.0, 4.0], [2.0, -2.0], [6.0, 1.0]]),
    )
    scores = window_scores(logits, calibration)
    assert scores == pytest.approx(1 / (1 + np.exp(-(logits / 2 + [1.0, -1.0]))))
    assert np.array_equal(window_scores(logits.T, calibration, class_axis=0), scores.T)
    for index in range(2):
        assert np.array_equal(
            window_scores(logits[:, index], calibration.of_class(index)), scores[:, index]
        )
    assert np.array_equal(detection_scores(logits, calibration), 1 / (1 + np.exp(-logits)))


def test_classes_have_temperatures_and_biases_of_their_own_in_detections() -> None:
    calibration = Calibration((2.0, 4.0), (0.0, 1.0), (1.0, 2.0), (0.5, -3.0))
    logits = np.array([1.0, 1.0, -4.0])
    index = np.array([0, 1, 1])
    expected = 1 / (1 + np.exp(-(logits / np.array([1.0, 2.0, 2.0]) + [0.5, -3.0, -3.0])))
    scores = detection_scores(logits, calibration, index)
    assert scores == pytest.approx(expected)
    for row in range(3):
        of_one = calibration.of_class(int(index[row]))
        assert detection_scores(logits[row], of_one) == pytest.approx(expected[row])
        assert detection_logits(scores[row], of_one) == pytest.approx(logits[row])
    with pytest.raises(ValueError, match="give the class of each logit"):
        detection_scores(logits, calibration)
    windows = window_scores(np.array([[4.0, 4.0]]), calibration)
    assert windows == pytest.approx(1 / (1 + np.exp([[-2.0, -2.0]])))
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration
