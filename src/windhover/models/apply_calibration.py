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
    2001); the temperature is that of Guo 2017. A tuple holds the value of each class.
    """

    window_temperature: float | tuple[float, ...] = 1.0
    window_bias: float | tuple[float, ...] = 0.0
    detection_temperature: float | tuple[float, ...] = 1.0
    detection_bias: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        for name in ("window_temperature", "detection_temperature"):
            temperature = getattr(self, name)
            values = np.asarray(temperature, np.float64)
            if not (np.isfinite(values) & (values > 0)).all():
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
        values = asdict(self)
        of_one = {name: value[index] for name, value in values.items() if isinstance(value, tuple)}
        return replace(self, **of_one)

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
                    numbers[name] = _read_class_values(name, value)
                else:
                    numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise FormatError(f"calibration: {error}") from None
        return cls(**numbers)


def _read_class_values(name: str, values: Sequence[Any]) -> tuple[float, ...]:
    """Return the values of several classes."""
    if not values:
        raise ValueError(f"`{name}` must hold a number for each class. Run evaluate again.")
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
    n_axes = np.ndim(logits)
    temperature = _along_axis(calibration.window_temperature, n_axes, class_axis)
    bias = _along_axis(calibration.window_bias, n_axes, class_axis)
    return _scaled_sigmoid(logits, temperature, bias)


def _along_axis(
    values: float | tuple[float, ...], n_axes: int, class_axis: int
) -> NDArray[np.float64]:
    """Return the value of all classes, or those of each along the axis of the classes."""
    array = np.asarray(values, np.float64)
    if not array.ndim:
        return array
    shape = [1] * n_axes
    shape[class_axis] = len(array)
    return array.reshape(shape)


def detection_scores(
    logits: ArrayLike, calibration: Calibration, class_index: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the probability that a merged detection is an object, in [0, 1]; shape of `logits`.

    Args:
        logits: raw, any shape.
        calibration: of all classes, or of one (`of_class`).
        class_index: class of each logit, which broadcasts with them; needed where classes have
            values of their own.
    """
    temperature = _of_classes(calibration.detection_temperature, class_index)
    bias = _of_classes(calibration.detection_bias, class_index)
    return _scaled_sigmoid(logits, temperature, bias)


def _of_classes(
    values: float | tuple[float, ...], class_index: ArrayLike | None
) -> NDArray[np.float64]:
    """Return the value of the class of each logit."""
    array = np.asarray(values, np.float64)
    if not array.ndim:
        return array
    if class_index is None:
        raise ValueError("classes have calibrations of their own: give the class of each logit")
    return array[np.asarray(class_index, np.int64)]


def detection_logits(scores: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the raw logits at which detections reach `scores`: the inverse of `detection_scores`.

    Scores of 0 and 1 give minus and plus infinity.

    Args:
        scores: in [0, 1], any shape.
        calibration: of all classes alike, or of one (`of_class`).
    """
    scores = np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(scores) - np.log1p(-scores)
    bias = _of_classes(calibration.detection_bias, None)
    temperature = _of_classes(calibration.detection_temperature, None)
    return np.asarray((logits - bias) * temperature, np.float64)


def _scaled_sigmoid(
    logits: ArrayLike, temperature: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.special import expit  # imported late: the module itself needs NumPy alone

    scaled = np.asarray(logits, np.float64) / temperature + bias
    return np.asarray(expit(scaled), np.float64)
