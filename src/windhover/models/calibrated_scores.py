"""Calibrated scores: raw logits to probabilities, for windows and for merged detections.

The only place where a score is made. The calibration itself is fitted by `evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from windhover.errors import FormatError


@dataclass(frozen=True)
class Calibration:
    """Temperature and bias of `sigmoid(logit / temperature + bias)`, for windows and detections.

    The window's bias carries the shift from the sampled prior to the true one (Saerens 2002; Elkan
    2001), of each class where there are several; the temperature is that of Guo 2017.
    """

    window_temperature: float = 1.0
    window_bias: float | tuple[float, ...] = 0.0
    detection_temperature: float = 1.0
    detection_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window_temperature", "detection_temperature"):
            temperature = getattr(self, name)
            if not (np.isfinite(temperature) and temperature > 0):
                raise FormatError(
                    f"calibration: `{name}` must be a finite number above 0, "
                    f"got {temperature}. Run evaluate again."
                )
        for name in ("window_bias", "detection_bias"):
            bias = getattr(self, name)
            if not np.isfinite(bias).all():
                raise FormatError(
                    f"calibration: `{name}` must be finite, got {bias}. Run evaluate again."
                )

    def of_class(self, index: int) -> Calibration:
        """Return the calibration of one class alone."""
        if not isinstance(self.window_bias, tuple):
            return self
        return replace(self, window_bias=self.window_bias[index])

    def to_json(self) -> dict[str, float | tuple[float, ...]]:
        """Return the numbers by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """Read the numbers.

        Raises:
            FormatError: a number is missing, unknown, or out of its range.
        """
        names = set(cls.__dataclass_fields__)
        if not isinstance(values, dict) or set(values) != names:
            raise FormatError(
                f"calibration: must hold exactly {', '.join(sorted(names))}. Run evaluate again."
            )
        numbers: dict[str, Any] = {}
        try:
            for name, value in values.items():
                if isinstance(value, (list, tuple)):
                    numbers[name] = _read_class_biases(name, value)
                else:
                    numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"calibration: {error}") from None
        return cls(**numbers)


def _read_class_biases(name: str, values: Sequence[Any]) -> tuple[float, ...]:
    """Return the biases of several classes."""
    if name != "window_bias" or not values:
        raise ValueError(
            "`window_bias` alone may be a list, of a number for each class. Run evaluate again."
        )
    return tuple(float(value) for value in values)


def window_scores(
    logits: ArrayLike, calibration: Calibration, class_axis: int = -1
) -> NDArray[np.float64]:
    """Return the probability that a window holds an object's center, in [0, 1].

    Args:
        logits: raw, of any shape; the result has the same.
        calibration: of all classes, or of one (`of_class`).
        class_axis: axis of the classes, where they have biases of their own.
    """
    bias = np.asarray(calibration.window_bias, np.float64)
    if bias.ndim:
        shape = [1] * np.ndim(logits)
        shape[class_axis] = len(bias)
        bias = bias.reshape(shape)
    return _scaled_sigmoid(logits, calibration.window_temperature, bias)


def detection_scores(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the probability that a merged detection is an object, in [0, 1]; shape of `logits`."""
    return _scaled_sigmoid(logits, calibration.detection_temperature, calibration.detection_bias)


def detection_logits(scores: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the raw logits at which detections reach `scores`: the inverse of `detection_scores`.

    Scores of 0 and 1 give minus and plus infinity.
    """
    scores = np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(scores) - np.log1p(-scores)
    return np.asarray(
        (logits - calibration.detection_bias) * calibration.detection_temperature, np.float64
    )


def _scaled_sigmoid(
    logits: ArrayLike, temperature: float, bias: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.special import expit  # imported late: the module itself needs NumPy alone

    scaled = np.asarray(logits, np.float64) / temperature + bias
    return np.asarray(expit(scaled), np.float64)
